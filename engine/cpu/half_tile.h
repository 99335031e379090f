/*
 * half_tile.h: rows of half types to float and back, with the processor's instructions where it has
 * them. Rounding is to nearest even; NaN stays NaN.
 */
#ifndef NX_CPU_HALF_TILE_H
#define NX_CPU_HALF_TILE_H

#include "engine/cpu/types.h"

#if defined(__F16C__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

static inline void nx_tile_from_f16(int64_t n, const nx_f16 *from, float *to)
{
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i < (n & -16); i += 16)
        _mm512_storeu_ps(to + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(from + i))));
#elif defined(__F16C__)
    for (; i < (n & -8); i += 8)
        _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(from + i))));
#elif defined(__aarch64__)
    for (; i < (n & -4); i += 4)
        vst1q_f32(to + i, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(&from[i].bits))));
#endif
    for (; i < n; i++)
        to[i] = nx_half_to_float(from[i].bits);
}

static inline void nx_tile_to_f16(int64_t n, const float *from, nx_f16 *to)
{
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i < (n & -16); i += 16)
        _mm256_storeu_si256((__m256i *)(to + i), _mm512_cvtps_ph(_mm512_loadu_ps(from + i), 0));
#elif defined(__F16C__)
    for (; i < (n & -8); i += 8)
        _mm_storeu_si128((__m128i *)(to + i), _mm256_cvtps_ph(_mm256_loadu_ps(from + i), 0));
#elif defined(__aarch64__)
    for (; i < (n & -4); i += 4)
        vst1_u16(&to[i].bits, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(from + i))));
#endif
    for (; i < n; i++)
        to[i].bits = nx_half_from_float(from[i]);
}

static inline void nx_tile_from_bf16(int64_t n, const nx_bf16 *restrict from, float *restrict to)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = nx_bf16_to_float(from[i].bits);
}

#if defined(__AVX2__) && !defined(__AVX512F__)
/* The bits of eight bfloat16 in 32 bits each, as nx_bf16_from_float has them. */
static inline __m256i nx_bf16_bits_eight(const float *from)
{
    __m256 f = _mm256_loadu_ps(from);
    __m256i u = _mm256_castps_si256(f), odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    __m256i rounded = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
    __m256 quiet = _mm256_castsi256_ps(_mm256_or_si256(u, _mm256_set1_epi32(0x400000)));
    __m256 nan = _mm256_cmp_ps(f, f, _CMP_UNORD_Q);
    return _mm256_srli_epi32(_mm256_castps_si256(_mm256_blendv_ps(_mm256_castsi256_ps(rounded), quiet, nan)), 16);
}
#endif

static inline void nx_tile_to_bf16(int64_t n, const float *restrict from, nx_bf16 *restrict to)
{
    int64_t i = 0;
#if defined(__AVX2__) && !defined(__AVX512F__)
    for (; i < (n & -16); i += 16) { /* packing exchanges the middle quarters */
        __m256i both = _mm256_packus_epi32(nx_bf16_bits_eight(from + i), nx_bf16_bits_eight(from + i + 8));
        _mm256_storeu_si256((__m256i *)(to + i), _mm256_permute4x64_epi64(both, 0xD8));
    }
#endif
    for (; i < n; i++)
        to[i].bits = nx_bf16_from_float(from[i]);
}

#endif
