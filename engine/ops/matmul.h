/*
 * matmul.h: builders of dense matrix products. Results belong to the build scope; a NULL input gives
 * NULL. Shapes broadcast over all dimensions but the last two; one-dimensional inputs are a row
 * (on the left) or a column (on the right) whose dimension is dropped again.
 */
#ifndef NX_OPS_MATMUL_H
#define NX_OPS_MATMUL_H

#include "engine/core/array.h"

nx_array *nx_matmul(nx_array *a, nx_array *b, nx_stream *s);
/* alpha a b + beta c */
nx_array *nx_addmm(nx_array *c, nx_array *a, nx_array *b, float alpha, float beta, nx_stream *s);
/* The matrices of a and b that the indices name (NULL: each in turn). */
nx_array *nx_gather_mm(nx_array *a, nx_array *b, nx_array *lhs_indices, nx_array *rhs_indices,
                       bool sorted, nx_stream *s);
/* a[:, s0:s1] b[s0:s1, :] for each pair of segments [..., 2]. */
nx_array *nx_segmented_mm(nx_array *a, nx_array *b, nx_array *segments, nx_stream *s);
/* block_masked.c. Masks (NULL: none) have an element for each block of size (32 or 64) of the result,
 * of a, of b: a boolean one leaves out, another one multiplies. */
nx_array *nx_block_masked_mm(nx_array *a, nx_array *b, int size, nx_array *mask_out, nx_array *mask_lhs,
                             nx_array *mask_rhs, nx_stream *s);

/* For products of named matrices: fills in absent indices, makes both uint32 of one shape; false after
 * nx_fail. */
bool nx_matrix_indices(const char *op, nx_array *a, nx_array *b, nx_array **lhs, nx_array **rhs,
                       nx_stream *s);

/* For batches of such products: the indices `in` (batched along `axis`, or -1) as [size, ...], counting
 * through the matrices of the whole batch if `each` item has its own `matrices`. */
nx_array *nx_batch_indices(nx_array *in, int axis, int size, bool each, int64_t matrices,
                           nx_stream *s);
/* For their derivatives: products, one for each of places, added up at those places of an array of
 * matrices of `like`'s shape. */
nx_array *nx_add_products(nx_array *products, nx_array *places, const nx_array *like, nx_dtype dtype,
                          nx_stream *s);
/* The numbers of the products that indices of this shape name, in the same shape. */
nx_array *nx_each_product(const nx_array *indices, nx_stream *s);

#endif
