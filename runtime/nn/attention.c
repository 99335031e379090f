#include "runtime/nn/attention.h"

#include <stdlib.h>

#include "base/error.h"
#include "runtime/nn/engine.h"

/* [T, H * D] -> [1, H, T, D] */
static mlx_array to_heads(nn *c, mlx_array x, int heads, int count, int head_dim)
{
    if (count == 1) /* one row: no transposition needed */
        return nn_reshape(c, x, (int[]){1, heads, 1, head_dim}, 4);
    mlx_array split = nn_reshape(c, x, (int[]){1, count, heads, head_dim}, 4);
    return nn_transpose(c, split, (int[]){0, 2, 1, 3}, 4);
}

static mlx_array from_heads(nn *c, mlx_array x, int heads, int count, int head_dim)
{
    if (count > 1)
        x = nn_transpose(c, x, (int[]){0, 2, 1, 3}, 4);
    return nn_reshape(c, x, (int[]){count, heads * head_dim}, 2);
}

static mlx_array rotate(nn *c, const nn_attention *a, mlx_array x, int position)
{
    mlx_optional_float base = {a->rope_base, a->rope_freqs.ctx == NULL};
    return NN_CALL(c, mlx_fast_rope, x, a->rope_dims, a->rope_traditional, base, a->rope_scale,
                   position, a->rope_freqs);
}

/* Softmax(q k' scale + causal mask) v, in q's type over the cache's 16-bit keys and values. */
static mlx_array attend(nn *c, const nn_attention *a, mlx_array q, mlx_array k, mlx_array v, int count)
{
    const nexus_engine *ext = engine_extensions();
    mlx_array none = {0};
    if (c->failed)
        return none;
    if (ext) /* reads the cache as it is */
        return NN_CALL(c, ext->attention, q, k, v, a->scale, none, true, 0, none);
    mlx_dtype type = mlx_array_dtype(q);
    mlx_array keys = nn_astype(c, k, type), values = nn_astype(c, v, type);
    return NN_CALL(c, mlx_fast_scaled_dot_product_attention, q, keys, values, a->scale,
                   count > 1 ? "causal" : "", none, none);
}

static mlx_array attend_segment(nn *c, const nn_attention *a, const nn_segment *g, int layer,
                                mlx_array q, mlx_array k, mlx_array v)
{
    int end = g->begin + g->count, position = g->cache->length;
    /* [1, H, T, D] */
    mlx_array queries = to_heads(c, nn_rows(c, q, g->begin, end), a->n_heads, g->count, a->head_dim);
    mlx_array keys = to_heads(c, nn_rows(c, k, g->begin, end), a->n_kv_heads, g->count, a->head_dim);
    mlx_array values = to_heads(c, nn_rows(c, v, g->begin, end), a->n_kv_heads, g->count, a->head_dim);
    mlx_array all_keys, all_values;
    nn_cache_update(c, g->cache, layer, rotate(c, a, keys, position), values, &all_keys, &all_values);
    mlx_array y = attend(c, a, rotate(c, a, queries, position), all_keys, all_values, g->count);
    return from_heads(c, y, a->n_heads, g->count, a->head_dim);
}

mlx_array nn_attend(nn *c, const nn_attention *a, const nn_batch *b, int layer, mlx_array q,
                    mlx_array k, mlx_array v)
{
    if (b->n_segments == 1)
        return attend_segment(c, a, &b->segments[0], layer, q, k, v);
    mlx_array *parts = nx_malloc((size_t)b->n_segments * sizeof *parts);
    for (int i = 0; i < b->n_segments; i++)
        parts[i] = attend_segment(c, a, &b->segments[i], layer, q, k, v);
    mlx_array y = nn_concat_rows(c, parts, b->n_segments);
    free(parts);
    return y;
}

mlx_array nn_last_rows(nn *c, mlx_array x, const nn_batch *b)
{
    mlx_array *rows = nx_malloc((size_t)b->n_segments * sizeof *rows);
    int n = 0;
    for (int i = 0; i < b->n_segments; i++) {
        const nn_segment *g = &b->segments[i];
        int end = g->begin + g->count;
        if (g->wants_logits)
            rows[n++] = nn_rows(c, x, end - 1, end);
    }
    mlx_array y = n ? nn_concat_rows(c, rows, n) : (mlx_array){0};
    free(rows);
    return y;
}
