/*
 * phi3.c: Phi-3: Llama's wiring with q, k, v in one matrix and gate and up in another. Longer
 * variants rotate by "longrope".
 */
#include "runtime/models/decoder.h"

extern const model_arch phi3_arch;

static const config_row config[] = {DECODER_CONFIG, RMS_NORM_CONFIG};

static const weight_row weights[] = {
    ENDS_ROWS(0),
    PRE_NORM_ROWS(0),
    MATRIX("self_attn.qkv_proj.weight", "attn_qkv.weight", 0, attn.qkv, DECODER(qkv_size), HIDDEN),
    O_ROW,
    MATRIX("mlp.gate_up_proj.weight", "ffn_up.weight", 0, mlp.gate_up, DECODER(gate_up_size), HIDDEN),
    MATRIX("mlp.down_proj.weight", "ffn_down.weight", 0, mlp.down, HIDDEN, FF),
    ROPE_ROWS,
};

static bool setup(model *base, const config_source *from)
{
    decoder *d = (decoder *)base;
    if (!decoder_activation(d, from, "silu") || !decoder_setup(d, from, false))
        return false;
    decoder_windows(d, from, 0);
    return true;
}

const model_arch phi3_arch = {
    .name = "phi3", .size = sizeof(decoder), .layer_size = sizeof(decoder_layer),
    .config = config, .n_config = sizeof config / sizeof *config,
    .weights = weights, .n_weights = sizeof weights / sizeof *weights,
    .setup = setup, .prepare = decoder_prepare, .clear = decoder_clear,
    .forward = decoder_pre_norm_forward,
};
