/* tile_tmpl.c: the loops of elementwise.def, one function an operation and type, and their table. */
#include "engine/cpu/tile.h"

#include <string.h>

#include "engine/cpu/kmath.h"
#include "engine/cpu/types.h"

#define R_SAME(T) T
#define R_BOOL(T) bool
#define R_REAL(T) float
#define R_BYTE(T) uint8_t

#define TO__Bool(e) ((e) != 0) /* bool is a macro for it */
#define TO_uint8_t(e) (uint8_t)(e)
#define TO_uint16_t(e) (uint16_t)(e)
#define TO_uint32_t(e) (uint32_t)(e)
#define TO_uint64_t(e) (uint64_t)(e)
#define TO_int8_t(e) (int8_t)(e)
#define TO_int16_t(e) (int16_t)(e)
#define TO_int32_t(e) (int32_t)(e)
#define TO_int64_t(e) (int64_t)(e)
#define TO_float(e) (float)(e)
#define TO_double(e) (double)(e)
#define TO_nx_c64(e) (e)

#define LOOP_UNARY(...) LOOP_UNARY_(__VA_ARGS__)
#define LOOP_UNARY_(name, R, T, t, expression)                                      \
    static void name##_##t(int64_t n, const void *const *in, void *out)             \
    {                                                                               \
        const T *a = in[0];                                                         \
        R *o = out;                                                                 \
        NX_INDEPENDENT for (int64_t i = 0; i < n; i++)                              \
        {                                                                           \
            T x = a[i];                                                             \
            o[i] = TO_##R(expression);                                                 \
        }                                                                           \
    }
#define LOOP_BINARY(...) LOOP_BINARY_(__VA_ARGS__)
#define LOOP_BINARY_(name, R, T, t, expression)                                     \
    static void name##_##t(int64_t n, const void *const *in, void *out)             \
    {                                                                               \
        const T *a = in[0], *b = in[1];                                             \
        R *o = out;                                                                 \
        NX_INDEPENDENT for (int64_t i = 0; i < n; i++)                              \
        {                                                                           \
            T x = a[i], y = b[i];                                                   \
            o[i] = TO_##R(expression);                                                 \
        }                                                                           \
    }

#define ON_B(loop, name, R, e) loop(name, R_##R(bool), bool, b, e)
#define ON_N(loop, name, R, e)                  \
    loop(name, R_##R(uint8_t), uint8_t, u8, e)  \
    loop(name, R_##R(uint16_t), uint16_t, u16, e) \
    loop(name, R_##R(uint32_t), uint32_t, u32, e) \
    loop(name, R_##R(uint64_t), uint64_t, u64, e) \
    loop(name, R_##R(int8_t), int8_t, i8, e)    \
    loop(name, R_##R(int16_t), int16_t, i16, e) \
    loop(name, R_##R(int32_t), int32_t, i32, e) \
    loop(name, R_##R(int64_t), int64_t, i64, e)
#define ON_I(loop, name, R, e) ON_B(loop, name, R, e) ON_N(loop, name, R, e)
#define ON_F(loop, name, R, e)                \
    loop(name, R_##R(float), float, f32, e)   \
    loop(name, R_##R(double), double, f64, e)
#define ON_C(loop, name, R, e) loop(name, R_##R(nx_c64), nx_c64, c64, e)

#define LOOPS_B(loop, name, R, i, f, c) ON_B(loop, name, R, i)
#define LOOPS_U(loop, name, R, i, f, c) loop(name, R_##R(uint8_t), uint8_t, u8, i)
#define LOOPS_N(loop, name, R, i, f, c) ON_N(loop, name, R, i)
#define LOOPS_I(loop, name, R, i, f, c) ON_I(loop, name, R, i)
#define LOOPS_F(loop, name, R, i, f, c) ON_F(loop, name, R, f)
#define LOOPS_C(loop, name, R, i, f, c) ON_C(loop, name, R, c)
#define LOOPS_IF(loop, name, R, i, f, c) ON_I(loop, name, R, i) ON_F(loop, name, R, f)
#define LOOPS_FC(loop, name, R, i, f, c) ON_F(loop, name, R, f) ON_C(loop, name, R, c)
#define LOOPS_IFC(loop, name, R, i, f, c) LOOPS_IF(loop, name, R, i, f, c) ON_C(loop, name, R, c)

#define NX_ELEM1(name, R, types, i, f, c, ...) LOOPS_##types(LOOP_UNARY, name, R, i, f, c)
#define NX_ELEM2(name, R, types, i, f, c, ...) LOOPS_##types(LOOP_BINARY, name, R, i, f, c)
#define NX_TILE1(name, R, types, i, f, c) LOOPS_##types(LOOP_UNARY, name, R, i, f, c)
#define NX_TILE2(name, R, types, i, f, c) LOOPS_##types(LOOP_BINARY, name, R, i, f, c)
#include "engine/ops/elementwise.def"

/* Only bits move, so one loop a size. Both sides are read first: reads under a condition would not
 * vectorise. */
#define SELECT(T)                                                                   \
    static void select_##T(int64_t n, const void *const *in, void *out)             \
    {                                                                               \
        const uint8_t *when = in[0];                                                \
        const T *a = in[1], *b = in[2];                                             \
        T *o = out;                                                                 \
        NX_INDEPENDENT for (int64_t i = 0; i < n; i++)                              \
        {                                                                           \
            T x = a[i], y = b[i];                                                   \
            o[i] = when[i] ? x : y;                                                 \
        }                                                                           \
    }
SELECT(uint8_t)
SELECT(uint16_t)
SELECT(uint32_t)
SELECT(uint64_t)

#define ROW_B(name) [NX_BOOL] = name##_b,
#define ROW_N(name)                                                                                \
    [NX_UINT8] = name##_u8, [NX_UINT16] = name##_u16,                         \
    [NX_UINT32] = name##_u32, [NX_UINT64] = name##_u64, [NX_INT8] = name##_i8,                      \
    [NX_INT16] = name##_i16, [NX_INT32] = name##_i32, [NX_INT64] = name##_i64,
#define ROW_U(name) [NX_UINT8] = name##_u8,
#define ROW_I(name) ROW_B(name) ROW_N(name)
#define ROW_F(name)                                                                                \
    [NX_FLOAT16] = name##_f32, [NX_BFLOAT16] = name##_f32, [NX_FLOAT32] = name##_f32,               \
    [NX_FLOAT64] = name##_f64,
#define ROW_C(name) [NX_COMPLEX64] = name##_c64,
#define ROW_IF(name) ROW_I(name) ROW_F(name)
#define ROW_FC(name) ROW_F(name) ROW_C(name)
#define ROW_IFC(name) ROW_I(name) ROW_F(name) ROW_C(name)

static const nx_tile_fn table[NX_TILE_COUNT][NX_DTYPE_COUNT] = {
#define NX_ELEM1(name, R, types, ...) [NX_TILE_##name] = {ROW_##types(name)},
#define NX_ELEM2(name, R, types, ...) [NX_TILE_##name] = {ROW_##types(name)},
#define NX_TILE1(name, R, types, ...) [NX_TILE_##name] = {ROW_##types(name)},
#define NX_TILE2(name, R, types, ...) [NX_TILE_##name] = {ROW_##types(name)},
#include "engine/ops/elementwise.def"
};

LOOP_UNARY(SinNear, float, float, f32, k_sin_near_f32(x))
LOOP_UNARY(CosNear, float, float, f32, k_cos_near_f32(x))

static bool any_beyond(int64_t n, const float *x, float limit)
{
    int large = 0;
    for (int64_t i = 0; i < n; i++)
        large |= fabsf(x[i]) > limit;
    return large;
}

/* Each angle by its own size, whatever its neighbours' (see K_NEAR_LIMIT); what no angle of a tile needs is
 * not computed. out may be the input. */
#define BY_ANGLE(name, near, library)                                               \
    static void name##_any(int64_t n, const void *const *in, void *out)             \
    {                                                                               \
        const float *x = in[0];                                                     \
        float *o = out, angle[NX_TILE], far[NX_TILE];                               \
        for (; n > 0; n -= NX_TILE, x += NX_TILE, o += NX_TILE) {                   \
            int64_t some = n < NX_TILE ? n : NX_TILE;                               \
            if (!any_beyond(some, x, K_NEAR_LIMIT)) {                               \
                near##_f32(some, (const void *[]){x}, o);                           \
                continue;                                                           \
            }                                                                       \
            memcpy(angle, x, (size_t)some * sizeof *x);                             \
            name##_f32(some, (const void *[]){angle}, far);                         \
            near##_f32(some, (const void *[]){angle}, o);                           \
            NX_INDEPENDENT for (int64_t i = 0; i < some; i++)                       \
            {                                                                       \
                float small = o[i], large = far[i];                                 \
                o[i] = fabsf(angle[i]) > K_NEAR_LIMIT ? large : small;              \
            }                                                                       \
            for (int64_t i = 0; i < some; i++)                                      \
                if (fabsf(angle[i]) > K_ANGLE_LIMIT)                                \
                    o[i] = library(angle[i]);                                       \
        }                                                                           \
    }
BY_ANGLE(Sin, SinNear, sinf)
BY_ANGLE(Cos, CosNear, cosf)
BY_ANGLE(Tan, Tan, tanf)

LOOP_UNARY(ErfExponent, float, float, f32, k_erf_exponent(x))
LOOP_BINARY(ErfOf, float, float, f32, k_erf_of(x, y))

/* Of 26 steps that wait for one another a processor sees but a few elements at a time; of half as many, twice
 * the elements. */
static void Erf_any(int64_t n, const void *const *in, void *out)
{
    const float *x = in[0];
    float *o = out, exponent[NX_TILE];
    for (; n > 0; n -= NX_TILE, x += NX_TILE, o += NX_TILE) {
        int64_t some = n < NX_TILE ? n : NX_TILE;
        ErfExponent_f32(some, (const void *[]){x}, exponent);
        ErfOf_f32(some, (const void *[]){exponent, x}, o);
    }
}

nx_tile_fn NX_FN(tile_function)(nx_tile_id id, nx_dtype dtype)
{
    static const nx_tile_fn selects[9] = {
        [1] = select_uint8_t, [2] = select_uint16_t, [4] = select_uint32_t, [8] = select_uint64_t};
    if (dtype != NX_FLOAT64 && nx_dtype_in(dtype, NX_FLOATS)) {
        if (id == NX_TILE_Sin)
            return Sin_any;
        if (id == NX_TILE_Cos)
            return Cos_any;
        if (id == NX_TILE_Tan)
            return Tan_any;
        if (id == NX_TILE_Erf)
            return Erf_any;
    }
    return id == NX_TILE_Select ? selects[nx_dtype_size(dtype)] : table[id][dtype];
}
