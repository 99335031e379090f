#include "runtime/convert/codes.h"

#include <string.h>

#include "base/ggml_types.h"
#include "runtime/convert/halves.h"

bool codes_of(const item *t, int *bits, int *group)
{
    const item_part *p = &t->parts[0];
    *group = 32;
    if (t->turned || t->shift != 0)
        return false;
    if (p->form == ITEM_AFFINE) {
        *bits = p->bits;
        *group = p->group_size;
        for (int i = 1; i < t->n_parts; i++)
            if (t->parts[i].bits != p->bits || t->parts[i].group_size != p->group_size)
                return false;
        return p->biases && strcmp(p->mode, "affine") == 0;
    }
    if (p->form == ITEM_FOREIGN) {
        *bits = p->bits;
        *group = p->group_size;
        return t->n_parts == 1;
    }
    if (p->form != ITEM_BLOCKS)
        return false;
    switch (t->type) {
    case NX_GGML_Q4_0:
    case NX_GGML_Q4_1:
    case NX_GGML_Q4_K: *bits = 4; return true;
    case NX_GGML_Q5_0:
    case NX_GGML_Q5_1:
    case NX_GGML_Q5_K: *bits = 5; return true;
    case NX_GGML_Q8_0: *bits = 8; return true;
    default: return false;
    }
}

static float half_at(const unsigned char *p)
{
    return half_to_float((uint16_t)(p[0] | p[1] << 8));
}

/* ---- reading ---------------------------------------------------------------------------------- */

static void read_nibbles(const unsigned char *q, const unsigned char *high, unsigned char *out)
{
    for (int i = 0; i < 16; i++) {
        out[i] = q[i] & 15;
        out[i + 16] = q[i] >> 4;
    }
    for (int i = 0; high && i < 32; i++)
        out[i] |= (unsigned char)((high[i / 8] >> i % 8 & 1) << 4);
}

static void read_small(int type, const unsigned char *b, unsigned char *out, float *scale, float *minimum)
{
    bool five = type == NX_GGML_Q5_0 || type == NX_GGML_Q5_1;
    bool one = type == NX_GGML_Q4_1 || type == NX_GGML_Q5_1;
    const unsigned char *q = b + (one ? 4 : 2);
    *scale = half_at(b);
    if (type == NX_GGML_Q8_0) {
        for (int i = 0; i < 32; i++)
            out[i] = q[i] ^ 0x80;
        *minimum = -128 * *scale;
        return;
    }
    read_nibbles(q + (five ? 4 : 0), five ? q : NULL, out);
    *minimum = one ? half_at(b + 2) : (five ? -16.0f : -8.0f) * *scale;
}

/* Eight parts of 32 with scales and minimums of six bits. */
static void read_k(int type, const unsigned char *b, unsigned char *out, float *scales, float *minimums)
{
    const unsigned char *s = b + 4, *high = b + 16, *low = b + (type == NX_GGML_Q5_K ? 48 : 16);
    float d = half_at(b), dmin = half_at(b + 2);
    for (int p = 0; p < 8; p++) {
        int scale = p < 4 ? s[p] & 63 : (s[p + 4] & 15) | s[p - 4] >> 6 << 4;
        int least = p < 4 ? s[p + 4] & 63 : s[p + 4] >> 4 | s[p] >> 6 << 4;
        scales[p] = d * (float)scale;
        minimums[p] = -dmin * (float)least;
        for (int i = 0; i < 32; i++) {
            unsigned char c = low[p / 2 * 32 + i] >> (p % 2 ? 4 : 0) & 15;
            if (type == NX_GGML_Q5_K)
                c |= (unsigned char)((high[i] >> p & 1) << 4);
            out[p * 32 + i] = c;
        }
    }
}

static void read_block_row(const item *t, const unsigned char *row, size_t r, codes *c)
{
    const nx_ggml_type *type = nx_ggml_type_find((uint32_t)t->type);
    size_t cols = (size_t)t->cols, n = cols / type->block_elements, parts = type->block_elements / 32;
    for (size_t b = 0; b < n; b++, row += type->block_bytes) {
        unsigned char *to = c->codes + r * cols + b * type->block_elements;
        float *scale = c->scales + r * cols / 32 + b * parts;
        float *minimum = c->minimums + r * cols / 32 + b * parts;
        if (parts == 8)
            read_k(t->type, row, to, scale, minimum);
        else
            read_small(t->type, row, to, scale, minimum);
    }
}

static float scale_at(int type, const unsigned char *p, size_t i)
{
    if (type == NX_GGML_F32) {
        float f;
        memcpy(&f, p + 4 * i, 4);
        return f;
    }
    uint16_t h = (uint16_t)(p[2 * i] | p[2 * i + 1] << 8);
    return type == NX_GGML_F16 ? half_to_float(h) : bfloat_to_float(h);
}

/* Where an affine matrix's parts lie: in the file, or unpacked in memory. */
typedef struct {
    const unsigned char *words, *scales, *biases;
} affine_data;

static affine_data affine_of(const item_part *p)
{
    if (p->form == ITEM_AFFINE)
        return (affine_data){p->w->data, p->scales->data, p->biases->data};
    return (affine_data){(const unsigned char *)mlx_array_data_uint32(p->unpacked.w),
                         (const unsigned char *)mlx_array_data_float32(p->unpacked.scales),
                         (const unsigned char *)mlx_array_data_float32(p->unpacked.biases)};
}

static void read_affine_row(const item *t, const item_part *p, size_t at, size_t r, codes *c)
{
    size_t cols = (size_t)t->cols, groups = cols / (size_t)c->group;
    affine_data d = affine_of(p);
    const unsigned char *words = d.words + at * cols * (size_t)c->bits / 8;
    size_t bit = 0;
    for (size_t i = 0; i < cols; i++, bit += (size_t)c->bits) {
        unsigned v = words[bit / 8];
        if (bit % 8 + (size_t)c->bits > 8)
            v |= (unsigned)words[bit / 8 + 1] << 8;
        c->codes[r * cols + i] = (unsigned char)(v >> bit % 8 & ((1u << c->bits) - 1));
    }
    for (size_t g = 0; g < groups; g++) {
        c->scales[r * groups + g] = scale_at(t->type, d.scales, at * groups + g);
        c->minimums[r * groups + g] = scale_at(t->type, d.biases, at * groups + g);
    }
}

bool codes_read(item *t, int64_t begin, int64_t n, codes *c)
{
    for (int64_t r = 0; r < n; r++) {
        int64_t at;
        item_part *p = item_at(t, begin + r, &at);
        if (p->form == ITEM_FOREIGN && !item_unpack(t, p))
            return false;
        if (p->form != ITEM_BLOCKS)
            read_affine_row(t, p, (size_t)at, (size_t)r, c);
        else
            read_block_row(t, p->w->data + (size_t)at * item_row_bytes(t), (size_t)r, c);
        if (p->form == ITEM_FOREIGN && begin + r + 1 == t->rows)
            nn_weight_clear(&p->unpacked);
    }
    return true;
}

/* ---- writing ---------------------------------------------------------------------------------- */

static bool is_half(float v)
{
    return half_to_float(float_to_half(v)) == v;
}

bool codes_fit(int type, const codes *c, size_t n_groups, size_t *rounded)
{
    float zero = type == NX_GGML_Q4_0 ? -8 : type == NX_GGML_Q5_0 ? -16 : -128;
    bool one = type == NX_GGML_Q4_1 || type == NX_GGML_Q5_1;
    for (size_t g = 0; g < n_groups; g++) {
        if (!one && c->minimums[g] != zero * c->scales[g])
            return false;
        *rounded += !is_half(c->scales[g]) || (one && !is_half(c->minimums[g]));
    }
    return true;
}

void codes_to_blocks(int type, const codes *c, size_t row, int cols, unsigned char *out)
{
    bool five = type == NX_GGML_Q5_0 || type == NX_GGML_Q5_1;
    bool one = type == NX_GGML_Q4_1 || type == NX_GGML_Q5_1;
    const unsigned char *q = c->codes + row * (size_t)cols;
    size_t groups = (size_t)cols / (size_t)c->group;
    for (int at = 0; at < cols; at += 32, q += 32) {
        size_t g = row * groups + (size_t)(at / c->group);
        uint16_t scale = float_to_half(c->scales[g]), least = float_to_half(c->minimums[g]);
        memcpy(out, &scale, 2);
        out += 2;
        if (one) {
            memcpy(out, &least, 2);
            out += 2;
        }
        if (type == NX_GGML_Q8_0) {
            for (int i = 0; i < 32; i++)
                *out++ = q[i] ^ 0x80;
            continue;
        }
        uint32_t high = 0;
        for (int i = 0; i < 32; i++)
            high |= (uint32_t)(q[i] >> 4 & 1) << i;
        if (five) {
            memcpy(out, &high, 4);
            out += 4;
        }
        for (int i = 0; i < 16; i++)
            *out++ = (unsigned char)((q[i] & 15) | (q[i + 16] & 15) << 4);
    }
}

void codes_mxfp4_blocks(const item_part *p, int64_t row, int64_t cols, unsigned char *out)
{
    const unsigned char *q = p->w->data + row * cols / 2, *scales = p->scales->data + row * cols / 32;
    for (int64_t at = 0; at < cols; at += 32, q += 16) {
        *out++ = *scales++;
        for (int i = 0; i < 16; i++) {
            int shift = i % 2 * 4;
            *out++ = (unsigned char)((q[i / 2] >> shift & 15) | (q[i / 2 + 8] >> shift & 15) << 4);
        }
    }
}

void codes_mxfp4_words(const unsigned char *blocks, int64_t cols, unsigned char *words, unsigned char *scales)
{
    for (int64_t at = 0; at < cols; at += 32, words += 16) {
        *scales++ = *blocks++;
        for (int i = 0; i < 16; i += 2, blocks += 2) {
            words[i / 2] = (unsigned char)((blocks[0] & 15) | (blocks[1] & 15) << 4);
            words[i / 2 + 8] = (unsigned char)(blocks[0] >> 4 | (blocks[1] & 0xF0));
        }
    }
}

void codes_pack(const unsigned char *from, int cols, int bits, unsigned char *out)
{
    uint64_t word = 0;
    int held = 0;
    for (int i = 0; i < cols; i++) {
        word |= (uint64_t)from[i] << held;
        for (held += bits; held >= 8; held -= 8, word >>= 8)
            *out++ = (unsigned char)word;
    }
}
