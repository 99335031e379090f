/* update_tmpl.c: see update.h; SliceUpdate, DynamicSlice and DynamicSliceUpdate over it. */
#include "engine/cpu/update.h"

#include <math.h>
#include <string.h>

#include "engine/cpu/indices.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/pool.h"
#include "engine/cpu/types.h"

/* ---- combining two numbers ------------------------------------------------------------------ */

/* Integers wrap: computed as unsigned, which C defines. */
#define INT_OPS(T, t)                                                                              \
    static inline T add_##t(T a, T b)                                                              \
    {                                                                                              \
        return (T)((uint64_t)a + (uint64_t)b);                                                     \
    }                                                                                              \
    static inline T prod_##t(T a, T b)                                                             \
    {                                                                                              \
        return (T)((uint64_t)a * (uint64_t)b);                                                     \
    }                                                                                              \
    static inline T max_##t(T a, T b)                                                              \
    {                                                                                              \
        return a > b ? a : b;                                                                      \
    }                                                                                              \
    static inline T min_##t(T a, T b)                                                              \
    {                                                                                              \
        return a < b ? a : b;                                                                      \
    }
INT_OPS(uint8_t, u8)
INT_OPS(uint16_t, u16)
INT_OPS(uint32_t, u32)
INT_OPS(uint64_t, u64)
INT_OPS(int8_t, i8)
INT_OPS(int16_t, i16)
INT_OPS(int32_t, i32)
INT_OPS(int64_t, i64)

static inline bool add_b(bool a, bool b)
{
    return a | b;
}
static inline bool prod_b(bool a, bool b)
{
    return a & b;
}
static inline bool max_b(bool a, bool b)
{
    return a | b;
}
static inline bool min_b(bool a, bool b)
{
    return a & b;
}

/* A NaN on either side gives a NaN. */
#define FLOAT_OPS(T, t)                                                                            \
    static inline T add_##t(T a, T b)                                                              \
    {                                                                                              \
        return a + b;                                                                              \
    }                                                                                              \
    static inline T prod_##t(T a, T b)                                                             \
    {                                                                                              \
        return a * b;                                                                              \
    }                                                                                              \
    static inline T max_##t(T a, T b)                                                              \
    {                                                                                              \
        return a > b || a != a ? a : b;                                                            \
    }                                                                                              \
    static inline T min_##t(T a, T b)                                                              \
    {                                                                                              \
        return a < b || a != a ? a : b;                                                            \
    }
FLOAT_OPS(float, f32)
FLOAT_OPS(double, f64)

#define HALF_OP(T, t, in, out, op)                                                                 \
    static inline T op##_##t(T a, T b)                                                             \
    {                                                                                              \
        return (T){out(op##_f32(in(a.bits), in(b.bits)))};                                         \
    }
#define HALF_OPS(T, t, in, out)                                                                    \
    HALF_OP(T, t, in, out, add)                                                                    \
    HALF_OP(T, t, in, out, prod)                                                                   \
    HALF_OP(T, t, in, out, max)                                                                    \
    HALF_OP(T, t, in, out, min)
HALF_OPS(nx_f16, f16, nx_half_to_float, nx_half_from_float)
HALF_OPS(nx_bf16, bf16, nx_bf16_to_float, nx_bf16_from_float)

/* Complex numbers are ordered by the real part, then the imaginary one. */
static inline bool above(nx_c64 a, nx_c64 b)
{
    return crealf(a) > crealf(b) || (crealf(a) == crealf(b) && cimagf(a) > cimagf(b));
}
static inline bool is_nan(nx_c64 a)
{
    return isnan(crealf(a)) || isnan(cimagf(a));
}
static inline nx_c64 add_c64(nx_c64 a, nx_c64 b)
{
    return a + b;
}
static inline nx_c64 prod_c64(nx_c64 a, nx_c64 b)
{
    nx_c64 v; /* by its parts: glibc gives clang no CMPLXF */
    __real__ v = crealf(a) * crealf(b) - cimagf(a) * cimagf(b);
    __imag__ v = crealf(a) * cimagf(b) + cimagf(a) * crealf(b);
    return v;
}
static inline nx_c64 max_c64(nx_c64 a, nx_c64 b)
{
    return is_nan(a) || above(a, b) ? a : b;
}
static inline nx_c64 min_c64(nx_c64 a, nx_c64 b)
{
    return is_nan(a) || above(b, a) ? a : b;
}

/* ---- rows ----------------------------------------------------------------------------------- */

#define ROW(T, t, op)                                                                              \
    static void row_##op##_##t(int64_t n, const void *from, int64_t fs, void *to, int64_t ts)      \
    {                                                                                              \
        const T *restrict x = from;                                                                \
        T *restrict y = to;                                                                        \
        if (fs == 1 && ts == 1)                                                                    \
            for (int64_t i = 0; i < n; i++)                                                        \
                y[i] = op##_##t(y[i], x[i]);                                                       \
        else                                                                                       \
            for (int64_t i = 0; i < n; i++)                                                        \
                y[i * ts] = op##_##t(y[i * ts], x[i * fs]);                                        \
    }
#define ROWS(N, T, t)                                                                              \
    ROW(T, t, add)                                                                                 \
    ROW(T, t, prod)                                                                                \
    ROW(T, t, max)                                                                                 \
    ROW(T, t, min)
NX_TYPES(ROWS)

#define PUT(T, bytes)                                                                              \
    static void put_##bytes(int64_t n, const void *from, int64_t fs, void *to, int64_t ts)         \
    {                                                                                              \
        const T *restrict x = from;                                                                \
        T *restrict y = to;                                                                        \
        if (fs == 1 && ts == 1)                                                                    \
            memcpy(y, x, (size_t)n * sizeof *y);                                                   \
        else                                                                                       \
            for (int64_t i = 0; i < n; i++)                                                        \
                y[i * ts] = x[i * fs];                                                             \
    }
PUT(uint8_t, 1)
PUT(uint16_t, 2)
PUT(uint32_t, 4)
PUT(uint64_t, 8)

nx_update_row NX_FN(update_row)(nx_reduce_mode mode, nx_dtype dtype)
{
#define ENTRY(N, T, t)                                                                             \
    [NX_##N] = {[NX_UPDATE_MAX] = row_max_##t, row_min_##t, row_add_##t, row_prod_##t},
    static const nx_update_row rows[NX_DTYPE_COUNT][4] = {NX_TYPES(ENTRY)};
    static const nx_update_row put[9] = {[1] = put_1, [2] = put_2, [4] = put_4, [8] = put_8};
    return mode == NX_UPDATE_NONE ? put[nx_dtype_size(dtype)] : rows[dtype][mode];
}

/* ---- views ---------------------------------------------------------------------------------- */

typedef struct {
    nx_walk walk;
    nx_update_row row;
    const char *from;
    char *to;
    int64_t size; /* bytes an element */
} update_job;

static void update_piece(void *ctx, int64_t begin, int64_t end)
{
    const update_job *j = ctx;
    const nx_walk *w = &j->walk;
    int last = w->ndim - 1;
    while (begin < end) {
        int64_t at[2];
        int64_t n = nx_walk_run(w, begin, end, at);
        j->row(n, j->from + at[0] * j->size, w->strides[0][last], j->to + at[1] * j->size,
               w->strides[1][last]);
        begin += n;
    }
}

void NX_FN(update_view)(nx_reduce_mode mode, const nx_view *from, const nx_view *to)
{
    update_job j = {.row = NX_FN(update_row)(mode, to->dtype),
                    .from = from->data,
                    .to = to->data,
                    .size = (int64_t)nx_dtype_size(to->dtype)};
    nx_walk_init(&j.walk, to->shape, to->ndim, (const int64_t *const[]){from->strides, to->strides},
                 2);
    if (j.walk.size)
        nx_parallel(j.walk.size, nx_grain(2 * j.size, NX_PIECE_BYTES), update_piece, &j);
}

/* `steps` elements after the first. */
static void *element(const nx_view *v, int64_t steps)
{
    return (char *)v->data + steps * (int64_t)nx_dtype_size(v->dtype);
}

/* out already holds in[0]; in[1] goes into the slice of it. */
void NX_FN(slice_update)(const nx_call *c)
{
    const nx_slice_update_params *p = c->params;
    const nx_view *out = &c->out[0], *from = &c->in[1];
    int64_t strides[NX_MAX_NDIM], offset = 0;
    for (int i = 0; i < out->ndim; i++) {
        strides[i] = out->strides[i] * p->slice.strides.v[i];
        offset += out->strides[i] * p->slice.start.v[i];
    }
    nx_view to = {element(out, offset), out->dtype, out->ndim, from->shape, strides};
    NX_FN(update_view)((nx_reduce_mode)p->mode, from, &to);
}

/* ---- slices whose place is data ------------------------------------------------------------- */

/* The offset in v of a slice of `shape` that begins at `start`, moved so far that it lies inside.
 */
static int64_t dynamic_offset(const nx_view *v, const int *shape, const nx_dims *axes,
                              const nx_view *start)
{
    int64_t offset = 0, step = start->ndim ? start->strides[0] : 0;
    for (int i = 0; i < axes->n; i++) {
        int d = axes->v[i];
        int64_t at = nx_read_index(start->data, start->dtype, i * step);
        offset += nx_clamp(at, 0, v->shape[d] - shape[d]) * v->strides[d];
    }
    return offset;
}

void NX_FN(slice_dynamic)(const nx_call *c)
{
    const nx_slice_dynamic_params *p = c->params;
    nx_view from = c->in[0];
    from.data = element(&from, dynamic_offset(&from, c->out[0].shape, &p->axes, &c->in[1]));
    from.shape = c->out[0].shape;
    NX_FN(update_view)(NX_UPDATE_NONE, &from, &c->out[0]);
}

void NX_FN(slice_update_dynamic)(const nx_call *c)
{
    const nx_axes_params *p = c->params;
    nx_view to = c->out[0];
    to.data = element(&to, dynamic_offset(&to, c->in[1].shape, &p->axes, &c->in[2]));
    to.shape = c->in[1].shape;
    NX_FN(update_view)(NX_UPDATE_NONE, &c->in[1], &to);
}
