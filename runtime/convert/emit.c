#include "runtime/convert/emit.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/ggml_types.h"
#include "runtime/convert/blocks.h"
#include "runtime/convert/codes.h"
#include "runtime/convert/halves.h"
#include "runtime/convert/importance.h"
#include "runtime/nn/engine.h"

enum { PIECE = 2 << 20 }; /* numbers at once */

static bool put(emitter *e, const void *bytes, size_t n)
{
    if (!e->sink(e->sink_arg, bytes, n))
        return false;
    e->done += n;
    return !e->progress || e->progress(e->progress_arg, e->done);
}

static int64_t piece_rows(const item *t, int64_t cols)
{
    int64_t step = t->turned ? 1 : item_step(t), n = PIECE / cols / step * step;
    return n > step ? n : step;
}

/* ---- copies ----------------------------------------------------------------------------------- */

static bool copy_rows(emitter *e, const out_tensor *o)
{
    item *t = o->t;
    size_t bytes = item_row_bytes(t);
    int64_t step = piece_rows(t, o->cols), rows = o->rows;
    unsigned char *buffer = nx_malloc((size_t)(step < rows ? step : rows) * bytes);
    bool ok = true;
    for (int64_t at = 0; ok && at < rows; at += step) {
        int64_t n = rows - at < step ? rows - at : step;
        ok = item_bytes(t, e->plan->target == TARGET_GGUF, o->begin + at, n, buffer) &&
             put(e, buffer, (size_t)n * bytes);
        item_release(t, o->begin + at, n);
    }
    free(buffer);
    return ok;
}

/* The share of an array that the target's rows have, of each part. */
static bool copy_array(emitter *e, const out_tensor *o, size_t which)
{
    int64_t left = o->rows, at = o->begin;
    while (left > 0) {
        int64_t within, n = item_run(o->t, at, left);
        const item_part *p = item_at(o->t, at, &within);
        const nn_tensor *w = which == 0 ? p->w : which == 1 ? p->scales : p->biases;
        size_t row = (size_t)(w->bytes / (uint64_t)item_part_rows(o->t));
        for (size_t done = 0, all = (size_t)n * row; done < all;) {
            size_t some = all - done < (8 << 20) ? all - done : 8 << 20;
            if (!put(e, w->data + (size_t)within * row + done, some))
                return false;
            if (!o->t->every) /* the rows between are another's */
                nx_mapping_release_range(w->file, w->offset + (size_t)within * row + done, some);
            done += some;
        }
        at += n;
        left -= n;
    }
    return true;
}

static bool copy_affine(emitter *e, const out_tensor *o)
{
    return copy_array(e, o, 0) && copy_array(e, o, 1) &&
           (!o->t->parts[0].biases || copy_array(e, o, 2));
}

/* ---- the same codes --------------------------------------------------------------------------- */

static void put_number(nx_str *to, int type, float v, size_t *rounded)
{
    uint16_t h = type == NX_GGML_BF16 ? float_to_bfloat(v) : float_to_half(v);
    if (type == NX_GGML_F32) {
        nx_str_add(to, &v, 4);
        return;
    }
    *rounded += (type == NX_GGML_BF16 ? bfloat_to_float(h) : half_to_float(h)) != v;
    nx_str_add(to, &h, 2);
}

static bool repack_piece(emitter *e, const out_tensor *o, const codes *c, int64_t n, nx_str *scales,
                         nx_str *biases)
{
    int cols = (int)o->cols;
    size_t groups = (size_t)n * (size_t)(cols / c->group), bytes, *rounded = &e->plan->rounded;
    unsigned char *row;
    bool ok = true;
    if (o->as.form == OUT_BLOCKS) {
        const nx_ggml_type *type = nx_ggml_type_find((uint32_t)o->as.type);
        codes_fit(o->as.type, c, groups, rounded);
        bytes = (size_t)cols / type->block_elements * type->block_bytes;
    } else {
        bytes = (size_t)cols * (size_t)o->as.bits / 8;
    }
    row = nx_malloc(bytes);
    for (int64_t r = 0; ok && r < n; r++) {
        if (o->as.form == OUT_BLOCKS)
            codes_to_blocks(o->as.type, c, (size_t)r, cols, row);
        else
            codes_pack(c->codes + r * cols, cols, o->as.bits, row);
        ok = put(e, row, bytes);
    }
    free(row);
    for (size_t g = 0; o->as.form == OUT_AFFINE && g < groups; g++) {
        put_number(scales, o->as.type, c->scales[g], rounded);
        put_number(biases, o->as.type, c->minimums[g], rounded);
    }
    return ok;
}

static bool repack(emitter *e, const out_tensor *o, nx_str *scales, nx_str *biases)
{
    item *t = o->t;
    codes c = {0};
    bool to_gguf = e->plan->target == TARGET_GGUF, ok = codes_of(t, &c.bits, &c.group);
    int64_t step = piece_rows(t, o->cols), groups = o->cols / c.group;
    size_t most = (size_t)(step < o->rows ? step : o->rows);
    c.codes = nx_malloc(most * (size_t)o->cols);
    c.scales = nx_malloc(most * (size_t)groups * sizeof *c.scales);
    c.minimums = nx_malloc(most * (size_t)groups * sizeof *c.minimums);
    for (int64_t at = 0; ok && at < o->rows; at += step) {
        int64_t n = o->rows - at < step ? o->rows - at : step;
        ok = codes_read(t, o->begin + at, n, &c);
        item_release(t, o->begin + at, n);
        item_order(t, to_gguf, c.codes, n, (size_t)o->cols);
        item_order(t, to_gguf, c.scales, n, (size_t)groups * sizeof *c.scales);
        item_order(t, to_gguf, c.minimums, n, (size_t)groups * sizeof *c.minimums);
        ok = ok && repack_piece(e, o, &c, n, scales, biases);
    }
    free(c.codes);
    free(c.scales);
    free(c.minimums);
    return ok;
}

/* Rows of MXFP4 in the target's order, from MLX's words or as they are. */
static bool read_mxfp4(emitter *e, const out_tensor *o, int64_t at, int64_t n, size_t bytes, unsigned char *blocks)
{
    bool to_gguf = e->plan->target == TARGET_GGUF;
    if (o->t->parts[0].form == ITEM_BLOCKS)
        return item_bytes(o->t, to_gguf, o->begin + at, n, blocks);
    for (int64_t r = 0; r < n; r++) {
        int64_t within;
        const item_part *p = item_at(o->t, o->begin + at + r, &within);
        codes_mxfp4_blocks(p, within, o->cols, blocks + (size_t)r * bytes);
    }
    item_order(o->t, to_gguf, blocks, n, bytes);
    return true;
}

static bool put_mxfp4_words(emitter *e, const out_tensor *o, const unsigned char *blocks, int64_t n, size_t bytes,
                            nx_str *scales)
{
    size_t words = (size_t)o->cols / 2, groups = (size_t)o->cols / 32;
    unsigned char *row = nx_malloc(words + groups);
    bool ok = true;
    for (int64_t r = 0; ok && r < n; r++) {
        codes_mxfp4_words(blocks + (size_t)r * bytes, o->cols, row, row + words);
        nx_str_add(scales, row + words, groups);
        ok = put(e, row, words);
    }
    free(row);
    return ok;
}

static bool repack_mxfp4(emitter *e, const out_tensor *o, nx_str *scales)
{
    const nx_ggml_type *type = nx_ggml_type_find(NX_GGML_MXFP4);
    size_t bytes = (size_t)o->cols / type->block_elements * type->block_bytes;
    int64_t step = piece_rows(o->t, o->cols);
    unsigned char *buffer = nx_malloc((size_t)(step < o->rows ? step : o->rows) * bytes);
    bool ok = true;
    for (int64_t at = 0; ok && at < o->rows; at += step) {
        int64_t n = o->rows - at < step ? o->rows - at : step;
        ok = read_mxfp4(e, o, at, n, bytes, buffer);
        item_release(o->t, o->begin + at, n);
        ok = ok && (o->as.form == OUT_AFFINE ? put_mxfp4_words(e, o, buffer, n, bytes, scales)
                                             : put(e, buffer, (size_t)n * bytes));
    }
    free(buffer);
    return ok;
}

/* ---- through numbers -------------------------------------------------------------------------- */

typedef struct {
    const storage *as;
    const float *x;
    int64_t n, cols;
    mlx_vector_array parts; /* packed, scales, biases */
    float *back;            /* not NULL: the numbers they stand for */
    nx_str *bytes[3];       /* not NULL: what the parts hold is added here */
} quantize_job;

static bool unpack(quantize_job *j, mlx_stream s)
{
    mlx_array p[3] = {mlx_array_new(), mlx_array_new(), {0}}, y = mlx_array_new();
    size_t n = mlx_vector_array_size(j->parts);
    if (n > 2)
        p[2] = mlx_array_new();
    for (size_t i = 0; i < n && i < 3; i++)
        mlx_vector_array_get(&p[i], j->parts, i);
    bool ok = !mlx_dequantize(&y, p[0], p[1], p[2], (mlx_optional_int){j->as->group, true},
                              (mlx_optional_int){j->as->bits, true}, j->as->mode, (mlx_array){0},
                              (mlx_optional_dtype){MLX_FLOAT32, true}, s) &&
              !mlx_array_eval(y);
    if (ok)
        memcpy(j->back, mlx_array_data_float32(y), (size_t)(j->n * j->cols) * sizeof *j->back);
    for (int i = 0; i < 3; i++)
        mlx_array_free(p[i]);
    mlx_array_free(y);
    return ok;
}

/* The bytes of part i, whatever its type. */
static bool take_bytes(mlx_vector_array all, size_t i, nx_str *to, mlx_stream s)
{
    if (i >= mlx_vector_array_size(all))
        return true;
    mlx_array a = mlx_array_new(), bytes = mlx_array_new();
    bool ok = !mlx_vector_array_get(&a, all, i) && !mlx_view(&bytes, a, MLX_UINT8, s) &&
              !mlx_array_eval(bytes);
    if (ok)
        nx_str_add(to, mlx_array_data_uint8(bytes), mlx_array_nbytes(bytes));
    mlx_array_free(a);
    mlx_array_free(bytes);
    return ok;
}

/* Engine thread. The numbers are brought to the scales' type first, as MLX does it. */
static bool quantize(void *arg)
{
    quantize_job *j = arg;
    mlx_stream s = mlx_default_cpu_stream_new();
    mlx_dtype type = j->as->type == NX_GGML_BF16 ? MLX_BFLOAT16
                     : j->as->type == NX_GGML_F16 ? MLX_FLOAT16 : MLX_FLOAT32;
    mlx_array x = mlx_array_new_data(j->x, (int[]){(int)j->n, (int)j->cols}, 2, MLX_FLOAT32);
    mlx_array w = mlx_array_new();
    j->parts = mlx_vector_array_new();
    bool ok = !mlx_astype(&w, x, type, s) &&
              !mlx_quantize(&j->parts, w, (mlx_optional_int){j->as->group, true},
                            (mlx_optional_int){j->as->bits, true}, j->as->mode, (mlx_array){0}, s) &&
              !mlx_eval(j->parts) && (!j->back || unpack(j, s));
    for (size_t i = 0; i < 3 && ok; i++)
        ok = !j->bytes[i] || take_bytes(j->parts, i, j->bytes[i], s);
    mlx_vector_array_free(j->parts);
    mlx_array_free(x);
    mlx_array_free(w);
    mlx_stream_free(s);
    return ok;
}

static bool quantize_piece(emitter *e, const out_tensor *o, const float *x, int64_t n, nx_str *scales,
                           nx_str *biases)
{
    nx_str words = {0};
    quantize_job j = {.as = &o->as, .x = x, .n = n, .cols = o->cols, .bytes = {&words, scales, biases}};
    bool ok = engine_run(quantize, &j) && put(e, words.data, words.len);
    nx_str_clear(&words);
    return ok;
}

static bool encode_piece(emitter *e, const out_tensor *o, const float *x, int64_t n, unsigned char *buffer)
{
    const nx_ggml_type *type = nx_ggml_type_find((uint32_t)o->as.type);
    bool flat = o->cols == 1; /* a vector */
    int rows = flat ? 1 : (int)n, cols = flat ? (int)n : (int)o->cols;
    blocks_encode_rows(o->as.type, x, rows, cols, flat ? NULL : emit_importance(e->plan, o->t), buffer);
    return put(e, buffer, (size_t)(n * o->cols) / type->block_elements * type->block_bytes);
}

static bool through_numbers(emitter *e, const out_tensor *o, nx_str *scales, nx_str *biases)
{
    int64_t step = piece_rows(o->t, o->cols);
    size_t most = (size_t)((step < o->rows ? step : o->rows) * o->cols);
    float *x = nx_malloc(most * sizeof *x);
    unsigned char *buffer = nx_malloc(most * sizeof *x);
    bool ok = true;
    for (int64_t at = 0; ok && at < o->rows; at += step) {
        int64_t n = o->rows - at < step ? o->rows - at : step;
        ok = item_read(o->t, e->plan->target == TARGET_GGUF, o->begin + at, n, x);
        if (!o->t->turned)
            item_release(o->t, o->begin + at, n);
        ok = ok && (o->as.form == OUT_AFFINE ? quantize_piece(e, o, x, n, scales, biases)
                                             : encode_piece(e, o, x, n, buffer));
    }
    free(x);
    free(buffer);
    return ok;
}

bool emit_tensor(emitter *e, const out_tensor *o)
{
    nx_str scales = {0}, biases = {0};
    bool ok;
    if (o->how == HOW_COPY)
        ok = o->as.form == OUT_AFFINE ? copy_affine(e, o) : copy_rows(e, o);
    else if (o->how == HOW_CODES)
        ok = repack(e, o, &scales, &biases);
    else if (o->how == HOW_MXFP4)
        ok = repack_mxfp4(e, o, &scales);
    else
        ok = through_numbers(e, o, &scales, &biases);
    ok = ok && (!scales.len || put(e, scales.data, scales.len)) &&
         (!biases.len || put(e, biases.data, biases.len));
    nx_str_clear(&scales);
    nx_str_clear(&biases);
    return ok;
}

/* ---- trials ----------------------------------------------------------------------------------- */

typedef struct {
    int type;
    const unsigned char *blocks;
    int64_t n, cols;
    float *y;
} decode_job;

static bool decode(void *arg)
{
    decode_job *j = arg;
    const nexus_engine *ext = engine_extensions();
    const nx_ggml_type *type = nx_ggml_type_find((uint32_t)j->type);
    int row = (int)((uint64_t)j->cols / type->block_elements * type->block_bytes);
    mlx_stream s = mlx_default_cpu_stream_new();
    mlx_array w = mlx_array_new_data(j->blocks, (int[]){(int)j->n, row}, 2, MLX_UINT8);
    mlx_array y = mlx_array_new();
    bool ok = ext && !ext->gguf_dequantize(&y, w, j->type, MLX_FLOAT32, s) && !mlx_array_eval(y);
    if (ok)
        memcpy(j->y, mlx_array_data_float32(y), (size_t)(j->n * j->cols) * sizeof *j->y);
    mlx_array_free(w);
    mlx_array_free(y);
    mlx_stream_free(s);
    return ok;
}

bool emit_trial(const storage *as, const float *x, int64_t n, int64_t cols, const float *shares,
                float *y)
{
    if (as->form == OUT_AFFINE) {
        quantize_job j = {.as = as, .x = x, .n = n, .cols = cols, .back = y};
        return engine_run(quantize, &j);
    }
    unsigned char *blocks = nx_malloc((size_t)(n * cols) * sizeof *x);
    blocks_encode_rows(as->type, x, (int)n, (int)cols, shares, blocks);
    decode_job j = {as->type, blocks, n, cols, y};
    bool ok = engine_run(decode, &j) || nx_fail("this engine cannot read GGUF's blocks");
    free(blocks);
    return ok;
}

const float *emit_importance(const plan *p, const item *t)
{
    return p->importance && !t->turned ? importance_of(p->importance, t) : NULL;
}
