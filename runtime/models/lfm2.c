/*
 * lfm2.c: LFM2: layers of short gated convolutions among layers of attention with norms of q and k,
 * each before a SiLU-gated MLP.
 *
 *     convolution: (b, c, x) = in(h);  y = out(c * conv(b * x))
 */
#include <string.h>

#include "base/error.h"
#include "runtime/models/decoder.h"
#include "runtime/nn/ssm.h"

extern const model_arch lfm2_arch;

typedef struct {
    decoder_layer base;
    nn_weight in, in_bias, conv, conv_bias, out, out_bias;
} lfm2_layer;

typedef struct {
    decoder d;
    int taps, triple;
    bool adjusts;
    float multiplier;
    int multiple;
} lfm2;

#define OWN(member) offsetof(lfm2, member)
#define MINE(hf, gguf, flags, member, rows, cols)                                                  \
    {"model.layers.%d." hf, "blk.%d." gguf, WEIGHT_LAYER | (flags), offsetof(lfm2_layer, member),  \
     rows, cols}

static const config_row config[] = {
    DECODER_CONFIG,
    RMS_NORM_CONFIG,
    {"intermediate_size|block_ff_dim", "feed_forward_length", CONFIG_INT, BASE(intermediate_size), 0, true},
    {"conv_L_cache", "shortconv.l_cache", CONFIG_INT, OWN(taps), 3, false},
    {"block_auto_adjust_ff_dim", NULL, CONFIG_BOOL, OWN(adjusts), 0, false},
    {"block_ffn_dim_multiplier", NULL, CONFIG_FLOAT, OWN(multiplier), 1, false},
    {"block_multiple_of", NULL, CONFIG_INT, OWN(multiple), 256, false},
};

#define ON_ATTENTION WEIGHT_KIND(LAYER_ATTENTION)
#define ON_CONV      WEIGHT_KIND(LAYER_RECURRENT)
static const weight_row weights[] = {
    EMBED_ROW,
    HEAD_ROW,
    {"model.embedding_norm.weight", "token_embd_norm.weight|output_norm.weight", 0, DECODER(final_norm),
     0, HIDDEN},
    VECTOR("operator_norm.weight", "attn_norm.weight", 0, attn_norm, HIDDEN),
    VECTOR("ffn_norm.weight", "ffn_norm.weight", 0, mlp_norm, HIDDEN),
    MATRIX("feed_forward.w1.weight", "ffn_gate.weight", 0, mlp.gate, FF, HIDDEN),
    MATRIX("feed_forward.w3.weight", "ffn_up.weight", 0, mlp.up, FF, HIDDEN),
    MATRIX("feed_forward.w2.weight", "ffn_down.weight", 0, mlp.down, HIDDEN, FF),
    MATRIX("self_attn.q_proj.weight", "attn_q.weight", ON_ATTENTION, attn.q, Q, HIDDEN),
    MATRIX("self_attn.k_proj.weight", "attn_k.weight", ON_ATTENTION, attn.k, KV, HIDDEN),
    MATRIX("self_attn.v_proj.weight", "attn_v.weight", ON_ATTENTION, attn.v, KV, HIDDEN),
    MATRIX("self_attn.out_proj.weight", "attn_output.weight", ON_ATTENTION, attn.o, HIDDEN, Q),
    VECTOR("self_attn.q_layernorm.weight", "attn_q_norm.weight", ON_ATTENTION, attn.q_norm, BASE(head_dim)),
    VECTOR("self_attn.k_layernorm.weight", "attn_k_norm.weight", ON_ATTENTION, attn.k_norm, BASE(head_dim)),
    MINE("conv.in_proj.weight", "shortconv.in_proj.weight", ON_CONV, in, OWN(triple), HIDDEN),
    MINE("conv.in_proj.bias", "shortconv.in_proj.bias", ON_CONV | WEIGHT_OPTIONAL, in_bias, 0, OWN(triple)),
    MINE("conv.conv.weight", "shortconv.conv.weight", ON_CONV | WEIGHT_NUMBERS, conv, 0, 0),
    MINE("conv.conv.bias", "shortconv.conv.bias", ON_CONV | WEIGHT_OPTIONAL, conv_bias, 0, HIDDEN),
    MINE("conv.out_proj.weight", "shortconv.out_proj.weight", ON_CONV, out, HIDDEN, HIDDEN),
    MINE("conv.out_proj.bias", "shortconv.out_proj.bias", ON_CONV | WEIGHT_OPTIONAL, out_bias, 0, HIDDEN),
};

/* Which layers attend: layer_types, or a list of them, or GGUF's KV heads by layer. */
static bool attends(const config_source *from, int i)
{
    const json_t *types = nx_json_get(from->json, "layer_types"), *v;
    const json_t *list = nx_json_get(from->json, "full_attn_idxs");
    const char *type = json_string_value(json_array_get(types, (size_t)i));
    size_t k;
    if (from->gguf)
        return config_item(from, NULL, "attention.head_count_kv", i, 1) > 0;
    if (type)
        return strcmp(type, "full_attention") == 0;
    json_array_foreach(list, k, v)
        if (json_integer_value(v) == i)
            return true;
    return false;
}

static bool setup(model *base, const config_source *from)
{
    lfm2 *m = (lfm2 *)base;
    if (m->adjusts && m->multiple > 0 && base->intermediate_size < 1 << 24) {
        int n = nx_int_of(m->multiplier * (float)(2 * base->intermediate_size / 3));
        int64_t whole = ((int64_t)n + m->multiple - 1) / m->multiple * m->multiple;
        base->intermediate_size = whole < INT_MAX ? (int)whole : INT_MAX;
    }
    if (!decoder_setup(&m->d, from, false))
        return false;
    if (m->taps < 2 || m->taps > 256)
        return nx_fail("[lfm2] a convolution of %d taps is not supported", m->taps);
    m->triple = 3 * base->hidden_size;
    for (int i = 0; i < base->n_layers; i++) {
        base->kinds[i] = LAYER_DENSE | (attends(from, i) ? LAYER_ATTENTION : LAYER_RECURRENT);
        if (base->kinds[i] & LAYER_RECURRENT)
            base->caches[i] = (nn_cache_shape){.state = {{1, m->taps - 1, base->hidden_size}}};
    }
    return true;
}

typedef struct {
    lfm2 *m;
    lfm2_layer *l;
    int layer;
} conv_args;

static mlx_array conv_segment(nn *c, const nn_segment *g, mlx_array x, void *arg)
{
    const conv_args *a = arg;
    return nn_short_conv(c, g, a->layer, 0, x, nn_vector(c, &a->l->conv), nn_vector(c, &a->l->conv_bias),
                         a->m->taps);
}

static mlx_array convolve(nn *c, lfm2 *m, lfm2_layer *l, int i, const nn_batch *b, mlx_array x)
{
    int d = m->d.base.hidden_size;
    mlx_array all = nn_linear(c, x, &l->in, &l->in_bias);
    mlx_array fed = nn_mul(c, nn_slice(c, all, 1, 0, d), nn_slice(c, all, 1, 2 * d, 3 * d));
    mlx_array y = nn_each_segment(c, b, fed, conv_segment, &(conv_args){m, l, i});
    return nn_linear(c, nn_mul(c, nn_slice(c, all, 1, d, 2 * d), y), &l->out, &l->out_bias);
}

static mlx_array layer(nn *c, decoder *d, int i, const nn_batch *b, mlx_array x)
{
    lfm2_layer *l = &((lfm2_layer *)d->base.layers)[i];
    mlx_array h = nn_norm(c, &d->norm, x, &l->base.attn_norm, NULL), y;
    if (d->base.kinds[i] & LAYER_RECURRENT)
        y = convolve(c, (lfm2 *)d, l, i, b, h);
    else
        y = nn_attention_block(c, &d->attention, &d->norm, &l->base.attn, b, i, h);
    x = nn_add(c, x, y);
    return nn_add(c, x, nn_mlp(c, NN_SILU, &l->base.mlp,
                               nn_norm(c, &d->norm, x, &l->base.mlp_norm, NULL)));
}

static mlx_array forward(nn *c, model *m, const nn_batch *b)
{
    return decoder_forward(c, m, b, layer);
}

static bool prepare(model *base, nn_source *source)
{
    lfm2 *m = (lfm2 *)base;
    for (int i = 0; i < base->n_layers; i++) {
        nn_weight *w = &((lfm2_layer *)base->layers)[i].conv;
        if (w->form != NN_ABSENT && mlx_array_size(w->w) != (size_t)base->hidden_size * (size_t)m->taps)
            return nx_fail("[lfm2] tensor 'model.layers.%d.conv.conv.weight' must hold %d times %d "
                           "numbers", i, base->hidden_size, m->taps);
    }
    return decoder_prepare(base, source);
}

const model_arch lfm2_arch = {
    .name = "lfm2", .size = sizeof(lfm2), .layer_size = sizeof(lfm2_layer),
    .config = config, .n_config = sizeof config / sizeof *config,
    .weights = weights, .n_weights = sizeof weights / sizeof *weights,
    .setup = setup, .prepare = prepare, .clear = decoder_clear, .forward = forward,
};
