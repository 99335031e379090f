/*
 * kmath_arc.h: tangent, the inverse trigonometric and the inverse hyperbolic functions of float,
 * without branches. Included by kmath_float.h alone, whose logarithms and reductions it uses.
 *
 * Polynomials are minimax fits, relative to the function, in z = x².
 */
#ifndef NX_CPU_KMATH_ARC_H
#define NX_CPU_KMATH_ARC_H

#define K_PI_4      0.785398163f /* and what it lacks: */
#define K_PI_4_LOW  (-2.18556941e-8f)
#define K_PI_2      1.57079633f
#define K_PI_2_LOW  (-4.37113883e-8f)

/* ---- arctangent --------------------------------------------------------------------------------- */

/* arctan(n / d) for n, d >= 0 that are not both 0 or infinite, and neither so large that n + d were
 * infinite. Above tan(3 pi/8) and tan(pi/8) the quotient is that of the angle less pi/2, pi/4. */
static inline float k_atan_ratio(float n, float d)
{
    bool steep = n > 2.41421356f * d, middle = n > 0.414213562f * d;
    float num = steep ? -d : middle ? n - d : n;
    float den = steep ? n : middle ? n + d : d;
    float t = num / den, z = t * t;
    float p = -0.0646476299f;
    p = K_FMA(p, z, 0.107482389f);
    p = K_FMA(p, z, -0.14264451f);
    p = K_FMA(p, z, 0.199995577f);
    p = K_FMA(p, z, -0.333333313f);
    float low = steep ? K_PI_2_LOW : middle ? K_PI_4_LOW : 0;
    float high = steep ? K_PI_2 : middle ? K_PI_4 : 0;
    return high + (t + (K_FMA(p * z, t, low)));
}

static inline float k_atan_f32(float x)
{
    float y = copysignf(k_atan_ratio(fabsf(x), 1), x);
    return x == 0 || x != x ? x : y;
}

/* The angle of the point (x, y). */
static inline float k_atan2_f32(float y, float x)
{
    float n = fabsf(y), d = fabsf(x);
    bool same = n == d && (n == 0 || n == INFINITY); /* 0/0 counts as 0/1, infinities as 1/1 */
    bool none = same && n == 0;
    n = same ? (none ? 0 : 1) : n;
    d = same ? 1 : d;
    float top = n > d ? n : d, scale = top > 0x1p100f ? 0x1p-30f : top < 0x1p-60f ? 0x1p60f : 1;
    float a = k_atan_ratio(n * scale, d * scale);
    bool left = signbit(x);
    float r = left ? 2 * K_PI_2 - (a - 2 * K_PI_2_LOW) : a;
    r = copysignf(r, y);
    return x != x || y != y ? NAN : r;
}

/* ---- arcsine and arccosine ------------------------------------------------------------------------ */

/* arcsin(s) - s over s, for z = s² <= 1/4. */
static inline float k_asin_poly(float z)
{
    float p = 0.0339210667f;
    p = K_FMA(p, z, 0.0170057938f);
    p = K_FMA(p, z, 0.0311319176f);
    p = K_FMA(p, z, 0.0445966236f);
    p = K_FMA(p, z, 0.0750010312f);
    p = K_FMA(p, z, 0.166666657f);
    return p * z;
}

typedef struct {
    float s, rest; /* arcsin(s) = s + rest */
    bool far;      /* |x| > 1/2: s² = (1 - |x|) / 2, whose arcsine is half the arccosine of |x| */
} k_asin_parts;

static inline k_asin_parts k_asin_split(float x)
{
    float a = fabsf(x);
    bool far = a > 0.5f;
    float z = far ? 0.5f * (1 - a) : a * a, s = far ? sqrtf(z) : a;
    return (k_asin_parts){s, s * k_asin_poly(z), far};
}

static inline float k_asin_f32(float x)
{
    k_asin_parts p = k_asin_split(x);
    float y = p.far ? K_PI_2 - (2 * p.s + (2 * p.rest - K_PI_2_LOW)) : p.s + p.rest;
    return x == 0 || x != x ? x : copysignf(y, x); /* NaN outside -1..1 by the root */
}

static inline float k_acos_f32(float x)
{
    k_asin_parts p = k_asin_split(x);
    float s = copysignf(p.s, x), rest = copysignf(p.rest, x);
    float near = K_PI_2 - (s + (rest - K_PI_2_LOW));
    float twice = 2 * p.s + 2 * p.rest;
    float far = x > 0 ? twice : 2 * K_PI_2 - (twice - 2 * K_PI_2_LOW);
    return x != x ? x : p.far ? far : near;
}

/* ---- tangent ------------------------------------------------------------------------------------ */

/* The quotient doubles what r lacks: so sine and cosine here take that part of it in. */
static inline float k_tan_f32(float x)
{
    double exact = k_reduced(x);
    float r = (float)exact, low = (float)(exact - r), z = r * r;
    float s = r + (k_sin_rest(r, z) + low), c = k_cos_reduced(z) - r * low;
    bool turned = (int32_t)k_quarters(x) & 1;
    float y = (turned ? -c : s) / (turned ? s : c);
    return x == 0 ? x : y;
}

/* ---- inverse hyperbolic functions ------------------------------------------------------------------ */

/* a + a² / (1 + sqrt(a² + 1)) is what arsinh takes the logarithm of, less 1. */
static inline float k_asinh_f32(float x)
{
    float a = fabsf(x), b = a < 1e9f ? a : 1e9f, z = b * b;
    float y = k_log1p_f32(b + z / (1 + sqrtf(z + 1)));
    float big = k_log_f32(a) + 0.693147181f;
    y = copysignf(a < 1e9f ? y : big, x);
    return x == 0 || x != x ? x : y;
}

static inline float k_acosh_f32(float x)
{
    float t = (x < 1e9f ? x : 1e9f) - 1;
    float y = k_log1p_f32(t + sqrtf(t * (t + 2))), big = k_log_f32(x) + 0.693147181f;
    y = x < 1e9f ? y : big;
    return x >= 1 ? y : NAN;
}

static inline float k_atanh_f32(float x)
{
    float a = fabsf(x), y = 0.5f * k_log1p_f32(2 * a / (1 - a));
    y = copysignf(a == 1 ? INFINITY : y, x);
    y = a > 1 ? NAN : y;
    return x == 0 || x != x ? x : y;
}

#endif
