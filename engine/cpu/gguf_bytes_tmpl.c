/*
 * gguf_bytes_tmpl.c: panels of bytes out of repacked tiles, for products by amx.h; of the levels that have it.
 */
#include "engine/cpu/gguf_rows.h"
#include "engine/cpu/gguf_tiles.h"
#include "engine/cpu/qmm.h"
#include "engine/cpu/simd.h"

/* Of every four bytes the two in the middle, exchanged. */
NX_INLINE vi exchange_middles(vi v)
{
#if defined(__AVX512BW__)
    return _mm512_shuffle_epi8(v, _mm512_set4_epi32(0x0F0D0E0C, 0x0B090A08, 0x07050604, 0x03010200));
#else
    vi outer = vi_and(v, vi_set32((int)0xFF0000FF));
    vi up = vi_shl32(vi_and(v, vi_set32(0xFF00)), 8), down = vi_and(vi_shr32(v, 8), vi_set32(0xFF00));
    return vi_or(outer, vi_or(up, down));
#endif
}

/* Codes as bytes (see load_bytes): a quarter of a unit is two lines, whose middle bytes come out exchanged;
 * and so lie codes of eight bits. */
NX_INLINE void load_tile_bytes(int kind, const nx_qmm *q, int64_t tile, int64_t k0, int64_t kc,
                               uint32_t *panel, float *scale, float *min)
{
    const tile_order t = tile_order_of(kind, q->type);
    const int bits = kind_info(kind).bits, zero = kind_info(kind).zero;
    const vi zeros = vi_set32(zero * 0x01010101);
    for (int64_t k = k0; k < k0 + kc; k += 32, panel += 8 * NX_TILE) {
        const uint8_t *b, *unit = unit_at(kind, &t, tile_at(q, tile), k, &b);
        for (int lane = 0; lane < NX_TILE / VF_N; lane++) {
            uint32_t *to = panel + lane * VF_N;
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) {
                vi w[4];
                if (bits < 8)
                    unit_quarter(kind, unit, lane, j, w);
                for (int i = 0; i < 2; i++) {
                    vi v = bits == 8 ? vi_load(unit + lane * VF_N * 4 + (2 * j + i) * 4 * NX_TILE)
                                     : vi_or(w[2 * i], vi_shl32(w[2 * i + 1], 8));
                    v = exchange_middles(v);
                    vi_store(to + (2 * j + i) * NX_TILE, zero ? vi_sub8(v, zeros) : v);
                }
            }
            load_scales(kind, &t, b, lane, k, k0, scale, min);
        }
    }
}

#define KIND(name, kind)                                                                           \
    static bool bytes_##name(const nx_qmm *q, int64_t tile, int64_t k0, int64_t kc,                \
                             uint32_t *panel, float *scale, float *min)                            \
    {                                                                                              \
        if (is_tile(q, tile))                                                                      \
            load_tile_bytes(kind, q, tile, k0, kc, panel, scale, min);                             \
        return is_tile(q, tile);                                                                   \
    }
NX_TILE_KINDS(KIND)

void NX_FN(nx_gguf_bytes)(nx_qmm *q)
{
    int type = q->type, kind = type & NX_AFFINE ? type & (NX_AFFINE | 15) : type & ~NX_REPACKED;
    if (!(type & NX_REPACKED))
        return;
    switch (kind) {
#define CASE(name, number) case number: q->load_bytes = bytes_##name; break;
    NX_TILE_KINDS(CASE)
    default: break;
    }
}
