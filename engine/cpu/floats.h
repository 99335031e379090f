/*
 * floats.h: short runs of elements as floats: how kernels read any floating or integer type, compute
 * in float, and write it back. Runs are at most a few hundred elements and live on the stack.
 */
#ifndef NX_CPU_FLOATS_H
#define NX_CPU_FLOATS_H

#include <string.h>

#include "engine/core/dtype.h"
#include "engine/cpu/half_tile.h"
#include "engine/cpu/tile.h"
#include "engine/cpu/types.h"

enum { NX_RUN = 512 }; /* elements */

static inline void nx_floats_from_f16(float *to, const nx_f16 *from, int64_t step, int n)
{
    if (step == 1)
        nx_tile_from_f16(n, from, to);
    else
        for (int i = 0; i < n; i++)
            to[i] = nx_half_to_float(from[i * step].bits);
}

static inline void nx_floats_from_bf16(float *to, const nx_bf16 *from, int64_t step, int n)
{
    if (step == 1)
        nx_tile_from_bf16(n, from, to);
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
        nx_tile_to_f16(n, from, to);
    } else if (t == NX_BFLOAT16) {
        nx_tile_to_bf16(n, from, to);
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
