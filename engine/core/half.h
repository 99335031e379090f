/* half.h: float16 and bfloat16 as bits, one value at a time (kernels have vector forms of these).
 * Rounding is to nearest even; NaN stays NaN. */
#ifndef NX_CORE_HALF_H
#define NX_CORE_HALF_H

#include <stdint.h>
#include <string.h>

static inline float nx_float_of_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static inline uint32_t nx_bits_of_float(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

static inline float nx_bf16_to_float(uint16_t h)
{
    return nx_float_of_bits((uint32_t)h << 16);
}

static inline uint16_t nx_bf16_from_float(float f)
{
    uint32_t u = nx_bits_of_float(f);
    uint32_t rounded = (u + 0x7FFF + (u >> 16 & 1)) >> 16;
    uint32_t nan = u >> 16 | 0x40;
    return (uint16_t)((u & 0x7FFFFFFF) > 0x7F800000 ? nan : rounded);
}

/* Multiplying by 2^112 moves the exponent from float16's bias to float's, subnormals included. */
static inline float nx_half_to_float(uint16_t h)
{
    uint32_t magnitude = (uint32_t)(h & 0x7FFF) << 13;
    float f = nx_float_of_bits(magnitude) * 0x1p112f;
    uint32_t u = nx_bits_of_float(f);
    u |= (h & 0x7FFF) >= 0x7C00 ? 0x7F800000u : 0u; /* infinity and NaN keep their mantissa */
    return nx_float_of_bits(u | (uint32_t)(h & 0x8000) << 16);
}

static inline uint16_t nx_half_from_float(float f)
{
    uint32_t u = nx_bits_of_float(f), sign = u >> 16 & 0x8000, mag = u & 0x7FFFFFFF;
    uint32_t normal = (mag - 0x38000000 + 0xFFF + (mag >> 13 & 1)) >> 13;
    /* Adding 0.5 lets the float adder round a subnormal to 2^-24 steps. */
    uint32_t subnormal = nx_bits_of_float(nx_float_of_bits(mag) + 0.5f) - 0x3F000000;
    uint32_t h = mag < 0x38800000 ? subnormal : normal;
    h = mag >= 0x477FF000 ? 0x7C00 : h; /* 65520 and more round to infinity */
    h = mag > 0x7F800000 ? 0x7E00 | (mag >> 13 & 0x3FF) : h;
    return (uint16_t)(sign | h);
}

#endif
