/*
 * fp_codes.h: the small floating types of quantization: e4m3 (8 bits), e2m1 (4 bits), e8m0 (a power of
 * two), and codes of 2 to 8 bits packed as a stream, lowest bits first.
 */
#ifndef NX_CPU_FP_CODES_H
#define NX_CPU_FP_CODES_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "engine/core/half.h"

/* 448 is the largest; what is larger, infinity and NaN become it. */
static inline uint8_t nx_e4m3_from_float(float x)
{
    uint32_t u = nx_bits_of_float(x), sign = u >> 24 & 0x80, mag = u & 0x7FFFFFFF;
    if (mag >= 0x43E00000)
        return (uint8_t)(sign | 0x7E);
    if (mag < 0x3C800000) /* under 2^-6: steps of 2^-9 */
        return (uint8_t)(sign | (uint32_t)rintf(nx_float_of_bits(mag) * 512));
    uint32_t rounded = mag + 0x7FFFF + (mag >> 20 & 1);
    return (uint8_t)(sign | ((rounded >> 20) - (120 << 3)));
}

static inline float nx_e4m3_to_float(uint8_t c)
{
    uint32_t mag = c & 0x7F;
    float f = mag == 0x7F ? NAN
              : mag < 8   ? (float)mag * 0x1p-9f
                          : nx_float_of_bits((mag << 20) + (120u << 23));
    return c & 0x80 ? -f : f;
}

static const float nx_e2m1_values[16] = {0,  0.5f,  1,  1.5f,  2,  3,  4,  6,
                                         -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};

/* The nearest; in the middle the one nearer to zero; zero has no sign. */
static inline uint8_t nx_e2m1_from_float(float x)
{
    float a = fabsf(x);
    uint8_t mag = (uint8_t)((a > 0.25f) + (a > 0.75f) + (a > 1.25f) + (a > 1.75f) + (a > 2.5f) +
                            (a > 3.5f) + (a > 5));
    return mag && x < 0 ? mag | 8 : mag;
}

static inline float nx_e8m0_to_float(uint8_t c)
{
    return c ? nx_float_of_bits((uint32_t)c << 23) : nx_float_of_bits(0x400000);
}

/* Code number i of a row. */
static inline unsigned nx_code_get(const uint8_t *row, int64_t i, int bits)
{
    int64_t at = i * bits;
    int shift = (int)(at & 7);
    unsigned v = row[at >> 3];
    if (shift + bits > 8)
        v |= (unsigned)row[(at >> 3) + 1] << 8;
    return v >> shift & ((1u << bits) - 1);
}

/* The row must be zero before. */
static inline void nx_code_put(uint8_t *row, int64_t i, int bits, unsigned code)
{
    int64_t at = i * bits;
    int shift = (int)(at & 7);
    row[at >> 3] |= (uint8_t)(code << shift);
    if (shift + bits > 8)
        row[(at >> 3) + 1] |= (uint8_t)(code >> (8 - shift));
}

#endif
