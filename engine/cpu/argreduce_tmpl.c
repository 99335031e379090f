/*
 * argreduce_tmpl.c: the place of the largest or smallest element along an axis, the first one where
 * several are equal. A NaN compares with nothing: it is chosen only as the first element.
 *
 * Along a fast axis, the extreme of a tile is found in lanes and then looked up; along a slow one, a
 * tile of neighbouring outputs keeps its extremes and places.
 */
#include <math.h>

#include "engine/cpu/classes.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/pool.h"
#include "engine/ops/params.h"

enum { LANES = 32, TILE = 1024, COLUMNS = 256 };

#define ABOVE(a, b) ((a) > (b))
#define BELOW(a, b) ((a) < (b))
#define C64_ABOVE(a, b) \
    (crealf(a) > crealf(b) || (crealf(a) == crealf(b) && cimagf(a) > cimagf(b)))
#define C64_BELOW(a, b) C64_ABOVE(b, a)
#define SAME(a, b) ((a) == (b))

/* run: x[0..n) are the elements from place `first` on; *best and *place are of those before.
 * row: element j is the one at `place` along the axis of output j. */
#define ARG(name, A, BETTER)                                                                    \
    static void run_##name(int64_t n, const void *from, int64_t first, void *best, uint32_t *place) \
    {                                                                                           \
        const A *x = from;                                                                      \
        A b = *(A *)best, lane[LANES];                                                          \
        int64_t i = 0;                                                                          \
        for (int l = 0; l < LANES; l++)                                                         \
            lane[l] = b;                                                                        \
        for (; i + LANES <= n; i += LANES)                                                      \
            for (int l = 0; l < LANES; l++)                                                     \
                lane[l] = BETTER(x[i + l], lane[l]) ? x[i + l] : lane[l];                       \
        for (; i < n; i++)                                                                      \
            lane[0] = BETTER(x[i], lane[0]) ? x[i] : lane[0];                                   \
        A top = lane[0];                                                                        \
        for (int l = 1; l < LANES; l++)                                                         \
            top = BETTER(lane[l], top) ? lane[l] : top;                                         \
        if (!(BETTER(top, b)))                                                                  \
            return;                                                                             \
        for (i = 0; !SAME(x[i], top); i++)                                                      \
            ;                                                                                   \
        *(A *)best = top;                                                                       \
        *place = (uint32_t)(first + i);                                                         \
    }                                                                                           \
    static void row_##name(int width, const void *from, uint32_t at, void *best, uint32_t *places) \
    {                                                                                           \
        const A *restrict x = from;                                                             \
        A *restrict b = best;                                                                   \
        for (int j = 0; j < width; j++) {                                                       \
            bool better = BETTER(x[j], b[j]);                                                   \
            b[j] = better ? x[j] : b[j];                                                        \
            places[j] = better ? at : places[j];                                                \
        }                                                                                       \
    }

ARG(max_i32, int32_t, ABOVE)
ARG(max_u32, uint32_t, ABOVE)
ARG(max_i64, int64_t, ABOVE)
ARG(max_u64, uint64_t, ABOVE)
ARG(max_f32, float, ABOVE)
ARG(max_f64, double, ABOVE)
ARG(max_c64, nx_c64, C64_ABOVE)
ARG(min_i32, int32_t, BELOW)
ARG(min_u32, uint32_t, BELOW)
ARG(min_i64, int64_t, BELOW)
ARG(min_u64, uint64_t, BELOW)
ARG(min_f32, float, BELOW)
ARG(min_f64, double, BELOW)
ARG(min_c64, nx_c64, C64_BELOW)

typedef struct {
    void (*run)(int64_t n, const void *from, int64_t first, void *best, uint32_t *place);
    void (*row)(int width, const void *from, uint32_t at, void *best, uint32_t *places);
} arg_fn;

#define MAX_ENTRY(N, A, n) [NX_CLASS_##N] = {run_max_##n, row_max_##n},
#define MIN_ENTRY(N, A, n) [NX_CLASS_##N] = {run_min_##n, row_min_##n},
static const arg_fn functions[2][NX_CLASSES] = {{NX_CLASS_LIST(MIN_ENTRY)}, {NX_CLASS_LIST(MAX_ENTRY)}};

typedef struct {
    nx_walk kept; /* views: input without the axis, output */
    int64_t n, step; /* the axis */
    nx_load load;
    arg_fn f;
    const char *from;
    uint32_t *to;
    int64_t size;
    size_t element;
} job;

static void one_output(const job *j, int64_t from, int64_t to)
{
    _Alignas(64) char tile[TILE * NX_CLASS_MAX_SIZE], best[NX_CLASS_MAX_SIZE];
    const char *x = j->from + from * j->size;
    uint32_t place = 0;
    j->load(1, x, 1, best);
    for (int64_t i = 0; i < j->n; i += TILE) {
        int64_t m = j->n - i < TILE ? j->n - i : TILE;
        j->load(m, x + i * j->step * j->size, j->step, tile);
        j->f.run(m, tile, i, best, &place);
    }
    j->to[to] = place;
}

static void tile_of_outputs(const job *j, int64_t from, int64_t to, int width)
{
    _Alignas(64) char row[COLUMNS * NX_CLASS_MAX_SIZE], best[COLUMNS * NX_CLASS_MAX_SIZE];
    uint32_t places[COLUMNS] = {0};
    int last = j->kept.ndim - 1;
    int64_t step = j->kept.strides[0][last], out = j->kept.strides[1][last];
    const char *x = j->from + from * j->size;
    j->load(width, x, step, best);
    for (int64_t i = 1; i < j->n; i++) {
        j->load(width, x + i * j->step * j->size, step, row);
        j->f.row(width, row, (uint32_t)i, best, places);
    }
    for (int k = 0; k < width; k++)
        j->to[to + k * out] = places[k];
}

static void rows_piece(void *ctx, int64_t begin, int64_t end)
{
    const job *j = ctx;
    for (int64_t i = begin; i < end; i++) {
        int64_t at[2];
        nx_walk_seek(&j->kept, i, at);
        one_output(j, at[0], at[1]);
    }
}

/* Indices are outputs; a tile ends with the piece or the innermost dimension. */
static void columns_piece(void *ctx, int64_t begin, int64_t end)
{
    const job *j = ctx;
    int64_t inner = j->kept.shape[j->kept.ndim - 1];
    while (begin < end) {
        int64_t at[2], width = inner - begin % inner;
        if (width > end - begin)
            width = end - begin;
        if (width > COLUMNS)
            width = COLUMNS;
        nx_walk_seek(&j->kept, begin, at);
        tile_of_outputs(j, at[0], at[1], (int)width);
        begin += width;
    }
}

void NX_FN(arg_reduce)(const nx_call *c)
{
    const nx_arg_reduce_params *q = c->params;
    const nx_view *in = &c->in[0], *out = &c->out[0];
    int class = nx_class_of(in->dtype);
    job j = {.n = in->shape[q->axis], .step = in->strides[q->axis], .load = nx_loads[in->dtype],
             .f = functions[q->kind][class], .from = in->data, .to = out->data,
             .size = (int64_t)nx_dtype_size(in->dtype), .element = nx_class_size(class)};
    nx_walk_init(&j.kept, out->shape, out->ndim, (const int64_t *const[]){in->strides, out->strides}, 2);
    int64_t inner = j.kept.strides[0][j.kept.ndim - 1];
    bool columns = j.kept.size > 1 && j.step != 1 && (inner < 0 ? -inner : inner) < (j.step < 0 ? -j.step : j.step);
    int64_t grain = nx_grain(j.n * j.size, NX_PIECE_BYTES);
    nx_parallel(j.kept.size, columns && grain < 128 ? 128 : grain, columns ? columns_piece : rows_piece, &j);
}
