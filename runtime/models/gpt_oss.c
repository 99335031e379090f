/*
 * gpt_oss.c: gpt-oss: Llama's wiring with biases everywhere, every other layer within a window, a
 * sink logit a head, and experts with a clipped gate. Its files store the experts' gate and up in
 * alternating rows of mxfp4; MLX's and GGUF's divide them.
 */
#include <string.h>

#include "base/error.h"
#include "runtime/models/decoder.h"

extern const model_arch gpt_oss_arch;

static const config_row config[] = {DECODER_CONFIG, RMS_NORM_CONFIG};

#define EXPERTS "mlp.experts."
#define EXPERT(hf, gguf, flags, member, rows, cols)                                                \
    MATRIX(EXPERTS hf, gguf, WEIGHT_EXPERTS | WEIGHT_OPTIONAL | (flags), moe.experts.member, rows, cols)
#define GATE_AND_UP(of) "ffn_gate_exps." of "&blk.%d.ffn_up_exps." of
static const weight_row weights[] = {
    ENDS_ROWS(0),
    VECTOR("input_layernorm.weight", "attn_norm.weight", 0, attn_norm, HIDDEN),
    VECTOR("post_attention_layernorm.weight", "post_attention_norm.weight|blk.%d.ffn_norm.weight", 0,
           mlp_norm, HIDDEN),
    QKV_ROWS,
    QKV_BIAS_ROWS(0),
    O_ROW,
    O_BIAS_ROW(0),
    VECTOR("self_attn.sinks", "attn_sinks.weight|blk.%d.attn_sinks", 0, attn.sinks, BASE(n_heads)),
    MATRIX("mlp.router.weight", "ffn_gate_inp.weight", 0, moe.router, BASE(n_experts), HIDDEN),
    VECTOR("mlp.router.bias", "ffn_gate_inp.bias", 0, moe.router_bias, BASE(n_experts)),
    EXPERT("gate_up_proj_blocks", GATE_AND_UP("weight"), 0, gate_up, DECODER(expert_pair_size), HIDDEN),
    EXPERT("gate_up_proj", GATE_AND_UP("weight"), WEIGHT_TURNED, gate_up, DECODER(expert_pair_size), HIDDEN),
    EXPERT("gate_up_proj_bias", GATE_AND_UP("bias"), 0, gate_bias, 0, DECODER(expert_pair_size)),
    EXPERT("gate_proj.weight", "ffn_gate_exps.weight", 0, gate, DECODER(expert_size), HIDDEN),
    EXPERT("gate_proj.bias", "ffn_gate_exps.bias", 0, gate_bias, 0, DECODER(expert_size)),
    EXPERT("up_proj.weight", "ffn_up_exps.weight", 0, up, DECODER(expert_size), HIDDEN),
    EXPERT("up_proj.bias", "ffn_up_exps.bias", 0, up_bias, 0, DECODER(expert_size)),
    EXPERT("down_proj_blocks", "ffn_down_exps.weight&", 0, down, HIDDEN, DECODER(expert_size)),
    EXPERT("down_proj.weight", "ffn_down_exps.weight", 0, down, HIDDEN, DECODER(expert_size)),
    EXPERT("down_proj", "ffn_down_exps.weight&", WEIGHT_TURNED, down, HIDDEN, DECODER(expert_size)),
    EXPERT("down_proj_bias", "ffn_down_exps.bias&", 0, down_bias, 0, HIDDEN),
    EXPERT("down_proj.bias", "ffn_down_exps.bias", 0, down_bias, 0, HIDDEN),
};

static bool setup(model *base, const config_source *from)
{
    decoder *d = (decoder *)base;
    if (!decoder_setup(d, from, false))
        return false;
    d->router.late = d->router.clipped = d->router.pairs = true;
    decoder_kinds(d, LAYER_MOE);
    decoder_windows(d, from, 2);
    d->local.rope = d->attention.rope;
    return true;
}

/* Which of the spellings there is, is for the file to say; that there is one, for us. */
static bool prepare(model *m, nn_source *source)
{
    for (int i = 0; i < m->n_layers; i++) {
        const nn_mlp_weights *w = &decoder_layer_at((decoder *)m, i)->moe.experts;
        bool divided = w->gate.form != NN_ABSENT && w->up.form != NN_ABSENT;
        bool biased = w->gate_bias.form != NN_ABSENT && w->down_bias.form != NN_ABSENT &&
                      (!divided || w->up_bias.form != NN_ABSENT);
        if ((!divided && w->gate_up.form == NN_ABSENT) || w->down.form == NN_ABSENT || !biased)
            return nx_fail("[gpt_oss] tensor 'model.layers.%d.mlp.experts.%s' is missing", i,
                           biased ? w->down.form == NN_ABSENT ? "down_proj" : "gate_up_proj" : "*_bias");
    }
    return decoder_prepare(m, source);
}

static const char *const aliases[] = {"gpt-oss", "gptoss", NULL};

const model_arch gpt_oss_arch = {
    .name = "gpt_oss", .aliases = aliases, .size = sizeof(decoder), .layer_size = sizeof(decoder_layer),
    .config = config, .n_config = sizeof config / sizeof *config,
    .weights = weights, .n_weights = sizeof weights / sizeof *weights,
    .setup = setup, .prepare = prepare, .clear = decoder_clear, .forward = decoder_pre_norm_forward,
};
