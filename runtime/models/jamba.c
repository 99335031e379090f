/*
 * jamba.c: Jamba: layers of Mamba 1 among few of attention without positions, each before an MLP or
 * experts.
 */
#include "base/error.h"
#include "runtime/models/decoder.h"
#include "runtime/nn/ssm.h"

extern const model_arch jamba_arch;

typedef struct {
    decoder_layer base;
    nn_mamba1_weights space;
} jamba_layer;

typedef struct {
    decoder d;
    nn_mamba1 space;
    int expand, attention_offset, attention_period, expert_offset, expert_period;
    int in_rows, part_rows; /* shapes */
} jamba;

#define OWN(member) offsetof(jamba, member)
static const config_row config[] = {
    DECODER_CONFIG,
    RMS_NORM_CONFIG,
    {"mamba_expand", NULL, CONFIG_INT, OWN(expand), 2, false},
    {"mamba_d_state", NULL, CONFIG_INT, OWN(space.state), 16, false},
    {"mamba_d_conv", NULL, CONFIG_INT, OWN(space.conv), 4, false},
    {"mamba_dt_rank", NULL, CONFIG_INT, OWN(space.rank), 0, false},
    {"attn_layer_offset", NULL, CONFIG_INT, OWN(attention_offset), 4, false},
    {"attn_layer_period", NULL, CONFIG_INT, OWN(attention_period), 8, false},
    {"expert_layer_offset", NULL, CONFIG_INT, OWN(expert_offset), 1, false},
    {"expert_layer_period", NULL, CONFIG_INT, OWN(expert_period), 2, false},
};

#define ON_SPACE     WEIGHT_KIND(LAYER_RECURRENT)
#define ON_ATTENTION WEIGHT_KIND(LAYER_ATTENTION)
#define ON_DENSE     WEIGHT_KIND(LAYER_DENSE)
#define MINE(hf, flags, member, rows, cols)                                                        \
    {"model.layers.%d.mamba." hf, NULL, WEIGHT_LAYER | ON_SPACE | (flags),                         \
     offsetof(jamba_layer, space.member), rows, cols}
static const weight_row weights[] = {
    EMBED_ROW,
    HEAD_ROW,
    {"model.final_layernorm.weight", NULL, 0, DECODER(final_norm), 0, HIDDEN},
    VECTOR("input_layernorm.weight", "attn_norm.weight", 0, attn_norm, HIDDEN),
    VECTOR("pre_ff_layernorm.weight", "ffn_norm.weight", 0, mlp_norm, HIDDEN),
    MATRIX("self_attn.q_proj.weight", "attn_q.weight", ON_ATTENTION, attn.q, Q, HIDDEN),
    MATRIX("self_attn.k_proj.weight", "attn_k.weight", ON_ATTENTION, attn.k, KV, HIDDEN),
    MATRIX("self_attn.v_proj.weight", "attn_v.weight", ON_ATTENTION, attn.v, KV, HIDDEN),
    MATRIX("self_attn.o_proj.weight", "attn_output.weight", ON_ATTENTION, attn.o, HIDDEN, Q),
    MATRIX("feed_forward.gate_proj.weight", "ffn_gate.weight", ON_DENSE, mlp.gate, FF, HIDDEN),
    MATRIX("feed_forward.up_proj.weight", "ffn_up.weight", ON_DENSE, mlp.up, FF, HIDDEN),
    MATRIX("feed_forward.down_proj.weight", "ffn_down.weight", ON_DENSE, mlp.down, HIDDEN, FF),
    ROUTER_ROW("feed_forward.router"),
    EXPERT_ROWS("feed_forward", "gate_proj", "up_proj", "down_proj"),
    MINE("in_proj.weight", 0, in, OWN(in_rows), HIDDEN),
    MINE("in_proj.bias", WEIGHT_OPTIONAL, in_bias, 0, OWN(in_rows)),
    MINE("conv1d.weight", WEIGHT_NUMBERS, conv, 0, 0),
    MINE("conv1d.bias", WEIGHT_OPTIONAL, conv_bias, 0, OWN(space.inner)),
    MINE("x_proj.weight", 0, parts, OWN(part_rows), OWN(space.inner)),
    MINE("dt_proj.weight", 0, step, OWN(space.inner), OWN(space.rank)),
    MINE("dt_proj.bias", 0, step_bias, 0, OWN(space.inner)),
    MINE("A_log", WEIGHT_NUMBERS, a, 0, 0),
    MINE("D", WEIGHT_NUMBERS, d, 0, 0),
    MINE("dt_layernorm.weight", 0, step_norm, 0, OWN(space.rank)),
    MINE("b_layernorm.weight", 0, in_norm, 0, OWN(space.state)),
    MINE("c_layernorm.weight", 0, out_norm, 0, OWN(space.state)),
    MINE("out_proj.weight", 0, out, HIDDEN, OWN(space.inner)),
    MINE("out_proj.bias", WEIGHT_OPTIONAL, out_bias, 0, HIDDEN),
};

static bool on_period(int i, int offset, int period)
{
    return period > 0 && i >= offset && (i - offset) % period == 0;
}

static bool setup(model *base, const config_source *from)
{
    jamba *m = (jamba *)base;
    decoder *d = &m->d;
    if (m->expand < 1 || m->expand > 64 || base->hidden_size > 1 << 20)
        return nx_fail("[jamba] mamba_expand %d of hidden_size %d is not possible", m->expand,
                       base->hidden_size);
    m->space.inner = m->expand * base->hidden_size;
    if (m->space.rank == 0) /* "auto" */
        m->space.rank = (base->hidden_size + 15) / 16;
    if (!nn_mamba1_check(&m->space, "jamba") || !decoder_activation(d, from, "silu") ||
        !decoder_setup(d, from, false))
        return false;
    m->space.eps = d->norm.eps;
    m->in_rows = 2 * m->space.inner;
    m->part_rows = m->space.rank + 2 * m->space.state;
    for (int i = 0; i < base->n_layers; i++) {
        bool attends = on_period(i, m->attention_offset, m->attention_period);
        bool experts = base->n_experts > 1 && on_period(i, m->expert_offset, m->expert_period);
        base->kinds[i] = (attends ? LAYER_ATTENTION | LAYER_UNTURNED : LAYER_RECURRENT) |
                         (experts ? LAYER_MOE : LAYER_DENSE);
        if (!attends)
            nn_mamba1_cache(&m->space, &base->caches[i]);
    }
    return true;
}

static bool prepare(model *base, nn_source *source)
{
    jamba *m = (jamba *)base;
    size_t inner = (size_t)m->space.inner;
    for (int i = 0; i < base->n_layers; i++) {
        const nn_mamba1_weights *w = &((jamba_layer *)base->layers)[i].space;
        if (base->kinds[i] & LAYER_RECURRENT &&
            (mlx_array_size(w->conv.w) != inner * (size_t)m->space.conv || mlx_array_size(w->d.w) != inner ||
             mlx_array_size(w->a.w) != inner * (size_t)m->space.state))
            return nx_fail("[jamba] the state space of layer %d (conv1d, A_log, D) has another shape than the "
                           "settings say", i);
    }
    return decoder_prepare(base, source);
}

static mlx_array layer(nn *c, decoder *d, int i, const nn_batch *b, mlx_array x)
{
    jamba_layer *l = &((jamba_layer *)d->base.layers)[i];
    unsigned kind = d->base.kinds[i];
    nn_attention a = d->attention;
    a.rope.dims = 0;
    mlx_array h = nn_norm(c, &d->norm, x, &l->base.attn_norm, NULL);
    if (kind & LAYER_ATTENTION)
        h = nn_attention_block(c, &a, &d->norm, &l->base.attn, b, i, h);
    else
        h = nn_mamba1_block(c, &((jamba *)d)->space, &l->space, b, i, h);
    x = nn_add(c, x, h);
    h = nn_norm(c, &d->norm, x, &l->base.mlp_norm, NULL);
    return nn_add(c, x, kind & LAYER_MOE ? nn_moe(c, &d->router, &l->base.moe, h)
                                         : nn_mlp(c, d->act, &l->base.mlp, h));
}

static mlx_array forward(nn *c, model *m, const nn_batch *b)
{
    return decoder_forward(c, m, b, layer);
}

const model_arch jamba_arch = {
    .name = "jamba", .size = sizeof(jamba), .layer_size = sizeof(jamba_layer),
    .config = config, .n_config = sizeof config / sizeof *config,
    .weights = weights, .n_weights = sizeof weights / sizeof *weights,
    .setup = setup, .prepare = prepare, .clear = decoder_clear, .forward = forward,
};
