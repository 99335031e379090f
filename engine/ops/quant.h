/*
 * quant.h: builders over matrices in MLX's affine quantization. A row's elements are cut into groups
 * of 32, 64 or 128; element q of 2, 3, 4, 5, 6 or 8 bits stands for scale * q + bias of its group.
 * A row's elements are packed one after the other, lowest bits first, into uint32 words.
 */
#ifndef NX_OPS_QUANT_H
#define NX_OPS_QUANT_H

#include "engine/core/array.h"

/* How a matrix is quantized; mode "affine". */
typedef struct {
    int group_size, bits;
    const char *mode;
} nx_quantization;

/* w [..., N, K] gives out[3]: words [..., N, K * bits / 32], scales and biases [..., N, K / group]. */
bool nx_quantize(nx_array *w, const nx_quantization *q, nx_stream *s, nx_array **out);
/* The values, of the scales' type. */
nx_array *nx_dequantize(nx_array *w, nx_array *scales, nx_array *biases, const nx_quantization *q,
                        nx_stream *s);
/* x w, or x w^T with transpose; leading dimensions broadcast. */
nx_array *nx_quantized_matmul(nx_array *x, nx_array *w, nx_array *scales, nx_array *biases,
                              bool transpose, const nx_quantization *q, nx_stream *s);
/* Of the matrices of x and w that the indices name (NULL: each in turn). */
nx_array *nx_gather_qmm(nx_array *x, nx_array *w, nx_array *scales, nx_array *biases,
                        nx_array *lhs_indices, nx_array *rhs_indices, bool transpose,
                        const nx_quantization *q, nx_stream *s);

#endif
