/*
 * attention.h: self-attention of a ragged batch. The tokens of all sequences lie end to end for
 * everything but attention, which runs per sequence over its own cache.
 */
#ifndef NX_RUNTIME_NN_ATTENTION_H
#define NX_RUNTIME_NN_ATTENTION_H

#include "runtime/nn/cache.h"
#include "runtime/nn/nn.h"
#include "runtime/nn/rope.h"

/* The rows begin .. begin+count-1 of a batch, all of one sequence. */
typedef struct {
    int begin, count;
    nn_cache *cache; /* its length is the position of the first row */
    bool wants_logits; /* of the last row */
    int more_logits;   /* and of so many before it */
} nn_segment;

typedef struct {
    mlx_array tokens; /* int32 [n_tokens] */
    int n_tokens;
    nn_segment *segments;
    int n_segments;
    bool all_rows; /* logits of every row of the segments that want any (tests, scoring) */
    bool hidden;   /* the last hidden states, normed, in place of logits (embeddings) */
} nn_batch;

typedef struct {
    int n_heads, n_kv_heads, head_dim;
    int v_dim; /* of a value; 0: head_dim */
    int v_begin; /* where no values are given: they are v_dim numbers of a key, from this one on */
    float scale;
    float softcap; /* of the scores; 0: none */
    int window;    /* positions a query sees, its own included; 0: all */
    bool both_ways; /* an encoder's: every token sees all of its sequence */
    bool grouped;   /* a fused matrix's rows: by KV head its queries, key and value */
    nn_rope rope;
    /* Norms of each head's q and k after they were turned, [head_dim]; empty: none. */
    mlx_array turned_q_norm, turned_k_norm;
    float turned_eps;
} nn_attention;

/* q [T, n_heads * head_dim], k [T, n_kv_heads * head_dim] before rotation, v [T, n_kv_heads * v_dim]:
 * [T, n_heads * v_dim]. Writes the caches of layer `layer`. sinks (may be empty): [n_heads], a logit
 * that takes part in a head's softmax and adds nothing. */
mlx_array nn_attend(nn *c, const nn_attention *a, const nn_batch *b, int layer, mlx_array q,
                    mlx_array k, mlx_array v, mlx_array sinks);

/* The position of each row in its text: int32 [T]. */
mlx_array nn_positions(nn *c, const nn_batch *b);

/* Of x [T, D], for each segment fn(x of its rows, segment): laid end to end again. For layers that
 * mix the tokens of a sequence by other means. */
typedef mlx_array (*nn_segment_fn)(nn *c, const nn_segment *g, mlx_array x, void *arg);
mlx_array nn_each_segment(nn *c, const nn_batch *b, mlx_array x, nn_segment_fn fn, void *arg);

/* Of x [T, D], the rows of which logits are wanted: of each segment that wants any the last ones (all
 * where the batch says so): [n, D]; empty if none does. */
mlx_array nn_last_rows(nn *c, mlx_array x, const nn_batch *b);

#endif
