/*
 * ssm.h: layers that carry a state along a text in place of attention: short convolutions, Mamba's
 * state spaces and the gated delta rule. Tokens are taken one after another, so that a state does not
 * depend on how a prompt was cut.
 */
#ifndef NX_RUNTIME_NN_SSM_H
#define NX_RUNTIME_NN_SSM_H

#include "runtime/nn/attention.h"
#include "runtime/nn/weights.h"

/* A convolution of each channel with its last K numbers, of one text: x [T, C], w [C, K] (any shape of
 * so many numbers), bias [C] or empty. State `state` of the layer, [1, K - 1, C], is what went before. */
mlx_array nn_short_conv(nn *c, const nn_segment *g, int layer, int state, mlx_array x, mlx_array w,
                        mlx_array bias, int k);

/* What a state does along one text, a token after the other, in each of H heads:
 *     S = S decay + (S a) b' + v k';  y = S q           S [H, P, N]
 * decay [T, H], or [T, H, N] for each column; v [T, H, P]; k, q, a, b [T, G, N], each with its own G that
 * divides H: neighbours share. a and b may be empty. y is [T, H, P]. State `state` of the layer goes on
 * by these T tokens, all of the segment's or a part of them. */
typedef struct {
    mlx_array decay, k, v, q, a, b;
} nn_recurrence;
mlx_array nn_recur(nn *c, const nn_segment *g, int layer, int state, const nn_recurrence *r);

typedef struct {
    int heads, head_dim, groups, state, conv; /* conv: taps of the convolution */
    float dt_min, dt_max; /* dt_max 0: none */
    int norm_groups;      /* the norm is over so many parts; 0: there is none, only the gate */
    bool norm_first;      /* before the gate */
    float eps;
    bool a_ready;         /* `a` is the decay itself, not the logarithm of its negative */
} nn_mamba2;

typedef struct {
    nn_weight in, in_bias, conv, conv_bias, dt_bias, a, d, norm, out, out_bias;
} nn_mamba2_weights;

/* Rows of `in`, and the widths of the parts between; the cache's states are 0 (conv) and 1. */
int nn_mamba2_inner(const nn_mamba2 *m);
int nn_mamba2_channels(const nn_mamba2 *m);
bool nn_mamba2_check(const nn_mamba2 *m, const char *who);
void nn_mamba2_cache(const nn_mamba2 *m, nn_cache_shape *shape);
/* x [T, D]. `factors` [rows of in] (or empty) multiply the projection. */
mlx_array nn_mamba2_block(nn *c, const nn_mamba2 *m, nn_mamba2_weights *w, const nn_batch *b,
                          int layer, mlx_array x, mlx_array factors);

/* Mamba 1: a state [inner, 1, N] whose step sizes and in and out vectors are made from the text itself,
 * each normed (as Jamba has it). The cache's states are 0 (conv) and 1. */
typedef struct {
    int inner, state, rank, conv;
    float eps;
} nn_mamba1;

typedef struct {
    nn_weight in, in_bias, conv, conv_bias; /* [2 inner, D], [inner, K] */
    nn_weight parts;                        /* [rank + 2 N, inner]: step, in, out */
    nn_weight step, step_bias;              /* [inner, rank] */
    nn_weight a, d;                         /* [inner, N], [inner] */
    nn_weight step_norm, in_norm, out_norm;
    nn_weight out, out_bias;
} nn_mamba1_weights;

bool nn_mamba1_check(const nn_mamba1 *m, const char *who);
void nn_mamba1_cache(const nn_mamba1 *m, nn_cache_shape *shape);
/* x [T, D] */
mlx_array nn_mamba1_block(nn *c, const nn_mamba1 *m, nn_mamba1_weights *w, const nn_batch *b, int layer,
                          mlx_array x);

/* The gated delta rule of one text: q, k [T, G, K], v [T, H, V], decay and beta [T, H]: [T, H, V].
 *     S *= decay;  S += beta (v - S k) k';  y = S q      S [H, V, K], state `state` of the layer */
mlx_array nn_delta_rule(nn *c, const nn_segment *g, int layer, int state, mlx_array q, mlx_array k,
                        mlx_array v, mlx_array decay, mlx_array beta);

#endif
