/*
 * half.h: the compiler's own 16-bit floating types, where it has them.
 *
 * HAS_FLOAT16 and HAS_BFLOAT16 say whether float16_t and bfloat16_t exist. Where they do not, the
 * elements of such arrays are read and written as uint16_t.
 */
#ifndef MLX_C_HALF_H
#define MLX_C_HALF_H

#if defined(__ARM_FEATURE_FP16_SCALAR_ARITHMETIC) || defined(__aarch64__)
#define HAS_FLOAT16 1
#include <arm_fp16.h>
typedef __fp16 float16_t;
#endif

#if defined(__ARM_FEATURE_BF16) || defined(__aarch64__)
#define HAS_BFLOAT16 1
#include <arm_bf16.h>
typedef __bf16 bfloat16_t;
#endif

#endif
