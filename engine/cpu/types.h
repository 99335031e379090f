/*
 * types.h: the element types of kernels, and lists of them for templates.
 *
 * Half types are structs of their bits, so that arithmetic on them by accident does not compile:
 * kernels convert them to float and back, a tile at a time.
 */
#ifndef NX_CPU_TYPES_H
#define NX_CPU_TYPES_H

#include <complex.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/core/half.h"

typedef struct {
    uint16_t bits;
} nx_f16;
typedef struct {
    uint16_t bits;
} nx_bf16;
typedef float _Complex nx_c64;

#if !defined(CMPLXF) /* glibc has them for gcc alone */
#define CMPLX(re, im)  __builtin_complex((double)(re), (double)(im))
#define CMPLXF(re, im) __builtin_complex((float)(re), (float)(im))
#endif

/* X(name of enum value without NX_, C type, short name) for each dtype, in enum order. */
#define NX_TYPES_REAL_NATIVE(X) \
    X(BOOL, bool, b)            \
    X(UINT8, uint8_t, u8)       \
    X(UINT16, uint16_t, u16)    \
    X(UINT32, uint32_t, u32)    \
    X(UINT64, uint64_t, u64)    \
    X(INT8, int8_t, i8)         \
    X(INT16, int16_t, i16)      \
    X(INT32, int32_t, i32)      \
    X(INT64, int64_t, i64)      \
    X(FLOAT32, float, f32)      \
    X(FLOAT64, double, f64)
#define NX_TYPES_HALF(X)        \
    X(FLOAT16, nx_f16, f16)     \
    X(BFLOAT16, nx_bf16, bf16)
#define NX_TYPES(X)         \
    NX_TYPES_REAL_NATIVE(X) \
    NX_TYPES_HALF(X)        \
    X(COMPLEX64, nx_c64, c64)

#endif
