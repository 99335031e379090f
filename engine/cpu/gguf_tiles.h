/*
 * gguf_tiles.h: repacked tiles (gguf_blocks.h) as vectors of one level. `kind` is a constant where these
 * are inlined: the number of a GGUF type, or NX_AFFINE | bits.
 */
#ifndef NX_CPU_GGUF_TILES_H
#define NX_CPU_GGUF_TILES_H

#include "engine/cpu/gguf_blocks.h"
#include "engine/cpu/qmm.h"
#include "engine/cpu/simd.h"

#define NX_TILE_KINDS(X)                                                                           \
    X(Q4_0, NX_GGML_Q4_0) X(Q4_1, NX_GGML_Q4_1) X(Q5_0, NX_GGML_Q5_0) X(Q5_1, NX_GGML_Q5_1)        \
    X(Q8_0, NX_GGML_Q8_0) X(Q2_K, NX_GGML_Q2_K) X(Q3_K, NX_GGML_Q3_K) X(Q4_K, NX_GGML_Q4_K)        \
    X(Q5_K, NX_GGML_Q5_K) X(Q6_K, NX_GGML_Q6_K)                                                    \
    X(affine2, NX_AFFINE | 2) X(affine3, NX_AFFINE | 3) X(affine4, NX_AFFINE | 4)                  \
    X(affine5, NX_AFFINE | 5) X(affine6, NX_AFFINE | 6) X(affine8, NX_AFFINE | 8)

NX_INLINE nx_gguf_info kind_info(int kind)
{
    return nx_gguf_info_of(kind);
}
/* Of affine kinds the group and the scales' type are the matrix's own: these hold for the others. */
NX_INLINE int kind_block(int kind)
{
    return kind_info(kind).block_values;
}
NX_INLINE bool kind_signed(int kind)
{
    return kind == NX_GGML_Q8_0;
}

/* A matrix of tiles as the loops over it see it. */
typedef struct {
    int group, block; /* values of them */
    int scale_bytes, scales;  /* of a block's scale; NX_AFFINE_F16 and so on */
    int64_t head, bytes;      /* of a block of a tile */
} tile_order;

NX_INLINE tile_order tile_order_of(int kind, int type)
{
    const nx_gguf_info t = nx_gguf_info_of(kind & NX_AFFINE ? type & ~NX_REPACKED : kind);
    return (tile_order){.group = t.group, .block = t.block_values, .scale_bytes = t.scale_bytes, .scales = kind & NX_AFFINE ? type >> 8 & 3 : NX_AFFINE_F16,
                   .head = nx_tile_head(&t), .bytes = (int64_t)t.block_bytes * NX_TILE};
}

/* The 32 values from k on of a tile, and the block they are of. */
NX_INLINE const uint8_t *unit_at(int kind, const tile_order *t, const uint8_t *tile, int64_t k, const uint8_t **block)
{
    *block = tile + k / t->block * t->bytes;
    return *block + t->head + k % t->block / 32 * (4 * NX_TILE * kind_info(kind).bits);
}

/* A quarter of a unit: its code pairs 4 j .. 4 j + 3; the zero is not subtracted. j is a constant. */
NX_INLINE void unit_quarter(int kind, const uint8_t *unit, int lane, int j, vi *w)
{
    const int bits = kind_info(kind).bits, low = bits == 8 ? 8 : bits >= 4 ? 4 : 2;
    const uint8_t *at = unit + lane * VF_N * 4;
    if (low == 8) {
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            vi v = vi_load(at + (2 * j + i) * 4 * NX_TILE);
            const vi byte = vi_set32(0x00FF00FF);
            w[2 * i] = kind_signed(kind) ? vi_sar16(vi_shl16(v, 8), 8) : vi_and(v, byte);
            w[2 * i + 1] = kind_signed(kind) ? vi_sar16(v, 8) : vi_and(vi_shr32(v, 8), byte);
        }
        return;
    }
    if (low == 4) {
        const vi mask = vi_set32(0x000F000F);
        vi v = vi_load(at + j * 4 * NX_TILE);
        w[0] = vi_and(v, mask);
        w[1] = vi_and(vi_shr32(v, 4), mask);
        w[2] = vi_and(vi_shr32(v, 8), mask);
        w[3] = vi_and(vi_shr32(v, 12), mask);
    } else {
        const vi mask = vi_set32(0x00030003);
        vi v = vi_load(at + (j >> 1) * 4 * NX_TILE);
        w[0] = vi_and(j & 1 ? vi_shr32(v, 8) : v, mask);
        w[1] = vi_and(j & 1 ? vi_shr32(v, 10) : vi_shr32(v, 2), mask);
        w[2] = vi_and(j & 1 ? vi_shr32(v, 12) : vi_shr32(v, 4), mask);
        w[3] = vi_and(j & 1 ? vi_shr32(v, 14) : vi_shr32(v, 6), mask);
    }
#define ADD(e, moved) w[e] = vi_or(w[e], vi_and(moved, mask));
#define UP(n)         vi_shl16(h, n)
#define DOWN(n)       vi_shr32(h, n)
    if (bits == 3 || bits == 5) { /* bit `low`, pair by pair; shifts by constants */
        const vi mask = vi_set32(bits == 3 ? 0x00040004 : 0x00100010);
        vi h = vi_load(at + low * 4 * NX_TILE);
        switch (j + (low == 2 ? 4 : 0)) {
        case 0: ADD(0, UP(4)) ADD(1, UP(3)) ADD(2, UP(2)) ADD(3, UP(1)) break;
        case 1: ADD(0, h) ADD(1, DOWN(1)) ADD(2, DOWN(2)) ADD(3, DOWN(3)) break;
        case 2: ADD(0, DOWN(4)) ADD(1, DOWN(5)) ADD(2, DOWN(6)) ADD(3, DOWN(7)) break;
        case 3: ADD(0, DOWN(8)) ADD(1, DOWN(9)) ADD(2, DOWN(10)) ADD(3, DOWN(11)) break;
        case 4: ADD(0, UP(2)) ADD(1, UP(1)) ADD(2, h) ADD(3, DOWN(1)) break;
        case 5: ADD(0, DOWN(2)) ADD(1, DOWN(3)) ADD(2, DOWN(4)) ADD(3, DOWN(5)) break;
        case 6: ADD(0, DOWN(6)) ADD(1, DOWN(7)) ADD(2, DOWN(8)) ADD(3, DOWN(9)) break;
        default: ADD(0, DOWN(10)) ADD(1, DOWN(11)) ADD(2, DOWN(12)) ADD(3, DOWN(13))
        }
    } else if (bits == 6) { /* bits 4 and 5, eight pairs a word */
        const vi mask = vi_set32(0x00300030);
        vi h = vi_load(at + (4 + (j >> 1)) * 4 * NX_TILE);
        if (j & 1) {
            ADD(0, DOWN(4)) ADD(1, DOWN(6)) ADD(2, DOWN(8)) ADD(3, DOWN(10))
        } else {
            ADD(0, UP(4)) ADD(1, UP(2)) ADD(2, h) ADD(3, DOWN(2))
        }
    }
#undef ADD
#undef UP
#undef DOWN
}

NX_INLINE vf scale_at(int scales, const uint8_t *p, int lane)
{
    if (scales == NX_AFFINE_F16)
        return vf_load_f16(p + lane * VF_N * 2);
    if (scales == NX_AFFINE_BF16)
        return vf_load_bf16(p + lane * VF_N * 2);
    return vf_load((const float *)(const void *)(p + lane * VF_N * 4));
}

/* Scales and minima of group g (in its block) of a block at b. */
NX_INLINE void group_scales(int kind, const tile_order *t, const uint8_t *b, int g, int lane, vf *scale, vf *min)
{
    const bool has_min = kind_info(kind).has_min;
    const int bits = kind_info(kind).bits;
    vf s = scale_at(t->scales, b, lane);
    vf m = has_min ? scale_at(t->scales, b + t->scale_bytes * NX_TILE, lane) : vf_set(0);
    if (!(kind & NX_AFFINE) && kind_block(kind) == 256) {
        const uint8_t *words = b + 2 * NX_TILE * (has_min ? 2 : 1) + lane * VF_N * 4;
#define WORD(i) vi_load(words + (i) * 4 * NX_TILE)
#define BITS(v, at, n) vi_and(vi_shr32_by(v, at), vi_set32((1 << (n)) - 1))
        if (bits == 6) {
            vi v = BITS(WORD(g >> 2), 8 * (g & 3), 8);
            vi sign = vi_shl16(vi_and(v, vi_set32(128)), 1); /* bytes are signed */
            s = vf_mul(s, vf_from_i32(vi_sub32(v, sign)));
        } else if (bits == 2) {
            vi v = WORD(g >> 2);
            s = vf_mul(s, vf_from_i32(BITS(v, 8 * (g & 3), 4)));
            m = vf_mul(vf_mul(m, vf_from_i32(BITS(v, 8 * (g & 3) + 4, 4))), vf_set(-1));
        } else if (bits == 3) {
            vi v = vi_add32(BITS(WORD(g >> 3), 4 * (g & 7), 4), vi_shl16(BITS(WORD(2), 2 * g, 2), 4));
            s = vf_mul(s, vf_from_i32(vi_sub32(v, vi_set32(32))));
        } else {
            vi v = vi_add32(BITS(WORD(0), 4 * g, 4), vi_shl16(BITS(WORD(2), 2 * g, 2), 4));
            vi u = vi_add32(BITS(WORD(1), 4 * g, 4), vi_shl16(BITS(WORD(2), 16 + 2 * g, 2), 4));
            s = vf_mul(s, vf_from_i32(v));
            m = vf_mul(vf_mul(m, vf_from_i32(u)), vf_set(-1));
        }
#undef WORD
#undef BITS
    }
    *scale = s;
    *min = m;
}

/* Scales and minima of the groups that begin in the unit at k. */
NX_INLINE void load_scales(int kind, const tile_order *t, const uint8_t *b, int lane, int64_t k, int64_t k0,
                           float *scale, float *min)
{
    for (int64_t at = k; at < k + 32; at += t->group) {
        vf s, m;
        if (at % t->group)
            break; /* in the middle of a large group */
        int64_t g = (at - k0) / t->group;
        group_scales(kind, t, b, (int)(at % t->block / t->group), lane, &s, &m);
        vf_store(scale + g * NX_TILE + lane * VF_N, s);
        vf_store(min + g * NX_TILE + lane * VF_N, m);
    }
}

NX_INLINE const uint8_t *tile_at(const nx_qmm *q, int64_t tile)
{
    return (const uint8_t *)q->w + tile * NX_TILE * q->w_row_bytes;
}

/* Tiles after the last whole one are rows as in the file. */
NX_INLINE bool is_tile(const nx_qmm *q, int64_t tile)
{
    return (tile + 1) * NX_TILE <= q->n;
}

#endif
