#include "runtime/convert/blocks.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/ggml_types.h"
#include "runtime/convert/fit.h"
#include "runtime/convert/halves.h"
#include "runtime/convert/spread.h"

enum { SUPER = 256, MOST_PARTS = 16 };

static float put_half(unsigned char *to, float v)
{
    uint16_t h = float_to_half(v);
    memcpy(to, &h, 2);
    return half_to_float(h);
}

/* ---- blocks of 32 ----------------------------------------------------------------------------- */

/* Low nibbles are numbers 0 to 15, high ones 16 to 31; of 5 bits the last lie in a word. */
static void pack_32(const int *codes, int bits, unsigned char *to)
{
    if (bits == 5) {
        uint32_t high = 0;
        for (int i = 0; i < 32; i++)
            high |= (uint32_t)(codes[i] >> 4) << i;
        memcpy(to, &high, 4);
        to += 4;
    }
    for (int i = 0; i < 16; i++)
        to[i] = (unsigned char)((codes[i] & 15) | (codes[i + 16] & 15) << 4);
}

static void encode_scaled(const float *x, const float *w, int bits, unsigned char *to)
{
    int codes[32], zero = 1 << (bits - 1);
    float scale = put_half(to, fit_scale(x, w, 32, zero));
    fit_codes(x, 32, scale, 0, -zero, zero - 1, codes);
    for (int i = 0; i < 32; i++)
        codes[i] += zero;
    pack_32(codes, bits, to + 2);
}

static void encode_affine(const float *x, const float *w, int bits, unsigned char *to)
{
    int codes[32], top = (1 << bits) - 1;
    float scale, minimum;
    fit_affine(x, w, 32, top, false, &scale, &minimum);
    scale = put_half(to, scale);
    minimum = put_half(to + 2, minimum);
    fit_codes(x, 32, scale, minimum, 0, top, codes);
    pack_32(codes, bits, to + 4);
}

static void encode_bytes(const float *x, unsigned char *to)
{
    int codes[32];
    float most = 0;
    for (int i = 0; i < 32; i++)
        most = fmaxf(most, fabsf(x[i]));
    fit_codes(x, 32, put_half(to, most / 127), 0, -127, 127, codes);
    for (int i = 0; i < 32; i++)
        to[2 + i] = (unsigned char)(int8_t)codes[i];
}

/* ---- blocks of 256: parts with scales of their own, whole numbers of a common one --------------- */

typedef struct {
    int n, size;      /* parts, numbers in each */
    int low, high;    /* codes */
    int scale_low, scale_high, minimum_high; /* of the whole numbers; minimum_high 0: none */
} form;

typedef struct {
    float d, dmin;
    int scale[MOST_PARTS], minimum[MOST_PARTS];
    int codes[SUPER];
} super;

static int whole(float v, int low, int high)
{
    int i = (int)lrintf(v);
    return i < low ? low : i > high ? high : i;
}

/* Scale and minimum of part p among the whole numbers next to the best. */
static void settle_part(const form *f, const float *x, const float *w, super *s, int p, float scale,
                        float minimum)
{
    int a = s->d != 0 ? whole(scale / s->d, f->scale_low, f->scale_high) : 0;
    int b = s->dmin > 0 ? whole(-minimum / s->dmin, 0, f->minimum_high) : 0;
    float least = INFINITY;
    for (int i = a - 1; i <= a + 1; i++)
        for (int k = b - (f->minimum_high > 0); k <= b + (f->minimum_high > 0); k++) {
            if (i < f->scale_low || i > f->scale_high || k < 0 || k > f->minimum_high)
                continue;
            float e = fit_error(x, w, f->size, s->d * (float)i, -s->dmin * (float)k, f->low, f->high);
            if (e < least) {
                least = e;
                s->scale[p] = i;
                s->minimum[p] = k;
            }
        }
    fit_codes(x, f->size, s->d * (float)s->scale[p], -s->dmin * (float)s->minimum[p], f->low, f->high,
              s->codes + p * f->size);
}

static void fit_super(const form *f, const float *x, const float *w, unsigned char *d_at,
                      unsigned char *dmin_at, super *s)
{
    float scales[MOST_PARTS], minimums[MOST_PARTS] = {0}, most = 0, lowest = 0;
    for (int p = 0; p < f->n; p++) {
        const float *part = x + p * f->size, *pw = w ? w + p * f->size : NULL;
        if (f->minimum_high)
            fit_affine(part, pw, f->size, f->high, true, &scales[p], &minimums[p]);
        else
            scales[p] = fit_scale(part, pw, f->size, -f->low);
        most = fabsf(scales[p]) > fabsf(most) ? scales[p] : most;
        lowest = fminf(lowest, minimums[p]);
    }
    int top = f->scale_low < 0 ? f->scale_low : f->scale_high; /* two's complement reaches further down */
    s->d = put_half(d_at, most / (float)top);
    s->dmin = f->minimum_high ? put_half(dmin_at, -lowest / (float)f->minimum_high) : 0;
    for (int p = 0; p < f->n; p++)
        settle_part(f, x + p * f->size, w ? w + p * f->size : NULL, s, p, scales[p], minimums[p]);
}

/* Six bits each of eight scales and minimums in 12 bytes. */
static void pack_scales(const super *s, unsigned char *to)
{
    for (int i = 0; i < 4; i++) {
        to[i] = (unsigned char)(s->scale[i] | (s->scale[i + 4] >> 4) << 6);
        to[i + 4] = (unsigned char)(s->minimum[i] | (s->minimum[i + 4] >> 4) << 6);
        to[i + 8] = (unsigned char)((s->scale[i + 4] & 15) | (s->minimum[i + 4] & 15) << 4);
    }
}

/* d, dmin, scales, [the fifth bits,] nibbles: of each 64 numbers the first 32 low, the others high. */
static void encode_q4_q5_k(const float *x, const float *w, int bits, unsigned char *to)
{
    const form f = {8, 32, 0, (1 << bits) - 1, 0, 63, 63};
    super s;
    fit_super(&f, x, w, to, to + 2, &s);
    pack_scales(&s, to + 4);
    unsigned char *high = to + 16, *low = to + 16 + (bits == 5 ? 32 : 0);
    if (bits == 5)
        memset(high, 0, 32);
    for (int i = 0; i < SUPER; i++) {
        int part = i / 32, at = i / 64 * 32 + i % 32;
        if (part % 2 == 0)
            low[at] = (unsigned char)(s.codes[i] & 15);
        else
            low[at] |= (unsigned char)((s.codes[i] & 15) << 4);
        if (bits == 5)
            high[i % 32] |= (unsigned char)((s.codes[i] >> 4) << part);
    }
}

/* Two bits each: of each 128 numbers four rows of 32 side by side. */
static void pack_pairs(const int *codes, unsigned char *to)
{
    memset(to, 0, 64);
    for (int i = 0; i < SUPER; i++)
        to[i / 128 * 32 + i % 32] |= (unsigned char)((codes[i] & 3) << (i % 128 / 32 * 2));
}

static void encode_q2_k(const float *x, const float *w, unsigned char *to)
{
    const form f = {16, 16, 0, 3, 0, 15, 15};
    super s;
    fit_super(&f, x, w, to + 80, to + 82, &s);
    for (int p = 0; p < 16; p++)
        to[p] = (unsigned char)(s.scale[p] | s.minimum[p] << 4);
    pack_pairs(s.codes, to + 16);
}

/* The third bits, pairs, 16 scales of six bits, d. */
static void encode_q3_k(const float *x, const float *w, unsigned char *to)
{
    const form f = {16, 16, -4, 3, -32, 31, 0};
    super s;
    fit_super(&f, x, w, to + 108, NULL, &s);
    memset(to, 0, 32);
    memset(to + 96, 0, 12);
    for (int i = 0; i < SUPER; i++) {
        s.codes[i] += 4;
        to[i % 32] |= (unsigned char)((s.codes[i] >> 2) << i / 32);
    }
    pack_pairs(s.codes, to + 32);
    for (int p = 0; p < 16; p++) {
        int v = s.scale[p] + 32;
        to[96 + p % 8] |= (unsigned char)((v & 15) << (p < 8 ? 0 : 4));
        to[104 + p % 4] |= (unsigned char)((v >> 4) << p / 4 * 2);
    }
}

/* Nibbles, pairs of the upper bits, 16 scales of a byte, d. */
static void encode_q6_k(const float *x, const float *w, unsigned char *to)
{
    const form f = {16, 16, -32, 31, -128, 127, 0};
    super s;
    int high[SUPER];
    fit_super(&f, x, w, to + 208, NULL, &s);
    memset(to, 0, 128);
    for (int i = 0; i < SUPER; i++) {
        int v = s.codes[i] + 32, part = i % 128 / 32;
        to[i / 128 * 64 + part % 2 * 32 + i % 32] |= (unsigned char)((v & 15) << (part < 2 ? 0 : 4));
        high[i] = v >> 4;
    }
    pack_pairs(high, to + 128);
    for (int p = 0; p < 16; p++)
        to[192 + p] = (unsigned char)(int8_t)s.scale[p];
}

/* ---- all types -------------------------------------------------------------------------------- */

static void encode_plain(int type, const float *x, int n, unsigned char *to)
{
    if (type == NX_GGML_F32)
        memcpy(to, x, (size_t)n * 4);
    for (int i = 0; type != NX_GGML_F32 && i < n; i++) {
        uint16_t h = type == NX_GGML_F16 ? float_to_half(x[i]) : float_to_bfloat(x[i]);
        memcpy(to + 2 * i, &h, 2);
    }
}

static void encode_block(int type, const float *x, const float *w, unsigned char *to)
{
    switch (type) {
    case NX_GGML_Q4_0: encode_scaled(x, w, 4, to); break;
    case NX_GGML_Q5_0: encode_scaled(x, w, 5, to); break;
    case NX_GGML_Q4_1: encode_affine(x, w, 4, to); break;
    case NX_GGML_Q5_1: encode_affine(x, w, 5, to); break;
    case NX_GGML_Q8_0: encode_bytes(x, to); break;
    case NX_GGML_Q2_K: encode_q2_k(x, w, to); break;
    case NX_GGML_Q3_K: encode_q3_k(x, w, to); break;
    case NX_GGML_Q4_K: encode_q4_q5_k(x, w, 4, to); break;
    case NX_GGML_Q5_K: encode_q4_q5_k(x, w, 5, to); break;
    default: encode_q6_k(x, w, to); break;
    }
}

bool blocks_known(int type)
{
    return type == NX_GGML_F32 || type == NX_GGML_F16 || type == NX_GGML_BF16 ||
           type == NX_GGML_Q4_0 || type == NX_GGML_Q4_1 || type == NX_GGML_Q5_0 ||
           type == NX_GGML_Q5_1 || type == NX_GGML_Q8_0 ||
           (type >= NX_GGML_Q2_K && type <= NX_GGML_Q6_K);
}

void blocks_encode(int type, const float *x, int cols, const float *importance, unsigned char *out)
{
    const nx_ggml_type *t = nx_ggml_type_find((uint32_t)type);
    if (t->block_elements == 1) {
        encode_plain(type, x, cols, out);
        return;
    }
    int n = (int)t->block_elements;
    for (int i = 0; i < cols; i += n, out += t->block_bytes)
        encode_block(type, x + i, importance ? importance + i : NULL, out);
}

typedef struct {
    int type, cols;
    const float *x, *importance;
    unsigned char *out;
    size_t row_bytes;
} rows_job;

static void encode_some(int begin, int end, void *arg)
{
    const rows_job *j = arg;
    for (int r = begin; r < end; r++)
        blocks_encode(j->type, j->x + (size_t)r * (size_t)j->cols, j->cols, j->importance,
                      j->out + (size_t)r * j->row_bytes);
}

void blocks_encode_rows(int type, const float *x, int rows, int cols, const float *importance,
                        unsigned char *out)
{
    const nx_ggml_type *t = nx_ggml_type_find((uint32_t)type);
    rows_job j = {type, cols, x, importance, out, (size_t)cols / t->block_elements * t->block_bytes};
    spread(rows, encode_some, &j);
}
