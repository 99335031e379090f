/*
 * qwen.c: Qwen 2 and 3, dense and with experts: Llama's wiring with biases on q, k, v (2) or norms
 * of each head's q and k (3), and beside the chosen experts one that every token sees (2 MoE).
 * OLMoE is the same with norms of all heads at once.
 */
#include <string.h>

#include "runtime/models/decoder.h"

extern const model_arch qwen_arch;

static const config_row config[] = {DECODER_CONFIG, RMS_NORM_CONFIG};

static const weight_row weights[] = {
    ENDS_ROWS(0),
    PRE_NORM_ROWS(0),
    QKV_ROWS,
    O_ROW,
    QKV_BIAS_ROWS(WEIGHT_KIND(LAYER_BIASED)),
    QK_NORM_ROWS(WEIGHT_KIND(LAYER_QK_NORM)),
    MLP_ROWS(WEIGHT_KIND(LAYER_DENSE)),
    ROUTER_ROW("mlp.gate"),
    EXPERT_ROWS("mlp", "gate_proj", "up_proj", "down_proj"),
    SHARED_ROWS("mlp.shared_expert."),
    SHARED_GATE_ROW("mlp.shared_expert_gate.weight"),
};

static bool setup(model *base, const config_source *from)
{
    decoder *d = (decoder *)base;
    bool third = strstr(from->arch, "qwen3") != NULL;
    if (!nx_json_get_bool(from->json, "use_sliding_window", false))
        d->window = 0;
    if (!decoder_activation(d, from, "silu") || !decoder_setup(d, from, false))
        return false;
    decoder_kinds(d, third ? LAYER_QK_NORM : LAYER_BIASED);
    decoder_moe_kinds(d, from, 0, nx_int_of(config_item(from, "decoder_sparse_step", NULL, 0, 1)));
    for (int i = 0; !third && i < base->n_layers; i++)
        base->kinds[i] |= base->kinds[i] & LAYER_MOE ? LAYER_SHARED : 0;
    d->router.normalised = config_item(from, "norm_topk_prob", "expert_weights_norm", 0,
                                       from->gguf && third) != 0;
    int full = (int)nx_json_get_int(from->json, "max_window_layers", 0);
    decoder_windows(d, from, 0);
    for (int i = 0; i < full && i < base->n_layers && !nx_json_has(from->json, "layer_types"); i++)
        base->kinds[i] &= ~(unsigned)LAYER_WINDOW;
    decoder_caches(d);
    return true;
}

static const char *const aliases[] = {"qwen3", "qwen2_moe", "qwen2moe", "qwen3_moe", "qwen3moe", NULL};

const model_arch qwen_arch = {
    .name = "qwen2", .aliases = aliases, .size = sizeof(decoder), .layer_size = sizeof(decoder_layer),
    .config = config, .n_config = sizeof config / sizeof *config,
    .weights = weights, .n_weights = sizeof weights / sizeof *weights,
    .setup = setup, .prepare = decoder_prepare, .clear = decoder_clear,
    .forward = decoder_pre_norm_forward,
};
