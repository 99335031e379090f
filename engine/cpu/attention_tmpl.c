/*
 * attention_tmpl.c: ScaledDotProductAttention. A tile of query rows (positions and the heads that
 * share keys) walks over the keys in blocks of 64 that begin at multiples of 64, keeping a running
 * maximum, sum and result a row; every 256 keys these are added to the row's total. A row's arithmetic
 * depends on its own place and the keys alone, so neither the number of queries in a call nor of
 * threads changes a bit of it. Where there are few queries, each 256 keys are a piece of work of their
 * own, and the totals are made afterwards, in the same order.
 *
 * Everything is float32 inside; q, k, v are read in their own types and strides, packed keys and values
 * (cache_blocks.h) where they lie.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "engine/cpu/attention_panel.h"
#include "engine/cpu/cache_blocks.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/kmath_float.h"
#include "engine/cpu/pool.h"
#include "engine/cpu/simd.h"
#include "engine/cpu/types.h"
#include "engine/ops/params.h"

enum {
    PART = 256,   /* keys whose results are added up as one */
    ROWS = 48,    /* query rows a tile, at most */
    DV_MAX = 1024 /* dimensions of v in one pass */
};

typedef struct job job;
struct job {
    const nx_view *q, *k, *v, *mask, *out;
    const nx_view *lengths, *sinks; /* NULL: none */
    float scale;
    bool causal;
    int window;
    int packed; /* bits of k and v, whose strides are bytes then; 0: floats */
    int batch, heads, kv_heads, share; /* share: query heads a key head */
    int64_t l, s, d, dv;
    int rows; /* a tile */
    int64_t tiles; /* a batch and key head */
    float *partial; /* [batch, key head, part, row of the tile] of dv_wide + 2 floats; NULL: not split */
    int64_t parts;
    const job *then; /* whose first piece comes behind the last of these, if known */
};

/* Memory that is read in the next block, to be asked for while this one is worked on. */
typedef struct {
    const char *at[2]; /* rows of k and of v */
    int64_t step[2], bytes[2]; /* from row to row, and of a row */
    int64_t row, rows;
} ahead;

/* What a row has seen: weights relative to exp(max), their sum, and v weighted by them. */
typedef struct {
    float max[ROWS], sum[ROWS];
    float acc[ROWS * DEPTH]; /* rows x dv: fewer rows where dv is larger */
} state;

/* What one tile works on; on the stack of the thread that has the piece. */
typedef struct {
    const job *j;
    int b, kv;
    int64_t row0; /* first row: rows are l * share + r */
    int m;
    int64_t first[ROWS], limit[ROWS]; /* keys a row sees: first <= key < limit */
    bool blind[ROWS];                 /* sees none: the mean of all, as MLX has it */
    ahead next;
    float q[ROWS * DEPTH], s[ROWS * KEYS], panel[KEYS * DEPTH];
    state part, total;
} tile;

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

/* Floats a row of results takes. */
static inline int64_t wide(int64_t dv)
{
    return (dv + 63) & ~(int64_t)63;
}

/* exp for x <= 0, to about one part in 10^7; 0 below -87.3. */
NX_INLINE float exp_negative(float x)
{
    float n = x * 1.44269504f + 0x1.8p23f;
    int32_t e = (int32_t)nx_bits_of_float(n) - 0x4B400000;
    n -= 0x1.8p23f;
    float r = K_FMA(n, 2.12194440e-4f, K_FMA(n, -0.693359375f, x));
    float p = 1.9875691500e-4f;
    p = K_FMA(p, r, 1.3981999507e-3f);
    p = K_FMA(p, r, 8.3334519073e-3f);
    p = K_FMA(p, r, 4.1665795894e-2f);
    p = K_FMA(p, r, 1.6666665459e-1f);
    p = K_FMA(p, r, 5.0000001201e-1f);
    p = K_FMA(p * r, r, r) + 1;
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

/* Where dimension d0 of the first row of a batch and key head lies in k or v: a multiple of DEPTH. */
static int64_t place_of(const tile *t, const nx_view *kv, int64_t d0)
{
    int64_t at = t->b * kv->strides[0] + t->kv * kv->strides[1];
    return at + (t->j->packed ? d0 / NX_CACHE_GROUP * nx_cache_block_bytes(t->j->packed) : d0 * kv->strides[3]);
}

/* ---- memory asked for ahead ---------------------------------------------------------------------- */

/* A few query rows by a block of keys take less time than the block takes to come from memory, and asked for all
 * at once its lines would wait for one another: so some rows of the next block are asked for at each step of work
 * on this one. */
static inline void fetch_some(tile *t, int rows)
{
    ahead *a = &t->next;
    for (; rows > 0 && a->row < a->rows; rows--, a->row++)
        for (int i = 0; i < 2; i++)
            for (int64_t b = 0; b < a->bytes[i]; b += 64)
                __builtin_prefetch(a->at[i] + a->row * a->step[i] + b);
}

/* Of the first block that the last query sees. */
static int64_t first_key(const job *j)
{
    return j->window && j->s > j->window ? (j->s - j->window) / KEYS * KEYS : 0;
}

static void fetch_block(tile *t, const job *j, int64_t b, int64_t kv, int64_t key)
{
    const nx_view *const views[2] = {j->k, j->v};
    ahead *a = &t->next;
    a->row = 0;
    a->rows = j->s - key < KEYS ? j->s - key : KEYS;
    for (int i = 0; i < 2; i++) {
        const nx_view *v = views[i];
        int64_t size = j->packed ? 1 : (int64_t)nx_dtype_size(v->dtype);
        int64_t at = b * v->strides[0] + kv * v->strides[1] + key * v->strides[2];
        a->at[i] = (const char *)v->data + at * size;
        a->step[i] = v->strides[2] * size;
        a->bytes[i] = j->packed ? a->step[i] : v->shape[3] * size;
        if (!j->packed && v->strides[3] != 1)
            a->rows = 0;
    }
}

/* What comes behind the block at `key`: the next one, or the first of the next key head or text. */
static void fetch_begin(tile *t, int64_t key)
{
    const job *j = t->j;
    t->next.row = t->next.rows = 0;
    if (t->m > 2 * MR)
        return; /* they have work enough */
    if (key + KEYS < j->s)
        fetch_block(t, j, t->b, t->kv, key + KEYS);
    else if (t->kv + 1 < j->kv_heads)
        fetch_block(t, j, t->b, t->kv + 1, first_key(j));
    else if (j->then)
        fetch_block(t, j->then, 0, 0, first_key(j->then));
}

#if defined(NX_ISA_avx512) || defined(NX_ISA_avx2)
/* As many of n keys as fill vectors, if their numbers lie so that they can be turned in vectors: the count. */
static int turn_block(tile *t, int64_t at, int n, int64_t nd)
{
    const job *j = t->j;
    const nx_view *k = j->k;
    int64_t size = j->packed ? 1 : 2, key_bytes = k->strides[2] * size;
    n -= n % VF_N;
    if (n == 0 || (!j->packed && k->dtype != NX_FLOAT16) || k->strides[3] != 1 ||
        nd % (j->packed ? NX_CACHE_GROUP : 2 * VF_N))
        return 0;
    const uint8_t *from = (const uint8_t *)k->data + at * size;
    if (j->packed == 8)
        turn_packed(8, from, key_bytes, n, nd, t->panel);
    else if (j->packed == 4)
        turn_packed(4, from, key_bytes, n, nd, t->panel);
    for (int i = 0; !j->packed && i < n; i += VF_N)
        for (int64_t d = 0; d < nd; d += 2 * VF_N) {
            turn_keys(16, from + i * key_bytes + d * 2, key_bytes, 0, NULL, NULL, t->panel + d * KEYS + i);
            fetch_some(t, 4);
        }
    return n;
}
#else
static int turn_block(tile *t, int64_t at, int n, int64_t nd)
{
    return 0;
}
#endif

/* nd numbers of a row of k or v that begins at `at`. */
static void numbers_at(const job *j, const nx_view *kv, int64_t at, int64_t nd, float *to)
{
    if (j->packed == 8)
        cache_row_numbers(8, (const uint8_t *)kv->data + at, nd, to);
    else if (j->packed == 4)
        cache_row_numbers(4, (const uint8_t *)kv->data + at, nd, to);
    else
        floats_at(kv, at, kv->strides[3], nd, to);
}

/* Keys key.. (n of them), dimensions d0.. (nd), as panel[d][64]; zeros after the last key. */
static void load_k(tile *t, int64_t key, int n, int64_t d0, int64_t nd)
{
    const nx_view *k = t->j->k;
    int64_t at = place_of(t, k, d0);
    int done = turn_block(t, at + key * k->strides[2], n, nd), end = (n + VF_N - 1) / VF_N * VF_N;
    for (int64_t d = 0; d < nd && end < KEYS; d++)
        for (int i = end; i < KEYS; i += VF_N)
            vf_store(t->panel + d * KEYS + i, vf_set(0));
    float row[4][DEPTH];
    for (int i = done; i < end; i += 4) {
        for (int r = 0; r < 4; r++)
            if (i + r < n)
                numbers_at(t->j, k, at + (key + i + r) * k->strides[2], nd, row[r]);
            else
                memset(row[r], 0, sizeof row[r]);
        nx_turn_four((const float *[4]){row[0], row[1], row[2], row[3]}, nd, t->panel + i, KEYS);
    }
}

/* Keys key.., dimensions d0.. of v, as panel[key][64]. */
static void load_v(tile *t, int64_t key, int n, int64_t d0, int64_t nd)
{
    const nx_view *v = t->j->v;
    int64_t at = place_of(t, v, d0);
    for (int i = 0; i < n; i++) {
        numbers_at(t->j, v, at + (key + i) * v->strides[2], nd, t->panel + i * DEPTH);
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
        fetch_some(t, 8);
        rows_by_panel(t->m, nd, t->q, DEPTH, t->panel, t->s, KEYS);
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
    float top = t->part.max[i], tops[16];
    memcpy(tops, s, sizeof tops);
    for (int c = 16; c < KEYS; c += 16)
        for (int e = 0; e < 16; e++)
            tops[e] = s[c + e] > tops[e] ? s[c + e] : tops[e];
    for (int step = 8; step; step /= 2)
        for (int e = 0; e < step; e++)
            tops[e] = tops[e + step] > tops[e] ? tops[e + step] : tops[e];
    top = tops[0] > top ? tops[0] : top;
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
    float factor = t->part.max[i] == -INFINITY ? 0 : exp_negative(t->part.max[i] - top);
    t->part.max[i] = top;
    t->part.sum[i] = t->part.sum[i] * factor + sums[0];
    return factor;
}

/* Few rows, whole panels of values: read where they lie. */
static bool weigh_in_place(tile *t, int64_t key, int n, int64_t d0, int64_t nd, float *acc, int64_t stride)
{
    const job *j = t->j;
    const nx_view *v = j->v;
    int64_t at = place_of(t, v, d0) + key * v->strides[2];
    if (nd != DEPTH || v->strides[3] != 1)
        return false;
    if (j->packed && NX_CACHE_VECTORS)
        rows_by_packed(j->packed, t->m, n, t->s, KEYS, (const uint8_t *)v->data + at, v->strides[2], acc, stride);
    else if (!j->packed && v->dtype == NX_FLOAT16)
        rows_by_f16(t->m, n, t->s, KEYS, (const uint16_t *)v->data + at, v->strides[2] * 2, acc, stride);
    else
        return false;
    return true;
}

/* acc[m][..] += weights by v, dimensions d0.. */
static void weigh(tile *t, int64_t key, int n, int64_t dv0, int64_t dv)
{
    int64_t stride = wide(dv);
    for (int64_t d0 = 0; d0 < dv; d0 += DEPTH) {
        int64_t nd = dv - d0 < DEPTH ? dv - d0 : DEPTH;
        if (t->m <= 2 * MR && weigh_in_place(t, key, n, dv0 + d0, nd, t->part.acc + d0, stride))
            continue;
        load_v(t, key, n, dv0 + d0, nd);
        rows_by_panel(t->m, n, t->s, KEYS, t->panel, t->part.acc + d0, stride);
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
    int64_t stride = wide(dv);
    state *of = &t->total;
    for (int i = 0; i < t->m; i++) {
        int64_t row = t->row0 + i, h = head_of(t, row), l = row / j->share;
        int64_t at = ((t->b * j->heads + h) * j->l + l) * j->dv + dv0;
        float factor = 1;
        if (j->sinks) {
            float sink = ((const float *)j->sinks->data)[h * j->sinks->strides[0]];
            float top = sink > of->max[i] ? sink : of->max[i];
            factor = of->max[i] == -INFINITY ? 0 : exp_negative(of->max[i] - top);
            of->sum[i] = of->sum[i] * factor + exp_negative(sink - top);
        }
        float inverse = j->s == 0 ? 0 : factor / of->sum[i];
        const float *acc = of->acc + i * stride;
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

static void state_clear(state *of, int m, int64_t stride)
{
    memset(of->acc, 0, (size_t)(m * stride) * sizeof *of->acc);
    for (int i = 0; i < m; i++) {
        of->max[i] = -INFINITY;
        of->sum[i] = 0;
    }
}

/* Adds what row i saw of one part of the keys to its total. */
static void add_part(state *to, int i, float max, float sum, const float *acc, int64_t stride)
{
    float top = to->max[i] > max ? to->max[i] : max;
    if (top == -INFINITY)
        return;
    float before = to->max[i] == -INFINITY ? 0 : exp_negative(to->max[i] - top);
    float now = max == -INFINITY ? 0 : exp_negative(max - top);
    float *total = to->acc + i * stride;
    for (int64_t d = 0; d < stride; d++)
        total[d] = total[d] * before + acc[d] * now;
    to->max[i] = top;
    to->sum[i] = to->sum[i] * before + sum * now;
}

/* The keys from..to of one part: into t->part. */
static void run_part(tile *t, int64_t from, int64_t to, int64_t dv0, int64_t dv)
{
    int64_t stride = wide(dv);
    state_clear(&t->part, t->m, stride);
    for (int64_t key = from - from % KEYS; key < to; key += KEYS) {
        int n = to - key < KEYS ? (int)(to - key) : KEYS;
        fetch_begin(t, key);
        scores(t, key, n);
        fetch_some(t, 8);
        for (int i = 0; i < t->m; i++, fetch_some(t, 4)) {
            float factor = soften(t, i, key, n);
            float *acc = t->part.acc + i * stride;
            if (factor != 1)
                for (int64_t d = 0; d < stride; d++)
                    acc[d] *= factor;
        }
        fetch_some(t, KEYS);
        weigh(t, key, n, dv0, dv);
    }
}

static void run_tile(tile *t, int64_t dv0, int64_t dv)
{
    const job *j = t->j;
    int64_t from, to, stride = wide(dv);
    ranges(t, &from, &to);
    state_clear(&t->total, t->m, stride);
    if (j->d <= DEPTH)
        load_q(t, 0, j->d);
    while (from < to) {
        int64_t end = from - from % PART + PART;
        run_part(t, from, end < to ? end : to, dv0, dv);
        for (int i = 0; i < t->m; i++)
            add_part(&t->total, i, t->part.max[i], t->part.sum[i], t->part.acc + i * stride, stride);
        from = end;
    }
    finish(t, dv0, dv);
}

/* The tile that begins at row0 of batch and key head number n. */
static void tile_at(tile *t, int64_t n, int64_t row0)
{
    const job *j = t->j;
    int64_t left = j->l * j->share - row0;
    t->b = (int)(n / j->kv_heads);
    t->kv = (int)(n % j->kv_heads);
    t->row0 = row0;
    t->m = (int)(left < j->rows ? left : j->rows);
}

static void piece(void *ctx, int64_t begin, int64_t end)
{
    const job *j = ctx;
    tile t; /* 64 KB: not cleared */
    t.j = j;
    for (int64_t i = begin; i < end; i++) {
        tile_at(&t, i / j->tiles, (j->tiles - 1 - i % j->tiles) * j->rows); /* the longest first */
        for (int64_t dv0 = 0; dv0 < j->dv; dv0 += DV_MAX)
            run_tile(&t, dv0, j->dv - dv0 < DV_MAX ? j->dv - dv0 : DV_MAX);
    }
}

/* ---- few queries: parts of the keys as pieces --------------------------------------------------- */

static float *partial_at(const job *j, int64_t n, int64_t part, int row)
{
    return j->partial + ((n * j->parts + part) * j->rows + row) * (wide(j->dv) + 2);
}

static void part_piece(void *ctx, int64_t begin, int64_t end)
{
    const job *j = ctx;
    tile t; /* 64 KB: not cleared */
    t.j = j;
    int64_t from, to, stride = wide(j->dv);
    for (int64_t i = begin; i < end; i++) {
        int64_t part = i % j->parts;
        tile_at(&t, i / j->parts, 0);
        ranges(&t, &from, &to);
        from = from > part * PART ? from : part * PART;
        to = to < (part + 1) * PART ? to : (part + 1) * PART;
        if (j->d <= DEPTH)
            load_q(&t, 0, j->d);
        run_part(&t, from, to, 0, j->dv); /* of no keys: nothing seen */
        for (int r = 0; r < t.m; r++) {
            float *p = partial_at(j, i / j->parts, part, r);
            p[0] = t.part.max[r];
            p[1] = t.part.sum[r];
            memcpy(p + 2, t.part.acc + r * stride, (size_t)stride * sizeof *p);
        }
    }
}

static void total_piece(void *ctx, int64_t begin, int64_t end)
{
    const job *j = ctx;
    tile t; /* 64 KB: not cleared */
    t.j = j;
    int64_t stride = wide(j->dv);
    for (int64_t n = begin; n < end; n++) {
        tile_at(&t, n, 0);
        state_clear(&t.total, t.m, stride);
        for (int64_t part = 0; part < j->parts; part++)
            for (int r = 0; r < t.m; r++) {
                const float *p = partial_at(j, n, part, r);
                add_part(&t.total, r, p[0], p[1], p + 2, stride);
            }
        finish(&t, 0, j->dv);
    }
}

/* ---- both ---------------------------------------------------------------------------------------- */

static int tile_rows(int64_t dv)
{
    int64_t rows = ROWS * DEPTH / (dv < DV_MAX ? wide(dv) : DV_MAX);
    return (int)(rows < ROWS ? rows : ROWS);
}

/* Whether parts of the keys are worth being pieces: floats of the partial results; 0: no. */
static int64_t partial_size(int64_t groups, int64_t rows, int64_t s, int64_t dv)
{
    int64_t parts = (s + PART - 1) / PART;
    if (parts < 2 || groups > 64 || dv > DV_MAX || rows > tile_rows(dv))
        return 0;
    return groups * parts * rows * (wide(dv) + 2);
}

static int64_t groups_of(const job *j)
{
    return (int64_t)j->batch * j->kv_heads;
}

/* Fills in what follows from the sizes. Partial results go to `space`: the floats of it that they take. */
static int64_t plan(job *j, float *space)
{
    int64_t most = tile_rows(j->dv);
    j->share = j->heads / j->kv_heads;
    int64_t rows = j->l * j->share, floats = partial_size(groups_of(j), rows, j->s, j->dv);
    j->rows = (int)(rows < most ? rows : most);
    j->tiles = (rows + most - 1) / most;
    j->parts = (j->s + PART - 1) / PART;
    j->partial = floats ? space : NULL;
    return floats;
}

static int64_t pieces_of(const job *j)
{
    return groups_of(j) * (j->partial ? j->parts : j->tiles);
}

static void run_pieces(void *ctx, int64_t begin, int64_t end)
{
    const job *j = ctx;
    (j->partial ? part_piece : piece)(ctx, begin, end);
}

size_t NX_FN(attention_workspace)(const nx_call *c)
{
    const nx_view *q = &c->in[0], *k = &c->in[1];
    int64_t kv_heads = k->shape[1], rows = kv_heads ? (int64_t)q->shape[2] * (q->shape[1] / kv_heads) : 0;
    return (size_t)partial_size(q->shape[0] * kv_heads, rows, k->shape[2], c->out[0].shape[3]) * sizeof(float);
}

void NX_FN(attention)(const nx_call *c)
{
    const nx_attention_params *p = c->params;
    const nx_view *q = &c->in[0], *k = &c->in[1], *v = &c->in[2];
    int next = 3;
    job j = {.q = q, .k = k, .v = v, .out = &c->out[0], .scale = p->scale, .causal = p->causal,
             .window = p->window, .packed = p->packed, .batch = q->shape[0], .heads = q->shape[1],
             .kv_heads = k->shape[1], .l = q->shape[2], .s = k->shape[2], .d = q->shape[3],
             .dv = c->out[0].shape[3]};
    j.mask = p->has_mask ? &c->in[next++] : NULL;
    j.lengths = p->has_lengths ? &c->in[next++] : NULL;
    j.sinks = p->has_sinks ? &c->in[next++] : NULL;
    plan(&j, c->workspace);
    nx_parallel(pieces_of(&j), 1, run_pieces, &j);
    if (j.partial)
        nx_parallel(groups_of(&j), nx_grain(j.parts * j.l * j.share * (j.dv + 2) * 4, NX_PIECE_BYTES), total_piece, &j);
}

/* ---- a step of many texts ------------------------------------------------------------------------ */

/* A text's own attention, of one query. */
typedef struct {
    job j;
    nx_view q, k, v, out;
    int64_t begin; /* its first piece */
} one;

typedef struct {
    one *texts;
    int n;
} many;

/* The caches' views follow q, k, v, places and the sinks. */
static const nx_view *step_caches(const nx_call *c)
{
    const nx_step_attention_params *p = c->params;
    return c->in + 4 + p->has_sinks;
}

/* The most floats that text i's partial results take, wherever in its room it stands. */
static int64_t step_partial(const nx_call *c, int i)
{
    const nx_view *q = &c->in[0], *k = step_caches(c) + 2 * i;
    int64_t kv_heads = k->shape[1];
    return partial_size(kv_heads, q->shape[1] / kv_heads, k->shape[2], c->out[0].shape[3]);
}

size_t NX_FN(step_attention_workspace)(const nx_call *c)
{
    int n = c->in[0].shape[0];
    int64_t floats = 0;
    for (int i = 0; i < n; i++)
        floats += step_partial(c, i);
    return (size_t)nx_whole_lines(n * (int64_t)sizeof(one)) + (size_t)floats * sizeof(float);
}

static nx_view row_of(const nx_view *v, int i)
{
    nx_view r = *v;
    r.data = (char *)v->data + i * v->strides[0] * (int64_t)nx_dtype_size(v->dtype);
    return r;
}

/* Rows [heads, 1, D] of text i, row-major, as the cache's rows at `place`. */
static void put_rows(const nx_view *rows, int i, const nx_view *cache, int64_t place)
{
    size_t bytes = (size_t)rows->shape[3] * nx_dtype_size(rows->dtype);
    const char *from = (const char *)rows->data + (size_t)i * (size_t)rows->shape[1] * bytes;
    char *to = (char *)cache->data + place * (int64_t)bytes;
    for (int h = 0; h < rows->shape[1]; h++)
        memcpy(to + h * (int64_t)cache->shape[2] * (int64_t)bytes, from + (size_t)h * bytes, bytes);
}

/* Puts text i's key and value into its caches and plans its attention; the floats of `space` it takes. */
static int64_t begin_text(const nx_call *c, int i, one *t, float *space)
{
    const nx_step_attention_params *p = c->params;
    const nx_view *q = &c->in[0], *places = &c->in[3], *k = &c->out[1 + 2 * i], *v = &c->out[2 + 2 * i];
    int64_t place = ((const int32_t *)places->data)[i], room = k->shape[2] < v->shape[2] ? k->shape[2] : v->shape[2];
    place = place < 0 ? 0 : place < room ? place : room - 1;
    put_rows(&c->in[1], i, k, place);
    put_rows(&c->in[2], i, v, place);
    *t = (one){.q = row_of(q, i), .k = *k, .v = *v, .out = row_of(&c->out[0], i)};
    t->j = (job){.q = &t->q, .k = &t->k, .v = &t->v, .out = &t->out, .scale = p->scale, .window = p->window,
                 .sinks = p->has_sinks ? &c->in[4] : NULL, .packed = p->packed, .batch = 1,
                 .heads = q->shape[1], .kv_heads = k->shape[1], .l = 1, .s = place + 1, .d = q->shape[3],
                 .dv = c->out[0].shape[3]};
    return plan(&t->j, space);
}

static void step_piece(void *ctx, int64_t begin, int64_t end)
{
    const many *m = ctx;
    for (int i = 0; i < m->n; i++) {
        one *t = &m->texts[i];
        int64_t from = begin - t->begin, to = end - t->begin, all = pieces_of(&t->j);
        from = from > 0 ? from : 0;
        to = to < all ? to : all;
        if (from < to)
            run_pieces(&t->j, from, to);
    }
}

static void step_totals(void *ctx, int64_t begin, int64_t end)
{
    const many *m = ctx;
    for (int64_t i = begin; i < end; i++)
        if (m->texts[i].j.partial)
            total_piece(&m->texts[i].j, 0, m->texts[i].j.kv_heads);
}

void NX_FN(step_attention)(const nx_call *c)
{
    many m = {.texts = c->workspace, .n = c->in[0].shape[0]};
    float *space = (float *)(void *)((char *)c->workspace + nx_whole_lines(m.n * (int64_t)sizeof(one)));
    int64_t pieces = 0;
    bool parts = false;
    for (int i = 0; i < m.n; i++) {
        one *t = &m.texts[i];
        space += begin_text(c, i, t, space);
        t->begin = pieces;
        t->j.then = i + 1 < m.n ? &m.texts[i + 1].j : NULL;
        pieces += pieces_of(&t->j);
        parts |= t->j.partial != NULL;
    }
    nx_parallel(pieces, 1, step_piece, &m);
    if (parts)
        nx_parallel(m.n, 1, step_totals, &m);
}
