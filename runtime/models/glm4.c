/*
 * glm4.c: GLM-4 norms what each half takes and gives, turns half of each head in pairs of neighbours,
 * and keeps gate and up in one matrix. GLM-4 MoE is wired like Llama with DeepSeek's router: sigmoid
 * scores, a correction for choosing, a shared expert, and dense layers first.
 */
#include "base/error.h"
#include "runtime/models/decoder.h"

extern const model_arch glm4_arch, glm4_moe_arch;

typedef struct {
    decoder d;
    int dense_first, n_shared;
} glm4;

static const config_row config[] = {
    DECODER_CONFIG,
    RMS_NORM_CONFIG,
    {"first_k_dense_replace", "leading_dense_block_count", CONFIG_INT, offsetof(glm4, dense_first), 0,
     false},
    {"n_shared_experts", "expert_shared_count", CONFIG_INT, offsetof(glm4, n_shared), 0, false},
    {"n_group", "expert_group_count", CONFIG_INT, DECODER(router.groups), 0, false},
    {"topk_group", "expert_group_used_count", CONFIG_INT, DECODER(router.top_groups), 0, false},
    {"routed_scaling_factor", "expert_weights_scale", CONFIG_FLOAT, DECODER(router.scaling), 1, false},
    {"norm_topk_prob", "expert_weights_norm", CONFIG_BOOL, DECODER(router.normalised), 1, false},
};

static const weight_row glm4_weights[] = {
    ENDS_ROWS(0),
    PRE_NORM_ROWS(0),
    VECTOR("post_self_attn_layernorm.weight", "post_attention_norm.weight", 0, attn_post_norm, HIDDEN),
    VECTOR("post_mlp_layernorm.weight", "post_ffw_norm.weight", 0, mlp_post_norm, HIDDEN),
    ATTENTION_ROWS,
    MATRIX("mlp.gate_up_proj.weight", "ffn_up.weight", 0, mlp.gate_up, DECODER(gate_up_size), HIDDEN),
    MATRIX("mlp.down_proj.weight", "ffn_down.weight", 0, mlp.down, HIDDEN, FF),
};

static const weight_row moe_weights[] = {
    ENDS_ROWS(0),
    VECTOR("input_layernorm.weight", "attn_norm.weight", 0, attn_norm, HIDDEN),
    VECTOR("post_attention_layernorm.weight", "post_attention_norm.weight", 0, mlp_norm, HIDDEN),
    ATTENTION_ROWS,
    VECTOR("self_attn.q_norm.weight", "attn_q_norm.weight", WEIGHT_OPTIONAL, attn.q_norm, BASE(head_dim)),
    VECTOR("self_attn.k_norm.weight", "attn_k_norm.weight", WEIGHT_OPTIONAL, attn.k_norm, BASE(head_dim)),
    MLP_ROWS(WEIGHT_KIND(LAYER_DENSE)),
    ROUTER_ROW("mlp.gate"),
    CORRECTION_ROW("mlp.gate.e_score_correction_bias"),
    EXPERT_ROWS("mlp", "gate_proj", "up_proj", "down_proj"),
    SHARED_ROWS("mlp.shared_experts."),
};

static bool setup(model *base, const config_source *from)
{
    decoder *d = (decoder *)base;
    return decoder_activation(d, from, "silu") && decoder_setup(d, from, true);
}

static bool setup_moe(model *base, const config_source *from)
{
    glm4 *g = (glm4 *)base;
    decoder *d = &g->d;
    int extra = nx_int_of(config_item(from, NULL, "nextn_predict_layers", 0, 0));
    if (extra > 0 && extra < base->n_layers) /* GGUF counts the layers that predict further ahead */
        base->n_layers -= extra;
    if (!decoder_activation(d, from, "silu") || !decoder_setup(d, from, false))
        return false;
    if (g->n_shared < 0 || g->n_shared > 1024 || d->router.groups > base->n_experts ||
        (d->router.groups > 1 && base->n_experts % d->router.groups))
        return nx_fail("[glm4_moe] %d experts in %d groups make no router", base->n_experts,
                       d->router.groups);
    d->shared_size = d->expert_size * g->n_shared;
    d->router.sigmoid = d->router.group_by_two = true;
    decoder_moe_kinds(d, from, g->dense_first, 1);
    for (int i = 0; g->n_shared && i < base->n_layers; i++)
        base->kinds[i] |= base->kinds[i] & LAYER_MOE ? LAYER_SHARED : 0;
    return true;
}

const model_arch glm4_arch = {
    .name = "glm4", .size = sizeof(glm4), .layer_size = sizeof(decoder_layer),
    .config = config, .n_config = sizeof config / sizeof *config,
    .weights = glm4_weights, .n_weights = sizeof glm4_weights / sizeof *glm4_weights,
    .setup = setup, .prepare = decoder_prepare, .clear = decoder_clear,
    .forward = decoder_sandwich_forward,
};

static const char *const moe_aliases[] = {"glm4moe", NULL};

const model_arch glm4_moe_arch = {
    .name = "glm4_moe", .aliases = moe_aliases, .size = sizeof(glm4),
    .layer_size = sizeof(decoder_layer), .config = config, .n_config = sizeof config / sizeof *config,
    .weights = moe_weights, .n_weights = sizeof moe_weights / sizeof *moe_weights,
    .setup = setup_moe, .prepare = decoder_prepare, .clear = decoder_clear,
    .forward = decoder_pre_norm_forward, .ignored_layers = true,
};
