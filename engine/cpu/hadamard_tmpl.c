/*
 * hadamard_tmpl.c: Hadamard transforms of rows, in float: butterflies over runs of 2^k elements,
 * then the small matrix of order m across the m runs.
 */
#include <string.h>

#include "engine/cpu/kernels.h"
#include "engine/cpu/pool.h"
#include "engine/cpu/types.h"
#include "engine/ops/params.h"

/* Rows of the matrices of order 12, 20 and 28: bit j is set where element j is -1. */
static const uint32_t signs_12[12] = {
    0x002, 0xaab, 0x3c8, 0x96e, 0xf20, 0x5ba, 0xc8c, 0x6e6, 0x23c, 0xb96, 0x8f0, 0xe5a,
};
static const uint32_t signs_20[20] = {
    0x933de, 0x2e3bd, 0x5477b, 0xa0ef7, 0x499ef, 0x637c1, 0xc6ba2, 0x8d764, 0x1aee8, 0x359f0,
    0xfa53,  0x174a7, 0x26d4e, 0x45e9c, 0x83d39, 0xf7a6d, 0xef4fa, 0xdedd5, 0xbdf8b, 0x7bf36,
};
static const uint32_t signs_28[28] = {
    0xcd69e7e, 0x9ad7c7d, 0x37ab8fb, 0x6d571f7, 0xd8ae3ef, 0xb3587df, 0x66b4f3f,
    0xb467f43, 0x6acbe87, 0xd593d8e, 0xab27b9c, 0x564f7b8, 0xac9aff0, 0x5b31fe1,
    0x87fb325, 0x0ff66ca, 0x1decd95, 0x39ddb2a, 0x71bf654, 0xe17eca9, 0xc2fd9d2,
    0xfcf1299, 0xfbe2532, 0xf7c4ae4, 0xef8d549, 0xdf1ea13, 0xbe3d4a6, 0x7e7a94c,
};

typedef struct {
    const nx_view *in, *out;
    float *rows;    /* where the work is done: the output itself, or scratch */
    int64_t n, run; /* elements a row, and in each of its m = n / run runs */
    float scale;
} hadamard_job;

static void butterflies(float *x, int64_t n)
{
    for (int64_t half = 1; half < n; half *= 2)
        for (int64_t at = 0; at < n; at += 2 * half)
            for (int64_t i = at; i < at + half; i++) {
                float a = x[i], b = x[i + half];
                x[i] = a + b;
                x[i + half] = a - b;
            }
}

enum { COLUMNS = 64 };

/* Columns at..at+n-1 of the m runs, which the matrix combines. */
static void combine(float *x, int64_t run, int m, const uint32_t *signs, int64_t at, int64_t n)
{
    float sum[28][COLUMNS];
    for (int i = 0; i < m; i++) {
        memset(sum[i], 0, sizeof sum[i]);
        for (int r = 0; r < m; r++) {
            float sign = signs[i] >> r & 1 ? -1.0f : 1.0f;
            const float *row = x + r * run + at;
            for (int64_t j = 0; j < n; j++)
                sum[i][j] += sign * row[j];
        }
    }
    for (int i = 0; i < m; i++)
        memcpy(x + i * run + at, sum[i], (size_t)n * sizeof(float));
}

static void transform(const hadamard_job *j, float *x)
{
    int m = (int)(j->n / j->run);
    const uint32_t *signs = m == 12 ? signs_12 : m == 20 ? signs_20 : signs_28;
    for (int i = 0; i < m; i++)
        butterflies(x + i * j->run, j->run);
    for (int64_t at = 0; m > 1 && at < j->run; at += COLUMNS)
        combine(x, j->run, m, signs, at, j->run - at < COLUMNS ? j->run - at : COLUMNS);
    for (int64_t i = 0; i < j->n; i++)
        x[i] *= j->scale;
}

static void load(const nx_view *v, int64_t at, int64_t n, float *x)
{
    const uint16_t *half = (const uint16_t *)v->data + at;
    if (v->dtype == NX_FLOAT32)
        memmove(x, (const float *)v->data + at, (size_t)n * sizeof *x);
    else if (v->dtype == NX_FLOAT16)
        for (int64_t i = 0; i < n; i++)
            x[i] = nx_half_to_float(half[i]);
    else
        for (int64_t i = 0; i < n; i++)
            x[i] = nx_bf16_to_float(half[i]);
}

static void store(const nx_view *v, int64_t at, int64_t n, const float *x)
{
    uint16_t *half = (uint16_t *)v->data + at;
    if (v->dtype == NX_FLOAT16)
        for (int64_t i = 0; i < n; i++)
            half[i] = nx_half_from_float(x[i]);
    else if (v->dtype == NX_BFLOAT16)
        for (int64_t i = 0; i < n; i++)
            half[i] = nx_bf16_from_float(x[i]);
}

static void hadamard_piece(void *ctx, int64_t begin, int64_t end)
{
    const hadamard_job *j = ctx;
    for (int64_t row = begin; row < end; row++) {
        float *x = j->rows + row * j->n;
        load(j->in, row * j->n, j->n, x);
        transform(j, x);
        store(j->out, row * j->n, j->n, x);
    }
}

size_t NX_FN(hadamard_workspace)(const nx_call *c)
{
    return c->out[0].dtype == NX_FLOAT32 ? 0 : (size_t)nx_view_size(&c->out[0]) * sizeof(float);
}

void NX_FN(hadamard)(const nx_call *c)
{
    const nx_view *out = &c->out[0];
    int64_t n = out->ndim ? out->shape[out->ndim - 1] : 1, m = n;
    while (m % 2 == 0)
        m /= 2;
    hadamard_job j = {.in = &c->in[0],
                      .out = out,
                      .n = n,
                      .run = m == 1 ? n : n / (4 * m),
                      .rows = out->dtype == NX_FLOAT32 ? out->data : c->workspace,
                      .scale = ((const nx_hadamard_params *)c->params)->scale};
    nx_parallel(nx_view_size(out) / n, nx_grain(16 * n, NX_PIECE_BYTES), hadamard_piece, &j);
}
