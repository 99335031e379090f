/* reshape_weights.c: weights that a format stores otherwise than a forward pass wants them, put right
 * once, at load. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/nn/engine.h"
#include "runtime/nn/weights.h"

/* *a = y, evaluated; y is freed. */
static bool settle(mlx_array *a, int status, mlx_array y, mlx_stream s)
{
    mlx_array dense = mlx_array_new();
    bool ok = !status && !mlx_contiguous(&dense, y, false, s) && !mlx_array_eval(dense) &&
              !mlx_array_set(a, dense);
    mlx_array_free(dense);
    mlx_array_free(y);
    return ok;
}

static bool same_form(const nn_weight *a, const nn_weight *b)
{
    return a->form == b->form && a->rows == b->rows && a->cols == b->cols && a->bits == b->bits &&
           a->group_size == b->group_size && a->ggml_type == b->ggml_type &&
           strcmp(a->mode, b->mode) == 0 && !a->biases.ctx == !b->biases.ctx;
}

/* The arrays at `offset` of all parts, one after another along a new first axis (blocks: as rows). */
static bool stack_member(nn_weight *w, nn_weight *parts, int n, size_t offset, mlx_stream s)
{
    mlx_vector_array all = mlx_vector_array_new();
    for (int i = 0; i < n; i++)
        mlx_vector_array_append_value(all, *(mlx_array *)((char *)&parts[i] + offset));
    mlx_array y = mlx_array_new();
    int status = w->form == NN_BLOCKS ? mlx_concatenate_axis(&y, all, 0, s)
                                      : mlx_stack_axis(&y, all, 0, s);
    mlx_vector_array_free(all);
    return settle((mlx_array *)((char *)w + offset), status, y, s);
}

bool nn_weight_stack(nn_weight *w, nn_weight *parts, int n, const char *name)
{
    for (int i = 1; i < n; i++)
        if (!same_form(&parts[0], &parts[i]))
            return nx_fail("tensor '%s': expert %d is stored otherwise than expert 0", name, i);
    *w = parts[0];
    w->w = w->scales = w->biases = (mlx_array){0};
    w->file = NULL;
    w->repack = false;
    w->experts = n;
    mlx_stream s = mlx_default_cpu_stream_new();
    bool ok = stack_member(w, parts, n, offsetof(nn_weight, w), s) &&
              (!parts[0].scales.ctx || stack_member(w, parts, n, offsetof(nn_weight, scales), s)) &&
              (!parts[0].biases.ctx || stack_member(w, parts, n, offsetof(nn_weight, biases), s));
    mlx_stream_free(s);
    for (int i = 0; i < n; i++) {
        if (parts[i].file)
            nx_mapping_release_range(parts[i].file, parts[i].offset, parts[i].bytes);
        nn_weight_clear(&parts[i]);
    }
    return ok;
}

bool nn_weight_to_numbers(nn_weight *w)
{
    if (w->form == NN_ABSENT)
        return true;
    mlx_stream s = mlx_default_cpu_stream_new();
    mlx_array y = mlx_array_new(), shaped = mlx_array_new();
    int status;
    if (w->form == NN_BLOCKS)
        status = engine_extensions()->gguf_dequantize(&y, w->w, w->ggml_type, MLX_FLOAT32, s);
    else if (w->form == NN_AFFINE)
        status = mlx_dequantize(&y, w->w, w->scales, w->biases,
                                (mlx_optional_int){w->group_size, true},
                                (mlx_optional_int){w->bits, true}, w->mode, (mlx_array){0},
                                (mlx_optional_dtype){MLX_FLOAT32, true}, s);
    else
        status = mlx_astype(&y, w->w, MLX_FLOAT32, s);
    if (!status && w->form == NN_BLOCKS && w->experts)
        status = mlx_reshape(&shaped, y, (int[]){w->experts, w->rows, w->cols}, 3, s);
    else if (!status)
        status = mlx_array_set(&shaped, y);
    mlx_array_free(y);
    bool ok = settle(&w->w, status, shaped, s);
    mlx_stream_free(s);
    mlx_array_free(w->scales);
    mlx_array_free(w->biases);
    nx_mapping_unref(&w->file);
    w->scales = w->biases = (mlx_array){0};
    w->form = NN_PLAIN;
    w->repack = false;
    return ok;
}

bool nn_weight_transpose(nn_weight *w)
{
    if (w->form == NN_ABSENT)
        return true;
    if (!nn_weight_to_numbers(w))
        return false;
    mlx_stream s = mlx_default_cpu_stream_new();
    mlx_array y = mlx_array_new();
    int last = (int)mlx_array_ndim(w->w) - 1;
    bool ok = last >= 1 && settle(&w->w, mlx_swapaxes(&y, w->w, last - 1, last, s), y, s);
    mlx_stream_free(s);
    int rows = w->rows;
    w->rows = w->cols;
    w->cols = rows;
    return ok || nx_fail("a vector cannot be transposed");
}

bool nn_weight_plus_one(nn_weight *w)
{
    if (w->form == NN_ABSENT)
        return true;
    mlx_stream s = mlx_default_cpu_stream_new();
    mlx_array one = mlx_array_new_float(1), y = mlx_array_new(), f = mlx_array_new();
    int status = mlx_astype(&f, w->w, MLX_FLOAT32, s) || mlx_add(&y, f, one, s);
    bool ok = settle(&w->w, status, y, s);
    mlx_array_free(one);
    mlx_array_free(f);
    mlx_stream_free(s);
    return ok;
}

static bool slice_rows(mlx_array *to, mlx_array from, int begin, int end, mlx_stream s)
{
    mlx_array y = mlx_array_new();
    if (mlx_array_ndim(from) == 1)
        return settle(to, mlx_slice(&y, from, (int[]){begin}, 1, (int[]){end}, 1, (int[]){1}, 1, s), y, s);
    int start[2] = {begin, 0}, stop[2] = {end, mlx_array_dim(from, 1)}, step[2] = {1, 1};
    return settle(to, mlx_slice(&y, from, start, 2, stop, 2, step, 2, s), y, s);
}

bool nn_weight_rows(nn_weight *out, const nn_weight *w, int begin, int end)
{
    bool vector = w->rows == 1 && w->form == NN_PLAIN && mlx_array_ndim(w->w) == 1;
    if (w->form == NN_ABSENT || w->experts || begin < 0 || end > (vector ? w->cols : w->rows))
        return w->form == NN_ABSENT || nx_fail("a weight has too few rows to be divided");
    *out = *w;
    out->w = out->scales = out->biases = (mlx_array){0};
    out->file = NULL;
    out->repack = false;
    *(vector ? &out->cols : &out->rows) = end - begin;
    mlx_stream s = mlx_default_cpu_stream_new();
    bool ok = slice_rows(&out->w, w->w, begin, end, s) &&
              (!w->scales.ctx || slice_rows(&out->scales, w->scales, begin, end, s)) &&
              (!w->biases.ctx || slice_rows(&out->biases, w->biases, begin, end, s));
    mlx_stream_free(s);
    return ok;
}
