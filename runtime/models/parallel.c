/*
 * parallel.c: families whose two halves see the same input, or may: GPT-NeoX, StableLM, Falcon and
 * Cohere 2. Layer norms, partial rotation; q, k, v often in one matrix, by KV head.
 *
 *     parallel:  x += attend(norm(x)) + mlp(norm'(x))     norm' is norm where there is none
 *     else:      x += attend(norm(x));  x += mlp(norm'(x))
 */
#include <string.h>

#include "base/error.h"
#include "runtime/models/decoder.h"

extern const model_arch gpt_neox_arch, stablelm_arch, falcon_arch, cohere2_arch;

typedef struct {
    decoder d;
    bool parallel;
} parallel;

static const config_row config[] = {
    DECODER_CONFIG,
    LAYER_NORM_CONFIG,
    {"use_parallel_residual|parallel_attn", "use_parallel_residual", CONFIG_BOOL,
     offsetof(parallel, parallel), 1, false},
    {"logit_scale", "logit_scale", CONFIG_FLOAT, DECODER(logit_scale), 1, false},
};

/* Names of config.json's formats after "….h.%d." or "….layers.%d.". */
#define NEOX(hf, gguf, flags, member, rows, cols)                                                  \
    {"gpt_neox.layers.%d." hf "|model.h.%d." hf, "blk.%d." gguf, WEIGHT_LAYER | (flags),           \
     LAYER(member), rows, cols}
static const weight_row neox_weights[] = {
    {"gpt_neox.embed_in.weight|model.embed_in.weight", "token_embd.weight", 0, DECODER(embed),
     BASE(vocab_size), HIDDEN},
    {"embed_out.weight|model.embed_out.weight", "output.weight", WEIGHT_OPTIONAL, DECODER(head),
     BASE(vocab_size), HIDDEN},
    {"gpt_neox.final_layer_norm.weight|model.final_layer_norm.weight", "output_norm.weight", 0,
     DECODER(final_norm), 0, HIDDEN},
    {"gpt_neox.final_layer_norm.bias|model.final_layer_norm.bias", "output_norm.bias", 0,
     DECODER(final_norm_bias), 0, HIDDEN},
    NEOX("input_layernorm.weight", "attn_norm.weight", 0, attn_norm, 0, HIDDEN),
    NEOX("input_layernorm.bias", "attn_norm.bias", 0, attn_norm_bias, 0, HIDDEN),
    NEOX("post_attention_layernorm.weight", "ffn_norm.weight", 0, mlp_norm, 0, HIDDEN),
    NEOX("post_attention_layernorm.bias", "ffn_norm.bias", 0, mlp_norm_bias, 0, HIDDEN),
    NEOX("attention.query_key_value.weight", "attn_qkv.weight", 0, attn.qkv, DECODER(qkv_size), HIDDEN),
    NEOX("attention.query_key_value.bias", "attn_qkv.bias", WEIGHT_OPTIONAL, attn.qkv_bias, 0,
         DECODER(qkv_size)),
    NEOX("attention.dense.weight", "attn_output.weight", 0, attn.o, HIDDEN, HIDDEN),
    NEOX("attention.dense.bias", "attn_output.bias", WEIGHT_OPTIONAL, attn.o_bias, 0, HIDDEN),
    NEOX("mlp.dense_h_to_4h.weight", "ffn_up.weight", 0, mlp.up, FF, HIDDEN),
    NEOX("mlp.dense_h_to_4h.bias", "ffn_up.bias", WEIGHT_OPTIONAL, mlp.up_bias, 0, FF),
    NEOX("mlp.dense_4h_to_h.weight", "ffn_down.weight", 0, mlp.down, HIDDEN, FF),
    NEOX("mlp.dense_4h_to_h.bias", "ffn_down.bias", WEIGHT_OPTIONAL, mlp.down_bias, 0, HIDDEN),
};

#define FALCON(hf, gguf, flags, member, rows, cols)                                                \
    {"transformer.h.%d." hf, "blk.%d." gguf, WEIGHT_LAYER | (flags), LAYER(member), rows, cols}
static const weight_row falcon_weights[] = {
    {"transformer.word_embeddings.weight", "token_embd.weight", 0, DECODER(embed), BASE(vocab_size),
     HIDDEN},
    HEAD_ROW,
    {"transformer.ln_f.weight", "output_norm.weight", 0, DECODER(final_norm), 0, HIDDEN},
    {"transformer.ln_f.bias", "output_norm.bias", 0, DECODER(final_norm_bias), 0, HIDDEN},
    FALCON("ln_attn.weight|transformer.h.%d.input_layernorm.weight", "attn_norm_2.weight|blk.%d.attn_norm.weight", 0, attn_norm, 0, HIDDEN),
    FALCON("ln_attn.bias|transformer.h.%d.input_layernorm.bias", "attn_norm_2.bias|blk.%d.attn_norm.bias", 0, attn_norm_bias, 0, HIDDEN),
    FALCON("ln_mlp.weight|transformer.h.%d.post_attention_layernorm.weight", "attn_norm.weight", WEIGHT_OPTIONAL, mlp_norm, 0, HIDDEN),
    FALCON("ln_mlp.bias|transformer.h.%d.post_attention_layernorm.bias", "attn_norm.bias", WEIGHT_OPTIONAL, mlp_norm_bias, 0, HIDDEN),
    FALCON("self_attention.query_key_value.weight", "attn_qkv.weight", 0, attn.qkv, DECODER(qkv_size),
           HIDDEN),
    FALCON("self_attention.query_key_value.bias", "attn_qkv.bias", WEIGHT_OPTIONAL, attn.qkv_bias, 0,
           DECODER(qkv_size)),
    FALCON("self_attention.dense.weight", "attn_output.weight", 0, attn.o, HIDDEN, HIDDEN),
    FALCON("self_attention.dense.bias", "attn_output.bias", WEIGHT_OPTIONAL, attn.o_bias, 0, HIDDEN),
    FALCON("mlp.dense_h_to_4h.weight", "ffn_up.weight", 0, mlp.up, FF, HIDDEN),
    FALCON("mlp.dense_h_to_4h.bias", "ffn_up.bias", WEIGHT_OPTIONAL, mlp.up_bias, 0, FF),
    FALCON("mlp.dense_4h_to_h.weight", "ffn_down.weight", 0, mlp.down, HIDDEN, FF),
    FALCON("mlp.dense_4h_to_h.bias", "ffn_down.bias", WEIGHT_OPTIONAL, mlp.down_bias, 0, HIDDEN),
};

static const weight_row stablelm_weights[] = {
    ENDS_ROWS(0),
    {"model.norm.bias", "output_norm.bias", 0, DECODER(final_norm_bias), 0, HIDDEN},
    VECTOR("input_layernorm.weight", "attn_norm.weight", 0, attn_norm, HIDDEN),
    VECTOR("input_layernorm.bias", "attn_norm.bias", 0, attn_norm_bias, HIDDEN),
    VECTOR("post_attention_layernorm.weight", "ffn_norm.weight", WEIGHT_OPTIONAL, mlp_norm, HIDDEN),
    VECTOR("post_attention_layernorm.bias", "ffn_norm.bias", WEIGHT_OPTIONAL, mlp_norm_bias, HIDDEN),
    ATTENTION_ROWS,
    MLP_ROWS(0),
};

static const weight_row cohere2_weights[] = {
    ENDS_ROWS(0),
    VECTOR("input_layernorm.weight", "attn_norm.weight", 0, attn_norm, HIDDEN),
    ATTENTION_ROWS,
    MLP_ROWS(0),
};

static bool setup(decoder *d, const config_source *from, bool pairs, const char *activation)
{
    d->norm.centred = true;
    return decoder_activation(d, from, activation) && decoder_setup(d, from, pairs);
}

static bool setup_neox(model *base, const config_source *from)
{
    decoder *d = (decoder *)base;
    base->n_kv_heads = base->n_heads;
    if (!setup(d, from, false, "gelu"))
        return false;
    d->attention.grouped = d->local.grouped = from->json != NULL; /* GGUF: q, then k, then v */
    return true;
}

static bool setup_falcon(model *base, const config_source *from)
{
    decoder *d = (decoder *)base;
    if (nx_json_get_bool(from->json, "alibi", false))
        return nx_fail("[falcon] models with ALiBi positions are not supported");
    if (from->json && !nx_json_get_bool(from->json, "new_decoder_architecture", false))
        base->n_kv_heads = nx_json_get_bool(from->json, "multi_query", true) ? 1 : base->n_heads;
    if (!base->intermediate_size)
        base->intermediate_size = 4 * base->hidden_size;
    if (!setup(d, from, false, "gelu"))
        return false;
    d->attention.grouped = d->local.grouped = from->json != NULL;
    return true;
}

static bool setup_stablelm(model *base, const config_source *from)
{
    if (nx_json_get_bool(from->json, "qk_layernorm", false))
        return nx_fail("[stablelm] norms of q and k by head are not supported");
    if (!nx_json_has(from->json, "use_parallel_residual") && from->json)
        ((parallel *)base)->parallel = false;
    return setup((decoder *)base, from, false, "silu");
}

/* Windows turn, full attention does not. */
static bool setup_cohere2(model *base, const config_source *from)
{
    decoder *d = (decoder *)base;
    if (!setup(d, from, true, "silu"))
        return false;
    decoder_windows(d, from, (int)nx_json_get_int(from->json, "sliding_window_pattern", 4));
    for (int i = 0; i < base->n_layers; i++)
        if (!(base->kinds[i] & LAYER_WINDOW))
            base->kinds[i] |= LAYER_UNTURNED;
    d->local.rope = d->attention.rope;
    return true;
}

static mlx_array layer(nn *c, decoder *d, int i, const nn_batch *b, mlx_array x)
{
    decoder_layer *l = decoder_layer_at(d, i);
    mlx_array h = nn_norm(c, &d->norm, x, &l->attn_norm, &l->attn_norm_bias);
    mlx_array y = nn_add(c, x, decoder_attend(c, d, i, b, h));
    if (!((parallel *)d)->parallel)
        h = nn_norm(c, &d->norm, y, &l->mlp_norm, &l->mlp_norm_bias);
    else if (l->mlp_norm.form != NN_ABSENT)
        h = nn_norm(c, &d->norm, x, &l->mlp_norm, &l->mlp_norm_bias);
    return nn_add(c, y, decoder_feed(c, d, i, h));
}

static mlx_array forward(nn *c, model *m, const nn_batch *b)
{
    return decoder_forward(c, m, b, layer);
}

static const char *const neox_aliases[] = {"gptneox", NULL};

#define ARCH_OF(id, text, also, rows, set_up)                                                      \
    const model_arch id = {                                                                        \
        .name = text, .aliases = also, .size = sizeof(parallel),                                   \
        .layer_size = sizeof(decoder_layer), .config = config,                                     \
        .n_config = sizeof config / sizeof *config, .weights = rows,                               \
        .n_weights = sizeof rows / sizeof *rows, .setup = set_up, .prepare = decoder_prepare,      \
        .clear = decoder_clear, .forward = forward,                                                \
    }
ARCH_OF(gpt_neox_arch, "gpt_neox", neox_aliases, neox_weights, setup_neox);
ARCH_OF(stablelm_arch, "stablelm", NULL, stablelm_weights, setup_stablelm);
ARCH_OF(falcon_arch, "falcon", NULL, falcon_weights, setup_falcon);
ARCH_OF(cohere2_arch, "cohere2", NULL, cohere2_weights, setup_cohere2);
