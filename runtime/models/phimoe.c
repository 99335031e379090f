/*
 * phimoe.c: Phi-3.5-MoE: experts behind layer norms with biases, attention with biases, a head with
 * one. Its router chooses in rounds: an expert's weight is a softmax over those nearly as good as it.
 */
#include "base/error.h"
#include "runtime/models/decoder.h"

extern const model_arch phimoe_arch;

static const config_row config[] = {
    DECODER_CONFIG,
    RMS_NORM_CONFIG, /* the key's name; the norm takes off the mean */
    {"router_jitter_noise", NULL, CONFIG_FLOAT, DECODER(router.band), 0.01, false},
};

static const weight_row weights[] = {
    ENDS_ROWS(0),
    {"lm_head.bias", "output.bias", WEIGHT_OPTIONAL, DECODER(head_bias), 0, BASE(vocab_size)},
    {"model.norm.bias", "output_norm.bias", 0, DECODER(final_norm_bias), 0, HIDDEN},
    PRE_NORM_ROWS(0),
    VECTOR("input_layernorm.bias", "attn_norm.bias", 0, attn_norm_bias, HIDDEN),
    VECTOR("post_attention_layernorm.bias", "ffn_norm.bias", 0, mlp_norm_bias, HIDDEN),
    ATTENTION_ROWS,
    ROUTER_ROW("block_sparse_moe.gate"),
    EXPERT_ROWS("block_sparse_moe", "w1", "w3", "w2"),
    ROPE_ROWS,
};

static bool setup(model *base, const config_source *from)
{
    decoder *d = (decoder *)base;
    d->norm.centred = true;
    if (!decoder_activation(d, from, "silu") || !decoder_setup(d, from, false))
        return false;
    if (d->router.top < 1 || d->router.top > NN_ROUNDS_MOST)
        return nx_fail("[phimoe] num_experts_per_tok is %d, it must be 1 to %d", d->router.top, NN_ROUNDS_MOST);
    decoder_kinds(d, LAYER_MOE);
    decoder_windows(d, from, 0);
    d->router.band *= 2;
    return true;
}

const model_arch phimoe_arch = {
    .name = "phimoe", .size = sizeof(decoder), .layer_size = sizeof(decoder_layer),
    .config = config, .n_config = sizeof config / sizeof *config,
    .weights = weights, .n_weights = sizeof weights / sizeof *weights,
    .setup = setup, .prepare = decoder_prepare, .clear = decoder_clear,
    .forward = decoder_pre_norm_forward,
};
