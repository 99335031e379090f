/*
 * softmax_tmpl.c: softmax and log-sum-exp along the last axis.
 *
 * A row is read in tiles: once for the maximum, once for exp and its sum. Its exponentials are kept
 * in the output where that is float, and made again otherwise. All but float64 compute in float; the
 * sum has a fixed order, 16 lanes within a tile and double across tiles.
 */
#include <math.h>
#include <string.h>

#include "engine/cpu/floats.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/kmath_float.h"
#include "engine/cpu/pool.h"

enum { LANES = 16 };

typedef struct {
    nx_walk rows; /* views: input and output without the last axis */
    int64_t n, step;
    nx_dtype dtype;
    int64_t size;
    const char *from;
    char *to;
} job;

static float max_of(const float *x, int n, float top)
{
    float lane[LANES];
    for (int l = 0; l < LANES; l++)
        lane[l] = top;
    int64_t i = 0; /* of pointer width: an int that may wrap keeps loops from vectorising */
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
    for (; i < n; i++)
        lane[0] = x[i] > lane[0] ? x[i] : lane[0];
    for (int l = 0; l < LANES; l++)
        top = lane[l] > top ? lane[l] : top;
    return top;
}

/* y = exp(x - top); returns its sum. x may be y. A NaN in x comes out in y and in the sum. */
static double exp_of(const float *x, float *y, int n, float top)
{
    float lane[LANES] = {0}, sum = 0;
    NX_INDEPENDENT
    for (int i = 0; i < n; i++)
        y[i] = k_exp_f32(x[i] - top);
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] += y[i + l];
    for (; i < n; i++)
        lane[0] += y[i];
    for (int h = LANES / 2; h; h /= 2)
        for (int l = 0; l < h; l++)
            lane[l] += lane[l + h];
    sum = lane[0];
    return sum;
}

static const float *tile_at(const job *j, const char *row, int64_t i, int m, float *tile)
{
    const char *from = row + i * j->step * j->size;
    if (j->dtype == NX_FLOAT32 && j->step == 1)
        return (const float *)from;
    nx_floats_load(tile, j->dtype, from, j->step, m);
    return tile;
}

static int tile_size(const job *j, int64_t i)
{
    return j->n - i < NX_RUN ? (int)(j->n - i) : NX_RUN;
}

static float row_max(const job *j, const char *row)
{
    float tile[NX_RUN], top = -INFINITY;
    for (int64_t i = 0; i < j->n; i += NX_RUN) {
        int m = tile_size(j, i);
        top = max_of(tile_at(j, row, i, m, tile), m, top);
    }
    return top;
}

static void softmax_row(const job *j, const char *row, char *to)
{
    float tile[NX_RUN];
    double sum = 0;
    float top = row_max(j, row);
    bool keeps = j->dtype == NX_FLOAT32;
    for (int64_t i = 0; i < j->n; i += NX_RUN) {
        int m = tile_size(j, i);
        const float *x = tile_at(j, row, i, m, tile);
        sum += exp_of(x, keeps ? (float *)to + i : tile, m, top);
    }
    float scale = (float)(1 / sum);
    for (int64_t i = 0; i < j->n; i += NX_RUN) {
        int m = tile_size(j, i);
        float *y = keeps ? (float *)to + i : tile;
        if (!keeps)
            exp_of(tile_at(j, row, i, m, tile), tile, m, top);
        for (int k = 0; k < m; k++)
            y[k] *= scale;
        if (!keeps)
            nx_floats_store(to + i * j->size, j->dtype, tile, m);
    }
}

static void logsumexp_row(const job *j, const char *row, char *to)
{
    float tile[NX_RUN], out;
    double sum = 0;
    float top = row_max(j, row), base = isinf(top) ? 0 : top;
    for (int64_t i = 0; i < j->n; i += NX_RUN) {
        int m = tile_size(j, i);
        sum += exp_of(tile_at(j, row, i, m, tile), tile, m, base);
    }
    out = (float)(log(sum) + base);
    nx_floats_store(to, j->dtype, &out, 1);
}

static double row_max_f64(const job *j, const double *x)
{
    double top = -INFINITY;
    for (int64_t i = 0; i < j->n; i++)
        top = x[i * j->step] > top ? x[i * j->step] : top;
    return top;
}

static void softmax_row_f64(const job *j, const char *row, char *to)
{
    const double *x = (const double *)row;
    double *y = (double *)to, top = row_max_f64(j, x), sum = 0;
    for (int64_t i = 0; i < j->n; i++)
        sum += y[i] = exp(x[i * j->step] - top);
    for (int64_t i = 0; i < j->n; i++)
        y[i] /= sum;
}

static void logsumexp_row_f64(const job *j, const char *row, char *to)
{
    const double *x = (const double *)row;
    double top = row_max_f64(j, x), base = isinf(top) ? 0 : top, sum = 0;
    for (int64_t i = 0; i < j->n; i++)
        sum += exp(x[i * j->step] - base);
    *(double *)to = log(sum) + base;
}

static bool above(nx_c64 a, nx_c64 b)
{
    return crealf(a) > crealf(b) || (crealf(a) == crealf(b) && cimagf(a) > cimagf(b));
}

/* exp(x - top) of the complex element i; top is the largest by real, then imaginary part. */
static double _Complex exp_c64(const job *j, const nx_c64 *x, int64_t i, nx_c64 top)
{
    return cexp((double _Complex)x[i * j->step] - (double _Complex)top);
}

static nx_c64 row_max_c64(const job *j, const nx_c64 *x)
{
    nx_c64 top = x[0];
    for (int64_t i = 1; i < j->n; i++)
        top = above(x[i * j->step], top) ? x[i * j->step] : top;
    return top;
}

static void softmax_row_c64(const job *j, const char *row, char *to)
{
    const nx_c64 *x = (const nx_c64 *)row;
    nx_c64 *y = (nx_c64 *)to, top = row_max_c64(j, x);
    double _Complex sum = 0;
    for (int64_t i = 0; i < j->n; i++) {
        double _Complex e = exp_c64(j, x, i, top);
        sum += e;
        y[i] = (nx_c64)e;
    }
    for (int64_t i = 0; i < j->n; i++)
        y[i] = (nx_c64)((double _Complex)y[i] / sum);
}

static void logsumexp_row_c64(const job *j, const char *row, char *to)
{
    const nx_c64 *x = (const nx_c64 *)row;
    nx_c64 top = row_max_c64(j, x);
    if (isinf(crealf(top)))
        top = 0;
    double _Complex sum = 0;
    for (int64_t i = 0; i < j->n; i++)
        sum += exp_c64(j, x, i, top);
    *(nx_c64 *)to = (nx_c64)(clog(sum) + (double _Complex)top);
}

#define PIECE(name)                                                             \
    static void name##_piece(void *ctx, int64_t begin, int64_t end)             \
    {                                                                           \
        const job *j = ctx;                                                     \
        for (int64_t i = begin; i < end; i++) {                                 \
            int64_t at[2];                                                      \
            nx_walk_seek(&j->rows, i, at);                                      \
            const char *row = j->from + at[0] * j->size;                        \
            char *to = j->to + at[1] * j->size;                                 \
            if (j->dtype == NX_FLOAT64)                                         \
                name##_row_f64(j, row, to);                                     \
            else if (j->dtype == NX_COMPLEX64)                                  \
                name##_row_c64(j, row, to);                                     \
            else                                                                \
                name##_row(j, row, to);                                         \
        }                                                                       \
    }
PIECE(softmax)
PIECE(logsumexp)

static void by_rows(const nx_call *c, nx_piece piece)
{
    const nx_view *in = &c->in[0], *out = &c->out[0];
    int last = in->ndim - 1;
    job j = {.n = in->shape[last], .step = in->strides[last], .dtype = in->dtype,
             .size = (int64_t)nx_dtype_size(in->dtype), .from = in->data, .to = out->data};
    nx_walk_init(&j.rows, in->shape, last, (const int64_t *const[]){in->strides, out->strides}, 2);
    nx_parallel(j.rows.size, nx_grain(j.n * 16, NX_PIECE_BYTES), piece, &j);
}

void NX_FN(softmax)(const nx_call *c)
{
    by_rows(c, softmax_piece);
}

void NX_FN(logsumexp)(const nx_call *c)
{
    by_rows(c, logsumexp_piece);
}
