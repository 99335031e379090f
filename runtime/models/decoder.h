/*
 * decoder.h: what decoder-only families share: their settings, the weights of a layer under the
 * names most of them use, and the walk from token ids to logits. A family's file brings its tables
 * (made of the rows below and its own), a setup, and the wiring of one layer.
 */
#ifndef NX_RUNTIME_MODELS_DECODER_H
#define NX_RUNTIME_MODELS_DECODER_H

#include "runtime/models/model.h"
#include "runtime/nn/blocks.h"

typedef struct {
    nn_weight attn_norm, attn_norm_bias, attn_post_norm;
    nn_weight mlp_norm, mlp_norm_bias, mlp_post_norm;
    nn_attention_weights attn;
    nn_mlp_weights mlp;
    nn_moe_weights moe;
} decoder_layer;

/* Bits of model.kinds. */
enum {
    LAYER_DENSE = 1,  /* feed-forward without experts */
    LAYER_MOE = 2,    /* with experts */
    LAYER_WINDOW = 4, /* attention within the window */
    LAYER_UNTURNED = 8, /* without rotation */
    LAYER_ATTENTION = 16, LAYER_RECURRENT = 32, /* of families that mix both */
    LAYER_QK_NORM = 64, LAYER_BIASED = 128, /* of families that have them or not */
    LAYER_SHARED = 256, /* beside the chosen experts one that every token sees */
};

typedef struct {
    model base;
    nn_norm_kind norm;
    nn_act act;
    float rope_theta, partial_rotary;
    int rope_dims, window;
    bool tied;
    nn_attention attention, local; /* of all layers; of those with LAYER_WINDOW */
    nn_router router;
    float embed_scale, residual_scale, logit_scale, logit_cap; /* 1, 1, 1; 0: none */
    nn_weight embed, final_norm, final_norm_bias, head, head_bias;
    nn_weight rope_freqs, rope_long, rope_short; /* GGUF's */
    int expert_size, shared_size; /* widths of the experts' and the shared expert's MLP */
    /* Shapes, for the tables. */
    int one, q_size, kv_size, qkv_size, gate_up_size, expert_pair_size;
} decoder;

#define DECODER(member) offsetof(decoder, member)
#define BASE(member)    offsetof(decoder, base) + offsetof(model, member)
#define LAYER(member)   offsetof(decoder_layer, member)

/* ---- settings ---- */
#define DECODER_CONFIG                                                                             \
    {"num_hidden_layers|n_layer|n_layers|hybrid_override_pattern#|layers_block_type#",             \
     "block_count", CONFIG_INT, BASE(n_layers), 0, true},                                          \
    {"hidden_size|n_embd|d_model", "embedding_length", CONFIG_INT, BASE(hidden_size), 0, true},    \
    {"ffn_hidden_size|intermediate_size|n_inner", "feed_forward_length", CONFIG_INT,               \
     BASE(intermediate_size), 0, false},                                                           \
    {"num_attention_heads|n_head", "attention.head_count", CONFIG_INT, BASE(n_heads), 0, false},   \
    {"num_key_value_heads|num_kv_heads", "attention.head_count_kv", CONFIG_INT, BASE(n_kv_heads),  \
     0, false},                                                                                    \
    {"head_dim", "attention.key_length", CONFIG_INT, BASE(head_dim), 0, false},                    \
    {"vocab_size", "vocab_size", CONFIG_INT, BASE(vocab_size), 0, false},                          \
    {"max_position_embeddings|n_positions|n_ctx", "context_length", CONFIG_INT, BASE(max_context), \
     2048, false},                                                                                 \
    {"rope_theta|rotary_emb_base|rope_parameters.rope_theta|"                                      \
     "rope_parameters.full_attention.rope_theta", "rope.freq_base", CONFIG_FLOAT,                  \
     DECODER(rope_theta), 10000, false},                                                           \
    {"partial_rotary_factor|rotary_pct|rope_parameters.partial_rotary_factor", NULL, CONFIG_FLOAT, \
     DECODER(partial_rotary), 1, false},                                                           \
    {NULL, "rope.dimension_count", CONFIG_INT, DECODER(rope_dims), 0, false},                      \
    {"sliding_window", "attention.sliding_window", CONFIG_INT, DECODER(window), 0, false},         \
    {"tie_word_embeddings", NULL, CONFIG_BOOL, DECODER(tied), 0, false},                           \
    {"num_local_experts|num_experts|n_routed_experts", "expert_count", CONFIG_INT,                 \
     BASE(n_experts), 0, false},                                                                   \
    {"num_experts_per_tok|experts_per_token", "expert_used_count", CONFIG_INT,                     \
     DECODER(router.top), 0, false},                                                               \
    {"moe_intermediate_size", "expert_feed_forward_length", CONFIG_INT, DECODER(expert_size), 0,   \
     false},                                                                                       \
    {"shared_expert_intermediate_size", "expert_shared_feed_forward_length", CONFIG_INT,           \
     DECODER(shared_size), 0, false}
#define RMS_NORM_CONFIG                                                                            \
    {"rms_norm_eps|norm_eps", "attention.layer_norm_rms_epsilon", CONFIG_FLOAT,                    \
     DECODER(norm.eps), 1e-6, false}
#define LAYER_NORM_CONFIG                                                                          \
    {"layer_norm_eps|layer_norm_epsilon|norm_epsilon", "attention.layer_norm_epsilon",             \
     CONFIG_FLOAT, DECODER(norm.eps), 1e-5, false}

/* ---- weights: name of config.json's formats after "model.layers.%d.", of GGUF after "blk.%d." ---- */
#define ROW(hf, gguf, flags, member, rows, cols)                                                   \
    {"model.layers.%d." hf, "blk.%d." gguf, WEIGHT_LAYER | (flags), LAYER(member), rows, cols}
#define MATRIX(hf, gguf, flags, member, r, c) ROW(hf, gguf, flags, member, r, c)
#define VECTOR(hf, gguf, flags, member, n)    ROW(hf, gguf, flags, member, 0, n)

#define HIDDEN BASE(hidden_size)
#define FF     BASE(intermediate_size)
#define Q      DECODER(q_size)
#define KV     DECODER(kv_size)

#define EMBED_ROW                                                                                  \
    {"model.embed_tokens.weight", "token_embd.weight", 0, DECODER(embed), BASE(vocab_size), HIDDEN}
#define HEAD_ROW                                                                                   \
    {"lm_head.weight", "output.weight", WEIGHT_OPTIONAL, DECODER(head), BASE(vocab_size), HIDDEN}
#define FINAL_NORM_ROW(flags)                                                                      \
    {"model.norm.weight", "output_norm.weight", flags, DECODER(final_norm), 0, HIDDEN}
#define ENDS_ROWS(norm_flags) EMBED_ROW, HEAD_ROW, FINAL_NORM_ROW(norm_flags)
/* flags of the biases: 0, WEIGHT_OPTIONAL. */
#define QKV_ROWS                                                                                   \
    MATRIX("self_attn.q_proj.weight", "attn_q.weight", 0, attn.q, Q, HIDDEN),                      \
    MATRIX("self_attn.k_proj.weight", "attn_k.weight", 0, attn.k, KV, HIDDEN),                     \
    MATRIX("self_attn.v_proj.weight", "attn_v.weight", 0, attn.v, KV, HIDDEN)
#define QKV_BIAS_ROWS(flags)                                                                       \
    VECTOR("self_attn.q_proj.bias", "attn_q.bias", flags, attn.q_bias, Q),                         \
    VECTOR("self_attn.k_proj.bias", "attn_k.bias", flags, attn.k_bias, KV),                        \
    VECTOR("self_attn.v_proj.bias", "attn_v.bias", flags, attn.v_bias, KV)
#define O_ROW MATRIX("self_attn.o_proj.weight", "attn_output.weight", 0, attn.o, HIDDEN, Q)
#define O_BIAS_ROW(flags)                                                                          \
    VECTOR("self_attn.o_proj.bias", "attn_output.bias", flags, attn.o_bias, HIDDEN)
#define ATTENTION_ROWS QKV_ROWS, QKV_BIAS_ROWS(WEIGHT_OPTIONAL), O_ROW, O_BIAS_ROW(WEIGHT_OPTIONAL)
/* Norms of q and k by head, flags: WEIGHT_PLUS_ONE. */
#define QK_NORM_ROWS(flags)                                                                        \
    VECTOR("self_attn.q_norm.weight", "attn_q_norm.weight", flags, attn.q_norm, BASE(head_dim)),   \
    VECTOR("self_attn.k_norm.weight", "attn_k_norm.weight", flags, attn.k_norm, BASE(head_dim))
/* Of all heads at once. */
#define QK_WIDE_NORM_ROWS                                                                          \
    VECTOR("self_attn.q_norm.weight", "attn_q_norm.weight", 0, attn.q_norm, Q),                    \
    VECTOR("self_attn.k_norm.weight", "attn_k_norm.weight", 0, attn.k_norm, KV)
/* Before the two halves, as most families name them. */
#define PRE_NORM_ROWS(flags)                                                                       \
    VECTOR("input_layernorm.weight", "attn_norm.weight", flags, attn_norm, HIDDEN),                \
    VECTOR("post_attention_layernorm.weight", "ffn_norm.weight", flags, mlp_norm, HIDDEN)
/* flags: WEIGHT_KIND(LAYER_DENSE) where other layers have experts. */
#define MLP_ROWS(flags)                                                                            \
    MATRIX("mlp.gate_proj.weight", "ffn_gate.weight", flags, mlp.gate, FF, HIDDEN),                \
    MATRIX("mlp.up_proj.weight", "ffn_up.weight", flags, mlp.up, FF, HIDDEN),                      \
    MATRIX("mlp.down_proj.weight", "ffn_down.weight", flags, mlp.down, HIDDEN, FF)
#define MLP_BIAS_ROWS                                                                              \
    VECTOR("mlp.gate_proj.bias", "ffn_gate.bias", WEIGHT_OPTIONAL, mlp.gate_bias, FF),             \
    VECTOR("mlp.up_proj.bias", "ffn_up.bias", WEIGHT_OPTIONAL, mlp.up_bias, FF),                   \
    VECTOR("mlp.down_proj.bias", "ffn_down.bias", WEIGHT_OPTIONAL, mlp.down_bias, HIDDEN)
/* hf: the names of one expert's gate, up, down, with %e; MLX stacks them under switch_mlp. */
#define ON_MOE WEIGHT_KIND(LAYER_MOE)
#define EXPERT_ROW(part, hf, mlx, gguf, member, r, c)                                               \
    MATRIX(part ".experts.%e." hf ".weight|model.layers.%d." part ".switch_mlp." mlx ".weight",    \
           gguf ".weight", ON_MOE | WEIGHT_EXPERTS, moe.experts.member, r, c)
#define EXPERT_ROWS(part, g, u, d)                                                                 \
    EXPERT_ROW(part, g, "gate_proj", "ffn_gate_exps", gate, DECODER(expert_size), HIDDEN),          \
    EXPERT_ROW(part, u, "up_proj", "ffn_up_exps", up, DECODER(expert_size), HIDDEN),                \
    EXPERT_ROW(part, d, "down_proj", "ffn_down_exps", down, HIDDEN, DECODER(expert_size))
#define ROUTER_ROW(hf)                                                                             \
    MATRIX(hf ".weight", "ffn_gate_inp.weight", ON_MOE, moe.router, BASE(n_experts), HIDDEN)
/* hf: "mlp.shared_expert." */
#define ON_SHARED WEIGHT_KIND(LAYER_SHARED)
#define SHARED_ROWS(hf)                                                                            \
    MATRIX(hf "gate_proj.weight", "ffn_gate_shexp.weight", ON_SHARED, moe.shared.gate,             \
           DECODER(shared_size), HIDDEN),                                                          \
    MATRIX(hf "up_proj.weight", "ffn_up_shexp.weight", ON_SHARED, moe.shared.up,                   \
           DECODER(shared_size), HIDDEN),                                                          \
    MATRIX(hf "down_proj.weight", "ffn_down_shexp.weight", ON_SHARED, moe.shared.down, HIDDEN,     \
           DECODER(shared_size))
#define SHARED_GATE_ROW(hf)                                                                        \
    MATRIX(hf, "ffn_gate_inp_shexp.weight", ON_SHARED | WEIGHT_NUMBERS, moe.shared_gate, 0, 0)
#define CORRECTION_ROW(hf)                                                                         \
    VECTOR(hf, "exp_probs_b.bias", ON_MOE | WEIGHT_OPTIONAL, moe.correction, BASE(n_experts))
/* GGUF's corrections of the rotation. */
#define ROPE_ROWS                                                                                  \
    {NULL, "rope_freqs.weight", WEIGHT_OPTIONAL | WEIGHT_NUMBERS, DECODER(rope_freqs), 0, 0},      \
    {NULL, "rope_factors_long.weight", WEIGHT_OPTIONAL | WEIGHT_NUMBERS, DECODER(rope_long), 0, 0}, \
    {NULL, "rope_factors_short.weight", WEIGHT_OPTIONAL | WEIGHT_NUMBERS, DECODER(rope_short), 0, 0}

/* ---- steps of a setup ---- */

/* Checks and completes the common settings, fills attention, rotation, caches and the scales. `pairs`:
 * the family's rotation turns neighbours, as the format at hand stores its weights. */
bool decoder_setup(decoder *d, const config_source *from, bool pairs);
/* The layers with LAYER_WINDOW: config.json's layer_types, else each but the pattern-th (pattern 0:
 * every layer). Nothing where the settings name no window. After decoder_setup. */
void decoder_windows(decoder *d, const config_source *from, int pattern);
/* config.json's activation under any of its names; `fallback` without one. */
bool decoder_activation(decoder *d, const config_source *from, const char *fallback);
/* Sets bits of all layers' kinds. */
void decoder_kinds(decoder *d, unsigned bits);
/* Layers from `first_dense` on, each `step`-th of them, have experts; the others, and those listed in
 * config.json's mlp_only_layers, are dense. */
void decoder_moe_kinds(decoder *d, const config_source *from, int first_dense, int step);
/* Shapes of the caches anew, after a setup changed heads, dims or windows. */
void decoder_caches(decoder *d);
/* After the weights are there: GGUF's rotation tensors, and the head, tied where there is none. */
bool decoder_prepare(model *m, nn_source *source);
void decoder_clear(model *m);

/* ---- steps of a forward pass ---- */

typedef mlx_array (*decoder_layer_fn)(nn *c, decoder *d, int layer, const nn_batch *b, mlx_array x);
/* embed, each layer, norm, head. */
mlx_array decoder_forward(nn *c, model *m, const nn_batch *b, decoder_layer_fn layer);
/* The same from hidden states [T, D] on, before the first layer. */
mlx_array decoder_run(nn *c, decoder *d, const nn_batch *b, mlx_array x, decoder_layer_fn layer);

static inline decoder_layer *decoder_layer_at(decoder *d, int i)
{
    return &((decoder_layer *)d->base.layers)[i];
}
/* The halves of layer i for normed x. */
mlx_array decoder_attend(nn *c, decoder *d, int i, const nn_batch *b, mlx_array x);
mlx_array decoder_feed(nn *c, decoder *d, int i, mlx_array x);
/* x + attend(norm(x)); + feed(norm(x)). */
mlx_array decoder_pre_norm_layer(nn *c, decoder *d, int i, const nn_batch *b, mlx_array x);
mlx_array decoder_pre_norm_forward(nn *c, model *m, const nn_batch *b);
/* x + norm(attend(norm(x))); + norm(feed(norm(x))). */
mlx_array decoder_sandwich_forward(nn *c, model *m, const nn_batch *b);

#endif
