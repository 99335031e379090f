/*
 * shape.h: builders that change shapes and put arrays together. Reshapes and transposes are views
 * where strides allow; results belong to the build scope (core/scope.h). Axes may be negative.
 */
#ifndef NX_OPS_SHAPE_H
#define NX_OPS_SHAPE_H

#include "engine/core/array.h"

/* reshape.c. One dimension of a new shape may be -1: what is left. */
nx_array *nx_reshape(nx_array *a, const int *shape, int ndim, nx_stream *s);
nx_array *nx_flatten(nx_array *a, int start_axis, int end_axis, nx_stream *s);
nx_array *nx_flatten_all(nx_array *a, nx_stream *s); /* to one dimension */
nx_array *nx_unflatten(nx_array *a, int axis, const int *shape, int ndim, nx_stream *s);
nx_array *nx_squeeze(nx_array *a, nx_stream *s); /* all dimensions of size 1 */
nx_array *nx_squeeze_axes(nx_array *a, const int *axes, int n, nx_stream *s);
nx_array *nx_squeeze_axis(nx_array *a, int axis, nx_stream *s);
nx_array *nx_expand_dims(nx_array *a, int axis, nx_stream *s); /* axes are those of the result */
nx_array *nx_expand_dims_axes(nx_array *a, const int *axes, int n, nx_stream *s);
nx_array *nx_atleast_1d(nx_array *a, nx_stream *s);
nx_array *nx_atleast_2d(nx_array *a, nx_stream *s);
nx_array *nx_atleast_3d(nx_array *a, nx_stream *s);

/* transpose.c */
nx_array *nx_transpose(nx_array *a, nx_stream *s); /* all axes reversed */
nx_array *nx_transpose_axes(nx_array *a, const int *axes, int n, nx_stream *s);
nx_array *nx_swapaxes(nx_array *a, int axis1, int axis2, nx_stream *s);
nx_array *nx_moveaxis(nx_array *a, int source, int destination, nx_stream *s);

/* strided.c. as_strided sees a as dense row-major; strides and offset count elements, and what they
 * reach must lie inside a. */
nx_array *nx_as_strided(nx_array *a, const int *shape, int ndim, const int64_t *strides,
                        int n_strides, size_t offset, nx_stream *s);
nx_array *nx_contiguous(nx_array *a, bool allow_col_major, nx_stream *s);
/* out[i] is in[i], but not before all dependencies are computed. */
bool nx_depends(nx_array *const *in, int n_in, nx_array *const *dependencies, int n_dependencies,
                nx_stream *s, nx_array **out);

/* join.c. Arrays of different types are promoted to one. */
nx_array *nx_concatenate(nx_array *const *arrays, int n, int axis, nx_stream *s);
nx_array *nx_concatenate_all(nx_array *const *arrays, int n, nx_stream *s); /* flattened first */
nx_array *nx_stack(nx_array *const *arrays, int n, int axis, nx_stream *s);
nx_array *nx_repeat(nx_array *a, int repeats, int axis, nx_stream *s);
nx_array *nx_repeat_all(nx_array *a, int repeats, nx_stream *s); /* flattened first */
nx_array *nx_tile(nx_array *a, const int *reps, int n, nx_stream *s);
nx_array *nx_roll(nx_array *a, const int *shift, int n, nx_stream *s); /* flattened */
nx_array *nx_roll_axis(nx_array *a, const int *shift, int n, int axis, nx_stream *s);
nx_array *nx_roll_axes(nx_array *a, const int *shift, int n, const int *axes, int n_axes,
                       nx_stream *s);

/* split.c. n parts of one size, into out[n]; parts before, between and after n indices, into
 * out[n + 1]. */
bool nx_split(nx_array *a, int n, int axis, nx_stream *s, nx_array **out);
bool nx_split_at(nx_array *a, const int *indices, int n, int axis, nx_stream *s, nx_array **out);

/* pad.c. mode is "constant" or "edge"; value is a scalar. */
nx_array *nx_pad(nx_array *a, const int *axes, int n_axes, const int *low, int n_low,
                 const int *high, int n_high, nx_array *value, const char *mode, nx_stream *s);
nx_array *nx_pad_symmetric(nx_array *a, int width, nx_array *value, const char *mode, nx_stream *s);

/* diag.c */
bool nx_meshgrid(nx_array *const *arrays, int n, bool sparse, const char *indexing, nx_stream *s,
                 nx_array **out);
nx_array *nx_diag(nx_array *a, int k, nx_stream *s);
nx_array *nx_diagonal(nx_array *a, int offset, int axis1, int axis2, nx_stream *s);
nx_array *nx_trace(nx_array *a, int offset, int axis1, int axis2, nx_dtype dtype, nx_stream *s);

#endif
