/*
 * cache.h: the KV cache of one sequence: per layer the keys and values of its tokens so far.
 *
 * Room grows in blocks of NN_CACHE_BLOCK positions, to what is expected or else by a quarter; the
 * arrays are updated in place. Dropping tokens from the end is free: it only forgets.
 */
#ifndef NX_RUNTIME_NN_CACHE_H
#define NX_RUNTIME_NN_CACHE_H

#include "runtime/nn/nn.h"

enum { NN_CACHE_BLOCK = 256 };

typedef struct {
    mlx_array k, v; /* [1, n_kv_heads, room, head_dim]; empty before the first token */
    int room;
} nn_cache_layer;

typedef struct {
    int n_layers, n_kv_heads, head_dim;
    int limit;    /* most positions */
    int expected; /* positions that are sure to be needed: the prompt's */
    mlx_dtype dtype;
    int length; /* positions that hold tokens, in every layer */
    nn_cache_layer *layers;
} nn_cache;

void nn_cache_init(nn_cache *k, int n_layers, int n_kv_heads, int head_dim, mlx_dtype dtype,
                   int limit);
void nn_cache_clear(nn_cache *k);
/* A prompt of `length` tokens comes: the first growth makes room for all of it, so that its pieces
 * do not move the cache again and again. */
void nn_cache_expect(nn_cache *k, int length);
/* Forgets all tokens from position `length` on. */
void nn_cache_truncate(nn_cache *k, int length);

/* Writes keys and values [1, n_kv_heads, n, head_dim] at positions length .. length+n-1 of a layer
 * and gives all so far, [1, n_kv_heads, length+n, head_dim] in the cache's type. `length` itself
 * moves on with nn_cache_advance, once all layers were written. */
void nn_cache_update(nn *c, nn_cache *k, int layer, mlx_array keys, mlx_array values,
                     mlx_array *all_keys, mlx_array *all_values);
static inline void nn_cache_advance(nn_cache *k, int n)
{
    k->length += n;
}

/* "f16", "bf16", "f32"; false with a message for anything else. NULL: f16. */
bool nn_cache_type(const char *name, mlx_dtype *out);
/* Room for `length` positions as the cache would hold it, in bytes over all layers. */
uint64_t nn_cache_bytes(int n_layers, int n_kv_heads, int head_dim, mlx_dtype dtype, int length);

#endif
