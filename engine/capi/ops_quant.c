/* ops.h: quantization. */
#include "engine/capi/capi.h"
#include "engine/ops/quant.h"

/* 0 stands for "the mode's own"; a caller's 0 is as wrong as any other number. */
#define NUMBER_OR_0(o) ((o).has_value ? (o).value ? (o).value : -1 : 0)

int mlx_quantize(mlx_vector_array *res, const mlx_array w, mlx_optional_int group_size,
                 mlx_optional_int bits, const char *mode, const mlx_array global_scale,
                 const mlx_stream s)
{
    NX_SCOPE;
    nx_array *out[3];
    int n = nx_quantize(NX_ARRAY(w), NUMBER_OR_0(group_size), NUMBER_OR_0(bits), mode,
                        NX_ARRAY_OR_NULL(global_scale), NX_STREAM(s), out);
    return nx_give_vector(res, n > 0, out, (size_t)n, __func__);
}

int mlx_dequantize(mlx_array *res, const mlx_array w, const mlx_array scales, const mlx_array biases,
                   mlx_optional_int group_size, mlx_optional_int bits, const char *mode,
                   const mlx_array global_scale, mlx_optional_dtype dtype, const mlx_stream s)
{
    nx_dtype t = dtype.has_value ? NX_DTYPE(dtype.value) : NX_FLOAT32;
    NX_GIVE(nx_dequantize(NX_ARRAY(w), NX_ARRAY(scales), NX_ARRAY_OR_NULL(biases),
                          NUMBER_OR_0(group_size), NUMBER_OR_0(bits), mode,
                          NX_ARRAY_OR_NULL(global_scale), dtype.has_value ? &t : NULL, NX_STREAM(s)));
}

int mlx_quantized_matmul(mlx_array *res, const mlx_array x, const mlx_array w, const mlx_array scales,
                         const mlx_array biases, bool transpose, mlx_optional_int group_size,
                         mlx_optional_int bits, const char *mode, const mlx_stream s)
{
    NX_GIVE(nx_quantized_matmul(NX_ARRAY(x), NX_ARRAY(w), NX_ARRAY(scales), NX_ARRAY_OR_NULL(biases),
                                transpose, NUMBER_OR_0(group_size), NUMBER_OR_0(bits), mode,
                                NX_STREAM(s)));
}

int mlx_gather_qmm(mlx_array *res, const mlx_array x, const mlx_array w, const mlx_array scales,
                   const mlx_array biases, const mlx_array lhs_indices, const mlx_array rhs_indices,
                   bool transpose, mlx_optional_int group_size, mlx_optional_int bits,
                   const char *mode, bool sorted_indices, const mlx_stream s)
{
    NX_GIVE(nx_gather_qmm(NX_ARRAY(x), NX_ARRAY(w), NX_ARRAY(scales), NX_ARRAY_OR_NULL(biases),
                          NX_ARRAY_OR_NULL(lhs_indices), NX_ARRAY_OR_NULL(rhs_indices), transpose,
                          NUMBER_OR_0(group_size), NUMBER_OR_0(bits), mode, sorted_indices,
                          NX_STREAM(s)));
}

int mlx_qqmm(mlx_array *res, const mlx_array x, const mlx_array w, const mlx_array w_scales,
             mlx_optional_int group_size, mlx_optional_int bits, const char *mode,
             const mlx_array global_scale_x, const mlx_array global_scale_w, const mlx_stream s)
{
    NX_GIVE(nx_qqmm(NX_ARRAY(x), NX_ARRAY(w), NX_ARRAY_OR_NULL(w_scales), NUMBER_OR_0(group_size),
                    NUMBER_OR_0(bits), mode, NX_ARRAY_OR_NULL(global_scale_x),
                    NX_ARRAY_OR_NULL(global_scale_w), NX_STREAM(s)));
}
