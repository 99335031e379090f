/*
 * gguf_blocks.h: what the bytes of GGUF's quantized blocks mean, and the order we repack them to.
 *
 * All types are seen as groups of 16 or 32 weights in a row of the matrix: weight = scale * code +
 * minimum, with integer codes. A repacked matrix keeps its bytes in tiles of 16 rows: group by
 * group, the scales of the 16 rows (float16), their minima if the type has them, then words that
 * hold codes of one row each, 16 rows side by side, so that a vector of words becomes vectors of
 * pairs of 16-bit codes (k, k + 1) by one shift and one mask:
 *   4-bit part: word j, nibble i of its low half is code 8j + 2i, of its high half 8j + 2i + 1;
 *   fifth bits: bit i of the low half belongs to code 2i, of the high half to 2i + 1;
 *   8-bit: bytes 0, 2, 1, 3 of word j are codes 4j .. 4j + 3.
 * Rows after the last whole tile stay as they are in the file.
 */
#ifndef NX_CPU_GGUF_BLOCKS_H
#define NX_CPU_GGUF_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/ggml_types.h"
#include "engine/core/half.h"

enum { NX_TILE = 16, NX_REPACKED = 0x10000, NX_GROUP_MAX = 128 };

typedef struct {
    int block_values, block_bytes;
    int group;    /* values that share scale and minimum */
    bool has_min; /* else the minimum is zero */
    int zero;     /* subtracted from the stored code of repackable types */
    bool repacks; /* a tile order is defined for it */
} nx_gguf_info;

/* block_values 0: no quantized type we know. */
static inline nx_gguf_info nx_gguf_info_of(int type)
{
    switch (type & ~NX_REPACKED) {
    case NX_GGML_Q4_0: return (nx_gguf_info){32, 18, 32, false, 8, true};
    case NX_GGML_Q4_1: return (nx_gguf_info){32, 20, 32, true, 0, true};
    case NX_GGML_Q5_0: return (nx_gguf_info){32, 22, 32, false, 16, true};
    case NX_GGML_Q5_1: return (nx_gguf_info){32, 24, 32, true, 0, true};
    case NX_GGML_Q8_0: return (nx_gguf_info){32, 34, 32, false, 0, true};
    case NX_GGML_Q2_K: return (nx_gguf_info){256, 84, 16, true, 0, false};
    case NX_GGML_Q3_K: return (nx_gguf_info){256, 110, 16, false, 0, false};
    case NX_GGML_Q4_K: return (nx_gguf_info){256, 144, 32, true, 0, false};
    case NX_GGML_Q5_K: return (nx_gguf_info){256, 176, 32, true, 0, false};
    case NX_GGML_Q6_K: return (nx_gguf_info){256, 210, 16, false, 0, false};
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

/* Group g of a row as the file has it: its codes, scale and minimum. */
static inline void nx_gguf_group(int type, const uint8_t *row, int64_t g, int16_t *code, float *scale,
                                 float *min)
{
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
    default: break;
    }
}

/* ---- repacked tiles ---------------------------------------------------------------------------- */

/* Words of codes (4 or 8 bits) of one group of a tile follow its scales and minima. */
static inline int nx_tile_codes_at(const nx_gguf_info *t)
{
    return 2 * NX_TILE * (t->has_min ? 2 : 1);
}

static inline bool nx_tile_is_8bit(int type)
{
    return (type & ~NX_REPACKED) == NX_GGML_Q8_0;
}

/* Writes group g of row r (0..15) of a tile; code without the zero subtracted. */
static inline void nx_tile_put(int type, const nx_gguf_info *t, uint8_t *tile, int64_t g, int r,
                               const uint8_t *scale_min, const int16_t *code)
{
    uint8_t *b = tile + g * t->block_bytes * NX_TILE;
    memcpy(b + 2 * r, scale_min, 2);
    if (t->has_min)
        memcpy(b + 2 * NX_TILE + 2 * r, scale_min + 2, 2);
    uint32_t words[9] = {0};
    int n = nx_tile_is_8bit(type) ? 8 : 4;
    static const int byte_of[4] = {0, 2, 1, 3};
    for (int k = 0; k < 32; k++) {
        unsigned c = (unsigned)code[k];
        if (n == 8)
            words[k >> 2] |= (c & 255) << 8 * byte_of[k & 3];
        else
            words[k >> 3] |= (c & 15) << (4 * (k >> 1 & 3) + 16 * (k & 1));
        words[8] |= (c >> 4 & 1) << ((k >> 1) + 16 * (k & 1));
    }
    words[n] = words[8]; /* fifth bits follow the nibbles, where the type has them */
    bool fifth = t->block_bytes > 20 && n == 4;
    for (int i = 0; i < n + fifth; i++)
        memcpy(b + nx_tile_codes_at(t) + (i * NX_TILE + r) * 4, &words[i], 4);
}

/* Group g of row r of a tile, as nx_gguf_group gives it. */
static inline void nx_tile_group(int type, const nx_gguf_info *t, const uint8_t *tile, int64_t g,
                                 int r, int16_t *code, float *scale, float *min)
{
    const uint8_t *b = tile + g * t->block_bytes * NX_TILE, *words = b + nx_tile_codes_at(t) + 4 * r;
    *scale = nx_f16_at(b + 2 * r);
    *min = t->has_min ? nx_f16_at(b + 2 * NX_TILE + 2 * r) : 0;
    bool fifth = t->block_bytes > 20;
    for (int k = 0; k < 32; k++) {
        if (nx_tile_is_8bit(type)) {
            static const int byte_of[4] = {0, 2, 1, 3};
            code[k] = (int8_t)words[(k >> 2) * 4 * NX_TILE + byte_of[k & 3]];
            continue;
        }
        uint32_t w = nx_u32_at(words + (k >> 3) * 4 * NX_TILE);
        uint32_t h = fifth ? nx_u32_at(words + 4 * 4 * NX_TILE) : 0;
        uint32_t c = (w >> (4 * (k >> 1 & 3) + 16 * (k & 1)) & 15) |
                     (h >> ((k >> 1) + 16 * (k & 1)) & 1) << 4;
        code[k] = (int16_t)((int)c - t->zero);
    }
}

#endif
