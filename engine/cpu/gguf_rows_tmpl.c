/* gguf_rows_tmpl.c: one unpacker a type, and the loader of panels over them (gguf_rows.h). */
#include "engine/cpu/gguf_rows.h"

#include "engine/cpu/gguf_blocks.h"
#include "engine/cpu/simd.h"

/* nx_gguf_group with a constant type becomes the code of that type alone. */
#define UNPACKER(t)                                                                                \
    static void unpack_##t(int type, const uint8_t *row, int64_t g0, int64_t groups,               \
                           int16_t *code, float *scale, float *min)                                \
    {                                                                                              \
        const int group = nx_gguf_info_of(NX_GGML_##t).group;                                      \
        for (int64_t g = 0; g < groups; g++)                                                       \
            nx_gguf_group(NX_GGML_##t, row, g0 + g, code + g * group, scale + g, min + g);         \
    }
#define TYPES(X)                                                                                   \
    X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q8_0) X(Q2_K) X(Q3_K) X(Q4_K) X(Q5_K) X(Q6_K)                \
    X(IQ1_S) X(IQ1_M) X(IQ2_XXS) X(IQ2_XS) X(IQ2_S) X(IQ3_XXS) X(IQ3_S) X(IQ4_NL) X(IQ4_XS)        \
    X(TQ1_0) X(TQ2_0) X(MXFP4) X(NVFP4) X(Q1_0) X(Q2_0)
TYPES(UNPACKER)

static void unpack_affine(int type, const uint8_t *row, int64_t g0, int64_t groups, int16_t *code, float *scale,
                          float *min)
{
    const int group = nx_gguf_info_of(type).group;
    for (int64_t g = 0; g < groups; g++)
        nx_affine_group(type, row, g0 + g, code + g * group, scale + g, min + g);
}

nx_unpack_row *NX_FN(nx_unpack_row_of)(int type)
{
    switch (type) {
#define ROW(t) case NX_GGML_##t: return unpack_##t;
    TYPES(ROW)
    default: return unpack_affine;
    }
}

/* Rows of codes side by side: pairs k, k + 1 of row r at place r of line k / 2 of the panel. */
#if defined(NX_ISA_avx512)
static void turn_16(const int16_t (*code)[NX_QMM_KC], int64_t k, uint32_t *panel)
{
    __m512i a[16], b[16];
#pragma GCC unroll 16
    for (int r = 0; r < 16; r++)
        a[r] = _mm512_loadu_si512(code[r] + k);
#pragma GCC unroll 8
    for (int r = 0; r < 16; r += 2) {
        b[r] = _mm512_unpacklo_epi32(a[r], a[r + 1]);
        b[r + 1] = _mm512_unpackhi_epi32(a[r], a[r + 1]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < 16; r += 4) { /* a[r + i]: column i of each quarter, rows r .. r + 3 */
        a[r] = _mm512_unpacklo_epi64(b[r], b[r + 2]);
        a[r + 1] = _mm512_unpackhi_epi64(b[r], b[r + 2]);
        a[r + 2] = _mm512_unpacklo_epi64(b[r + 1], b[r + 3]);
        a[r + 3] = _mm512_unpackhi_epi64(b[r + 1], b[r + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m512i x = _mm512_shuffle_i32x4(a[i], a[4 + i], 0x88), y = _mm512_shuffle_i32x4(a[8 + i], a[12 + i], 0x88);
        __m512i u = _mm512_shuffle_i32x4(a[i], a[4 + i], 0xDD), v = _mm512_shuffle_i32x4(a[8 + i], a[12 + i], 0xDD);
        _mm512_storeu_si512(panel + i * NX_TILE, _mm512_shuffle_i32x4(x, y, 0x88));
        _mm512_storeu_si512(panel + (8 + i) * NX_TILE, _mm512_shuffle_i32x4(x, y, 0xDD));
        _mm512_storeu_si512(panel + (4 + i) * NX_TILE, _mm512_shuffle_i32x4(u, v, 0x88));
        _mm512_storeu_si512(panel + (12 + i) * NX_TILE, _mm512_shuffle_i32x4(u, v, 0xDD));
    }
}
#else
static void turn_16(const int16_t (*code)[NX_QMM_KC], int64_t k, uint32_t *panel)
{
    for (int r = 0; r < NX_TILE; r++)
        for (int i = 0; i < 16; i++)
            memcpy(&panel[i * NX_TILE + r], code[r] + k + 2 * i, 4);
}
#endif

void NX_FN(nx_load_rows)(const nx_qmm *q, int64_t batch, int64_t tile, int64_t k0, int64_t kc, uint32_t *panel,
                         float *scale, float *min)
{
    int16_t code[NX_TILE][NX_QMM_KC];
    float s[NX_QMM_KC / 16] = {0}, m[NX_QMM_KC / 16] = {0};
    int type = q->type & ~NX_REPACKED;
    nx_unpack_row *unpack = NX_FN(nx_unpack_row_of)(type);
    int64_t rows = q->n - tile * NX_TILE, groups = kc / q->group;
    const uint8_t *row = (const uint8_t *)q->w + tile * NX_TILE * q->w_row_bytes;
    for (int r = 0; r < NX_TILE; r++, row += q->w_row_bytes) {
        if (r < rows) {
            unpack(type, row, k0 / q->group, groups, code[r], s, m);
        } else {
            memset(code[r], 0, sizeof code[r]);
            memset(s, 0, sizeof s);
            memset(m, 0, sizeof m);
        }
        for (int64_t g = 0; g < groups; g++) {
            scale[g * NX_TILE + r] = s[g];
            min[g * NX_TILE + r] = m[g];
        }
    }
    for (int64_t k = 0; k < kc; k += 32) /* every group of 16 has its neighbour: K is a multiple of 32 */
        turn_16((const int16_t(*)[NX_QMM_KC])code, k, panel + k / 2 * NX_TILE);
}
