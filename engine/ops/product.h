/*
 * product.h: products of arrays other than of matrices: builders composed of matmul, sums and
 * transposes, and the Hadamard transform.
 */
#ifndef NX_OPS_PRODUCT_H
#define NX_OPS_PRODUCT_H

#include "engine/core/array.h"

/* hadamard.c: over the last axis, in float16, bfloat16 or float32. scale NaN: 1 / sqrt(n). */
nx_array *nx_hadamard_transform(nx_array *a, float scale, nx_stream *s);

#endif
