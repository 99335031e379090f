/*
 * attention_tmpl.c: ScaledDotProductAttention. A tile of query rows (positions and the heads that
 * share keys) walks over the keys in blocks of 64 that begin at multiples of 64, keeping a running
 * maximum, sum and result a row. A row's arithmetic depends on its own place and the keys alone, so
 * neither the number of queries in a call nor of threads changes a bit of it.
 *
 * Everything is float32 inside; q, k, v are read in their own types and strides.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "engine/cpu/kernels.h"
#include "engine/cpu/pool.h"
#include "engine/cpu/simd.h"
#include "engine/cpu/types.h"
#include "engine/ops/params.h"

enum {
    KEYS = 64,    /* keys a block */
    DEPTH = 64,   /* dimensions of q and k, or of v, at a time */
    ROWS = 48,    /* query rows a tile, at most */
    DV_MAX = 1024 /* dimensions of v in one pass */
};

#if defined(NX_ISA_avx512) || defined(__aarch64__)
#define MR 6
#define NV 4
#else
#define MR 6
#define NV 2
#endif

typedef struct {
    const nx_view *q, *k, *v, *mask, *out;
    const nx_view *lengths, *sinks; /* NULL: none */
    float scale;
    bool causal;
    int window;
    int batch, heads, kv_heads, share; /* share: query heads a key head */
    int64_t l, s, d, dv;
    int rows; /* a tile */
    int64_t tiles; /* a batch and key head */
} job;

/* What one tile works on; on the stack of the thread that has the piece. */
typedef struct {
    const job *j;
    int b, kv;
    int64_t row0; /* first row: rows are l * share + r */
    int m;
    int64_t first[ROWS], limit[ROWS]; /* keys a row sees: first <= key < limit */
    bool blind[ROWS];                 /* sees none: the mean of all, as MLX has it */
    float max[ROWS], sum[ROWS];
    float q[ROWS * DEPTH], s[ROWS * KEYS], panel[KEYS * DEPTH];
    float acc[ROWS * DEPTH]; /* rows x dv: fewer rows where dv is larger */
} tile;

/* c[mr][NV vectors] += a[mr][kc] b[kc][..]; one chain a result, over kc ascending. */
NX_INLINE void micro(int mr, int64_t kc, const float *a, int64_t a_row, const float *b, int64_t b_row,
                     float *c, int64_t c_row)
{
    vf x[MR][NV];
#pragma GCC unroll 6
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int n = 0; n < NV; n++)
            x[i][n] = vf_load(c + i * c_row + n * VF_N);
    for (int64_t k = 0; k < kc; k++) {
        vf y[NV];
#pragma GCC unroll 4
        for (int n = 0; n < NV; n++)
            y[n] = vf_load(b + k * b_row + n * VF_N);
#pragma GCC unroll 6
        for (int i = 0; i < mr; i++) {
            vf t = vf_set(a[i * a_row + k]);
#pragma GCC unroll 4
            for (int n = 0; n < NV; n++)
                x[i][n] = vf_fma(t, y[n], x[i][n]);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int n = 0; n < NV; n++)
            vf_store(c + i * c_row + n * VF_N, x[i][n]);
}

/* c[m][64] += a[m][kc] b[kc][64] */
static void rows_by_64(int m, int64_t kc, const float *a, int64_t a_row, const float *b, float *c,
                       int64_t c_row)
{
    for (int n = 0; n < 64; n += NV * VF_N)
        for (int i = 0; i < m; i += MR) {
            const float *x = a + i * a_row;
            float *y = c + i * c_row + n;
            switch (m - i) {
            case 1: micro(1, kc, x, a_row, b + n, 64, y, c_row); break;
            case 2: micro(2, kc, x, a_row, b + n, 64, y, c_row); break;
            case 3: micro(3, kc, x, a_row, b + n, 64, y, c_row); break;
            case 4: micro(4, kc, x, a_row, b + n, 64, y, c_row); break;
            case 5: micro(5, kc, x, a_row, b + n, 64, y, c_row); break;
            default: micro(6, kc, x, a_row, b + n, 64, y, c_row);
            }
        }
}

/* n elements of a row of a view, from element offset `at`, as floats. */
static void floats_at(const nx_view *v, int64_t at, int64_t step, int64_t n, float *to)
{
    const char *p = (const char *)v->data + at * (int64_t)nx_dtype_size(v->dtype);
    switch (v->dtype) {
    case NX_FLOAT32:
        if (step == 1)
            memcpy(to, p, (size_t)n * sizeof *to);
        else
            for (int64_t i = 0; i < n; i++)
                to[i] = ((const float *)(const void *)p)[i * step];
        break;
    case NX_FLOAT16:
        if (step == 1)
            nx_floats_of_f16((const uint16_t *)(const void *)p, to, n);
        else
            for (int64_t i = 0; i < n; i++)
                to[i] = nx_half_to_float(((const uint16_t *)(const void *)p)[i * step]);
        break;
    case NX_BFLOAT16:
        for (int64_t i = 0; i < n; i++)
            to[i] = nx_bf16_to_float(((const uint16_t *)(const void *)p)[i * step]);
        break;
    case NX_FLOAT64:
        for (int64_t i = 0; i < n; i++)
            to[i] = (float)((const double *)(const void *)p)[i * step];
        break;
    default: /* integer keys beside floating queries */
        for (int64_t i = 0; i < n; i++)
            switch (v->dtype) {
            case NX_BOOL:
            case NX_UINT8: to[i] = ((const uint8_t *)p)[i * step]; break;
            case NX_UINT16: to[i] = ((const uint16_t *)(const void *)p)[i * step]; break;
            case NX_UINT32: to[i] = (float)((const uint32_t *)(const void *)p)[i * step]; break;
            case NX_UINT64: to[i] = (float)((const uint64_t *)(const void *)p)[i * step]; break;
            case NX_INT8: to[i] = ((const int8_t *)p)[i * step]; break;
            case NX_INT16: to[i] = ((const int16_t *)(const void *)p)[i * step]; break;
            case NX_INT32: to[i] = (float)((const int32_t *)(const void *)p)[i * step]; break;
            default: to[i] = (float)((const int64_t *)(const void *)p)[i * step];
            }
    }
}

/* exp for x <= 0, to about one part in 10^7; 0 below -87.3. */
NX_INLINE float exp_negative(float x)
{
    float n = x * 1.44269504f + 0x1.8p23f;
    int32_t e = (int32_t)nx_bits_of_float(n) - 0x4B400000;
    n -= 0x1.8p23f;
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1;
    float y = nx_float_of_bits(nx_bits_of_float(p) + ((uint32_t)e << 23));
    y = x < -87.3f ? 0 : y;
    return x != x ? x : y;
}

static int64_t head_of(const tile *t, int64_t row)
{
    return t->kv * t->j->share + row % t->j->share;
}

/* Row i's dimensions d0.. of q. */
static void load_q(tile *t, int64_t d0, int64_t n)
{
    const nx_view *q = t->j->q;
    for (int i = 0; i < t->m; i++) {
        int64_t row = t->row0 + i, l = row / t->j->share;
        int64_t at = t->b * q->strides[0] + head_of(t, row) * q->strides[1] + l * q->strides[2] +
                     d0 * q->strides[3];
        floats_at(q, at, q->strides[3], n, t->q + i * DEPTH);
    }
}

/* Four rows of nd numbers as columns: to[d][64]. */
static void put_columns(const float (*row)[DEPTH], int64_t nd, float *to)
{
    int64_t d = 0;
#if defined(__x86_64__)
    for (; d + 4 <= nd; d += 4) {
        __m128 a = _mm_loadu_ps(row[0] + d), b = _mm_loadu_ps(row[1] + d);
        __m128 c = _mm_loadu_ps(row[2] + d), e = _mm_loadu_ps(row[3] + d);
        _MM_TRANSPOSE4_PS(a, b, c, e);
        _mm_storeu_ps(to + d * KEYS, a);
        _mm_storeu_ps(to + (d + 1) * KEYS, b);
        _mm_storeu_ps(to + (d + 2) * KEYS, c);
        _mm_storeu_ps(to + (d + 3) * KEYS, e);
    }
#endif
    for (; d < nd; d++)
        for (int i = 0; i < 4; i++)
            to[d * KEYS + i] = row[i][d];
}

/* Keys key.. (n of them), dimensions d0.. (nd), as panel[d][64]; zeros after the last key. */
static void load_k(tile *t, int64_t key, int n, int64_t d0, int64_t nd)
{
    const nx_view *k = t->j->k;
    int64_t at = t->b * k->strides[0] + t->kv * k->strides[1] + d0 * k->strides[3];
    float row[4][DEPTH];
    for (int i = 0; i < KEYS; i += 4) {
        for (int r = 0; r < 4; r++)
            if (i + r < n)
                floats_at(k, at + (key + i + r) * k->strides[2], k->strides[3], nd, row[r]);
            else
                memset(row[r], 0, sizeof row[r]);
        put_columns(row, nd, t->panel + i);
    }
}

/* Keys key.., dimensions d0.. of v, as panel[key][64]. */
static void load_v(tile *t, int64_t key, int n, int64_t d0, int64_t nd)
{
    const nx_view *v = t->j->v;
    int64_t at = t->b * v->strides[0] + t->kv * v->strides[1] + d0 * v->strides[3];
    for (int i = 0; i < n; i++) {
        floats_at(v, at + (key + i) * v->strides[2], v->strides[3], nd, t->panel + i * DEPTH);
        for (int64_t d = nd; d < DEPTH; d++)
            t->panel[i * DEPTH + d] = 0;
    }
}

/* s[m][64] = scale * q k^T for one block of keys. */
static void scores(tile *t, int64_t key, int n)
{
    const job *j = t->j;
    memset(t->s, 0, (size_t)t->m * KEYS * sizeof *t->s);
    for (int64_t d0 = 0; d0 < j->d; d0 += DEPTH) {
        int64_t nd = j->d - d0 < DEPTH ? j->d - d0 : DEPTH;
        if (j->d > DEPTH)
            load_q(t, d0, nd);
        load_k(t, key, n, d0, nd);
        rows_by_64(t->m, nd, t->q, DEPTH, t->panel, t->s, KEYS);
    }
    for (int i = 0; i < t->m * KEYS; i++)
        t->s[i] *= j->scale;
}

/* Adds row i's mask, or puts the lowest number where it is false. */
static void add_mask(const tile *t, int i, int64_t key, int n, float *s)
{
    const nx_view *mask = t->j->mask;
    int64_t row = t->row0 + i;
    int64_t at = t->b * mask->strides[0] + head_of(t, row) * mask->strides[1] +
                 row / t->j->share * mask->strides[2] + key * mask->strides[3];
    int64_t step = mask->strides[3];
    if (mask->dtype == NX_BOOL) {
        const bool *p = (const bool *)mask->data + at;
        for (int c = 0; c < n; c++)
            s[c] = p[c * step] ? s[c] : -FLT_MAX;
        return;
    }
    float add[KEYS];
    floats_at(mask, at, step, n, add);
    for (int c = 0; c < n; c++)
        s[c] += add[c];
}

/* Turns row i's scores into weights relative to the running maximum; the factor for what was
 * accumulated before. */
static float soften(tile *t, int i, int64_t key, int n)
{
    float *s = t->s + i * KEYS;
    if (t->j->mask)
        add_mask(t, i, key, n, s);
    for (int c = 0; t->blind[i] && c < n; c++)
        s[c] = -FLT_MAX;
    int begin = t->first[i] > key ? (int)(t->first[i] - key < KEYS ? t->first[i] - key : KEYS) : 0;
    int end = t->limit[i] < key + n ? (int)(t->limit[i] > key ? t->limit[i] - key : 0) : n;
    for (int c = 0; c < begin; c++)
        s[c] = -INFINITY;
    for (int c = end; c < KEYS; c++)
        s[c] = -INFINITY;
    float top = t->max[i], tops[16];
    memcpy(tops, s, sizeof tops);
    for (int c = 16; c < KEYS; c += 16)
        for (int e = 0; e < 16; e++)
            tops[e] = s[c + e] > tops[e] ? s[c + e] : tops[e];
    for (int e = 0; e < 16; e++)
        top = tops[e] > top ? tops[e] : top;
    if (top == -INFINITY && begin < end) /* all hidden so far, or not a number */
        for (int c = begin; c < end; c++)
            top = s[c] != s[c] ? 0 : top;
    if (top == -INFINITY) {
        memset(s, 0, KEYS * sizeof *s);
        return 1;
    }
    float sums[16] = {0};
    for (int c = 0; c < KEYS; c += 16)
        for (int e = 0; e < 16; e++) {
            s[c + e] = exp_negative(s[c + e] - top);
            sums[e] += s[c + e];
        }
    for (int step = 8; step; step /= 2)
        for (int e = 0; e < step; e++)
            sums[e] += sums[e + step];
    float factor = t->max[i] == -INFINITY ? 0 : exp_negative(t->max[i] - top);
    t->max[i] = top;
    t->sum[i] = t->sum[i] * factor + sums[0];
    return factor;
}

/* acc[m][..] += weights by v, dimensions d0.. */
static void weigh(tile *t, int64_t key, int n, int64_t dv0, int64_t dv)
{
    int64_t stride = (dv + 63) & ~(int64_t)63;
    for (int64_t d0 = 0; d0 < dv; d0 += DEPTH) {
        int64_t nd = dv - d0 < DEPTH ? dv - d0 : DEPTH;
        load_v(t, key, n, dv0 + d0, nd);
        rows_by_64(t->m, n, t->s, KEYS, t->panel, t->acc + d0, stride);
    }
}

/* Which keys each row sees, and the range that all of them need. */
static void ranges(tile *t, int64_t *from, int64_t *to)
{
    const job *j = t->j;
    int64_t keys = j->s;
    if (j->lengths) {
        int length = ((const int32_t *)j->lengths->data)[t->b * j->lengths->strides[0]];
        keys = length < 0 ? 0 : length < keys ? length : keys;
    }
    *from = INT64_MAX;
    *to = 0;
    for (int i = 0; i < t->m; i++) {
        int64_t end = keys;
        if (j->causal)
            end -= j->l - 1 - (t->row0 + i) / j->share;
        t->blind[i] = end <= 0;
        t->limit[i] = end <= 0 ? keys : end;
        t->first[i] = j->window && end > j->window ? end - j->window : 0;
        *from = t->first[i] < *from ? t->first[i] : *from;
        *to = t->limit[i] > *to ? t->limit[i] : *to;
    }
}

static void finish(tile *t, int64_t dv0, int64_t dv)
{
    const job *j = t->j;
    int64_t stride = (dv + 63) & ~(int64_t)63;
    for (int i = 0; i < t->m; i++) {
        int64_t row = t->row0 + i, h = head_of(t, row), l = row / j->share;
        int64_t at = ((t->b * j->heads + h) * j->l + l) * j->dv + dv0;
        float factor = 1;
        if (j->sinks) {
            float sink = ((const float *)j->sinks->data)[h * j->sinks->strides[0]];
            float top = sink > t->max[i] ? sink : t->max[i];
            factor = t->max[i] == -INFINITY ? 0 : exp_negative(t->max[i] - top);
            t->sum[i] = t->sum[i] * factor + exp_negative(sink - top);
        }
        float inverse = j->s == 0 ? 0 : factor / t->sum[i];
        const float *acc = t->acc + i * stride;
        switch (j->out->dtype) {
        case NX_FLOAT32:
            for (int64_t d = 0; d < dv; d++)
                ((float *)j->out->data)[at + d] = acc[d] * inverse;
            break;
        case NX_FLOAT16:
            for (int64_t d = 0; d < dv; d++)
                ((uint16_t *)j->out->data)[at + d] = nx_half_from_float(acc[d] * inverse);
            break;
        case NX_BFLOAT16:
            for (int64_t d = 0; d < dv; d++)
                ((uint16_t *)j->out->data)[at + d] = nx_bf16_from_float(acc[d] * inverse);
            break;
        default:
            for (int64_t d = 0; d < dv; d++)
                ((double *)j->out->data)[at + d] = (double)acc[d] * inverse;
        }
    }
}

static void run_tile(tile *t, int64_t dv0, int64_t dv)
{
    const job *j = t->j;
    int64_t from, to, stride = (dv + 63) & ~(int64_t)63;
    ranges(t, &from, &to);
    memset(t->acc, 0, (size_t)(t->m * stride) * sizeof *t->acc);
    for (int i = 0; i < t->m; i++) {
        t->max[i] = -INFINITY;
        t->sum[i] = 0;
    }
    if (j->d <= DEPTH)
        load_q(t, 0, j->d);
    for (int64_t key = from - from % KEYS; key < to; key += KEYS) {
        int n = to - key < KEYS ? (int)(to - key) : KEYS;
        scores(t, key, n);
        for (int i = 0; i < t->m; i++) {
            float factor = soften(t, i, key, n);
            if (factor != 1)
                for (int64_t d = 0; d < stride; d++)
                    t->acc[i * stride + d] *= factor;
        }
        weigh(t, key, n, dv0, dv);
    }
    finish(t, dv0, dv);
}

static void piece(void *ctx, int64_t begin, int64_t end)
{
    const job *j = ctx;
    tile t = {.j = j};
    for (int64_t i = begin; i < end; i++) {
        int64_t n = i / j->tiles;
        t.b = (int)(n / j->kv_heads);
        t.kv = (int)(n % j->kv_heads);
        t.row0 = (j->tiles - 1 - i % j->tiles) * j->rows; /* the longest first */
        int64_t left = j->l * j->share - t.row0;
        t.m = (int)(left < j->rows ? left : j->rows);
        for (int64_t dv0 = 0; dv0 < j->dv; dv0 += DV_MAX)
            run_tile(&t, dv0, j->dv - dv0 < DV_MAX ? j->dv - dv0 : DV_MAX);
    }
}

void NX_FN(attention)(const nx_call *c)
{
    const nx_attention_params *p = c->params;
    const nx_view *q = &c->in[0], *k = &c->in[1], *v = &c->in[2];
    int next = 3;
    job j = {.q = q, .k = k, .v = v, .out = &c->out[0], .scale = p->scale, .causal = p->causal,
             .window = p->window, .batch = q->shape[0], .heads = q->shape[1],
             .kv_heads = k->shape[1], .l = q->shape[2], .s = k->shape[2], .d = q->shape[3],
             .dv = v->shape[3]};
    j.mask = p->has_mask ? &c->in[next++] : NULL;
    j.lengths = p->has_lengths ? &c->in[next++] : NULL;
    j.sinks = p->has_sinks ? &c->in[next++] : NULL;
    j.share = j.heads / j.kv_heads;
    int64_t wide = j.dv < DV_MAX ? (j.dv + 63) & ~(int64_t)63 : DV_MAX;
    int64_t rows = ROWS * DEPTH / wide;
    j.rows = (int)(rows < ROWS ? rows : ROWS);
    j.tiles = (j.l * j.share + j.rows - 1) / j.rows;
    nx_parallel(j.batch * j.kv_heads * j.tiles, 1, piece, &j);
}
