/*
 * linalg.h: builders of linear algebra over the last two axes; axes before them are a batch. Results
 * belong to the build scope; a NULL input gives NULL. Matrices are float32 or float64, or complex64
 * where that is said. What has no answer (a singular matrix) is an error when it is evaluated.
 */
#ifndef NX_OPS_LINALG_H
#define NX_OPS_LINALG_H

#include "engine/core/array.h"

/* linalg.c: decompositions. out: Q, R; U, S, V^H, or S alone; row order, L, U; L and U in one, pivots;
 * values, vectors (complex64); values, vectors, or values alone. */
bool nx_qr(nx_array *a, nx_stream *s, nx_array **out);
bool nx_svd(nx_array *a, bool vectors, nx_stream *s, nx_array **out); /* also complex64 */
nx_array *nx_cholesky(nx_array *a, bool upper, nx_stream *s);
bool nx_lu(nx_array *a, nx_stream *s, nx_array **out);
bool nx_lu_factor(nx_array *a, nx_stream *s, nx_array **out);
bool nx_eig(nx_array *a, bool vectors, nx_stream *s, nx_array **out); /* also complex64 */
/* uplo: "L" or "U", the triangle that is read: of the transpose, as MLX does it (it hands rows to
 * LAPACK as columns). Also complex64. */
bool nx_eigh(nx_array *a, const char *uplo, bool vectors, nx_stream *s, nx_array **out);

nx_array *nx_inv(nx_array *a, nx_stream *s);
nx_array *nx_tri_inv(nx_array *a, bool upper, nx_stream *s);

/* solve.c: made of those. */
nx_array *nx_cholesky_inv(nx_array *a, bool upper, nx_stream *s);
nx_array *nx_pinv(nx_array *a, nx_stream *s);
nx_array *nx_solve(nx_array *a, nx_array *b, nx_stream *s);
nx_array *nx_solve_triangular(nx_array *a, nx_array *b, bool upper, nx_stream *s);

/* norms.c. n_axes < 0: no axes were given: all of them for a name or an order (one or two
 * dimensions), of the array as one row for nx_norm_l2. Any type. */
nx_array *nx_norm(nx_array *a, double ord, const int *axes, int n_axes, bool keepdims, nx_stream *s);
nx_array *nx_norm_named(nx_array *a, const char *ord, const int *axes, int n_axes, bool keepdims,
                        nx_stream *s);
nx_array *nx_norm_l2(nx_array *a, const int *axes, int n_axes, bool keepdims, nx_stream *s);
nx_array *nx_cross(nx_array *a, nx_array *b, int axis, nx_stream *s);

/* Checks in the name of an operation, false after nx_fail: types, at least two dimensions, square. */
enum { NX_REAL_MATRIX = 1 << NX_FLOAT32 | 1 << NX_FLOAT64 };
bool nx_matrix_check(const char *op, const nx_array *a, unsigned dtypes, bool square);

#endif
