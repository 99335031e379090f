/*
 * attention_panel.h: what attention_tmpl.c computes with: blocks of keys turned to columns, and products of
 * few rows with a panel, or with values where they lie in the cache. `form` is 32 for floats, 16 for float16,
 * 8 or 4 for packed numbers (cache_blocks.h), a constant where these are inlined.
 */
#ifndef NX_CPU_ATTENTION_PANEL_H
#define NX_CPU_ATTENTION_PANEL_H

#include <string.h>

#include "engine/cpu/cache_blocks.h"
#include "engine/cpu/simd.h"

enum {
    KEYS = 64, /* keys a block */
    DEPTH = 64 /* dimensions of q and k, or of v, at a time */
};

#if defined(NX_ISA_avx512) || defined(__aarch64__)
#define MR 6
#define NV 4
#else
#define MR 6
#define NV 2
#endif

/* ---- products ------------------------------------------------------------------------------------ */

/* NV vectors of numbers at column n0 of 64 of a row: floats, float16 (form 16) or packed (form 8, 4), whose
 * rows begin at a block. */
NX_INLINE void vectors_of(int form, const void *b, int n0, vf *y)
{
#if NX_CACHE_VECTORS
    if (form < 16) {
        vf scale = vf_set(0), min = vf_set(0);
#pragma GCC unroll 4
        for (int n = 0; n < NV; n++) {
            int at = n0 + n * VF_N;
            const uint8_t *block = (const uint8_t *)b + at / NX_CACHE_GROUP * nx_cache_block_bytes(form);
            if (n == 0 || at % NX_CACHE_GROUP == 0) {
                scale = vf_set(cache_number(block));
                min = vf_set(form == 4 ? cache_number(block + 2) : 0);
            }
            y[n] = cache_vector(form, block, at % NX_CACHE_GROUP, scale, min);
        }
        return;
    }
#endif
#pragma GCC unroll 4
    for (int n = 0; n < NV; n++)
        y[n] = form == 16 ? vf_load_f16((const uint16_t *)b + n0 + n * VF_N)
                          : vf_load((const float *)b + n0 + n * VF_N);
}

/* c[mr][NV vectors] += a[mr][kc] b[kc][n0 ..]; one chain a result, over kc ascending. b_row is in bytes. */
NX_INLINE void micro(int mr, int form, int64_t kc, const float *a, int64_t a_row, const void *b,
                     int64_t b_row, int n0, float *c, int64_t c_row)
{
    vf x[MR][NV];
#pragma GCC unroll 6
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int n = 0; n < NV; n++)
            x[i][n] = vf_load(c + i * c_row + n * VF_N);
    for (int64_t k = 0; k < kc; k++) {
        vf y[NV];
        vectors_of(form, (const char *)b + k * b_row, n0, y);
#pragma GCC unroll 6
        for (int i = 0; i < mr; i++) {
            vf t = vf_set(a[i * a_row + k]);
#pragma GCC unroll 4
            for (int n = 0; n < NV; n++)
                x[i][n] = vf_fma(t, y[n], x[i][n]);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int n = 0; n < NV; n++)
            vf_store(c + i * c_row + n * VF_N, x[i][n]);
}

/* c[m][64] += a[m][kc] b[kc][64] */
NX_INLINE void rows_by_64(int m, int form, int64_t kc, const float *a, int64_t a_row, const void *b,
                          int64_t b_row, float *c, int64_t c_row)
{
    for (int n = 0; n < 64; n += NV * VF_N)
        for (int i = 0; i < m; i += MR) {
            const float *x = a + i * a_row;
            float *y = c + i * c_row + n;
            switch (m - i) {
            case 1: micro(1, form, kc, x, a_row, b, b_row, n, y, c_row); break;
            case 2: micro(2, form, kc, x, a_row, b, b_row, n, y, c_row); break;
            case 3: micro(3, form, kc, x, a_row, b, b_row, n, y, c_row); break;
            case 4: micro(4, form, kc, x, a_row, b, b_row, n, y, c_row); break;
            case 5: micro(5, form, kc, x, a_row, b, b_row, n, y, c_row); break;
            default: micro(6, form, kc, x, a_row, b, b_row, n, y, c_row);
            }
        }
}

static void rows_by_panel(int m, int64_t kc, const float *a, int64_t a_row, const float *b, float *c,
                          int64_t c_row)
{
    rows_by_64(m, 32, kc, a, a_row, b, 64 * sizeof *b, c, c_row);
}

/* The same with b as it lies in the cache: for few rows, which would not repay a panel. */
static void rows_by_f16(int m, int64_t kc, const float *a, int64_t a_row, const void *b, int64_t b_row, float *c,
                        int64_t c_row)
{
    rows_by_64(m, 16, kc, a, a_row, b, b_row, c, c_row);
}

static void rows_by_packed(int bits, int m, int64_t kc, const float *a, int64_t a_row, const void *b,
                           int64_t b_row, float *c, int64_t c_row)
{
#if NX_CACHE_VECTORS
    if (bits == 8)
        rows_by_64(m, 8, kc, a, a_row, b, b_row, c, c_row);
    else
        rows_by_64(m, 4, kc, a, a_row, b, b_row, c, c_row);
#endif
}

/* ---- keys as columns ----------------------------------------------------------------------------- */

#if defined(NX_ISA_avx512) || defined(NX_ISA_avx2)
/* Half of a vector of 16-bit numbers as floats: float16, or codes with their keys' scales and minima. */
#if defined(NX_ISA_avx512)
#define TO_FLOATS(v) (form == 16 ? _mm512_cvtph_ps(v) : numbers_of(form, _mm512_cvtepi16_epi32(v), scale, min))
#else
#define TO_FLOATS(v) (form == 16 ? _mm256_cvtph_ps(v) : numbers_of(form, _mm256_cvtepi16_epi32(v), scale, min))
#endif
NX_INLINE vf numbers_of(int form, vi codes, const float *scale, const float *min)
{
    vf v = vf_from_i32(codes);
    return form == 8 ? vf_mul(vf_load(scale), v) : vf_fma(vf_load(scale), v, vf_load(min));
}

/* VF_N keys, key_bytes apart, by VF_N * 2 dimensions, as columns: to[d][64]. Rows of 16-bit numbers (or of
 * codes from place `at` of a block, with the keys' scales and minima) are merged in squares of eight, each
 * in its 128 bits, then the halves of VF_N keys are joined. */
NX_INLINE void turn_keys(int form, const uint8_t *k, int64_t key_bytes, int at, const float *scale,
                         const float *min, float *to)
{
#if defined(NX_ISA_avx512)
#define UP(w, hilo, a, b) _mm512_unpack##hilo##_epi##w(a, b)
    enum { SQUARES = 2, LANES = 4 };
#else
#define UP(w, hilo, a, b) _mm256_unpack##hilo##_epi##w(a, b)
    enum { SQUARES = 1, LANES = 2 };
#endif
    vi c[SQUARES][8]; /* lane L of c[.][j]: dimension 8 L + j of eight keys */
#pragma GCC unroll 2
    for (int s = 0; s < SQUARES; s++) {
        vi a[8], b[8];
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++)
            a[i] = form == 16 ? vi_load(k + (8 * s + i) * key_bytes)
                              : cache_codes(form, k + (8 * s + i) * key_bytes, at);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) { /* keys i and i + 4 */
            b[2 * i] = UP(16, lo, a[i], a[i + 4]);
            b[2 * i + 1] = UP(16, hi, a[i], a[i + 4]);
        }
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) { /* i, i + 2, i + 4, i + 6 */
            a[4 * i] = UP(16, lo, b[2 * i], b[2 * i + 4]);
            a[4 * i + 1] = UP(16, hi, b[2 * i], b[2 * i + 4]);
            a[4 * i + 2] = UP(16, lo, b[2 * i + 1], b[2 * i + 5]);
            a[4 * i + 3] = UP(16, hi, b[2 * i + 1], b[2 * i + 5]);
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) { /* all eight, dimensions 2 i and 2 i + 1 */
            c[s][2 * i] = UP(16, lo, a[i], a[i + 4]);
            c[s][2 * i + 1] = UP(16, hi, a[i], a[i + 4]);
        }
    }
#undef UP
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
#if defined(NX_ISA_avx512)
        __m512i even = _mm512_permutex2var_epi64(c[0][j], _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), c[1][j]);
        __m512i odd = _mm512_permutex2var_epi64(c[0][j], _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15), c[1][j]);
        vf_store(to + j * KEYS, TO_FLOATS(_mm512_castsi512_si256(even)));
        vf_store(to + (8 + j) * KEYS, TO_FLOATS(_mm512_castsi512_si256(odd)));
        vf_store(to + (16 + j) * KEYS, TO_FLOATS(_mm512_extracti64x4_epi64(even, 1)));
        vf_store(to + (24 + j) * KEYS, TO_FLOATS(_mm512_extracti64x4_epi64(odd, 1)));
#else
        vf_store(to + j * KEYS, TO_FLOATS(_mm256_castsi256_si128(c[0][j])));
        vf_store(to + (8 + j) * KEYS, TO_FLOATS(_mm256_extracti128_si256(c[0][j], 1)));
#endif
    }
}

/* n packed keys, dimensions of nd / 32 blocks from `k` on. */
NX_INLINE void turn_packed(int bits, const uint8_t *k, int64_t key_bytes, int n, int64_t nd, float *to)
{
    for (int64_t d = 0; d < nd; d += NX_CACHE_GROUP, k += nx_cache_block_bytes(bits)) {
        float scale[KEYS], min[KEYS];
        for (int i = 0; i < n; i++) {
            scale[i] = cache_number(k + i * key_bytes);
            min[i] = bits == 4 ? cache_number(k + i * key_bytes + 2) : 0;
        }
        for (int i = 0; i < n; i += VF_N)
            for (int at = 0; at < NX_CACHE_GROUP; at += 2 * VF_N)
                turn_keys(bits, k + i * key_bytes, key_bytes, at, scale + i, min + i, to + (d + at) * KEYS + i);
    }
}
#endif

#endif
