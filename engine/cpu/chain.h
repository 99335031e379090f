/*
 * chain.h: simple operations on floats that follow each other, computed in vector registers: a part of
 * fused_tmpl.c. A step takes eight vectors of results so far as arguments, changes them by a vector of a
 * tile or by a number, and ends with a call of the next step, which compiles to a jump: what is between two
 * operations touches no memory.
 *
 * Each operation rounds as the loop of tile_tmpl.c does that it is alone.
 */
#include "engine/cpu/simd.h"
#include "engine/ops/prims.h"

enum { CHAIN_VECTORS = 8, CHAIN_BLOCK = CHAIN_VECTORS * VF_N }; /* as many vectors as are passed in registers */

#define CHAIN_VALUES vf v0, vf v1, vf v2, vf v3, vf v4, vf v5, vf v6, vf v7

typedef struct chain_step chain_step;
typedef void (*chain_fn)(const chain_step *s, int64_t at, CHAIN_VALUES);
struct chain_step {
    chain_fn run;
    float *tile; /* element `at` on is meant */
    float number;
};

/* ---- what C has no operator for --------------------------------------------------------------- */

#if defined(__x86_64__)
#if defined(NX_ISA_avx512)
#define chain_sqrt(x)          _mm512_sqrt_ps(x)
#define chain_abs(x)           _mm512_abs_ps(x)
#define chain_min(x, y)        _mm512_min_ps(x, y)
#define chain_unless_nan(x, v) _mm512_mask_mov_ps(v, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), x)
#elif defined(NX_ISA_avx2)
#define chain_sqrt(x)          _mm256_sqrt_ps(x)
#define chain_abs(x)           _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x)
#define chain_min(x, y)        _mm256_min_ps(x, y)
#define chain_unless_nan(x, v) _mm256_blendv_ps(v, x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q))
#else
#define chain_sqrt(x)   _mm_sqrt_ps(x)
#define chain_abs(x)    _mm_andnot_ps(_mm_set1_ps(-0.0f), x)
#define chain_min(x, y) _mm_min_ps(x, y)
NX_INLINE vf chain_unless_nan(vf x, vf v) /* v, but x where that is NaN */
{
    vf nan = _mm_cmpunord_ps(x, x);
    return _mm_or_ps(_mm_and_ps(nan, x), _mm_andnot_ps(nan, v));
}
#endif
/* x > y || x != x ? x : y: the instruction gives y where either is NaN, or both are zero. */
NX_INLINE vf chain_greater(vf x, vf y)
{
    return chain_unless_nan(x, vf_max(x, y));
}
NX_INLINE vf chain_lesser(vf x, vf y)
{
    return chain_unless_nan(x, chain_min(x, y));
}
#elif defined(__aarch64__)
NX_INLINE vf chain_sqrt(vf x)
{
    return vsqrtq_f32(x);
}
NX_INLINE vf chain_abs(vf x)
{
    return vabsq_f32(x);
}
NX_INLINE vf chain_greater(vf x, vf y)
{
    return vbslq_f32(vorrq_u32(vcgtq_f32(x, y), vmvnq_u32(vceqq_f32(x, x))), x, y);
}
NX_INLINE vf chain_lesser(vf x, vf y)
{
    return vbslq_f32(vorrq_u32(vcltq_f32(x, y), vmvnq_u32(vceqq_f32(x, x))), x, y);
}
#else
#define CHAIN_EACH(name, expression)                                                                           \
    NX_INLINE vf name(vf v, vf w)                                                                              \
    {                                                                                                          \
        float a[VF_N], b[VF_N];                                                                                \
        vf_store(a, v);                                                                                        \
        vf_store(b, w);                                                                                        \
        for (int i = 0; i < VF_N; i++) {                                                                       \
            float x = a[i], y = b[i];                                                                          \
            (void)y;                                                                                           \
            a[i] = expression;                                                                                 \
        }                                                                                                      \
        return vf_load(a);                                                                                     \
    }
CHAIN_EACH(chain_sqrt_of, __builtin_sqrtf(x))
CHAIN_EACH(chain_abs_of, __builtin_fabsf(x))
CHAIN_EACH(chain_greater, x > y || x != x ? x : y)
CHAIN_EACH(chain_lesser, x < y || x != x ? x : y)
#define chain_sqrt(x) chain_sqrt_of(x, x)
#define chain_abs(x)  chain_abs_of(x, x)
#endif

NX_INLINE vf chain_square(vf x)
{
    return vf_mul(x, x);
}
NX_INLINE vf chain_negative(vf x)
{
    return -x;
}
NX_INLINE vf chain_rsqrt(vf x)
{
    return vf_set(1) / chain_sqrt(x);
}
NX_INLINE vf chain_divide(vf x, vf y)
{
    return x / y;
}

/* ---- steps ------------------------------------------------------------------------------------ */

/* expression is of `acc`, a vector of results so far, whose number is i. */
#define CHAIN_VECTOR(v, k, expression)                                                                         \
    {                                                                                                          \
        enum { i = k };                                                                                        \
        vf acc = v;                                                                                            \
        v = expression;                                                                                        \
    }
#define CHAIN_STEP(name, before, expression)                                                                   \
    static void name(const chain_step *s, int64_t at, CHAIN_VALUES)                                            \
    {                                                                                                          \
        before                                                                                                 \
        CHAIN_VECTOR(v0, 0, expression)                                                                        \
        CHAIN_VECTOR(v1, 1, expression)                                                                        \
        CHAIN_VECTOR(v2, 2, expression)                                                                        \
        CHAIN_VECTOR(v3, 3, expression)                                                                        \
        CHAIN_VECTOR(v4, 4, expression)                                                                        \
        CHAIN_VECTOR(v5, 5, expression)                                                                        \
        CHAIN_VECTOR(v6, 6, expression)                                                                        \
        CHAIN_VECTOR(v7, 7, expression)                                                                        \
        s[1].run(s + 1, at, v0, v1, v2, v3, v4, v5, v6, v7);                                                   \
    }
#define CHAIN_TILE   vf_load(s->tile + at + i * VF_N)
#define CHAIN_NUMBER vf number = vf_set(s->number);

/* Where a chain begins, and where a result is kept in memory too. */
CHAIN_STEP(chain_load_tile, , ((void)acc, CHAIN_TILE))
CHAIN_STEP(chain_load_number, CHAIN_NUMBER, ((void)acc, number))
CHAIN_STEP(chain_keep, , (vf_store(s->tile + at + i * VF_N, acc), acc))

static void chain_end(const chain_step *s, int64_t at, CHAIN_VALUES)
{
    (void)s, (void)at, (void)v0, (void)v1, (void)v2, (void)v3, (void)v4, (void)v5, (void)v6, (void)v7;
}

/* Of an operation of two operands: what the results so far meet, and on which side that is. */
typedef enum { CHAIN_RIGHT_TILE, CHAIN_RIGHT_NUMBER, CHAIN_LEFT_TILE, CHAIN_LEFT_NUMBER, CHAIN_SIDES } chain_side;

#define CHAIN_ONE(name, f) CHAIN_STEP(chain_step_##name, , f(acc))
#define CHAIN_TWO(name, f)                                                                                     \
    CHAIN_STEP(chain_step_##name##_0, , f(acc, CHAIN_TILE))                                                    \
    CHAIN_STEP(chain_step_##name##_1, CHAIN_NUMBER, f(acc, number))                                            \
    CHAIN_STEP(chain_step_##name##_2, , f(CHAIN_TILE, acc))                                                    \
    CHAIN_STEP(chain_step_##name##_3, CHAIN_NUMBER, f(number, acc))
#define CHAIN_OPERATIONS                                                                                       \
    CHAIN_ONE(Abs, chain_abs)                                                                                  \
    CHAIN_ONE(Negative, chain_negative)                                                                        \
    CHAIN_ONE(Square, chain_square)                                                                            \
    CHAIN_ONE(Sqrt, chain_sqrt)                                                                                \
    CHAIN_ONE(Rsqrt, chain_rsqrt)                                                                              \
    CHAIN_TWO(Add, vf_add)                                                                                     \
    CHAIN_TWO(Subtract, vf_sub)                                                                                \
    CHAIN_TWO(Multiply, vf_mul)                                                                                \
    CHAIN_TWO(Divide, chain_divide)                                                                            \
    CHAIN_TWO(Maximum, chain_greater)                                                                          \
    CHAIN_TWO(Minimum, chain_lesser)
CHAIN_OPERATIONS
#undef CHAIN_ONE
#undef CHAIN_TWO

/* NULL: a primitive that is not computed this way. */
static chain_fn chain_find(int prim, chain_side side)
{
#define CHAIN_ONE(name, f) [NX_PRIM_##name] = {chain_step_##name},
#define CHAIN_TWO(name, f)                                                                                     \
    [NX_PRIM_##name] = {chain_step_##name##_0, chain_step_##name##_1, chain_step_##name##_2,                   \
                        chain_step_##name##_3},
    static const chain_fn steps[NX_PRIM_COUNT][CHAIN_SIDES] = {CHAIN_OPERATIONS};
#undef CHAIN_ONE
#undef CHAIN_TWO
    return steps[prim][side];
}

/* Whole blocks of n elements; what is left is the caller's. */
static int64_t chain_run(const chain_step *s, int64_t n)
{
    vf none = vf_set(0);
    int64_t at = 0;
    for (; at + CHAIN_BLOCK <= n; at += CHAIN_BLOCK)
        s->run(s, at, none, none, none, none, none, none, none, none);
    return at;
}
