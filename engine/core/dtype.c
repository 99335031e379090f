#include "engine/core/dtype.h"

#include <stdint.h>

static const struct {
    uint8_t size;
    const char *name;
} info[NX_DTYPE_COUNT] = {
    [NX_BOOL] = {1, "bool"},         [NX_UINT8] = {1, "uint8"},
    [NX_UINT16] = {2, "uint16"},     [NX_UINT32] = {4, "uint32"},
    [NX_UINT64] = {8, "uint64"},     [NX_INT8] = {1, "int8"},
    [NX_INT16] = {2, "int16"},       [NX_INT32] = {4, "int32"},
    [NX_INT64] = {8, "int64"},       [NX_FLOAT16] = {2, "float16"},
    [NX_FLOAT32] = {4, "float32"},   [NX_FLOAT64] = {8, "float64"},
    [NX_BFLOAT16] = {2, "bfloat16"}, [NX_COMPLEX64] = {8, "complex64"},
};

size_t nx_dtype_size(nx_dtype t)
{
    return info[t].size;
}

const char *nx_dtype_name(nx_dtype t)
{
    return info[t].name;
}

/* Rows and columns in enum order; read off MLX by adding arrays of every pair of types. */
enum {
    B = NX_BOOL, U1 = NX_UINT8, U2 = NX_UINT16, U4 = NX_UINT32, U8 = NX_UINT64,
    I1 = NX_INT8, I2 = NX_INT16, I4 = NX_INT32, I8 = NX_INT64,
    H = NX_FLOAT16, F = NX_FLOAT32, D = NX_FLOAT64, BF = NX_BFLOAT16, C = NX_COMPLEX64,
};
static const uint8_t promoted[NX_DTYPE_COUNT][NX_DTYPE_COUNT] = {
    {B, U1, U2, U4, U8, I1, I2, I4, I8, H, F, D, BF, C},
    {U1, U1, U2, U4, U8, I2, I2, I4, I8, H, F, D, BF, C},
    {U2, U2, U2, U4, U8, I4, I4, I4, I8, H, F, D, BF, C},
    {U4, U4, U4, U4, U8, I8, I8, I8, I8, H, F, D, BF, C},
    {U8, U8, U8, U8, U8, F, F, F, F, H, F, D, BF, C},
    {I1, I2, I4, I8, F, I1, I2, I4, I8, H, F, D, BF, C},
    {I2, I2, I4, I8, F, I2, I2, I4, I8, H, F, D, BF, C},
    {I4, I4, I4, I8, F, I4, I4, I4, I8, H, F, D, BF, C},
    {I8, I8, I8, I8, F, I8, I8, I8, I8, H, F, D, BF, C},
    {H, H, H, H, H, H, H, H, H, H, F, D, F, C},
    {F, F, F, F, F, F, F, F, F, F, F, D, F, C},
    {D, D, D, D, D, D, D, D, D, D, D, D, D, C},
    {BF, BF, BF, BF, BF, BF, BF, BF, BF, F, F, D, BF, C},
    {C, C, C, C, C, C, C, C, C, C, C, C, C, C},
};

nx_dtype nx_promote(nx_dtype a, nx_dtype b)
{
    return (nx_dtype)promoted[a][b];
}

nx_dtype nx_at_least_float(nx_dtype t)
{
    return nx_dtype_in(t, NX_INEXACT) ? t : NX_FLOAT32;
}
