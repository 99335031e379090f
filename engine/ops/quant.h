/*
 * quant.h: builders of quantization in MLX's packings. mode is "affine", "mxfp4", "mxfp8" or "nvfp4";
 * group_size and bits of 0 are the mode's own. Results belong to the build scope; biases, indices
 * and global scales may be NULL.
 */
#ifndef NX_OPS_QUANT_H
#define NX_OPS_QUANT_H

#include "engine/core/array.h"

/* w [..., R, K] into out: packed uint32, scales, and biases if affine. The number of them; 0 after
 * nx_fail. */
int nx_quantize(nx_array *w, int group_size, int bits, const char *mode, nx_array *global_scale,
                nx_stream *s, nx_array *out[3]);
/* dtype: the result's; NULL: that of the scales, bfloat16 for floating codes. */
nx_array *nx_dequantize(nx_array *w, nx_array *scales, nx_array *biases, int group_size, int bits,
                        const char *mode, nx_array *global_scale, const nx_dtype *dtype, nx_stream *s);
/* x times the quantized matrix, or with transpose its transpose. */
nx_array *nx_quantized_matmul(nx_array *x, nx_array *w, nx_array *scales, nx_array *biases,
                              bool transpose, int group_size, int bits, const char *mode,
                              nx_stream *s);
nx_array *nx_gather_qmm(nx_array *x, nx_array *w, nx_array *scales, nx_array *biases,
                        nx_array *lhs_indices, nx_array *rhs_indices, bool transpose, int group_size,
                        int bits, const char *mode, bool sorted, nx_stream *s);
/* x is rounded as w is quantized; w_scales NULL: w holds numbers and is quantized too. */
nx_array *nx_qqmm(nx_array *x, nx_array *w, nx_array *w_scales, int group_size, int bits,
                  const char *mode, nx_array *global_scale_x, nx_array *global_scale_w, nx_stream *s);

#endif
