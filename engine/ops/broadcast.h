/*
 * broadcast.h: shapes that meet as NumPy's do: aligned at the right, sizes 1 repeat.
 */
#ifndef NX_OPS_BROADCAST_H
#define NX_OPS_BROADCAST_H

#include "engine/core/array.h"

/* The shape both broadcast to; false after nx_fail where they do not fit. */
bool nx_broadcast_shapes(const nx_array *a, const nx_array *b, nx_dims *out);
bool nx_broadcast_dims(const int *a, int a_ndim, const int *b, int b_ndim, nx_dims *out);

/* A view of `a` with this shape: its repeated dimensions have stride 0. `a` itself if it has it. */
nx_array *nx_broadcast_to(nx_array *a, const int *shape, int ndim, nx_stream *s);

/* To the shape of `like`, in a trace for other sizes whatever that will be: a must broadcast to it. */
nx_array *nx_broadcast_like(nx_array *a, nx_array *like, nx_stream *s);

/* Replaces each array by itself in the shape all of them broadcast to; false after nx_fail, or
 * where one of them is NULL. */
bool nx_broadcast_arrays(nx_array **arrays, int n, nx_stream *s);
/* The same without the last `ignore` dimensions, which stay each array's own (matrix products). */
bool nx_broadcast_leading(nx_array **arrays, int n, int ignore, nx_stream *s);

#endif
