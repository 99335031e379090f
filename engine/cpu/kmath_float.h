/*
 * kmath_float.h: float functions without branches, so that loops over them vectorise. Errors are
 * under 2 units in the last place unless a comment says otherwise.
 */
#ifndef NX_CPU_KMATH_FLOAT_H
#define NX_CPU_KMATH_FLOAT_H

#include <math.h>
#include <stdint.h>

#include "engine/core/half.h"

/* One rounding where the processor has the instruction; the C library's version would not vectorise. */
#if defined(__FMA__) || defined(__aarch64__)
#define K_FMA(a, b, c) __builtin_fmaf(a, b, c)
#else
#define K_FMA(a, b, c) ((a) * (b) + (c))
#endif

/* Adding and subtracting 1.5 * 2^23 leaves the nearest integer (even at a tie), for |x| < 2^22. */
#define K_MAGIC 12582912.0f

static inline float k_rint_f32(float x)
{
    float a = fabsf(x), r = (a + 8388608.0f) - 8388608.0f;
    return copysignf(a < 8388608.0f ? r : a, x);
}

/* 2^n for whole -126 <= n <= 127. */
static inline float k_pow2i(float n)
{
    return nx_float_of_bits((uint32_t)((int32_t)n + 127) << 23);
}

/* e^r for |r| <= ln(2) / 2. */
static inline float k_exp_reduced(float r)
{
    float p = 1.0f / 5040;
    p = K_FMA(p, r, 1.0f / 720);
    p = K_FMA(p, r, 1.0f / 120);
    p = K_FMA(p, r, 1.0f / 24);
    p = K_FMA(p, r, 1.0f / 6);
    p = K_FMA(p, r, 0.5f);
    return K_FMA(p * r, r, r) + 1.0f;
}

/* x = n ln(2) + r; n is scaled in two steps so that subnormal results and 2^128 come out. */
static inline float k_exp_f32(float x)
{
    float clamped = x > 89.0f ? 89.0f : x < -104.0f ? -104.0f : x;
    float n = (K_FMA(clamped, 1.44269504f, K_MAGIC)) - K_MAGIC;
    float r = K_FMA(n, -0.693145752f, clamped);
    r = K_FMA(n, -1.42860677e-6f, r);
    float half = (K_FMA(n, 0.5f, K_MAGIC)) - K_MAGIC;
    float y = k_exp_reduced(r) * k_pow2i(half) * k_pow2i(n - half);
    return x != x ? x : y;
}

#define k_log_f32 logf
#define k_log2_f32 log2f
#define k_log10_f32 log10f
#define k_log1p_f32 log1pf
#define k_expm1_f32 expm1f
#define k_sin_f32 sinf
#define k_cos_f32 cosf
#define k_tan_f32 tanf
#define k_asin_f32 asinf
#define k_acos_f32 acosf
#define k_atan_f32 atanf
#define k_sinh_f32 sinhf
#define k_cosh_f32 coshf
#define k_tanh_f32 tanhf
#define k_asinh_f32 asinhf
#define k_acosh_f32 acoshf
#define k_atanh_f32 atanhf
#define k_erf_f32 erff
#define k_pow_f32 powf
#define k_atan2_f32 atan2f

static inline float k_mod_f32(float x, float y)
{
    float r = fmodf(x, y);
    return r != 0 && (r < 0) != (y < 0) ? r + y : r;
}

static inline float k_sigmoid_f32(float x)
{
    float e = k_exp_f32(-fabsf(x));
    return (x >= 0 ? 1.0f : e) / (1 + e);
}

static inline float k_logaddexp_f32(float x, float y)
{
    float high = x > y || x != x ? x : y, low = x < y || x != x ? x : y;
    return low == -INFINITY || high == INFINITY ? high : high + log1pf(k_exp_f32(low - high));
}

/* The inverse error function by M. Giles' two polynomials in w = -ln(1 - x²); `rest` is 1 - |x|. */
static inline float k_erfinv_poly(float w, float x)
{
    float a = w - 2.5f, b = sqrtf(w) - 3.0f;
    float p = 2.81022636e-08f, q = -0.000200214257f;
    p = K_FMA(p, a, 3.43273939e-07f), q = K_FMA(q, b, 0.000100950558f);
    p = K_FMA(p, a, -3.5233877e-06f), q = K_FMA(q, b, 0.00134934322f);
    p = K_FMA(p, a, -4.39150654e-06f), q = K_FMA(q, b, -0.00367342844f);
    p = K_FMA(p, a, 0.00021858087f), q = K_FMA(q, b, 0.00573950773f);
    p = K_FMA(p, a, -0.00125372503f), q = K_FMA(q, b, -0.0076224613f);
    p = K_FMA(p, a, -0.00417768164f), q = K_FMA(q, b, 0.00943887047f);
    p = K_FMA(p, a, 0.246640727f), q = K_FMA(q, b, 1.00167406f);
    p = K_FMA(p, a, 1.50140941f), q = K_FMA(q, b, 2.83297682f);
    return (w < 5.0f ? p : q) * x;
}

static inline float k_erfinv_f32(float x)
{
    float a = fabsf(x), w = -k_log_f32((1 - a) * (1 + a));
    float y = k_erfinv_poly(w, x);
    return a < 1 ? y : a == 1 ? copysignf(INFINITY, x) : NAN;
}

/* A first guess for double: w from rest, which float could not hold apart from 0. */
static inline float k_erfinv_wide(double x, double rest)
{
    return k_erfinv_poly((float)-log(rest * (1 + x)), (float)x);
}

#endif
