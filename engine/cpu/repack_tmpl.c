/*
 * repack_tmpl.c: GgufRepack, AffineRepack: the rows of a file to the order of tiles (gguf_blocks.h).
 *
 * Sixteen rows are turned first: word w of their codes becomes a column of sixteen words, one of each
 * row. From there on every step is the same few shifts and masks for the whole column, which compilers
 * turn into vectors of any level: columns of words as the file has them, then of bytes with a code each,
 * then of the words of a tile.
 */
#include <string.h>

#include "engine/cpu/gguf_blocks.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/pool.h"
#include "engine/cpu/simd.h"
#include "engine/cpu/types.h"
#include "engine/ops/params.h"

enum { MOST_WORDS = 48 }; /* of codes, a block */

typedef uint32_t column[NX_TILE];

#define EACH_ROW(r) for (int r = 0; r < NX_TILE; r++)

typedef struct {
    int type;
    nx_gguf_info info;
    const uint8_t *from;
    uint8_t *to;
    int64_t n, row_bytes;
    /* Affine: bytes a row of codes; scales and biases [n, groups] in their own type. */
    int64_t code_bytes;
    const uint8_t *scales, *biases;
} repack_job;

/* ---- codes of a file, a byte each ------------------------------------------------------------------ */

/* Where the codes of a block of the file lie. */
static void code_words(int type, const nx_gguf_info *t, int *offset, int *words)
{
    switch (type) {
    case NX_GGML_Q4_0: *offset = 2, *words = 4; break;
    case NX_GGML_Q4_1: *offset = 4, *words = 4; break;
    case NX_GGML_Q5_0: *offset = 2, *words = 5; break;
    case NX_GGML_Q5_1: *offset = 4, *words = 5; break;
    case NX_GGML_Q8_0: *offset = 2, *words = 8; break;
    case NX_GGML_Q2_K: *offset = 16, *words = 16; break;
    case NX_GGML_Q3_K: *offset = 0, *words = 24; break;
    case NX_GGML_Q4_K: *offset = 16, *words = 32; break;
    case NX_GGML_Q5_K: *offset = 16, *words = 40; break;
    case NX_GGML_Q6_K: *offset = 0, *words = 48; break;
    default: *offset = 0, *words = t->block_values * t->bits / 32; /* affine: nothing but codes */
    }
}

/* to = (f >> shift) & mask, of `n` columns */
NX_INLINE void take_bits(const column *f, int n, int shift, uint32_t mask, column *to)
{
    for (int w = 0; w < n; w++)
        EACH_ROW(r)
            to[w][r] = f[w][r] >> shift & mask;
}

/* to |= ((f >> shift) & mask) << up, of eight columns */
NX_INLINE void add_bits(const column *f, int shift, uint32_t mask, int up, column *to)
{
    for (int w = 0; w < 8; w++)
        EACH_ROW(r)
            to[w][r] |= (f[w][r] >> shift & mask) << up;
}

/* Bit 4 w + e of the one word becomes bit 4 of byte e of column w. */
static void add_fifth_bits(const column *word, column *to)
{
    for (int w = 0; w < 8; w++)
        EACH_ROW(r)
            to[w][r] |= (((*word)[r] >> 4 * w & 15) * 0x00204081u & 0x01010101u) << 4;
}

/* Codes of `bits` bits, one after another from the lowest bit on. */
NX_INLINE void stream_bytes(int bits, const column *f, column *to)
{
    const uint32_t mask = (1u << bits) - 1;
    memset(to, 0, 8 * sizeof *to);
#pragma GCC unroll 32
    for (int i = 0; i < 32; i++) {
        const int at = i * bits, k = at >> 5, shift = at & 31;
        EACH_ROW(r)
        {
            uint32_t v = f[k][r] >> shift;
            if (shift + bits > 32)
                v |= f[k + 1][r] << (32 - shift);
            to[i >> 2][r] |= (v & mask) << 8 * (i & 3);
        }
    }
}

static void affine_bytes(int bits, const column *f, column *to)
{
    switch (bits) {
    case 2: stream_bytes(2, f, to); break;
    case 3: stream_bytes(3, f, to); break;
    case 4: stream_bytes(4, f, to); break;
    case 5: stream_bytes(5, f, to); break;
    case 6: stream_bytes(6, f, to); break;
    default: memcpy(to, f, 8 * sizeof *to);
    }
}

/* Unit u of a block: 32 codes (before the type's zero is subtracted) as eight columns of bytes. */
static void unit_bytes(int type, int bits, const column *f, int u, column *to)
{
    int half = u >> 2, part = u & 3;
    if (type & NX_AFFINE) {
        affine_bytes(bits, f + u * bits, to);
        return;
    }
    switch (type) {
    case NX_GGML_Q4_0:
    case NX_GGML_Q4_1:
        take_bits(f, 4, 0, 0x0F0F0F0F, to);
        take_bits(f, 4, 4, 0x0F0F0F0F, to + 4);
        break;
    case NX_GGML_Q5_0:
    case NX_GGML_Q5_1:
        take_bits(f + 1, 4, 0, 0x0F0F0F0F, to);
        take_bits(f + 1, 4, 4, 0x0F0F0F0F, to + 4);
        add_fifth_bits(f, to);
        break;
    case NX_GGML_Q2_K: take_bits(f + 8 * half, 8, 2 * part, 0x03030303, to); break;
    case NX_GGML_Q3_K:
        take_bits(f + 8 + 8 * half, 8, 2 * part, 0x03030303, to);
        add_bits(f, u, 0x01010101, 2, to);
        break;
    case NX_GGML_Q4_K: take_bits(f + 8 * (u >> 1), 8, 4 * (u & 1), 0x0F0F0F0F, to); break;
    case NX_GGML_Q5_K:
        take_bits(f + 8 + 8 * (u >> 1), 8, 4 * (u & 1), 0x0F0F0F0F, to);
        add_bits(f, u, 0x01010101, 4, to);
        break;
    case NX_GGML_Q6_K:
        take_bits(f + 16 * half + 8 * (u & 1), 8, 4 * (part >> 1), 0x0F0F0F0F, to);
        add_bits(f + 32 + 8 * half, 2 * part, 0x03030303, 4, to);
        break;
    default: memcpy(to, f, 8 * sizeof *to); /* Q8_0 */
    }
}

/* ---- to the words of a unit ------------------------------------------------------------------------ */

/* Codes 0 and 2 of a word of bytes below codes 1 and 3, which begin at bit 16; `bits` of each. */
NX_INLINE uint32_t even_below_odd(int bits, uint32_t x)
{
    const uint32_t m = (1u << bits) - 1;
    return (x & m) | (x >> (16 - bits) & m << bits) | (x << 8 & m << 16) |
           (x >> (8 - bits) & m << (16 + bits));
}

/* The `bits` bits of all codes from bit `from` on: as many words. */
NX_INLINE void pack_words(int bits, int from, const column *b, uint8_t *to)
{
    const int each = 8 / bits; /* columns of bytes that fill a word */
    for (int w = 0; w < bits; w++) {
        column v;
        EACH_ROW(r)
            v[r] = even_below_odd(bits, b[w * each][r] >> from);
        for (int i = 1; i < each; i++)
            EACH_ROW(r)
                v[r] |= even_below_odd(bits, b[w * each + i][r] >> from) << 2 * bits * i;
        memcpy(to + w * sizeof v, v, sizeof v);
    }
}

/* Bytes 0, 2, 1, 3. */
static void pack_bytes(const column *b, uint8_t *to)
{
    for (int w = 0; w < 8; w++) {
        column v;
        EACH_ROW(r)
            v[r] = (b[w][r] & 0xFF0000FFu) | (b[w][r] >> 8 & 0xFF00u) | (b[w][r] << 8 & 0xFF0000u);
        memcpy(to + w * sizeof v, v, sizeof v);
    }
}

static void pack_unit(int bits, const column *b, uint8_t *to)
{
    const size_t word = sizeof(column);
    switch (bits) {
    case 2: pack_words(2, 0, b, to); break;
    case 3: pack_words(2, 0, b, to), pack_words(1, 2, b, to + 2 * word); break;
    case 4: pack_words(4, 0, b, to); break;
    case 5: pack_words(4, 0, b, to), pack_words(1, 4, b, to + 4 * word); break;
    case 6: pack_words(4, 0, b, to), pack_words(2, 4, b, to + 4 * word); break;
    default: pack_bytes(b, to);
    }
}

/* ---- tiles ------------------------------------------------------------------------------------------ */

/* Scales, minima and words of small scales of a block of GGUF's, 16 rows from `block` on. */
static uint8_t *gguf_head(const repack_job *j, const uint8_t *block, uint8_t *to)
{
    const nx_gguf_info *t = &j->info;
    const uint8_t *scale, *min;
    uint8_t *mins = to + 2 * NX_TILE, *words = t->has_min ? mins + 2 * NX_TILE : mins;
    int n = 0;
    for (int r = 0; r < NX_TILE; r++, block += j->row_bytes) {
        uint32_t small[4];
        nx_block_scales(j->type, block, &scale, &min);
        memcpy(to + 2 * r, scale, 2);
        if (t->has_min)
            memcpy(mins + 2 * r, min, 2);
        n = t->block_values == 256 ? nx_k_words(j->type, block, small) : 0;
        for (int i = 0; i < n; i++)
            memcpy(words + i * (int)sizeof(column) + 4 * r, &small[i], 4);
    }
    return words + n * (int)sizeof(column);
}

/* The same of group g of an affine matrix, rows first.. */
NX_INLINE uint8_t *sized_head(const repack_job *j, size_t size, int64_t first, int64_t g, uint8_t *to)
{
    int64_t groups = j->row_bytes / j->info.block_bytes;
    for (int r = 0; r < NX_TILE; r++) {
        size_t at = (size_t)((first + r) * groups + g) * size;
        memcpy(to + size * (size_t)r, j->scales + at, size);
        memcpy(to + size * (size_t)(NX_TILE + r), j->biases + at, size);
    }
    return to + 2 * size * NX_TILE;
}

static uint8_t *affine_head(const repack_job *j, int64_t first, int64_t g, uint8_t *to)
{
    return j->info.scale_bytes == 2 ? sized_head(j, 2, first, g, to) : sized_head(j, 4, first, g, to);
}

/* The codes of `n` blocks, `words` each, of 16 rows. All are turned before any is used: what was just
 * written in small pieces is slow to read in vectors. */
static void turn_codes(const uint8_t *from, int64_t row_bytes, int64_t each, int words, int n, column *f)
{
    EACH_ROW(r)
        for (int i = 0; i < n; i++)
            for (int w = 0; w < words; w++)
                memcpy(&f[i * words + w][r], from + r * row_bytes + i * each + 4 * w, 4);
}

static void repack_tile(const repack_job *j, int64_t first, uint8_t *to)
{
    const nx_gguf_info *t = &j->info;
    bool affine = j->type & NX_AFFINE;
    int offset, words;
    code_words(j->type, t, &offset, &words);
    int64_t stride = affine ? j->code_bytes : j->row_bytes, each = affine ? 4 * words : t->block_bytes;
    const uint8_t *block = j->from + first * stride;
    int64_t blocks = j->row_bytes / t->block_bytes, most = MOST_WORDS / words;
    column f[MOST_WORDS], b[8];
    for (int64_t i = 0; i < blocks; i++, block += each) {
        if (i % most == 0)
            turn_codes(block + offset, stride, each, words, (int)(blocks - i < most ? blocks - i : most), f);
        to = affine ? affine_head(j, first, i, to) : gguf_head(j, block, to);
        for (int u = 0; u < t->block_values / 32; u++, to += (size_t)t->bits * sizeof(column)) {
            unit_bytes(j->type, t->bits, f + i % most * words, u, b);
            pack_unit(t->bits, b, to);
        }
    }
}

/* Affine rows after the last whole tile: groups of scale, minimum, codes. */
static void affine_row(const repack_job *j, int64_t row, uint8_t *to)
{
    const nx_gguf_info *t = &j->info;
    int64_t groups = j->row_bytes / t->block_bytes, size = t->scale_bytes, codes = t->group * t->bits / 8;
    for (int64_t g = 0; g < groups; g++, to += t->block_bytes) {
        memcpy(to, j->scales + (row * groups + g) * size, (size_t)size);
        memcpy(to + size, j->biases + (row * groups + g) * size, (size_t)size);
        memcpy(to + 2 * size, j->from + row * j->code_bytes + g * codes, (size_t)codes);
    }
}

static void repack_piece(void *ctx, int64_t begin, int64_t end)
{
    const repack_job *j = ctx;
    for (int64_t tile = begin; tile < end; tile++) {
        int64_t first = tile * NX_TILE, left = j->n - first;
        if (left >= NX_TILE) {
            repack_tile(j, first, j->to + first * j->row_bytes);
            continue;
        }
        for (int64_t row = first; row < j->n; row++) {
            uint8_t *to = j->to + row * j->row_bytes;
            if (j->type & NX_AFFINE)
                affine_row(j, row, to);
            else
                memcpy(to, j->from + row * j->row_bytes, (size_t)j->row_bytes);
        }
    }
}

static void repack(repack_job *j)
{
    int64_t tiles = (j->n + NX_TILE - 1) / NX_TILE;
    nx_parallel(tiles, nx_grain(j->row_bytes * NX_TILE, NX_PIECE_BYTES), repack_piece, j);
}

void NX_FN(gguf_repack)(const nx_call *c)
{
    const nx_gguf_params *p = c->params;
    const nx_view *w = &c->in[0];
    repack_job j = {.type = p->type, .info = nx_gguf_info_of(p->type), .from = w->data,
                    .to = c->out[0].data, .n = w->shape[0], .row_bytes = w->shape[1]};
    repack(&j);
}

void NX_FN(affine_repack)(const nx_call *c)
{
    const nx_gguf_params *p = c->params;
    const nx_view *w = &c->in[0], *out = &c->out[0];
    repack_job j = {.type = p->type, .info = nx_gguf_info_of(p->type), .from = w->data,
                    .to = out->data, .n = w->shape[0], .row_bytes = out->shape[1],
                    .code_bytes = (int64_t)w->shape[1] * 4, .scales = c->in[1].data,
                    .biases = c->in[2].data};
    repack(&j);
}
