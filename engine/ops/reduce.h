/*
 * reduce.h: builders of reductions. Axes may be negative; n_axes 0 with axes NULL means none, and
 * nx_all_axes gives all of them. Reduced dimensions become 1 with keepdims, else they go.
 */
#ifndef NX_OPS_REDUCE_H
#define NX_OPS_REDUCE_H

#include "engine/core/array.h"

/* All axes of a in order, as the axes argument of a reduction over everything. */
const int *nx_all_axes(void);

nx_array *nx_all(nx_array *a, const int *axes, int n_axes, bool keepdims, nx_stream *s);
nx_array *nx_any(nx_array *a, const int *axes, int n_axes, bool keepdims, nx_stream *s);
/* Integers of less than 32 bits and bool are summed and multiplied as (u)int32. */
nx_array *nx_sum(nx_array *a, const int *axes, int n_axes, bool keepdims, nx_stream *s);
nx_array *nx_prod(nx_array *a, const int *axes, int n_axes, bool keepdims, nx_stream *s);
/* NaN wins. An empty array is an error. */
nx_array *nx_max(nx_array *a, const int *axes, int n_axes, bool keepdims, nx_stream *s);
nx_array *nx_min(nx_array *a, const int *axes, int n_axes, bool keepdims, nx_stream *s);

/* Integers become float32. var and std divide by n - ddof. */
nx_array *nx_mean(nx_array *a, const int *axes, int n_axes, bool keepdims, nx_stream *s);
nx_array *nx_var(nx_array *a, const int *axes, int n_axes, bool keepdims, int ddof, nx_stream *s);
nx_array *nx_std(nx_array *a, const int *axes, int n_axes, bool keepdims, int ddof, nx_stream *s);
nx_array *nx_median(nx_array *a, const int *axes, int n_axes, bool keepdims, nx_stream *s);

/* uint32 places of the first largest or smallest. flat: of the array as one row. */
nx_array *nx_argmax(nx_array *a, int axis, bool keepdims, nx_stream *s);
nx_array *nx_argmin(nx_array *a, int axis, bool keepdims, nx_stream *s);
nx_array *nx_argmax_flat(nx_array *a, bool keepdims, nx_stream *s);
nx_array *nx_argmin_flat(nx_array *a, bool keepdims, nx_stream *s);

#endif
