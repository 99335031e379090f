/* qmm_tmpl.c: the core of products with quantized weights (qmm.h). */
#include "engine/cpu/qmm.h"

#include <math.h>

#include "engine/cpu/amx.h"
#include "engine/cpu/pool.h"
#include "engine/cpu/simd.h"

/* In registers: rows of x by tiles of w, of each of which some vectors; and whether the results stay there too,
 * beside the sums of a group. */
#if defined(NX_ISA_avx512)
#define MR 6
#define TILES 2
#define VECTORS 1
#define RESULTS 1
#elif defined(__aarch64__)
#define MR 4
#define TILES 1
#define VECTORS 2
#define RESULTS 1
#else
#define MR 4
#define TILES 1
#define VECTORS 2
#define RESULTS 0
#endif
#define ACROSS (TILES * VECTORS)

enum {
    LANES = NX_QMM_TILE / VF_N, /* vectors a tile */
#if NX_HAS_AMX
    MB = 256,                   /* rows of x a block, at most */
    MB_LESS = 128,              /* where there would be few blocks */
    TILES_FROM = 32,            /* rows from which tiles of bytes are faster, */
    TILES_GROUP = 32,           /* and values a group */
#else
    MB = 192,
    MB_LESS = 96,
#endif
    NT = 2,                     /* tiles a panel */
    GROUPS = NX_QMM_KC / 16,    /* groups a panel, at most */
    OWN_X = 32 * 1024,          /* values of x that every thread rounds for itself, at most */
    X_MAX = 16256,              /* 127 * 128: two 7-bit digits, so kernels on bytes can follow */
};

/* ---- activations ------------------------------------------------------------------------------ */

#if NX_HAS_AMX
/* Lines of digits lie an odd number of cache lines apart, so that 16 of them never share a set. */
static int64_t digits_row(int64_t k)
{
    return (k + 63) / 64 * 64 | 64;
}
static int64_t digits_bytes(int64_t rows, int64_t k, int group)
{
    return rows >= TILES_FROM && group >= TILES_GROUP ? (rows + 15) * digits_row(k) : 0;
}
#else
static int64_t digits_bytes(int64_t rows, int64_t k, int group)
{
    (void)rows, (void)k, (void)group;
    return 0;
}
#endif

size_t NX_FN(nx_qx_bytes)(int64_t rows, int64_t k, int group)
{
    return (size_t)(nx_whole_lines(rows * k * 2) + 3 * nx_whole_lines(rows * (k / group) * 4) +
                    2 * digits_bytes(rows, k, group));
}

nx_qx NX_FN(nx_qx_at)(void *memory, int64_t rows, int64_t k, int group)
{
    int64_t codes = nx_whole_lines(rows * k * 2), each = nx_whole_lines(rows * (k / group) * 4);
    char *p = memory;
    nx_qx x = {.q = (int16_t *)(void *)p, .scale = (float *)(void *)(p + codes),
               .sum = (float *)(void *)(p + codes + each),
               .qsum = (int32_t *)(void *)(p + codes + 2 * each), .k = k, .groups = k / group};
#if NX_HAS_AMX
    if (digits_bytes(rows, k, group)) {
        x.high = (int8_t *)p + codes + 3 * each;
        x.low = x.high + digits_bytes(rows, k, group);
        x.digits_row = digits_row(k);
    }
#endif
    return x;
}

#if NX_HAS_AMX
static void put_digits(const nx_qx *to, int64_t row, int64_t k, int n)
{
    const int16_t *restrict q = to->q + row * to->k + k;
    int8_t *restrict high = to->high + row * to->digits_row + k, *restrict low = to->low + row * to->digits_row + k;
    for (int i = 0; i < n; i++) {
        int16_t h = (int16_t)((int16_t)(q[i] + 64) >> 7);
        high[i] = (int8_t)h;
        low[i] = (int8_t)(int16_t)(q[i] - (int16_t)(h << 7));
    }
}
#endif

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

/* Group g of a row. */
static void put_group(const nx_qx *to, int64_t row, int64_t g, int group, const float *x)
{
    int64_t entry = row * to->groups + g;
    to->qsum[entry] = round_group(x, group, to->q + row * to->k + g * group, &to->scale[entry]);
    to->sum[entry] = to->scale[entry] * (float)to->qsum[entry];
#if NX_HAS_AMX
    if (to->high)
        put_digits(to, row, g * group, group);
#endif
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
    float tmp[NX_QMM_GROUP];
    for (int64_t i = begin; i < end; i++)
        for (int64_t g = 0; g < to->groups; g++) {
            int64_t at = i * to->k + g * j->group;
            const void *from = j->x + at * size;
            const float *x = from;
            if (j->dtype != NX_FLOAT32)
                x = tmp;
            if (j->dtype == NX_FLOAT16)
                nx_floats_of_f16(from, tmp, j->group);
            else if (j->dtype == NX_BFLOAT16)
                nx_floats_of_bf16(from, tmp, j->group);
            put_group(to, i, g, j->group, x);
        }
}

static void fill_pairs_piece(void *ctx, int64_t begin, int64_t end)
{
    const fill_job *j = ctx;
    const nx_qx *to = j->to;
    float left[NX_QMM_GROUP];
    for (int64_t i = begin; i < end; i++)
        for (int64_t g = 0; g < to->groups; g++) {
            const float *x = (const float *)(const void *)j->x + i * to->k + g * j->group;
            for (int half = 0; half < 2; half++, x = left) {
                int64_t row = 2 * i + half, entry = row * to->groups + g;
                const int16_t *q = to->q + row * to->k + g * j->group;
                put_group(to, row, g, j->group, x);
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
#if NX_HAS_AMX
    uint32_t bytes[NT][NX_QMM_KC / 4 * NX_QMM_TILE];
#endif
} panel_set;

/* A block: where its rows of x begin, its depth, its results acc[tile][row][16]. */
typedef struct {
    const nx_qmm *q;
    panel_set panel;
    float acc[NT][MB * NX_QMM_TILE];
    int64_t row, m, k0, kc, group0, groups; /* kc values from k0 on, in groups from group0 on */
    const char *next[NT]; /* packed weights of the panels that come after these, */
    int64_t next_bytes;   /* as many of each */
    char *out;            /* of the last panels: the results of row 0; else NULL */
} block;

/* What is needed next, while n rows from i on are multiplied: their share of the packed weights, and the memory of their
 * results. What unpacks the one and stores the other would wait for it, line by line. */
static inline void fetch_next(const block *b, int64_t i, int64_t n)
{
    const nx_qmm *q = b->q;
    for (int64_t r = i; b->out && r < i + n && r < b->m; r++)
        for (int64_t at = 0; at < NT * NX_QMM_TILE * q->out_bytes; at += 64)
            __builtin_prefetch(b->out + r * q->n * q->out_bytes + at, 1, 2);
    int64_t end = b->next_bytes * (i + n < b->m ? i + n : b->m) / b->m;
    for (int64_t at = (b->next_bytes * i / b->m + 63) & ~(int64_t)63; at < end; at += 64)
        for (int t = 0; t < NT; t++)
            __builtin_prefetch(b->next[t] + at, 0, 2);
}

/* The weights are the next depth of the same tiles or, at its end, the first of the tiles behind them. */
static void plan_next(block *b, int64_t batch, int64_t m0, int64_t tile)
{
    const nx_qmm *q = b->q;
    int64_t k = b->k0 + b->kc, from = tile;
    bool last = k >= q->k && (tile + NT) * NX_QMM_TILE <= q->n;
    b->out = last && q->out ? q->out + ((batch * q->m + m0) * q->n + tile * NX_QMM_TILE) * q->out_bytes : NULL;
    if (k >= q->k) {
        k = 0;
        from += NT;
    }
    int64_t kc = q->k - k < NX_QMM_KC ? q->k - k : NX_QMM_KC;
    b->next_bytes = (from + NT) * NX_QMM_TILE <= q->n ? q->tile_bytes * kc / q->k : 0;
    for (int t = 0; b->next_bytes && t < NT; t++)
        b->next[t] = (const char *)q->w + (from + t) * q->tile_bytes + q->tile_bytes * k / q->k;
}

/* A group's sums times its scales, added to the results f. */
NX_INLINE vf scaled(bool has_min, vf f, vi sum, vf ws, vf wm, float xs, float xm)
{
    f = vf_fma(vf_from_i32(sum), vf_mul(ws, vf_set(xs)), f);
    return has_min ? vf_fma(wm, vf_set(xm), f) : f;
}

/* A pointer of which gcc knows nothing: of others it computes every sum with a constant ahead of the loop, and keeps
 * them in memory. */
#define OPAQUE(p) __asm__("" : "+r"(p))

/* Vector v of the tiles from the t0-th on. */
#define PANEL_AT(v) ((v) / VECTORS * NX_QMM_KC / 2 * NX_QMM_TILE + (v) % VECTORS * VF_N)
#define SCALE_AT(v) ((v) / VECTORS * GROUPS * NX_QMM_TILE + (v) % VECTORS * VF_N)
#define ACC_AT(i, v) ((v) / VECTORS * MB * NX_QMM_TILE + (i) * NX_QMM_TILE + (v) % VECTORS * VF_N)

/* The sums of eight pairs more: x [mr], rows `line` bytes apart, by w [8][16]. */
NX_INLINE void sum_pairs(vi s[MR][ACROSS], int mr, int across, const char *x, int64_t line, const uint32_t *w)
{
    const char *rows[MR];
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
        rows[i] = x + i * line;
        OPAQUE(rows[i]);
    }
    OPAQUE(w);
#pragma GCC unroll 8
    for (int k = 0; k < 8; k++) {
        vi wv[ACROSS];
#pragma GCC unroll 4
        for (int v = 0; v < across; v++)
            wv[v] = vi_load(w + k * NX_QMM_TILE + PANEL_AT(v));
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++) {
            int32_t pair;
            memcpy(&pair, rows[i] + 4 * k, 4);
            vi xv = vi_set32(pair);
#pragma GCC unroll 4
            for (int v = 0; v < across; v++)
                s[i][v] = vi_dot16(s[i][v], wv[v], xv);
        }
    }
}

/* Rows i0.. (mr of them) by VECTORS vectors from the lane-th on of each of the tiles t0.. */
NX_INLINE void micro(block *b, int mr, int tiles, bool has_min, int t0, int lane, int64_t i0)
{
    const nx_qmm *q = b->q;
    const int64_t line = 2 * q->x.k, x_groups = q->x.groups, row = b->row + i0, groups = b->groups;
    const int pairs = q->group / 2, across = tiles * VECTORS;
    const char *x = (const char *)(q->x.q + b->k0) + row * line;
    const float *xs = q->x.scale + row * x_groups + b->group0, *xm = q->x.sum + row * x_groups + b->group0;
    const uint32_t *w = b->panel.codes[t0] + lane * VF_N;
    const float *scale = b->panel.scale[t0] + lane * VF_N, *min = b->panel.min[t0] + lane * VF_N;
    float *acc = b->acc[t0] + i0 * NX_QMM_TILE + lane * VF_N;
    vf f[MR][ACROSS];
#pragma GCC unroll 8
    for (int i = 0; RESULTS && i < mr; i++)
#pragma GCC unroll 4
        for (int v = 0; v < across; v++)
            f[i][v] = vf_load(acc + ACC_AT(i, v));
    for (int64_t g = 0; g < groups; g++, xs++, xm++, scale += NX_QMM_TILE, min += NX_QMM_TILE) {
        vi s[MR][ACROSS];
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
            for (int v = 0; v < across; v++)
                s[i][v] = vi_zero();
        for (int k = 0; k < pairs; k += 8, x += 4 * 8, w += 8 * NX_QMM_TILE)
            sum_pairs(s, mr, across, x, line, w);
        vf ws[ACROSS], wm[ACROSS];
#pragma GCC unroll 4
        for (int v = 0; v < across; v++)
            ws[v] = vf_load(scale + SCALE_AT(v)), wm[v] = has_min ? vf_load(min + SCALE_AT(v)) : ws[v];
        float *to = acc;
        OPAQUE(to);
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++) {
            float x_scale = xs[i * x_groups], x_sum = has_min ? xm[i * x_groups] : 0;
#pragma GCC unroll 4
            for (int v = 0; v < across; v++) {
                if (RESULTS)
                    f[i][v] = scaled(has_min, f[i][v], s[i][v], ws[v], wm[v], x_scale, x_sum);
                else
                    vf_store(to + ACC_AT(i, v), scaled(has_min, vf_load(to + ACC_AT(i, v)), s[i][v], ws[v], wm[v],
                                                       x_scale, x_sum));
            }
        }
    }
#pragma GCC unroll 8
    for (int i = 0; RESULTS && i < mr; i++)
#pragma GCC unroll 4
        for (int v = 0; v < across; v++)
            vf_store(acc + ACC_AT(i, v), f[i][v]);
}

/* A function for each size: within one for all, registers do not suffice for the inner loop. */
typedef void (*micro_fn)(block *b, int t0, int lane, int64_t i0);
#define MICRO(mr, tiles)                                                                                       \
    static __attribute__((noinline)) void micro_##mr##_##tiles(block *b, int t0, int lane, int64_t i0)         \
    {                                                                                                          \
        if (b->q->has_min)                                                                                     \
            micro(b, mr, tiles, true, t0, lane, i0);                                                           \
        else                                                                                                   \
            micro(b, mr, tiles, false, t0, lane, i0);                                                          \
    }
MICRO(1, 1) MICRO(2, 1) MICRO(3, 1) MICRO(4, 1)
#if MR == 6 && TILES == 2
MICRO(5, 1) MICRO(6, 1) MICRO(1, 2) MICRO(2, 2) MICRO(3, 2) MICRO(4, 2) MICRO(5, 2) MICRO(6, 2)
static const micro_fn micros[TILES][MR] = {
    {micro_1_1, micro_2_1, micro_3_1, micro_4_1, micro_5_1, micro_6_1},
    {micro_1_2, micro_2_2, micro_3_2, micro_4_2, micro_5_2, micro_6_2},
};
#else
static const micro_fn micros[TILES][MR] = {{micro_1_1, micro_2_1, micro_3_1, micro_4_1}};
#endif
#undef MICRO

static void rows_by_panel(block *b, int tiles)
{
    for (int t = 0; t < tiles; t += TILES)
        for (int lane = 0; lane < LANES; lane += VECTORS)
            for (int64_t i = 0; i < b->m; i += MR) {
                int64_t mr = b->m - i < MR ? b->m - i : MR;
                int across = tiles - t < TILES ? tiles - t : TILES;
                if (t == 0 && lane == 0)
                    fetch_next(b, i, mr);
                micros[across - 1][mr - 1](b, t, lane, i);
            }
}

#if NX_HAS_AMX
/* ---- panels by tiles of bytes: the same sums, the same chain ---------------------------------- */

typedef struct {
    int32_t high[16 * NX_QMM_TILE], low[16 * NX_QMM_TILE];
} tile_sums;

/* Pairs of 16-bit codes as fours of bytes: bytes[k / 4][16]. */
static void bytes_of_pairs(const uint32_t *pairs, int64_t kc, uint32_t *bytes)
{
    for (int64_t k = 0; k < kc; k += 4, pairs += 2 * NX_QMM_TILE, bytes += NX_QMM_TILE)
        for (int r = 0; r < NX_QMM_TILE; r++) {
            uint32_t a = pairs[r], b = pairs[NX_QMM_TILE + r];
            bytes[r] = (a & 255) | (a >> 8 & 0xFF00) | (b & 255) << 16 | (b << 8 & 0xFF000000);
        }
}

/* Group g (of the panel) of 16 rows by tile t, into the registers 0 and 1 or, if odd, 2 and 3. */
NX_INLINE void sum_group(const block *b, bool is_signed, bool odd, int t, int64_t row, int64_t g)
{
    const nx_qmm *q = b->q;
    const int step = q->group < 64 ? q->group : 64;
    int64_t k = g * q->group, digits = q->x.digits_row;
    const uint32_t *w = b->panel.bytes[t] + k / 4 * NX_QMM_TILE;
    const int8_t *high = q->x.high + row * digits + b->k0 + k, *low = q->x.low + row * digits + b->k0 + k;
#define SUM(dot, high_sum, low_sum)                                                                \
    do {                                                                                           \
        amx_zero(high_sum);                                                                        \
        amx_zero(low_sum);                                                                         \
        for (int at = 0; at < q->group; at += step, w += step / 4 * NX_QMM_TILE) {                 \
            amx_load(6, w, 64);                                                                    \
            amx_load(4, high + at, digits);                                                        \
            amx_load(5, low + at, digits);                                                         \
            dot(high_sum, 4, 6);                                                                   \
            dot(low_sum, 5, 6);                                                                    \
        }                                                                                          \
    } while (0)
    if (is_signed && odd)
        SUM(amx_dot_i8, 2, 3);
    else if (is_signed)
        SUM(amx_dot_i8, 0, 1);
    else if (odd)
        SUM(amx_dot_iu8, 2, 3);
    else
        SUM(amx_dot_iu8, 0, 1);
#undef SUM
}

static void sums_store(bool odd, tile_sums *to)
{
    if (odd) {
        amx_store(2, to->high, 64);
        amx_store(3, to->low, 64);
    } else {
        amx_store(0, to->high, 64);
        amx_store(1, to->low, 64);
    }
}

/* rows (16, or 8 where there are no more) from i0 by tile t. While one group is summed, the one before it is stored and the one before that
 * is scaled: a store waits for its sums, and what comes after waits for the store. What is read of rows after
 * the last lies in the same memory, x.sum behind x.scale and x.qsum behind x.sum; the results are not used. */
NX_INLINE void tile_rows(block *b, bool has_min, bool is_signed, int rows, int t, int64_t i0)
{
    const nx_qmm *q = b->q;
    int64_t row = b->row + i0, groups = b->groups, x_groups = q->x.groups;
    float *acc = b->acc[t] + i0 * NX_QMM_TILE;
    _Alignas(64) tile_sums sums[2];
    const float *xs = q->x.scale + row * x_groups + b->group0;
    const float *xm = q->x.sum + row * x_groups + b->group0;
    for (int lane = 0; lane < LANES; lane++) {
        vf f[16];
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++)
            f[i] = vf_load(acc + i * NX_QMM_TILE + lane * VF_N);
        for (int64_t next = 0; next < groups + 2; next++) {
            if (next < groups) {
                if (next & 1)
                    sum_group(b, is_signed, true, t, row, next);
                else
                    sum_group(b, is_signed, false, t, row, next);
            }
            if (next > 0 && next <= groups)
                sums_store((next - 1) & 1, &sums[(next - 1) & 1]);
            int64_t g = next - 2;
            if (g < 0)
                continue;
            const int32_t *high = sums[g & 1].high + lane * VF_N, *low = sums[g & 1].low + lane * VF_N;
            vf ws = vf_load(b->panel.scale[t] + g * NX_QMM_TILE + lane * VF_N);
            vf wm = vf_load(b->panel.min[t] + g * NX_QMM_TILE + lane * VF_N);
#pragma GCC unroll 16
            for (int i = 0; i < rows; i++) {
                vi sum = vi_add32(vi_shl32(vi_load(high + i * NX_QMM_TILE), 7), vi_load(low + i * NX_QMM_TILE));
                f[i] = vf_fma(vf_from_i32(sum), vf_mul(ws, vf_set(xs[i * x_groups + g])), f[i]);
                if (has_min)
                    f[i] = vf_fma(wm, vf_set(xm[i * x_groups + g]), f[i]);
            }
        }
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++)
            vf_store(acc + i * NX_QMM_TILE + lane * VF_N, f[i]);
    }
}

NX_INLINE void tiles_of_rows(block *b, int rows, int t, int64_t i)
{
    if (b->q->unsigned_codes)
        tile_rows(b, true, false, rows, t, i);
    else if (b->q->has_min)
        tile_rows(b, true, true, rows, t, i);
    else
        tile_rows(b, false, true, rows, t, i);
}

static void tiles_by_panel(block *b, int tiles)
{
    for (int64_t i = 0; i < b->m; i += 16) {
        for (int t = 0; t < tiles; t++) {
            if (b->m - i <= 8)
                tiles_of_rows(b, 8, t, i);
            else
                tiles_of_rows(b, 16, t, i);
        }
        fetch_next(b, i, 16);
    }
}

static bool by_tiles(const nx_qmm *q)
{
    return q->x.high && q->m >= TILES_FROM;
}

static void load_bytes(block *b, int64_t batch, int64_t tile, int t)
{
    const nx_qmm *q = b->q;
    panel_set *p = &b->panel;
    if (q->load_bytes && q->load_bytes(q, tile, b->k0, b->kc, p->bytes[t], p->scale[t], p->min[t]))
        return;
    q->load(q, batch, tile, b->k0, b->kc, p->codes[t], p->scale[t], p->min[t]);
    bytes_of_pairs(p->codes[t], b->kc, p->bytes[t]);
}
#endif

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

/* All of its depth, panel by panel. */
static void block_run(block *b, int64_t batch, int64_t m0, int64_t tile, int tiles)
{
    const nx_qmm *q = b->q;
    for (b->k0 = 0; b->k0 < q->k; b->k0 += NX_QMM_KC) {
        b->kc = q->k - b->k0 < NX_QMM_KC ? q->k - b->k0 : NX_QMM_KC;
        b->group0 = b->k0 / q->group;
        b->groups = b->kc / q->group;
        plan_next(b, batch, m0, tile);
#if NX_HAS_AMX
        if (by_tiles(q)) {
            for (int t = 0; t < tiles; t++)
                load_bytes(b, batch, tile + t, t);
            tiles_by_panel(b, tiles);
            continue;
        }
#endif
        for (int t = 0; t < tiles; t++)
            q->load(q, batch, tile + t, b->k0, b->kc, b->panel.codes[t], b->panel.scale[t], b->panel.min[t]);
        rows_by_panel(b, tiles);
    }
}

/* m rows from m0 on by `tiles` tiles. */
static void panel_block(const nx_qmm *q, int64_t batch, int64_t m0, int64_t m, int64_t tile, int tiles)
{
    block b; /* large: only what is read is cleared */
    b.q = q;
    b.row = first_row(q, batch) + m0;
    b.m = m;
    for (int t = 0; t < tiles; t++)
        memset(b.acc[t], 0, (size_t)((m + 15) / 16 * 16) * NX_QMM_TILE * sizeof(float));
#if NX_HAS_AMX
    amx_config config = amx_config_of(m < 16 ? (int)m : 16, q->group < 64 ? q->group : 64);
    if (by_tiles(q))
        amx_configure(&config);
    block_run(&b, batch, m0, tile, tiles);
    if (by_tiles(q))
        amx_release();
#else
    block_run(&b, batch, m0, tile, tiles);
#endif
    for (int t = 0; t < tiles; t++)
        store_tile(q, batch, m0, b.m, tile + t, b.acc[t]);
}

/* Products of the same rows of x, whose work is one sequence of indices. */
typedef struct {
    const nx_qmm *q;
    int64_t ends[NX_QMM_PRODUCTS]; /* of each one's indices */
    int64_t m_step, m_blocks;
    const fill_job *own; /* of few rows: every thread rounds x for itself; NULL: q->x is there */
    uint64_t number; /* of the job, with own */
} run_job;

static int64_t tiles_of(const nx_qmm *q)
{
    return (q->n + NX_QMM_TILE - 1) / NX_QMM_TILE;
}

static int64_t panels_of(const nx_qmm *q)
{
    return (tiles_of(q) + NT - 1) / NT;
}

/* The product that an index falls to; *i becomes the index within it. */
static const nx_qmm *product_at(const run_job *j, int64_t *i)
{
    int p = 0;
    while (*i >= j->ends[p])
        p++;
    *i -= p ? j->ends[p - 1] : 0;
    return &j->q[p];
}

static void panel_piece(void *ctx, int64_t begin, int64_t end)
{
    const run_job *j = ctx;
    for (int64_t at = begin; at < end; at++) {
        int64_t i = at;
        const nx_qmm *q = product_at(j, &i);
        int64_t all = tiles_of(q), panels = panels_of(q), tile = i % panels * NT, rest = i / panels;
        int tiles = all - tile < NT ? (int)(all - tile) : NT;
        int64_t m0 = rest % j->m_blocks * j->m_step, m = q->m - m0;
        panel_block(q, rest / j->m_blocks, m0, m < j->m_step ? m : j->m_step, tile, tiles);
    }
}

/* x as this thread rounded it. */
static nx_qx own_x(const run_job *j)
{
    const nx_qmm *q = j->q;
    bool kept;
    void *memory = nx_thread_memory(j->number, NX_FN(nx_qx_bytes)(q->m, q->k, q->group), &kept);
    nx_qx x = NX_FN(nx_qx_at)(memory, q->m, q->k, q->group);
    fill_job fill = *j->own;
    fill.to = &x;
    if (!kept)
        fill_piece(&fill, 0, q->m);
    return x;
}

static void few_piece(void *ctx, int64_t begin, int64_t end)
{
    const run_job *j = ctx;
    nx_qx x = j->own ? own_x(j) : (nx_qx){0};
    nx_qmm with_x;
    float acc[NX_QMM_FEW * NX_QMM_TILE];
    for (int64_t at = begin; at < end; at++) {
        int64_t i = at;
        const nx_qmm *q = product_at(j, &i);
        int64_t tile = i % tiles_of(q), batch = i / tiles_of(q);
        if (j->own) {
            with_x = *q;
            with_x.x = x;
            q = &with_x;
        }
        q->few(q, batch, tile, first_row(q, batch), (int)q->m, acc);
        store_tile(q, batch, 0, q->m, tile, acc);
    }
}

static bool all_few(const nx_qmm *q, int n)
{
    for (int i = 0; i < n; i++)
        if (!q[i].few || q[i].m > NX_QMM_FEW)
            return false;
    return true;
}

static void run_few(const nx_qmm *q, int n, const fill_job *own)
{
    run_job j = {.q = q, .own = own, .number = own ? nx_job_number() : 0};
    int64_t tiles = 0, bytes = 0;
    for (int i = 0; i < n; i++) {
        j.ends[i] = tiles += q[i].batches * tiles_of(&q[i]);
        bytes += q[i].batches * tiles_of(&q[i]) * q[i].w_row_bytes * NX_QMM_TILE;
    }
    /* Small matrices in small pieces, so that two threads end together; large ones in larger. */
    int64_t piece = bytes / 32;
    piece = piece < 12 * 1024 ? 12 * 1024 : piece > 64 * 1024 ? 64 * 1024 : piece;
    nx_parallel(tiles, nx_grain(tiles ? bytes / tiles : 0, piece), few_piece, &j);
}

static void run(const nx_qmm *q, int n)
{
    if (all_few(q, n)) {
        run_few(q, n, NULL);
        return;
    }
    run_job j = {.q = q};
    int64_t panels = 0, all = 0;
    for (int i = 0; i < n; i++)
        panels += q->batches * panels_of(&q[i]);
    j.m_step = (q->m + MB - 1) / MB * panels < 64 ? MB_LESS : MB;
    j.m_blocks = (q->m + j.m_step - 1) / j.m_step;
    for (int i = 0; i < n; i++)
        j.ends[i] = all += q->batches * j.m_blocks * panels_of(&q[i]);
    int64_t m = q->m < j.m_step ? q->m : j.m_step;
    int64_t work = (m + 8) * q->k * NT * NX_QMM_TILE;
    nx_parallel(all, nx_grain(work, 512 * 1024), panel_piece, &j);
}

void NX_FN(nx_qmm_run)(const nx_qmm *q)
{
    run(q, 1);
}

void NX_FN(nx_qmm_run_rounding)(nx_qmm *q, int n, const void *x, nx_dtype dtype, void *memory)
{
    int64_t rows = q->batches * q->m;
    if (all_few(q, n) && q->batches == 1 && rows > 1 && rows * q->k <= OWN_X) {
        fill_job fill = {.x = x, .dtype = dtype, .group = q->group};
        run_few(q, n, &fill);
        return;
    }
    nx_qx rounded = NX_FN(nx_qx_at)(memory, rows, q->k, q->group);
    NX_FN(nx_qx_fill)(&rounded, x, dtype, rows, q->group);
    for (int i = 0; i < n; i++)
        q[i].x = rounded;
    run(q, n);
}
