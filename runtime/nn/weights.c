#include "runtime/nn/weights.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "runtime/nn/block_experts.h"
#include "runtime/nn/engine.h"
#include "runtime/nn/packed.h"

/* ---- loading ---------------------------------------------------------------------------------- */

typedef struct {
    int group_size, bits;
    const char *mode;
} quant_params;

/* "model.layers.3.mlp.gate.weight" -> its module's name, without ".weight". */
static size_t module_length(const char *name)
{
    size_t n = strlen(name);
    return n > 7 && strcmp(name + n - 7, ".weight") == 0 ? n - 7 : n;
}

/* The quantization of one module: the folder's, unless the block has an entry of the module's own. */
static quant_params params_for(nn_quant_config quant, const char *name)
{
    char module[256];
    snprintf(module, sizeof module, "%.*s", (int)module_length(name), name);
    const json_t *own = quant.block ? json_object_get(quant.block, module) : NULL;
    quant_params p = {(int)nx_json_get_int(quant.block, "group_size", 64),
                      (int)nx_json_get_int(quant.block, "bits", 4),
                      nx_json_get_str(quant.block, "mode", "affine")};
    if (json_is_object(own)) {
        p.group_size = (int)nx_json_get_int(own, "group_size", p.group_size);
        p.bits = (int)nx_json_get_int(own, "bits", p.bits);
        p.mode = nx_json_get_str(own, "mode", p.mode);
    }
    return p;
}

static nn_tensor *beside(nn_source *s, const char *name, const char *suffix)
{
    char other[256];
    snprintf(other, sizeof other, "%.*s%s", (int)module_length(name), name, suffix);
    return nn_source_find(s, other);
}

static bool is_half(const nn_tensor *t)
{
    return t->dtype == MLX_FLOAT16 || t->dtype == MLX_BFLOAT16;
}

static bool is_blocks(const nn_tensor *t)
{
    return t->dtype == MLX_UINT8 && t->ggml_type >= 0;
}

static bool load_affine(nn_weight *w, const nn_tensor *t, const nn_tensor *scales,
                        const nn_tensor *biases, quant_params p)
{
    const char *path = nx_mapping_path(t->file);
    int last = t->ndim - 1;
    if (t->dtype != MLX_UINT32 || last < 1 || last > 2)
        return nx_fail("[%s] quantized tensor '%s' is not uint32 with two or three dimensions", path,
                       t->name);
    int64_t cols = p.bits > 0 ? (int64_t)t->shape[last] * 32 / p.bits : 0;
    bool same = scales->ndim == t->ndim && (!biases || biases->ndim == t->ndim);
    for (int i = 0; same && i < last; i++)
        same = scales->shape[i] == t->shape[i] && (!biases || biases->shape[i] == t->shape[i]);
    if (p.bits < 2 || p.bits > 8 || p.group_size < 16 || !same || cols > INT_MAX ||
        (int64_t)scales->shape[last] * p.group_size != cols ||
        (biases && biases->shape[last] != scales->shape[last]))
        return nx_fail("[%s] '%s' does not have the shape of %d bits in groups of %d", path, t->name,
                       p.bits, p.group_size);
    w->form = NN_AFFINE;
    w->cols = (int)cols;
    w->bits = p.bits;
    w->group_size = p.group_size;
    w->file = nx_mapping_ref(t->file);
    w->offset = t->offset;
    w->bytes = t->bytes;
    snprintf(w->mode, sizeof w->mode, "%s", p.mode);
    return nn_tensor_array(t, &w->w) && nn_tensor_array(scales, &w->scales) &&
           (!biases || nn_tensor_array(biases, &w->biases));
}

/* Half floats are used as they lie through the extension, like any other block type: a product
 * with float32 activations would otherwise convert the whole matrix each time. */
static bool load_blocks(nn_weight *w, const nn_tensor *t, const nexus_engine *ext)
{
    w->form = NN_BLOCKS;
    w->ggml_type = t->ggml_type;
    w->file = nx_mapping_ref(t->file);
    w->offset = t->offset;
    w->bytes = t->bytes;
    w->repack = !w->experts && ext->gguf_should_repack(t->ggml_type, w->rows, w->cols);
    nn_tensor bytes = *t;
    bytes.dtype = MLX_UINT8;
    return nn_tensor_array(&bytes, &w->w);
}

/* Q4_0, Q4_1 and Q8_0 are affine in groups of 32: the same numbers in MLX's packing, for engines
 * without our extension. `dst` is the packed words [rows, cols * bits / 32]. */
static void repack_row(int type, const unsigned char *row, int cols, uint32_t *words,
                       uint16_t *scales, uint16_t *biases)
{
    int head = type == NX_GGML_Q4_1 ? 4 : 2, bits = type == NX_GGML_Q8_0 ? 8 : 4;
    for (int g = 0; g < cols / 32; g++) {
        const unsigned char *block = row + (size_t)g * (size_t)(head + 4 * bits);
        const unsigned char *q = block + head;
        memcpy(&scales[g], block, 2);
        for (int i = 0; i < 32; i++) {
            /* A 4-bit block holds element i and i + 16 in one byte. */
            unsigned v = bits == 8 ? q[i] ^ 0x80u : (i < 16 ? q[i] & 15u : q[i - 16] >> 4);
            int at = (g * 32 + i) * bits;
            words[at / 32] |= (uint32_t)v << at % 32;
        }
        if (type == NX_GGML_Q4_1)
            memcpy(&biases[g], block + 2, 2);
    }
}

static bool load_repacked(nn_weight *w, const nn_tensor *t)
{
    int type = t->ggml_type;
    if (t->ndim != 2 || (type != NX_GGML_Q4_0 && type != NX_GGML_Q4_1 && type != NX_GGML_Q8_0))
        return nx_fail("[%s] tensor '%s': %s needs the engine's own GGUF support, which this engine "
                       "lacks", nx_mapping_path(t->file), t->name,
                       nx_ggml_type_find((uint32_t)type)->name);
    int rows = t->shape[0], cols = t->shape[1], bits = type == NX_GGML_Q8_0 ? 8 : 4;
    size_t n_words = (size_t)cols * (size_t)bits / 32, n_groups = (size_t)cols / 32;
    uint32_t *words = nx_calloc((size_t)rows * n_words, sizeof *words);
    uint16_t *scales = nx_calloc((size_t)rows * n_groups, sizeof *scales);
    uint16_t *biases = nx_calloc((size_t)rows * n_groups, sizeof *biases);
    for (int r = 0; r < rows; r++)
        repack_row(type, t->data + t->bytes / (uint64_t)rows * (uint64_t)r, cols,
                   words + (size_t)r * n_words, scales + (size_t)r * n_groups,
                   biases + (size_t)r * n_groups);
    w->form = NN_AFFINE;
    w->bits = bits;
    w->group_size = 32;
    snprintf(w->mode, sizeof w->mode, "affine");
    w->w = mlx_array_new_data(words, (int[]){rows, (int)n_words}, 2, MLX_UINT32);
    w->scales = mlx_array_new_data(scales, (int[]){rows, (int)n_groups}, 2, MLX_FLOAT16);
    w->biases = mlx_array_new_data(biases, (int[]){rows, (int)n_groups}, 2, MLX_FLOAT16);
    free(words);
    free(scales);
    free(biases);
    if (!w->w.ctx || !w->scales.ctx || !w->biases.ctx)
        return false;
    if (type != NX_GGML_Q4_1) { /* unsigned codes: the zero is at 8 or 128 */
        mlx_stream s = mlx_default_cpu_stream_new();
        mlx_array zero = mlx_array_new_float(bits == 8 ? -128.0f : -8.0f), b = mlx_array_new();
        bool ok = zero.ctx && !mlx_multiply(&b, w->scales, zero, s) &&
                  !mlx_astype(&w->biases, b, MLX_FLOAT16, s) && !mlx_array_eval(w->biases);
        mlx_array_free(b);
        mlx_array_free(zero);
        mlx_stream_free(s);
        if (!ok)
            return false;
    }
    nx_mapping_release_range(t->file, t->offset, t->bytes);
    return true;
}

static bool load_into(nn_weight *w, nn_source *s, const nn_tensor *t, nn_quant_config quant)
{
    const nexus_engine *ext = engine_extensions();
    nn_tensor *scales = t->dtype == MLX_UINT32 ? beside(s, t->name, ".scales") : NULL;
    if (nn_mxfp4_blocks(t))
        return nn_mxfp4_load(w, s, t);
    if (t->ndim > 3)
        return nx_fail("[%s] tensor '%s' has %d dimensions where a matrix is expected",
                       nx_mapping_path(t->file), t->name, t->ndim);
    w->rows = t->ndim > 1 ? t->shape[t->ndim - 2] : 1;
    w->cols = t->ndim > 0 ? t->shape[t->ndim - 1] : 1;
    w->experts = t->ndim == 3 ? t->shape[0] : 0;
    if (scales)
        return load_affine(w, t, scales, beside(s, t->name, ".biases"), params_for(quant, t->name));
    if (t->ndim >= 2 && ext && (is_blocks(t) || is_half(t))) {
        if (!ext->gguf_supports(t->ggml_type))
            return nx_fail("[%s] tensor '%s' is %s, which is not supported yet",
                           nx_mapping_path(t->file), t->name,
                           nx_ggml_type_find((uint32_t)t->ggml_type)->name);
        return load_blocks(w, t, ext);
    }
    if (is_blocks(t))
        return load_repacked(w, t);
    if (t->dtype != MLX_FLOAT32 && t->dtype != MLX_FLOAT64 && !is_half(t))
        return nx_fail("[%s] tensor '%s' holds integers where weights are expected",
                       nx_mapping_path(t->file), t->name);
    w->form = NN_PLAIN;
    return nn_tensor_array(t, &w->w);
}

bool nn_weight_there(nn_source *s, const char *name)
{
    size_t n = strlen(name);
    return nx_map_find(&s->index, name, n) != NULL || nn_packed_find(s, name);
}

bool nn_weight_load(nn_weight *w, nn_source *s, const char *name, nn_quant_config quant, bool *found)
{
    *w = (nn_weight){0};
    nn_tensor *t = nn_source_find(s, name);
    *found = t != NULL || nn_packed_find(s, name);
    if (!*found || (t ? load_into(w, s, t, quant) : nn_packed_load(w, s, name, quant)))
        return true;
    nn_weight_clear(w);
    return false;
}

void nn_weight_clear(nn_weight *w)
{
    mlx_array_free(w->w);
    mlx_array_free(w->scales);
    mlx_array_free(w->biases);
    nx_mapping_unref(&w->file);
    *w = (nn_weight){0};
}

/* ---- use -------------------------------------------------------------------------------------- */

/* The faster layout, made once; the file's pages of this weight are let go, so that memory never
 * holds both for more than one weight. */
static bool repack(nn_weight *w)
{
    mlx_array packed = mlx_array_new();
    mlx_stream s = mlx_default_cpu_stream_new();
    const nexus_engine *ext = engine_extensions();
    bool ok = !ext->gguf_repack(&packed, w->w, w->ggml_type, s) && !mlx_array_eval(packed);
    mlx_stream_free(s);
    if (!ok) {
        mlx_array_free(packed);
        return false;
    }
    mlx_array_free(w->w);
    w->w = packed;
    w->ggml_type |= NEXUS_GGUF_REPACKED;
    w->repack = false;
    nx_mapping_release_range(w->file, w->offset, w->bytes);
    return true;
}

/* An affine matrix in the engine's own order, from which on it is blocks like GGUF's; as it was where
 * the engine has no such order for it. False after a failure, which the scope keeps. */
static bool affine_ready(nn *c, nn_weight *w)
{
    const nexus_engine *ext = engine_extensions();
    if (w->form != NN_AFFINE || w->experts || !ext || ext->version < 3 || !w->biases.ctx ||
        strcmp(w->mode, "affine") != 0)
        return true;
    int type = ext->affine_type(w->bits, w->group_size, mlx_array_dtype(w->scales));
    if (type == 0 || mlx_array_dtype(w->biases) != mlx_array_dtype(w->scales))
        return true;
    mlx_array packed = mlx_array_new();
    mlx_stream s = mlx_default_cpu_stream_new();
    bool ok = !ext->affine_repack(&packed, w->w, w->scales, w->biases, w->group_size, w->bits, s) &&
              !mlx_array_eval(packed);
    mlx_stream_free(s);
    if (!ok) {
        mlx_array_free(packed);
        nn_fail(c);
        return false;
    }
    mlx_array_free(w->w);
    mlx_array_free(w->scales);
    mlx_array_free(w->biases);
    w->w = packed;
    w->scales = w->biases = (mlx_array){0};
    w->form = NN_BLOCKS;
    w->ggml_type = type;
    if (w->file)
        nx_mapping_release_range(w->file, w->offset, w->bytes);
    return true;
}

/* Blocks in the layout they are to be read in; false after a failure, which the scope keeps. */
static bool blocks_ready(nn *c, nn_weight *w)
{
    if (w->repack && !repack(w))
        nn_fail(c);
    return !c->failed;
}

static mlx_array blocks_product(nn *c, mlx_array x, nn_weight *w)
{
    if (!blocks_ready(c, w))
        return (mlx_array){0};
    return NN_CALL(c, engine_extensions()->gguf_matmul, x, w->w, w->ggml_type);
}

static mlx_array blocks_rows(nn *c, nn_weight *w, mlx_array ids)
{
    if (!blocks_ready(c, w))
        return (mlx_array){0};
    return NN_CALL(c, engine_extensions()->gguf_take, w->w, w->ggml_type, ids, MLX_FLOAT32);
}

enum { FULL_PRECISION = 1 << 20 }; /* values of a matrix that is small beside the rest of a model */

static mlx_array plain_product(nn *c, mlx_array x, nn_weight *w)
{
    mlx_dtype type = mlx_array_dtype(x);
    mlx_array t = NN_CALL(c, mlx_transpose, w->w);
    /* Half weights: the activations come to them, not the whole matrix to the activations; but a router,
     * where a last digit chooses another expert, and others of its size in full. */
    if ((int64_t)w->rows * w->cols <= FULL_PRECISION)
        return nn_astype(c, NN_CALL(c, mlx_matmul, nn_astype(c, x, MLX_FLOAT32), nn_astype(c, t, MLX_FLOAT32)), type);
    mlx_array y = NN_CALL(c, mlx_matmul, nn_astype(c, x, mlx_array_dtype(w->w)), t);
    return nn_astype(c, y, type);
}

static nn_observer observer;
static void *observer_arg;

void nn_observe(nn_observer fn, void *arg)
{
    observer = fn;
    observer_arg = arg;
}

static mlx_array biased(nn *c, mlx_array y, nn_weight *bias)
{
    return bias && bias->form != NN_ABSENT ? nn_add(c, y, nn_vector(c, bias)) : y;
}

mlx_array nn_linear(nn *c, mlx_array x, nn_weight *w, nn_weight *bias)
{
    mlx_array y = {0};
    if (c->failed || !affine_ready(c, w))
        return y;
    if (observer)
        observer(c, w, x, observer_arg);
    if (w->form == NN_BLOCKS)
        y = blocks_product(c, x, w);
    else if (w->form == NN_AFFINE)
        y = NN_CALL(c, mlx_quantized_matmul, x, w->w, w->scales, w->biases, true,
                    (mlx_optional_int){w->group_size, true}, (mlx_optional_int){w->bits, true}, w->mode);
    else
        y = plain_product(c, x, w);
    return biased(c, y, bias);
}

/* Are they all blocks, in their final layout, that the engine multiplies at once? */
static bool go_together(nn *c, nn_weight *const *w, int n)
{
    const nexus_engine *ext = engine_extensions();
    if (!ext || ext->version < 7)
        return false;
    for (int i = 0; i < n; i++)
        if (!affine_ready(c, w[i]) || w[i]->form != NN_BLOCKS || !blocks_ready(c, w[i]))
            return false;
    return true;
}

static void products_together(nn *c, mlx_array x, nn_weight *const *w, int n, mlx_array *y)
{
    int types[NN_LINEARS], status = 0;
    mlx_vector_array matrices = mlx_vector_array_new(), products = mlx_vector_array_new();
    for (int i = 0; i < n; i++) {
        types[i] = w[i]->ggml_type;
        status = status || mlx_vector_array_append_value(matrices, w[i]->w);
    }
    status = status || engine_extensions()->gguf_products(&products, x, matrices, types, c->s);
    for (int i = 0; i < n; i++)
        y[i] = nn_own_item(c, status, products, (size_t)i);
    mlx_vector_array_free(matrices);
    mlx_vector_array_free(products);
}

void nn_linears(nn *c, mlx_array x, nn_weight *const *w, nn_weight *const *bias, int n, mlx_array *y)
{
    if (c->failed || !go_together(c, w, n)) {
        for (int i = 0; i < n; i++)
            y[i] = nn_linear(c, x, w[i], bias ? bias[i] : NULL);
        return;
    }
    for (int i = 0; observer && i < n; i++)
        observer(c, w[i], x, observer_arg);
    products_together(c, x, w, n, y);
    for (int i = 0; bias && i < n; i++)
        y[i] = biased(c, y[i], bias[i]);
}

static mlx_array affine_rows(nn *c, nn_weight *w, mlx_array ids)
{
    mlx_array q = NN_CALL(c, mlx_take_axis, w->w, ids, 0);
    mlx_array scales = NN_CALL(c, mlx_take_axis, w->scales, ids, 0);
    mlx_array biases = {0};
    if (w->biases.ctx)
        biases = NN_CALL(c, mlx_take_axis, w->biases, ids, 0);
    return NN_CALL(c, mlx_dequantize, q, scales, biases, (mlx_optional_int){w->group_size, true},
                   (mlx_optional_int){w->bits, true}, w->mode, (mlx_array){0},
                   (mlx_optional_dtype){MLX_FLOAT32, true});
}

mlx_array nn_embedding(nn *c, nn_weight *w, mlx_array ids)
{
    mlx_array rows;
    if (c->failed || !affine_ready(c, w))
        return (mlx_array){0};
    if (w->form == NN_BLOCKS)
        rows = blocks_rows(c, w, ids);
    else if (w->form == NN_AFFINE)
        rows = affine_rows(c, w, ids);
    else
        rows = NN_CALL(c, mlx_take_axis, w->w, ids, 0);
    return nn_astype(c, rows, MLX_FLOAT32);
}

mlx_array nn_vector(nn *c, nn_weight *w)
{
    return w->form == NN_ABSENT ? (mlx_array){0} : nn_astype(c, w->w, MLX_FLOAT32);
}

/* ---- experts ---------------------------------------------------------------------------------- */

/* [T, k, 1, rows] */
static mlx_array expert_product(nn *c, mlx_array x, nn_weight *w, mlx_array ids)
{
    mlx_array none = {0};
    if (w->form == NN_BLOCKS)
        return nn_block_experts(c, x, w, ids);
    if (w->form == NN_AFFINE)
        return NN_CALL(c, mlx_gather_qmm, x, w->w, w->scales, w->biases, none, ids, true,
                       (mlx_optional_int){w->group_size, true}, (mlx_optional_int){w->bits, true},
                       w->mode, false);
    mlx_array turned = nn_transpose(c, w->w, (int[]){0, 2, 1}, 3);
    return NN_CALL(c, mlx_gather_mm, nn_astype(c, x, mlx_array_dtype(w->w)), turned, none, ids, false);
}

mlx_array nn_expert_linear(nn *c, mlx_array x, nn_weight *w, nn_weight *bias, mlx_array ids)
{
    if (c->failed)
        return x;
    if (observer)
        observer(c, w, x, observer_arg);
    int t = mlx_array_dim(x, 0), k = mlx_array_dim(x, 1), chosen = mlx_array_dim(ids, 1);
    mlx_array rows = nn_reshape(c, x, (int[]){t, k, 1, w->cols}, 4);
    mlx_array y = nn_astype(c, expert_product(c, rows, w, ids), MLX_FLOAT32);
    y = nn_reshape(c, y, (int[]){t, chosen, w->rows}, 3);
    if (!bias || bias->form == NN_ABSENT)
        return y;
    mlx_array b = NN_CALL(c, mlx_take_axis, nn_vector(c, bias), ids, 0);
    return nn_add(c, y, b);
}

/* ---- facts ------------------------------------------------------------------------------------ */

bool nn_weight_inspect(nn_source *s, const char *name, nn_quant_config quant, nn_weight_facts *out)
{
    *out = (nn_weight_facts){0};
    nn_tensor *t = nn_source_find(s, name);
    if (!t)
        return false;
    out->parameters = t->elements;
    out->bytes = t->bytes;
    nn_tensor *scales = t->dtype == MLX_UINT32 ? beside(s, t->name, ".scales") : NULL;
    if (scales) {
        quant_params p = params_for(quant, name);
        nn_tensor *biases = beside(s, t->name, ".biases");
        out->parameters = p.bits > 0 ? t->elements * 32 / (unsigned)p.bits : t->elements;
        out->bytes += scales->bytes + (biases ? biases->bytes : 0);
        snprintf(out->label, sizeof out->label, "%d-bit %s g%d", p.bits, p.mode, p.group_size);
    } else if (t->ggml_type >= 0) {
        const nx_ggml_type *type = nx_ggml_type_find((uint32_t)t->ggml_type);
        snprintf(out->label, sizeof out->label, "%s", type ? type->name : "?");
    }
    return true;
}
