/*
 * floats.h: short runs of elements as floats: how kernels read any floating or integer type, compute
 * in float, and write it back. Runs are at most a few hundred elements and live on the stack.
 */
#ifndef NX_CPU_FLOATS_H
#define NX_CPU_FLOATS_H

#include <string.h>

#include "engine/core/dtype.h"
#include "engine/cpu/types.h"
#if defined(__AVX2__)
#include <immintrin.h>
#endif

/* Iterations of the next loop do not depend on each other, even where pointers are equal. */
#if defined(__clang__)
#define NX_IVDEP _Pragma("clang loop vectorize(assume_safety)")
#else
#define NX_IVDEP _Pragma("GCC ivdep")
#endif

enum { NX_RUN = 512 }; /* elements */

static inline void nx_floats_from_f16(float *to, const nx_f16 *from, int64_t step, int n)
{
    int i = 0;
#if defined(__F16C__)
    if (step == 1)
        for (; i + 8 <= n; i += 8)
            _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128((const void *)(from + i))));
#else
    if (step == 1)
        for (; i < n; i++)
            to[i] = nx_half_to_float(from[i].bits);
#endif
    for (; i < n; i++)
        to[i] = nx_half_to_float(from[i * step].bits);
}

static inline void nx_floats_to_f16(nx_f16 *to, const float *from, int n)
{
    int i = 0;
#if defined(__F16C__)
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((void *)(to + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT));
#endif
    for (; i < n; i++)
        to[i].bits = nx_half_from_float(from[i]);
}

static inline void nx_floats_from_bf16(float *to, const nx_bf16 *from, int64_t step, int n)
{
    if (step == 1)
        for (int i = 0; i < n; i++)
            to[i] = nx_bf16_to_float(from[i].bits);
    else
        for (int i = 0; i < n; i++)
            to[i] = nx_bf16_to_float(from[i * step].bits);
}

static inline void nx_floats_from_f32(float *to, const float *from, int64_t step, int n)
{
    if (step == 1)
        memcpy(to, from, (size_t)n * sizeof *to);
    else
        for (int i = 0; i < n; i++)
            to[i] = from[i * step];
}

/* n elements of type float16, bfloat16, float32 or float64, `step` apart. */
static inline void nx_floats_load(float *to, nx_dtype t, const void *from, int64_t step, int n)
{
    if (t == NX_FLOAT32)
        nx_floats_from_f32(to, from, step, n);
    else if (t == NX_FLOAT16)
        nx_floats_from_f16(to, from, step, n);
    else if (t == NX_BFLOAT16)
        nx_floats_from_bf16(to, from, step, n);
    else
        for (int i = 0; i < n; i++)
            to[i] = (float)((const double *)from)[i * step];
}

/* The same back, densely. */
static inline void nx_floats_store(void *to, nx_dtype t, const float *from, int n)
{
    if (t == NX_FLOAT32) {
        memcpy(to, from, (size_t)n * sizeof *from);
    } else if (t == NX_FLOAT16) {
        nx_floats_to_f16(to, from, n);
    } else if (t == NX_BFLOAT16) {
        nx_bf16 *y = to;
        for (int i = 0; i < n; i++)
            y[i].bits = nx_bf16_from_float(from[i]);
    } else {
        double *y = to;
        for (int i = 0; i < n; i++)
            y[i] = from[i];
    }
}

/* Rounded to a half type and back: what storing and loading again would give. */
static inline void nx_floats_round(float *x, nx_dtype t, int n)
{
    uint16_t bits[NX_RUN];
    if (t != NX_FLOAT16 && t != NX_BFLOAT16)
        return;
    nx_floats_store(bits, t, x, n);
    nx_floats_load(x, t, bits, 1, n);
}

#endif
