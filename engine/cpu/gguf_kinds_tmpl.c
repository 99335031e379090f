/*
 * gguf_kinds_tmpl.c: the loops over repacked tiles (gguf_blocks.h), one for each kind of them: panels for
 * many rows, and products straight from the packed bytes for few.
 */
#include "engine/cpu/gguf_rows.h"
#include "engine/cpu/gguf_tiles.h"
#include "engine/cpu/qmm.h"
#include "engine/cpu/simd.h"

#if defined(NX_ISA_avx512) || defined(__aarch64__)
#define FEW_MR 8 /* rows of x by a tile at a time */
#else
#define FEW_MR 4
#endif
#if defined(NX_ISA_avx2)
#define FEW_LANES 2 /* vectors of a tile at a time: each pair of x is there for both */
#else
#define FEW_LANES 1
#endif

/* Bytes of weights that are asked for ahead of their use, since some processors fetch ahead by themselves only within a
 * page, and wait at the beginning of each: where several rows leave time for it, or the matrix is more than a cache keeps. */
enum { FETCH_AHEAD = 8192, FETCH_FROM = 2 << 20 };

/* ---- loaders of panels -------------------------------------------------------------------------- */

NX_INLINE void load_tile(int kind, const nx_qmm *q, int64_t tile, int64_t k0, int64_t kc,
                         uint32_t *panel, float *scale, float *min)
{
    const tile_order t = tile_order_of(kind, q->type);
    const int zero = kind_info(kind).zero;
    const vi zeros = vi_set32(zero | zero << 16);
    for (int64_t k = k0; k < k0 + kc; k += 32, panel += 16 * NX_TILE) {
        const uint8_t *b, *unit = unit_at(kind, &t, tile_at(q, tile), k, &b);
        for (int lane = 0; lane < NX_TILE / VF_N; lane++) {
            uint32_t *to = panel + lane * VF_N;
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) {
                vi w[4];
                unit_quarter(kind, unit, lane, j, w);
                for (int i = 0; i < 4; i++)
                    vi_store(to + (4 * j + i) * NX_TILE, zero ? vi_sub16(w[i], zeros) : w[i]);
            }
            load_scales(kind, &t, b, lane, k, k0, scale, min);
        }
    }
}

/* FEW_LANES vectors of rows of a tile, from the lane-th on, by mr rows of x, straight from the packed bytes;
 * the same chain as through a panel. */
NX_INLINE void few_lanes(int kind, const nx_qmm *q, const uint8_t *w0, int lane, int64_t row, int mr,
                         float *acc)
{
    const tile_order t = tile_order_of(kind, q->type);
    const int zero = kind_info(kind).zero, bits = kind_info(kind).bits;
    const bool has_min = kind_info(kind).has_min, affine = kind & NX_AFFINE, short_group = !affine && t.group == 16;
    int64_t groups = q->x.groups, k = q->x.k;
    const int16_t *x0 = q->x.q + row * k;
    const float *xs = q->x.scale + row * groups, *xm = q->x.sum + row * groups;
    const int32_t *sum = q->x.qsum + row * groups;
    const int chains = mr < 3 ? 2 : 1; /* of exact sums, so that one does not wait for the other */
    vf f[FEW_MR][FEW_LANES];
    vi s[FEW_MR][FEW_LANES][2];
#define EACH                                                                                                   \
    _Pragma("GCC unroll 8") for (int i = 0; i < mr; i++)                                                       \
        _Pragma("GCC unroll 2") for (int l = 0; l < FEW_LANES; l++)
    EACH {
        f[i][l] = vf_set(0);
        s[i][l][0] = s[i][l][1] = vi_zero();
    }
    const uint8_t *end = tile_at(q, q->n / NX_TILE);
    const bool fetch = mr > 1 || q->n * q->w_row_bytes >= FETCH_FROM;
    int64_t g = 0;
    for (int64_t at = 0; at < k; at += 32) {
        const uint8_t *b, *unit = unit_at(kind, &t, w0, at, &b);
        if (fetch && end - unit > FETCH_AHEAD + bits * 64) {
#pragma GCC unroll 9
            for (int i = 0; i <= bits; i++)
                __builtin_prefetch(unit + FETCH_AHEAD + (i - 1) * 64);
        }
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            vi w[FEW_LANES][4];
            if (!affine && (j == 0 || (short_group && j == 2)))
                EACH {
                    s[i][l][0] = zero ? vi_set32(-zero * sum[i * groups + g]) : vi_zero();
                    s[i][l][1] = vi_zero();
                }
#pragma GCC unroll 2
            for (int l = 0; l < FEW_LANES; l++)
                unit_quarter(kind, unit, lane + l, j, w[l]);
#pragma GCC unroll 8
            for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
                for (int p = 0; p < 4; p++) {
                    int32_t pair;
                    memcpy(&pair, x0 + i * k + at + 8 * j + 2 * p, 4);
                    vi both = vi_set32(pair);
#pragma GCC unroll 2
                    for (int l = 0; l < FEW_LANES; l++)
                        s[i][l][p % chains] = vi_dot16(s[i][l][p % chains], w[l][p], both);
                }
            if (!((j == 3 && (!affine || (at + 32) % t.group == 0)) || (short_group && j == 1)))
                continue; /* in the middle of a group */
            vf ws[FEW_LANES], wm[FEW_LANES];
#pragma GCC unroll 2
            for (int l = 0; l < FEW_LANES; l++)
                group_scales(kind, &t, b, (int)((at + 8 * j) % t.block / t.group), lane + l, &ws[l], &wm[l]);
            EACH {
                vi total = chains == 2 ? vi_add32(s[i][l][0], s[i][l][1]) : s[i][l][0];
                f[i][l] = vf_fma(vf_from_i32(total), vf_mul(ws[l], vf_set(xs[i * groups + g])), f[i][l]);
                if (has_min)
                    f[i][l] = vf_fma(wm[l], vf_set(xm[i * groups + g]), f[i][l]);
                if (affine)
                    s[i][l][0] = s[i][l][1] = vi_zero();
            }
            g++;
        }
    }
    EACH vf_store(acc + i * NX_TILE + (lane + l) * VF_N, f[i][l]);
#undef EACH
}

NX_INLINE void few_rows_of_tile(int kind, const nx_qmm *q, int64_t tile, int64_t row, int mr, float *acc)
{
    for (int lane = 0; lane < NX_TILE / VF_N; lane += FEW_LANES)
        few_lanes(kind, q, tile_at(q, tile), lane, row, mr, acc);
}

/* mr rows of x by an unpacked piece of a tile, kc values from k0; added to acc. */
NX_INLINE void few_of_panel(int mr, const nx_qmm *q, const uint32_t *panel, const float *scale, const float *min,
                            int64_t row, int64_t k0, int64_t kc, float *acc)
{
    const int pairs = q->group / 2, chains = mr < FEW_MR ? 2 : 1;
    const int64_t entry = row * q->x.groups + k0 / q->group, groups = kc / q->group, x_row = q->x.k;
    for (int lane = 0; lane < NX_TILE; lane += VF_N) {
        const int16_t *x = q->x.q + row * x_row + k0;
        const uint32_t *from = panel + lane;
        vf f[FEW_MR];
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++)
            f[i] = vf_load(acc + i * NX_TILE + lane);
        for (int64_t g = 0; g < groups; g++) {
            vi s[FEW_MR][2];
#pragma GCC unroll 8
            for (int i = 0; i < mr; i++)
                s[i][0] = s[i][1] = vi_zero();
            for (int k = 0; k < pairs; k += 8, from += 8 * NX_TILE, x += 16)
#pragma GCC unroll 8
                for (int e = 0; e < 8; e++) {
                    vi w = vi_load(from + e * NX_TILE);
#pragma GCC unroll 8
                    for (int i = 0; i < mr; i++) {
                        int32_t pair;
                        memcpy(&pair, x + i * x_row + 2 * e, 4);
                        s[i][e % chains] = vi_dot16(s[i][e % chains], w, vi_set32(pair));
                    }
                }
            vf ws = vf_load(scale + g * NX_TILE + lane), wm = vf_load(min + g * NX_TILE + lane);
#pragma GCC unroll 8
            for (int i = 0; i < mr; i++) {
                vi total = chains == 2 ? vi_add32(s[i][0], s[i][1]) : s[i][0];
                f[i] = vf_fma(vf_from_i32(total), vf_mul(ws, vf_set(q->x.scale[entry + i * q->x.groups + g])), f[i]);
                if (q->has_min)
                    f[i] = vf_fma(wm, vf_set(q->x.sum[entry + i * q->x.groups + g]), f[i]);
            }
        }
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++)
            vf_store(acc + i * NX_TILE + lane, f[i]);
    }
}

/* rows or, where there are more, FEW_MR of them. */
static void few_switch(int rows, const nx_qmm *q, const uint32_t *panel, const float *scale, const float *min,
                       int64_t row, int64_t k0, int64_t kc, float *acc)
{
    switch (rows) {
#define ROWS(mr) case mr: few_of_panel(mr, q, panel, scale, min, row, k0, kc, acc); break;
    ROWS(1) ROWS(2) ROWS(3)
#if FEW_MR == 8
    ROWS(4) ROWS(5) ROWS(6) ROWS(7)
#endif
    default: few_of_panel(FEW_MR, q, panel, scale, min, row, k0, kc, acc);
    }
}

/* Any number of rows by a tile through a panel, unpacked once for all of them. */
static void few_rows(const nx_qmm *q, int64_t batch, int64_t tile, int64_t row, int mr, float *acc)
{
    uint32_t panel[NX_QMM_KC / 2 * NX_TILE];
    float scale[NX_QMM_KC / 16 * NX_TILE], min[NX_QMM_KC / 16 * NX_TILE];
    memset(acc, 0, (size_t)mr * NX_TILE * sizeof *acc);
    for (int64_t k0 = 0; k0 < q->k; k0 += NX_QMM_KC) {
        int64_t kc = q->k - k0 < NX_QMM_KC ? q->k - k0 : NX_QMM_KC;
        q->load(q, batch, tile, k0, kc, panel, scale, min);
        for (int i = 0; i < mr; i += FEW_MR)
            few_switch(mr - i, q, panel, scale, min, row + i, k0, kc, acc + i * NX_TILE);
    }
}

/* Straight from packed bytes go one row and powers of two; other numbers go through a panel, since gcc takes
 * a second or more for each kind and number of rows. With sanitizers, which take ten times that, one row alone. */
#ifdef NX_FEW_KERNELS
#define DIRECT(kind)
#define AT_ONCE 99
#else
#define ROWS_DIRECT(kind, n) case n: few_rows_of_tile(kind, q, tile, row, n, acc); break;
#if FEW_MR == 8
#define DIRECT(kind) ROWS_DIRECT(kind, 2) ROWS_DIRECT(kind, 4)
#else
#define DIRECT(kind) ROWS_DIRECT(kind, 2)
#endif
#define AT_ONCE FEW_MR
#endif
#define KIND(name, kind)                                                                           \
    static void load_##name(const nx_qmm *q, int64_t batch, int64_t tile, int64_t k0, int64_t kc,  \
                            uint32_t *panel, float *scale, float *min)                             \
    {                                                                                              \
        if (is_tile(q, tile))                                                                      \
            load_tile(kind, q, tile, k0, kc, panel, scale, min);                                   \
        else                                                                                       \
            NX_FN(nx_load_rows)(q, batch, tile, k0, kc, panel, scale, min);                        \
    }                                                                                              \
    static void few_##name(const nx_qmm *q, int64_t batch, int64_t tile, int64_t row, int mr,      \
                           float *acc)                                                             \
    {                                                                                              \
        for (; mr >= AT_ONCE && is_tile(q, tile); mr -= FEW_MR, row += FEW_MR, acc += FEW_MR * NX_TILE) \
            few_rows_of_tile(kind, q, tile, row, AT_ONCE == FEW_MR ? FEW_MR : 1, acc);             \
        switch (is_tile(q, tile) ? mr : -1) {                                                      \
        case 0: break;                                                                             \
        case 1: few_rows_of_tile(kind, q, tile, row, 1, acc); break;                               \
        DIRECT(kind)                                                                               \
        default: few_rows(q, batch, tile, row, mr, acc);                                           \
        }                                                                                          \
    }
NX_TILE_KINDS(KIND)

void NX_FN(nx_gguf_kernels)(nx_qmm *q)
{
    int type = q->type, kind = type & NX_AFFINE ? type & (NX_AFFINE | 15) : type & ~NX_REPACKED;
    q->load = NX_FN(nx_load_rows);
    q->few = few_rows;
    q->unsigned_codes = kind == (NX_AFFINE | 8);
    if (!(type & NX_REPACKED))
        return;
    q->tile_bytes = NX_TILE * q->w_row_bytes;
    switch (kind) {
#define CASE(name, number) case number: q->load = load_##name, q->few = few_##name; break;
    NX_TILE_KINDS(CASE)
    default: break;
    }
}
