/*
 * attention.h: self-attention of a ragged batch. The tokens of all sequences lie end to end for
 * everything but attention, which runs per sequence over its own cache.
 */
#ifndef NX_RUNTIME_NN_ATTENTION_H
#define NX_RUNTIME_NN_ATTENTION_H

#include "runtime/nn/cache.h"
#include "runtime/nn/nn.h"

/* The rows begin .. begin+count-1 of a batch, all of one sequence. */
typedef struct {
    int begin, count;
    nn_cache *cache; /* its length is the position of the first row */
    bool wants_logits; /* of the last row */
} nn_segment;

typedef struct {
    mlx_array tokens; /* int32 [n_tokens] */
    int n_tokens;
    nn_segment *segments;
    int n_segments;
} nn_batch;

typedef struct {
    int n_heads, n_kv_heads, head_dim;
    float scale;
    /* Rotary position embedding. */
    int rope_dims;
    bool rope_traditional; /* pairs are neighbours, as in GGUF's llama, not halves */
    float rope_base;
    float rope_scale;
    mlx_array rope_freqs; /* [rope_dims / 2], in place of base; may be empty */
} nn_attention;

/* q [T, n_heads * head_dim], k and v [T, n_kv_heads * head_dim] before rotation:
 * [T, n_heads * head_dim]. Writes the caches of layer `layer`. */
mlx_array nn_attend(nn *c, const nn_attention *a, const nn_batch *b, int layer, mlx_array q,
                    mlx_array k, mlx_array v);

/* Of x [T, D], the last row of each segment that wants logits: [n, D]; empty if none does. */
mlx_array nn_last_rows(nn *c, mlx_array x, const nn_batch *b);

#endif
