/*
 * qwen3_next.c: Qwen3-Next: layers of the gated delta rule, every fourth one of attention whose output
 * has a gate, each before experts with a shared one.
 *
 *     delta:      q, k, v = silu(conv(q, k, v));  decay = exp(-exp(A) softplus(a + dt));  beta = sigmoid(b)
 *                 y = out(norm(rule(q / |q|, k / |k|, v, decay, beta)) * silu(z))
 *     attention:  y = o(attend(q, k, v) * sigmoid(gate)), q and gate from one matrix, head by head
 */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "runtime/models/decoder.h"
#include "runtime/nn/ssm.h"

extern const model_arch qwen3_next_arch;

typedef struct {
    decoder_layer base;
    nn_weight q_gate; /* [2 q_size, D] */
    nn_weight in, gates, conv, dt_bias, a, norm, out;
} next_layer;

typedef struct {
    decoder d;
    int key_heads, value_heads, key_dim, value_dim, taps, interval;
    int q_gate_rows, in_rows, gate_rows, inner, channels; /* shapes */
} qwen3_next;

#define OWN(member) offsetof(qwen3_next, member)
static const config_row config[] = {
    DECODER_CONFIG,
    RMS_NORM_CONFIG,
    {"linear_num_key_heads", NULL, CONFIG_INT, OWN(key_heads), 0, true},
    {"linear_num_value_heads", NULL, CONFIG_INT, OWN(value_heads), 0, true},
    {"linear_key_head_dim", NULL, CONFIG_INT, OWN(key_dim), 0, true},
    {"linear_value_head_dim", NULL, CONFIG_INT, OWN(value_dim), 0, true},
    {"linear_conv_kernel_dim", NULL, CONFIG_INT, OWN(taps), 4, false},
    {"full_attention_interval", NULL, CONFIG_INT, OWN(interval), 4, false},
};

#define LESS_ONE     (WEIGHT_PLUS_ONE | WEIGHT_NOT_MLX)
#define ON_DELTA     WEIGHT_KIND(LAYER_RECURRENT)
#define ON_ATTENTION WEIGHT_KIND(LAYER_ATTENTION)
#define MINE(hf, flags, member, rows, cols)                                                        \
    {"model.layers.%d." hf, NULL, WEIGHT_LAYER | (flags), offsetof(next_layer, member), rows, cols}
static const weight_row weights[] = {
    ENDS_ROWS(LESS_ONE),
    PRE_NORM_ROWS(LESS_ONE),
    MINE("self_attn.q_proj.weight", ON_ATTENTION, q_gate, OWN(q_gate_rows), HIDDEN),
    MATRIX("self_attn.k_proj.weight", "attn_k.weight", ON_ATTENTION, attn.k, KV, HIDDEN),
    MATRIX("self_attn.v_proj.weight", "attn_v.weight", ON_ATTENTION, attn.v, KV, HIDDEN),
    MATRIX("self_attn.o_proj.weight", "attn_output.weight", ON_ATTENTION, attn.o, HIDDEN, Q),
    QK_NORM_ROWS(ON_ATTENTION | LESS_ONE),
    MINE("linear_attn.in_proj_qkvz.weight", ON_DELTA, in, OWN(in_rows), HIDDEN),
    MINE("linear_attn.in_proj_ba.weight", ON_DELTA, gates, OWN(gate_rows), HIDDEN),
    MINE("linear_attn.conv1d.weight", ON_DELTA | WEIGHT_NUMBERS, conv, 0, 0),
    MINE("linear_attn.dt_bias", ON_DELTA, dt_bias, 0, OWN(value_heads)),
    MINE("linear_attn.A_log", ON_DELTA | WEIGHT_NUMBERS, a, 0, 0),
    MINE("linear_attn.norm.weight", ON_DELTA, norm, 0, OWN(value_dim)),
    MINE("linear_attn.out_proj.weight", ON_DELTA, out, HIDDEN, OWN(inner)),
    MLP_ROWS(WEIGHT_KIND(LAYER_DENSE)),
    ROUTER_ROW("mlp.gate"),
    EXPERT_ROWS("mlp", "gate_proj", "up_proj", "down_proj"),
    SHARED_ROWS("mlp.shared_expert."),
    SHARED_GATE_ROW("mlp.shared_expert_gate.weight"),
};

static bool attends(const qwen3_next *m, const config_source *from, int i)
{
    const json_t *types = nx_json_get(from->json, "layer_types");
    const char *type = json_string_value(json_array_get(types, (size_t)i));
    return type ? strcmp(type, "full_attention") == 0 : m->interval > 0 && (i + 1) % m->interval == 0;
}

static bool check(const qwen3_next *m)
{
    int most = 1 << 12;
    bool ok = m->key_heads > 0 && m->key_heads < most && m->value_heads > 0 && m->value_heads < most &&
              m->value_heads % m->key_heads == 0 && m->key_dim > 0 && m->key_dim < most &&
              m->value_dim > 0 && m->value_dim < most && m->taps > 1 && m->taps < 256;
    return ok || nx_fail("[qwen3_next] %d key heads of %d, %d value heads of %d and %d taps make no delta rule",
                         m->key_heads, m->key_dim, m->value_heads, m->value_dim, m->taps);
}

static bool setup(model *base, const config_source *from)
{
    qwen3_next *m = (qwen3_next *)base;
    decoder *d = &m->d;
    if (!check(m) || !decoder_activation(d, from, "silu") || !decoder_setup(d, from, false))
        return false;
    int keys = m->key_heads * m->key_dim;
    m->inner = m->value_heads * m->value_dim;
    m->channels = 2 * keys + m->inner;
    m->in_rows = 2 * keys + 2 * m->inner;
    m->gate_rows = 2 * m->value_heads;
    m->q_gate_rows = 2 * d->q_size;
    d->router.normalised = nx_json_get_bool(from->json, "norm_topk_prob", false);
    decoder_moe_kinds(d, from, 0, nx_int_of(config_item(from, "decoder_sparse_step", NULL, 0, 1)));
    for (int i = 0; i < base->n_layers; i++) {
        base->kinds[i] |= (base->kinds[i] & LAYER_MOE ? LAYER_SHARED : 0) |
                          (attends(m, from, i) ? LAYER_ATTENTION : LAYER_RECURRENT);
        if (base->kinds[i] & LAYER_RECURRENT)
            base->caches[i] = (nn_cache_shape){
                .state = {{1, m->taps - 1, m->channels}, {m->value_heads, m->value_dim, m->key_dim}}};
    }
    return true;
}

static bool prepare(model *base, nn_source *source)
{
    qwen3_next *m = (qwen3_next *)base;
    for (int i = 0; i < base->n_layers; i++) {
        const next_layer *l = &((next_layer *)base->layers)[i];
        if (base->kinds[i] & LAYER_RECURRENT &&
            (mlx_array_size(l->conv.w) != (size_t)m->channels * (size_t)m->taps ||
             mlx_array_size(l->a.w) != (size_t)m->value_heads))
            return nx_fail("[qwen3_next] conv1d or A_log of layer %d has another shape than the settings say", i);
    }
    return decoder_prepare(base, source);
}

/* ---- attention ---- */

/* Each head of x [T, heads * dim] normed. */
static mlx_array head_norm(nn *c, const decoder *d, mlx_array x, nn_weight *w, int t, int heads)
{
    int dim = d->base.head_dim;
    x = nn_reshape(c, x, (int[]){t, heads, dim}, 3);
    return nn_reshape(c, nn_rms_norm(c, x, nn_vector(c, w), d->norm.eps), (int[]){t, heads * dim}, 2);
}

static mlx_array attend(nn *c, decoder *d, next_layer *l, int i, const nn_batch *b, mlx_array x)
{
    int t = b->n_tokens, heads = d->base.n_heads, dim = d->base.head_dim;
    mlx_array y[3];
    nn_linears(c, x, (nn_weight *[]){&l->q_gate, &l->base.attn.k, &l->base.attn.v}, NULL, 3, y);
    mlx_array both = nn_reshape(c, y[0], (int[]){t, heads, 2 * dim}, 3);
    mlx_array gate = nn_reshape(c, nn_slice(c, both, 2, dim, 2 * dim), (int[]){t, heads * dim}, 2);
    mlx_array q = head_norm(c, d, nn_slice(c, both, 2, 0, dim), &l->base.attn.q_norm, t, heads);
    mlx_array k = head_norm(c, d, y[1], &l->base.attn.k_norm, t, d->base.n_kv_heads);
    mlx_array seen = nn_attend(c, &d->attention, b, i, q, k, y[2], (mlx_array){0});
    return nn_linear(c, nn_mul(c, seen, NN_CALL(c, mlx_sigmoid, gate)), &l->base.attn.o, NULL);
}

/* ---- the delta rule ---- */

typedef struct {
    qwen3_next *m;
    next_layer *l;
    int layer;
} delta_args;

/* Key heads of length one, times `factor`: [T, key_heads, key_dim] */
static mlx_array unit_heads(nn *c, const qwen3_next *m, mlx_array x, int begin, int t, float factor)
{
    int keys = m->key_heads * m->key_dim;
    float root = 1 / sqrtf((float)m->key_dim);
    x = nn_reshape(c, nn_slice(c, x, 1, begin, begin + keys), (int[]){t, m->key_heads, m->key_dim}, 3);
    return nn_scale(c, nn_rms_norm(c, x, (mlx_array){0}, 1e-6f * root * root), root * factor);
}

/* One text's q, k, v and gates, [T, channels + 2 value_heads], to [T, inner]. */
static mlx_array delta_segment(nn *c, const nn_segment *g, mlx_array x, void *arg)
{
    const delta_args *a = arg;
    const qwen3_next *m = a->m;
    int t = g->count, keys = m->key_heads * m->key_dim, h = m->value_heads, n = m->channels;
    mlx_array mixed = nn_short_conv(c, g, a->layer, 0, nn_slice(c, x, 1, 0, n), nn_vector(c, &a->l->conv),
                                    (mlx_array){0}, m->taps);
    mixed = nn_silu(c, mixed);
    mlx_array q = unit_heads(c, m, mixed, 0, t, 1 / sqrtf((float)m->key_dim));
    mlx_array k = unit_heads(c, m, mixed, keys, t, 1);
    mlx_array v = nn_reshape(c, nn_slice(c, mixed, 1, 2 * keys, n), (int[]){t, h, m->value_dim}, 3);
    mlx_array beta = NN_CALL(c, mlx_sigmoid, nn_slice(c, x, 1, n, n + h));
    mlx_array step = nn_softplus(c, nn_add(c, nn_slice(c, x, 1, n + h, n + 2 * h), nn_vector(c, &a->l->dt_bias)));
    mlx_array rate = nn_reshape(c, NN_CALL(c, mlx_exp, nn_vector(c, &a->l->a)), (int[]){1, h}, 2);
    mlx_array decay = NN_CALL(c, mlx_exp, NN_CALL(c, mlx_negative, nn_mul(c, rate, step)));
    mlx_array y = nn_delta_rule(c, g, a->layer, 1, q, k, v, decay, beta);
    return nn_reshape(c, y, (int[]){t, m->inner}, 2);
}

/* Part begin .. begin+n-1 of each key head's rows, laid end to end. */
static mlx_array part(nn *c, mlx_array x, int t, int heads, int begin, int n)
{
    return nn_reshape(c, nn_slice(c, x, 2, begin, begin + n), (int[]){t, heads * n}, 2);
}

static mlx_array delta(nn *c, qwen3_next *m, next_layer *l, int i, const nn_batch *b, mlx_array x)
{
    int t = b->n_tokens, nk = m->key_heads, dk = m->key_dim, share = m->value_heads / nk;
    int own = share * m->value_dim;
    mlx_array given[2];
    nn_linears(c, x, (nn_weight *[]){&l->in, &l->gates}, NULL, 2, given);
    mlx_array all = nn_reshape(c, given[0], (int[]){t, nk, 2 * dk + 2 * own}, 3);
    mlx_array ba = nn_reshape(c, given[1], (int[]){t, nk, 2 * share}, 3);
    mlx_array parts[] = {part(c, all, t, nk, 0, dk), part(c, all, t, nk, dk, dk),
                         part(c, all, t, nk, 2 * dk, own), part(c, ba, t, nk, 0, share),
                         part(c, ba, t, nk, share, share)};
    mlx_array z = part(c, all, t, nk, 2 * dk + own, own);
    mlx_array y = nn_each_segment(c, b, nn_concat(c, parts, 5, 1), delta_segment, &(delta_args){m, l, i});
    y = nn_reshape(c, y, (int[]){t, m->value_heads, m->value_dim}, 3);
    y = nn_rms_norm(c, y, nn_vector(c, &l->norm), m->d.norm.eps);
    y = nn_mul(c, nn_reshape(c, y, (int[]){t, m->inner}, 2), nn_silu(c, z));
    return nn_linear(c, y, &l->out, NULL);
}

static mlx_array layer(nn *c, decoder *d, int i, const nn_batch *b, mlx_array x)
{
    next_layer *l = &((next_layer *)d->base.layers)[i];
    mlx_array h = nn_norm(c, &d->norm, x, &l->base.attn_norm, NULL);
    bool attention = d->base.kinds[i] & LAYER_ATTENTION;
    x = nn_add(c, x, attention ? attend(c, d, l, i, b, h) : delta(c, (qwen3_next *)d, l, i, b, h));
    h = nn_norm(c, &d->norm, x, &l->base.mlp_norm, NULL);
    bool experts = d->base.kinds[i] & LAYER_MOE;
    return nn_add(c, x, experts ? nn_moe(c, &d->router, &l->base.moe, h) : nn_mlp(c, d->act, &l->base.mlp, h));
}

static mlx_array forward(nn *c, model *m, const nn_batch *b)
{
    return decoder_forward(c, m, b, layer);
}

static const char *const ignored[] = {"mtp.", NULL};

const model_arch qwen3_next_arch = {
    .name = "qwen3_next", .size = sizeof(qwen3_next), .layer_size = sizeof(next_layer),
    .config = config, .n_config = sizeof config / sizeof *config,
    .weights = weights, .n_weights = sizeof weights / sizeof *weights,
    .setup = setup, .prepare = prepare, .clear = decoder_clear, .forward = forward, .ignored = ignored,
};
