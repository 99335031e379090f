/*
 * linalg.h: linear algebra over the last two axes; axes before them are a batch.
 *
 * Matrices are float32 or float64, of SVD and eigenvalues also complex64. Decompositions need a CPU
 * stream, and LAPACK: OpenBLAS is loaded at first use. A matrix without the wanted answer (singular,
 * not finite) is an error when the result is evaluated, except cholesky's: there the factor is left
 * as far as it was found. Inverses and Cholesky factors can be differentiated.
 */
#ifndef MLX_C_LINALG_H
#define MLX_C_LINALG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "mlx/c/array.h"
#include "mlx/c/closure.h"
#include "mlx/c/distributed_group.h"
#include "mlx/c/io_types.h"
#include "mlx/c/map.h"
#include "mlx/c/stream.h"
#include "mlx/c/string.h"
#include "mlx/c/vector.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Decompositions. */
/* A = L L^T; upper: A = U^T U. */
int mlx_linalg_cholesky(mlx_array *res, const mlx_array a, bool upper, const mlx_stream s);
/* {row permutation, L, U}. */
int mlx_linalg_lu(mlx_vector_array *res, const mlx_array a, const mlx_stream s);
/* L and U in one matrix, and the pivots. */
int mlx_linalg_lu_factor(mlx_array *res_0, mlx_array *res_1, const mlx_array a, const mlx_stream s);
/* *res_0 becomes Q, *res_1 R. */
int mlx_linalg_qr(mlx_array *res_0, mlx_array *res_1, const mlx_array a, const mlx_stream s);
/* {U, S, V^T}, or with compute_uv false {S} alone. */
int mlx_linalg_svd(mlx_vector_array *res, const mlx_array a, bool compute_uv, const mlx_stream s);
/* Values and vectors (columns) of a general matrix, complex64. */
int mlx_linalg_eig(mlx_array *res_0, mlx_array *res_1, const mlx_array a, const mlx_stream s);
int mlx_linalg_eigvals(mlx_array *res, const mlx_array a, const mlx_stream s);
/* Of a symmetric or Hermitian matrix. UPLO "L" or "U": the triangle of its transpose that is read (as
 * MLX 0.31 does it: "L" reads what is above the diagonal). */
int mlx_linalg_eigh(mlx_array *res_0, mlx_array *res_1, const mlx_array a, const char *UPLO,
                    const mlx_stream s);
int mlx_linalg_eigvalsh(mlx_array *res, const mlx_array a, const char *UPLO, const mlx_stream s);

/* Inverses and equations. */
int mlx_linalg_inv(mlx_array *res, const mlx_array a, const mlx_stream s);
/* Of a triangular matrix. */
int mlx_linalg_tri_inv(mlx_array *res, const mlx_array a, bool upper, const mlx_stream s);
/* Of A, from its Cholesky factor. */
int mlx_linalg_cholesky_inv(mlx_array *res, const mlx_array a, bool upper, const mlx_stream s);
/* The Moore-Penrose pseudo-inverse. */
int mlx_linalg_pinv(mlx_array *res, const mlx_array a, const mlx_stream s);
/* x with a x = b. */
int mlx_linalg_solve(mlx_array *res, const mlx_array a, const mlx_array b, const mlx_stream s);
/* The same for a triangular a. */
int mlx_linalg_solve_triangular(mlx_array *res, const mlx_array a, const mlx_array b, bool upper,
                                const mlx_stream s);

/* Norms and products. axis NULL: over all axes. */
/* The vector (one axis) or matrix (two axes) norm of order ord; infinities allowed. */
int mlx_linalg_norm(mlx_array *res, const mlx_array a, double ord, const int *axis, size_t axis_num,
                    bool keepdims, const mlx_stream s);
/* A norm by name: "fro" or "nuc". */
int mlx_linalg_norm_matrix(mlx_array *res, const mlx_array a, const char *ord, const int *axis,
                           size_t axis_num, bool keepdims, const mlx_stream s);
/* The root of the sum of squares. */
int mlx_linalg_norm_l2(mlx_array *res, const mlx_array a, const int *axis, size_t axis_num,
                       bool keepdims, const mlx_stream s);
/* The cross product of vectors of 2 or 3 elements along axis. */
int mlx_linalg_cross(mlx_array *res, const mlx_array a, const mlx_array b, int axis,
                     const mlx_stream s);

#ifdef __cplusplus
}
#endif

#endif
