/*
 * falcon_h1.c: Falcon-H1: in each layer a state space and attention side by side, then an MLP, with
 * factors at every place:
 *
 *     x += out_s * space(in_s * h) + out_a * attend(in_a * h)      h = rms_norm(x)
 *     x += m1 * down(silu(m0 * gate(h)) * up(h))                   h = rms_norm(x)
 *
 * MLX's folders have the factors multiplied into the weights.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/models/decoder.h"
#include "runtime/nn/ssm.h"

extern const model_arch falcon_h1_arch;

typedef struct {
    decoder_layer base;
    nn_mamba2_weights space;
} h1_layer;

enum { N_SPACE_FACTORS = 5 }; /* of gate, x, b, c and dt */
typedef struct {
    decoder d;
    nn_mamba2 space;
    bool normed, norm_first;
    float attention_in, attention_out, key, space_in, space_out, gate, down;
    float each[N_SPACE_FACTORS];
    mlx_array factors; /* [rows of in], `each` by its place; empty: none */
    int in_rows, inner, channels;
} falcon_h1;

#define OWN(member) offsetof(falcon_h1, member)
#define FACTOR(key, member) {key, NULL, CONFIG_FLOAT, OWN(member), 1, false}

static const config_row config[] = {
    DECODER_CONFIG,
    RMS_NORM_CONFIG,
    {"mamba_n_heads", NULL, CONFIG_INT, OWN(space.heads), 0, true},
    {"mamba_d_head", NULL, CONFIG_INT, OWN(space.head_dim), 0, true},
    {"mamba_d_state", NULL, CONFIG_INT, OWN(space.state), 0, true},
    {"mamba_n_groups", NULL, CONFIG_INT, OWN(space.groups), 1, false},
    {"mamba_d_conv", NULL, CONFIG_INT, OWN(space.conv), 4, false},
    {"mamba_rms_norm", NULL, CONFIG_BOOL, OWN(normed), 0, false},
    {"mamba_norm_before_gate", NULL, CONFIG_BOOL, OWN(norm_first), 1, false},
    FACTOR("embedding_multiplier", d.embed_scale),
    FACTOR("lm_head_multiplier", d.logit_scale),
    FACTOR("attention_in_multiplier", attention_in),
    FACTOR("attention_out_multiplier", attention_out),
    FACTOR("key_multiplier", key),
    FACTOR("ssm_in_multiplier", space_in),
    FACTOR("ssm_out_multiplier", space_out),
};

#define MINE(hf, flags, member, rows, cols)                                                        \
    {"model.layers.%d." hf, NULL, WEIGHT_LAYER | (flags), offsetof(h1_layer, member), rows, cols}
static const weight_row weights[] = {
    EMBED_ROW,
    HEAD_ROW,
    {"model.final_layernorm.weight", NULL, 0, DECODER(final_norm), 0, HIDDEN},
    VECTOR("input_layernorm.weight", "attn_norm.weight", 0, attn_norm, HIDDEN),
    VECTOR("pre_ff_layernorm.weight", "ffn_norm.weight", 0, mlp_norm, HIDDEN),
    ATTENTION_ROWS,
    MATRIX("feed_forward.gate_proj.weight", "ffn_gate.weight", 0, mlp.gate, FF, HIDDEN),
    MATRIX("feed_forward.up_proj.weight", "ffn_up.weight", 0, mlp.up, FF, HIDDEN),
    MATRIX("feed_forward.down_proj.weight", "ffn_down.weight", 0, mlp.down, HIDDEN, FF),
    VECTOR("feed_forward.gate_proj.bias", "ffn_gate.bias", WEIGHT_OPTIONAL, mlp.gate_bias, FF),
    VECTOR("feed_forward.up_proj.bias", "ffn_up.bias", WEIGHT_OPTIONAL, mlp.up_bias, FF),
    VECTOR("feed_forward.down_proj.bias", "ffn_down.bias", WEIGHT_OPTIONAL, mlp.down_bias, HIDDEN),
    MINE("mamba.in_proj.weight", 0, space.in, OWN(in_rows), HIDDEN),
    MINE("mamba.in_proj.bias", WEIGHT_OPTIONAL, space.in_bias, 0, OWN(in_rows)),
    MINE("mamba.conv1d.weight", WEIGHT_NUMBERS, space.conv, 0, 0),
    MINE("mamba.conv1d.bias", WEIGHT_OPTIONAL, space.conv_bias, 0, OWN(channels)),
    MINE("mamba.dt_bias", 0, space.dt_bias, 0, OWN(space.heads)),
    MINE("mamba.A_log", WEIGHT_NUMBERS, space.a, 0, 0),
    MINE("mamba.D", WEIGHT_NUMBERS, space.d, 0, 0),
    MINE("mamba.norm.weight", WEIGHT_OPTIONAL | WEIGHT_NUMBERS, space.norm, 0, 0),
    MINE("mamba.out_proj.weight", 0, space.out, HIDDEN, OWN(inner)),
    MINE("mamba.out_proj.bias", WEIGHT_OPTIONAL, space.out_bias, 0, HIDDEN),
};

static bool setup(model *base, const config_source *from)
{
    falcon_h1 *m = (falcon_h1 *)base;
    float embed = m->d.embed_scale, logit = m->d.logit_scale;
    nn_mamba2 *s = &m->space;
    if (!nn_mamba2_check(s, "falcon_h1") || !decoder_activation(&m->d, from, "silu") ||
        !decoder_setup(&m->d, from, false))
        return false;
    s->eps = m->d.norm.eps;
    s->norm_groups = m->normed ? s->groups : 0;
    s->norm_first = m->norm_first;
    m->inner = nn_mamba2_inner(s);
    m->channels = nn_mamba2_channels(s);
    m->in_rows = m->inner + m->channels + s->heads;
    m->d.embed_scale = embed;
    m->d.logit_scale = logit;
    m->gate = (float)config_item(from, "mlp_multipliers", NULL, 0, 1);
    m->down = (float)config_item(from, "mlp_multipliers", NULL, 1, 1);
    for (int i = 0; i < N_SPACE_FACTORS; i++)
        m->each[i] = (float)config_item(from, "ssm_multipliers", NULL, i, 1);
    decoder_kinds(&m->d, LAYER_DENSE | LAYER_ATTENTION | LAYER_RECURRENT);
    for (int i = 0; i < base->n_layers; i++)
        nn_mamba2_cache(s, &base->caches[i]);
    return true;
}

/* MLX's folders have the factors in the weights; but a head that is the embedding has the embedding's, and
 * mlx-lm leaves out that of the keys, and of the values what multiplies attention's input. */
static void forget_factors(falcon_h1 *m)
{
    bool tied = m->d.tied && m->d.embed_scale != 0;
    m->d.logit_scale = tied ? m->d.logit_scale / m->d.embed_scale : 1;
    m->d.embed_scale = 1;
    m->attention_out = m->attention_in; /* the values' */
    m->attention_in = m->space_in = m->space_out = m->gate = m->down = 1;
}

/* Settings that are true of such weights: what is 1 once they are forgotten is 1 for every reader. */
static void folded_config(const model *base, json_t *o)
{
    falcon_h1 m = *(const falcon_h1 *)base;
    forget_factors(&m);
    for (size_t i = 0; i < sizeof config / sizeof *config; i++) {
        const char *name = config[i].hf ? strstr(config[i].hf, "_multiplier") : NULL;
        float was, v;
        if (!name || name[11])
            continue;
        memcpy(&was, (const char *)base + config[i].offset, sizeof was);
        memcpy(&v, (const char *)&m + config[i].offset, sizeof v);
        if (v != was)
            json_object_set_new(o, config[i].hf, json_real((double)v));
    }
    json_object_set_new(o, "mlp_multipliers", json_pack("[f, f]", 1.0, 1.0));
    json_object_set_new(o, "ssm_multipliers", json_pack("[f, f, f, f, f]", 1.0, 1.0, 1.0, 1.0, 1.0));
}

/* As mlx-lm tells: by the taps of a convolution, [C, K, 1] where the factors are in the weights. */
static bool is_folded(const falcon_h1 *m)
{
    mlx_array conv = ((const h1_layer *)m->d.base.layers)[0].space.conv.w;
    return mlx_array_ndim(conv) == 3 && mlx_array_dim(conv, 2) <= mlx_array_dim(conv, 1);
}

static void spread_factors(falcon_h1 *m)
{
    const nn_mamba2 *s = &m->space;
    int side = s->groups * s->state, at = 0;
    int widths[N_SPACE_FACTORS] = {m->inner, m->inner, side, side, s->heads};
    float *all = nx_malloc((size_t)m->in_rows * sizeof *all);
    for (int i = 0; i < N_SPACE_FACTORS; i++)
        for (int k = 0; k < widths[i]; k++)
            all[at++] = m->each[i];
    m->factors = mlx_array_new_data(all, &m->in_rows, 1, MLX_FLOAT32);
    free(all);
}

static bool prepare(model *base, nn_source *source)
{
    falcon_h1 *m = (falcon_h1 *)base;
    for (int i = 0; i < base->n_layers; i++) {
        const nn_mamba2_weights *w = &((h1_layer *)base->layers)[i].space;
        bool ok = mlx_array_size(w->conv.w) == (size_t)m->channels * (size_t)m->space.conv &&
                  mlx_array_size(w->a.w) == (size_t)m->space.heads &&
                  mlx_array_size(w->d.w) == (size_t)m->space.heads &&
                  (!m->normed || (w->norm.form != NN_ABSENT && mlx_array_size(w->norm.w) == (size_t)m->inner));
        if (!ok)
            return nx_fail("[falcon_h1] the state space of layer %d (conv1d, A, D, norm) has another shape "
                           "than the settings say", i);
    }
    if (is_folded(m))
        forget_factors(m);
    else
        spread_factors(m);
    m->d.attention.scale *= m->key; /* q (f k)' = f q k' */
    return decoder_prepare(base, source);
}

static void clear(model *base)
{
    mlx_array_free(((falcon_h1 *)base)->factors);
    decoder_clear(base);
}

static mlx_array feed(nn *c, falcon_h1 *m, nn_mlp_weights *w, mlx_array x)
{
    mlx_array y[2];
    nn_linears(c, x, (nn_weight *[]){&w->gate, &w->up}, (nn_weight *[]){&w->gate_bias, &w->up_bias}, 2, y);
    mlx_array h = nn_gated(c, m->d.act, nn_scale(c, y[0], m->gate), y[1]);
    return nn_scale(c, nn_linear(c, h, &w->down, &w->down_bias), m->down);
}

static mlx_array layer(nn *c, decoder *d, int i, const nn_batch *b, mlx_array x)
{
    falcon_h1 *m = (falcon_h1 *)d;
    h1_layer *l = &((h1_layer *)d->base.layers)[i];
    mlx_array h = nn_norm(c, &d->norm, x, &l->base.attn_norm, NULL);
    mlx_array space = nn_mamba2_block(c, &m->space, &l->space, b, i, nn_scale(c, h, m->space_in), m->factors);
    mlx_array seen = nn_attention_block(c, &d->attention, &d->norm, &l->base.attn, b, i,
                                        nn_scale(c, h, m->attention_in));
    x = nn_add(c, x, nn_add(c, nn_scale(c, space, m->space_out), nn_scale(c, seen, m->attention_out)));
    return nn_add(c, x, feed(c, m, &l->base.mlp, nn_norm(c, &d->norm, x, &l->base.mlp_norm, NULL)));
}

static mlx_array forward(nn *c, model *m, const nn_batch *b)
{
    return decoder_forward(c, m, b, layer);
}

const model_arch falcon_h1_arch = {
    .name = "falcon_h1", .size = sizeof(falcon_h1), .layer_size = sizeof(h1_layer),
    .config = config, .n_config = sizeof config / sizeof *config,
    .weights = weights, .n_weights = sizeof weights / sizeof *weights,
    .setup = setup, .prepare = prepare, .clear = clear, .forward = forward,
    .folded_config = folded_config,
};
