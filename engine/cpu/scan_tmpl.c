/*
 * scan_tmpl.c: running reductions along one axis.
 *
 * Along a fast axis each row is walked by itself; along a slow one a tile of neighbouring columns
 * goes down together, which vectorises. Sums and products of floats run in double. From the end is
 * from the start with negative steps.
 */
#include <math.h>
#include <string.h>

#include "engine/cpu/classes.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/pool.h"
#include "engine/ops/params.h"

enum { TILE = 512, COLUMNS = 256, DIRECT_COLUMNS = 1024, TOTAL_SIZE = 16 };

#define ADD(a, b) ((a) + (b))
#define MUL(a, b) ((a) * (b))
#define ZMUL(a, b)                                                                                \
    CMPLX(creal(a) * creal(b) - cimag(a) * cimag(b), creal(a) * cimag(b) + cimag(a) * creal(b))
/* A NaN stays out of a running minimum and is forgotten by a running maximum, as in MLX. */
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define MIN(a, b) ((b) < (a) ? (b) : (a))

static inline bool above(nx_c64 a, nx_c64 b)
{
    return crealf(a) > crealf(b) || (crealf(a) == crealf(b) && cimagf(a) > cimagf(b));
}
#define CMAX(a, b) (above(a, b) ? (a) : (b))
#define CMIN(a, b) (above(a, b) ? (b) : (a))

static inline double log_add(double a, double b)
{
    double top = a > b ? a : b, low = a > b ? b : a;
    if (top != top || low != low)
        return NAN;
    return isinf(top) || low == -INFINITY ? top : top + log1p(exp(low - top));
}

static inline double _Complex log_add_complex(double _Complex a, double _Complex b)
{
    double _Complex top = creal(a) > creal(b) ? a : b, low = creal(a) > creal(b) ? b : a;
    if (creal(low) == -INFINITY)
        return top;
    return top + clog(1 + cexp(low - top));
}

/* Eight at a time for sums and products: each step doubles how many have met, and the total, on which
 * all wait, is met once in eight. In order of the place in the run, so of the shape alone. */
#define BY_EIGHT(A, W, OP)                                                                      \
    for (; i + 8 <= n; i += 8) {                                                                \
        W v[8];                                                                                 \
        for (int k = 0; k < 8; k++)                                                             \
            v[k] = (W)x[i + k];                                                                 \
        for (int k = 0; k < 8; k += 2)                                                          \
            v[k + 1] = OP(v[k], v[k + 1]);                                                      \
        for (int k = 0; k < 8; k += 4) {                                                        \
            v[k + 2] = OP(v[k + 1], v[k + 2]);                                                  \
            v[k + 3] = OP(v[k + 1], v[k + 3]);                                                  \
        }                                                                                       \
        for (int k = 4; k < 8; k++)                                                             \
            v[k] = OP(v[3], v[k]);                                                              \
        if (!inclusive)                                                                         \
            y[i] = (A)t;                                                                        \
        for (int k = 0; k < 7; k++)                                                             \
            y[i + k + !inclusive] = (A)OP(t, v[k]);                                             \
        t = OP(t, v[7]);                                                                        \
        if (inclusive)                                                                          \
            y[i + 7] = (A)t;                                                                    \
    }
#define ONE_BY_ONE(A, W, OP)

/* x may be y, element by element. clang looks at run time, and warns of loops that call the C library. */
#if defined(__clang__)
#define COLUMNS_APART
#else
#define COLUMNS_APART _Pragma("GCC ivdep")
#endif

/* run: x[0..n) one after the other into *total, the total after (inclusive) or before each into y.
 * row: the same for `width` totals side by side. x may be y. */
#define SCAN(name, A, W, OP) SCAN_BY(name, A, W, OP, ONE_BY_ONE)
#define SCAN_BY(name, A, W, OP, MANY)                                                           \
    static void run_##name(int64_t n, const void *from, void *to, void *total, bool inclusive)  \
    {                                                                                           \
        const A *x = from;                                                                      \
        A *y = to;                                                                              \
        W t = *(W *)total;                                                                      \
        int64_t i = 0;                                                                          \
        MANY(A, W, OP)                                                                          \
        for (; i < n; i++) {                                                                    \
            W next = OP(t, (W)x[i]);                                                            \
            y[i] = (A)(inclusive ? next : t);                                                   \
            t = next;                                                                           \
        }                                                                                       \
        *(W *)total = t;                                                                        \
    }                                                                                           \
    static void row_##name(int64_t width, const void *from, void *to, void *totals, bool inclusive) \
    {                                                                                           \
        const A *x = from;                                                                      \
        A *y = to;                                                                              \
        W *t = totals;                                                                          \
        COLUMNS_APART for (int64_t j = 0; j < width; j++)                                       \
        {                                                                                       \
            W next = OP(t[j], (W)x[j]);                                                         \
            y[j] = (A)(inclusive ? next : t[j]);                                                \
            t[j] = next;                                                                        \
        }                                                                                       \
    }                                                                                           \
    static void fill_##name(int64_t n, void *totals, int64_t step, const void *values)          \
    {                                                                                           \
        for (int64_t i = 0; i < n; i++)                                                         \
            ((W *)totals)[i] = (W)((const A *)values)[i * step];                                \
    }
SCAN_BY(sum_u32, uint32_t, uint32_t, ADD, BY_EIGHT)
SCAN_BY(sum_u64, uint64_t, uint64_t, ADD, BY_EIGHT)
SCAN_BY(sum_f32, float, double, ADD, BY_EIGHT)
SCAN_BY(sum_f64, double, double, ADD, BY_EIGHT)
SCAN(sum_c64, nx_c64, double _Complex, ADD)
SCAN_BY(prod_u32, uint32_t, uint32_t, MUL, BY_EIGHT)
SCAN_BY(prod_u64, uint64_t, uint64_t, MUL, BY_EIGHT)
SCAN_BY(prod_f32, float, double, MUL, BY_EIGHT)
SCAN_BY(prod_f64, double, double, MUL, BY_EIGHT)
SCAN(prod_c64, nx_c64, double _Complex, ZMUL)
SCAN(max_i32, int32_t, int32_t, MAX)
SCAN(max_u32, uint32_t, uint32_t, MAX)
SCAN(max_i64, int64_t, int64_t, MAX)
SCAN(max_u64, uint64_t, uint64_t, MAX)
SCAN(max_f32, float, float, MAX)
SCAN(max_f64, double, double, MAX)
SCAN(max_c64, nx_c64, nx_c64, CMAX)
SCAN(min_i32, int32_t, int32_t, MIN)
SCAN(min_u32, uint32_t, uint32_t, MIN)
SCAN(min_i64, int64_t, int64_t, MIN)
SCAN(min_u64, uint64_t, uint64_t, MIN)
SCAN(min_f32, float, float, MIN)
SCAN(min_f64, double, double, MIN)
SCAN(min_c64, nx_c64, nx_c64, CMIN)
SCAN(log_f32, float, double, log_add)
SCAN(log_f64, double, double, log_add)
SCAN(log_c64, nx_c64, double _Complex, log_add_complex)

typedef void (*scan_fn)(int64_t n, const void *from, void *to, void *totals, bool inclusive);
typedef struct {
    scan_fn run, row;
    void (*fill)(int64_t n, void *totals, int64_t step, const void *values);
} scan_kind;

#define S(name) {run_##name, row_##name, fill_##name}
/* Integers: a sum of exponentials truncated to an integer is the largest of them. */
static const scan_kind kinds[5][NX_CLASSES] = {
    [NX_SCAN_MAX] = {S(max_i32), S(max_u32), S(max_i64), S(max_u64), S(max_f32), S(max_f64), S(max_c64)},
    [NX_SCAN_MIN] = {S(min_i32), S(min_u32), S(min_i64), S(min_u64), S(min_f32), S(min_f64), S(min_c64)},
    [NX_SCAN_SUM] = {S(sum_u32), S(sum_u32), S(sum_u64), S(sum_u64), S(sum_f32), S(sum_f64), S(sum_c64)},
    [NX_SCAN_PROD] = {S(prod_u32), S(prod_u32), S(prod_u64), S(prod_u64), S(prod_f32), S(prod_f64),
                      S(prod_c64)},
    [NX_SCAN_LOGADDEXP] = {S(max_i32), S(max_u32), S(max_i64), S(max_u64), S(log_f32), S(log_f64),
                           S(log_c64)},
};

typedef struct {
    nx_walk others; /* views: input and output without the axis */
    int64_t n, step, to_step; /* the axis */
    bool inclusive;
    bool direct; /* elements need no conversion */
    scan_kind f;
    nx_load load;
    nx_store store;
    _Alignas(8) char identity[NX_CLASS_MAX_SIZE];
    const char *from;
    char *to;
    int64_t size, to_size;
} job;

/* Sets the total before the first element, or (inclusive) to it, which is then the first result: the
 * identity has no part in what is inclusive. Returns where to go on. */
static int64_t begin_row(const job *j, const char *from, char *to, void *total)
{
    _Alignas(8) char first[NX_CLASS_MAX_SIZE];
    if (!j->inclusive) {
        j->f.fill(1, total, 1, j->identity);
        return 0;
    }
    j->load(1, from, 1, first);
    j->f.fill(1, total, 1, first);
    j->store(1, first, to, 1);
    return 1;
}

static void one_row(const job *j, const char *from, char *to)
{
    _Alignas(64) char tile[TILE * NX_CLASS_MAX_SIZE];
    _Alignas(16) char total[TOTAL_SIZE];
    for (int64_t i = begin_row(j, from, to, total); i < j->n; i += TILE) {
        int64_t m = j->n - i < TILE ? j->n - i : TILE;
        j->load(m, from + i * j->step * j->size, j->step, tile);
        j->f.run(m, tile, tile, total, j->inclusive);
        j->store(m, tile, to + i * j->to_step * j->to_size, j->to_step);
    }
}

static void some_columns(const job *j, const char *from, char *to, int64_t width)
{
    _Alignas(64) char in[COLUMNS * NX_CLASS_MAX_SIZE], out[COLUMNS * NX_CLASS_MAX_SIZE];
    _Alignas(64) char totals[COLUMNS * TOTAL_SIZE];
    int last = j->others.ndim - 1;
    int64_t step = j->others.strides[0][last], to_step = j->others.strides[1][last];
    if (j->inclusive) {
        j->load(width, from, step, in);
        j->f.fill(width, totals, 1, in);
        j->store(width, in, to, to_step);
    } else {
        j->f.fill(width, totals, 0, j->identity);
    }
    for (int64_t i = j->inclusive; i < j->n; i++) {
        j->load(width, from + i * j->step * j->size, step, in);
        j->f.row(width, in, out, totals, j->inclusive);
        j->store(width, out, to + i * j->to_step * j->to_size, to_step);
    }
}

static void rows_piece(void *ctx, int64_t begin, int64_t end)
{
    const job *j = ctx;
    for (int64_t i = begin; i < end; i++) {
        int64_t at[2];
        nx_walk_seek(&j->others, i, at);
        one_row(j, j->from + at[0] * j->size, j->to + at[1] * j->to_size);
    }
}

/* Elements are what totals are made of and lie side by side on both sides: nothing is copied. */
static bool is_direct(const job *j)
{
    int last = j->others.ndim - 1;
    return j->direct && j->others.strides[0][last] == 1 && j->others.strides[1][last] == 1;
}

static void direct_columns(const job *j, const char *from, char *to, int64_t width)
{
    _Alignas(64) char totals[DIRECT_COLUMNS * TOTAL_SIZE];
    j->f.fill(width, totals, j->inclusive, j->inclusive ? from : j->identity);
    if (j->inclusive)
        memmove(to, from, (size_t)(width * j->size));
    for (int64_t i = j->inclusive; i < j->n; i++)
        j->f.row(width, from + i * j->step * j->size, to + i * j->to_step * j->to_size, totals,
                 j->inclusive);
}

/* Indices are columns; a tile ends with the piece or the innermost dimension. */
static void columns_piece(void *ctx, int64_t begin, int64_t end)
{
    const job *j = ctx;
    int64_t inner = j->others.shape[j->others.ndim - 1];
    int64_t most = is_direct(j) ? DIRECT_COLUMNS : COLUMNS;
    void (*columns)(const job *, const char *, char *, int64_t) =
        is_direct(j) ? direct_columns : some_columns;
    while (begin < end) {
        int64_t at[2], width = inner - begin % inner;
        if (width > end - begin)
            width = end - begin;
        if (width > most)
            width = most;
        nx_walk_seek(&j->others, begin, at);
        columns(j, j->from + at[0] * j->size, j->to + at[1] * j->to_size, width);
        begin += width;
    }
}

/* Of the output's type, as the class of it sees it. */
static void set_identity(job *j, int kind, nx_dtype t)
{
    static const int64_t lowest[9] = {[1] = INT8_MIN, [2] = INT16_MIN, [4] = INT32_MIN, [8] = INT64_MIN};
    uint64_t most = t == NX_BOOL ? 1 : UINT64_MAX >> (64 - 8 * nx_dtype_size(t));
    bool is_min = kind == NX_SCAN_MIN, is_sum = kind == NX_SCAN_SUM, is_prod = kind == NX_SCAN_PROD;
    double edge = is_sum ? 0 : is_prod ? 1 : is_min ? INFINITY : -INFINITY;
    int64_t i = is_sum ? 0 : is_prod ? 1 : is_min ? (int64_t)most : 0;
    if (nx_dtype_in(t, NX_SIGNED) && !is_sum && !is_prod)
        i = is_min ? -1 - lowest[nx_dtype_size(t)] : lowest[nx_dtype_size(t)];
    float f = (float)edge;
    nx_c64 z = is_prod ? 1 : 0; /* as MLX has it for complex extremes too */
    switch (nx_class_of(t)) {
    case NX_CLASS_F32: memcpy(j->identity, &f, 4); break;
    case NX_CLASS_F64: memcpy(j->identity, &edge, 8); break;
    case NX_CLASS_C64: memcpy(j->identity, &z, 8); break;
    default: memcpy(j->identity, &i, 8); break; /* little-endian: the low half is the 32-bit value */
    }
}

/* The axis goes backwards: from its last element, with negative steps. */
static void reverse(job *j)
{
    j->from += (j->n - 1) * j->step * j->size;
    j->to += (j->n - 1) * j->to_step * j->to_size;
    j->step = -j->step;
    j->to_step = -j->to_step;
}

static int64_t magnitude(int64_t x)
{
    return x < 0 ? -x : x;
}

void NX_FN(scan)(const nx_call *c)
{
    const nx_scan_params *q = c->params;
    const nx_view *in = &c->in[0], *out = &c->out[0];
    int shape[NX_MAX_NDIM];
    job j = {.n = in->shape[q->axis], .step = in->strides[q->axis], .to_step = out->strides[q->axis],
             .inclusive = q->inclusive, .f = kinds[q->kind][nx_class_of(in->dtype)],
             .load = nx_loads[in->dtype], .store = nx_store_for(out->dtype), .from = in->data,
             .to = out->data, .size = (int64_t)nx_dtype_size(in->dtype),
             .to_size = (int64_t)nx_dtype_size(out->dtype)};
    j.direct = in->dtype == out->dtype && j.size >= 4; /* all but small integers and halves */
    for (int i = 0; i < in->ndim; i++)
        shape[i] = i == q->axis ? 1 : in->shape[i];
    nx_walk_init(&j.others, shape, in->ndim, (const int64_t *const[]){in->strides, out->strides}, 2);
    set_identity(&j, q->kind, out->dtype);
    if (q->reverse)
        reverse(&j);
    bool columns = j.others.size > 1 && magnitude(j.to_step) != 1 &&
                   magnitude(j.others.strides[1][j.others.ndim - 1]) < magnitude(j.to_step);
    int64_t grain = nx_grain(j.n * (j.size + j.to_size), NX_PIECE_BYTES);
    nx_parallel(j.others.size, columns && grain < 128 ? 128 : grain, columns ? columns_piece : rows_piece,
                &j);
}
