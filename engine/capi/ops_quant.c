/* ops.h: quantized matrices. */
#include "engine/capi/capi.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/quant.h"

/* Without values, what the mode has of itself. */
static nx_quantization quantization(mlx_optional_int group_size, mlx_optional_int bits,
                                    const char *mode)
{
    return (nx_quantization){.group_size = group_size.has_value ? group_size.value : 64,
                             .bits = bits.has_value ? bits.value : 4,
                             .mode = mode};
}

/* A second scale for the whole matrix belongs to another mode. */
static bool no_global_scale(mlx_array global_scale, const char *op)
{
    return !global_scale.ctx || nx_fail("[%s] affine quantization has no global scale", op);
}

int mlx_quantize(mlx_vector_array *res, const mlx_array w, mlx_optional_int group_size,
                 mlx_optional_int bits, const char *mode, const mlx_array global_scale,
                 const mlx_stream s)
{
    nx_array *out[3];
    nx_quantization q = quantization(group_size, bits, NX_POINTER(mode));
    NX_GIVE_VECTOR(out, 3,
                   no_global_scale(global_scale, "quantize") &&
                       nx_quantize(NX_ARRAY(w), &q, NX_STREAM(s), out));
}

int mlx_dequantize(mlx_array *res, const mlx_array w, const mlx_array scales,
                   const mlx_array biases, mlx_optional_int group_size, mlx_optional_int bits,
                   const char *mode, const mlx_array global_scale, mlx_optional_dtype dtype,
                   const mlx_stream s)
{
    nx_quantization q = quantization(group_size, bits, NX_POINTER(mode));
    nx_array *scale = NX_ARRAY(scales);
    nx_dtype type = dtype.has_value ? NX_DTYPE(dtype.value) : (nx_dtype)scale->dtype;
    if (!no_global_scale(global_scale, "dequantize"))
        return nx_report();
    NX_GIVE(nx_astype(nx_dequantize(NX_ARRAY(w), scale, NX_ARRAY_OR_NULL(biases), &q, NX_STREAM(s)),
                      type, NX_STREAM(s)));
}

int mlx_quantized_matmul(mlx_array *res, const mlx_array x, const mlx_array w,
                         const mlx_array scales, const mlx_array biases, bool transpose,
                         mlx_optional_int group_size, mlx_optional_int bits, const char *mode,
                         const mlx_stream s)
{
    nx_quantization q = quantization(group_size, bits, NX_POINTER(mode));
    NX_GIVE(nx_quantized_matmul(NX_ARRAY(x), NX_ARRAY(w), NX_ARRAY(scales),
                                NX_ARRAY_OR_NULL(biases), transpose, &q, NX_STREAM(s)));
}

int mlx_gather_qmm(mlx_array *res, const mlx_array x, const mlx_array w, const mlx_array scales,
                   const mlx_array biases, const mlx_array lhs_indices, const mlx_array rhs_indices,
                   bool transpose, mlx_optional_int group_size, mlx_optional_int bits,
                   const char *mode, bool sorted_indices, const mlx_stream s)
{
    nx_quantization q = quantization(group_size, bits, NX_POINTER(mode));
    NX_GIVE(nx_gather_qmm(NX_ARRAY(x), NX_ARRAY(w), NX_ARRAY(scales), NX_ARRAY_OR_NULL(biases),
                          NX_ARRAY_OR_NULL(lhs_indices), NX_ARRAY_OR_NULL(rhs_indices), transpose,
                          &q, NX_STREAM(s)));
}
