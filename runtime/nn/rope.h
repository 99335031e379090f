/*
 * rope.h: rotary position embedding: a head's first `dims` numbers turn by angles that grow with the
 * position; and the ways in which models stretch those angles over longer texts.
 */
#ifndef NX_RUNTIME_NN_ROPE_H
#define NX_RUNTIME_NN_ROPE_H

#include "base/gguf.h"
#include "base/json.h"
#include "runtime/nn/nn.h"

typedef struct {
    int dims;         /* 0: no rotation */
    bool traditional; /* pairs are neighbours, not halves */
    float base, scale;
    float magnitude;  /* factor of the rotated numbers; 1: none */
    mlx_array periods; /* [dims / 2] in place of base; or empty */
    /* "longrope": sequences that may grow past `original` positions turn by `periods`, others by
     * `short_periods`. */
    mlx_array short_periods;
    /* "dynamic": from position `original` on, the base grows with the position. */
    float dynamic_factor;
    int original;
} nn_rope;

/* No scaling. */
nn_rope nn_rope_plain(int dims, float base, bool traditional);
/* What config.json's rope_scaling (or rope_parameters) object says; NULL or no object: nothing. An
 * unknown kind is an error: another rotation gives other answers. `max_context` is the model's. */
bool nn_rope_configure(nn_rope *r, const json_t *scaling, int max_context);
/* The same from GGUF's "<arch>.rope.scaling.*". */
bool nn_rope_configure_gguf(nn_rope *r, const nx_gguf *g, const char *arch, int max_context);
/* GGUF's tensors rope_freqs, or rope_factors_long and _short: `n` divisors of the frequencies. */
bool nn_rope_set_factors(nn_rope *r, const float *factors, const float *short_factors, int n);
void nn_rope_clear(nn_rope *r);

/* "yarn" with mscale_all_dim: the factor of the attention's scale; else 1. */
float nn_rope_attention_factor(const json_t *scaling);

/* x [1, H, T, D], rows at positions `position` and on; `limit`: how long the sequence may grow. */
mlx_array nn_rotate(nn *c, const nn_rope *r, mlx_array x, int position, int limit);
/* Rows of many sequences in one go, x [T, H, 1, D], row t at position positions[t] (int32 [T]): to the same
 * bits. Not for ways of stretching that look at the whole sequence. */
bool nn_rotates_rows(const nn_rope *r);
mlx_array nn_rotate_rows(nn *c, const nn_rope *r, mlx_array x, mlx_array positions);

#endif
