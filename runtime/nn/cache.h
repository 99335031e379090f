/*
 * cache.h: what one sequence has left behind in each layer: keys and values a position, of all or of
 * the last ones, and the states of recurrent layers.
 *
 * Room grows in blocks of NN_CACHE_BLOCK positions, to what is expected or else by a quarter; the
 * arrays are updated in place. A layer with a window forgets whole blocks that no later query sees.
 */
#ifndef NX_RUNTIME_NN_CACHE_H
#define NX_RUNTIME_NN_CACHE_H

#include "runtime/nn/nn.h"

enum { NN_CACHE_BLOCK = 256, NN_CACHE_STATES = 3 };

/* How keys and values are kept: as numbers, or in blocks of 32 codes of 8 or 4 bits (nexus/engine.h's
 * cache_pack), which need our engine. */
typedef enum { NN_CACHE_F16, NN_CACHE_BF16, NN_CACHE_F32, NN_CACHE_Q8, NN_CACHE_Q4 } nn_cache_form;

/* What a layer keeps; all zero: nothing. */
typedef struct {
    int heads, k_dim; /* keys [heads, positions, k_dim] */
    int v_dim;        /* values likewise; 0: the values are a part of the keys */
    int window;       /* positions a query sees; 0: all */
    int state[NN_CACHE_STATES][3]; /* shapes of float32 states; [i][0] 0: none */
} nn_cache_shape;

typedef struct {
    mlx_array k, v; /* [1, heads, room, dim, or bytes of a packed row]; empty before the first token */
    int room;
    int start; /* position of the first row: a multiple of NN_CACHE_BLOCK */
    mlx_array state[NN_CACHE_STATES];
    int state_length; /* tokens the states have seen */
} nn_cache_layer;

typedef struct {
    int n_layers;
    const nn_cache_shape *shapes; /* borrowed from the model */
    int limit;    /* most positions */
    int expected; /* positions that are sure to be needed: the prompt's */
    nn_cache_form form;
    int length; /* positions that hold tokens, in every layer */
    nn_cache_layer *layers;
} nn_cache;

void nn_cache_init(nn_cache *k, const nn_cache_shape *shapes, int n_layers, nn_cache_form form,
                   int limit);
void nn_cache_clear(nn_cache *k);
/* A prompt of `length` tokens comes: the first growth makes room for all of it, so that its pieces
 * do not move the cache again and again. */
void nn_cache_expect(nn_cache *k, int length);
/* Forgets all tokens from position `length` on; and all of them where that cannot be done: a state
 * holds no past, and a window may have let go what the remaining tokens' successors see. The length
 * that stands. */
int nn_cache_truncate(nn_cache *k, int length);

/* Whether the first `length` tokens can be had alone: not where a window let go of what the next one
 * sees, nor where a layer's state has seen more. */
bool nn_cache_holds(const nn_cache *k, int length);
/* The first `length` tokens of `from` (which holds them) instead of what `k` had; both of one model
 * and type. */
bool nn_cache_copy(nn *c, nn_cache *k, const nn_cache *from, int length);

/* Writes keys and values [1, heads, n, dim] at positions length .. length+n-1 of a layer and gives
 * all there are, [1, heads, *start .. length+n, dim], in the cache's form; *start is the first one's
 * position. `values` and `all_values` stay empty where v_dim is 0. `length` itself moves on with
 * nn_cache_advance, once all layers were written. */
void nn_cache_update(nn *c, nn_cache *k, int layer, mlx_array keys, mlx_array values,
                     mlx_array *all_keys, mlx_array *all_values, int *start);
/* For a step that writes one row itself: makes room for it and gives the layer's arrays and the row's
 * place in them; nn_cache_put takes them back with the row written. */
void nn_cache_open(nn *c, nn_cache *k, int layer, mlx_array *keys, mlx_array *values, int *place);
void nn_cache_put(nn *c, nn_cache *k, int layer, mlx_array keys, mlx_array values);
/* State i of a layer, zeros before the first token; and its successor after n more tokens. */
mlx_array nn_cache_state(nn *c, nn_cache *k, int layer, int i);
void nn_cache_set_state(nn *c, nn_cache *k, int layer, int i, int n, mlx_array state);
static inline void nn_cache_advance(nn_cache *k, int n)
{
    k->length += n;
}
/* Appends every array the cache holds, to evaluate them. */
void nn_cache_arrays(const nn_cache *k, mlx_vector_array out);

/* "f16", "bf16", "f32", "q8", "q4"; false with a message for anything else, and for what this engine
 * lacks. NULL: f16. */
bool nn_cache_type(const char *name, nn_cache_form *out);
/* Bits of a packed form's codes; 0: numbers. */
int nn_cache_bits(nn_cache_form form);
/* Bytes of `dim` numbers. */
int nn_cache_row_bytes(nn_cache_form form, int dim);
/* Packed rows [1, heads, n, bytes] as numbers [1, heads, n, dim], float32; others as they are. */
mlx_array nn_cache_numbers(nn *c, nn_cache_form form, mlx_array rows, int dim);
/* For estimates: positions that a layer has room for, of a text of `length` (window 0: none); and the
 * bytes of a layer's states. */
int nn_cache_room(int window, int length);
uint64_t nn_cache_state_bytes(const nn_cache_shape *s);

#endif
