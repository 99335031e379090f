#include "runtime/convert/items.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/ggml_types.h"
#include "runtime/convert/halves.h"
#include "runtime/nn/engine.h"
#include "runtime/nn/packed.h"

/* ---- listing ---------------------------------------------------------------------------------- */

static nn_tensor *beside(nn_source *s, const char *name, const char *end)
{
    char other[300];
    size_t n = strlen(name);
    if (n > 7 && strcmp(name + n - 7, ".weight") == 0)
        n -= 7;
    snprintf(other, sizeof other, "%.*s%s", (int)n, name, end);
    return nn_source_find(s, other);
}

/* The folder's settings of quantization, or the module's own. */
static void affine_settings(item_part *p, const json_t *block)
{
    char module[300];
    size_t n = strlen(p->name);
    snprintf(module, sizeof module, "%.*s", (int)(n > 7 ? n - 7 : n), p->name);
    const json_t *own = json_object_get(block, module);
    own = json_is_object(own) ? own : block;
    p->group_size = (int)nx_json_get_int(own, "group_size", nx_json_get_int(block, "group_size", 64));
    p->bits = (int)nx_json_get_int(own, "bits", nx_json_get_int(block, "bits", 4));
    snprintf(p->mode, sizeof p->mode, "%s",
             nx_json_get_str(own, "mode", nx_json_get_str(block, "mode", "affine")));
}

static bool part_foreign(item_part *p, item *t, package *from)
{
    bool found;
    p->form = ITEM_FOREIGN;
    if (!nn_weight_load(&p->unpacked, &from->source, p->name, from->quant, &found))
        return false;
    if (p->unpacked.form != NN_AFFINE || p->unpacked.experts)
        return nx_fail("[%s] tensor '%s' is of a kind that cannot be converted", from->path, p->name);
    t->rows = p->unpacked.rows;
    t->cols = p->unpacked.cols;
    t->type = NX_GGML_F32;
    p->bits = p->unpacked.bits;
    p->group_size = p->unpacked.group_size;
    nn_weight_clear(&p->unpacked); /* unpacked again when it is read */
    return true;
}

static bool part_affine(item_part *p, item *t, package *from)
{
    const char *path = from->path;
    p->form = ITEM_AFFINE;
    const nn_tensor *w = p->w, *s = p->scales;
    int last = w->ndim - 1;
    t->cols = p->bits >= 2 && p->bits <= 8 ? (int64_t)w->shape[last] * 32 / p->bits : 0;
    t->experts = w->ndim == 3 ? w->shape[0] : 0;
    t->type = s->ggml_type >= 0 ? s->ggml_type : NX_GGML_F16;
    t->rows = 1;
    bool same = last >= 1 && last <= 2 && s->ndim == w->ndim && p->group_size >= 16 &&
                (int64_t)s->shape[last] * p->group_size == t->cols && t->cols > 0 &&
                (!p->biases || (p->biases->ndim == w->ndim && p->biases->dtype == s->dtype &&
                                p->biases->bytes == s->bytes));
    for (int i = 0; same && i < last; i++) {
        same = s->shape[i] == w->shape[i];
        t->rows *= w->shape[i];
    }
    return (same && t->rows > 0) ||
           nx_fail("[%s] '%s' does not have the shape of %d bits in groups of %d", path, p->name,
                           p->bits, p->group_size);
}

static bool part_mxfp4(item_part *p, item *t, package *from)
{
    if (!nn_mxfp4_parts(&from->source, p->w, &p->words, &p->scales))
        return false;
    p->w = &p->words;
    p->group_size = 32;
    p->bits = 4;
    snprintf(p->mode, sizeof p->mode, "mxfp4");
    return part_affine(p, t, from);
}

static bool part_plain(item_part *p, item *t, package *from)
{
    const nn_tensor *w = p->w;
    bool floats = w->dtype == MLX_FLOAT32 || w->dtype == MLX_FLOAT16 || w->dtype == MLX_BFLOAT16;
    p->form = w->dtype == MLX_UINT8 && w->ggml_type >= 0 ? ITEM_BLOCKS : ITEM_PLAIN;
    if (p->form == ITEM_PLAIN && !floats)
        return nx_fail("[%s] tensor '%s' is of a type that cannot be converted", from->path, p->name);
    t->type = w->ggml_type;
    t->ndim = w->ndim;
    memcpy(t->shape, w->shape, sizeof t->shape);
    bool by_expert = t->row->flags & WEIGHT_EXPERTS && !t->row->rows && w->ndim == 2; /* a vector each */
    t->vector = w->ndim < 2 || by_expert;
    t->cols = t->vector ? 1 : w->shape[w->ndim - 1];
    t->rows = 1;
    for (int i = 0; i < w->ndim - !t->vector; i++)
        t->rows *= w->shape[i];
    t->experts = (w->ndim == 3 || by_expert) && t->row->flags & WEIGHT_EXPERTS ? w->shape[0] : 0;
    return (t->rows > 0 && t->cols > 0) || nx_fail("[%s] tensor '%s' is empty", from->path, p->name);
}

typedef struct {
    item_vec *out;
    package *from;
    const model *m;
} list_ctx;

static bool add_part(list_ctx *c, item *t, int i, const char *name)
{
    item_part *p = &t->parts[i];
    nn_source *s = &c->from->source;
    p->name = nx_strdup(name);
    p->w = nn_source_find(s, name);
    if (!p->w)
        return part_foreign(p, t, c->from);
    if (nn_mxfp4_blocks(p->w))
        return part_mxfp4(p, t, c->from);
    p->scales = p->w->dtype == MLX_UINT32 ? beside(s, name, ".scales") : NULL;
    p->biases = p->scales ? beside(s, name, ".biases") : NULL;
    if (!p->scales)
        return part_plain(p, t, c->from);
    affine_settings(p, c->from->quant.block);
    return part_affine(p, t, c->from);
}

static bool list_one(const weight_row *row, int layer, char *const *names, int n, void *arg)
{
    list_ctx *c = arg;
    item t = {.row = row, .stored = row, .layer = layer, .n_parts = n, .from = c->from};
    t.parts = nx_calloc((size_t)n, sizeof *t.parts);
    bool ok = true;
    int64_t rows = 0, cols = 0;
    for (int i = 0; i < n && ok; i++) {
        ok = add_part(c, &t, i, names[i]);
        if (ok && i && (t.rows != rows || t.cols != cols || t.parts[i].form != t.parts[0].form))
            ok = nx_fail("[%s] '%s' has another shape than the first expert", c->from->path, names[i]);
        rows = t.rows;
        cols = t.cols;
    }
    if (ok && n > 1) {
        t.experts = n;
        t.rows *= n;
    }
    nx_vec_push(c->out, t);
    return ok;
}

bool items_list(item_vec *out, package *p, const model *m)
{
    list_ctx c = {out, p, m};
    return model_each_tensor(m, &p->source, p->is_gguf, list_one, &c);
}

void items_clear(item_vec *v)
{
    for (size_t i = 0; i < v->n; i++) {
        for (int k = 0; k < v->at[i].n_parts; k++) {
            nn_weight_clear(&v->at[i].parts[k].unpacked);
            free(v->at[i].parts[k].name);
        }
        free(v->at[i].parts);
        free(v->at[i].whole);
    }
    nx_vec_clear(v);
}

item item_copy(const item *t)
{
    item copy = *t;
    copy.parts = nx_calloc((size_t)t->n_parts, sizeof *copy.parts);
    memcpy(copy.parts, t->parts, (size_t)t->n_parts * sizeof *copy.parts);
    for (int i = 0; i < t->n_parts; i++) {
        copy.parts[i].name = nx_strdup(t->parts[i].name);
        if (t->parts[i].w == &t->parts[i].words)
            copy.parts[i].w = &copy.parts[i].words;
    }
    return copy;
}

static bool part_is_mxfp4(const item *t, const item_part *p)
{
    if (p->form == ITEM_BLOCKS)
        return t->type == NX_GGML_MXFP4;
    return p->form == ITEM_AFFINE && strcmp(p->mode, "mxfp4") == 0 && p->bits == 4 && p->group_size == 32 &&
           p->scales->dtype == MLX_UINT8;
}

bool item_is_mxfp4(const item *t)
{
    bool all = !t->turned && t->shift == 0 && !t->log;
    for (int i = 0; i < t->n_parts; i++)
        all = all && part_is_mxfp4(t, &t->parts[i]);
    return all;
}

/* ---- rows ------------------------------------------------------------------------------------- */

/* Where a row of a divided matrix lies in the whole. */
static int64_t row_of_whole(const item *t, int64_t row)
{
    return t->every ? row / t->take * t->every + t->skip + row % t->take : row;
}

/* A turned one is divided after it was turned. */
static int64_t stored_row(const item *t, int64_t row)
{
    return t->turned ? row : row_of_whole(t, row);
}

int64_t item_part_rows(const item *t)
{
    int64_t all = t->every && !t->turned ? t->rows / t->take * t->every : t->rows;
    return all / t->n_parts;
}

item_part *item_at(item *t, int64_t row, int64_t *within)
{
    int64_t at = stored_row(t, row);
    *within = at % item_part_rows(t);
    return &t->parts[at / item_part_rows(t)];
}

int64_t item_run(const item *t, int64_t begin, int64_t n)
{
    int64_t left = item_part_rows(t) - stored_row(t, begin) % item_part_rows(t);
    int64_t share = t->every && !t->turned ? t->take - begin % t->take : n;
    left = share < left ? share : left;
    return n < left ? n : left;
}

int64_t item_step(const item *t)
{
    return t->kv_groups ? t->rows : t->pair_heads ? t->rows / t->pair_heads : 1;
}

size_t item_row_bytes(const item *t)
{
    const item_part *p = &t->parts[0];
    if (p->form != ITEM_PLAIN && p->form != ITEM_BLOCKS)
        return 0;
    return (size_t)(p->w->bytes / (uint64_t)item_part_rows(t));
}

/* q, k, v of each KV head <-> all q, all k, all v. */
static int64_t row_of_group(const item *t, bool to_gguf, int64_t row)
{
    int64_t groups = t->kv_groups, share = t->kv_share, d = t->rows / (groups * (share + 2));
    int64_t head = row / d, i = row % d, q = groups * share;
    if (to_gguf) {
        int64_t k = (head - q) % groups, which = (head - q) / groups; /* 0: k, 1: v */
        head = head < q ? head / share * (share + 2) + head % share : k * (share + 2) + share + which;
    } else {
        int64_t g = head / (share + 2), part = head % (share + 2);
        head = part < share ? g * share + part : q + (part - share) * groups + g;
    }
    return head * d + i;
}

/* Within a head: first half, second half <-> pairs of one of each. */
static int64_t row_of(const item *t, bool to_gguf, int64_t row)
{
    if (t->kv_groups)
        return row_of_group(t, to_gguf, row);
    int64_t d = item_step(t), head = row / d, i = row % d, half = d / 2;
    int64_t from = to_gguf ? i % 2 * half + i / 2 : i % half * 2 + i / half;
    return head * d + from;
}

void item_order(const item *t, bool to_gguf, void *rows, int64_t n, size_t bytes)
{
    if (!t->pair_heads && !t->kv_groups)
        return;
    unsigned char *copy = nx_malloc((size_t)n * bytes), *to = rows;
    memcpy(copy, rows, (size_t)n * bytes);
    for (int64_t r = 0; r < n; r++)
        memcpy(to + (size_t)r * bytes, copy + (size_t)row_of(t, to_gguf, r) * bytes, bytes);
    free(copy);
}

static void copy_rows(item *t, int64_t begin, int64_t n, unsigned char *out)
{
    size_t bytes = item_row_bytes(t);
    while (n > 0) {
        int64_t at, run = item_run(t, begin, n);
        const item_part *p = item_at(t, begin, &at);
        memcpy(out, p->w->data + (size_t)at * bytes, (size_t)run * bytes);
        out += (size_t)run * bytes;
        begin += run;
        n -= run;
    }
}

bool item_bytes(item *t, bool to_gguf, int64_t begin, int64_t n, unsigned char *out)
{
    copy_rows(t, begin, n, out);
    item_order(t, to_gguf, out, n, item_row_bytes(t));
    return true;
}

/* Of a divided one also what lies between: whoever has it reads it again. */
void item_release(item *t, int64_t begin, int64_t n)
{
    int64_t at = stored_row(t, begin), end = stored_row(t, begin + n - 1) + 1, all = item_part_rows(t);
    while (at < end) {
        const item_part *p = &t->parts[at / all];
        int64_t within = at % all, run = end - at < all - within ? end - at : all - within;
        if (p->w && p->w->file) {
            size_t bytes = (size_t)(p->w->bytes / (uint64_t)all);
            nx_mapping_release_range(p->w->file, p->w->offset + (size_t)within * bytes, (size_t)run * bytes);
        }
        at += run;
    }
}

/* ---- numbers ---------------------------------------------------------------------------------- */

static void widen(int type, const unsigned char *from, size_t n, float *out)
{
    if (type == NX_GGML_F32) {
        memcpy(out, from, n * 4);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, from + 2 * i, 2);
        out[i] = type == NX_GGML_F16 ? half_to_float(h) : bfloat_to_float(h);
    }
}

static bool take_out(mlx_array a, int status, int64_t n, int64_t cols, float *out)
{
    bool ok = !status && !mlx_array_eval(a) && mlx_array_size(a) == (size_t)(n * cols);
    if (ok)
        memcpy(out, mlx_array_data_float32(a), (size_t)(n * cols) * sizeof *out);
    mlx_array_free(a);
    return ok;
}

/* Some rows of a tensor as an array [n, last dimension]. */
static bool rows_array(const nn_tensor *w, int64_t all_rows, int64_t begin, int64_t n, mlx_array *out)
{
    nn_tensor some = *w;
    some.ndim = 2;
    some.shape[0] = (int)n;
    some.shape[1] = w->shape[w->ndim - 1];
    some.bytes = w->bytes / (uint64_t)all_rows * (uint64_t)n;
    some.data = w->data + w->bytes / (uint64_t)all_rows * (uint64_t)begin;
    return nn_tensor_array(&some, out);
}

static bool read_blocks(const item *t, const item_part *p, int64_t begin, int64_t n, float *out)
{
    const nexus_engine *ext = engine_extensions();
    if (!ext || !ext->gguf_supports(p->w->ggml_type))
        return nx_fail("tensor '%s' is of a block type that this engine cannot read", p->name);
    mlx_array w = mlx_array_new(), y = mlx_array_new();
    mlx_stream s = mlx_default_cpu_stream_new();
    bool ok = rows_array(p->w, item_part_rows(t), begin, n, &w);
    int status = ok ? ext->gguf_dequantize(&y, w, p->w->ggml_type, MLX_FLOAT32, s) : 1;
    ok = take_out(y, status, n, t->cols, out);
    mlx_array_free(w);
    mlx_stream_free(s);
    return ok;
}

static bool dequantize(const item *t, mlx_array w, mlx_array scales, mlx_array biases, int group,
                       int bits, const char *mode, int64_t n, float *out)
{
    mlx_stream s = mlx_default_cpu_stream_new();
    mlx_array y = mlx_array_new();
    int status = mlx_dequantize(&y, w, scales, biases, (mlx_optional_int){group, true},
                                (mlx_optional_int){bits, true}, mode, (mlx_array){0},
                                (mlx_optional_dtype){MLX_FLOAT32, true}, s);
    bool ok = take_out(y, status, n, t->cols, out);
    mlx_stream_free(s);
    return ok;
}

static bool read_affine(const item *t, const item_part *p, int64_t begin, int64_t n, float *out)
{
    mlx_array w = mlx_array_new(), scales = mlx_array_new(), biases = {0};
    int64_t all = item_part_rows(t);
    if (p->biases)
        biases = mlx_array_new();
    bool ok = rows_array(p->w, all, begin, n, &w) && rows_array(p->scales, all, begin, n, &scales) &&
              (!p->biases || rows_array(p->biases, all, begin, n, &biases)) &&
              dequantize(t, w, scales, biases, p->group_size, p->bits, p->mode, n, out);
    mlx_array_free(w);
    mlx_array_free(scales);
    mlx_array_free(biases);
    return ok;
}

bool item_unpack(item *t, item_part *p)
{
    bool found;
    return p->unpacked.w.ctx ||
           nn_weight_load(&p->unpacked, &t->from->source, p->name, t->from->quant, &found);
}

static bool read_foreign(item *t, item_part *p, int64_t begin, int64_t n, float *out)
{
    nn_weight some;
    if (!item_unpack(t, p))
        return false;
    if (!nn_weight_rows(&some, &p->unpacked, (int)begin, (int)(begin + n)))
        return false;
    bool ok = dequantize(t, some.w, some.scales, some.biases, some.group_size, some.bits, some.mode, n,
                         out);
    nn_weight_clear(&some);
    if (begin + n == item_part_rows(t))
        nn_weight_clear(&p->unpacked);
    return ok;
}

static bool read_part(item *t, int64_t begin, int64_t n, float *out)
{
    int64_t at;
    item_part *p = item_at(t, begin, &at);
    switch (p->form) {
    case ITEM_BLOCKS: return read_blocks(t, p, at, n, out);
    case ITEM_AFFINE: return read_affine(t, p, at, n, out);
    case ITEM_FOREIGN: return read_foreign(t, p, at, n, out);
    case ITEM_PLAIN: break;
    }
    size_t bytes = item_row_bytes(t);
    widen(t->type, p->w->data + (size_t)at * bytes, (size_t)(n * t->cols), out);
    return true;
}

typedef struct {
    item *t;
    int64_t begin, n;
    float *out;
} read_job;

/* Engine thread. */
static bool run_read(void *arg)
{
    const read_job *j = arg;
    return read_part(j->t, j->begin, j->n, j->out);
}

static bool read_stored(item *t, int64_t begin, int64_t n, float *out)
{
    while (n > 0) {
        int64_t run = item_run(t, begin, n);
        read_job job = {t, begin, run, out};
        if (t->parts[0].form == ITEM_PLAIN ? !run_read(&job) : !engine_run(run_read, &job))
            return false;
        out += run * t->cols;
        begin += run;
        n -= run;
    }
    return true;
}

/* The transposed of each expert's matrix, all at once: such models are small. */
static bool turn(item *t)
{
    int64_t experts = t->experts ? t->experts : 1, rows = t->rows / experts, cols = t->cols;
    float *whole = nx_malloc((size_t)(t->rows * cols) * sizeof *whole);
    t->whole = nx_malloc((size_t)(t->rows * cols) * sizeof *whole);
    bool ok = read_stored(t, 0, t->rows, whole);
    for (int64_t e = 0; ok && e < experts; e++)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < cols; c++)
                t->whole[(e * cols + c) * rows + r] = whole[(e * rows + r) * cols + c];
    free(whole);
    return ok;
}

int64_t item_rows(const item *t)
{
    int64_t experts = t->experts ? t->experts : 1;
    if (t->turned)
        return t->every ? t->cols * experts / t->every * t->take : t->cols * experts;
    return t->rows;
}

int64_t item_cols(const item *t)
{
    return t->turned ? t->rows / (t->experts ? t->experts : 1) : t->cols;
}

bool item_read(item *t, bool to_gguf, int64_t begin, int64_t n, float *out)
{
    size_t count = (size_t)(n * item_cols(t));
    if (t->turned) {
        if (!t->whole && !turn(t))
            return false;
        size_t cols = (size_t)item_cols(t);
        for (int64_t r = 0; r < n; r++)
            memcpy(out + (size_t)r * cols, t->whole + (size_t)row_of_whole(t, begin + r) * cols, cols * sizeof *out);
        if (begin + n == item_rows(t)) {
            free(t->whole);
            t->whole = NULL;
        }
        return true;
    }
    if (!read_stored(t, begin, n, out))
        return false;
    item_order(t, to_gguf, out, n, (size_t)t->cols * sizeof *out);
    for (size_t i = 0; t->shift != 0 && i < count; i++)
        out[i] += t->shift;
    for (size_t i = 0; t->log && i < count; i++)
        out[i] = t->log > 0 ? -expf(out[i]) : logf(-out[i]);
    return true;
}
