/*
 * creation.h: arrays from nothing: constants, ranges, identities, triangles, windows. Results belong
 * to the build scope.
 */
#ifndef NX_OPS_CREATION_H
#define NX_OPS_CREATION_H

#include "engine/core/array.h"

/* `value` broadcast to the shape, in memory of its own. */
nx_array *nx_full(const int *shape, int ndim, nx_array *value, nx_dtype dtype, nx_stream *s);
nx_array *nx_full_like(nx_array *a, nx_array *value, nx_dtype dtype, nx_stream *s);
nx_array *nx_zeros(const int *shape, int ndim, nx_dtype dtype, nx_stream *s);
nx_array *nx_zeros_of(nx_array *a, nx_dtype dtype, nx_stream *s); /* a's shape */
nx_array *nx_zeros_like(nx_array *a, nx_stream *s);
nx_array *nx_ones(const int *shape, int ndim, nx_dtype dtype, nx_stream *s);
nx_array *nx_ones_like(nx_array *a, nx_stream *s);

/* start, start + step … before stop. Not of bool. */
nx_array *nx_arange(double start, double stop, double step, nx_dtype dtype, nx_stream *s);
/* num numbers from start to stop, both included. */
nx_array *nx_linspace(double start, double stop, int num, nx_dtype dtype, nx_stream *s);

/* [n, m] with ones on diagonal k; tri: on it and below. */
nx_array *nx_eye(int n, int m, int k, nx_dtype dtype, nx_stream *s);
nx_array *nx_identity(int n, nx_dtype dtype, nx_stream *s);
nx_array *nx_tri(int n, int m, int k, nx_dtype dtype, nx_stream *s);
/* The part of each matrix on and below, or on and above, diagonal k; zero elsewhere. */
nx_array *nx_tril(nx_array *a, int k, nx_stream *s);
nx_array *nx_triu(nx_array *a, int k, nx_stream *s);

/* Windows of n points, float32. */
nx_array *nx_bartlett(int n, nx_stream *s);
nx_array *nx_blackman(int n, nx_stream *s);
nx_array *nx_hamming(int n, nx_stream *s);
nx_array *nx_hanning(int n, nx_stream *s);

/* No value at all, for a function to be traced on; evaluating it is an error. */
nx_array *nx_placeholder(const int *shape, int ndim, nx_dtype dtype, nx_stream *s);

#endif
