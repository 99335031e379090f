/*
 * tile_amx.h: the multiplications of tile_product.h by the tile registers of amx.h.
 *
 * The one order of sums: 32 values of k at a time, even and odd k apart (amx.h), in float32.
 */
#include "engine/cpu/amx.h"

enum {
    TILE_FLOAT16 = 1, /* float16 as two planes */
    TILE_ROWS_MOST = 256, /* columns of b come from beyond the second cache once for so many */
    TILE_A_KEPT = TILE_A_BYTES, /* the outermost cache of these processors keeps all that is packed */
    TILE_DEPTH = 32, /* tiles of k at a time, of both planes: those of a piece's rows and columns stay in the second cache */
    TILE_B_THREAD = TILE_B_BYTES / 16, /* bytes of b packed at a time by one thread: a quarter of the second cache */
    TILE_QUARTER = TILE_VALUES / 4,
    TILE_SWAPPED = 32, /* rows of a up to which its turned b is taken for a */
};

static inline void tile_begin(void)
{
    amx_config config = amx_config_of(16, 64);
    amx_configure(&config);
}
static inline void tile_end(void)
{
    amx_release();
}

/* Tiles from line to line. The second cache has the same sets again after 128 KB, in large pages at least, and what is
 * multiplied at a time are the same 32 tiles of many lines: every fourth line's shall meet there, not all. */
static inline int64_t tile_line_of(int64_t tiles)
{
    int64_t rest = tiles % 64, whole = tiles - rest;
    if (tiles >= 64 && rest < 16)
        return whole + 32;
    return tiles >= 112 && rest > 48 ? whole + 96 : tiles;
}

/* Quarters of tiles are asked for into the second cache. */
NX_INLINE const uint16_t *tile_ask(const uint16_t *from, int quarters)
{
#pragma GCC unroll 8
    for (int i = 0; i < quarters * 4; i++, from += 32)
        __builtin_prefetch(from, 0, 2);
    return from;
}

/* to += 32 (or, unless two, 16) x 32 of `depth` tiles; s: a and b are the first of two lines of tiles. Of two planes
 * first a's high by b's low, then high by high, then low by high, so that each product keeps half of what the one before
 * had loaded; swapped: a is what else is b. Meanwhile as many quarters of tiles are asked for of what comes next: what
 * comes from the outer cache as it is needed holds the tiles up for a fifth of the time. */
NX_INLINE void tile_block(int planes, bool two, bool swapped, const tile_slab *s, bool first, float *to)
{
    const uint16_t *a = s->a, *b = s->b, *next_a = s->next_a, *next_b = s->next_b;
    const int64_t line = s->line;
    const int64_t row = TILE_SUMS * sizeof(float);
    float *below = to + 16 * TILE_SUMS;
    if (first) {
        amx_zero(0);
        amx_zero(1);
        amx_zero(2);
        amx_zero(3);
    } else {
        amx_load(0, to, row);
        amx_load(1, to + 16, row);
        if (two) {
            amx_load(2, below, row);
            amx_load(3, below + 16, row);
        }
    }
#define FOUR()                                                                                     \
    do {                                                                                           \
        amx_dot_bf16(0, 4, 6);                                                                     \
        amx_dot_bf16(1, 4, 7);                                                                     \
        if (two) {                                                                                 \
            amx_dot_bf16(2, 5, 6);                                                                 \
            amx_dot_bf16(3, 5, 7);                                                                 \
        }                                                                                          \
    } while (0)
#define LOAD_A(plane)                                                                              \
    do {                                                                                           \
        amx_load(4, a + (plane)*TILE_VALUES, 64);                                                  \
        if (two)                                                                                   \
            amx_load(5, a + line + (plane)*TILE_VALUES, 64);                                       \
    } while (0)
#define LOAD_B(plane)                                                                              \
    do {                                                                                           \
        amx_load(6, b + (plane)*TILE_VALUES, 64);                                                  \
        amx_load(7, b + line + (plane)*TILE_VALUES, 64);                                           \
    } while (0)
    for (int64_t d = 0; d < s->depth; d++, a += planes * TILE_VALUES, b += planes * TILE_VALUES) {
        LOAD_A(planes == 2 && swapped);
        LOAD_B(planes == 2 && !swapped);
        FOUR();
        next_a = tile_ask(next_a, planes);
        if (planes == 1) {
            next_b = tile_ask(next_b, planes);
            continue;
        }
        if (swapped)
            LOAD_A(0);
        else
            LOAD_B(0);
        FOUR();
        next_b = tile_ask(next_b, planes);
        if (swapped)
            LOAD_B(1);
        else
            LOAD_A(1);
        FOUR();
    }
#undef LOAD_A
#undef LOAD_B
#undef FOUR
    amx_store(0, to, row);
    amx_store(1, to + 16, row);
    if (two) {
        amx_store(2, below, row);
        amx_store(3, below + 16, row);
    }
}

/* The i-th quarter of lines of tiles. */
static const uint16_t *tile_share(const tile_job *j, const tile_slab *s, const uint16_t *next, int64_t i)
{
    return next + i / 4 * s->line + i % 4 * s->depth * j->planes * TILE_QUARTER;
}

/* sums of rows x columns, at most TILE_ROWS_MOST x TILE_COLUMNS, of a slab. A block asks for a quarter of a line of each
 * operand: where there are 256 columns, those of 32 rows ask for all of the next 32 rows, and where there are 256 rows,
 * all ask for all of the columns that come next. */
static void tile_add(const tile_job *j, int64_t rows, int64_t columns, const tile_slab *s, bool first, float *sums)
{
    int64_t i = 0;
    for (int64_t r = 0; r < rows; r += 32)
        for (int64_t c = 0; c < columns; c += 32, i++) {
            const uint16_t *a = s->a + r / 16 * s->line, *next_a = r + 32 < rows ? a + 2 * s->line : s->next_a;
            tile_slab block = {.depth = s->depth, .line = s->line, .a = a, .b = s->b + c / 16 * s->line,
                               .next_a = tile_share(j, s, next_a, c / 32), .next_b = tile_share(j, s, s->next_b, i)};
            float *to = sums + r * TILE_SUMS + c;
            switch (j->planes * 4 + (rows - r > 16) * 2 + (j->swapped && j->planes == 2)) {
#define CASE(planes, two, swapped)                                                                 \
    case (planes)*4 + (two)*2 + (swapped): tile_block(planes, two, swapped, &block, first, to); break;
                CASE(1, 0, 0) CASE(1, 1, 0) CASE(2, 0, 0) CASE(2, 0, 1) CASE(2, 1, 0) CASE(2, 1, 1)
#undef CASE
            }
        }
}
