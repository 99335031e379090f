/*
 * rope_tmpl.c: rotary position embedding.
 *
 * First a table of sines and cosines, [offsets, T, dims / 2] each, in the workspace; then every row
 * of D elements is turned by its line of the table. An angle is position * scale rounded to float
 * times the frequency in float, as models were trained with; sine and cosine of it are exact to
 * float. 16-bit types turn in float; float64 too turns by the table.
 */
#include <math.h>

#include "engine/cpu/angle.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/pool.h"
#include "engine/cpu/floats.h"
#include "engine/ops/params.h"

typedef struct {
    nx_walk rows; /* views: input and output without the last axis */
    const nx_rope_params *params;
    nx_view in, offsets, freqs;
    int64_t positions, half, width, step; /* T; dims / 2; D and its step in the input */
    int64_t rows_a_sequence;
    bool many; /* an offset for each sequence */
    int64_t size;
    char *to;
    float *cosines, *sines; /* [offsets, T, half] */
    float *frequencies;     /* [half] */
} job;

/* base^(-i / half), by repeated multiplication in double. */
static void fill_frequencies(job *j)
{
    const nx_view *f = &j->freqs;
    double ratio = exp(-log((double)j->params->base) / (double)j->half), v = 1;
    for (int64_t i = 0; i < j->half; i++, v *= ratio)
        j->frequencies[i] = f->data ? 1 / ((const float *)f->data)[i * f->strides[0]] : (float)v;
}

static int64_t offset_of(const job *j, int64_t sequence)
{
    int64_t at = j->many ? sequence * j->offsets.strides[0] : 0;
    return j->offsets.dtype == NX_INT32 ? ((const int32_t *)j->offsets.data)[at]
                                        : ((const int64_t *)j->offsets.data)[at];
}

/* Indices are lines of the table. */
static void table_piece(void *ctx, int64_t begin, int64_t end)
{
    const job *j = ctx;
    float sign = j->params->forward ? 1 : -1;
    for (int64_t line = begin; line < end; line++) {
        int64_t position = offset_of(j, line / j->positions) + line % j->positions;
        float p = (float)position * j->params->scale;
        float *c = j->cosines + line * j->half, *s = j->sines + line * j->half;
        NX_INDEPENDENT
        for (int64_t i = 0; i < j->half; i++) {
            nx_sincosf((double)(p * j->frequencies[i]), &s[i], &c[i]);
            s[i] *= sign;
        }
    }
}

/* Pairs (x[i], y[i]), step apart, to (u[i], v[i]); u may be x and v may be y. */
static void turn(int64_t n, const float *x, const float *y, int64_t step, float *u, float *v,
                 int64_t to_step, const float *c, const float *s)
{
    NX_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        float a = x[i * step], b = y[i * step];
        u[i * to_step] = a * c[i] - b * s[i];
        v[i * to_step] = a * s[i] + b * c[i];
    }
}

static void turn_halves(int64_t n, const float *x, const float *y, float *u, float *v, const float *c,
                        const float *s)
{
    NX_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        float a = x[i], b = y[i];
        u[i] = a * c[i] - b * s[i];
        v[i] = a * s[i] + b * c[i];
    }
}

static void copy_rest(const job *j, const char *from, char *to)
{
    int64_t done = 2 * j->half, n = j->width - done;
    from += done * j->step * j->size;
    to += done * j->size;
    if (n == 0 || (j->step == 1 && from == to))
        return;
    if (j->step == 1)
        memcpy(to, from, (size_t)(n * j->size));
    else
        for (int64_t i = 0; i < n; i++)
            memcpy(to + i * j->size, from + i * j->step * j->size, (size_t)j->size);
}

static void row_f32(const job *j, const char *from, char *to, const float *c, const float *s)
{
    const float *x = (const float *)from;
    float *u = (float *)to;
    if (j->params->traditional)
        turn(j->half, x, x + j->step, 2 * j->step, u, u + 1, 2, c, s);
    else if (j->step == 1)
        turn_halves(j->half, x, x + j->half, u, u + j->half, c, s);
    else
        turn(j->half, x, x + j->half * j->step, j->step, u, u + j->half, 1, c, s);
}

static void row_f64(const job *j, const char *from, char *to, const float *c, const float *s)
{
    const double *x = (const double *)from;
    double *u = (double *)to;
    int64_t next = j->params->traditional ? 2 : 1, other = j->params->traditional ? 1 : j->half;
    for (int64_t i = 0; i < j->half; i++) {
        double a = x[i * next * j->step], b = x[(i * next + other) * j->step];
        u[i * next] = a * (double)c[i] - b * (double)s[i];
        u[i * next + other] = a * (double)s[i] + b * (double)c[i];
    }
}

static void row_half(const job *j, const char *from, char *to, const float *c, const float *s)
{
    enum { PAIRS = NX_RUN / 2 };
    float x[NX_RUN];
    int64_t next = j->params->traditional ? 2 : 1, other = j->params->traditional ? 1 : j->half;
    nx_dtype t = j->in.dtype;
    for (int64_t i = 0; i < j->half; i += PAIRS) {
        int m = j->half - i < PAIRS ? (int)(j->half - i) : PAIRS;
        const char *a = from + i * next * j->step * j->size, *b = a + other * j->step * j->size;
        char *u = to + i * next * j->size, *v = u + other * j->size;
        if (j->params->traditional) {
            nx_floats_load(x, t, a, j->step, 2 * m);
            turn(m, x, x + 1, 2, x, x + 1, 2, c + i, s + i);
            nx_floats_store(u, t, x, 2 * m);
        } else {
            nx_floats_load(x, t, a, j->step, m);
            nx_floats_load(x + PAIRS, t, b, j->step, m);
            turn_halves(m, x, x + PAIRS, x, x + PAIRS, c + i, s + i);
            nx_floats_store(u, t, x, m);
            nx_floats_store(v, t, x + PAIRS, m);
        }
    }
}

static void rows_piece(void *ctx, int64_t begin, int64_t end)
{
    const job *j = ctx;
    for (int64_t row = begin; row < end; row++) {
        int64_t at[2], line = row % j->positions;
        if (j->many)
            line += row / j->rows_a_sequence * j->positions;
        const float *c = j->cosines + line * j->half, *s = j->sines + line * j->half;
        nx_walk_seek(&j->rows, row, at);
        const char *from = (const char *)j->in.data + at[0] * j->size;
        char *to = j->to + at[1] * j->size;
        if (j->in.dtype == NX_FLOAT32)
            row_f32(j, from, to, c, s);
        else if (j->in.dtype == NX_FLOAT64)
            row_f64(j, from, to, c, s);
        else
            row_half(j, from, to, c, s);
        copy_rest(j, from, to);
    }
}

static int64_t table_lines(const nx_call *c)
{
    const nx_view *in = &c->in[0];
    return nx_view_size(&c->in[1]) * in->shape[in->ndim - 2];
}

size_t NX_FN(rope_workspace)(const nx_call *c)
{
    size_t half = (size_t)((const nx_rope_params *)c->params)->dims / 2;
    return (2 * (size_t)table_lines(c) + 1) * half * sizeof(float);
}

void NX_FN(rope)(const nx_call *c)
{
    const nx_view *in = &c->in[0], *out = &c->out[0];
    int last = in->ndim - 1;
    int64_t lines = table_lines(c);
    job j = {.params = c->params, .in = *in, .offsets = c->in[1], .freqs = c->in[2], .to = out->data,
             .positions = in->shape[last - 1], .width = in->shape[last], .step = in->strides[last],
             .size = (int64_t)nx_dtype_size(in->dtype)};
    j.half = j.params->dims / 2;
    j.many = nx_view_size(&j.offsets) > 1;
    j.cosines = c->workspace;
    j.sines = j.cosines + lines * j.half;
    j.frequencies = j.sines + lines * j.half;
    nx_walk_init(&j.rows, in->shape, last, (const int64_t *const[]){in->strides, out->strides}, 2);
    j.rows_a_sequence = j.rows.size / in->shape[0];
    fill_frequencies(&j);
    nx_parallel(lines, nx_grain(j.half * 16, NX_PIECE_BYTES / 4), table_piece, &j);
    nx_parallel(j.rows.size, nx_grain(j.width * j.size * 2, NX_PIECE_BYTES / 2), rows_piece, &j);
}
