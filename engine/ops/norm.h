/*
 * norm.h: builders of normalizations over the last axis. weight and bias have one dimension of its
 * size; NULL stands for none. The type is the promotion of all.
 */
#ifndef NX_OPS_NORM_H
#define NX_OPS_NORM_H

#include "engine/core/array.h"

/* x / sqrt(mean(x * x) + eps) * weight */
nx_array *nx_rms_norm(nx_array *x, nx_array *weight, float eps, nx_stream *s);
/* (x - mean) / sqrt(variance + eps) * weight + bias */
nx_array *nx_layer_norm(nx_array *x, nx_array *weight, nx_array *bias, float eps, nx_stream *s);

#endif
