/*
 * gguf_tmpl.c: GgufMatmul, GgufTake, GgufRepack: matrices whose rows are GGUF blocks, as in the file
 * or in our order of tiles (gguf_blocks.h).
 */
#include "engine/cpu/gemm.h"
#include "engine/cpu/gguf_blocks.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/pool.h"
#include "engine/cpu/qmm.h"
#include "engine/cpu/simd.h"
#include "engine/cpu/types.h"
#include "engine/ops/params.h"

#if defined(NX_ISA_avx512) || defined(__aarch64__)
#define FEW_MR 8 /* rows of x by one vector of packed bytes at a time */
#else
#define FEW_MR 4
#endif

/* ---- loaders of panels -------------------------------------------------------------------------- */

static void put_group(const int16_t *code, int group, int r, uint32_t *panel)
{
    for (int k = 0; k < group; k += 2)
        panel[k / 2 * NX_TILE + r] = (uint16_t)code[k] | (uint32_t)(uint16_t)code[k + 1] << 16;
}

/* Rows as they lie in the file. */
static void load_rows(const nx_qmm *q, int64_t batch, int64_t tile, int64_t k0, int64_t kc,
                      uint32_t *panel, float *scale, float *min)
{
    int16_t code[NX_GROUP_MAX];
    int64_t rows = q->n - tile * NX_TILE;
    for (int r = 0; r < NX_TILE; r++) {
        const uint8_t *row = (const uint8_t *)q->w + (tile * NX_TILE + r) * q->w_row_bytes;
        for (int64_t g = 0; g < kc / q->group; g++) {
            float *s = scale + g * NX_TILE + r, *m = min + g * NX_TILE + r;
            if (r < rows) {
                nx_gguf_group(q->type & ~NX_REPACKED, row, k0 / q->group + g, code, s, m);
            } else {
                memset(code, 0, sizeof code);
                *s = *m = 0;
            }
            put_group(code, q->group, r, panel + g * q->group / 2 * NX_TILE);
        }
    }
}

/* A quarter of one group of a repacked tile: its code pairs 4 j .. 4 j + 3 as vectors; the zero is not
 * yet subtracted. j is a constant where this is inlined. */
NX_INLINE void tile_quarter(int type, const uint8_t *codes, int lane, int j, vi *w)
{
    const vi low4 = vi_set32(0x000F000F), bit4 = vi_set32(0x00100010);
    const uint8_t *at = codes + lane * VF_N * 4;
    if (type == NX_GGML_Q8_0) {
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            vi v = vi_load(at + (2 * j + i) * 4 * NX_TILE);
            w[2 * i] = vi_sar16(vi_shl16(v, 8), 8);
            w[2 * i + 1] = vi_sar16(v, 8);
        }
        return;
    }
    vi v = vi_load(at + j * 4 * NX_TILE);
    w[0] = vi_and(v, low4);
    w[1] = vi_and(vi_shr32(v, 4), low4);
    w[2] = vi_and(vi_shr32(v, 8), low4);
    w[3] = vi_and(vi_shr32(v, 12), low4);
    if (type == NX_GGML_Q5_0 || type == NX_GGML_Q5_1) {
        vi h = vi_load(at + 4 * 4 * NX_TILE);
#define FIFTH(e, i)                                                                                \
    w[e] = vi_or(w[e], vi_and((i) < 5 ? vi_shl16(h, (4 - (i)) & 15) : vi_shr32(h, ((i) - 4) & 31), bit4));
        switch (j) { /* shifts by constants */
        case 0: FIFTH(0, 0) FIFTH(1, 1) FIFTH(2, 2) FIFTH(3, 3) break;
        case 1: FIFTH(0, 4) FIFTH(1, 5) FIFTH(2, 6) FIFTH(3, 7) break;
        case 2: FIFTH(0, 8) FIFTH(1, 9) FIFTH(2, 10) FIFTH(3, 11) break;
        default: FIFTH(0, 12) FIFTH(1, 13) FIFTH(2, 14) FIFTH(3, 15)
        }
#undef FIFTH
    }
}

NX_INLINE int zero_of(int type)
{
    return type == NX_GGML_Q4_0 ? 8 : type == NX_GGML_Q5_0 ? 16 : 0;
}
NX_INLINE bool has_min(int type)
{
    return type == NX_GGML_Q4_1 || type == NX_GGML_Q5_1;
}
NX_INLINE int group_bytes(int type) /* of a tile */
{
    return NX_TILE * (type == NX_GGML_Q4_0   ? 18
                      : type == NX_GGML_Q4_1 ? 20
                      : type == NX_GGML_Q5_0 ? 22
                      : type == NX_GGML_Q5_1 ? 24
                                             : 34);
}

static const uint8_t *tile_at(const nx_qmm *q, int64_t tile)
{
    return (const uint8_t *)q->w + tile * NX_TILE * q->w_row_bytes;
}

NX_INLINE void load_tile(int type, const nx_qmm *q, int64_t tile, int64_t k0, int64_t kc,
                         uint32_t *panel, float *scale, float *min)
{
    for (int64_t g = 0; g < kc / 32; g++) {
        const uint8_t *b = tile_at(q, tile) + (k0 / 32 + g) * group_bytes(type);
        for (int lane = 0; lane < NX_TILE / VF_N; lane++) {
            uint32_t *to = panel + g * 16 * NX_TILE + lane * VF_N;
#pragma GCC unroll 4
            for (int quarter = 0; quarter < 4; quarter++) {
                vi w[4];
                tile_quarter(type, b + 2 * NX_TILE * (has_min(type) ? 2 : 1), lane, quarter, w);
                for (int i = 0; i < 4; i++)
                    vi_store(to + (4 * quarter + i) * NX_TILE, w[i]);
            }
            vf_store(scale + g * NX_TILE + lane * VF_N, vf_load_f16(b + lane * VF_N * 2));
            vf_store(min + g * NX_TILE + lane * VF_N,
                     has_min(type) ? vf_load_f16(b + 2 * NX_TILE + lane * VF_N * 2) : vf_set(0));
        }
        if (zero_of(type)) {
            int16_t *codes = (int16_t *)(void *)(panel + g * 16 * NX_TILE);
            for (int i = 0; i < 32 * NX_TILE; i++)
                codes[i] = (int16_t)(codes[i] - zero_of(type));
        }
    }
}

/* One vector of rows of a tile by mr rows of x, straight from the packed bytes; the same chain as
 * through a panel. */
NX_INLINE void few_lane(int type, const nx_qmm *q, const uint8_t *w0, int lane, int64_t row, int mr,
                        float *acc)
{
    int64_t groups = q->x.groups, k = q->x.k;
    const int16_t *x0 = q->x.q + row * k;
    const float *xs = q->x.scale + row * groups, *xm = q->x.sum + row * groups;
    const int32_t *sum = q->x.qsum + row * groups;
    const int chains = mr < 3 ? 2 : 1; /* of exact sums, so that one does not wait for the other */
    vf f[FEW_MR];
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
        f[i] = vf_set(0);
    for (int64_t g = 0; g < groups; g++) {
        const uint8_t *b = w0 + g * group_bytes(type);
        vi s[FEW_MR][2];
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++) {
            s[i][0] = zero_of(type) ? vi_set32(-zero_of(type) * sum[i * groups + g]) : vi_zero();
            s[i][1] = vi_zero();
        }
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            vi w[4];
            tile_quarter(type, b + 2 * NX_TILE * (has_min(type) ? 2 : 1), lane, j, w);
#pragma GCC unroll 8
            for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
                for (int p = 0; p < 4; p++) {
                    int32_t pair;
                    memcpy(&pair, x0 + i * k + g * 32 + 8 * j + 2 * p, 4);
                    s[i][p % chains] = vi_dot16(s[i][p % chains], w[p], vi_set32(pair));
                }
        }
        vf ws = vf_load_f16(b + lane * VF_N * 2);
        vf wm = has_min(type) ? vf_load_f16(b + 2 * NX_TILE + lane * VF_N * 2) : vf_set(0);
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++) {
            vi total = chains == 2 ? vi_add32(s[i][0], s[i][1]) : s[i][0];
            f[i] = vf_fma(vf_from_i32(total), vf_mul(ws, vf_set(xs[i * groups + g])), f[i]);
            if (has_min(type))
                f[i] = vf_fma(wm, vf_set(xm[i * groups + g]), f[i]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
        vf_store(acc + i * NX_TILE + lane * VF_N, f[i]);
}

NX_INLINE void few_rows_of_tile(int type, const nx_qmm *q, int64_t tile, int64_t row, int mr, float *acc)
{
    for (int lane = 0; lane < NX_TILE / VF_N; lane++)
        few_lane(type, q, tile_at(q, tile), lane, row, mr, acc);
}

/* Any number of rows, as many at a time as the registers hold. */
NX_INLINE void few_tile(int type, const nx_qmm *q, int64_t tile, int64_t row, int mr, float *acc)
{
    for (int rows = mr; rows > 0; row += FEW_MR, rows -= FEW_MR, acc += FEW_MR * NX_TILE)
        switch (rows) {
        case 1: few_rows_of_tile(type, q, tile, row, 1, acc); break;
        case 2: few_rows_of_tile(type, q, tile, row, 2, acc); break;
        case 3: few_rows_of_tile(type, q, tile, row, 3, acc); break;
#if FEW_MR == 8
        case 4: few_rows_of_tile(type, q, tile, row, 4, acc); break;
        case 5: few_rows_of_tile(type, q, tile, row, 5, acc); break;
        case 6: few_rows_of_tile(type, q, tile, row, 6, acc); break;
        case 7: few_rows_of_tile(type, q, tile, row, 7, acc); break;
#endif
        default: few_rows_of_tile(type, q, tile, row, FEW_MR, acc);
        }
}

/* Tiles after the last whole one are rows as in the file. */
static bool is_tile(const nx_qmm *q, int64_t tile)
{
    return (tile + 1) * NX_TILE <= q->n;
}

/* The same product through a panel, for rows that are no tile. */
static void few_rows(const nx_qmm *q, int64_t tile, int64_t row, int mr, float *acc)
{
    uint32_t panel[NX_QMM_KC / 2 * NX_TILE];
    float scale[NX_QMM_KC / 16 * NX_TILE], min[NX_QMM_KC / 16 * NX_TILE];
    memset(acc, 0, (size_t)mr * NX_TILE * sizeof *acc);
    for (int64_t k0 = 0; k0 < q->k; k0 += NX_QMM_KC) {
        int64_t kc = q->k - k0 < NX_QMM_KC ? q->k - k0 : NX_QMM_KC;
        load_rows(q, 0, tile, k0, kc, panel, scale, min);
        for (int i = 0; i < mr; i++)
            for (int64_t g = 0; g < kc / q->group; g++) {
                const int16_t *x = q->x.q + (row + i) * q->x.k + k0 + g * q->group;
                int64_t entry = (row + i) * q->x.groups + k0 / q->group + g;
                for (int lane = 0; lane < NX_TILE; lane += VF_N) {
                    vi s = vi_zero();
                    for (int k = 0; k < q->group / 2; k++) {
                        int32_t pair;
                        memcpy(&pair, x + 2 * k, 4);
                        s = vi_dot16(s, vi_load(panel + (g * q->group / 2 + k) * NX_TILE + lane),
                                     vi_set32(pair));
                    }
                    vf both = vf_mul(vf_load(scale + g * NX_TILE + lane), vf_set(q->x.scale[entry]));
                    vf f = vf_fma(vf_from_i32(s), both, vf_load(acc + i * NX_TILE + lane));
                    if (q->has_min)
                        f = vf_fma(vf_load(min + g * NX_TILE + lane), vf_set(q->x.sum[entry]), f);
                    vf_store(acc + i * NX_TILE + lane, f);
                }
            }
    }
}

#define TYPE(name)                                                                                 \
    static void load_##name(const nx_qmm *q, int64_t batch, int64_t tile, int64_t k0, int64_t kc,  \
                            uint32_t *panel, float *scale, float *min)                             \
    {                                                                                              \
        if (is_tile(q, tile))                                                                      \
            load_tile(NX_GGML_##name, q, tile, k0, kc, panel, scale, min);                         \
        else                                                                                       \
            load_rows(q, batch, tile, k0, kc, panel, scale, min);                                  \
    }                                                                                              \
    static void few_##name(const nx_qmm *q, int64_t batch, int64_t tile, int64_t row, int mr,      \
                           float *acc)                                                             \
    {                                                                                              \
        if (!is_tile(q, tile))                                                                     \
            few_rows(q, tile, row, mr, acc);                                                       \
        else                                                                                       \
            few_tile(NX_GGML_##name, q, tile, row, mr, acc);                                       \
    }
TYPE(Q4_0)
TYPE(Q4_1)
TYPE(Q5_0)
TYPE(Q5_1)
TYPE(Q8_0)

static void set_repacked(nx_qmm *q, int type)
{
    switch (type & ~NX_REPACKED) {
#define CASE(name) case NX_GGML_##name: q->load = load_##name, q->few = few_##name; break;
    CASE(Q4_0) CASE(Q4_1) CASE(Q5_0) CASE(Q5_1) CASE(Q8_0)
    default: break;
    }
}

/* ---- products ----------------------------------------------------------------------------------- */

#define STORE(t, T, PUT)                                                                           \
    static void store_##t(const nx_qmm *q, int64_t batch, int64_t m0, int64_t m, int64_t n0,       \
                          int nb, const float *acc)                                                \
    {                                                                                              \
        T *out = (T *)q->user + (batch * q->m + m0) * q->n + n0;                                   \
        for (int64_t i = 0; i < m; i++)                                                            \
            for (int j = 0; j < nb; j++)                                                           \
                out[i * q->n + j] = PUT(acc[i * NX_TILE + j]);                                     \
    }
#define PUT_F16(x)  ((nx_f16){nx_half_from_float(x)})
#define PUT_BF16(x) ((nx_bf16){nx_bf16_from_float(x)})
STORE(f32, float, )
STORE(f16, nx_f16, PUT_F16)
STORE(bf16, nx_bf16, PUT_BF16)

static int64_t rows_of(const nx_view *x)
{
    return nx_shape_size(x->shape, x->ndim - 1);
}

static void quantized(const nx_call *c, const nx_gguf_params *p, const nx_gguf_info *info)
{
    const nx_view *x = &c->in[0], *w = &c->in[1], *out = &c->out[0];
    nx_qmm q = {.batches = 1, .m = rows_of(x), .n = w->shape[0], .k = p->columns,
                .group = info->group, .has_min = info->has_min, .w = w->data, .user = out->data,
                .w_row_bytes = w->shape[1], .type = p->type, .load = load_rows};
    q.x = NX_FN(nx_qx_at)(c->workspace, q.m, q.k, q.group);
    NX_FN(nx_qx_fill)(&q.x, x->data, x->dtype, q.m, q.group);
    if (p->type & NX_REPACKED)
        set_repacked(&q, p->type);
    q.store = out->dtype == NX_FLOAT32 ? store_f32 : out->dtype == NX_FLOAT16 ? store_f16 : store_bf16;
    NX_FN(nx_qmm_run)(&q);
}

static void plain(const nx_call *c, const nx_gguf_params *p)
{
    const nx_view *x = &c->in[0];
    int n = c->in[1].shape[0], k = p->columns;
    int shape_w[2] = {k, n};
    int64_t strides_w[2] = {1, k};
    nx_view in[2] = {*x, {c->in[1].data, p->type == NX_GGML_F32   ? NX_FLOAT32
                                         : p->type == NX_GGML_F16 ? NX_FLOAT16
                                                                  : NX_BFLOAT16,
                          2, shape_w, strides_w}};
    NX_FN(nx_product)(&in[0], &in[1], &c->out[0], c->workspace);
}

size_t NX_FN(gguf_matmul_workspace)(const nx_call *c)
{
    const nx_gguf_params *p = c->params;
    nx_gguf_info info = nx_gguf_info_of(p->type);
    if (!info.block_values)
        return (size_t)nx_view_size(&c->in[0]) * sizeof(float);
    return NX_FN(nx_qx_bytes)(rows_of(&c->in[0]), p->columns, info.group);
}

void NX_FN(gguf_matmul)(const nx_call *c)
{
    const nx_gguf_params *p = c->params;
    nx_gguf_info info = nx_gguf_info_of(p->type);
    if (info.block_values)
        quantized(c, p, &info);
    else
        plain(c, p);
}

/* ---- rows as numbers ------------------------------------------------------------------------------ */

typedef struct {
    const nx_gguf_params *p;
    nx_gguf_info info;
    const uint8_t *w;
    int64_t n, row_bytes;
    const void *index; /* int32 or int64; NULL: each row in turn */
    bool wide;
    char *out;
} take_job;

static void plain_row(int type, const uint8_t *from, float *to, int64_t n)
{
    if (type == NX_GGML_F32)
        memcpy(to, from, (size_t)n * 4);
    else if (type == NX_GGML_F16)
        nx_floats_of_f16((const uint16_t *)(const void *)from, to, n);
    else
        nx_floats_of_bf16((const uint16_t *)(const void *)from, to, n);
}

/* Values k.. of a row, one group of them (or up to 128 of a plain type). */
static int take_group(const take_job *j, int64_t row, int64_t k, float *to)
{
    int group = j->info.group;
    const uint8_t *at = j->w + row * j->row_bytes;
    if (!group) {
        int64_t n = j->p->columns - k < NX_GROUP_MAX ? j->p->columns - k : NX_GROUP_MAX;
        plain_row(j->p->type, at + k * nx_gguf_float_bytes(j->p->type), to, n);
        return (int)n;
    }
    int16_t code[NX_GROUP_MAX];
    float scale, min;
    int64_t tile = row / NX_TILE;
    if (j->p->type & NX_REPACKED && (tile + 1) * NX_TILE <= j->n)
        nx_tile_group(j->p->type, &j->info, j->w + tile * NX_TILE * j->row_bytes, k / group,
                      (int)(row % NX_TILE), code, &scale, &min);
    else
        nx_gguf_group(j->p->type & ~NX_REPACKED, at, k / group, code, &scale, &min);
    for (int i = 0; i < group; i++)
        to[i] = scale * (float)code[i] + min;
    return group;
}

static void take_piece(void *ctx, int64_t begin, int64_t end)
{
    const take_job *j = ctx;
    float v[NX_GROUP_MAX];
    int64_t k_all = j->p->columns;
    for (int64_t i = begin; i < end; i++) {
        int64_t row = !j->index ? i
                      : j->wide ? ((const int64_t *)j->index)[i]
                                : ((const int32_t *)j->index)[i];
        bool there = row >= 0 && row < j->n;
        for (int64_t k = 0, n; k < k_all; k += n) {
            n = k_all - k < NX_GROUP_MAX ? k_all - k : NX_GROUP_MAX;
            if (there)
                n = take_group(j, row, k, v);
            else
                memset(v, 0, sizeof v);
            for (int64_t e = 0; e < n; e++) {
                int64_t at = i * k_all + k + e;
                if (j->p->dtype == NX_FLOAT32)
                    ((float *)(void *)j->out)[at] = v[e];
                else if (j->p->dtype == NX_FLOAT16)
                    ((uint16_t *)(void *)j->out)[at] = nx_half_from_float(v[e]);
                else
                    ((uint16_t *)(void *)j->out)[at] = nx_bf16_from_float(v[e]);
            }
        }
    }
}

void NX_FN(gguf_take)(const nx_call *c)
{
    const nx_gguf_params *p = c->params;
    const nx_view *w = &c->in[0];
    take_job j = {.p = p, .info = nx_gguf_info_of(p->type), .w = w->data, .n = w->shape[0],
                  .row_bytes = w->shape[1], .out = c->out[0].data};
    if (c->n_in > 1) {
        j.index = c->in[1].data;
        j.wide = c->in[1].dtype == NX_INT64;
    }
    nx_parallel(rows_of(&c->out[0]), nx_grain(p->columns * 4, NX_PIECE_BYTES), take_piece, &j);
}

/* ---- repacking -------------------------------------------------------------------------------------- */

typedef struct {
    int type;
    nx_gguf_info info;
    const uint8_t *from;
    uint8_t *to;
    int64_t n, row_bytes;
} repack_job;

static void repack_piece(void *ctx, int64_t begin, int64_t end)
{
    const repack_job *j = ctx;
    for (int64_t tile = begin; tile < end; tile++) {
        const uint8_t *from = j->from + tile * NX_TILE * j->row_bytes;
        uint8_t *to = j->to + tile * NX_TILE * j->row_bytes;
        if ((tile + 1) * NX_TILE > j->n) {
            memcpy(to, from, (size_t)((j->n - tile * NX_TILE) * j->row_bytes));
            continue;
        }
        int64_t groups = j->row_bytes / j->info.block_bytes;
        for (int64_t g = 0; g < groups; g++)
            for (int r = 0; r < NX_TILE; r++) {
                int16_t code[NX_GROUP_MAX];
                float scale, min;
                const uint8_t *row = from + r * j->row_bytes;
                nx_gguf_group(j->type, row, g, code, &scale, &min);
                for (int i = 0; i < 32; i++)
                    code[i] = (int16_t)(code[i] + j->info.zero);
                nx_tile_put(j->type, &j->info, to, g, r, row + g * j->info.block_bytes, code);
            }
    }
}

void NX_FN(gguf_repack)(const nx_call *c)
{
    const nx_gguf_params *p = c->params;
    const nx_view *w = &c->in[0];
    repack_job j = {.type = p->type, .info = nx_gguf_info_of(p->type), .from = w->data,
                    .to = c->out[0].data, .n = w->shape[0], .row_bytes = w->shape[1]};
    int64_t tiles = (j.n + NX_TILE - 1) / NX_TILE;
    nx_parallel(tiles, nx_grain(j.row_bytes * NX_TILE, 32 * 1024), repack_piece, &j);
}
