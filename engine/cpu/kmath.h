/*
 * kmath.h: the functions of elementwise.def by element type: k_exp(x) and so on. float has own
 * branch-free versions that vectorise; double and complex call the C library.
 */
#ifndef NX_CPU_KMATH_H
#define NX_CPU_KMATH_H

#include <complex.h>
#include <math.h>

#include "engine/cpu/kmath_float.h"
#include "engine/cpu/types.h"

/* ---- integers ----------------------------------------------------------------------------------- */

/* Division that never traps: by zero it gives 0, and the rest of division by zero is 0. Quotients
 * round to zero; k_mod has the sign of the divisor, k_rem that of the dividend. */
#define K_SIGNED_DIVISION(T, t)                                   \
    static inline T k_div_##t(T x, T y)                           \
    {                                                             \
        return y == 0 ? 0 : y == -1 ? -x : x / y;                 \
    }                                                             \
    static inline T k_rem_##t(T x, T y)                           \
    {                                                             \
        return y == 0 || y == -1 ? 0 : x % y;                     \
    }                                                             \
    static inline T k_mod_##t(T x, T y)                           \
    {                                                             \
        T r = k_rem_##t(x, y);                                    \
        return r != 0 && (r < 0) != (y < 0) ? r + y : r;          \
    }
#define K_UNSIGNED_DIVISION(T, t)                                 \
    static inline T k_div_##t(T x, T y)                           \
    {                                                             \
        return y == 0 ? 0 : x / y;                                \
    }                                                             \
    static inline T k_rem_##t(T x, T y)                           \
    {                                                             \
        return y == 0 ? 0 : x % y;                                \
    }
K_SIGNED_DIVISION(int32_t, i32)
K_SIGNED_DIVISION(int64_t, i64)
K_UNSIGNED_DIVISION(uint32_t, u32)
K_UNSIGNED_DIVISION(uint64_t, u64)
#define k_mod_u32 k_rem_u32
#define k_mod_u64 k_rem_u64

/* Smaller types fit into int32_t. */
#define K_INTEGER(f, x) \
    _Generic((x), int64_t: f##_i64, uint64_t: f##_u64, uint32_t: f##_u32, default: f##_i32)

/* x to the power of y, wrapping. Negative powers round to zero: 1 and -1 alone have others. */
static inline uint64_t k_ipow(uint64_t x, uint64_t y, bool negative)
{
    if (negative)
        return x == 1 ? 1 : x == UINT64_MAX ? (y & 1 ? x : 1) : 0;
    uint64_t r = 1;
    for (; y; y >>= 1, x *= x)
        if (y & 1)
            r *= x;
    return r;
}

/* Counts beyond the width wrap as the processor's do, small types as int. */
#define K_SHIFT_MASK(x) (sizeof(x) == 8 ? 63 : 31)
#define k_shl(x, y) ((x) << ((y)&K_SHIFT_MASK(x)))
#define k_shr(x, y) ((x) >> ((y)&K_SHIFT_MASK(x)))

/* ---- complex ------------------------------------------------------------------------------------ */

static inline nx_c64 k_complex(float re, float im)
{
    return CMPLXF(re, im);
}
static inline nx_c64 k_mul_c64(nx_c64 x, nx_c64 y)
{
    float a = crealf(x), b = cimagf(x), c = crealf(y), d = cimagf(y);
    return k_complex(a * c - b * d, a * d + b * c);
}
static inline bool k_less_c64(nx_c64 x, nx_c64 y) /* by real part, then imaginary */
{
    return crealf(x) < crealf(y) || (crealf(x) == crealf(y) && cimagf(x) < cimagf(y));
}
static inline bool k_less_equal_c64(nx_c64 x, nx_c64 y)
{
    return x == y || k_less_c64(x, y);
}
static inline nx_c64 k_max_c64(nx_c64 x, nx_c64 y)
{
    return x != x || k_less_c64(y, x) ? x : y;
}
static inline nx_c64 k_min_c64(nx_c64 x, nx_c64 y)
{
    return x != x || k_less_c64(x, y) ? x : y;
}
static inline nx_c64 k_sign_c64(nx_c64 x)
{
    return x == 0 ? x : x / k_complex(cabsf(x), 0);
}
static inline nx_c64 k_scale_c64(nx_c64 x, float by)
{
    return k_complex(crealf(x) * by, cimagf(x) * by);
}
static inline nx_c64 k_log2_c64(nx_c64 x)
{
    return k_scale_c64(clogf(x), 1.442695041f);
}
static inline nx_c64 k_log10_c64(nx_c64 x)
{
    return k_scale_c64(clogf(x), 0.4342944819f);
}
static inline nx_c64 k_abs_c64(nx_c64 x)
{
    return k_complex(cabsf(x), 0);
}
static inline nx_c64 k_rint_c64(nx_c64 x)
{
    return k_complex(rintf(crealf(x)), rintf(cimagf(x)));
}
static inline nx_c64 k_expm1_c64(nx_c64 x) /* exp(a) cos(b) - 1 without cancellation near 0 */
{
    float a = crealf(x), b = cimagf(x), s = sinf(b / 2);
    return k_complex(expm1f(a) - 2 * expf(a) * s * s, expf(a) * sinf(b));
}
static inline nx_c64 k_log1p_c64(nx_c64 x) /* |1 + x|² - 1 = a (2 + a) + b² */
{
    float a = crealf(x), b = cimagf(x);
    if (fabsf(a) < 0.5f && fabsf(b) < 0.5f)
        return k_complex(0.5f * log1pf(a * (2 + a) + b * b), atan2f(b, 1 + a));
    return clogf(k_complex(1 + a, b));
}
static inline nx_c64 k_sigmoid_c64(nx_c64 x)
{
    return 1 / (1 + cexpf(-x));
}
/* Of real parts alone: there is no order to speak of. */
static inline nx_c64 k_mod_c64(nx_c64 x, nx_c64 y)
{
    return k_complex(k_mod_f32(crealf(x), crealf(y)), 0);
}
static inline nx_c64 k_atan2_c64(nx_c64 x, nx_c64 y)
{
    return k_complex(atan2f(crealf(x), crealf(y)), 0);
}
static inline nx_c64 k_logaddexp_c64(nx_c64 x, nx_c64 y)
{
    nx_c64 high = k_max_c64(x, y), low = k_min_c64(x, y);
    if (x != x || y != y)
        return k_complex(NAN, NAN);
    if (crealf(low) == -INFINITY || crealf(high) == INFINITY)
        return high;
    return high + k_log1p_c64(cexpf(low - high));
}

/* ---- double ------------------------------------------------------------------------------------- */

static inline double k_mod_f64(double x, double y)
{
    double r = fmod(x, y);
    return r != 0 && (r < 0) != (y < 0) ? r + y : r;
}
static inline double k_sigmoid_f64(double x)
{
    double e = exp(-fabs(x));
    return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}
static inline double k_logaddexp_f64(double x, double y)
{
    double high = x > y || x != x ? x : y, low = x < y || x != x ? x : y;
    return low == -INFINITY || high == INFINITY ? high : high + log1p(exp(low - high));
}
/* The float version is exact to some 1e-7; two steps of Newton on erf(r) = x. */
static inline double k_erfinv_f64(double x)
{
    if (!(fabs(x) < 1))
        return fabs(x) == 1 ? copysign(INFINITY, x) : NAN;
    double a = fabs(x), r = (double)k_erfinv_wide(a, 1 - a);
    for (int i = 0; i < 3; i++) {
        double miss = a < 0.5 ? erf(r) - a : (1 - a) - erfc(r);
        double slope = 1.1283791670955126 * exp(-r * r); /* 2/sqrt(pi) */
        double step = slope > 0 ? miss / slope : 0;
        r -= step / (1 + r * step);
    }
    return copysign(r, x);
}

/* ---- fp8 ---------------------------------------------------------------------------------------- */

/* Nearest, ties to even; what is above 448, and NaN, becomes 448. */
static inline uint8_t k_to_fp8_f32(float x)
{
    uint32_t sign = nx_bits_of_float(x) >> 24 & 0x80;
    float a = fabsf(x);
    a = a < 448.0f ? a : 448.0f;
    uint32_t u = nx_bits_of_float(a);
    uint32_t normal = ((u + 0x7FFFF + (u >> 20 & 1)) >> 20) - (120 << 3);
    /* Below 2^-6, steps of 2^-9: the float adder rounds them. */
    uint32_t small = nx_bits_of_float(a + 16384.0f) - nx_bits_of_float(16384.0f);
    return (uint8_t)(sign | (a < 0x1p-6f ? small : normal));
}
static inline uint8_t k_to_fp8_f64(double x)
{
    return k_to_fp8_f32((float)x);
}
static inline float k_from_fp8(uint8_t x)
{
    float a = nx_float_of_bits((uint32_t)(x & 0x7F) << 20) * 0x1p120f;
    return x & 0x80 ? -a : a;
}

/* ---- by type ------------------------------------------------------------------------------------ */

#define K_REAL(x, f, d) _Generic((x), float: f, double: d)
#define K_INEXACT(x, f, d, c) _Generic((x), float: f, double: d, nx_c64: c)

#define k_mul(x, y) k_mul_c64(x, y)
#define k_less(x, y) k_less_c64(x, y)
#define k_less_equal(x, y) k_less_equal_c64(x, y)
#define k_max(x, y) k_max_c64(x, y)
#define k_min(x, y) k_min_c64(x, y)
#define k_sign(x) k_sign_c64(x)
#define k_div(x, y) K_INTEGER(k_div, x)(x, y)
#define k_rem(x, y) K_INTEGER(k_rem, x)(x, y)
#define k_mod(x, y)                                                                          \
    _Generic((x), float: k_mod_f32, double: k_mod_f64, nx_c64: k_mod_c64, int64_t: k_mod_i64, \
             uint64_t: k_mod_u64, uint32_t: k_mod_u32, default: k_mod_i32)(x, y)

#define k_abs(x) K_INEXACT(x, fabsf, fabs, k_abs_c64)(x)
#define k_sqrt(x) K_INEXACT(x, sqrtf, sqrt, csqrtf)(x)
#define k_exp(x) K_INEXACT(x, k_exp_f32, exp, cexpf)(x)
#define k_expm1(x) K_INEXACT(x, k_expm1_f32, expm1, k_expm1_c64)(x)
#define k_log(x) K_INEXACT(x, k_log_f32, log, clogf)(x)
#define k_log2(x) K_INEXACT(x, k_log2_f32, log2, k_log2_c64)(x)
#define k_log10(x) K_INEXACT(x, k_log10_f32, log10, k_log10_c64)(x)
#define k_log1p(x) K_INEXACT(x, k_log1p_f32, log1p, k_log1p_c64)(x)
#define k_sin(x) K_INEXACT(x, k_sin_f32, sin, csinf)(x)
#define k_cos(x) K_INEXACT(x, k_cos_f32, cos, ccosf)(x)
#define k_tan(x) K_INEXACT(x, k_tan_f32, tan, ctanf)(x)
#define k_asin(x) K_INEXACT(x, k_asin_f32, asin, casinf)(x)
#define k_acos(x) K_INEXACT(x, k_acos_f32, acos, cacosf)(x)
#define k_atan(x) K_INEXACT(x, k_atan_f32, atan, catanf)(x)
#define k_sinh(x) K_INEXACT(x, k_sinh_f32, sinh, csinhf)(x)
#define k_cosh(x) K_INEXACT(x, k_cosh_f32, cosh, ccoshf)(x)
#define k_tanh(x) K_INEXACT(x, k_tanh_f32, tanh, ctanhf)(x)
#define k_asinh(x) K_INEXACT(x, k_asinh_f32, asinh, casinhf)(x)
#define k_acosh(x) K_INEXACT(x, k_acosh_f32, acosh, cacoshf)(x)
#define k_atanh(x) K_INEXACT(x, k_atanh_f32, atanh, catanhf)(x)
#define k_rint(x) K_INEXACT(x, k_rint_f32, rint, k_rint_c64)(x)
#define k_ceil(x) K_REAL(x, ceilf, ceil)(x)
#define k_floor(x) K_REAL(x, floorf, floor)(x)
#define k_trunc(x) K_REAL(x, truncf, trunc)(x)
#define k_fmod(x, y) K_REAL(x, fmodf, fmod)(x, y)
#define k_erf(x) K_REAL(x, k_erf_f32, erf)(x)
#define k_erfinv(x) K_REAL(x, k_erfinv_f32, k_erfinv_f64)(x)
#define k_to_fp8(x) K_REAL(x, k_to_fp8_f32, k_to_fp8_f64)(x)
#define k_sigmoid(x) K_INEXACT(x, k_sigmoid_f32, k_sigmoid_f64, k_sigmoid_c64)(x)
#define k_pow(x, y) K_INEXACT(x, k_pow_f32, pow, cpowf)(x, y)
#define k_atan2(x, y) K_INEXACT(x, k_atan2_f32, atan2, k_atan2_c64)(x, y)
#define k_logaddexp(x, y) K_INEXACT(x, k_logaddexp_f32, k_logaddexp_f64, k_logaddexp_c64)(x, y)

#endif
