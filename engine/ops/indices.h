/* indices.h: checks that gathers and scatters share. Between gather.c and scatter.c only. */
#ifndef NX_OPS_INDICES_H
#define NX_OPS_INDICES_H

#include "engine/core/array.h"

/* Index arrays for `axes` of a: integers, broadcast together into out[n]; plain axes. */
bool nx_indices_check(const char *op, const nx_array *a, nx_array *const *indices, int n,
                      const int *axes, int n_axes, nx_dims *plain, nx_stream *s, nx_array **out);
/* For operations along one axis: a and the indices (and *values, broadcast to them and cast) get
 * one shape but for the axis. values may be NULL: then a is broadcast as well. */
bool nx_indices_along(const char *op, nx_array **a, nx_array **indices, nx_array **values, int axis,
                      nx_stream *s);

#endif
