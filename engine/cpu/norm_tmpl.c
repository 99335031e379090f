/*
 * norm_tmpl.c: root-mean-square and layer normalization of the rows of the last axis.
 *
 * A row is read once for its sums and once to write it. Sums go through 32 lanes of float within a
 * tile and double across tiles, in an order of the row's length alone; float64 rows compute in
 * double. 16-bit results are rounded before weight and bias are applied, as MLX does.
 */
#include <math.h>

#include "engine/cpu/floats.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/kmath_float.h"
#include "engine/cpu/pool.h"
#include "engine/ops/params.h"

enum { LANES = 32 };

typedef struct {
    nx_walk rows; /* views: input and output without the last axis */
    int64_t n, step;
    nx_dtype dtype;
    int64_t size;
    const char *from;
    char *to;
    nx_view weight, bias;
    float eps;
    bool centred; /* layer norm */
} job;

/* All loops over lanes have constant bounds, so that the lanes stay in registers. */
static inline float add_lanes(float *lane)
{
    for (int h = LANES / 2; h; h /= 2)
        for (int l = 0; l < h; l++)
            lane[l] += lane[l + h];
    return lane[0];
}

/* The last n < LANES elements, filled up with `rest`. */
static inline void fill_lanes(float *lane, const float *x, int n, float rest)
{
    for (int l = 0; l < LANES; l++)
        lane[l] = rest;
    memcpy(lane, x, (size_t)n * sizeof *lane);
}

static float sum_of(const float *x, int n)
{
    float lane[LANES] = {0}, last[LANES];
    int64_t i = 0; /* of pointer width: an int that may wrap keeps loops from vectorising */
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] += x[i + l];
    if (i < n) {
        fill_lanes(last, x + i, n - (int)i, 0);
        for (int l = 0; l < LANES; l++)
            lane[l] += last[l];
    }
    return add_lanes(lane);
}

/* Of (x - mean)^2. */
static float squares_of(const float *x, int n, float mean)
{
    float lane[LANES] = {0}, last[LANES];
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] = K_FMA(x[i + l] - mean, x[i + l] - mean, lane[l]);
    if (i < n) {
        fill_lanes(last, x + i, n - (int)i, mean);
        for (int l = 0; l < LANES; l++)
            lane[l] = K_FMA(last[l] - mean, last[l] - mean, lane[l]);
    }
    return add_lanes(lane);
}

static int tile_size(const job *j, int64_t i)
{
    return j->n - i < NX_RUN ? (int)(j->n - i) : NX_RUN;
}

static const float *tile_at(const job *j, const char *row, int64_t step, int64_t i, int m, float *tile)
{
    const char *from = row + i * step * j->size;
    if (j->dtype == NX_FLOAT32 && step == 1)
        return (const float *)from;
    nx_floats_load(tile, j->dtype, from, step, m);
    return tile;
}

static double row_sum(const job *j, const char *row)
{
    float tile[NX_RUN];
    double sum = 0;
    for (int64_t i = 0; i < j->n; i += NX_RUN) {
        int m = tile_size(j, i);
        sum += sum_of(tile_at(j, row, j->step, i, m, tile), m);
    }
    return sum;
}

static double row_squares(const job *j, const char *row, float mean)
{
    float tile[NX_RUN];
    double sum = 0;
    for (int64_t i = 0; i < j->n; i += NX_RUN) {
        int m = tile_size(j, i);
        sum += squares_of(tile_at(j, row, j->step, i, m, tile), m, mean);
    }
    return sum;
}

/* y = (x - mean) * scale, times weight, plus bias. x may be y. */
static void write_tile(const job *j, const float *x, float *y, int64_t i, int m, float mean, float scale)
{
    float buffer[NX_RUN];
    NX_INDEPENDENT
    for (int k = 0; k < m; k++)
        y[k] = (x[k] - mean) * scale;
    nx_floats_round(y, j->dtype, m);
    if (j->weight.data) {
        const float *w = tile_at(j, j->weight.data, j->weight.strides[0], i, m, buffer);
        NX_INDEPENDENT
        for (int k = 0; k < m; k++)
            y[k] *= w[k];
        nx_floats_round(y, j->bias.data ? j->dtype : NX_FLOAT32, m);
    }
    if (j->bias.data) {
        const float *b = tile_at(j, j->bias.data, j->bias.strides[0], i, m, buffer);
        NX_INDEPENDENT
        for (int k = 0; k < m; k++)
            y[k] += b[k];
    }
}

static void norm_row(const job *j, const char *row, char *to)
{
    float tile[NX_RUN];
    float mean = j->centred ? (float)(row_sum(j, row) / (double)j->n) : 0;
    double square = row_squares(j, row, mean) / (double)j->n;
    float scale = (float)(1 / sqrt(square + (double)j->eps));
    for (int64_t i = 0; i < j->n; i += NX_RUN) {
        int m = tile_size(j, i);
        const float *x = tile_at(j, row, j->step, i, m, tile);
        float *y = j->dtype == NX_FLOAT32 ? (float *)to + i : tile;
        write_tile(j, x, y, i, m, mean, scale);
        if (y == tile)
            nx_floats_store(to + i * j->size, j->dtype, tile, m);
    }
}

static void norm_row_f64(const job *j, const char *row, char *to)
{
    const double *x = (const double *)row, *w = j->weight.data, *b = j->bias.data;
    double *y = (double *)to, mean = 0, square = 0;
    for (int64_t i = 0; i < j->n && j->centred; i++)
        mean += x[i * j->step];
    mean /= (double)j->n;
    for (int64_t i = 0; i < j->n; i++)
        square += (x[i * j->step] - mean) * (x[i * j->step] - mean);
    double scale = 1 / sqrt(square / (double)j->n + (double)j->eps);
    for (int64_t i = 0; i < j->n; i++) {
        double v = (x[i * j->step] - mean) * scale;
        v *= w ? w[i * j->weight.strides[0]] : 1;
        y[i] = v + (b ? b[i * j->bias.strides[0]] : 0);
    }
}

static void norm_piece(void *ctx, int64_t begin, int64_t end)
{
    const job *j = ctx;
    for (int64_t i = begin; i < end; i++) {
        int64_t at[2];
        nx_walk_seek(&j->rows, i, at);
        const char *row = j->from + at[0] * j->size;
        char *to = j->to + at[1] * j->size;
        if (j->dtype == NX_FLOAT64)
            norm_row_f64(j, row, to);
        else
            norm_row(j, row, to);
    }
}

static void norm(const nx_call *c, bool centred)
{
    const nx_view *in = &c->in[0], *out = &c->out[0];
    int last = in->ndim - 1;
    job j = {.n = in->shape[last], .step = in->strides[last], .dtype = in->dtype,
             .size = (int64_t)nx_dtype_size(in->dtype), .from = in->data, .to = out->data,
             .weight = c->in[1], .eps = ((const nx_norm_params *)c->params)->eps, .centred = centred};
    if (c->n_in > 2)
        j.bias = c->in[2];
    nx_walk_init(&j.rows, in->shape, last, (const int64_t *const[]){in->strides, out->strides}, 2);
    nx_parallel(j.rows.size, nx_grain(j.n * j.size, NX_PIECE_BYTES / 4), norm_piece, &j);
}

void NX_FN(rms_norm)(const nx_call *c)
{
    norm(c, false);
}

void NX_FN(layer_norm)(const nx_call *c)
{
    norm(c, true);
}
