/*
 * gguf_books.h: groups of the GGUF types whose codes come from tables: the IQ types, ternary ones, and
 * four-bit floats. As in gguf_blocks.h a group has integer codes, a scale and no minimum: weight = scale *
 * code. Codes are whole numbers in every type (IQ1's eighths are put into the scale).
 *
 * A part of a block with 7 bits of signs for 8 values has an even number of negative ones.
 */
#ifndef NX_CPU_GGUF_BOOKS_H
#define NX_CPU_GGUF_BOOKS_H

#include <stdint.h>
#include <string.h>

#if defined(NX_ISA_avx2) || defined(NX_ISA_avx512)
#include <immintrin.h>
#endif

#include "base/ggml_types.h"
#include "engine/core/half.h"

/* As the data file has them. */
extern const uint16_t nx_book_iq2_xxs[256], nx_book_iq2_xs[512], nx_book_iq2_s[1024], nx_book_iq1[2048],
    nx_book_iq3_xxs[256], nx_book_iq3_s[512];

/* As kernels read them: a byte a value. */
typedef struct {
    int8_t iq2_xxs[256][8], iq2_xs[512][8], iq2_s[1024][8];
    int8_t iq1[2048][8]; /* -8, 0 or 8 */
    int8_t iq3_xxs[256][4], iq3_s[512][4];
    uint64_t negative[256]; /* of eight sign bits: 0xFF in the bytes of those set */
    uint8_t signs[128];     /* eight sign bits of seven */
} nx_gguf_books;

extern nx_gguf_books nx_books;

/* Fills nx_books once; before any use of it, from any thread. */
void nx_gguf_books_ready(void);

/* Eight values of a book; their signs. */
static inline void nx_book_put(const int8_t *entry, unsigned signs, int16_t *code)
{
    uint64_t v, m = nx_books.negative[signs];
    int8_t b[8];
    memcpy(&v, entry, 8);
    v = (v ^ m) + (m & 0x0101010101010101); /* no byte is 0, so none carries */
    memcpy(b, &v, 8);
    for (int i = 0; i < 8; i++)
        code[i] = b[i];
}

static inline void nx_book_put_two(const int8_t *first, const int8_t *second, unsigned signs, int16_t *code)
{
    int8_t b[8];
    memcpy(b, first, 4);
    memcpy(b + 4, second, 4);
    nx_book_put(b, signs, code);
}

static inline void nx_book_put_eighths(unsigned entry, int delta, int16_t *code)
{
    for (int i = 0; i < 8; i++)
        code[i] = (int16_t)(nx_books.iq1[entry][i] + delta);
}

static inline uint32_t nx_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline unsigned nx_le16(const uint8_t *p)
{
    return (unsigned)(p[0] | p[1] << 8);
}

static inline float nx_le_half(const uint8_t *p)
{
    return nx_half_to_float((uint16_t)nx_le16(p));
}

/* A power of two by its exponent's eight bits, halved: codes of four-bit floats are doubled. */
static inline float nx_half_e8m0(unsigned e)
{
    return nx_float_of_bits(e < 2 ? 0x200000u << e : (e - 1) << 23);
}

/* The same of an unsigned float of four bits of exponent and three of mantissa. */
static inline float nx_half_ue4m3(unsigned e)
{
    unsigned exponent = e >> 3 & 15, mantissa = e & 7;
    if (e == 0x7F)
        return 0;
    return exponent ? nx_float_of_bits((exponent + 119) << 23 | mantissa << 20) : (float)mantissa * 0x1p-10f;
}

static const int8_t nx_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                         1,    13,   25,  38,  53,  69,  89,  113};
static const int8_t nx_fp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

#if defined(NX_ISA_avx2) || defined(NX_ISA_avx512)
static inline void nx_nibble_values_16(const int8_t *values, const uint8_t *q, int16_t *code)
{
    const __m128i table = _mm_loadu_si128((const void *)values), low = _mm_set1_epi8(15);
    __m128i v = _mm_loadu_si128((const void *)q);
    __m128i a = _mm_shuffle_epi8(table, _mm_and_si128(v, low));
    __m128i b = _mm_shuffle_epi8(table, _mm_and_si128(_mm_srli_epi16(v, 4), low));
    _mm256_storeu_si256((void *)code, _mm256_cvtepi8_epi16(a));
    _mm256_storeu_si256((void *)(code + 16), _mm256_cvtepi8_epi16(b));
}
#endif

/* n bytes: low nibbles are the first n values, high ones the other n. */
static inline void nx_nibble_values(const int8_t *values, const uint8_t *q, int n, int16_t *code)
{
#if defined(NX_ISA_avx2) || defined(NX_ISA_avx512)
    if (n == 16) {
        nx_nibble_values_16(values, q, code);
        return;
    }
#endif
    for (int i = 0; i < n; i++) {
        code[i] = values[q[i] & 15];
        code[i + n] = values[q[i] >> 4];
    }
}

/* Values 32 g.. of a TQ1_0 block: five a byte in base 3 as a fraction of 256. */
static inline void nx_ternary_codes(const uint8_t *b, int g, int16_t *code)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    for (int i = 0; i < 32; i++) {
        int v = 32 * g + i, n, at;
        if (v < 160)
            n = v / 32, at = v % 32;
        else if (v < 240)
            n = (v - 160) / 16, at = 32 + (v - 160) % 16;
        else
            n = (v - 240) / 4, at = 48 + (v - 240) % 4;
        code[i] = (int16_t)(((uint8_t)(b[at] * power[n]) * 3 >> 8) - 1);
    }
}

/* Group g of a row: 16 codes of IQ2_XS, IQ2_S, IQ1_M and NVFP4, 32 of the others. */
static inline float nx_book_group(int type, const uint8_t *row, int64_t g, int16_t *code)
{
    const uint8_t *b;
    int in;
    switch (type) {
    case NX_GGML_IQ2_XXS: { /* per 32: four entries; four times 7 signs and 4 bits of scale */
        b = row + (g >> 3) * 66;
        const uint8_t *q = b + 2 + 8 * (g & 7);
        uint32_t rest = nx_le32(q + 4);
        for (int i = 0; i < 4; i++)
            nx_book_put(nx_books.iq2_xxs[q[i]], nx_books.signs[rest >> 7 * i & 127], code + 8 * i);
        return nx_le_half(b) * (0.5f + (float)(rest >> 28)) * 0.25f;
    }
    case NX_GGML_IQ2_XS: { /* nine bits an entry and seven of signs; then 4-bit scales */
        b = row + (g >> 4) * 74, in = (int)(g & 15);
        for (int i = 0; i < 2; i++) {
            unsigned q = nx_le16(b + 2 + 4 * in + 2 * i);
            nx_book_put(nx_books.iq2_xs[q & 511], nx_books.signs[q >> 9], code + 8 * i);
        }
        return nx_le_half(b) * (0.5f + (float)(b[66 + in / 2] >> 4 * (in & 1) & 15)) * 0.25f;
    }
    case NX_GGML_IQ2_S: { /* low bits of entries, signs, high bits, 4-bit scales */
        b = row + (g >> 4) * 82, in = (int)(g & 15);
        for (int i = 0; i < 2; i++) {
            int e = 2 * in + i;
            unsigned q = b[2 + e] | (unsigned)(b[66 + e / 4] >> 2 * (e & 3) & 3) << 8;
            nx_book_put(nx_books.iq2_s[q], b[34 + e], code + 8 * i);
        }
        return nx_le_half(b) * (0.5f + (float)(b[74 + in / 2] >> 4 * (in & 1) & 15)) * 0.25f;
    }
    case NX_GGML_IQ3_XXS: { /* 64 entries of four; then, per 32, signs and scale */
        b = row + (g >> 3) * 98, in = (int)(g & 7);
        const uint8_t *q = b + 2 + 8 * in;
        uint32_t rest = nx_le32(b + 66 + 4 * in);
        for (int i = 0; i < 4; i++)
            nx_book_put_two(nx_books.iq3_xxs[q[2 * i]], nx_books.iq3_xxs[q[2 * i + 1]],
                            nx_books.signs[rest >> 7 * i & 127], code + 8 * i);
        return nx_le_half(b) * (0.5f + (float)(rest >> 28)) * 0.5f;
    }
    case NX_GGML_IQ3_S: { /* low bits of entries, a ninth bit each, signs, 4-bit scales */
        b = row + (g >> 3) * 110, in = (int)(g & 7);
        const uint8_t *q = b + 2 + 8 * in;
        unsigned high = b[66 + in];
        for (int i = 0; i < 4; i++)
            nx_book_put_two(nx_books.iq3_s[q[2 * i] | (high >> 2 * i & 1) << 8],
                            nx_books.iq3_s[q[2 * i + 1] | (high >> (2 * i + 1) & 1) << 8], b[74 + 4 * in + i],
                            code + 8 * i);
        return nx_le_half(b) * (float)(1 + 2 * (b[106 + in / 2] >> 4 * (in & 1) & 15));
    }
    case NX_GGML_IQ1_S: { /* low bits of entries; per 32: high bits, scale, sign of the delta */
        b = row + (g >> 3) * 50, in = (int)(g & 7);
        unsigned high = nx_le16(b + 34 + 2 * in);
        for (int i = 0; i < 4; i++)
            nx_book_put_eighths(b[2 + 4 * in + i] | (high >> 3 * i & 7) << 8, high >> 15 ? -1 : 1, code + 8 * i);
        return nx_le_half(b) * (float)(2 * (high >> 12 & 7) + 1) * 0.125f;
    }
    case NX_GGML_IQ1_M: { /* the same per 16; the float scale is spread over the words of scales */
        b = row + (g >> 4) * 56, in = (int)(g & 15);
        const uint8_t *s = b + 48;
        unsigned d = s[1] >> 4 | (s[3] & 0xF0) | (unsigned)(s[5] >> 4) << 8 | (unsigned)(s[7] >> 4) << 12;
        for (int i = 0; i < 2; i++) {
            unsigned high = b[32 + in] >> 4 * i & 15;
            nx_book_put_eighths(b[2 * in + i] | (high & 7) << 8, high >> 3 ? -1 : 1, code + 8 * i);
        }
        int scale = nx_le16(s + 2 * (in >> 2)) >> 3 * (in & 3) & 7;
        return nx_half_to_float((uint16_t)d) * (float)(2 * scale + 1) * 0.125f;
    }
    case NX_GGML_IQ4_NL:
        b = row + g * 18;
        nx_nibble_values(nx_iq4_values, b + 2, 16, code);
        return nx_le_half(b);
    case NX_GGML_IQ4_XS: { /* float, high bits of scales, low ones, nibbles */
        b = row + (g >> 3) * 136, in = (int)(g & 7);
        unsigned s = (b[4 + in / 2] >> 4 * (in & 1) & 15) | (nx_le16(b + 2) >> 2 * in & 3) << 4;
        nx_nibble_values(nx_iq4_values, b + 8 + 16 * in, 16, code);
        return nx_le_half(b) * (float)((int)s - 32);
    }
    case NX_GGML_TQ1_0:
        b = row + (g >> 3) * 54;
        nx_ternary_codes(b, (int)(g & 7), code);
        return nx_le_half(b + 52);
    case NX_GGML_TQ2_0: { /* 32 bytes: four times 32 values */
        b = row + (g >> 3) * 66, in = (int)(g & 7);
        for (int i = 0; i < 32; i++)
            code[i] = (int16_t)((b[32 * (in >> 2) + i] >> 2 * (in & 3) & 3) - 1);
        return nx_le_half(b + 64);
    }
    case NX_GGML_MXFP4:
        b = row + g * 17;
        nx_nibble_values(nx_fp4_values, b + 1, 16, code);
        return nx_half_e8m0(b[0]);
    case NX_GGML_NVFP4: /* four scales, then 16 values each */
        b = row + (g >> 2) * 36, in = (int)(g & 3);
        nx_nibble_values(nx_fp4_values, b + 4 + 8 * in, 8, code);
        return nx_half_ue4m3(b[in]);
    case NX_GGML_Q1_0: /* a bit is the sign */
        b = row + (g >> 2) * 18, in = (int)(g & 3);
        for (int i = 0; i < 32; i++)
            code[i] = (int16_t)((b[2 + 4 * in + i / 8] >> i % 8 & 1) * 2 - 1);
        return nx_le_half(b);
    case NX_GGML_Q2_0:
        b = row + (g >> 1) * 18, in = (int)(g & 1);
        for (int i = 0; i < 32; i++)
            code[i] = (int16_t)((b[2 + 8 * in + i / 4] >> 2 * (i % 4) & 3) - 1);
        return nx_le_half(b);
    default: return 0;
    }
}

#endif
