/*
 * blocks.h: the two halves of a decoder's layer, made of whatever weights a family's table fills:
 * attention with its projections, and the feed-forward network, dense or of experts.
 */
#ifndef NX_RUNTIME_NN_BLOCKS_H
#define NX_RUNTIME_NN_BLOCKS_H

#include "runtime/nn/attention.h"
#include "runtime/nn/weights.h"

/* ---- norms ---- */

/* By mean square; with `centred`, a layer norm: less the mean, with a bias. */
typedef struct {
    float eps;
    bool centred;
} nn_norm_kind;
mlx_array nn_norm(nn *c, const nn_norm_kind *n, mlx_array x, nn_weight *weight, nn_weight *bias);

/* ---- attention ---- */

typedef struct {
    nn_weight q, k, v, o;
    nn_weight qkv; /* in place of q, k, v: their rows, one after another */
    nn_weight q_bias, k_bias, v_bias, o_bias, qkv_bias;
    nn_weight q_norm, k_norm; /* of each head [head_dim], or of all at once [heads * head_dim] */
    nn_weight turned_q_norm, turned_k_norm; /* of each head, after it was turned */
    nn_weight sinks;          /* [n_heads] */
} nn_attention_weights;

/* x [T, D]: o(attend(q, k, v)). `norm` is the kind of q_norm and k_norm. */
mlx_array nn_attention_block(nn *c, const nn_attention *a, const nn_norm_kind *norm,
                             nn_attention_weights *w, const nn_batch *b, int layer, mlx_array x);
/* x [T, D] times q, k, v; with the fused matrix, divided. */
void nn_qkv(nn *c, const nn_attention *a, nn_attention_weights *w, mlx_array x, mlx_array *q,
            mlx_array *k, mlx_array *v);

/* ---- feed-forward ---- */

typedef struct {
    nn_weight gate, up, down;
    nn_weight gate_up; /* in place of gate and up: their rows, one after another */
    nn_weight gate_bias, up_bias, down_bias;
} nn_mlp_weights;

/* down(act(gate) * up); without a gate, down(act(up)). */
mlx_array nn_mlp(nn *c, nn_act act, nn_mlp_weights *w, mlx_array x);

enum { NN_ROUNDS_MOST = 8 };
/* How a router chooses. */
typedef struct {
    int top, groups, top_groups; /* experts a token; groups > 1: only those of the best groups */
    bool sigmoid;   /* scores are sigmoids, not a softmax over all experts */
    bool late;      /* softmax over the chosen ones only, of their logits */
    bool normalised; /* the chosen weights add up to 1 */
    float band;     /* > 0: chosen in rounds, a softmax over those within this share of the best */
    bool group_by_two; /* a group is worth its two best experts, not its best */
    float scaling;
    bool clipped;   /* gpt_oss's activation */
    bool pairs;     /* rows of gate_up: gate, up, gate, up …, not halves */
    nn_act act;
} nn_router;

typedef struct {
    nn_weight router, router_bias;
    nn_weight correction;  /* added to the scores for choosing alone */
    nn_mlp_weights experts; /* each matrix [n_experts, rows, cols] */
    nn_mlp_weights shared;  /* seen by every token; may be absent */
    nn_weight shared_gate;  /* [1, D]: its weight is sigmoid(x gate') */
} nn_moe_weights;

mlx_array nn_moe(nn *c, const nn_router *r, nn_moe_weights *w, mlx_array x);
/* The choice alone: ids (uint32 [T, top]) and their weights [T, top]. */
void nn_route(nn *c, const nn_router *r, mlx_array logits, nn_weight *correction, mlx_array *ids,
              mlx_array *weights);

#endif
