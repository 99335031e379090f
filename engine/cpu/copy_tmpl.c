/*
 * copy_tmpl.c: copies between any layouts and any types. The walk merges what is contiguous; the
 * innermost loop is one of 14 x 14 conversions, of which the dense ones vectorise. Where neighbours
 * in the output are far apart in the input, but those of another dimension are not, both dimensions
 * are gone through in panels that lie in cache (turn.h).
 */
#include <string.h>

#include "engine/cpu/half_tile.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/pool.h"
#include "engine/cpu/turn.h"
#include "engine/cpu/tile.h"
#include "engine/cpu/types.h"

/* Any type through one of its own kind: float for halves, the real part for complex. */
#define REAL_b(x) (x)
#define REAL_u8(x) (x)
#define REAL_u16(x) (x)
#define REAL_u32(x) (x)
#define REAL_u64(x) (x)
#define REAL_i8(x) (x)
#define REAL_i16(x) (x)
#define REAL_i32(x) (x)
#define REAL_i64(x) (x)
#define REAL_f32(x) (x)
#define REAL_f64(x) (x)
#define REAL_f16(x) nx_half_to_float((x).bits)
#define REAL_bf16(x) nx_bf16_to_float((x).bits)
#define REAL_c64(x) crealf(x)

/* The same at every level: below 2^63 as int64 is, so that -1 becomes the largest number. */
static inline uint64_t u64_of(double x)
{
    return x >= 0x1p63 ? (uint64_t)(int64_t)(x - 0x1p63) ^ (uint64_t)1 << 63 : (uint64_t)(int64_t)x;
}

/* A float out of an integer type's range converts as the processor does for the nearest wider type. */
#define TO_b(x) ((x) != 0)
#define TO_u8(x) ((uint8_t)(int64_t)(x))
#define TO_u16(x) ((uint16_t)(int64_t)(x))
#define TO_u32(x) ((uint32_t)(int64_t)(x))
#define TO_u64(x) _Generic((x), float: u64_of(x), double: u64_of(x), default: (uint64_t)(x))
#define TO_i8(x) ((int8_t)(int64_t)(x))
#define TO_i16(x) ((int16_t)(int64_t)(x))
#define TO_i32(x) ((int32_t)(int64_t)(x))
#define TO_i64(x) ((int64_t)(x))
#define TO_f32(x) ((float)(x))
#define TO_f64(x) ((double)(x))
#define TO_f16(x) ((nx_f16){nx_half_from_float((float)(x))})
#define TO_bf16(x) ((nx_bf16){nx_bf16_from_float((float)(x))})
#define TO_c64(x) ((float)(x) + 0.0f * I)

typedef void (*row_fn)(int64_t n, const void *from, int64_t from_step, void *to, int64_t to_step);

#define ROW(S, s, D, d)                                                                         \
    static void row_##s##_##d(int64_t n, const void *from, int64_t fs, void *to, int64_t ts)    \
    {                                                                                           \
        const S *restrict x = from;                                                             \
        D *restrict y = to;                                                                     \
        if (fs == 1 && ts == 1)                                                                 \
            for (int64_t i = 0; i < n; i++)                                                     \
                y[i] = TO_##d(REAL_##s(x[i]));                                                  \
        else                                                                                    \
            for (int64_t i = 0; i < n; i++)                                                     \
                y[i * ts] = TO_##d(REAL_##s(x[i * fs]));                                        \
    }
#define ROWS_TO_b(N, T, t) ROW(T, t, bool, b)
#define ROWS_TO_u8(N, T, t) ROW(T, t, uint8_t, u8)
#define ROWS_TO_u16(N, T, t) ROW(T, t, uint16_t, u16)
#define ROWS_TO_u32(N, T, t) ROW(T, t, uint32_t, u32)
#define ROWS_TO_u64(N, T, t) ROW(T, t, uint64_t, u64)
#define ROWS_TO_i8(N, T, t) ROW(T, t, int8_t, i8)
#define ROWS_TO_i16(N, T, t) ROW(T, t, int16_t, i16)
#define ROWS_TO_i32(N, T, t) ROW(T, t, int32_t, i32)
#define ROWS_TO_i64(N, T, t) ROW(T, t, int64_t, i64)
#define ROWS_TO_f32(N, T, t) ROW(T, t, float, f32)
#define ROWS_TO_f64(N, T, t) ROW(T, t, double, f64)
#define ROWS_TO_f16(N, T, t) ROW(T, t, nx_f16, f16)
#define ROWS_TO_bf16(N, T, t) ROW(T, t, nx_bf16, bf16)
#define ROWS_TO_c64(N, T, t) ROW(T, t, nx_c64, c64)
#define ALL_ROWS(N, T, t) NX_TYPES_FROM(ROWS_TO_##t)
#define NX_TYPES_FROM(X)    \
    X(BOOL, bool, b)        \
    X(UINT8, uint8_t, u8)   \
    X(UINT16, uint16_t, u16) \
    X(UINT32, uint32_t, u32) \
    X(UINT64, uint64_t, u64) \
    X(INT8, int8_t, i8)     \
    X(INT16, int16_t, i16)  \
    X(INT32, int32_t, i32)  \
    X(INT64, int64_t, i64)  \
    X(FLOAT16, nx_f16, f16) \
    X(FLOAT32, float, f32)  \
    X(FLOAT64, double, f64) \
    X(BFLOAT16, nx_bf16, bf16)
NX_TYPES(ALL_ROWS)
ROW(nx_c64, c64, bool, b)
ROW(nx_c64, c64, uint8_t, u8)
ROW(nx_c64, c64, uint16_t, u16)
ROW(nx_c64, c64, uint32_t, u32)
ROW(nx_c64, c64, uint64_t, u64)
ROW(nx_c64, c64, int8_t, i8)
ROW(nx_c64, c64, int16_t, i16)
ROW(nx_c64, c64, int32_t, i32)
ROW(nx_c64, c64, int64_t, i64)
ROW(nx_c64, c64, nx_f16, f16)
ROW(nx_c64, c64, float, f32)
ROW(nx_c64, c64, double, f64)
ROW(nx_c64, c64, nx_bf16, bf16)

/* Same type: bits move, whatever they mean. */
#define SAME(T, bytes)                                                                            \
    static void same_##bytes(int64_t n, const void *from, int64_t fs, void *to, int64_t ts)       \
    {                                                                                             \
        const T *restrict x = from;                                                               \
        T *restrict y = to;                                                                       \
        if (fs == 1 && ts == 1)                                                                   \
            memcpy(y, x, (size_t)n * sizeof *y);                                                  \
        else if (fs == 0 && ts == 1)                                                              \
            for (int64_t i = 0; i < n; i++)                                                       \
                y[i] = x[0];                                                                      \
        else                                                                                      \
            for (int64_t i = 0; i < n; i++)                                                       \
                y[i * ts] = x[i * fs];                                                            \
    }
SAME(uint8_t, 1)
SAME(uint16_t, 2)
SAME(uint32_t, 4)
SAME(uint64_t, 8)

/* float16 from and to float, with the processor's instructions where rows are dense. */
static void row_f16_f32_fast(int64_t n, const void *from, int64_t fs, void *to, int64_t ts)
{
    if (fs == 1 && ts == 1)
        nx_tile_from_f16(n, from, to);
    else
        row_f16_f32(n, from, fs, to, ts);
}
static void row_f32_f16_fast(int64_t n, const void *from, int64_t fs, void *to, int64_t ts)
{
    if (fs == 1 && ts == 1)
        nx_tile_to_f16(n, from, to);
    else
        row_f32_f16(n, from, fs, to, ts);
}

#define TO_ROW_b(N, T, t) [NX_##N] = row_##t##_b,
#define TO_ROW_u8(N, T, t) [NX_##N] = row_##t##_u8,
#define TO_ROW_u16(N, T, t) [NX_##N] = row_##t##_u16,
#define TO_ROW_u32(N, T, t) [NX_##N] = row_##t##_u32,
#define TO_ROW_u64(N, T, t) [NX_##N] = row_##t##_u64,
#define TO_ROW_i8(N, T, t) [NX_##N] = row_##t##_i8,
#define TO_ROW_i16(N, T, t) [NX_##N] = row_##t##_i16,
#define TO_ROW_i32(N, T, t) [NX_##N] = row_##t##_i32,
#define TO_ROW_i64(N, T, t) [NX_##N] = row_##t##_i64,
#define TO_ROW_f32(N, T, t) [NX_##N] = row_##t##_f32,
#define TO_ROW_f64(N, T, t) [NX_##N] = row_##t##_f64,
#define TO_ROW_f16(N, T, t) [NX_##N] = row_##t##_f16,
#define TO_ROW_bf16(N, T, t) [NX_##N] = row_##t##_bf16,
#define TO_ROW_c64(N, T, t) [NX_##N] = row_##t##_c64,
#define COLUMN(N, T, t) \
    [NX_##N] = {NX_TYPES_FROM(TO_ROW_##t)},

static const row_fn to_from[NX_DTYPE_COUNT][NX_DTYPE_COUNT] = {NX_TYPES(COLUMN)};
static const row_fn from_complex[NX_DTYPE_COUNT] = {
    row_c64_b,   row_c64_u8,  row_c64_u16, row_c64_u32, row_c64_u64, row_c64_i8,   row_c64_i16,
    row_c64_i32, row_c64_i64, row_c64_f16, row_c64_f32, row_c64_f64, row_c64_bf16, NULL,
};

static row_fn choose(nx_dtype from, nx_dtype to)
{
    static const row_fn same[9] = {[1] = same_1, [2] = same_2, [4] = same_4, [8] = same_8};
    if (from == to)
        return same[nx_dtype_size(to)];
    if (from == NX_FLOAT32 && to == NX_FLOAT16)
        return row_f32_f16_fast;
    if (from == NX_FLOAT16 && to == NX_FLOAT32)
        return row_f16_f32_fast;
    return from == NX_COMPLEX64 ? from_complex[to] : to_from[to][from];
}

nx_convert_fn NX_FN(convert_function)(nx_dtype from, nx_dtype to)
{
    return choose(from, to);
}

typedef struct {
    nx_walk walk;
    row_fn row;
    const char *from;
    char *to;
    int64_t from_size, to_size; /* bytes an element */
} copy_job;

/* Where a walk of both views stands: in each dimension, and in elements of each. */
typedef struct {
    int64_t at[NX_MAX_NDIM], from, to;
} place;

static place place_at(const nx_walk *w, int64_t index)
{
    place p = {.from = 0};
    for (int d = w->ndim - 1; d >= 0; d--) {
        p.at[d] = index % w->shape[d];
        index /= w->shape[d];
        p.from += p.at[d] * w->strides[0][d];
        p.to += p.at[d] * w->strides[1][d];
    }
    return p;
}

/* To the beginning of the next row of the innermost dimension. */
static void place_next_row(const nx_walk *w, place *p)
{
    int d = w->ndim - 1;
    p->from -= p->at[d] * w->strides[0][d];
    p->to -= p->at[d] * w->strides[1][d];
    p->at[d] = 0;
    while (--d >= 0) {
        p->from += w->strides[0][d];
        p->to += w->strides[1][d];
        if (++p->at[d] < w->shape[d])
            return;
        p->from -= w->shape[d] * w->strides[0][d];
        p->to -= w->shape[d] * w->strides[1][d];
        p->at[d] = 0;
    }
}

/* Positions begin..end-1 of the merged shape, a run of the innermost dimension at a time. */
static void copy_piece(void *ctx, int64_t begin, int64_t end)
{
    const copy_job *j = ctx;
    const nx_walk *w = &j->walk;
    int last = w->ndim - 1;
    for (place p = place_at(w, begin); begin < end; place_next_row(w, &p)) {
        int64_t n = w->shape[last] - p.at[last];
        n = n < end - begin ? n : end - begin;
        j->row(n, j->from + p.from * j->from_size, w->strides[0][last], j->to + p.to * j->to_size,
               w->strides[1][last]);
        begin += n;
    }
}

/* ---- turned copies ----------------------------------------------------------------------------- */

enum { PANEL_I = 64, PANEL_J = 256 }; /* elements: pages of input and output stay in reach */

typedef struct {
    const copy_job *copy;
    nx_walk outer; /* without the two dimensions: i, the fastest of the input, and j, of the output */
    int64_t ni, nj, from_j, to_i, panels_j, panels;
    turn_fn turn; /* NULL: types differ */
} turn_job;

static void turn_panel(const turn_job *t, const char *from, char *to, int64_t ni, int64_t nj)
{
    const copy_job *c = t->copy;
    if (t->turn)
        t->turn(ni, nj, from, t->from_j, to, t->to_i);
    else
        for (int64_t i = 0; i < ni; i++)
            c->row(nj, from + i * c->from_size, t->from_j, to + i * t->to_i * c->to_size, 1);
}

/* Indices are panels, of all matrices. */
static void turn_piece(void *ctx, int64_t begin, int64_t end)
{
    const turn_job *t = ctx;
    const copy_job *c = t->copy;
    for (int64_t p = begin; p < end; p++) {
        int64_t at[2], i = p % t->panels / t->panels_j * PANEL_I, j = p % t->panels_j * PANEL_J;
        nx_walk_seek(&t->outer, p / t->panels, at);
        int64_t ni = t->ni - i < PANEL_I ? t->ni - i : PANEL_I;
        int64_t nj = t->nj - j < PANEL_J ? t->nj - j : PANEL_J;
        turn_panel(t, c->from + (at[0] + i + j * t->from_j) * c->from_size,
                   c->to + (at[1] + i * t->to_i + j) * c->to_size, ni, nj);
    }
}

/* The dimension whose neighbours are neighbours in the input, where those of the last are not. */
static int turned_dimension(const nx_walk *w)
{
    int last = w->ndim - 1;
    if (w->strides[1][last] != 1 || w->strides[0][last] == 1 || w->shape[last] < 4)
        return -1;
    for (int d = last - 1; d >= 0; d--)
        if (w->strides[0][d] == 1 && w->shape[d] >= 4)
            return d;
    return -1;
}

static void copy_turned(const copy_job *c, int i, bool same_type)
{
    static const turn_fn turns[9] = {[1] = turn_1, [2] = turn_2, [4] = turn_4, [8] = turn_8};
    const nx_walk *w = &c->walk;
    int j = w->ndim - 1;
    turn_job t = {.copy = c, .outer = *w, .ni = w->shape[i], .nj = w->shape[j],
                  .from_j = w->strides[0][j], .to_i = w->strides[1][i],
                  .turn = same_type ? turns[c->to_size] : NULL};
    t.outer.shape[i] = t.outer.shape[j] = 1;
    t.panels_j = (t.nj + PANEL_J - 1) / PANEL_J;
    t.panels = t.panels_j * ((t.ni + PANEL_I - 1) / PANEL_I);
    int64_t matrices = w->size / (t.ni * t.nj), bytes = w->size * (c->from_size + c->to_size);
    int64_t all = matrices * t.panels;
    nx_parallel(all, nx_grain(bytes / all, NX_PIECE_BYTES), turn_piece, &t);
}

void NX_FN(copy)(const nx_call *c)
{
    const nx_view *from = &c->in[0], *to = &c->out[0];
    copy_job j = {.row = choose(from->dtype, to->dtype), .from = from->data, .to = to->data,
                  .from_size = (int64_t)nx_dtype_size(from->dtype),
                  .to_size = (int64_t)nx_dtype_size(to->dtype)};
    nx_walk_init(&j.walk, to->shape, to->ndim, (const int64_t *const[]){from->strides, to->strides}, 2);
    if (!j.walk.size)
        return;
    int turned = turned_dimension(&j.walk);
    if (turned >= 0)
        copy_turned(&j, turned, from->dtype == to->dtype);
    else
        nx_parallel(j.walk.size, nx_grain(j.from_size + j.to_size, NX_PIECE_BYTES), copy_piece, &j);
}

void NX_FN(view_copy)(const nx_call *c)
{
    int64_t size = nx_view_size(&c->out[0]) * (int64_t)nx_dtype_size(c->out[0].dtype);
    memcpy(c->out[0].data, c->in[0].data, (size_t)size);
}
