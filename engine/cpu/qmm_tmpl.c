/* qmm_tmpl.c: the core of products with quantized weights (qmm.h). */
#include "engine/cpu/qmm.h"

#include <math.h>

#include "engine/cpu/pool.h"
#include "engine/cpu/simd.h"

#if defined(NX_ISA_avx512)
#define MR 6    /* rows of x by */
#define TILES 2 /* tiles of w in registers */
#elif defined(__aarch64__)
#define MR 4
#define TILES 1
#else
#define MR 2
#define TILES 1
#endif

enum {
    LANES = NX_QMM_TILE / VF_N, /* vectors a tile */
    MB = 96,                    /* rows of x a block */
    NT = 2,                     /* tiles a panel */
    GROUPS = NX_QMM_KC / 16,    /* groups a panel, at most */
    X_MAX = 16256,              /* 127 * 128: two 7-bit digits, so kernels on bytes can follow */
};

/* ---- activations ------------------------------------------------------------------------------ */

static int64_t up64(int64_t bytes)
{
    return (bytes + 63) & ~(int64_t)63;
}

size_t NX_FN(nx_qx_bytes)(int64_t rows, int64_t k, int group)
{
    return (size_t)(up64(rows * k * 2) + 3 * up64(rows * (k / group) * 4));
}

nx_qx NX_FN(nx_qx_at)(void *memory, int64_t rows, int64_t k, int group)
{
    int64_t codes = up64(rows * k * 2), each = up64(rows * (k / group) * 4);
    char *p = memory;
    return (nx_qx){.q = (int16_t *)(void *)p, .scale = (float *)(void *)(p + codes),
                   .sum = (float *)(void *)(p + codes + each),
                   .qsum = (int32_t *)(void *)(p + codes + 2 * each), .k = k, .groups = k / group};
}

/* One group of n floats. Magnitudes are compared as integers, which puts NaN above infinity. */
static int32_t round_group(const float *restrict x, int n, int16_t *restrict q, float *scale)
{
    uint32_t top = 0;
    for (int i = 0; i < n; i++) {
        uint32_t u = nx_bits_of_float(x[i]) & 0x7FFFFFFF;
        top = u > top ? u : top;
    }
    float max = nx_float_of_bits(top);
    bool usable = top < 0x7F800000 && max > 1e-30f;
    float inverse = usable ? (float)X_MAX / max : 0;
    *scale = top >= 0x7F800000 ? NAN : usable ? max / (float)X_MAX : 0;
    int32_t sum = 0;
    for (int i = 0; i < n; i++) {
        float v = usable ? x[i] * inverse : 0;
        int32_t r = (int32_t)nx_bits_of_float(v + 0x1.8p23f) - 0x4B400000; /* to nearest even */
        q[i] = (int16_t)r;
        sum += r;
    }
    return sum;
}

typedef struct {
    const nx_qx *to;
    const char *x;
    nx_dtype dtype;
    int group;
} fill_job;

static void fill_piece(void *ctx, int64_t begin, int64_t end)
{
    const fill_job *j = ctx;
    const nx_qx *to = j->to;
    int64_t size = (int64_t)nx_dtype_size(j->dtype);
    float tmp[128];
    for (int64_t i = begin; i < end; i++)
        for (int64_t g = 0; g < to->groups; g++) {
            int64_t at = i * to->k + g * j->group, entry = i * to->groups + g;
            const void *from = j->x + at * size;
            const float *x = from;
            if (j->dtype != NX_FLOAT32)
                x = tmp;
            if (j->dtype == NX_FLOAT16)
                nx_floats_of_f16(from, tmp, j->group);
            else if (j->dtype == NX_BFLOAT16)
                nx_floats_of_bf16(from, tmp, j->group);
            to->qsum[entry] = round_group(x, j->group, to->q + at, &to->scale[entry]);
            to->sum[entry] = to->scale[entry] * (float)to->qsum[entry];
        }
}

static void fill_pairs_piece(void *ctx, int64_t begin, int64_t end)
{
    const fill_job *j = ctx;
    const nx_qx *to = j->to;
    float left[128];
    for (int64_t i = begin; i < end; i++)
        for (int64_t g = 0; g < to->groups; g++) {
            const float *x = (const float *)(const void *)j->x + i * to->k + g * j->group;
            for (int half = 0; half < 2; half++, x = left) {
                int64_t row = 2 * i + half, entry = row * to->groups + g;
                int16_t *q = to->q + row * to->k + g * j->group;
                to->qsum[entry] = round_group(x, j->group, q, &to->scale[entry]);
                to->sum[entry] = to->scale[entry] * (float)to->qsum[entry];
                for (int k = 0; !half && k < j->group; k++)
                    left[k] = to->scale[entry] == to->scale[entry] ? x[k] - to->scale[entry] * (float)q[k] : 0;
            }
        }
}

void NX_FN(nx_qx_fill_pairs)(const nx_qx *to, const float *x, int64_t rows, int group)
{
    fill_job j = {to, (const char *)x, NX_FLOAT32, group};
    nx_parallel(rows, nx_grain(to->k * 12, NX_PIECE_BYTES), fill_pairs_piece, &j);
}

void NX_FN(nx_qx_fill)(const nx_qx *to, const void *x, nx_dtype dtype, int64_t rows, int group)
{
    fill_job j = {to, x, dtype, group};
    nx_parallel(rows, nx_grain(to->k * 6, NX_PIECE_BYTES), fill_piece, &j);
}

/* ---- panels ----------------------------------------------------------------------------------- */

typedef struct {
    uint32_t codes[NT][NX_QMM_KC / 2 * NX_QMM_TILE];
    float scale[NT][GROUPS * NX_QMM_TILE], min[NT][GROUPS * NX_QMM_TILE];
} panel_set;

/* A block: where its rows of x begin, its depth, its results acc[tile][row][16]. */
typedef struct {
    const nx_qmm *q;
    panel_set panel;
    float acc[NT][MB * NX_QMM_TILE];
    int64_t row, m, k0, kc;
} block;

/* Rows i.. (mr of them) by one vector, the lane-th, of each of the tiles t0.. */
NX_INLINE void micro(block *b, int mr, int tiles, int t0, int lane, int64_t i0)
{
    const nx_qmm *q = b->q;
    const panel_set *p = &b->panel;
    const int16_t *x = q->x.q + (b->row + i0) * q->x.k + b->k0;
    const float *xs = q->x.scale + (b->row + i0) * q->x.groups + b->k0 / q->group;
    const float *xm = q->x.sum + (b->row + i0) * q->x.groups + b->k0 / q->group;
    float *acc = b->acc[t0] + i0 * NX_QMM_TILE + lane * VF_N;
    vf f[MR][TILES];
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 2
        for (int t = 0; t < tiles; t++)
            f[i][t] = vf_load(acc + t * MB * NX_QMM_TILE + i * NX_QMM_TILE);
    int pairs = q->group / 2;
    int64_t groups = b->kc / q->group;
    for (int64_t g = 0; g < groups; g++) {
        vi s[MR][TILES];
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++)
#pragma GCC unroll 2
            for (int t = 0; t < tiles; t++)
                s[i][t] = vi_zero();
        for (int k = 0; k < pairs; k++) {
            int64_t at = g * pairs + k;
            vi w[TILES];
#pragma GCC unroll 2
            for (int t = 0; t < tiles; t++)
                w[t] = vi_load(p->codes[t0 + t] + at * NX_QMM_TILE + lane * VF_N);
#pragma GCC unroll 8
            for (int i = 0; i < mr; i++) {
                int32_t pair;
                memcpy(&pair, x + i * q->x.k + 2 * at, 4);
                vi xv = vi_set32(pair);
#pragma GCC unroll 2
                for (int t = 0; t < tiles; t++)
                    s[i][t] = vi_dot16(s[i][t], w[t], xv);
            }
        }
#pragma GCC unroll 2
        for (int t = 0; t < tiles; t++) {
            vf ws = vf_load(p->scale[t0 + t] + g * NX_QMM_TILE + lane * VF_N);
            vf wm = vf_load(p->min[t0 + t] + g * NX_QMM_TILE + lane * VF_N);
#pragma GCC unroll 8
            for (int i = 0; i < mr; i++) {
                vf both = vf_mul(ws, vf_set(xs[i * q->x.groups + g]));
                f[i][t] = vf_fma(vf_from_i32(s[i][t]), both, f[i][t]);
                if (q->has_min)
                    f[i][t] = vf_fma(wm, vf_set(xm[i * q->x.groups + g]), f[i][t]);
            }
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 2
        for (int t = 0; t < tiles; t++)
            vf_store(acc + t * MB * NX_QMM_TILE + i * NX_QMM_TILE, f[i][t]);
}

#define RUN(mr) case mr: micro(b, mr, TILES, t, lane, i); break;
#define RUN_ONE(mr) case mr: micro(b, mr, 1, t, lane, i); break;

static void rows_by_panel(block *b, int tiles)
{
    for (int t = 0; t < tiles; t += TILES)
        for (int lane = 0; lane < LANES; lane++)
            for (int64_t i = 0; i < b->m; i += MR) {
                int64_t mr = b->m - i < MR ? b->m - i : MR;
#if TILES == 2
                if (tiles - t == 1) {
                    switch (mr) {
                    RUN_ONE(1) RUN_ONE(2) RUN_ONE(3) RUN_ONE(4) RUN_ONE(5) RUN_ONE(6)
                    }
                    continue;
                }
                switch (mr) {
                RUN(1) RUN(2) RUN(3) RUN(4) RUN(5) RUN(6)
                }
#elif MR == 4
                switch (mr) {
                RUN(1) RUN(2) RUN(3) RUN(4)
                }
#else
                switch (mr) {
                RUN(1) RUN(2)
                }
#endif
            }
}

/* ---- the whole product -------------------------------------------------------------------------- */

static int64_t first_row(const nx_qmm *q, int64_t batch)
{
    return q->x_row ? q->x_row(q, batch) : batch * q->m;
}

static void store_tile(const nx_qmm *q, int64_t batch, int64_t m0, int64_t m, int64_t tile,
                       const float *acc)
{
    int64_t n0 = tile * NX_QMM_TILE;
    int nb = (int)(q->n - n0 < NX_QMM_TILE ? q->n - n0 : NX_QMM_TILE);
    q->store(q, batch, m0, m, n0, nb, acc);
}

static void panel_block(const nx_qmm *q, int64_t batch, int64_t m0, int64_t tile, int tiles)
{
    block b = {.q = q};
    b.row = first_row(q, batch) + m0;
    b.m = q->m - m0 < MB ? q->m - m0 : MB;
    for (b.k0 = 0; b.k0 < q->k; b.k0 += NX_QMM_KC) {
        b.kc = q->k - b.k0 < NX_QMM_KC ? q->k - b.k0 : NX_QMM_KC;
        for (int t = 0; t < tiles; t++)
            q->load(q, batch, tile + t, b.k0, b.kc, b.panel.codes[t], b.panel.scale[t],
                    b.panel.min[t]);
        rows_by_panel(&b, tiles);
    }
    for (int t = 0; t < tiles; t++)
        store_tile(q, batch, m0, b.m, tile + t, b.acc[t]);
}

typedef struct {
    const nx_qmm *q;
    int64_t tiles, panels, m_blocks;
} run_job;

static void panel_piece(void *ctx, int64_t begin, int64_t end)
{
    const run_job *j = ctx;
    for (int64_t i = begin; i < end; i++) {
        int64_t tile = i % j->panels * NT, rest = i / j->panels;
        int tiles = j->tiles - tile < NT ? (int)(j->tiles - tile) : NT;
        panel_block(j->q, rest / j->m_blocks, rest % j->m_blocks * MB, tile, tiles);
    }
}

static void few_piece(void *ctx, int64_t begin, int64_t end)
{
    const run_job *j = ctx;
    const nx_qmm *q = j->q;
    float acc[NX_QMM_FEW * NX_QMM_TILE];
    for (int64_t i = begin; i < end; i++) {
        int64_t tile = i % j->tiles, batch = i / j->tiles;
        q->few(q, batch, tile, first_row(q, batch), (int)q->m, acc);
        store_tile(q, batch, 0, q->m, tile, acc);
    }
}

void NX_FN(nx_qmm_run)(const nx_qmm *q)
{
    run_job j = {.q = q, .tiles = (q->n + NX_QMM_TILE - 1) / NX_QMM_TILE};
    if (q->few && q->m <= NX_QMM_FEW) {
        /* Small matrices in small pieces, so that two threads end together; large ones in larger. */
        int64_t tile = q->w_row_bytes * NX_QMM_TILE, piece = q->batches * j.tiles * tile / 32;
        piece = piece < 12 * 1024 ? 12 * 1024 : piece > 64 * 1024 ? 64 * 1024 : piece;
        nx_parallel(q->batches * j.tiles, nx_grain(tile, piece), few_piece, &j);
        return;
    }
    j.panels = (j.tiles + NT - 1) / NT;
    j.m_blocks = (q->m + MB - 1) / MB;
    int64_t m = q->m < MB ? q->m : MB;
    int64_t work = (m + 8) * q->k * NT * NX_QMM_TILE;
    nx_parallel(q->batches * j.m_blocks * j.panels, nx_grain(work, 512 * 1024), panel_piece, &j);
}
