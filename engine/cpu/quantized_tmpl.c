/*
 * quantized_tmpl.c: QuantizedMatmul and GatherQMM. By the rows of a matrix of affine codes, or of floating
 * ones of four bits, which are integers once doubled: integer products (qmm.h). By its columns, and for
 * floating codes of eight bits: panels of numbers (gemm.h).
 */
#include "engine/cpu/fp_codes.h"
#include "engine/cpu/gemm.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/pool.h"
#include "engine/cpu/qmm.h"
#include "engine/cpu/simd.h"
#include "engine/ops/params.h"

typedef struct {
    const nx_qmm_params *p;
    const nx_view *x, *w, *scales, *biases, *out; /* biases: NULL for floating codes */
    const uint32_t *x_index, *w_index; /* NULL: leading dimensions broadcast */
    int64_t m, n, k, batches, x_matrices, w_matrices;
    int64_t w_bytes, w_groups; /* a matrix: bytes of codes, numbers of scales */
    int64_t row_bytes, row_groups;
} product;

static int64_t matrices(const nx_view *v)
{
    return nx_shape_size(v->shape, v->ndim - 2);
}

/* Number of the matrix of v that result number `batch` is made of, leading dimensions broadcast. */
static int64_t broadcast_index(const nx_view *v, const nx_view *out, int64_t batch)
{
    int64_t at = 0, step = 1;
    for (int i = out->ndim - 3, e = v->ndim - 3; e >= 0; i--, e--) {
        int64_t place = batch % out->shape[i];
        at += v->shape[e] == 1 ? 0 : place * step;
        step *= v->shape[e];
        batch /= out->shape[i];
    }
    return at;
}

static int64_t index_at(const uint32_t *index, int64_t batch, int64_t count)
{
    return index[batch] < count ? index[batch] : count - 1; /* never outside */
}

static int64_t x_matrix(const product *p, int64_t batch)
{
    return p->x_index ? index_at(p->x_index, batch, p->x_matrices)
                      : broadcast_index(p->x, p->out, batch);
}

static int64_t w_matrix(const product *p, int64_t batch)
{
    return p->w_index ? index_at(p->w_index, batch, p->w_matrices)
                      : broadcast_index(p->w, p->out, batch);
}

static float number_at(const nx_view *v, int64_t i)
{
    return v->dtype == NX_FLOAT32   ? ((const float *)v->data)[i]
           : v->dtype == NX_FLOAT16 ? nx_half_to_float(((const uint16_t *)v->data)[i])
                                    : nx_bf16_to_float(((const uint16_t *)v->data)[i]);
}

/* A scale of floating codes. */
static float fp_scale(const product *p, int64_t g)
{
    uint8_t s = ((const uint8_t *)p->scales->data)[g];
    return p->p->mode == NX_QUANT_NVFP4 ? nx_e4m3_to_float(s) : nx_e8m0_to_float(s);
}

/* ---- integers: rows of affine and four-bit floating codes ------------------------------------- */

static int64_t qmm_x_row(const nx_qmm *q, int64_t batch)
{
    const product *p = q->user;
    return x_matrix(p, batch) * q->m;
}

/* Codes k0.. of 16 rows, `bits` wide with 32 / bits of them in a word, as pairs. */
NX_INLINE void load_words(int bits, const uint8_t *const *row, int64_t k0, int64_t kc, uint32_t *panel)
{
    const uint32_t mask = (1u << bits) - 1;
    enum { ROWS = NX_QMM_TILE };
    for (int64_t k = 0; k < kc; k += 32 / bits) {
        uint32_t v[ROWS];
        for (int r = 0; r < ROWS; r++)
            memcpy(&v[r], row[r] + (k0 + k) * bits / 8, 4);
        for (int i = 0; i < 16 / bits; i++, panel += ROWS)
            for (int r = 0; r < ROWS; r++)
                panel[r] = (v[r] >> 2 * i * bits & mask) | (v[r] >> (2 * i + 1) * bits & mask) << 16;
    }
}

/* Code number i of 32 of row r, from words of 16 rows side by side. */
NX_INLINE uint32_t code_at(int bits, uint32_t (*f)[NX_QMM_TILE], int i, int r)
{
    const int at = i * bits, k = at >> 5, shift = at & 31;
    uint32_t v = f[k][r] >> shift;
    if (shift + bits > 32)
        v |= f[k + 1][r] << (32 - shift);
    return v & ((1u << bits) - 1);
}

/* The same of any width: 32 codes are as many words as they have bits. */
NX_INLINE void load_stream(int bits, const uint8_t *const *row, int64_t k0, int64_t kc, uint32_t *panel)
{
    for (int64_t k = 0; k < kc; k += 32) {
        uint32_t f[8][NX_QMM_TILE];
        for (int r = 0; r < NX_QMM_TILE; r++)
            for (int w = 0; w < bits; w++)
                memcpy(&f[w][r], row[r] + (k0 + k) * bits / 8 + 4 * w, 4);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++, panel += NX_QMM_TILE)
            for (int r = 0; r < NX_QMM_TILE; r++)
                panel[r] = code_at(bits, f, 2 * i, r) | code_at(bits, f, 2 * i + 1, r) << 16;
    }
}

static void load_affine(const nx_qmm *q, int64_t batch, int64_t tile, int64_t k0, int64_t kc,
                        uint32_t *panel, float *scale, float *min)
{
    const product *p = q->user;
    int64_t matrix = w_matrix(p, batch), n0 = tile * NX_QMM_TILE;
    const uint8_t *w = (const uint8_t *)p->w->data + matrix * p->w_bytes, *row[NX_QMM_TILE];
    for (int r = 0; r < NX_QMM_TILE; r++) {
        bool there = n0 + r < q->n;
        int64_t at = there ? n0 + r : q->n - 1;
        row[r] = w + at * p->row_bytes;
        for (int64_t g = 0; g < kc / q->group; g++) {
            int64_t from = matrix * p->w_groups + at * p->row_groups + k0 / q->group + g;
            scale[g * NX_QMM_TILE + r] = there ? number_at(p->scales, from) : 0;
            min[g * NX_QMM_TILE + r] = there ? number_at(p->biases, from) : 0;
        }
    }
    switch (p->p->bits) {
    case 2: load_words(2, row, k0, kc, panel); break;
    case 4: load_words(4, row, k0, kc, panel); break;
    case 8: load_words(8, row, k0, kc, panel); break;
    case 3: load_stream(3, row, k0, kc, panel); break;
    case 5: load_stream(5, row, k0, kc, panel); break;
    default: load_stream(6, row, k0, kc, panel);
    }
}

/* e2m1 values, doubled: whole numbers. */
static const int8_t doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* Eight codes of each of 16 rows, a word a row, as four rows of pairs. */
#if defined(NX_ISA_avx512) || defined(NX_ISA_avx2)
static void put_fp4(const uint32_t *v, uint32_t *panel)
{
    const __m128i values = _mm_loadu_si128((const void *)doubled);
#if defined(NX_ISA_avx512)
#define V(op) _mm512_##op
    const vi table = _mm512_broadcast_i32x4(values);
#else
#define V(op) _mm256_##op
    const vi table = _mm256_broadcastsi128_si256(values);
#endif
    const vi nibbles = vi_set32(0x0F0F0F0F), low = vi_set32(0xFFFF), high = vi_set32((int)0xFFFF0000u);
    for (int lane = 0; lane < NX_QMM_TILE; lane += VF_N, panel += VF_N) {
        vi w = vi_load(v + lane);
        vi even = V(shuffle_epi8)(table, vi_and(w, nibbles)), odd = V(shuffle_epi8)(table, vi_and(vi_shr32(w, 4), nibbles));
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) { /* bytes j and j + 2, widened to 16 bits with their signs */
            vi a = vi_sar16(j ? even : vi_shl16(even, 8), 8), b = vi_sar16(j ? odd : vi_shl16(odd, 8), 8);
            vi_store(panel + j * NX_QMM_TILE, vi_or(vi_and(a, low), V(slli_epi32)(b, 16)));
            vi_store(panel + (j + 2) * NX_QMM_TILE, vi_or(vi_shr32(a, 16), vi_and(b, high)));
        }
    }
#undef V
}
#else
static void put_fp4(const uint32_t *v, uint32_t *panel)
{
    for (int j = 0; j < 4; j++)
        for (int r = 0; r < NX_QMM_TILE; r++) {
            unsigned byte = v[r] >> 8 * j & 255;
            panel[j * NX_QMM_TILE + r] = (uint16_t)doubled[byte & 15] | (uint32_t)(uint16_t)doubled[byte >> 4] << 16;
        }
}
#endif

static void load_fp4(const nx_qmm *q, int64_t batch, int64_t tile, int64_t k0, int64_t kc, uint32_t *panel,
                     float *scale, float *min)
{
    const product *p = q->user;
    int64_t matrix = w_matrix(p, batch), n0 = tile * NX_QMM_TILE;
    const uint8_t *row[NX_QMM_TILE];
    (void)min;
    for (int r = 0; r < NX_QMM_TILE; r++) {
        bool there = n0 + r < q->n;
        int64_t at = there ? n0 + r : q->n - 1, from = matrix * p->w_groups + at * p->row_groups + k0 / q->group;
        row[r] = (const uint8_t *)p->w->data + matrix * p->w_bytes + at * p->row_bytes + k0 / 2;
        for (int64_t g = 0; g < kc / q->group; g++)
            scale[g * NX_QMM_TILE + r] = there ? 0.5f * fp_scale(p, from + g) : 0;
    }
    for (int64_t k = 0; k < kc; k += 8, panel += 4 * NX_QMM_TILE) {
        uint32_t v[NX_QMM_TILE];
        for (int r = 0; r < NX_QMM_TILE; r++)
            memcpy(&v[r], row[r] + k / 2, 4);
        put_fp4(v, panel);
    }
}

static void put_row(const nx_view *out, int64_t at, const float *x, int n)
{
    if (out->dtype == NX_FLOAT32)
        memcpy((float *)out->data + at, x, (size_t)n * sizeof *x);
    else
        for (int j = 0; j < n; j++)
            ((uint16_t *)out->data)[at + j] = out->dtype == NX_FLOAT16 ? nx_half_from_float(x[j])
                                                                       : nx_bf16_from_float(x[j]);
}

static void qmm_store(const nx_qmm *q, int64_t batch, int64_t m0, int64_t m, int64_t n0, int nb,
                      const float *acc)
{
    const product *p = q->user;
    for (int64_t i = 0; i < m; i++)
        put_row(p->out, (batch * q->m + m0 + i) * q->n + n0, acc + i * NX_QMM_TILE, nb);
}

/* Of pairs of rows; blocks of them hold whole pairs. */
static void qmm_store_pairs(const nx_qmm *q, int64_t batch, int64_t m0, int64_t m, int64_t n0, int nb,
                            const float *acc)
{
    const product *p = q->user;
    float sum[NX_QMM_TILE];
    for (int64_t i = 0; i < m; i += 2) {
        for (int j = 0; j < nb; j++)
            sum[j] = acc[i * NX_QMM_TILE + j] + acc[(i + 1) * NX_QMM_TILE + j];
        put_row(p->out, (batch * p->m + (m0 + i) / 2) * q->n + n0, sum, nb);
    }
}

/* Half types have fewer digits than a row of 15 bits; floats have more, and get two. */
static int rows_each(nx_dtype x)
{
    return x == NX_FLOAT32 ? 2 : 1;
}

static void run_integers(product *p, void *workspace)
{
    int each = rows_each(p->x->dtype);
    nx_qmm q = {.batches = p->batches, .m = p->m * each, .n = p->n, .k = p->k, .group = p->p->group_size,
                .has_min = p->biases, .w = p->w->data, .user = p, .w_row_bytes = p->row_bytes,
                .x_row = qmm_x_row, .load = p->biases ? load_affine : load_fp4,
                .store = each == 2 ? qmm_store_pairs : qmm_store, .out = each == 2 ? NULL : p->out->data,
                .out_bytes = (int64_t)nx_dtype_size(p->out->dtype),
                .unsigned_codes = p->biases && p->p->bits == 8};
    int64_t rows = p->x_matrices * p->m;
    q.x = NX_FN(nx_qx_at)(workspace, rows * each, q.k, q.group);
    if (each == 2)
        NX_FN(nx_qx_fill_pairs)(&q.x, p->x->data, rows, q.group);
    else
        NX_FN(nx_qx_fill)(&q.x, p->x->data, p->x->dtype, rows, q.group);
    NX_FN(nx_qmm_run)(&q);
}

/* ---- floats: columns, and floating codes ------------------------------------------------------ */

/* Entry (row, column) of matrix w as a number. */
static float weight(const product *p, int64_t matrix, int64_t row, int64_t column)
{
    const uint8_t *codes = (const uint8_t *)p->w->data + matrix * p->w_bytes + row * p->row_bytes;
    int64_t g = matrix * p->w_groups + row * p->row_groups + column / p->p->group_size;
    unsigned c = nx_code_get(codes, column, p->p->bits);
    if (p->biases)
        return (float)c * number_at(p->scales, g) + number_at(p->biases, g);
    return fp_scale(p, g) * (p->p->bits == 8 ? nx_e4m3_to_float((uint8_t)c) : nx_e2m1_values[c]);
}

/* A column of a part: row `row` of e4m3 codes from k0 on, by a table of their values. */
static void put_fp8(const product *p, const float *value, int64_t matrix, int64_t row, int64_t k0, int64_t kc,
                    float *to, int part)
{
    const uint8_t *codes = (const uint8_t *)p->w->data + matrix * p->w_bytes + row * p->row_bytes + k0;
    int64_t g = matrix * p->w_groups + row * p->row_groups, group = p->p->group_size;
    for (int64_t k = 0; k < kc;) {
        int64_t end = (k0 + k) / group * group + group - k0;
        float scale = fp_scale(p, g + (k0 + k) / group);
        for (end = end < kc ? end : kc; k < end; k++)
            to[k * part] = scale * value[codes[k]];
    }
}

static void gemm_load(const nx_gemm *g, int64_t batch, int64_t k0, int64_t kc, int64_t n0, int nb, int part,
                      void *panel)
{
    const product *p = g->user;
    int64_t matrix = w_matrix(p, batch);
    memset(panel, 0, (size_t)((nb + part - 1) / part * part * kc) * sizeof(float));
    float *columns[NX_GEMM_NB];
    for (int j = 0; j < nb; j++)
        columns[j] = (float *)panel + j / part * part * kc + j % part;
    if (p->p->transpose && p->p->bits == 8 && !p->biases) {
        float value[256];
        for (int i = 0; i < 256; i++)
            value[i] = nx_e4m3_to_float((uint8_t)i);
        for (int j = 0; j < nb; j++)
            put_fp8(p, value, matrix, n0 + j, k0, kc, columns[j], part);
        return;
    }
    for (int64_t k = 0; k < kc; k++)
        for (int j = 0; j < nb; j++)
            columns[j][k * part] = p->p->transpose ? weight(p, matrix, n0 + j, k0 + k)
                                                   : weight(p, matrix, k0 + k, n0 + j);
}

static void gemm_store(const nx_gemm *g, int64_t batch, int64_t m0, int64_t m, int64_t n0, int nb,
                       const void *acc)
{
    const product *p = g->user;
    for (int64_t i = 0; i < m; i++)
        put_row(p->out, (batch * g->m + m0 + i) * g->n + n0, (const float *)acc + i * NX_GEMM_NB, nb);
}

static int64_t gemm_x(const nx_gemm *g, int64_t batch)
{
    const product *p = g->user;
    return x_matrix(p, batch) * g->m * g->k;
}

static void run_floats(product *p, void *workspace)
{
    nx_gemm g = {.batches = p->batches, .m = p->m, .n = p->n, .k = p->k, .a = p->x->data, .a_row = p->k,
                 .a_col = 1, .a_offset = gemm_x, .load_b = gemm_load, .store = gemm_store, .user = p};
    if (p->x->dtype != NX_FLOAT32) {
        nx_view to = *p->x;
        to.data = workspace;
        to.dtype = NX_FLOAT32;
        NX_BELOW(copy)(&(nx_call){.n_in = 1, .n_out = 1, .in = p->x, .out = &to});
        g.a = workspace;
    }
    NX_BELOW(nx_gemm_f32)(&g);
}

/* ---- both --------------------------------------------------------------------------------------- */

static bool by_integers(const nx_qmm_params *p)
{
    return p->transpose && (p->mode == NX_QUANT_AFFINE || p->bits == 4);
}

size_t NX_FN(quantized_matmul_workspace)(const nx_call *c)
{
    const nx_qmm_params *p = c->params;
    const nx_view *x = &c->in[0];
    int64_t k = x->shape[x->ndim - 1], rows = nx_shape_size(x->shape, x->ndim - 1);
    if (by_integers(p))
        return NX_FN(nx_qx_bytes)(rows * rows_each(x->dtype), k, p->group_size);
    return x->dtype == NX_FLOAT32 ? 0 : (size_t)(rows * k) * sizeof(float);
}

static void run(const nx_call *c, const uint32_t *x_index, const uint32_t *w_index)
{
    static const uint32_t first = 0;
    const nx_qmm_params *q = c->params;
    bool affine = q->mode == NX_QUANT_AFFINE;
    product p = {.p = q, .x = &c->in[0], .w = &c->in[1], .scales = &c->in[2],
                 .biases = affine ? &c->in[3] : NULL, .out = &c->out[0], .x_index = x_index,
                 .w_index = w_index};
    const nx_view *x = p.x, *w = p.w, *out = p.out;
    p.m = out->shape[out->ndim - 2];
    p.n = out->shape[out->ndim - 1];
    p.k = x->shape[x->ndim - 1];
    p.batches = matrices(out);
    p.x_matrices = matrices(x);
    p.w_matrices = matrices(w);
    p.row_bytes = (int64_t)w->shape[w->ndim - 1] * 4;
    p.w_bytes = p.row_bytes * w->shape[w->ndim - 2];
    p.row_groups = p.scales->shape[p.scales->ndim - 1];
    p.w_groups = p.row_groups * w->shape[w->ndim - 2];
    if (!x_index && p.w_matrices == 1) { /* one matrix for all rows */
        p.m *= p.batches;
        p.batches = p.x_matrices = 1;
        p.x_index = p.w_index = &first;
    }
    if (by_integers(q))
        run_integers(&p, c->workspace);
    else
        run_floats(&p, c->workspace);
}

void NX_FN(quantized_matmul)(const nx_call *c)
{
    run(c, NULL, NULL);
}

void NX_FN(gather_qmm)(const nx_call *c)
{
    run(c, c->in[c->n_in - 2].data, c->in[c->n_in - 1].data);
}
