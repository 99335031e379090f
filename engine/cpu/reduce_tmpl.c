/*
 * reduce_tmpl.c: reductions over any axes of any layout.
 *
 * Dimensions are sorted into kept and reduced ones, dropped where they are 1 and merged where they
 * can be. If the fastest dimension in memory is a reduced one, each output folds its own runs
 * (rows); if it is a kept one, a tile of neighbouring outputs folds row after row (columns). Long
 * reductions with few outputs are cut into pieces of a size that the shape alone decides, whose
 * totals meet in order: results never depend on the number of threads.
 */
#include <math.h>
#include <string.h>

#include "engine/cpu/classes.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/pool.h"
#include "engine/ops/params.h"

#include "engine/cpu/reduce_fold.h"

/* ---- elements as truth values ------------------------------------------------------------------ */

#define IS_TRUE(x) ((x) != 0)
#define IS_TRUE_HALF(x) (((x).bits & 0x7FFF) != 0)
#define IS_TRUE_COMPLEX(x) ((crealf(x) != 0) | (cimagf(x) != 0))
NX_LOAD(true_8, uint8_t, int32_t, IS_TRUE)
NX_LOAD(true_16, uint16_t, int32_t, IS_TRUE)
NX_LOAD(true_32, uint32_t, int32_t, IS_TRUE)
NX_LOAD(true_64, uint64_t, int32_t, IS_TRUE)
NX_LOAD(true_f32, float, int32_t, IS_TRUE)
NX_LOAD(true_f64, double, int32_t, IS_TRUE)
NX_LOAD(true_half, nx_f16, int32_t, IS_TRUE_HALF)
NX_LOAD(true_c64, nx_c64, int32_t, IS_TRUE_COMPLEX)

static const nx_load truths[NX_DTYPE_COUNT] = {
    nx_load_true_8,  nx_load_true_8,  nx_load_true_16,   nx_load_true_32,  nx_load_true_64,
    nx_load_true_8,  nx_load_true_16, nx_load_true_32,   nx_load_true_64,  nx_load_true_half,
    nx_load_true_f32, nx_load_true_f64, nx_load_true_half, nx_load_true_c64,
};

/* ---- totals to elements ---------------------------------------------------------------------- */

typedef void (*store_fn)(const void *total, void *to);

#define STORE(name, W, T)                                   \
    static void store_##name(const void *total, void *to)   \
    {                                                       \
        *(T *)to = (T)*(const W *)total;                    \
    }
STORE(i32_8, int32_t, uint8_t)
STORE(i32_16, int32_t, uint16_t)
STORE(32, uint32_t, uint32_t)
STORE(64, uint64_t, uint64_t)
STORE(f64_f32, double, float)
STORE(z_c64, double _Complex, nx_c64)

static void store_f64_f16(const void *total, void *to)
{
    ((nx_f16 *)to)->bits = nx_half_from_float((float)*(const double *)total);
}
static void store_f64_bf16(const void *total, void *to)
{
    ((nx_bf16 *)to)->bits = nx_bf16_from_float((float)*(const double *)total);
}
static void store_f32_f16(const void *total, void *to)
{
    ((nx_f16 *)to)->bits = nx_half_from_float(*(const float *)total);
}
static void store_f32_bf16(const void *total, void *to)
{
    ((nx_bf16 *)to)->bits = nx_bf16_from_float(*(const float *)total);
}

/* ---- which fold, load and store ---------------------------------------------------------------- */

static const fold folds[4][NX_CLASSES] = { /* sum, prod, min, max */
    {[NX_CLASS_I32] = FOLD_ROW(sum_u32, uint32_t, uint32_t), [NX_CLASS_U32] = FOLD_ROW(sum_u32, uint32_t, uint32_t),
     [NX_CLASS_I64] = FOLD_ROW(sum_u64, uint64_t, uint64_t), [NX_CLASS_U64] = FOLD_ROW(sum_u64, uint64_t, uint64_t),
     [NX_CLASS_F32] = FOLD_ROW(sum_f32, float, double), [NX_CLASS_F64] = FOLD_ROW(sum_f64, double, double),
     [NX_CLASS_C64] = FOLD_ROW(sum_c64, nx_c64, double _Complex)},
    {[NX_CLASS_I32] = FOLD_ROW(prod_u32, uint32_t, uint32_t), [NX_CLASS_U32] = FOLD_ROW(prod_u32, uint32_t, uint32_t),
     [NX_CLASS_I64] = FOLD_ROW(prod_u64, uint64_t, uint64_t), [NX_CLASS_U64] = FOLD_ROW(prod_u64, uint64_t, uint64_t),
     [NX_CLASS_F32] = FOLD_ROW(prod_f32, float, double), [NX_CLASS_F64] = FOLD_ROW(prod_f64, double, double),
     [NX_CLASS_C64] = FOLD_ROW(prod_c64, nx_c64, double _Complex)},
    {[NX_CLASS_I32] = FOLD_ROW(min_i32, int32_t, int32_t), [NX_CLASS_U32] = FOLD_ROW(min_u32, uint32_t, uint32_t),
     [NX_CLASS_I64] = FOLD_ROW(min_i64, int64_t, int64_t), [NX_CLASS_U64] = FOLD_ROW(min_u64, uint64_t, uint64_t),
     [NX_CLASS_F32] = FOLD_ROW(min_f32, float, float), [NX_CLASS_F64] = FOLD_ROW(min_f64, double, double),
     [NX_CLASS_C64] = FOLD_ROW(min_c64, nx_c64, nx_c64)},
    {[NX_CLASS_I32] = FOLD_ROW(max_i32, int32_t, int32_t), [NX_CLASS_U32] = FOLD_ROW(max_u32, uint32_t, uint32_t),
     [NX_CLASS_I64] = FOLD_ROW(max_i64, int64_t, int64_t), [NX_CLASS_U64] = FOLD_ROW(max_u64, uint64_t, uint64_t),
     [NX_CLASS_F32] = FOLD_ROW(max_f32, float, float), [NX_CLASS_F64] = FOLD_ROW(max_f64, double, double),
     [NX_CLASS_C64] = FOLD_ROW(max_c64, nx_c64, nx_c64)},
};

static const fold *choose_fold(int kind, nx_dtype in)
{
    switch (kind) {
    case NX_REDUCE_AND: return &folds[1][NX_CLASS_I32]; /* of truths, 0 and 1: 1 of none */
    case NX_REDUCE_OR: return &folds[3][NX_CLASS_I32];
    case NX_REDUCE_SUM: return &folds[0][nx_class_of(in)];
    case NX_REDUCE_PROD: return &folds[1][nx_class_of(in)];
    case NX_REDUCE_MIN: return &folds[2][nx_class_of(in)];
    default: return &folds[3][nx_class_of(in)];
    }
}

static store_fn choose_store(const fold *f, nx_dtype out)
{
    bool wide = f->total > f->element;
    switch (out) {
    case NX_FLOAT16: return f->total == 8 ? store_f64_f16 : store_f32_f16;
    case NX_BFLOAT16: return f->total == 8 ? store_f64_bf16 : store_f32_bf16;
    case NX_FLOAT32: return wide ? store_f64_f32 : store_32;
    case NX_COMPLEX64: return wide ? store_z_c64 : store_64;
    default: break;
    }
    static const store_fn by_size[9] = {[1] = store_i32_8, [2] = store_i32_16, [4] = store_32,
                                        [8] = store_64};
    return by_size[nx_dtype_size(out)];
}

/* ---- the plan ---------------------------------------------------------------------------------- */

typedef struct {
    int n;
    int64_t shape[NX_MAX_NDIM], in[NX_MAX_NDIM], out[NX_MAX_NDIM]; /* strides in elements */
} dims;

typedef struct {
    dims kept, reduced; /* the last reduced one is the fastest; for columns, the last kept one too */
    bool columns;
    int64_t n_reduced, n_kept; /* elements */
    int64_t width, tiles;      /* of the last kept dimension: columns a tile, tiles */
    int64_t items;             /* outputs, or column tiles, of one piece */
    int64_t pieces, piece;     /* the reduction in pieces of `piece` positions */
    bool native;               /* elements can be folded where they lie */
    const fold *fold;
    nx_load load;
    store_fn store;
    const char *from;
    char *to, *totals; /* totals: [pieces, n_kept] of fold->total bytes where pieces > 1 */
    int64_t from_size, to_size;
} plan;

static int64_t magnitude(int64_t x)
{
    return x < 0 ? -x : x;
}

static void dims_push(dims *d, int64_t shape, int64_t in, int64_t out)
{
    int i = d->n++;
    d->shape[i] = shape;
    d->in[i] = in;
    d->out[i] = out;
}

/* Largest step first, so that the innermost loop is over neighbours in memory. */
static void dims_sort(dims *d)
{
    for (int i = 1; i < d->n; i++) {
        int64_t shape = d->shape[i], in = d->in[i], out = d->out[i];
        int j = i;
        for (; j > 0 && magnitude(d->in[j - 1]) < magnitude(in); j--) {
            d->shape[j] = d->shape[j - 1];
            d->in[j] = d->in[j - 1];
            d->out[j] = d->out[j - 1];
        }
        d->shape[j] = shape;
        d->in[j] = in;
        d->out[j] = out;
    }
}

static void dims_merge(dims *d)
{
    int top = 0;
    for (int i = 1; i < d->n; i++) {
        if (d->in[top] == d->in[i] * d->shape[i] && d->out[top] == d->out[i] * d->shape[i]) {
            d->shape[top] *= d->shape[i];
        } else {
            top++;
            d->shape[top] = d->shape[i];
        }
        d->in[top] = d->in[i];
        d->out[top] = d->out[i];
    }
    d->n = d->n ? top + 1 : 0;
}

static int64_t dims_size(const dims *d)
{
    int64_t n = 1;
    for (int i = 0; i < d->n; i++)
        n *= d->shape[i];
    return n;
}

static void split_dims(plan *p, const nx_view *in, const nx_view *out, const nx_dims *axes)
{
    bool reduce[NX_MAX_NDIM] = {0};
    for (int i = 0; i < axes->n; i++)
        reduce[axes->v[i]] = true;
    for (int i = 0; i < in->ndim; i++) {
        if (in->shape[i] == 1)
            continue;
        if (reduce[i])
            dims_push(&p->reduced, in->shape[i], in->strides[i], 0);
        else
            dims_push(&p->kept, in->shape[i], in->strides[i], out->strides[i]);
    }
    dims_sort(&p->reduced);
    dims_sort(&p->kept);
    dims_merge(&p->reduced);
    dims_merge(&p->kept);
    bool nothing = dims_size(&p->reduced) == 0;
    if (nothing)
        p->reduced.n = 0;
    if (!p->reduced.n)
        dims_push(&p->reduced, nothing ? 0 : 1, 1, 0);
}

/* About 64 Ki elements a piece, at most 64 pieces; none where the outputs alone keep threads busy. */
static void cut_pieces(plan *p)
{
    int64_t work = p->n_reduced * p->n_kept, pieces = work >> 16;
    if (pieces > 64)
        pieces = 64;
    if (pieces < 2 || p->n_kept > 4096 || p->items >= 32)
        pieces = 1;
    p->piece = (p->n_reduced + pieces - 1) / (pieces ? pieces : 1);
    if (p->piece < 1)
        p->piece = 1;
    p->pieces = p->n_reduced ? (p->n_reduced + p->piece - 1) / p->piece : 1;
}

static void plan_init(plan *p, const nx_call *c)
{
    const nx_reduce_params *q = c->params;
    const nx_view *in = &c->in[0], *out = &c->out[0];
    *p = (plan){.from = in->data, .to = out->data};
    split_dims(p, in, out, &q->axes);
    p->n_reduced = dims_size(&p->reduced);
    p->n_kept = dims_size(&p->kept);
    p->columns = p->kept.n && magnitude(p->kept.in[p->kept.n - 1]) <
                                  magnitude(p->reduced.in[p->reduced.n - 1]);
    if (p->columns && magnitude(p->reduced.in[p->reduced.n - 1]) == 1)
        p->columns = false; /* outputs that are broadcast over */
    if (p->kept.n && p->n_reduced == 1)
        p->columns = true;
    p->items = p->n_kept;
    if (p->columns) {
        int64_t last = p->kept.shape[p->kept.n - 1];
        p->width = last < COLUMNS ? last : COLUMNS;
        p->tiles = p->width ? (last + p->width - 1) / p->width : 0;
        p->items = last ? p->n_kept / last * p->tiles : 0;
    }
    cut_pieces(p);
    p->fold = choose_fold(q->kind, in->dtype);
    p->load = (q->kind <= NX_REDUCE_OR ? truths : nx_loads)[in->dtype];
    p->store = choose_store(p->fold, out->dtype);
    p->from_size = (int64_t)nx_dtype_size(in->dtype);
    p->to_size = (int64_t)nx_dtype_size(out->dtype);
    p->native = p->load == nx_load_u32 || p->load == nx_load_u64 || p->load == nx_load_f32 ||
                p->load == nx_load_f64 || p->load == nx_load_c64;
}

/* Offset of the row-major position `at` of d. */
static int64_t dims_seek(const dims *d, int n, int64_t at, int64_t *out)
{
    int64_t in = 0;
    for (int i = n - 1; i >= 0; i--) {
        int64_t k = at % d->shape[i];
        at /= d->shape[i];
        in += k * d->in[i];
        *out += k * d->out[i];
    }
    return in;
}

/* Walks positions begin..end-1 of the reduced dimensions, a run of the innermost one at a time. */
typedef struct {
    const dims *d;
    int64_t begin, end;
    int64_t n, offset; /* of the run: length, offset of its first element */
    int64_t at[NX_MAX_NDIM];
} runs;

static void runs_init(runs *r, const dims *d, int64_t begin, int64_t end)
{
    *r = (runs){.d = d, .begin = begin, .end = end};
    int64_t at = begin;
    for (int i = d->n - 1; i >= 0 && d->n > 1; i--) {
        r->at[i] = at % d->shape[i];
        at /= d->shape[i];
        r->offset += r->at[i] * d->in[i];
    }
    if (d->n == 1) {
        r->at[0] = begin;
        r->offset = begin * d->in[0];
    }
}

static bool runs_next(runs *r)
{
    const dims *d = r->d;
    int last = d->n - 1;
    if (r->n) { /* past the run before */
        r->begin += r->n;
        r->offset += r->n * d->in[last];
        r->at[last] += r->n;
        for (int i = last; i > 0 && r->at[i] == d->shape[i]; i--) {
            r->offset += d->in[i - 1] - d->in[i] * d->shape[i];
            r->at[i] = 0;
            r->at[i - 1]++;
        }
    }
    if (r->begin >= r->end)
        return false;
    r->n = d->shape[last] - r->at[last];
    if (r->n > r->end - r->begin)
        r->n = r->end - r->begin;
    return true;
}

/* ---- rows: each output folds its own runs -------------------------------------------------------- */

static void fold_run(const plan *p, const char *from, int64_t step, int64_t n, void *total)
{
    _Alignas(64) char tile[1024 * 8];
    if (p->native && step == 1) {
        p->fold->run(n, from, total);
        return;
    }
    for (int64_t i = 0; i < n; i += 1024) {
        int64_t m = n - i < 1024 ? n - i : 1024;
        p->load(m, from + i * step * p->from_size, step, tile);
        p->fold->run(m, tile, total);
    }
}

static void fold_output(const plan *p, int64_t offset, int64_t begin, int64_t end, void *total)
{
    int64_t step = p->reduced.in[p->reduced.n - 1];
    runs r;
    p->fold->clear(1, total);
    for (runs_init(&r, &p->reduced, begin, end); runs_next(&r);)
        fold_run(p, p->from + (offset + r.offset) * p->from_size, step, r.n, total);
}

static void row_items(void *ctx, int64_t begin, int64_t end)
{
    const plan *p = ctx;
    _Alignas(16) char total[16];
    for (int64_t i = begin; i < end; i++) {
        int64_t piece = i / p->items, item = i % p->items, out = 0;
        int64_t offset = dims_seek(&p->kept, p->kept.n, item, &out);
        int64_t first = piece * p->piece, last = first + p->piece;
        if (last > p->n_reduced)
            last = p->n_reduced;
        if (p->pieces > 1) {
            size_t place = (size_t)(piece * p->n_kept + item) * p->fold->total;
            fold_output(p, offset, first, last, p->totals + place);
        } else {
            fold_output(p, offset, first, last, total);
            p->store(total, p->to + out * p->to_size);
        }
    }
}

/* ---- columns: neighbouring outputs fold row after row --------------------------------------------- */

/* `rows` rows of `width` elements; the next row is row_step, the next element `step` further on. */
static void fold_rows(const plan *p, const char *from, int rows, int64_t row_step, int width,
                      int64_t step, void *totals)
{
    enum { TILE_ROWS = 8 };
    _Alignas(64) char tile[TILE_ROWS * COLUMNS * 8];
    if (p->native && step == 1) {
        p->fold->rows(rows, width, from, row_step, totals);
        return;
    }
    for (int r = 0; r < rows; r += TILE_ROWS) {
        int m = rows - r < TILE_ROWS ? rows - r : TILE_ROWS;
        for (int k = 0; k < m; k++)
            p->load(width, from + (r + k) * row_step * p->from_size, step,
                    tile + (size_t)(k * width) * p->fold->element);
        p->fold->rows(m, width, tile, width, totals);
    }
}

static void fold_tile(const plan *p, int64_t offset, int64_t begin, int64_t end, int width, void *totals)
{
    int64_t step = p->kept.in[p->kept.n - 1], row_step = p->reduced.in[p->reduced.n - 1];
    runs r;
    p->fold->clear(width, totals);
    for (runs_init(&r, &p->reduced, begin, end); runs_next(&r);)
        for (int64_t k = 0; k < r.n; k += ROWS)
            fold_rows(p, p->from + (offset + r.offset + k * row_step) * p->from_size,
                      (int)(r.n - k < ROWS ? r.n - k : ROWS), row_step, width, step, totals);
}

static void column_items(void *ctx, int64_t begin, int64_t end)
{
    const plan *p = ctx;
    _Alignas(64) char totals[COLUMNS * 16];
    int last_dim = p->kept.n - 1;
    for (int64_t i = begin; i < end; i++) {
        int64_t piece = i / p->items, item = i % p->items, out = 0;
        int64_t first_column = item % p->tiles * p->width;
        int64_t outer = item / p->tiles, width = p->kept.shape[last_dim] - first_column;
        int64_t offset = dims_seek(&p->kept, last_dim, outer, &out);
        int64_t first = piece * p->piece, last = first + p->piece;
        if (last > p->n_reduced)
            last = p->n_reduced;
        if (width > p->width)
            width = p->width;
        offset += first_column * p->kept.in[last_dim];
        out += first_column * p->kept.out[last_dim];
        if (p->pieces > 1) {
            int64_t at = piece * p->n_kept + outer * p->kept.shape[last_dim] + first_column;
            fold_tile(p, offset, first, last, (int)width, p->totals + (size_t)at * p->fold->total);
            continue;
        }
        fold_tile(p, offset, first, last, (int)width, totals);
        for (int64_t j = 0; j < width; j++)
            p->store(totals + (size_t)j * p->fold->total,
                     p->to + (out + j * p->kept.out[last_dim]) * p->to_size);
    }
}

/* ---- the kernel ----------------------------------------------------------------------------------- */

static void join_pieces(const plan *p)
{
    size_t total = p->fold->total;
    for (int64_t k = 1; k < p->pieces; k++)
        p->fold->meet(p->n_kept, p->totals, p->totals + (size_t)(k * p->n_kept) * total);
    for (int64_t i = 0; i < p->n_kept; i++) {
        int64_t out = 0;
        dims_seek(&p->kept, p->kept.n, i, &out);
        p->store(p->totals + (size_t)i * total, p->to + out * p->to_size);
    }
}

size_t NX_FN(reduce_workspace)(const nx_call *c)
{
    plan p;
    plan_init(&p, c);
    return p.pieces > 1 ? (size_t)(p.pieces * p.n_kept) * p.fold->total : 0;
}

void NX_FN(reduce)(const nx_call *c)
{
    plan p;
    plan_init(&p, c);
    p.totals = c->workspace;
    int64_t per_item = p.piece * p.from_size * (p.columns ? p.width : 1);
    nx_parallel(p.items * p.pieces, nx_grain(per_item, NX_PIECE_BYTES),
                p.columns ? column_items : row_items, &p);
    if (p.pieces > 1)
        join_pieces(&p);
}
