#include "runtime/nn/packed.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

typedef struct {
    const nn_tensor *codes, *zeros, *scales, *order;
    bool awq;
    int bits, group, rows, cols; /* of the matrix [rows, cols] = [out, in] */
} packed;

static nn_tensor *part(nn_source *s, const char *name, const char *suffix)
{
    size_t n = strlen(name);
    char other[256];
    if (n <= 7 || strcmp(name + n - 7, ".weight") != 0)
        return NULL;
    snprintf(other, sizeof other, "%.*s%s", (int)(n - 7), name, suffix);
    return nn_source_find(s, other);
}

bool nn_packed_find(nn_source *s, const char *name)
{
    return part(s, name, ".qweight") != NULL;
}

bool nn_packed_check(const json_t *q)
{
    const char *method = nx_json_get_str(q, "quant_method", "an unnamed method");
    bool awq = strcmp(method, "awq") == 0;
    if (strcmp(method, "mxfp4") == 0)
        return true; /* the family's own tensors: blocks and scales */
    int64_t bits = nx_json_get_int(q, "bits", nx_json_get_int(q, "w_bit", 4));
    if (!awq && strcmp(method, "gptq") != 0)
        return nx_fail("the model is quantized by '%s'; of the foreign methods awq and gptq are supported",
                       method);
    if (awq && strcmp(nx_json_get_str(q, "version", "gemm"), "gemm") != 0)
        return nx_fail("AWQ in the layout '%s' is not supported, only 'gemm'",
                       nx_json_get_str(q, "version", ""));
    if (bits != 4 && (awq || bits != 8))
        return nx_fail("%s with %d bits is not supported", awq ? "AWQ" : "GPTQ", (int)bits);
    return true;
}

/* Code k of the words of a row in which codes lie side by side. AWQ's words hold the even columns
 * first, then the odd ones. */
static unsigned code_at(const uint32_t *words, size_t k, int bits, bool awq)
{
    static const int place[] = {0, 4, 1, 5, 2, 6, 3, 7};
    size_t per_word = 32 / (unsigned)bits, i = k % per_word;
    if (awq)
        i = (size_t)place[i];
    return words[k / per_word] >> i * (unsigned)bits & ((1u << bits) - 1);
}

static bool open_parts(packed *p, nn_source *s, const char *name, const json_t *settings)
{
    p->codes = part(s, name, ".qweight");
    p->zeros = part(s, name, ".qzeros");
    p->scales = part(s, name, ".scales");
    p->order = part(s, name, ".g_idx");
    p->awq = strcmp(nx_json_get_str(settings, "quant_method", ""), "awq") == 0;
    p->bits = (int)nx_json_get_int(settings, "bits", nx_json_get_int(settings, "w_bit", 4));
    if (p->bits != 4 && p->bits != 8)
        return nx_fail("tensor '%s': %d bits are not supported", name, p->bits);
    if (!p->zeros || !p->scales)
        return nx_fail("tensor '%s': its %s is missing", p->codes->name, p->zeros ? "scales" : "qzeros");
    int per_word = 32 / p->bits;
    const nn_tensor *q = p->codes, *z = p->zeros, *f = p->scales;
    if (q->ndim != 2 || z->ndim != 2 || f->ndim != 2 || q->dtype != MLX_INT32 ||
        z->dtype != MLX_INT32 || f->dtype != MLX_FLOAT16 || q->shape[0] > INT_MAX / 8 ||
        q->shape[1] > INT_MAX / 8)
        return nx_fail("tensor '%s' and its scales are not int32 and float16 matrices", q->name);
    p->cols = q->shape[0] * (p->awq ? 1 : per_word);
    p->rows = q->shape[1] * (p->awq ? per_word : 1);
    p->group = f->shape[0] > 0 ? p->cols / f->shape[0] : 0;
    bool group_known = p->group == 32 || p->group == 64 || p->group == 128;
    if (!group_known || f->shape[0] * p->group != p->cols || f->shape[1] != p->rows ||
        z->shape[0] != f->shape[0] || z->shape[1] * per_word != p->rows)
        return nx_fail("tensor '%s': groups of %d do not fit its shape, or are not 32, 64 or 128",
                       q->name, p->group);
    return true;
}

/* With act-order the columns of a group lie apart; affine groups are neighbours. */
static bool in_order(const packed *p)
{
    if (!p->order)
        return true;
    if (p->order->dtype != MLX_INT32 || p->order->elements != (uint64_t)p->cols)
        return nx_fail("tensor '%s' must hold %d int32 numbers", p->order->name, p->cols);
    for (int i = 0; i < p->cols; i++) {
        int32_t g;
        memcpy(&g, p->order->data + (size_t)i * 4, 4);
        if (g != i / p->group)
            return nx_fail("tensor '%s': GPTQ with act-order is not supported", p->order->name);
    }
    return true;
}

static float half_to_float(const nn_tensor *t, size_t i)
{
    uint16_t h;
    memcpy(&h, t->data + 2 * i, 2);
    uint32_t exponent = h >> 10 & 31, mantissa = h & 1023, bits;
    if (exponent == 0) {
        float tiny = (float)mantissa * 0x1p-24f;
        return h >> 15 ? -tiny : tiny;
    }
    bits = (uint32_t)(h >> 15) << 31 | (exponent == 31 ? 255u : exponent + 112) << 23 | mantissa << 13;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

static void fill(const packed *p, uint32_t *words, float *scales, float *biases)
{
    size_t rows = (size_t)p->rows, cols = (size_t)p->cols, groups = cols / (size_t)p->group;
    size_t per_word = 32 / (unsigned)p->bits;
    const uint32_t *codes = (const uint32_t *)(const void *)p->codes->data;
    const uint32_t *zeros = (const uint32_t *)(const void *)p->zeros->data;
    for (size_t c = 0; c < cols; c++)
        for (size_t r = 0; r < rows; r++) {
            unsigned v = p->awq ? code_at(codes + c * (rows / per_word), r, p->bits, true)
                                : codes[c / per_word * rows + r] >> c % per_word * (unsigned)p->bits &
                                      ((1u << p->bits) - 1);
            words[r * (cols / per_word) + c / per_word] |= v << c % per_word * (unsigned)p->bits;
        }
    for (size_t g = 0; g < groups; g++)
        for (size_t r = 0; r < rows; r++) {
            unsigned zero = code_at(zeros + g * (rows / per_word), r, p->bits, p->awq);
            float scale = half_to_float(p->scales, g * rows + r);
            scales[r * groups + g] = scale; /* GPTQ stores the zero less one */
            biases[r * groups + g] = -scale * (float)(zero + (p->awq ? 0 : 1));
        }
}

bool nn_packed_load(nn_weight *w, nn_source *s, const char *name, nn_quant_config quant)
{
    packed p = {0};
    if (!open_parts(&p, s, name, quant.foreign) || !in_order(&p))
        return false;
    if ((uintptr_t)p.codes->data % 4 || (uintptr_t)p.zeros->data % 4)
        return nx_fail("tensor '%s' is not aligned in its file", p.codes->name);
    int n_words = p.cols / (32 / p.bits), n_groups = p.cols / p.group;
    uint32_t *words = nx_calloc((size_t)p.rows * (size_t)n_words, sizeof *words);
    float *scales = nx_calloc((size_t)p.rows * (size_t)n_groups, sizeof *scales);
    float *biases = nx_calloc((size_t)p.rows * (size_t)n_groups, sizeof *biases);
    fill(&p, words, scales, biases);
    *w = (nn_weight){.form = NN_AFFINE, .rows = p.rows, .cols = p.cols, .bits = p.bits,
                     .group_size = p.group, .mode = "affine"};
    w->w = mlx_array_new_data(words, (int[]){p.rows, n_words}, 2, MLX_UINT32);
    w->scales = mlx_array_new_data(scales, (int[]){p.rows, n_groups}, 2, MLX_FLOAT32);
    w->biases = mlx_array_new_data(biases, (int[]){p.rows, n_groups}, 2, MLX_FLOAT32);
    free(words);
    free(scales);
    free(biases);
    nx_mapping_release_range(p.codes->file, p.codes->offset, p.codes->bytes);
    return w->w.ctx && w->scales.ctx && w->biases.ctx;
}

/* ---- mxfp4 ------------------------------------------------------------------------------------ */

static const char blocks_end[] = "_blocks", scales_end[] = "_scales";

bool nn_mxfp4_blocks(const nn_tensor *t)
{
    size_t n = strlen(t->name), e = sizeof blocks_end - 1;
    return n > e && strcmp(t->name + n - e, blocks_end) == 0 && t->dtype == MLX_UINT8 && t->ndim == 4;
}

bool nn_mxfp4_parts(nn_source *s, const nn_tensor *t, nn_tensor *words, const nn_tensor **scales)
{
    char name[256];
    snprintf(name, sizeof name, "%.*s%s", (int)(strlen(t->name) - (sizeof blocks_end - 1)), t->name,
             scales_end);
    const nn_tensor *found = nn_source_find(s, name);
    if (!found || found->ndim != 3 || found->dtype != MLX_UINT8 || t->shape[3] != 16 ||
        t->shape[2] > INT_MAX / 32 || memcmp(found->shape, t->shape, 3 * sizeof *t->shape) != 0)
        return nx_fail("tensor '%s': its scales '%s' are missing or of another shape", t->name, name);
    *scales = found;
    *words = *t; /* sixteen bytes of codes are four words of them */
    words->ndim = 3;
    words->shape[2] = t->shape[2] * 4;
    words->dtype = MLX_UINT32;
    return true;
}

bool nn_mxfp4_load(nn_weight *w, nn_source *s, const nn_tensor *t)
{
    nn_tensor words;
    const nn_tensor *scales;
    if (!nn_mxfp4_parts(s, t, &words, &scales))
        return false;
    *w = (nn_weight){.form = NN_AFFINE, .experts = t->shape[0], .rows = t->shape[1],
                     .cols = t->shape[2] * 32, .bits = 4, .group_size = 32, .mode = "mxfp4"};
    return nn_tensor_array(&words, &w->w) && nn_tensor_array(scales, &w->scales);
}
