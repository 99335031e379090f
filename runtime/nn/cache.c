#include "runtime/nn/cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

void nn_cache_init(nn_cache *k, int n_layers, int n_kv_heads, int head_dim, mlx_dtype dtype,
                   int limit)
{
    *k = (nn_cache){.n_layers = n_layers, .n_kv_heads = n_kv_heads, .head_dim = head_dim,
                    .limit = limit, .dtype = dtype};
    k->layers = nx_calloc((size_t)n_layers, sizeof *k->layers);
}

void nn_cache_clear(nn_cache *k)
{
    for (int i = 0; i < k->n_layers; i++) {
        mlx_array_free(k->layers[i].k);
        mlx_array_free(k->layers[i].v);
    }
    free(k->layers);
    *k = (nn_cache){0};
}

void nn_cache_truncate(nn_cache *k, int length)
{
    NX_BUG_IF(length > k->length || length < 0);
    k->length = length;
}

void nn_cache_expect(nn_cache *k, int length)
{
    k->expected = length < k->limit ? length : k->limit;
}

/* Positions to make room for so that `need` fit: whole blocks, not over the limit's block. */
static int room_for(const nn_cache *k, int have, int need)
{
    int room = have + have / 4;
    if (room < need || k->expected >= need)
        room = k->expected > need ? k->expected : need;
    if (room > k->limit && k->limit >= need)
        room = k->limit;
    return (room + NN_CACHE_BLOCK - 1) / NN_CACHE_BLOCK * NN_CACHE_BLOCK;
}

static mlx_array grown(nn *c, const nn_cache *k, mlx_array old, int have, int room)
{
    mlx_array more = NN_CALL(c, mlx_zeros, ((int[]){1, k->n_kv_heads, room - have, k->head_dim}), 4,
                             k->dtype);
    if (!old.ctx || c->failed)
        return more;
    mlx_vector_array both = mlx_vector_array_new_data((mlx_array[]){old, more}, 2);
    mlx_array r = NN_CALL(c, mlx_concatenate_axis, both, 2);
    mlx_vector_array_free(both);
    return r;
}

static void grow(nn *c, nn_cache *k, nn_cache_layer *l, int need)
{
    if (need <= l->room)
        return;
    int room = room_for(k, l->room, need);
    mlx_array keys = grown(c, k, l->k, l->room, room), values = grown(c, k, l->v, l->room, room);
    if (c->failed)
        return;
    mlx_array_set(&l->k, keys);
    mlx_array_set(&l->v, values);
    l->room = room;
}

/* *store[:, :, at : at + n] = part. The only owner of the array is the cache, so this is in place. */
static void write(nn *c, const nn_cache *k, mlx_array *store, mlx_array part, int at, int n)
{
    mlx_array cast = nn_astype(c, part, k->dtype);
    int start[4] = {0, 0, at, 0}, stop[4] = {1, k->n_kv_heads, at + n, k->head_dim};
    int step[4] = {1, 1, 1, 1};
    if (!c->failed && mlx_slice_update(store, *store, cast, start, 4, stop, 4, step, 4, c->s))
        c->failed = true;
}

static mlx_array read(nn *c, const nn_cache *k, mlx_array store, int n)
{
    int start[4] = {0}, stop[4] = {1, k->n_kv_heads, n, k->head_dim}, step[4] = {1, 1, 1, 1};
    return NN_CALL(c, mlx_slice, store, start, 4, stop, 4, step, 4);
}

void nn_cache_update(nn *c, nn_cache *k, int layer, mlx_array keys, mlx_array values,
                     mlx_array *all_keys, mlx_array *all_values)
{
    *all_keys = *all_values = (mlx_array){0};
    if (c->failed)
        return;
    nn_cache_layer *l = &k->layers[layer];
    int n = mlx_array_dim(keys, 2), end = k->length + n;
    grow(c, k, l, end);
    write(c, k, &l->k, keys, k->length, n);
    write(c, k, &l->v, values, k->length, n);
    *all_keys = read(c, k, l->k, end);
    *all_values = read(c, k, l->v, end);
}

bool nn_cache_type(const char *name, mlx_dtype *out)
{
    if (!name || strcmp(name, "f16") == 0)
        *out = MLX_FLOAT16;
    else if (strcmp(name, "bf16") == 0)
        *out = MLX_BFLOAT16;
    else if (strcmp(name, "f32") == 0)
        *out = MLX_FLOAT32;
    else
        return nx_fail("[cache] there is no cache type '%s': use f16, bf16 or f32", name);
    return true;
}

uint64_t nn_cache_bytes(int n_layers, int n_kv_heads, int head_dim, mlx_dtype dtype, int length)
{
    uint64_t room = (uint64_t)((length + NN_CACHE_BLOCK - 1) / NN_CACHE_BLOCK * NN_CACHE_BLOCK);
    return 2 * (uint64_t)n_layers * (uint64_t)n_kv_heads * (uint64_t)head_dim * room *
           mlx_dtype_size(dtype);
}
