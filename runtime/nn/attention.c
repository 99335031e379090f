#include "runtime/nn/attention.h"

#include <stdlib.h>

#include "base/error.h"
#include "runtime/nn/engine.h"

static int value_dim(const nn_attention *a)
{
    return a->v_dim ? a->v_dim : a->head_dim;
}

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

/* Which keys, of positions start .. start+keys-1, a query at position `position` and on sees:
 * [queries, keys], bool. */
static mlx_array visible(nn *c, const nn_attention *a, int position, int queries, int start, int keys)
{
    mlx_array row = NN_CALL(c, mlx_arange, position, position + queries, 1, MLX_INT32);
    mlx_array q = nn_reshape(c, row, (int[]){queries, 1}, 2);
    mlx_array k = NN_CALL(c, mlx_arange, start, start + keys, 1, MLX_INT32);
    mlx_array seen = NN_CALL(c, mlx_less_equal, k, q);
    if (a->window == 0)
        return seen;
    mlx_array window = mlx_array_new_int(a->window);
    mlx_array last = NN_CALL(c, mlx_subtract, q, nn_own(c, window.ctx == NULL, window));
    mlx_array inside = NN_CALL(c, mlx_greater, k, last);
    return NN_CALL(c, mlx_logical_and, seen, inside);
}

/* The attention written out, where scores are bent before the softmax. */
static mlx_array attend_capped(nn *c, const nn_attention *a, mlx_array q, mlx_array k, mlx_array v,
                               mlx_array mask)
{
    if (c->failed)
        return q;
    int share = a->n_heads / a->n_kv_heads, t = mlx_array_dim(q, 2), n = mlx_array_dim(k, 2);
    int d = mlx_array_dim(q, 3), dv = mlx_array_dim(v, 3);
    mlx_array grouped = nn_reshape(c, q, (int[]){a->n_kv_heads, share, t, d}, 4);
    mlx_array keys = nn_reshape(c, k, (int[]){a->n_kv_heads, 1, n, d}, 4);
    mlx_array values = nn_reshape(c, v, (int[]){a->n_kv_heads, 1, n, dv}, 4);
    mlx_array turned = nn_transpose(c, keys, (int[]){0, 1, 3, 2}, 4);
    mlx_array scores = NN_CALL(c, mlx_matmul, nn_scale(c, grouped, a->scale), turned);
    scores = nn_softcap(c, scores, a->softcap);
    scores = NN_CALL(c, mlx_where, mask, scores, nn_number(c, -1e30f, MLX_FLOAT32));
    scores = NN_CALL(c, mlx_softmax_axis, scores, -1, true);
    mlx_array y = NN_CALL(c, mlx_matmul, scores, values); /* [Hkv, share, T, Dv] */
    return nn_reshape(c, y, (int[]){1, a->n_heads, t, dv}, 4);
}

/* What one sequence's attention needs beside q, k and v. */
typedef struct {
    int position, start; /* of the first query and key */
    mlx_array sinks;
    nn_cache_form form; /* of keys and values: the cache's, or as they came */
    int v_dim;
} place;

/* Softmax(q k' scale + mask) v, in q's type over the cache's keys and values. */
static mlx_array attend(nn *c, const nn_attention *a, const place *p, mlx_array q, mlx_array k,
                        mlx_array v)
{
    const nexus_engine *ext = engine_extensions();
    if (c->failed)
        return q;
    int bits = nn_cache_bits(p->form);
    if (bits && a->softcap == 0)
        return NN_CALL(c, ext->packed_attention, q, k, v, bits, p->v_dim, a->scale, (mlx_array){0}, !a->both_ways,
                       a->window, p->sinks);
    k = nn_cache_numbers(c, p->form, k, a->head_dim);
    v = nn_cache_numbers(c, p->form, v, p->v_dim);
    if (c->failed)
        return q;
    if (ext && a->softcap == 0) /* reads the cache as it is */
        return NN_CALL(c, ext->attention, q, k, v, a->scale, (mlx_array){0}, !a->both_ways, a->window,
                       p->sinks);
    int count = mlx_array_dim(q, 2), keys = mlx_array_dim(k, 2);
    mlx_dtype type = mlx_array_dtype(q);
    k = nn_astype(c, k, type);
    v = nn_astype(c, v, type);
    if (a->softcap != 0)
        return attend_capped(c, a, q, k, v, visible(c, a, p->position, count, p->start, keys));
    bool masked = a->window && keys > a->window;
    mlx_array mask = masked ? visible(c, a, p->position, count, p->start, keys) : (mlx_array){0};
    return NN_CALL(c, mlx_fast_scaled_dot_product_attention, q, k, v, a->scale,
                   masked ? "array" : a->both_ways || count == 1 ? "" : "causal", mask, p->sinks);
}

typedef struct {
    const nn_attention *a;
    int layer;
    mlx_array q, k, v, sinks; /* [T, H * D], or of whole batches [T, H, 1, D], turned */
    bool turned;
} attend_args;

/* The values that are a part of the keys. Packed ones must lie in whole blocks; else all become numbers. */
static mlx_array values_in(nn *c, const nn_attention *a, place *p, mlx_array *k)
{
    bool whole = a->v_begin % 32 == 0 && p->v_dim % 32 == 0;
    if (nn_cache_bits(p->form) && !whole) {
        *k = nn_cache_numbers(c, p->form, *k, a->head_dim);
        p->form = NN_CACHE_F32;
    }
    bool packed = nn_cache_bits(p->form) != 0;
    int begin = packed ? nn_cache_row_bytes(p->form, a->v_begin) : a->v_begin;
    int count = packed ? nn_cache_row_bytes(p->form, p->v_dim) : p->v_dim;
    return nn_slice(c, *k, 3, begin, begin + count);
}

/* Four bits hold badly what has a few large numbers among small ones, as keys do. Turned by an orthogonal
 * matrix they are alike; queries turned by the same see the same scores. */
static bool spreads(const nn_attention *a, nn_cache_form form, int v_dim)
{
    return form == NN_CACHE_Q4 && a->softcap == 0 && (a->head_dim & (a->head_dim - 1)) == 0 && v_dim > 0;
}

static mlx_array spread(nn *c, mlx_array x)
{
    return NN_CALL(c, mlx_hadamard_transform, x, (mlx_optional_float){0});
}

static mlx_array norm_turned(nn *c, mlx_array x, mlx_array weight, float eps)
{
    return weight.ctx ? nn_rms_norm(c, x, weight, eps) : x;
}

/* A segment's rows of x [T, H, 1, D] or [T, H * D]: [1, H, count, D]. */
static mlx_array segment_heads(nn *c, const nn_segment *g, const attend_args *s, mlx_array x, int heads, int dim)
{
    mlx_array rows = nn_rows(c, x, g->begin, g->begin + g->count);
    if (!s->turned)
        return to_heads(c, rows, heads, g->count, dim);
    return g->count == 1 ? rows : nn_transpose(c, rows, (int[]){2, 1, 0, 3}, 4);
}

/* [count, H * Dv], or of a whole batch [count, H, 1, Dv] */
static mlx_array attend_segment(nn *c, const nn_segment *g, const attend_args *s)
{
    const nn_attention *a = s->a;
    int position = g->cache ? g->cache->length : 0, limit = g->cache ? g->cache->limit : 0;
    int v_dim = value_dim(a);
    mlx_array q = segment_heads(c, g, s, s->q, a->n_heads, a->head_dim);
    mlx_array k = segment_heads(c, g, s, s->k, a->n_kv_heads, a->head_dim), v = {0};
    if (s->v.ctx)
        v = segment_heads(c, g, s, s->v, a->n_kv_heads, v_dim);
    place p = {.position = position, .sinks = s->sinks, .v_dim = v_dim,
               .form = g->cache ? g->cache->form : NN_CACHE_F32};
    if (!s->turned) {
        k = norm_turned(c, nn_rotate(c, &a->rope, k, position, limit), a->turned_k_norm, a->turned_eps);
        q = norm_turned(c, nn_rotate(c, &a->rope, q, position, limit), a->turned_q_norm, a->turned_eps);
    }
    if (spreads(a, p.form, s->v.ctx ? v_dim : 0)) {
        k = spread(c, k);
        q = spread(c, q);
    }
    if (g->cache)
        nn_cache_update(c, g->cache, s->layer, k, v, &k, &v, &p.start);
    if (!v.ctx)
        v = values_in(c, a, &p, &k);
    mlx_array y = attend(c, a, &p, q, k, v);
    if (!s->turned)
        return from_heads(c, y, a->n_heads, g->count, v_dim);
    return g->count == 1 ? y : nn_transpose(c, y, (int[]){2, 1, 0, 3}, 4);
}

/* What does not ask whose a row is, for all rows at once: a decode step of many sequences is then three
 * slices, an update and an attention for each of them. */
static void turn_batch(nn *c, const nn_batch *b, attend_args *s)
{
    const nn_attention *a = s->a;
    int t = b->n_tokens, v_dim = value_dim(a);
    mlx_array positions = a->rope.dims ? nn_positions(c, b) : (mlx_array){0};
    s->q = nn_reshape(c, s->q, (int[]){t, a->n_heads, 1, a->head_dim}, 4);
    s->k = nn_reshape(c, s->k, (int[]){t, a->n_kv_heads, 1, a->head_dim}, 4);
    if (s->v.ctx)
        s->v = nn_reshape(c, s->v, (int[]){t, a->n_kv_heads, 1, v_dim}, 4);
    s->q = norm_turned(c, nn_rotate_rows(c, &a->rope, s->q, positions), a->turned_q_norm, a->turned_eps);
    s->k = norm_turned(c, nn_rotate_rows(c, &a->rope, s->k, positions), a->turned_k_norm, a->turned_eps);
    s->turned = true;
}

/* How many of the first segments are one token over a cache, all of one form: they make a step. */
static int step_length(const nn_batch *b, const attend_args *s)
{
    const nexus_engine *ext = engine_extensions();
    const nn_attention *a = s->a;
    int n = 0;
    if (!ext || ext->version < 6 || a->softcap != 0 || a->both_ways || !s->v.ctx)
        return 0;
    while (n < b->n_segments && b->segments[n].count == 1 && b->segments[n].cache &&
           b->segments[n].cache->form == b->segments[0].cache->form)
        n++;
    return n;
}

/* The caches of a step's segments, and where each one's next row lies. */
static mlx_vector_array open_caches(nn *c, const nn_batch *b, int layer, int n, int32_t *places)
{
    mlx_vector_array all = mlx_vector_array_new();
    for (int i = 0; i < n && !c->failed; i++) {
        mlx_array k, v;
        nn_cache_open(c, b->segments[i].cache, layer, &k, &v, &places[i]);
        if (!c->failed && (mlx_vector_array_append_value(all, k) || mlx_vector_array_append_value(all, v)))
            nn_fail(c);
    }
    return all;
}

static void put_caches(nn *c, const nn_batch *b, int layer, int n, mlx_vector_array updated)
{
    for (int i = 0; i < n && !c->failed; i++) {
        mlx_array k = mlx_array_new(), v = mlx_array_new();
        if (mlx_vector_array_get(&k, updated, (size_t)(2 * i)) ||
            mlx_vector_array_get(&v, updated, (size_t)(2 * i + 1)))
            nn_fail(c);
        else
            nn_cache_put(c, b->segments[i].cache, layer, k, v);
        mlx_array_free(k);
        mlx_array_free(v);
    }
}

/* The first n segments, of one token each, in one operation: [n, H, 1, Dv] */
static mlx_array attend_step(nn *c, const nn_batch *b, const attend_args *s, int n)
{
    const nn_attention *a = s->a;
    const nexus_engine *ext = engine_extensions();
    nn_cache_form form = b->segments[0].cache->form;
    int v_dim = value_dim(a), bits = nn_cache_bits(form);
    mlx_array q = nn_rows(c, s->q, 0, n), k = nn_rows(c, s->k, 0, n), v = nn_rows(c, s->v, 0, n);
    if (spreads(a, form, v_dim)) {
        k = spread(c, k);
        q = spread(c, q);
    }
    if (bits) {
        k = NN_CALL(c, ext->cache_pack, k, bits);
        v = NN_CALL(c, ext->cache_pack, v, bits);
    }
    int32_t *at = nx_malloc((size_t)n * sizeof *at);
    mlx_vector_array caches = open_caches(c, b, s->layer, n, at), updated = mlx_vector_array_new();
    mlx_array places = mlx_array_new_data(at, &n, 1, MLX_INT32), y = mlx_array_new();
    nn_own(c, places.ctx == NULL, places);
    if (!c->failed && ext->step_attention(&y, &updated, q, k, v, caches, places, bits, v_dim, a->scale,
                                          a->window, s->sinks, c->s))
        nn_fail(c);
    put_caches(c, b, s->layer, n, updated);
    mlx_vector_array_free(caches);
    mlx_vector_array_free(updated);
    free(at);
    return nn_own(c, c->failed, y);
}

mlx_array nn_attend(nn *c, const nn_attention *a, const nn_batch *b, int layer, mlx_array q,
                    mlx_array k, mlx_array v, mlx_array sinks)
{
    attend_args args = {a, layer, q, k, v, sinks, false};
    bool by_rows = nn_rotates_rows(&a->rope);
    int stepping = by_rows ? step_length(b, &args) : 0, n = 0;
    if (b->n_segments == 1 && !stepping)
        return attend_segment(c, &b->segments[0], &args);
    if (by_rows)
        turn_batch(c, b, &args);
    mlx_array *parts = nx_malloc((size_t)b->n_segments * sizeof *parts);
    if (stepping)
        parts[n++] = attend_step(c, b, &args, stepping);
    for (int i = stepping; i < b->n_segments; i++)
        parts[n++] = attend_segment(c, &b->segments[i], &args);
    mlx_array y = nn_concat_rows(c, parts, n);
    free(parts);
    int v_dim = value_dim(a);
    return args.turned ? nn_reshape(c, y, (int[]){b->n_tokens, a->n_heads * v_dim}, 2) : y;
}

mlx_array nn_positions(nn *c, const nn_batch *b)
{
    int32_t *at = nx_malloc((size_t)b->n_tokens * sizeof *at);
    for (int i = 0; i < b->n_segments; i++)
        for (int k = 0; k < b->segments[i].count; k++)
            at[b->segments[i].begin + k] = (b->segments[i].cache ? b->segments[i].cache->length : 0) + k;
    mlx_array a = mlx_array_new_data(at, &b->n_tokens, 1, MLX_INT32);
    free(at);
    return nn_own(c, a.ctx == NULL, a);
}

mlx_array nn_each_segment(nn *c, const nn_batch *b, mlx_array x, nn_segment_fn fn, void *arg)
{
    mlx_array *parts = nx_malloc((size_t)b->n_segments * sizeof *parts);
    for (int i = 0; i < b->n_segments; i++) {
        const nn_segment *g = &b->segments[i];
        parts[i] = fn(c, g, nn_rows(c, x, g->begin, g->begin + g->count), arg);
    }
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
            rows[n++] = nn_rows(c, x, b->all_rows ? g->begin : end - 1 - g->more_logits, end);
    }
    mlx_array y = n ? nn_concat_rows(c, rows, n) : (mlx_array){0};
    free(rows);
    return y;
}
