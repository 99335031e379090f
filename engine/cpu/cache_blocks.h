/*
 * cache_blocks.h: keys and values of a cache in 8 or 4 bits: rows of blocks of 32 numbers, laid out as
 * GGUF's Q8_0 (a float16 scale, 32 signed codes) and Q4_1 (a float16 scale and minimum, 16 bytes: low
 * nibbles are codes 0-15, high ones 16-31). The last block of a row is filled up with zeros.
 *
 * number = scale * code (+ minimum), in one rounding where the level has fused multiply-adds: the same
 * bits whether a row is read number by number or in vectors.
 */
#ifndef NX_CPU_CACHE_BLOCKS_H
#define NX_CPU_CACHE_BLOCKS_H

#include "engine/core/half.h"
#include "engine/cpu/kmath_float.h"
#include "engine/cpu/simd.h"
#include "engine/ops/params.h"

NX_INLINE float cache_number(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, 2);
#if defined(NX_ISA_avx512) || defined(NX_ISA_avx2)
    return _cvtsh_ss(h);
#else
    return nx_half_to_float(h);
#endif
}

/* n numbers of a row, from block b on. */
NX_INLINE void cache_row_numbers(int bits, const uint8_t *b, int64_t n, float *to)
{
    for (int64_t g = 0; g < n; g += NX_CACHE_GROUP, b += nx_cache_block_bytes(bits)) {
        float v[NX_CACHE_GROUP], scale = cache_number(b), min = bits == 4 ? cache_number(b + 2) : 0;
        if (bits == 8) {
            for (int i = 0; i < NX_CACHE_GROUP; i++)
                v[i] = scale * (float)(int8_t)b[2 + i];
        } else {
            for (int i = 0; i < NX_CACHE_GROUP / 2; i++) {
                v[i] = K_FMA(scale, (float)(b[4 + i] & 15), min);
                v[i + 16] = K_FMA(scale, (float)(b[4 + i] >> 4), min);
            }
        }
        int64_t some = n - g < NX_CACHE_GROUP ? n - g : NX_CACHE_GROUP;
        memcpy(to + g, v, (size_t)some * sizeof *to);
    }
}

#if defined(NX_ISA_avx512) || defined(NX_ISA_avx2)
#define NX_CACHE_VECTORS 1

/* Numbers at .. at + VF_N - 1 of a block whose scale and minimum are known. */
NX_INLINE vf cache_vector(int bits, const uint8_t *b, int at, vf scale, vf min)
{
    const uint8_t *codes = bits == 8 ? b + 2 + at : b + 4 + (at & 15);
#if defined(NX_ISA_avx512)
    __m128i bytes = _mm_loadu_si128((const void *)codes);
    __m512i v = bits == 8 ? _mm512_cvtepi8_epi32(bytes) : _mm512_cvtepu8_epi32(bytes);
#else
    __m128i bytes = _mm_loadl_epi64((const void *)codes);
    __m256i v = bits == 8 ? _mm256_cvtepi8_epi32(bytes) : _mm256_cvtepu8_epi32(bytes);
#endif
    if (bits == 8)
        return vf_mul(scale, vf_from_i32(v));
    v = at < 16 ? vi_and(v, vi_set32(15)) : vi_shr32(v, 4);
    return vf_fma(scale, vf_from_i32(v), min);
}

/* 16-bit codes of 2 * VF_N numbers of a block, from `at` on. */
NX_INLINE vi cache_codes(int bits, const uint8_t *b, int at)
{
#if defined(NX_ISA_avx512)
    if (bits == 8)
        return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const void *)(b + 2)));
    __m256i v = _mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)(b + 4)));
    __m256i low = _mm256_and_si256(v, _mm256_set1_epi16(15));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), _mm256_srli_epi16(v, 4), 1);
#else
    if (bits == 8)
        return _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(b + 2 + at)));
    __m256i v = _mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)(b + 4)));
    return at < 16 ? _mm256_and_si256(v, _mm256_set1_epi16(15)) : _mm256_srli_epi16(v, 4);
#endif
}
#else
#define NX_CACHE_VECTORS 0
#endif

#endif
