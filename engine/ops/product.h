/*
 * product.h: products of arrays other than of matrices: builders composed of matmul, sums and
 * transposes, and the Hadamard transform.
 */
#ifndef NX_OPS_PRODUCT_H
#define NX_OPS_PRODUCT_H

#include "engine/core/array.h"

/* product.c. Sums over pairs of axes; the result has the other axes of a, then those of b. */
nx_array *nx_tensordot(nx_array *a, nx_array *b, const int *axes_a, int n_a, const int *axes_b,
                       int n_b, nx_stream *s);
/* Over the last n axes of a and the first n of b. */
nx_array *nx_tensordot_axis(nx_array *a, nx_array *b, int n, nx_stream *s);
nx_array *nx_inner(nx_array *a, nx_array *b, nx_stream *s); /* over the last axis of both */
nx_array *nx_outer(nx_array *a, nx_array *b, nx_stream *s); /* of both flattened */
nx_array *nx_kron(nx_array *a, nx_array *b, nx_stream *s);

/* einsum.c. "ij,jk->ik"; "..." stands for dimensions that broadcast; without "->" the letters that
 * appear once are the result, in alphabetical order. */
nx_array *nx_einsum(const char *subscripts, nx_array *const *operands, int n, nx_stream *s);

/* hadamard.c: over the last axis, in float16, bfloat16 or float32. scale NaN: 1 / sqrt(n). */
nx_array *nx_hadamard_transform(nx_array *a, float scale, nx_stream *s);

#endif
