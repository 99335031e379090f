/*
 * softmax.h: builders of softmax and log-sum-exp over any axes (negative ones count from the end).
 * Integers become float32 (softmax: along the last axis alone, as in MLX).
 */
#ifndef NX_OPS_SOFTMAX_H
#define NX_OPS_SOFTMAX_H

#include "engine/core/array.h"

/* exp(a) / sum(exp(a)). precise: the 16-bit types compute in float32 on the way (along the last axis
 * they always do). */
nx_array *nx_softmax(nx_array *a, const int *axes, int n_axes, bool precise, nx_stream *s);
/* log(sum(exp(a))) */
nx_array *nx_logsumexp(nx_array *a, const int *axes, int n_axes, bool keepdims, nx_stream *s);

#endif
