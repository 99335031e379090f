/*
 * gguf_blocks.h: what the bytes of quantized blocks mean, GGUF's and those that MLX's affine matrices
 * are repacked from, and the order we repack them to.
 *
 * All types are seen as groups of 16 to 128 weights in a row of the matrix: weight = scale * code +
 * minimum, with integer codes. A repacked matrix keeps its bytes in tiles of 16 rows. A tile is a
 * sequence of blocks: a head, then units of 32 codes. Everything is words that belong to one row each,
 * 16 rows side by side. A head has the block's float scale, then its float minimum if it has one (as
 * float16; affine ones in their own type); for 256-value blocks, then words of small scales:
 *   Q4_K, Q5_K: nibble g of word 0: low bits of scale g; of word 1: of minimum g; word 2: two bits for
 *   each scale, then two for each minimum;
 *   Q3_K: nibbles of scales 0-7, of 8-15, then two bits for each; Q6_K, Q2_K: their 16 bytes.
 * A unit has as many words as a code has bits, so that a vector of words becomes vectors of pairs of
 * 16-bit codes (k, k + 1) by one shift and one mask:
 *   4-bit part: word j, nibble i of its low half is code 8j + 2i, of its high half 8j + 2i + 1;
 *   2-bit part: word j, bits 2i, 2i + 1 of its low half are code 16j + 2i, of its high half 16j + 2i + 1;
 *   1-bit part: bit i of the low half belongs to code 2i, of the high half to 2i + 1;
 *   8-bit: bytes 0, 2, 1, 3 of word j are codes 4j .. 4j + 3.
 * 3 bits are 2 and 1, 5 are 4 and 1, 6 are 4 and 2, the low part first. Rows after the last whole tile
 * stay as they are in the file (affine: groups of scale, minimum and codes as MLX packs them).
 */
#ifndef NX_CPU_GGUF_BLOCKS_H
#define NX_CPU_GGUF_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/ggml_types.h"
#include "engine/core/half.h"
#include "engine/cpu/fp_codes.h"
#include "engine/cpu/gguf_books.h"

enum { NX_TILE = 16, NX_REPACKED = 0x10000, NX_GROUP_MAX = 128 };

typedef struct {
    int block_values, block_bytes;
    int group;    /* values that share scale and minimum */
    bool has_min; /* else the minimum is zero */
    int zero;     /* subtracted from the stored code of repacked types */
    int bits;     /* of a code; 0: the type has no order of tiles (gguf_books.h) */
    int scale_bytes; /* of a block's scale, and of its minimum */
} nx_gguf_info;

/* Affine matrices: NX_AFFINE | bits | log2(group / 32) << 4 | type of the scales << 8. */
enum { NX_AFFINE = 0x20000, NX_AFFINE_F16 = 0, NX_AFFINE_BF16 = 1, NX_AFFINE_F32 = 2 };

/* block_values 0: no quantized type we know. */
static inline nx_gguf_info nx_gguf_info_of(int type)
{
    if (type & NX_AFFINE) {
        int bits = type & 15, group = 32 << (type >> 4 & 3), scale = (type >> 8 & 3) == NX_AFFINE_F32 ? 4 : 2;
        return (nx_gguf_info){group, group * bits / 8 + 2 * scale, group, true, 0, bits, scale};
    }
    switch (type & ~NX_REPACKED) {
    case NX_GGML_Q4_0: return (nx_gguf_info){32, 18, 32, false, 8, 4, 2};
    case NX_GGML_Q4_1: return (nx_gguf_info){32, 20, 32, true, 0, 4, 2};
    case NX_GGML_Q5_0: return (nx_gguf_info){32, 22, 32, false, 16, 5, 2};
    case NX_GGML_Q5_1: return (nx_gguf_info){32, 24, 32, true, 0, 5, 2};
    case NX_GGML_Q8_0: return (nx_gguf_info){32, 34, 32, false, 0, 8, 2};
    case NX_GGML_Q2_K: return (nx_gguf_info){256, 84, 16, true, 0, 2, 2};
    case NX_GGML_Q3_K: return (nx_gguf_info){256, 110, 16, false, 4, 3, 2};
    case NX_GGML_Q4_K: return (nx_gguf_info){256, 144, 32, true, 0, 4, 2};
    case NX_GGML_Q5_K: return (nx_gguf_info){256, 176, 32, true, 0, 5, 2};
    case NX_GGML_Q6_K: return (nx_gguf_info){256, 210, 16, false, 32, 6, 2};
#define BOOK(t, values, bytes, group) case NX_GGML_##t: return (nx_gguf_info){values, bytes, group, false, 0, 0, 2};
    BOOK(IQ1_S, 256, 50, 32) BOOK(IQ1_M, 256, 56, 16) BOOK(IQ2_XXS, 256, 66, 32) BOOK(IQ2_XS, 256, 74, 16)
    BOOK(IQ2_S, 256, 82, 16) BOOK(IQ3_XXS, 256, 98, 32) BOOK(IQ3_S, 256, 110, 32) BOOK(IQ4_NL, 32, 18, 32)
    BOOK(IQ4_XS, 256, 136, 32) BOOK(TQ1_0, 256, 54, 32) BOOK(TQ2_0, 256, 66, 32) BOOK(MXFP4, 32, 17, 32)
    BOOK(NVFP4, 64, 36, 16) BOOK(Q1_0, 128, 18, 32) BOOK(Q2_0, 64, 18, 32)
#undef BOOK
    default: return (nx_gguf_info){0};
    }
}

/* Bytes a value of the plain float types; 0 for others. */
static inline int nx_gguf_float_bytes(int type)
{
    return type == NX_GGML_F32 ? 4 : type == NX_GGML_F16 || type == NX_GGML_BF16 ? 2 : 0;
}

static inline float nx_f16_at(const uint8_t *p)
{
    return nx_half_to_float((uint16_t)(p[0] | p[1] << 8));
}

static inline uint32_t nx_u32_at(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The scale and minimum of 32-value part i of a Q4_K or Q5_K block: six bits each, in 12 bytes. */
static inline void nx_k_scale(const uint8_t *q, int i, int *scale, int *min)
{
    if (i < 4) {
        *scale = q[i] & 63;
        *min = q[i + 4] & 63;
    } else {
        *scale = (q[i + 4] & 15) | q[i - 4] >> 6 << 4;
        *min = q[i + 4] >> 4 | q[i] >> 6 << 4;
    }
}

/* A scale or minimum of an affine group. */
static inline float nx_affine_number(int type, const uint8_t *p)
{
    if ((type >> 8 & 3) == NX_AFFINE_F16)
        return nx_f16_at(p);
    return nx_float_of_bits((type >> 8 & 3) == NX_AFFINE_F32 ? nx_u32_at(p)
                                                            : (uint32_t)(p[0] | p[1] << 8) << 16);
}

static inline void nx_affine_group(int type, const uint8_t *row, int64_t g, int16_t *code, float *scale,
                                   float *min)
{
    nx_gguf_info t = nx_gguf_info_of(type);
    const uint8_t *b = row + g * t.block_bytes;
    *scale = nx_affine_number(type, b);
    *min = nx_affine_number(type, b + t.scale_bytes);
    for (int i = 0; i < t.group; i++)
        code[i] = (int16_t)nx_code_get(b + 2 * t.scale_bytes, i, t.bits);
}

/* Group g of a row as the file has it: its codes, scale and minimum. */
static inline void nx_gguf_group(int type, const uint8_t *row, int64_t g, int16_t *code, float *scale,
                                 float *min)
{
    if (type & NX_AFFINE) {
        nx_affine_group(type, row, g, code, scale, min);
        return;
    }
    *min = 0;
    switch (type) {
    case NX_GGML_Q4_0:
    case NX_GGML_Q4_1: { /* low nibbles are values 0-15, high ones 16-31 */
        bool one = type == NX_GGML_Q4_1;
        const uint8_t *b = row + g * (one ? 20 : 18), *q = b + (one ? 4 : 2);
        for (int i = 0; i < 16; i++) {
            code[i] = (int16_t)((q[i] & 15) - (one ? 0 : 8));
            code[i + 16] = (int16_t)((q[i] >> 4) - (one ? 0 : 8));
        }
        *scale = nx_f16_at(b);
        *min = one ? nx_f16_at(b + 2) : 0;
        break;
    }
    case NX_GGML_Q5_0:
    case NX_GGML_Q5_1: { /* the same with a fifth bit each in one word */
        bool one = type == NX_GGML_Q5_1;
        const uint8_t *b = row + g * (one ? 24 : 22), *h = b + (one ? 4 : 2), *q = h + 4;
        uint32_t high = nx_u32_at(h);
        for (int i = 0; i < 16; i++) {
            code[i] = (int16_t)(((q[i] & 15) | (high >> i & 1) << 4) - (one ? 0 : 16));
            code[i + 16] = (int16_t)((q[i] >> 4 | (high >> (i + 16) & 1) << 4) - (one ? 0 : 16));
        }
        *scale = nx_f16_at(b);
        *min = one ? nx_f16_at(b + 2) : 0;
        break;
    }
    case NX_GGML_Q8_0: {
        const uint8_t *b = row + g * 34;
        for (int i = 0; i < 32; i++)
            code[i] = (int8_t)b[2 + i];
        *scale = nx_f16_at(b);
        break;
    }
    case NX_GGML_Q4_K:
    case NX_GGML_Q5_K: { /* 32 bytes hold two parts of 32: low nibbles, then high ones */
        bool five = type == NX_GGML_Q5_K;
        const uint8_t *b = row + (g >> 3) * (five ? 176 : 144), *high = b + 16;
        int part = (int)(g & 7), s, m;
        const uint8_t *q = b + (five ? 48 : 16) + (part >> 1) * 32;
        nx_k_scale(b + 4, part, &s, &m);
        for (int i = 0; i < 32; i++) {
            int bit = five ? (high[i] >> part & 1) << 4 : 0;
            code[i] = (int16_t)((part & 1 ? q[i] >> 4 : q[i] & 15) | bit);
        }
        *scale = nx_f16_at(b) * (float)s;
        *min = -(nx_f16_at(b + 2) * (float)m);
        break;
    }
    case NX_GGML_Q6_K: { /* 128 low parts, 64 bytes of two high bits, 16 scales, one float16 */
        const uint8_t *b = row + (g >> 4) * 210;
        int at = (int)(g & 15) * 16, half = at >> 7, in = at & 127; /* in: place in its 128 */
        const uint8_t *low = b + half * 64 + (in & 63), *high = b + 128 + half * 32 + (in & 31);
        int shift = in >> 5 << 1;
        for (int i = 0; i < 16; i++) {
            int v = in < 64 ? low[i] & 15 : low[i] >> 4;
            code[i] = (int16_t)((v | (high[i] >> shift & 3) << 4) - 32);
        }
        *scale = nx_f16_at(b + 208) * (float)(int8_t)b[192 + (g & 15)];
        break;
    }
    case NX_GGML_Q2_K: { /* 16 bytes: scale and minimum of each 16; 64 bytes of two bits */
        const uint8_t *b = row + (g >> 4) * 84;
        int at = (int)(g & 15) * 16, half = at >> 7, in = at & 127, shift = in >> 5 << 1;
        const uint8_t *q = b + 16 + half * 32 + (in & 31);
        for (int i = 0; i < 16; i++)
            code[i] = q[i] >> shift & 3;
        *scale = nx_f16_at(b + 80) * (float)(b[g & 15] & 15);
        *min = -(nx_f16_at(b + 82) * (float)(b[g & 15] >> 4));
        break;
    }
    case NX_GGML_Q3_K: { /* 32 bytes of third bits (0 means minus 4), 64 of two bits, 12 of scales */
        const uint8_t *b = row + (g >> 4) * 110, *s = b + 96;
        int at = (int)(g & 15) * 16, half = at >> 7, in = at & 127, shift = in >> 5 << 1;
        const uint8_t *q = b + 32 + half * 32 + (in & 31), *high = b + (in & 31);
        int bit = half * 4 + (in >> 5), n = (int)(g & 15);
        for (int i = 0; i < 16; i++)
            code[i] = (int16_t)((q[i] >> shift & 3) - (high[i] >> bit & 1 ? 0 : 4));
        int low = n < 8 ? s[n] & 15 : s[n - 8] >> 4;
        *scale = nx_f16_at(b + 108) * (float)((low | (s[8 + (n & 3)] >> (n >> 2 << 1) & 3) << 4) - 32);
        break;
    }
    default: *scale = nx_book_group(type, row, g, code);
    }
}

/* ---- repacked tiles ---------------------------------------------------------------------------- */

/* Bytes of a tile before the first unit of a block. */
static inline int nx_tile_head(const nx_gguf_info *t)
{
    return NX_TILE * (t->block_bytes - t->block_values * t->bits / 8);
}

/* The words of small scales of a 256-value block; how many. */
static inline int nx_k_words(int type, const uint8_t *b, uint32_t *to)
{
    uint8_t scale[16];
    int s, m;
    to[0] = to[1] = to[2] = to[3] = 0;
    switch (type) {
    case NX_GGML_Q4_K:
    case NX_GGML_Q5_K:
        for (int g = 0; g < 8; g++) {
            nx_k_scale(b + 4, g, &s, &m);
            to[0] |= (uint32_t)(s & 15) << 4 * g;
            to[1] |= (uint32_t)(m & 15) << 4 * g;
            to[2] |= (uint32_t)(s >> 4) << 2 * g | (uint32_t)(m >> 4) << (16 + 2 * g);
        }
        return 3;
    case NX_GGML_Q3_K: b += 96;
        for (int g = 0; g < 16; g++) {
            to[g >> 3] |= (uint32_t)(g < 8 ? b[g] & 15 : b[g - 8] >> 4) << 4 * (g & 7);
            to[2] |= (uint32_t)(b[8 + (g & 3)] >> (g >> 2 << 1) & 3) << 2 * g;
        }
        return 3;
    case NX_GGML_Q6_K: memcpy(scale, b + 192, 16); break;
    case NX_GGML_Q2_K: memcpy(scale, b, 16); break;
    default: return 0;
    }
    for (int i = 0; i < 4; i++)
        to[i] = nx_u32_at(scale + 4 * i);
    return 4;
}

/* Places of the float scale and minimum in a block as in the file. */
static inline void nx_block_scales(int type, const uint8_t *b, const uint8_t **scale, const uint8_t **min)
{
    int at = type == NX_GGML_Q6_K ? 208 : type == NX_GGML_Q3_K ? 108 : type == NX_GGML_Q2_K ? 80 : 0;
    *scale = b + at;
    *min = b + at + 2;
}

/* The codes of a unit (the zero not subtracted). `words` are 16 words apart. */
static inline void nx_unit_codes(int bits, const uint8_t *words, int16_t *code)
{
    int low = bits == 8 ? 8 : bits >= 4 ? 4 : 2;
    static const int byte_of[4] = {0, 2, 1, 3};
    uint32_t w[8];
    for (int i = 0; i < bits; i++)
        w[i] = nx_u32_at(words + i * 4 * NX_TILE);
    for (int k = 0; k < 32; k++) {
        int half = 16 * (k & 1), pair = k >> 1;
        uint32_t c = low == 8   ? w[k >> 2] >> 8 * byte_of[k & 3] & 255
                     : low == 4 ? w[k >> 3] >> (4 * (pair & 3) + half) & 15
                                : w[k >> 4] >> (2 * (pair & 7) + half) & 3;
        if (bits - low == 2)
            c |= (w[low + (k >> 4)] >> (2 * (pair & 7) + half) & 3) << low;
        else if (bits - low == 1)
            c |= (w[low] >> (pair + half) & 1) << low;
        code[k] = (int16_t)c;
    }
}

/* Scale and minimum of group g (in its block) of a row, from the head of a tile's block. */
static inline void nx_tile_scales(int type, const nx_gguf_info *t, const uint8_t *head, int g, int r,
                                  float *scale, float *min)
{
    const uint8_t *s = head + t->scale_bytes * r, *m = s + t->scale_bytes * NX_TILE;
    const uint8_t *words = head + t->scale_bytes * NX_TILE * (t->has_min ? 2 : 1) + 4 * r;
    if (type & NX_AFFINE) {
        *scale = nx_affine_number(type, s);
        *min = nx_affine_number(type, m);
        return;
    }
    *scale = nx_f16_at(s);
    *min = t->has_min ? nx_f16_at(m) : 0;
    if (t->block_values == 32)
        return;
    uint32_t w[4];
    for (int i = 0; i < (t->bits == 6 || t->bits == 2 ? 4 : 3); i++)
        w[i] = nx_u32_at(words + i * 4 * NX_TILE);
    if (t->bits == 6) {
        *scale *= (float)(int8_t)(w[g >> 2] >> 8 * (g & 3));
    } else if (t->bits == 2) {
        int v = (int)(w[g >> 2] >> 8 * (g & 3) & 255);
        *scale *= (float)(v & 15);
        *min = -(*min * (float)(v >> 4));
    } else if (t->bits == 3) {
        *scale *= (float)((int)((w[g >> 3] >> 4 * (g & 7) & 15) | (w[2] >> 2 * g & 3) << 4) - 32);
    } else {
        *scale *= (float)(int)((w[0] >> 4 * g & 15) | (w[2] >> 2 * g & 3) << 4);
        *min = -(*min * (float)(int)((w[1] >> 4 * g & 15) | (w[2] >> (16 + 2 * g) & 3) << 4));
    }
}

/* Group g of row r of a tile, as nx_gguf_group gives it. */
static inline void nx_tile_group(int type, const nx_gguf_info *t, const uint8_t *tile, int64_t g,
                                 int r, int16_t *code, float *scale, float *min)
{
    int64_t k = g * t->group, block = k / t->block_values;
    int in = (int)(k % t->block_values), unit = 4 * NX_TILE * t->bits;
    const uint8_t *b = tile + block * t->block_bytes * NX_TILE;
    int16_t all[NX_GROUP_MAX];
    nx_tile_scales(type & ~NX_REPACKED, t, b, in / t->group, r, scale, min);
    const uint8_t *units = b + nx_tile_head(t) + in / 32 * unit + 4 * r;
    for (int u = 0; u < (t->group + 31) / 32; u++)
        nx_unit_codes(t->bits, units + u * unit, all + 32 * u);
    for (int i = 0; i < t->group; i++) {
        int c = all[in % 32 + i];
        code[i] = (int16_t)((type & NX_AFFINE) == 0 && t->bits == 8 ? (int8_t)c : c - t->zero);
    }
}

#endif
