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

/* to += 32 (or, unless two, 16) x 32 of `depth` tiles; a and b: the first of two lines of tiles
 * that lie `line` apart. Of two planes first a's high by b's low, then high by high, then low by high, so that
 * each product keeps half of what the one before had loaded; swapped: a is what else is b. */
NX_INLINE void tile_block(int planes, bool two, bool swapped, int64_t depth, const uint16_t *a,
                          const uint16_t *b, int64_t line, bool first, float *to)
{
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
    for (int64_t d = 0; d < depth; d++, a += planes * TILE_VALUES, b += planes * TILE_VALUES) {
        LOAD_A(planes == 2 && swapped);
        LOAD_B(planes == 2 && !swapped);
        FOUR();
        if (planes == 1)
            continue;
        if (swapped)
            LOAD_A(0);
        else
            LOAD_B(0);
        FOUR();
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

/* sums of rows x columns, at most TILE_ROWS_MOST x TILE_COLUMNS: `depth` tiles of packed a and b, whose
 * lines of tiles lie `line` apart. */
static void tile_add(const tile_job *j, int64_t rows, int64_t columns, int64_t depth,
                     const uint16_t *a, const uint16_t *b, int64_t line, bool first, float *sums)
{
    for (int64_t r = 0; r < rows; r += 32)
        for (int64_t c = 0; c < columns; c += 32) {
            const uint16_t *from_a = a + r / 16 * line, *from_b = b + c / 16 * line;
            float *to = sums + r * TILE_SUMS + c;
            switch (j->planes * 4 + (rows - r > 16) * 2 + (j->swapped && j->planes == 2)) {
#define CASE(planes, two, swapped)                                                                 \
    case (planes)*4 + (two)*2 + (swapped):                                                         \
        tile_block(planes, two, swapped, depth, from_a, from_b, line, first, to);                  \
        break;
                CASE(1, 0, 0) CASE(1, 1, 0) CASE(2, 0, 0) CASE(2, 0, 1) CASE(2, 1, 0) CASE(2, 1, 1)
#undef CASE
            }
        }
}
