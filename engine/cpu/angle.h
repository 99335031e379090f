/*
 * angle.h: sine with cosine as straight-line code, which loops vectorise. Errors are under 1e-7.
 */
#ifndef NX_CPU_ANGLE_H
#define NX_CPU_ANGLE_H

#include "engine/cpu/kmath_float.h"

/* Sine and cosine of any finite angle up to 2^30: the angle is reduced in double. */
static inline void nx_sincosf(double angle, float *sine, float *cosine)
{
    const double shift = 6755399441055744.0; /* 1.5 * 2^52 */
    double t = angle * 0.63661977236758134308 + shift, n = t - shift;
    uint64_t bits;
    memcpy(&bits, &t, 8);
    uint32_t quadrant = (uint32_t)bits;
    float r = (float)((angle - n * 1.5707963267948966) - n * 6.123233995736766e-17), r2 = r * r;
    float s = K_FMA(-1.9515295891e-4f, r2, 8.3321608736e-3f);
    s = K_FMA(s, r2, -1.6666654611e-1f);
    s = K_FMA(s * r2, r, r);
    float c = K_FMA(2.443315711809948e-5f, r2, -1.388731625493765e-3f);
    c = K_FMA(c, r2, 4.166664568298827e-2f);
    c = K_FMA(c * r2, r2, 1.0f - 0.5f * r2);
    float a = quadrant & 1 ? c : s, b = quadrant & 1 ? s : c;
    uint32_t a_sign = (quadrant & 2) << 30, b_sign = ((quadrant + 1) & 2) << 30;
    *sine = nx_float_of_bits(nx_bits_of_float(a) ^ a_sign);
    *cosine = nx_float_of_bits(nx_bits_of_float(b) ^ b_sign);
}

#endif
