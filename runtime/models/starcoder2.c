/*
 * starcoder2.c: decoders of layer norms with biases everywhere and a feed-forward network without a
 * gate: StarCoder 2, with rotation; GPT-2, with learned positions.
 */
#include "base/error.h"
#include "runtime/models/decoder.h"

extern const model_arch starcoder2_arch, gpt2_arch;

typedef struct {
    decoder d;
    nn_weight positions; /* [max_context, D] */
} gpt2;

static const config_row config[] = {DECODER_CONFIG, LAYER_NORM_CONFIG};

static const weight_row starcoder2_weights[] = {
    ENDS_ROWS(0),
    {"model.norm.bias", "output_norm.bias", 0, DECODER(final_norm_bias), 0, HIDDEN},
    PRE_NORM_ROWS(0),
    VECTOR("input_layernorm.bias", "attn_norm.bias", 0, attn_norm_bias, HIDDEN),
    VECTOR("post_attention_layernorm.bias", "ffn_norm.bias", 0, mlp_norm_bias, HIDDEN),
    ATTENTION_ROWS,
    MATRIX("mlp.c_fc.weight", "ffn_up.weight", 0, mlp.up, FF, HIDDEN),
    VECTOR("mlp.c_fc.bias", "ffn_up.bias", WEIGHT_OPTIONAL, mlp.up_bias, FF),
    MATRIX("mlp.c_proj.weight", "ffn_down.weight", 0, mlp.down, HIDDEN, FF),
    VECTOR("mlp.c_proj.bias", "ffn_down.bias", WEIGHT_OPTIONAL, mlp.down_bias, HIDDEN),
};

/* Hugging Face's GPT-2 stores matrices for x W, not x W'. */
#define TURNED (WEIGHT_TURNED | WEIGHT_NOT_MLX)
#define GPT2(hf, gguf, flags, member, rows, cols)                                                  \
    {"transformer.h.%d." hf "|model.h.%d." hf, "blk.%d." gguf, WEIGHT_LAYER | (flags),             \
     LAYER(member), rows, cols}
static const weight_row gpt2_weights[] = {
    {"transformer.wte.weight|model.wte.weight", "token_embd.weight", 0, DECODER(embed),
     BASE(vocab_size), HIDDEN},
    {"transformer.wpe.weight|model.wpe.weight", "position_embd.weight", 0, offsetof(gpt2, positions),
     BASE(max_context), HIDDEN},
    HEAD_ROW,
    {"transformer.ln_f.weight|model.ln_f.weight", "output_norm.weight", 0, DECODER(final_norm), 0, HIDDEN},
    {"transformer.ln_f.bias|model.ln_f.bias", "output_norm.bias", 0, DECODER(final_norm_bias), 0, HIDDEN},
    GPT2("ln_1.weight", "attn_norm.weight", 0, attn_norm, 0, HIDDEN),
    GPT2("ln_1.bias", "attn_norm.bias", 0, attn_norm_bias, 0, HIDDEN),
    GPT2("ln_2.weight", "ffn_norm.weight", 0, mlp_norm, 0, HIDDEN),
    GPT2("ln_2.bias", "ffn_norm.bias", 0, mlp_norm_bias, 0, HIDDEN),
    GPT2("attn.c_attn.weight", "attn_qkv.weight", TURNED, attn.qkv, DECODER(qkv_size), HIDDEN),
    GPT2("attn.c_attn.bias", "attn_qkv.bias", 0, attn.qkv_bias, 0, DECODER(qkv_size)),
    GPT2("attn.c_proj.weight", "attn_output.weight", TURNED, attn.o, HIDDEN, HIDDEN),
    GPT2("attn.c_proj.bias", "attn_output.bias", 0, attn.o_bias, 0, HIDDEN),
    GPT2("mlp.c_fc.weight", "ffn_up.weight", TURNED, mlp.up, FF, HIDDEN),
    GPT2("mlp.c_fc.bias", "ffn_up.bias", 0, mlp.up_bias, 0, FF),
    GPT2("mlp.c_proj.weight", "ffn_down.weight", TURNED, mlp.down, HIDDEN, FF),
    GPT2("mlp.c_proj.bias", "ffn_down.bias", 0, mlp.down_bias, 0, HIDDEN),
};

static bool setup(model *base, const config_source *from)
{
    decoder *d = (decoder *)base;
    d->norm.centred = true;
    if (!decoder_activation(d, from, "gelu_pytorch_tanh") || !decoder_setup(d, from, false))
        return false;
    decoder_windows(d, from, 0);
    return true;
}

static bool setup_gpt2(model *base, const config_source *from)
{
    decoder *d = (decoder *)base;
    base->n_kv_heads = base->n_heads;
    if (!base->intermediate_size)
        base->intermediate_size = 4 * base->hidden_size;
    if (nx_json_get_bool(from->json, "scale_attn_by_inverse_layer_idx", false))
        return nx_fail("[gpt2] scale_attn_by_inverse_layer_idx is not supported");
    if (!setup(base, from))
        return false;
    decoder_kinds(d, LAYER_UNTURNED);
    return true;
}

static mlx_array gpt2_forward(nn *c, model *m, const nn_batch *b)
{
    gpt2 *g = (gpt2 *)m;
    mlx_array x = nn_embedding(c, &g->d.embed, b->tokens);
    x = nn_add(c, x, nn_embedding(c, &g->positions, nn_positions(c, b)));
    return decoder_run(c, &g->d, b, x, decoder_pre_norm_layer);
}

static bool gpt2_prepare(model *m, nn_source *source)
{
    ((decoder *)m)->tied = true; /* GGUF writes the embedding again as its head */
    return decoder_prepare(m, source);
}

const model_arch starcoder2_arch = {
    .name = "starcoder2", .size = sizeof(decoder), .layer_size = sizeof(decoder_layer),
    .config = config, .n_config = sizeof config / sizeof *config,
    .weights = starcoder2_weights, .n_weights = sizeof starcoder2_weights / sizeof *starcoder2_weights,
    .setup = setup, .prepare = decoder_prepare, .clear = decoder_clear,
    .forward = decoder_pre_norm_forward,
};

const model_arch gpt2_arch = {
    .name = "gpt2", .size = sizeof(gpt2), .layer_size = sizeof(decoder_layer),
    .config = config, .n_config = sizeof config / sizeof *config,
    .weights = gpt2_weights, .n_weights = sizeof gpt2_weights / sizeof *gpt2_weights,
    .setup = setup_gpt2, .prepare = gpt2_prepare, .clear = decoder_clear, .forward = gpt2_forward,
};
