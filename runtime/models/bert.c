/*
 * bert.c: encoders for embeddings: BERT (MiniLM, bge), with learned positions and biases everywhere;
 * Nomic BERT, with rotation, a gate and none. Every token sees its whole text; norms come after.
 *
 *     x = norm(embed(tokens) + positions + type 0)
 *     for each layer:  x = norm(x + attend(x));  x = norm(x + mlp(x))
 *
 * What comes out is the last hidden states; models/embed.h pools them.
 */
#include "base/error.h"
#include "runtime/models/decoder.h"

extern const model_arch bert_arch, nomic_bert_arch;

typedef struct {
    decoder d;
    nn_weight positions, types; /* [max_context, D], [types, D] */
} bert;

static const config_row config[] = {
    DECODER_CONFIG,
    LAYER_NORM_CONFIG,
    {"rotary_emb_base|rope_theta", "rope.freq_base", CONFIG_FLOAT, DECODER(rope_theta), 10000, false},
};

#define ENDS(hf_norm)                                                                              \
    {"embeddings.word_embeddings.weight", "token_embd.weight", 0, DECODER(embed), BASE(vocab_size), \
     HIDDEN},                                                                                      \
    {"embeddings.token_type_embeddings.weight", "token_types.weight", WEIGHT_OPTIONAL | WEIGHT_NUMBERS, \
     offsetof(bert, types), 0, 0},                                                                 \
    {hf_norm ".weight", "token_embd_norm.weight", 0, DECODER(final_norm), 0, HIDDEN},              \
    {hf_norm ".bias", "token_embd_norm.bias", 0, DECODER(final_norm_bias), 0, HIDDEN}

#define BERT(hf, gguf, member, rows, cols)                                                         \
    {"encoder.layer.%d." hf, "blk.%d." gguf, WEIGHT_LAYER, LAYER(member), rows, cols}
#define BERT_BOTH(hf, gguf, w, bias, rows, cols)                                                   \
    BERT(hf ".weight", gguf ".weight", w, rows, cols), BERT(hf ".bias", gguf ".bias", bias, 0, rows)
#define BERT_NORM(hf, gguf, w, bias)                                                               \
    BERT(hf ".weight", gguf ".weight", w, 0, HIDDEN), BERT(hf ".bias", gguf ".bias", bias, 0, HIDDEN)
static const weight_row bert_weights[] = {
    ENDS("embeddings.LayerNorm"),
    {"embeddings.position_embeddings.weight", "position_embd.weight", 0, offsetof(bert, positions),
     BASE(max_context), HIDDEN},
    BERT_BOTH("attention.self.query", "attn_q", attn.q, attn.q_bias, HIDDEN, HIDDEN),
    BERT_BOTH("attention.self.key", "attn_k", attn.k, attn.k_bias, HIDDEN, HIDDEN),
    BERT_BOTH("attention.self.value", "attn_v", attn.v, attn.v_bias, HIDDEN, HIDDEN),
    BERT_BOTH("attention.output.dense", "attn_output", attn.o, attn.o_bias, HIDDEN, HIDDEN),
    BERT_NORM("attention.output.LayerNorm", "attn_output_norm", attn_norm, attn_norm_bias),
    BERT_BOTH("intermediate.dense", "ffn_up", mlp.up, mlp.up_bias, FF, HIDDEN),
    BERT_BOTH("output.dense", "ffn_down", mlp.down, mlp.down_bias, HIDDEN, FF),
    BERT_NORM("output.LayerNorm", "layer_output_norm", mlp_norm, mlp_norm_bias),
};

#define NOMIC(hf, gguf, member, rows, cols)                                                        \
    {"encoder.layers.%d." hf, "blk.%d." gguf, WEIGHT_LAYER, LAYER(member), rows, cols}
static const weight_row nomic_weights[] = {
    ENDS("emb_ln"),
    NOMIC("attn.Wqkv.weight", "attn_qkv.weight", attn.qkv, DECODER(qkv_size), HIDDEN),
    NOMIC("attn.out_proj.weight", "attn_output.weight", attn.o, HIDDEN, HIDDEN),
    NOMIC("norm1.weight", "attn_output_norm.weight", attn_norm, 0, HIDDEN),
    NOMIC("norm1.bias", "attn_output_norm.bias", attn_norm_bias, 0, HIDDEN),
    NOMIC("mlp.fc11.weight", "ffn_up.weight", mlp.up, FF, HIDDEN),
    NOMIC("mlp.fc12.weight", "ffn_gate.weight", mlp.gate, FF, HIDDEN),
    NOMIC("mlp.fc2.weight", "ffn_down.weight", mlp.down, HIDDEN, FF),
    NOMIC("norm2.weight", "layer_output_norm.weight", mlp_norm, 0, HIDDEN),
    NOMIC("norm2.bias", "layer_output_norm.bias", mlp_norm_bias, 0, HIDDEN),
};

static bool setup(model *base, const config_source *from)
{
    decoder *d = (decoder *)base;
    d->norm.centred = true;
    base->n_kv_heads = base->n_heads;
    base->head_dim = 0;
    if (!decoder_activation(d, from, "gelu") || !decoder_setup(d, from, false))
        return false;
    d->attention.both_ways = true;
    decoder_kinds(d, LAYER_UNTURNED);
    for (int i = 0; i < base->n_layers; i++)
        base->caches[i] = (nn_cache_shape){0};
    return true;
}

static bool setup_nomic(model *base, const config_source *from)
{
    decoder *d = (decoder *)base;
    if (!setup(base, from))
        return false;
    d->act = NN_SILU;
    for (int i = 0; i < base->n_layers; i++)
        base->kinds[i] &= ~(unsigned)LAYER_UNTURNED;
    return true;
}

static bool prepare(model *m, nn_source *source)
{
    const bert *e = (const bert *)m;
    if (e->types.form == NN_ABSENT)
        return true;
    return (e->types.cols == m->hidden_size && e->types.rows >= 1) ||
           nx_fail("[%s] tensor 'embeddings.token_type_embeddings.weight' has shape (%d,%d), the "
                   "settings say %d columns", m->arch->name, e->types.rows, e->types.cols, m->hidden_size);
}

/* [1, D]: all tokens are of the first kind of text. */
static mlx_array first_type(nn *c, bert *e)
{
    int d = e->d.base.hidden_size;
    mlx_array all = nn_reshape(c, nn_vector(c, &e->types), (int[]){e->types.rows, d}, 2);
    return nn_rows(c, all, 0, 1);
}

static mlx_array forward(nn *c, model *m, const nn_batch *b)
{
    bert *e = (bert *)m;
    decoder *d = &e->d;
    mlx_array x = nn_embedding(c, &d->embed, b->tokens);
    if (e->positions.form != NN_ABSENT)
        x = nn_add(c, x, nn_embedding(c, &e->positions, nn_positions(c, b)));
    if (e->types.form != NN_ABSENT)
        x = nn_add(c, x, first_type(c, e));
    x = nn_norm(c, &d->norm, x, &d->final_norm, &d->final_norm_bias);
    for (int i = 0; i < m->n_layers; i++) {
        decoder_layer *l = decoder_layer_at(d, i);
        mlx_array h = nn_add(c, x, decoder_attend(c, d, i, b, x));
        x = nn_norm(c, &d->norm, h, &l->attn_norm, &l->attn_norm_bias);
        h = nn_add(c, x, decoder_feed(c, d, i, x));
        x = nn_norm(c, &d->norm, h, &l->mlp_norm, &l->mlp_norm_bias);
    }
    return nn_last_rows(c, x, b);
}

static const char *const aliases[] = {"nomic-bert", NULL};
static const char *const ignored[] = {"pooler.", "bert.pooler.", "cls.", "embeddings.position_ids",
                                      "bert.embeddings.position_ids", NULL};

const model_arch bert_arch = {
    .name = "bert", .size = sizeof(bert), .layer_size = sizeof(decoder_layer), .encoder = true,
    .config = config, .n_config = sizeof config / sizeof *config,
    .weights = bert_weights, .n_weights = sizeof bert_weights / sizeof *bert_weights,
    .setup = setup, .prepare = prepare, .clear = decoder_clear, .forward = forward, .ignored = ignored,
};

const model_arch nomic_bert_arch = {
    .name = "nomic_bert", .aliases = aliases, .size = sizeof(bert), .layer_size = sizeof(decoder_layer),
    .encoder = true, .config = config, .n_config = sizeof config / sizeof *config,
    .weights = nomic_weights, .n_weights = sizeof nomic_weights / sizeof *nomic_weights,
    .setup = setup_nomic, .prepare = prepare, .clear = decoder_clear, .forward = forward,
    .ignored = ignored,
};
