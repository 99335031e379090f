/*
 * simd.h: vectors of the level a template is compiled for, as far as products and attention need
 * them: floats (vf, VF_N lanes), doubles (vd) and the 16-bit integer dot product.
 *
 * Where the level has a fused multiply-add, vf_fma rounds once; elsewhere it multiplies and adds.
 */
#ifndef NX_CPU_SIMD_H
#define NX_CPU_SIMD_H

#include <stdint.h>
#include <string.h>

#include "engine/core/half.h"

#define NX_INLINE static inline __attribute__((always_inline, unused))

#if defined(NX_ISA_avx512)
#include <immintrin.h>
typedef __m512 vf;
typedef __m512d vd;
typedef __m512i vi;
enum { VF_N = 16, VD_N = 8 };
#define vf_load(p)      _mm512_loadu_ps(p)
#define vf_store(p, v)  _mm512_storeu_ps(p, v)
#define vf_set(x)       _mm512_set1_ps(x)
#define vf_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define vf_add(a, b)    _mm512_add_ps(a, b)
#define vf_sub(a, b)    _mm512_sub_ps(a, b)
#define vf_mul(a, b)    _mm512_mul_ps(a, b)
#define vf_max(a, b)    _mm512_max_ps(a, b)
#define vd_load(p)      _mm512_loadu_pd(p)
#define vd_store(p, v)  _mm512_storeu_pd(p, v)
#define vd_set(x)       _mm512_set1_pd(x)
#define vd_fma(a, b, c) _mm512_fmadd_pd(a, b, c)
#define vi_load(p)      _mm512_loadu_si512(p)
#define vi_store(p, v)  _mm512_storeu_si512(p, v)
#define vi_zero()       _mm512_setzero_si512()
#define vi_set32(x)     _mm512_set1_epi32(x)
#define vi_add32(a, b)  _mm512_add_epi32(a, b)
#define vi_sub32(a, b)  _mm512_sub_epi32(a, b)
#define vi_sub16(a, b)  _mm512_sub_epi16(a, b)
#define vi_sub8(a, b)   _mm512_sub_epi8(a, b)
/* c[i] += a[2i] b[2i] + a[2i+1] b[2i+1]. Written out, because around the intrinsic gcc moves every sum of a loop
 * from register to register and back. */
NX_INLINE vi vi_dot16(vi c, vi a, vi b)
{
    __asm__("vpdpwssd %2, %1, %0" : "+v"(c) : "v"(a), "v"(b));
    return c;
}
#define vf_from_i32(v)  _mm512_cvtepi32_ps(v)
#define vf_load_f16(p)  _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(p)))
#define vi_and(a, b)    _mm512_and_si512(a, b)
#define vi_shr32(a, n)  _mm512_srli_epi32(a, n)
#define vi_shl32(a, n)  _mm512_slli_epi32(a, n)
#define vi_shl16(a, n)  _mm512_slli_epi16(a, n)
#define vi_sar16(a, n)  _mm512_srai_epi16(a, n)
#define vi_or(a, b)     _mm512_or_si512(a, b)
#define vi_shr32_by(a, n) _mm512_srl_epi32(a, _mm_cvtsi32_si128(n)) /* n need not be a literal */
#define vf_load_bf16(p)                                                                            \
    _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(p))), 16))

#elif defined(NX_ISA_avx2)
#include <immintrin.h>
typedef __m256 vf;
typedef __m256d vd;
typedef __m256i vi;
enum { VF_N = 8, VD_N = 4 };
#define vf_load(p)      _mm256_loadu_ps(p)
#define vf_store(p, v)  _mm256_storeu_ps(p, v)
#define vf_set(x)       _mm256_set1_ps(x)
#define vf_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define vf_add(a, b)    _mm256_add_ps(a, b)
#define vf_sub(a, b)    _mm256_sub_ps(a, b)
#define vf_mul(a, b)    _mm256_mul_ps(a, b)
#define vf_max(a, b)    _mm256_max_ps(a, b)
#define vd_load(p)      _mm256_loadu_pd(p)
#define vd_store(p, v)  _mm256_storeu_pd(p, v)
#define vd_set(x)       _mm256_set1_pd(x)
#define vd_fma(a, b, c) _mm256_fmadd_pd(a, b, c)
#define vi_load(p)      _mm256_loadu_si256((const void *)(p))
#define vi_store(p, v)  _mm256_storeu_si256((void *)(p), v)
#define vi_zero()       _mm256_setzero_si256()
#define vi_set32(x)     _mm256_set1_epi32(x)
#define vi_add32(a, b)  _mm256_add_epi32(a, b)
#define vi_sub32(a, b)  _mm256_sub_epi32(a, b)
#define vi_sub16(a, b)  _mm256_sub_epi16(a, b)
#define vi_sub8(a, b)   _mm256_sub_epi8(a, b)
#define vi_dot16(c, a, b) avx2_dot16(c, a, b)
#define vf_from_i32(v)  _mm256_cvtepi32_ps(v)
#define vf_load_f16(p)  _mm256_cvtph_ps(_mm_loadu_si128((const void *)(p)))
#define vi_and(a, b)    _mm256_and_si256(a, b)
#define vi_shr32(a, n)  _mm256_srli_epi32(a, n)
#define vi_shl32(a, n)  _mm256_slli_epi32(a, n)
#define vi_shl16(a, n)  _mm256_slli_epi16(a, n)
#define vi_sar16(a, n)  _mm256_srai_epi16(a, n)
#define vi_or(a, b)     _mm256_or_si256(a, b)
#define vi_shr32_by(a, n) _mm256_srl_epi32(a, _mm_cvtsi32_si128(n))
#define vf_load_bf16(p)                                                                            \
    _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(p))), 16))

/* The sum in place: left to itself gcc moves every sum from register to register, and some through memory. */
NX_INLINE vi avx2_dot16(vi c, vi a, vi b)
{
    vi product = _mm256_madd_epi16(a, b);
    __asm__("vpaddd %1, %0, %0" : "+x"(c) : "x"(product));
    return c;
}
#elif defined(__x86_64__)
#include <emmintrin.h>
typedef __m128 vf;
typedef __m128d vd;
typedef __m128i vi;
enum { VF_N = 4, VD_N = 2 };
#define vf_load(p)      _mm_loadu_ps(p)
#define vf_store(p, v)  _mm_storeu_ps(p, v)
#define vf_set(x)       _mm_set1_ps(x)
#define vf_fma(a, b, c) _mm_add_ps(_mm_mul_ps(a, b), c)
#define vf_add(a, b)    _mm_add_ps(a, b)
#define vf_sub(a, b)    _mm_sub_ps(a, b)
#define vf_mul(a, b)    _mm_mul_ps(a, b)
#define vf_max(a, b)    _mm_max_ps(a, b)
#define vd_load(p)      _mm_loadu_pd(p)
#define vd_store(p, v)  _mm_storeu_pd(p, v)
#define vd_set(x)       _mm_set1_pd(x)
#define vd_fma(a, b, c) _mm_add_pd(_mm_mul_pd(a, b), c)
#define vi_load(p)      _mm_loadu_si128((const void *)(p))
#define vi_store(p, v)  _mm_storeu_si128((void *)(p), v)
#define vi_zero()       _mm_setzero_si128()
#define vi_set32(x)     _mm_set1_epi32(x)
#define vi_add32(a, b)  _mm_add_epi32(a, b)
#define vi_sub32(a, b)  _mm_sub_epi32(a, b)
#define vi_sub16(a, b)  _mm_sub_epi16(a, b)
#define vi_sub8(a, b)   _mm_sub_epi8(a, b)
#define vi_dot16(c, a, b) _mm_add_epi32(c, _mm_madd_epi16(a, b))
#define vf_from_i32(v)  _mm_cvtepi32_ps(v)
#define vi_and(a, b)    _mm_and_si128(a, b)
#define vi_shr32(a, n)  _mm_srli_epi32(a, n)
#define vi_shl32(a, n)  _mm_slli_epi32(a, n)
#define vi_shl16(a, n)  _mm_slli_epi16(a, n)
#define vi_sar16(a, n)  _mm_srai_epi16(a, n)
#define vi_or(a, b)     _mm_or_si128(a, b)
#define vi_shr32_by(a, n) _mm_srl_epi32(a, _mm_cvtsi32_si128(n))

#elif defined(__aarch64__)
#include <arm_neon.h>
typedef float32x4_t vf;
typedef float64x2_t vd;
typedef int32x4_t vi;
enum { VF_N = 4, VD_N = 2 };
#define vf_load(p)      vld1q_f32(p)
#define vf_store(p, v)  vst1q_f32(p, v)
#define vf_set(x)       vdupq_n_f32(x)
#define vf_fma(a, b, c) vfmaq_f32(c, a, b)
#define vf_add(a, b)    vaddq_f32(a, b)
#define vf_sub(a, b)    vsubq_f32(a, b)
#define vf_mul(a, b)    vmulq_f32(a, b)
#define vf_max(a, b)    vmaxq_f32(a, b)
#define vd_load(p)      vld1q_f64(p)
#define vd_store(p, v)  vst1q_f64(p, v)
#define vd_set(x)       vdupq_n_f64(x)
#define vd_fma(a, b, c) vfmaq_f64(c, a, b)
#define vi_load(p)      vld1q_s32((const int32_t *)(p))
#define vi_store(p, v)  vst1q_s32((int32_t *)(p), v)
#define vi_zero()       vdupq_n_s32(0)
#define vi_set32(x)     vdupq_n_s32(x)
#define vi_add32(a, b)  vaddq_s32(a, b)
#define vi_sub32(a, b)  vsubq_s32(a, b)
#define vi_sub16(a, b)                                                                             \
    vreinterpretq_s32_s16(vsubq_s16(vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b)))
#define vi_sub8(a, b) vreinterpretq_s32_s8(vsubq_s8(vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b)))
#define vf_from_i32(v)  vcvtq_f32_s32(v)
#define vi_and(a, b)    vandq_s32(a, b)
#define vi_or(a, b)     vorrq_s32(a, b)
/* Shift counts need not be literals here. */
#define vi_shr32(a, n)                                                                             \
    vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(a), vdupq_n_s32(-(n))))
#define vi_shl32(a, n)  vshlq_s32(a, vdupq_n_s32(n))
#define vi_shl16(a, n)                                                                             \
    vreinterpretq_s32_s16(vshlq_s16(vreinterpretq_s16_s32(a), vdupq_n_s16(n)))
#define vi_sar16(a, n)                                                                             \
    vreinterpretq_s32_s16(vshlq_s16(vreinterpretq_s16_s32(a), vdupq_n_s16((int16_t)-(n))))
#define vf_load_f16(p)                                                                             \
    vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16((const uint16_t *)(const void *)(p))))
NX_INLINE vi vi_dot16(vi c, vi a, vi b)
{
    int16x8_t x = vreinterpretq_s16_s32(a), y = vreinterpretq_s16_s32(b);
    int32x4_t low = vmull_s16(vget_low_s16(x), vget_low_s16(y));
    return vaddq_s32(c, vpaddq_s32(low, vmull_high_s16(x, y)));
}

#else /* the compiler's own vectors */
typedef float vf __attribute__((vector_size(16)));
typedef double vd __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef int16_t vi_16 __attribute__((vector_size(16)));
enum { VF_N = 4, VD_N = 2 };
#define NX_ANY_LOAD(type, p) ({ type v_; memcpy(&v_, p, sizeof v_); v_; })
#define vf_load(p)      NX_ANY_LOAD(vf, p)
#define vf_store(p, v)  ({ vf v_ = (v); memcpy(p, &v_, sizeof v_); })
#define vf_set(x)       ({ float x_ = (x); (vf){x_, x_, x_, x_}; })
#define vf_fma(a, b, c) ((a) * (b) + (c))
#define vf_add(a, b)    ((a) + (b))
#define vf_sub(a, b)    ((a) - (b))
#define vf_mul(a, b)    ((a) * (b))
#define vf_max(a, b)    ({ vf a_ = (a), b_ = (b); vi m_ = a_ > b_; (vf)(((vi)a_ & m_) | ((vi)b_ & ~m_)); })
#define vd_load(p)      NX_ANY_LOAD(vd, p)
#define vd_store(p, v)  ({ vd v_ = (v); memcpy(p, &v_, sizeof v_); })
#define vd_set(x)       ({ double x_ = (x); (vd){x_, x_}; })
#define vd_fma(a, b, c) ((a) * (b) + (c))
#define vi_load(p)      NX_ANY_LOAD(vi, p)
#define vi_store(p, v)  ({ vi v_ = (v); memcpy(p, &v_, sizeof v_); })
#define vi_zero()       ((vi){0})
#define vi_set32(x)     ({ int32_t x_ = (x); (vi){x_, x_, x_, x_}; })
#define vi_add32(a, b)  ((a) + (b))
#define vi_sub32(a, b)  ((a) - (b))
#define vi_sub16(a, b)  ((vi)((vi_16)(a) - (vi_16)(b)))
#define vf_from_i32(v)  __builtin_convertvector(v, vf)
#define vi_and(a, b)    ((a) & (b))
#define vi_or(a, b)     ((a) | (b))
#define vi_shr32(a, n)  ((vi)((vi_u32)(a) >> (n)))
#define vi_shl32(a, n)  ((vi)((vi_u32)(a) << (n)))
#define vi_shl16(a, n)  ((vi)((vi_16)(a) << (n)))
#define vi_sar16(a, n)  ((vi)((vi_16)(a) >> (n)))
typedef uint32_t vi_u32 __attribute__((vector_size(16)));
NX_INLINE vi vi_dot16(vi c, vi a, vi b)
{
    vi_16 x = (vi_16)a, y = (vi_16)b;
    for (int i = 0; i < 4; i++)
        c[i] += x[2 * i] * y[2 * i] + x[2 * i + 1] * y[2 * i + 1];
    return c;
}
#endif

#ifndef vi_shr32_by
#define vi_shr32_by(a, n) vi_shr32(a, n)
#endif
#ifndef vf_load_bf16
NX_INLINE vf vf_load_bf16(const void *p)
{
    uint16_t h[VF_N];
    float f[VF_N];
    memcpy(h, p, sizeof h);
    for (int i = 0; i < VF_N; i++)
        f[i] = nx_bf16_to_float(h[i]);
    return vf_load(f);
}
#endif
#ifndef vf_load_f16
NX_INLINE vf vf_load_f16(const void *p)
{
    uint16_t h[VF_N];
    float f[VF_N];
    memcpy(h, p, sizeof h);
    for (int i = 0; i < VF_N; i++)
        f[i] = nx_half_to_float(h[i]);
    return vf_load(f);
}
#endif

/* Lane l of to[i] is number i of line l: the first four numbers, of 32 bits, of each of VF_N lines that begin `line` bytes
 * apart, at any address. In each quarter of a vector four lines' four numbers are exchanged. */
NX_INLINE void vf_turn(const void *lines, int64_t line, vf to[4])
{
    const char *x = lines;
#if defined(__AVX2__)
#define VF_FOUR(p) _mm_loadu_ps((const float *)(const void *)(p))
    vf v[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const char *from = x + i * line;
#if defined(NX_ISA_avx512)
        v[i] = _mm512_castps128_ps512(VF_FOUR(from));
        v[i] = _mm512_mask_broadcast_f32x4(v[i], 0x00F0, VF_FOUR(from + 4 * line));
        v[i] = _mm512_mask_broadcast_f32x4(v[i], 0x0F00, VF_FOUR(from + 8 * line));
        v[i] = _mm512_mask_broadcast_f32x4(v[i], 0xF000, VF_FOUR(from + 12 * line));
#define VF_TURN(op) _mm512_unpack##op
#define VF_PAIRS(v) _mm512_castps_pd(v)
#define VF_BACK(v)  _mm512_castpd_ps(v)
#else
        v[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(VF_FOUR(from)), VF_FOUR(from + 4 * line), 1);
#define VF_TURN(op) _mm256_unpack##op
#define VF_PAIRS(v) _mm256_castps_pd(v)
#define VF_BACK(v)  _mm256_castpd_ps(v)
#endif
    }
    vd low0 = VF_PAIRS(VF_TURN(lo_ps)(v[0], v[1])), low1 = VF_PAIRS(VF_TURN(lo_ps)(v[2], v[3]));
    vd high0 = VF_PAIRS(VF_TURN(hi_ps)(v[0], v[1])), high1 = VF_PAIRS(VF_TURN(hi_ps)(v[2], v[3]));
    to[0] = VF_BACK(VF_TURN(lo_pd)(low0, low1));
    to[1] = VF_BACK(VF_TURN(hi_pd)(low0, low1));
    to[2] = VF_BACK(VF_TURN(lo_pd)(high0, high1));
    to[3] = VF_BACK(VF_TURN(hi_pd)(high0, high1));
#undef VF_TURN
#undef VF_PAIRS
#undef VF_BACK
#undef VF_FOUR
#elif defined(__aarch64__)
    vf v[4];
    for (int i = 0; i < 4; i++)
        v[i] = vf_load((const float *)(const void *)(x + i * line));
    vf ac = vzip1q_f32(v[0], v[2]), bd = vzip1q_f32(v[1], v[3]);
    vf ac2 = vzip2q_f32(v[0], v[2]), bd2 = vzip2q_f32(v[1], v[3]);
    to[0] = vzip1q_f32(ac, bd), to[1] = vzip2q_f32(ac, bd);
    to[2] = vzip1q_f32(ac2, bd2), to[3] = vzip2q_f32(ac2, bd2);
#elif defined(__x86_64__)
    for (int i = 0; i < 4; i++)
        to[i] = vf_load((const float *)(const void *)(x + i * line));
    _MM_TRANSPOSE4_PS(to[0], to[1], to[2], to[3]);
#else
    for (int i = 0; i < 4; i++) {
        float lane[VF_N];
        for (int l = 0; l < VF_N; l++)
            memcpy(&lane[l], x + l * line + 4 * i, 4);
        to[i] = vf_load(lane);
    }
#endif
}

/* to[x * to_row + l] = line[l][x] for four lines of n numbers. */
static inline void nx_turn_four(const float *const *line, int64_t n, float *to, int64_t to_row)
{
    int64_t x = 0;
#if defined(__x86_64__)
    for (; x + 4 <= n; x += 4) {
        __m128 a = _mm_loadu_ps(line[0] + x), b = _mm_loadu_ps(line[1] + x);
        __m128 c = _mm_loadu_ps(line[2] + x), d = _mm_loadu_ps(line[3] + x);
        _MM_TRANSPOSE4_PS(a, b, c, d);
        _mm_storeu_ps(to + x * to_row, a);
        _mm_storeu_ps(to + (x + 1) * to_row, b);
        _mm_storeu_ps(to + (x + 2) * to_row, c);
        _mm_storeu_ps(to + (x + 3) * to_row, d);
    }
#endif
    for (; x < n; x++)
        for (int l = 0; l < 4; l++)
            to[x * to_row + l] = line[l][x];
}

/* n floats from n contiguous float16 or bfloat16 values. */
NX_INLINE void nx_floats_of_f16(const uint16_t *x, float *y, int64_t n)
{
    int64_t i = 0;
    for (; i + VF_N <= n; i += VF_N)
        vf_store(y + i, vf_load_f16(x + i));
    for (; i < n; i++)
        y[i] = nx_half_to_float(x[i]);
}
NX_INLINE void nx_floats_of_bf16(const uint16_t *restrict x, float *restrict y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = nx_bf16_to_float(x[i]);
}

#endif
