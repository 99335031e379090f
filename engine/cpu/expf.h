/*
 * expf.h: exp, log and sine with cosine as straight-line code, which loops over tiles vectorise.
 * Errors are under two units in the last place.
 */
#ifndef NX_CPU_EXPF_H
#define NX_CPU_EXPF_H

#include <math.h>

#include "engine/core/half.h"

#if defined(__FMA__) || defined(__aarch64__)
#define NX_FMA(a, b, c) __builtin_fmaf(a, b, c)
#else
#define NX_FMA(a, b, c) ((a) * (b) + (c))
#endif

/* exp(x) = 2^n exp(r), |r| <= ln 2 / 2. 2^n goes on in two factors, so that results near either end
 * of the range come out right. */
static inline float nx_expf(float x)
{
    const float shift = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    x = x > 89.0f ? 89.0f : x;
    x = x < -104.0f ? -104.0f : x;
    float t = x * 1.44269504f + shift, n = t - shift;
    int32_t k = (int32_t)(nx_bits_of_float(t) - nx_bits_of_float(shift));
    float r = NX_FMA(n, -0.693359375f, x);
    r = NX_FMA(n, 2.12194440e-4f, r);
    float p = 1.9875691500e-4f;
    p = NX_FMA(p, r, 1.3981999507e-3f);
    p = NX_FMA(p, r, 8.3334519073e-3f);
    p = NX_FMA(p, r, 4.1665795894e-2f);
    p = NX_FMA(p, r, 1.6666665459e-1f);
    p = NX_FMA(p, r, 5.0000001201e-1f);
    p = NX_FMA(p, r * r, r) + 1.0f;
    int32_t half = k >> 1;
    float a = nx_float_of_bits((uint32_t)(half + 127) << 23);
    float b = nx_float_of_bits((uint32_t)(k - half + 127) << 23);
    return p * a * b;
}

/* Sine and cosine of any finite angle up to 2^30: the angle is reduced in double. */
static inline void nx_sincosf(double angle, float *sine, float *cosine)
{
    const double shift = 6755399441055744.0; /* 1.5 * 2^52 */
    double t = angle * 0.63661977236758134308 + shift, n = t - shift;
    uint64_t bits;
    memcpy(&bits, &t, 8);
    uint32_t quadrant = (uint32_t)bits;
    float r = (float)((angle - n * 1.5707963267948966) - n * 6.123233995736766e-17), r2 = r * r;
    float s = NX_FMA(-1.9515295891e-4f, r2, 8.3321608736e-3f);
    s = NX_FMA(s, r2, -1.6666654611e-1f);
    s = NX_FMA(s * r2, r, r);
    float c = NX_FMA(2.443315711809948e-5f, r2, -1.388731625493765e-3f);
    c = NX_FMA(c, r2, 4.166664568298827e-2f);
    c = NX_FMA(c * r2, r2, 1.0f - 0.5f * r2);
    float a = quadrant & 1 ? c : s, b = quadrant & 1 ? s : c;
    uint32_t a_sign = (quadrant & 2) << 30, b_sign = ((quadrant + 1) & 2) << 30;
    *sine = nx_float_of_bits(nx_bits_of_float(a) ^ a_sign);
    *cosine = nx_float_of_bits(nx_bits_of_float(b) ^ b_sign);
}

#endif
