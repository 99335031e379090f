/*
 * internlm2.c: InternLM 2: Llama's wiring under other names, with q, k, v in one matrix, by KV head.
 */
#include "base/error.h"
#include "runtime/models/decoder.h"

extern const model_arch internlm2_arch;

static const config_row config[] = {DECODER_CONFIG, RMS_NORM_CONFIG};

static const weight_row weights[] = {
    {"model.tok_embeddings.weight", "token_embd.weight", 0, DECODER(embed), BASE(vocab_size), HIDDEN},
    {"output.weight", "output.weight", WEIGHT_OPTIONAL, DECODER(head), BASE(vocab_size), HIDDEN},
    FINAL_NORM_ROW(0),
    VECTOR("attention_norm.weight", "attn_norm.weight", 0, attn_norm, HIDDEN),
    VECTOR("ffn_norm.weight", "ffn_norm.weight", 0, mlp_norm, HIDDEN),
    MATRIX("attention.wqkv.weight", "attn_q.weight&blk.%d.attn_k.weight&blk.%d.attn_v.weight", WEIGHT_OPTIONAL,
           attn.qkv, DECODER(qkv_size), HIDDEN),
    VECTOR("attention.wqkv.bias", "attn_q.bias&blk.%d.attn_k.bias&blk.%d.attn_v.bias", WEIGHT_OPTIONAL,
           attn.qkv_bias, DECODER(qkv_size)),
    {NULL, "blk.%d.attn_q.weight", WEIGHT_LAYER, LAYER(attn.q), Q, HIDDEN},
    {NULL, "blk.%d.attn_k.weight", WEIGHT_LAYER, LAYER(attn.k), KV, HIDDEN},
    {NULL, "blk.%d.attn_v.weight", WEIGHT_LAYER, LAYER(attn.v), KV, HIDDEN},
    {NULL, "blk.%d.attn_q.bias", WEIGHT_LAYER | WEIGHT_OPTIONAL, LAYER(attn.q_bias), 0, Q},
    {NULL, "blk.%d.attn_k.bias", WEIGHT_LAYER | WEIGHT_OPTIONAL, LAYER(attn.k_bias), 0, KV},
    {NULL, "blk.%d.attn_v.bias", WEIGHT_LAYER | WEIGHT_OPTIONAL, LAYER(attn.v_bias), 0, KV},
    MATRIX("attention.wo.weight", "attn_output.weight", 0, attn.o, HIDDEN, Q),
    VECTOR("attention.wo.bias", "attn_output.bias", WEIGHT_OPTIONAL, attn.o_bias, HIDDEN),
    MATRIX("feed_forward.w1.weight", "ffn_gate.weight", 0, mlp.gate, FF, HIDDEN),
    MATRIX("feed_forward.w3.weight", "ffn_up.weight", 0, mlp.up, FF, HIDDEN),
    MATRIX("feed_forward.w2.weight", "ffn_down.weight", 0, mlp.down, HIDDEN, FF),
};

static bool setup(model *base, const config_source *from)
{
    decoder *d = (decoder *)base;
    /* GGUF stores the rows of q and k in pairs. */
    if (!decoder_activation(d, from, "silu") || !decoder_setup(d, from, from->gguf != NULL))
        return false;
    d->attention.grouped = d->local.grouped = from->json != NULL;
    return true;
}

/* config.json's formats have the one matrix, GGUF the three. */
static bool prepare(model *m, nn_source *source)
{
    for (int i = 0; i < m->n_layers; i++) {
        const nn_attention_weights *w = &decoder_layer_at((decoder *)m, i)->attn;
        if (w->qkv.form == NN_ABSENT && w->q.form == NN_ABSENT)
            return nx_fail("[internlm2] tensor 'model.layers.%d.attention.wqkv.weight' is missing", i);
    }
    return decoder_prepare(m, source);
}

const model_arch internlm2_arch = {
    .name = "internlm2", .size = sizeof(decoder), .layer_size = sizeof(decoder_layer),
    .config = config, .n_config = sizeof config / sizeof *config,
    .weights = weights, .n_weights = sizeof weights / sizeof *weights,
    .setup = setup, .prepare = prepare, .clear = decoder_clear, .forward = decoder_pre_norm_forward,
};
