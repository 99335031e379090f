/*
 * tile_bf16.h: the multiplications of tile_product.h by vectors whose lanes add two products of bfloat16 at
 * a time: the AVX-512 BF16 instructions, or where NX_ISA_emulated_bf16 is defined plain C, so that what is
 * built on them can be tested on any processor.
 *
 * The one order of sums: a chain for each result over pairs of k ascending, of a pair the odd k first, each
 * sum rounded to float32; subnormal numbers count as zero where the instructions do it.
 */
#include "engine/core/half.h"

enum {
    TILE_FLOAT16 = 0, /* no float16: three such products take longer than one of floats */
    TILE_ROWS_MOST = 192, /* columns come from the outer caches once for so many rows */
    TILE_A_KEPT = 16 << 20, /* bytes of a that the outermost cache keeps */
    TILE_DEPTH = 8, /* tiles of k at a time: those of 64 columns fill 32 KB and come from the second cache, sums from it half as often */
    TILE_B_THREAD = TILE_B_BYTES, /* bytes of b packed at a time by one thread */
    TILE_SWAPPED = 0,
    TILE_MR = 6, /* sums: rows by vectors of 16 columns */
    TILE_NV = 4,
};

#if defined(NX_ISA_avx512_bf16)
#include <immintrin.h>

typedef __m512 tile_sums;
typedef __m512i tile_pairs;
#define tile_sums_load(p)     _mm512_loadu_ps(p)
#define tile_sums_store(p, v) _mm512_storeu_ps(p, v)
#define tile_sums_zero()      _mm512_setzero_ps()
#define tile_pairs_load(p)    _mm512_loadu_si512(p)
static inline tile_pairs tile_pairs_set(const uint16_t *pair)
{
    int both;
    memcpy(&both, pair, sizeof both);
    return _mm512_set1_epi32(both);
}
#define tile_dot(c, a, b) _mm512_dpbf16_ps(c, (__m512bh)(a), (__m512bh)(b))

#else

typedef struct {
    float x[16];
} tile_sums;
typedef struct {
    uint16_t x[32];
} tile_pairs;
static inline tile_sums tile_sums_load(const float *p)
{
    tile_sums v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void tile_sums_store(float *p, tile_sums v)
{
    memcpy(p, &v, sizeof v);
}
static inline tile_sums tile_sums_zero(void)
{
    return (tile_sums){{0}};
}
static inline tile_pairs tile_pairs_load(const uint16_t *p)
{
    tile_pairs v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline tile_pairs tile_pairs_set(const uint16_t *pair)
{
    tile_pairs v;
    for (int i = 0; i < 32; i++)
        v.x[i] = pair[i % 2];
    return v;
}
static inline tile_sums tile_dot(tile_sums c, tile_pairs a, tile_pairs b)
{
    for (int i = 0; i < 16; i++)
        for (int odd = 1; odd >= 0; odd--)
            c.x[i] += nx_bf16_to_float(a.x[2 * i + odd]) * nx_bf16_to_float(b.x[2 * i + odd]);
    return c;
}
#endif

static inline void tile_begin(void)
{
}
static inline void tile_end(void)
{
}

/* Tiles from line to line: a power of two apart they would lie in the same few sets of the second cache. */
static inline int64_t tile_line_of(int64_t tiles)
{
    return tiles + (tiles && tiles % 16 == 0);
}

/* to += mr rows by nv vectors of `depth` tiles; b's lines of tiles lie `line` apart. mr and nv are constants
 * where this is inlined. */
NX_INLINE void tile_block(int mr, int nv, int64_t depth, const uint16_t *const *a, const uint16_t *b,
                          int64_t line, bool first, float *to)
{
    tile_sums c[TILE_MR][TILE_NV];
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++)
            c[i][v] = first ? tile_sums_zero() : tile_sums_load(to + i * TILE_SUMS + 16 * v);
    for (int64_t at = 0; at < depth * TILE_VALUES; at += TILE_VALUES)
        for (int pair = 0; pair < 32; pair += 2) {
            tile_pairs y[TILE_NV];
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++)
                y[v] = tile_pairs_load(b + v * line + at + 16 * pair);
#pragma GCC unroll 8
            for (int i = 0; i < mr; i++) {
                tile_pairs x = tile_pairs_set(a[i] + at + pair);
#pragma GCC unroll 4
                for (int v = 0; v < nv; v++)
                    c[i][v] = tile_dot(c[i][v], x, y[v]);
            }
        }
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++)
            tile_sums_store(to + i * TILE_SUMS + 16 * v, c[i][v]);
}

/* The same of `rows` rows, TILE_MR at most. */
static void tile_rows(int64_t rows, bool wide, int64_t depth, const uint16_t *const *a, const uint16_t *b,
                      int64_t line, bool first, float *to)
{
    switch (rows * 2 + wide) {
#define CASE(mr)                                                                                               \
    case (mr)*2: tile_block(mr, TILE_NV / 2, depth, a, b, line, first, to); break;                             \
    case (mr)*2 + 1: tile_block(mr, TILE_NV, depth, a, b, line, first, to); break;
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#undef CASE
    }
}

/* sums of rows x columns, at most TILE_ROWS_MOST x TILE_COLUMNS, columns in whole 32, of a slab. */
static void tile_add(const tile_job *j, int64_t rows, int64_t columns, const tile_slab *s, bool first, float *sums)
{
    (void)j;
    for (int64_t c = 0; c < columns; c += 16 * TILE_NV)
        for (int64_t r = 0; r < rows; r += TILE_MR) {
            const uint16_t *from[TILE_MR];
            for (int i = 0; i < TILE_MR; i++)
                from[i] = s->a + (r + i) / 16 * s->line + (r + i) % 16 * 32;
            tile_rows(at_most(rows - r, TILE_MR), columns - c > 8 * TILE_NV, s->depth, from,
                      s->b + c / 16 * s->line, s->line, first, sums + r * TILE_SUMS + c);
        }
}
