/*
 * rwkv7.c: RWKV-7: no attention; each layer mixes a token with the one before it, reads a state that
 * every token decays, corrects and adds to, and ends with a feed-forward network of squares.
 *
 *     S = S diag(w) + (S a) b' + v k';  y = S r          S [head, head], for each head
 *     w = exp(-e^-1/2 sigmoid(.)),  a = -k^,  b = k^ rate,  k^ of length one
 *
 * From the second layer on values are mixed with the first layer's.
 */
#include <string.h>

#include "base/error.h"
#include "runtime/models/decoder.h"
#include "runtime/nn/ssm.h"

extern const model_arch rwkv7_arch;

/* down then up, with something between */
typedef struct {
    nn_weight down, up, bias;
} low_rank;

typedef struct {
    decoder_layer base;
    nn_weight pre_norm, pre_norm_bias;
    nn_weight x_r, x_w, x_k, x_v, x_a, x_g, ffn_x; /* how much of the token before */
    nn_weight k_k, k_a, r_k;                       /* [heads, head_dim] */
    nn_weight r, k, v, o, head_norm, head_norm_bias;
    low_rank decay, rate, value, gate;
} rwkv_layer;

typedef struct {
    decoder d;
    int rate_rank, value_rank, gate_rank, decay_rank;
    mlx_array first_values; /* of the first layer, while a pass runs: a reference of our own */
} rwkv7;

enum { FIRST = 1, LATER = 2 }; /* kinds of layers */
enum { SHIFT, STATE, FFN_SHIFT }; /* states of the cache */

#define OWN(member) offsetof(rwkv7, member)
static const config_row config[] = {
    DECODER_CONFIG,
    {"norm_eps", NULL, CONFIG_FLOAT, DECODER(norm.eps), 1e-5, false},
    {"a_low_rank_dim", NULL, CONFIG_INT, OWN(rate_rank), 64, false},
    {"v_low_rank_dim", NULL, CONFIG_INT, OWN(value_rank), 32, false},
    {"gate_low_rank_dim", NULL, CONFIG_INT, OWN(gate_rank), 128, false},
    {"decay_low_rank_dim", NULL, CONFIG_INT, OWN(decay_rank), 64, false},
};

#define MINE(hf, flags, member, rows, cols)                                                        \
    {"model.layers.%d." hf, NULL, WEIGHT_LAYER | (flags), offsetof(rwkv_layer, member), rows, cols}
#define NUMBERS(hf, member) MINE(hf, WEIGHT_NUMBERS, member, 0, 0)
#define SQUARE(hf, member)  MINE(hf, 0, member, HIDDEN, HIDDEN)
#define LOW_RANK(hf, flags, member, rank)                                                          \
    MINE(hf ".lora.0.weight", flags, member.down, OWN(rank), HIDDEN),                              \
    MINE(hf ".lora.2.weight", flags, member.up, HIDDEN, OWN(rank))
#define LOW_RANK_BIAS(hf, flags, member) MINE(hf ".lora.2.bias", flags, member.bias, 0, HIDDEN)
#define NORM_OF(hf, flags, member)                                                                 \
    MINE(hf ".weight", flags, member, 0, HIDDEN), MINE(hf ".bias", flags, member##_bias, 0, HIDDEN)
static const weight_row weights[] = {
    {"model.embeddings.weight", NULL, 0, DECODER(embed), BASE(vocab_size), HIDDEN},
    HEAD_ROW,
    {"model.norm.weight", NULL, 0, DECODER(final_norm), 0, HIDDEN},
    {"model.norm.bias", NULL, 0, DECODER(final_norm_bias), 0, HIDDEN},
    NORM_OF("pre_norm", WEIGHT_KIND(FIRST), pre_norm),
    NORM_OF("attn_norm", 0, base.attn_norm),
    NORM_OF("ffn_norm", 0, base.mlp_norm),
    NUMBERS("attn.x_r", x_r), NUMBERS("attn.x_w", x_w), NUMBERS("attn.x_k", x_k),
    NUMBERS("attn.x_v", x_v), NUMBERS("attn.x_a", x_a), NUMBERS("attn.x_g", x_g),
    NUMBERS("attn.k_k", k_k), NUMBERS("attn.k_a", k_a), NUMBERS("attn.r_k", r_k),
    SQUARE("attn.r_proj.weight", r), SQUARE("attn.k_proj.weight", k),
    SQUARE("attn.v_proj.weight", v), SQUARE("attn.o_proj.weight", o),
    NUMBERS("attn.g_norm.weight", head_norm), NUMBERS("attn.g_norm.bias", head_norm_bias),
    LOW_RANK("attn.w_lora", 0, decay, decay_rank), LOW_RANK_BIAS("attn.w_lora", 0, decay),
    LOW_RANK("attn.a_lora", 0, rate, rate_rank), LOW_RANK_BIAS("attn.a_lora", 0, rate),
    LOW_RANK("attn.v_lora", WEIGHT_KIND(LATER), value, value_rank),
    LOW_RANK_BIAS("attn.v_lora", WEIGHT_KIND(LATER), value),
    LOW_RANK("attn.g_lora", 0, gate, gate_rank),
    NUMBERS("ffn.x_k", ffn_x),
    MINE("ffn.key.weight", 0, base.mlp.up, FF, HIDDEN),
    MINE("ffn.value.weight", 0, base.mlp.down, HIDDEN, FF),
};

static bool setup(model *base, const config_source *from)
{
    rwkv7 *m = (rwkv7 *)base;
    int dim = base->head_dim, d = base->hidden_size;
    if (dim < 1 || d < 1 || d % dim != 0)
        return nx_fail("[rwkv7] hidden_size %d is not made of heads of %d", d, dim);
    base->n_heads = base->n_kv_heads = d / dim;
    m->d.norm.centred = true;
    m->d.act = NN_RELU2;
    if (!decoder_setup(&m->d, from, false))
        return false;
    decoder_kinds(&m->d, LATER);
    base->kinds[0] = FIRST;
    for (int i = 0; i < base->n_layers; i++)
        base->caches[i] = (nn_cache_shape){.state = {{1, 1, d}, {base->n_heads, dim, dim}, {1, 1, d}}};
    return true;
}

static bool prepare(model *base, nn_source *source)
{
    size_t d = (size_t)base->hidden_size;
    for (int i = 0; i < base->n_layers; i++) {
        const rwkv_layer *l = &((rwkv_layer *)base->layers)[i];
        const nn_weight *all[] = {&l->x_r, &l->x_w, &l->x_k, &l->x_v, &l->x_a, &l->x_g, &l->ffn_x, &l->k_k,
                                  &l->k_a, &l->r_k, &l->head_norm, &l->head_norm_bias};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            if (mlx_array_size(all[k]->w) != d)
                return nx_fail("[rwkv7] a mixing vector of layer %d does not hold %d numbers", i,
                               base->hidden_size);
    }
    return decoder_prepare(base, source);
}

/* ---- the token before ---- */

typedef struct {
    int layer, state;
} shift_args;

static mlx_array shift_segment(nn *c, const nn_segment *g, mlx_array x, void *arg)
{
    const shift_args *a = arg;
    if (c->failed)
        return x;
    int t = g->count, d = mlx_array_dim(x, 1);
    mlx_array before = nn_reshape(c, nn_cache_state(c, g->cache, a->layer, a->state), (int[]){1, d}, 2);
    mlx_array all = nn_concat(c, (mlx_array[]){before, x}, 2, 0);
    mlx_array last = nn_reshape(c, nn_rows(c, all, t, t + 1), (int[]){1, 1, d}, 3);
    nn_cache_set_state(c, g->cache, a->layer, a->state, t, last);
    return nn_rows(c, all, 0, t);
}

/* What the token before x has more than x. */
static mlx_array behind(nn *c, const nn_batch *b, int layer, int state, mlx_array x)
{
    mlx_array before = nn_each_segment(c, b, x, shift_segment, &(shift_args){layer, state});
    return NN_CALL(c, mlx_subtract, before, x);
}

/* x + difference * share */
static mlx_array mixed(nn *c, mlx_array x, mlx_array difference, nn_weight *share)
{
    int d = c->failed ? 1 : mlx_array_dim(x, 1);
    return nn_add(c, x, nn_mul(c, difference, nn_reshape(c, nn_vector(c, share), (int[]){1, d}, 2)));
}

/* ---- the state ---- */

typedef struct {
    int layer, heads, dim;
} state_args;

enum { R, W, K, V, A, B, N_PARTS }; /* side by side */

static mlx_array state_segment(nn *c, const nn_segment *g, mlx_array x, void *arg)
{
    const state_args *s = arg;
    int t = g->count, h = s->heads, n = s->dim, d = h * n;
    mlx_array p[N_PARTS];
    for (int k = 0; k < N_PARTS; k++)
        p[k] = nn_reshape(c, nn_slice(c, x, 1, k * d, (k + 1) * d), (int[]){t, h, n}, 3);
    nn_recurrence r = {.decay = p[W], .k = p[K], .v = p[V], .q = p[R], .a = p[A], .b = p[B]};
    return nn_reshape(c, nn_recur(c, g, s->layer, STATE, &r), (int[]){t, d}, 2);
}

/* ---- one layer ---- */

static mlx_array by_heads(nn *c, const model *m, mlx_array x, int t)
{
    return nn_reshape(c, x, (int[]){t, m->n_heads, m->head_dim}, 3);
}

static mlx_array head_vector(nn *c, const model *m, nn_weight *w)
{
    return by_heads(c, m, nn_vector(c, w), 1);
}

static mlx_array of_length_one(nn *c, mlx_array x)
{
    mlx_array length = NN_CALL(c, mlx_sqrt, NN_CALL(c, mlx_sum_axis, nn_mul(c, x, x), -1, true));
    return NN_CALL(c, mlx_divide, x, NN_CALL(c, mlx_maximum, length, nn_number(c, 1e-7f, MLX_FLOAT32)));
}

/* up(between(down(x))); between: one of the engine's, or NULL */
static mlx_array through(nn *c, low_rank *w, int (*between)(mlx_array *, mlx_array, mlx_stream), mlx_array x)
{
    mlx_array h = nn_linear(c, x, &w->down, NULL);
    return nn_linear(c, between ? NN_CALL(c, between, h) : h, &w->up, &w->bias);
}

static mlx_array mix_values(nn *c, rwkv7 *m, rwkv_layer *l, int i, mlx_array v, mlx_array x)
{
    if (i == 0) {
        if (!c->failed)
            mlx_array_set(&m->first_values, v);
        return v;
    }
    mlx_array share = NN_CALL(c, mlx_sigmoid, through(c, &l->value, NULL, x));
    return nn_add(c, v, nn_mul(c, NN_CALL(c, mlx_subtract, m->first_values, v), share));
}

static mlx_array mix_time(nn *c, rwkv7 *m, rwkv_layer *l, int i, const nn_batch *b, mlx_array x)
{
    const model *base = &m->d.base;
    int t = b->n_tokens, d = base->hidden_size;
    mlx_array more = behind(c, b, i, SHIFT, x), to_v = mixed(c, x, more, &l->x_v);
    mlx_array r = nn_linear(c, mixed(c, x, more, &l->x_r), &l->r, NULL);
    mlx_array k = by_heads(c, base, nn_linear(c, mixed(c, x, more, &l->x_k), &l->k, NULL), t);
    mlx_array v = mix_values(c, m, l, i, nn_linear(c, to_v, &l->v, NULL), to_v);
    mlx_array rate = NN_CALL(c, mlx_sigmoid, through(c, &l->rate, NULL, mixed(c, x, more, &l->x_a)));
    rate = by_heads(c, base, rate, t);
    mlx_array gate = through(c, &l->gate, mlx_sigmoid, mixed(c, x, more, &l->x_g));
    mlx_array w = NN_CALL(c, mlx_sigmoid, through(c, &l->decay, mlx_tanh, mixed(c, x, more, &l->x_w)));
    w = NN_CALL(c, mlx_exp, nn_scale(c, w, -0.606531f));
    mlx_array unit = of_length_one(c, nn_mul(c, k, head_vector(c, base, &l->k_k)));
    k = nn_mul(c, k, nn_shift(c, nn_mul(c, nn_shift(c, rate, -1), head_vector(c, base, &l->k_a)), 1));
    mlx_array parts[N_PARTS] = {r, w, k, v, NN_CALL(c, mlx_negative, unit), nn_mul(c, unit, rate)};
    for (int p = 0; p < N_PARTS; p++)
        parts[p] = nn_reshape(c, parts[p], (int[]){t, d}, 2);
    mlx_array y = nn_each_segment(c, b, nn_concat(c, parts, N_PARTS, 1), state_segment,
                                  &(state_args){i, base->n_heads, base->head_dim});
    y = nn_layer_norm(c, by_heads(c, base, y, t), (mlx_array){0}, (mlx_array){0}, 64e-5f);
    y = nn_add(c, nn_mul(c, y, head_vector(c, base, &l->head_norm)), head_vector(c, base, &l->head_norm_bias));
    mlx_array own = nn_mul(c, nn_mul(c, by_heads(c, base, r, t), k), head_vector(c, base, &l->r_k));
    own = NN_CALL(c, mlx_sum_axis, own, -1, true);
    y = nn_add(c, y, nn_mul(c, own, by_heads(c, base, v, t)));
    return nn_linear(c, nn_mul(c, nn_reshape(c, y, (int[]){t, d}, 2), gate), &l->o, NULL);
}

static mlx_array layer(nn *c, decoder *d, int i, const nn_batch *b, mlx_array x)
{
    rwkv_layer *l = &((rwkv_layer *)d->base.layers)[i];
    if (d->base.kinds[i] & FIRST)
        x = nn_norm(c, &d->norm, x, &l->pre_norm, &l->pre_norm_bias);
    mlx_array h = nn_norm(c, &d->norm, x, &l->base.attn_norm, &l->base.attn_norm_bias);
    x = nn_add(c, x, mix_time(c, (rwkv7 *)d, l, i, b, h));
    h = nn_norm(c, &d->norm, x, &l->base.mlp_norm, &l->base.mlp_norm_bias);
    h = mixed(c, h, behind(c, b, i, FFN_SHIFT, h), &l->ffn_x);
    return nn_add(c, x, nn_mlp(c, d->act, &l->base.mlp, h));
}

static mlx_array forward(nn *c, model *m, const nn_batch *b)
{
    rwkv7 *own = (rwkv7 *)m;
    mlx_array y = decoder_forward(c, m, b, layer);
    mlx_array_free(own->first_values);
    own->first_values = (mlx_array){0};
    return y;
}

const model_arch rwkv7_arch = {
    .name = "rwkv7", .size = sizeof(rwkv7), .layer_size = sizeof(rwkv_layer),
    .config = config, .n_config = sizeof config / sizeof *config,
    .weights = weights, .n_weights = sizeof weights / sizeof *weights,
    .setup = setup, .prepare = prepare, .clear = decoder_clear, .forward = forward,
};
