/*
 * fft_simd.h: VF_N complex numbers at once, the real parts in one vector and the imaginary ones in
 * another, and how they come from memory: side by side, or as columns of VF_N rows (a transpose by
 * log2(VF_N) rounds of interleaving).
 */
#ifndef NX_CPU_FFT_SIMD_H
#define NX_CPU_FFT_SIMD_H

#include "engine/cpu/simd.h"

typedef struct {
    vf re, im;
} vc;

#if defined(NX_ISA_avx512)
#define VF_LOW  0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define VF_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define VF_EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define VF_ODD  1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#elif defined(NX_ISA_avx2)
#define VF_LOW  0, 8, 1, 9, 2, 10, 3, 11
#define VF_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#define VF_EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define VF_ODD  1, 3, 5, 7, 9, 11, 13, 15
#else
#define VF_LOW  0, 4, 1, 5
#define VF_HIGH 2, 6, 3, 7
#define VF_EVEN 0, 2, 4, 6
#define VF_ODD  1, 3, 5, 7
#endif

/* Interleaved numbers at p: re, im, re, im … */
NX_INLINE vc vc_load(const float *p)
{
    vf a = vf_load(p), b = vf_load(p + VF_N);
    return (vc){__builtin_shufflevector(a, b, VF_EVEN), __builtin_shufflevector(a, b, VF_ODD)};
}

NX_INLINE void vc_store(float *p, vc v)
{
    vf_store(p, __builtin_shufflevector(v.re, v.im, VF_LOW));
    vf_store(p + VF_N, __builtin_shufflevector(v.re, v.im, VF_HIGH));
}

NX_INLINE vc vc_add(vc a, vc b)
{
    return (vc){vf_add(a.re, b.re), vf_add(a.im, b.im)};
}

NX_INLINE vc vc_sub(vc a, vc b)
{
    return (vc){vf_sub(a.re, b.re), vf_sub(a.im, b.im)};
}

NX_INLINE vc vc_scale(vc a, vf by)
{
    return (vc){vf_mul(a.re, by), vf_mul(a.im, by)};
}

/* a + by b */
NX_INLINE vc vc_fma(vc a, vf by, vc b)
{
    return (vc){vf_fma(b.re, by, a.re), vf_fma(b.im, by, a.im)};
}

NX_INLINE vc vc_conj(vc a)
{
    return (vc){a.re, vf_sub(vf_set(0), a.im)};
}

/* a (re + i im), with minus = -im */
NX_INLINE vc vc_mul(vc a, vf re, vf im, vf minus)
{
    return (vc){vf_fma(a.im, minus, vf_mul(a.re, re)), vf_fma(a.im, re, vf_mul(a.re, im))};
}

/* Rows become columns. After k rounds element j of vector i has moved as a perfect shuffle of the
 * number (i, j) by k places. */
NX_INLINE void vf_transpose(vf *rows)
{
    for (int round = 1; round < VF_N; round *= 2) {
        vf turned[VF_N];
        for (int i = 0; i < VF_N / 2; i++) {
            turned[2 * i] = __builtin_shufflevector(rows[i], rows[i + VF_N / 2], VF_LOW);
            turned[2 * i + 1] = __builtin_shufflevector(rows[i], rows[i + VF_N / 2], VF_HIGH);
        }
        memcpy(rows, turned, sizeof turned);
    }
}

#endif
