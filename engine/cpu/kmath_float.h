/*
 * kmath_float.h: float functions without branches, so that loops over them vectorise. Errors stay
 * under 2 units in the last place, 2.5 for tan, tanh, sigmoid and arcosh, 3/4 more without fused multiply-add:
 * tests/unit/engine/test_vector_math.c holds every level to it.
 */
#ifndef NX_CPU_KMATH_FLOAT_H
#define NX_CPU_KMATH_FLOAT_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "engine/core/half.h"

/* One rounding where the processor has the instruction; the C library's version would not vectorise. */
#if defined(__FMA__) || defined(__aarch64__)
#define K_FMA(a, b, c) __builtin_fmaf(a, b, c)
#define K_FUSED 1
#else
#define K_FMA(a, b, c) ((a) * (b) + (c))
#define K_FUSED 0
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

/* 2^i, and that of numbers near K_MAGIC whose whole part it is. */
static inline float k_pow2_whole(int32_t i)
{
    return nx_float_of_bits((uint32_t)(i + 127) << 23);
}
static inline int32_t k_whole(float near_magic)
{
    return (int32_t)(nx_bits_of_float(near_magic) - 0x4B400000);
}

/* e^r for |r| <= ln(2) / 2: a minimax fit. */
static inline float k_exp_reduced(float r)
{
    float p = 1.38141908e-3f;
    p = K_FMA(p, r, 8.36891369e-3f);
    p = K_FMA(p, r, 4.16684072e-2f);
    p = K_FMA(p, r, 0.16666519f);
    p = K_FMA(p, r, 0.499999933f);
    return K_FMA(p * r, r, r) + 1.0f;
}

/* x = n ln(2) + r; n is scaled in two steps so that subnormal results and 2^128 come out. */
static inline float k_exp_f32(float x)
{
    float bounded = 89.0f < x ? 89.0f : x; /* in this order NaN stays */
    bounded = -104.0f > bounded ? -104.0f : bounded;
    float t = K_FMA(bounded, 1.44269504f, K_MAGIC), n = t - K_MAGIC;
    float r = K_FMA(n, -0.693145752f, bounded);
    r = K_FMA(n, -1.42860677e-6f, r);
    int32_t whole = k_whole(t), half = whole >> 1;
    return k_exp_reduced(r) * k_pow2_whole(half) * k_pow2_whole(whole - half);
}

/* ---- logarithms --------------------------------------------------------------------------------- */

typedef struct {
    float k, f; /* x = 2^k (1 + f), sqrt(1/2) <= 1 + f < sqrt(2) */
} k_split;

static inline k_split k_split_f32(float x)
{
    bool subnormal = x < 0x1p-126f;
    uint32_t u = nx_bits_of_float(subnormal ? x * 0x1p23f : x) - 0x3F3504F3;
    float k = (float)((int32_t)u >> 23);
    float m = nx_float_of_bits((u & 0x7FFFFF) + 0x3F3504F3);
    return (k_split){subnormal ? k - 23 : k, m - 1};
}

/* ln(1 + f) + tail by the series of atanh(s), s = f / (2 + f). */
static inline float k_log_of_split(k_split x, float tail)
{
    float f = x.f, s = f / (2 + f), z = s * s, square = 0.5f * f * f;
    float r = 2.0f / 11;
    r = K_FMA(r, z, 2.0f / 9);
    r = K_FMA(r, z, 2.0f / 7);
    r = K_FMA(r, z, 2.0f / 5);
    r = K_FMA(r, z, 2.0f / 3) * z;
    float low = s * (square + r) + (x.k * 9.0580006145e-6f + tail);
    return x.k * 6.9313812256e-1f + (f - (square - low));
}

/* What every logarithm is at the edges: y for ordinary x. */
static inline float k_log_edges(float x, float y)
{
    y = x == INFINITY ? x : y;
    y = x == 0 ? -INFINITY : y;
    return x >= 0 ? y : NAN;
}

static inline float k_log_f32(float x)
{
    return k_log_edges(x, k_log_of_split(k_split_f32(x), 0));
}

static inline float k_log2_f32(float x)
{
    k_split p = k_split_f32(x);
    double whole = p.k;
    p.k = 0;
    return k_log_edges(x, (float)(whole + k_log_of_split(p, 0) * 1.4426950408889634));
}

static inline float k_log10_f32(float x)
{
    k_split p = k_split_f32(x);
    double whole = p.k * 0.30102999566398120;
    p.k = 0;
    return k_log_edges(x, (float)(whole + k_log_of_split(p, 0) * 0.43429448190325183));
}

/* ln(u) with u = 1 + x rounded, and what rounding lost. */
static inline float k_log1p_f32(float x)
{
    float u = 1 + x, lost = x - (u - 1);
    float y = k_log_edges(u, k_log_of_split(k_split_f32(u), u < INFINITY ? lost / u : 0));
    return x == 0 ? x : y;
}

/* ---- expm1 and the hyperbolic functions ----------------------------------------------------------- */

/* 2^n (e^r - 1) + 2^n - 1, with 2^n in two factors. NaN comes out by itself, -0 as 0. */
static inline float k_expm1_unsigned(float x)
{
    float clamped = x > 89.0f ? 89.0f : x < -30.0f ? -30.0f : x;
    float n = (K_FMA(clamped, 1.44269504f, K_MAGIC)) - K_MAGIC;
    float r = K_FMA(n, -0.693145752f, clamped);
    r = K_FMA(n, -1.42860677e-6f, r);
    float half = (K_FMA(n, 0.5f, K_MAGIC)) - K_MAGIC;
    float a = k_pow2i(half), b = k_pow2i(n - half), one = k_pow2i(half - n); /* 1 / b */
    float p = 1.0f / 5040;
    p = K_FMA(p, r, 1.0f / 720);
    p = K_FMA(p, r, 1.0f / 120);
    p = K_FMA(p, r, 1.0f / 24);
    p = K_FMA(p, r, 1.0f / 6);
    p = K_FMA(p, r, 0.5f);
    p = K_FMA(p * r, r, r);
    return K_FMA(a, p, a - one) * b;
}

static inline float k_expm1_f32(float x)
{
    float y = k_expm1_unsigned(x);
    return x == 0 || x != x ? x : y;
}

static inline float k_tanh_f32(float x)
{
    float a = fabsf(x), e = k_expm1_unsigned(2 * (a > 10.0f ? 10.0f : a));
    return copysignf(e / (e + 2), x);
}

/* Above 88 in two factors: e^a alone would be infinite too early. */
static inline float k_sinh_f32(float x)
{
    float a = fabsf(x), e = k_expm1_f32(a), h = k_exp_f32(0.5f * a);
    float y = a < 88.0f ? 0.5f * (e + e / (e + 1)) : 0.5f * h * h;
    return copysignf(y, x);
}

static inline float k_cosh_f32(float x)
{
    float a = fabsf(x), e = k_exp_f32(a), h = k_exp_f32(0.5f * a);
    return a < 88.0f ? 0.5f * e + 0.5f / e : 0.5f * h * h;
}

/* ---- trigonometry ------------------------------------------------------------------------------- */

/* Tiles (tile_tmpl.c) take the cheapest reduction that is exact enough for all of their angles: in
 * float (k_sin_near, where there is a fused multiply-add), in double, or the C library's. */
#define K_NEAR_LIMIT  (K_FUSED ? 32768.0f : 0.0f)
#define K_ANGLE_LIMIT 1e6f

/* pi in three parts, all too small: differences of -0 keep its sign. The product of a count of turns
 * and the first part is exact, and so is the difference to x, which lies on the same grid. */
static inline float k_off_turns(float x, float n)
{
    float r = K_FMA(n, -3.14159250f, x);
    r = K_FMA(n, -1.50995788e-7f, r);
    return K_FMA(n, -1.07806051e-14f, r);
}

/* sin(r) for |r| <= pi/2, its sign turned by the lowest bit of `turns`. */
static inline float k_sin_half_turn(float r, uint32_t turns)
{
    float z = r * r, p = -2.38595922e-8f;
    p = K_FMA(p, z, 2.75237325e-6f);
    p = K_FMA(p, z, -1.98408364e-4f);
    p = K_FMA(p, z, 8.33333087e-3f);
    p = K_FMA(p, z, -0.166666666f);
    return nx_float_of_bits(nx_bits_of_float(K_FMA(p, z * r, r)) ^ turns << 31);
}

static inline float k_sin_near_f32(float x)
{
    float a = fabsf(x), t = K_FMA(a, 0.318309886f, K_MAGIC);
    float y = k_sin_half_turn(k_off_turns(a, t - K_MAGIC), nx_bits_of_float(t));
    return nx_float_of_bits(nx_bits_of_float(y) ^ (nx_bits_of_float(x) & 0x80000000));
}

/* Half a turn before: zeros of the cosine are then those of the sine. */
static inline float k_cos_near_f32(float x)
{
    float t = K_FMA(fabsf(x), 0.318309886f, -0.5f) + K_MAGIC;
    float r = k_off_turns(fabsf(x), (t - K_MAGIC) + 0.5f);
    return k_sin_half_turn(r, nx_bits_of_float(t) + 1);
}

typedef struct {
    float r;    /* x - quarter pi/2, |r| <= pi/4 */
    int32_t quarter;
} k_angle;

static inline double k_quarters(float x)
{
    double magic = 6755399441055744.0;
    return (x * 0.63661977236758134 + magic) - magic;
}

/* pi/2 in a part of 33 bits, whose products with a count of quarters are exact, and the rest. */
static inline double k_reduced(float x)
{
    double n = k_quarters(x);
    return (x - n * 0x1.921fb544p+0) - n * 6.0771005065061922e-11;
}

static inline k_angle k_reduce(float x)
{
    return (k_angle){(float)k_reduced(x), (int32_t)k_quarters(x)};
}

/* sin(r) - r, with z = r². */
static inline float k_sin_rest(float r, float z)
{
    float p = 1.0f / 362880;
    p = K_FMA(p, z, -1.0f / 5040);
    p = K_FMA(p, z, 1.0f / 120);
    p = K_FMA(p, z, -1.0f / 6);
    return p * z * r;
}

static inline float k_sin_reduced(float r, float z)
{
    return r + k_sin_rest(r, z);
}

static inline float k_cos_reduced(float z)
{
    float p = -1.0f / 3628800;
    p = K_FMA(p, z, 1.0f / 40320);
    p = K_FMA(p, z, -1.0f / 720);
    p = K_FMA(p, z, 1.0f / 24);
    float h = 0.5f * z, w = 1 - h; /* what 1 - h lost comes back */
    return w + (((1 - w) - h) + p * z * z);
}

/* sin(x + turn pi/2) */
static inline float k_wave(float x, int32_t turn)
{
    k_angle a = k_reduce(x);
    float z = a.r * a.r, s = k_sin_reduced(a.r, z), c = k_cos_reduced(z);
    int32_t q = a.quarter + turn;
    float y = q & 1 ? c : s;
    return q & 2 ? -y : y;
}

static inline float k_sin_f32(float x)
{
    return x == 0 ? x : k_wave(x, 0);
}

static inline float k_cos_f32(float x)
{
    return k_wave(x, 1);
}

#include "engine/cpu/kmath_arc.h"

/* ---- error function ------------------------------------------------------------------------------- */

/* erf(a) = 1 - e^-u with u = a + a p(a): p is smooth, so one polynomial serves all a up to 3.95, where
 * erf rounds to 1, and u keeps its digits near 0. Both polynomials are minimax fits. In two halves, since
 * tiles take them one after the other. */
static inline float k_erf_exponent(float x) /* -u */
{
    float a = fabsf(x);
    a = 3.95f < a ? 3.95f : a; /* NaN stays */
    float p = -9.25564978e-6f;
    p = K_FMA(p, a, 1.17635539e-4f);
    p = K_FMA(p, a, -6.32815432e-4f);
    p = K_FMA(p, a, 1.66698612e-3f);
    p = K_FMA(p, a, -1.60351911e-4f);
    p = K_FMA(p, a, -1.91530899e-2f);
    p = K_FMA(p, a, 0.102777838f);
    p = K_FMA(p, a, 0.636619381f);
    p = K_FMA(p, a, 0.128379172f);
    return -(K_FMA(p, a, a));
}

static inline float k_erf_of(float exponent, float x)
{
    float t = K_FMA(exponent, 1.44269504f, K_MAGIC); /* exponent = n ln(2) + r; an error of r counts 2^n */
    float r = K_FMA(t - K_MAGIC, -0.693147181f, exponent);
    float scale = k_pow2_whole(k_whole(t)), e = 1.38141908e-3f;
    e = K_FMA(e, r, 8.36891369e-3f);
    e = K_FMA(e, r, 4.16684072e-2f);
    e = K_FMA(e, r, 0.16666519f);
    e = K_FMA(e, r, 0.499999933f);
    return copysignf(K_FMA(-scale, K_FMA(e * r, r, r), 1 - scale), x);
}

static inline float k_erf_f32(float x)
{
    return k_erf_of(k_erf_exponent(x), x);
}

/* ---- power: in double, so that y log2(x) keeps its digits ------------------------------------------ */

static inline double k_log2_wide(float x) /* 0 < x < infinity */
{
    k_split p = k_split_f32(x);
    double f = p.f, s = f / (2 + f), z = s * s, r = 2.0 / 15;
    r = r * z + 2.0 / 13;
    r = r * z + 2.0 / 11;
    r = r * z + 2.0 / 9;
    r = r * z + 2.0 / 7;
    r = r * z + 2.0 / 5;
    r = r * z + 2.0 / 3;
    return p.k + (2 * s + s * z * r) * 1.4426950408889634;
}

static inline double k_exp2_wide(double t) /* |t| <= 1000 */
{
    double n = (t + 6755399441055744.0) - 6755399441055744.0, r = (t - n) * 0.69314718055994531;
    double p = 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = p * r * r + r + 1;
    uint64_t u = (uint64_t)((int64_t)(int32_t)n + 1023) << 52;
    double scale;
    memcpy(&scale, &u, 8);
    return p * scale;
}

/* Conditions are met one by one, as numbers: loops over combined ones would not vectorise. */
static inline float k_pow_f32(float x, float y)
{
    float a = fabsf(x);
    double l = k_log2_wide(a);
    l = a == 0 ? -(double)INFINITY : l;
    l = a == INFINITY ? (double)INFINITY : l;
    double t = y * l;
    double bounded = t > 1000 ? 1000 : t;
    bounded = bounded < -1000 ? -1000 : bounded;
    float r = (float)k_exp2_wide(bounded); /* of NaN: NaN */
    float small = fabsf(y) >= 0x1p24f ? 0 : y; /* what is larger is even, or infinite */
    float fraction = small - k_rint_f32(small), half = 0.5f * small;
    float odd = fabsf(half - k_rint_f32(half)) == 0.5f ? x : 1.0f;
    r = copysignf(r, odd);
    fraction = x < 0 ? fraction : 0;
    fraction = x > -INFINITY ? fraction : 0;
    r = fraction != 0 ? NAN : r;
    r = x != x ? x : r;
    float at_one = fabsf(y) == INFINITY ? 1.0f : r;
    r = a == 1 ? at_one : r;
    r = y == 0 ? 1.0f : r;
    return x == 1 ? 1.0f : r;
}

/* ---- others ------------------------------------------------------------------------------------- */

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
    return low == -INFINITY || high == INFINITY ? high : high + k_log1p_f32(k_exp_f32(low - high));
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
