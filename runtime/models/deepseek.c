/*
 * deepseek.c: DeepSeek V2 and V3: latent attention, and from the first layers on experts with groups
 * and shared ones.
 *
 * A token leaves in the cache one vector, norm(c) of `rank` numbers beside `rope_dim` turned ones, for
 * all heads. A head's keys and values are matrices K_h, V_h times norm(c); they are never made: the
 * query goes through K_h instead, and what attention gathers through V_h.
 *
 *     score_h = (q_h K_h) . norm(c) + turn(q'_h) . turn(k')      y_h = V_h sum softmax(score_h) norm(c)
 */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "runtime/models/decoder.h"

extern const model_arch deepseek_arch;

typedef struct {
    decoder_layer base; /* attn.q: of the query's own latent, where there is one; attn.o */
    nn_weight q_a, q_a_norm, kv_a, kv_a_norm;
    nn_weight kv_b;       /* [heads * (nope + v), rank] */
    nn_weight k_b, v_b;   /* [heads, rank, nope], [heads, v, rank], as some formats divide it */
} deepseek_layer;

typedef struct {
    decoder d;
    int q_rank, rank, nope, rope_dim, v_dim; /* of a head */
    int dense_first, n_shared, step;
    /* Shapes. */
    int q_in, q_out, kv_a_out, kv_b_out, o_in;
    bool sigmoid;
} deepseek;

#define OWN(member)  offsetof(deepseek, member)
#define MINE(member) offsetof(deepseek_layer, member)

static const config_row config[] = {
    DECODER_CONFIG,
    RMS_NORM_CONFIG,
    {"q_lora_rank", "attention.q_lora_rank", CONFIG_INT, OWN(q_rank), 0, false},
    {"kv_lora_rank", "attention.kv_lora_rank", CONFIG_INT, OWN(rank), 0, true},
    {"qk_rope_head_dim", "rope.dimension_count", CONFIG_INT, OWN(rope_dim), 0, true},
    {"qk_nope_head_dim", NULL, CONFIG_INT, OWN(nope), 0, false},
    {"v_head_dim", "attention.value_length_mla|attention.value_length", CONFIG_INT, OWN(v_dim), 0, true},
    {"first_k_dense_replace", "leading_dense_block_count", CONFIG_INT, OWN(dense_first), 0, false},
    {"n_shared_experts", "expert_shared_count", CONFIG_INT, OWN(n_shared), 0, false},
    {"moe_layer_freq", NULL, CONFIG_INT, OWN(step), 1, false},
    {"n_group", "expert_group_count", CONFIG_INT, DECODER(router.groups), 0, false},
    {"topk_group", "expert_group_used_count", CONFIG_INT, DECODER(router.top_groups), 0, false},
    {"routed_scaling_factor", "expert_weights_scale", CONFIG_FLOAT, DECODER(router.scaling), 1, false},
    {"norm_topk_prob", "expert_weights_norm", CONFIG_BOOL, DECODER(router.normalised), 0, false},
};

#define LATENT(hf, gguf, flags, member, rows, cols)                                                \
    {"model.layers.%d.self_attn." hf, "blk.%d." gguf, WEIGHT_LAYER | (flags), MINE(member), rows, cols}
static const weight_row weights[] = {
    ENDS_ROWS(0),
    PRE_NORM_ROWS(0),
    LATENT("q_a_proj.weight", "attn_q_a.weight", WEIGHT_OPTIONAL, q_a, OWN(q_rank), HIDDEN),
    LATENT("q_a_layernorm.weight", "attn_q_a_norm.weight", WEIGHT_OPTIONAL, q_a_norm, 0, OWN(q_rank)),
    LATENT("q_b_proj.weight|model.layers.%d.self_attn.q_proj.weight",
           "attn_q_b.weight|blk.%d.attn_q.weight", 0, base.attn.q, OWN(q_out), OWN(q_in)),
    LATENT("kv_a_proj_with_mqa.weight", "attn_kv_a_mqa.weight", 0, kv_a, OWN(kv_a_out), HIDDEN),
    LATENT("kv_a_layernorm.weight", "attn_kv_a_norm.weight", 0, kv_a_norm, 0, OWN(rank)),
    LATENT("kv_b_proj.weight", "attn_kv_b.weight", WEIGHT_OPTIONAL, kv_b, OWN(kv_b_out), OWN(rank)),
    LATENT("embed_q.weight", "attn_k_b.weight", WEIGHT_OPTIONAL | WEIGHT_NUMBERS, k_b, 0, 0),
    LATENT("unembed_out.weight", "attn_v_b.weight", WEIGHT_OPTIONAL | WEIGHT_NUMBERS, v_b, 0, 0),
    LATENT("o_proj.weight", "attn_output.weight", 0, base.attn.o, HIDDEN, OWN(o_in)),
    MLP_ROWS(WEIGHT_KIND(LAYER_DENSE)),
    ROUTER_ROW("mlp.gate"),
    CORRECTION_ROW("mlp.gate.e_score_correction_bias"),
    EXPERT_ROWS("mlp", "gate_proj", "up_proj", "down_proj"),
    SHARED_ROWS("mlp.shared_experts."),
};

/* GGUF: llama.cpp tells the sharpening of attention for long texts by a factor of the logarithm. */
static void setup_scale(deepseek *m, const config_source *from)
{
    decoder *d = &m->d;
    float scale = 1 / sqrtf((float)(m->nope + m->rope_dim));
    if (from->json) {
        const json_t *s = nx_json_get(from->json, "rope_scaling");
        scale *= nn_rope_attention_factor(s ? s : nx_json_get(from->json, "rope_parameters"));
    } else {
        double factor = config_item(from, NULL, "rope.scaling.factor", 0, 1);
        double by = config_item(from, NULL, "rope.scaling.yarn_log_multiplier", 0, 0);
        double m_all = factor > 1 ? 1 + by * log(factor) : 1;
        scale *= (float)(m_all * m_all);
        d->attention.rope.magnitude = 1;
    }
    d->attention.scale = scale;
}

static void setup_router(deepseek *m, const config_source *from)
{
    nn_router *r = &m->d.router;
    const char *method = nx_json_get_str(from->json, "topk_method", "");
    bool third = strcmp(from->arch, "deepseek_v3") == 0 ||
                 config_item(from, NULL, "expert_gating_func", 0, 1) == 2;
    r->sigmoid = r->group_by_two = third;
    if (third && from->json)
        r->normalised = nx_json_get_bool(from->json, "norm_topk_prob", true);
    else if (from->json) /* V2 scales, and never makes the sum one */
        r->normalised = false;
    if (!third && from->json && strcmp(method, "group_limited_greedy") != 0)
        r->groups = 0;
}

static bool sensible(const deepseek *m)
{
    const model *b = &m->d.base;
    const nn_router *r = &m->d.router;
    int most = 1 << 16;
    bool dims = m->rank > 0 && m->rank < most && m->nope > 0 && m->nope < most && m->rope_dim > 0 &&
                m->rope_dim < most && m->rope_dim % 2 == 0 && m->v_dim > 0 && m->v_dim < most &&
                m->q_rank >= 0 && m->q_rank < most && m->n_shared >= 0 && m->n_shared < 1024;
    bool groups = r->groups <= 1 || (b->n_experts % r->groups == 0 && r->top_groups >= 1 &&
                                     r->top_groups <= r->groups &&
                                     (!r->group_by_two || b->n_experts / r->groups >= 2));
    return (dims && groups && (int64_t)b->n_heads * (m->nope + m->v_dim + m->rope_dim) < 1 << 24) ||
           nx_fail("[deepseek] the settings make no model: latent of %d, heads of %d + %d and %d, %d "
                   "experts in %d groups", m->rank, m->nope, m->rope_dim, m->v_dim, b->n_experts,
                   r->groups);
}

static bool setup(model *base, const config_source *from)
{
    deepseek *m = (deepseek *)base;
    decoder *d = &m->d;
    double length = config_item(from, NULL, "attention.key_length_mla|attention.key_length", 0, 0);
    if (from->gguf)
        m->nope = nx_int_of(length - m->rope_dim);
    if (from->gguf && !base->vocab_size)
        base->vocab_size = nx_int_of(config_item(from, NULL, "vocab_size", 0, 0));
    base->n_kv_heads = base->n_heads;
    setup_router(m, from);
    if (!sensible(m))
        return false;
    base->head_dim = m->nope + m->rope_dim;
    d->rope_dims = m->rope_dim;
    if (!decoder_activation(d, from, "silu") || !decoder_setup(d, from, true))
        return false;
    setup_scale(m, from);
    m->q_in = m->q_rank ? m->q_rank : base->hidden_size;
    m->q_out = base->n_heads * (m->nope + m->rope_dim);
    m->kv_a_out = m->rank + m->rope_dim;
    m->kv_b_out = base->n_heads * (m->nope + m->v_dim);
    m->o_in = base->n_heads * m->v_dim;
    d->shared_size = d->expert_size * m->n_shared;
    decoder_moe_kinds(d, from, m->dense_first, m->step);
    for (int i = 0; i < base->n_layers; i++) {
        base->kinds[i] |= m->n_shared && base->kinds[i] & LAYER_MOE ? LAYER_SHARED : 0;
        base->caches[i] = (nn_cache_shape){.heads = 1, .k_dim = m->rank + m->rope_dim};
    }
    return true;
}

/* K_h and V_h as numbers [heads, nope, rank] and [heads, v, rank], from whichever form is there. */
static bool divide(deepseek *m, deepseek_layer *l)
{
    int h = m->d.base.n_heads;
    if (l->kv_b.form == NN_ABSENT) {
        bool there = l->k_b.form != NN_ABSENT && l->v_b.form != NN_ABSENT && l->k_b.experts == h &&
                     l->v_b.experts == h && l->k_b.rows == m->rank && l->k_b.cols == m->nope &&
                     l->v_b.rows == m->v_dim && l->v_b.cols == m->rank;
        return (there && nn_weight_transpose(&l->k_b)) ||
               nx_fail("[deepseek] kv_b_proj, or its two parts, are missing or of another shape");
    }
    mlx_stream s = mlx_default_cpu_stream_new();
    int each = m->nope + m->v_dim, step[3] = {1, 1, 1};
    mlx_array all = mlx_array_new(), k = mlx_array_new(), v = mlx_array_new();
    bool ok = nn_weight_to_numbers(&l->kv_b) &&
              !mlx_reshape(&all, l->kv_b.w, (int[]){h, each, m->rank}, 3, s) &&
              !mlx_slice(&k, all, (int[]){0, 0, 0}, 3, (int[]){h, m->nope, m->rank}, 3, step, 3, s) &&
              !mlx_slice(&v, all, (int[]){0, m->nope, 0}, 3, (int[]){h, each, m->rank}, 3, step, 3, s) &&
              !mlx_contiguous(&l->k_b.w, k, false, s) && !mlx_contiguous(&l->v_b.w, v, false, s) &&
              !mlx_array_eval(l->k_b.w) && !mlx_array_eval(l->v_b.w);
    mlx_array_free(all);
    mlx_array_free(k);
    mlx_array_free(v);
    mlx_stream_free(s);
    nn_weight_clear(&l->kv_b);
    l->k_b.form = l->v_b.form = NN_PLAIN;
    return ok;
}

static bool prepare(model *base, nn_source *source)
{
    deepseek *m = (deepseek *)base;
    for (int i = 0; i < base->n_layers; i++) {
        deepseek_layer *l = &((deepseek_layer *)base->layers)[i];
        if (m->q_rank && (l->q_a.form == NN_ABSENT || l->q_a_norm.form == NN_ABSENT))
            return nx_fail("[deepseek] layer %d lacks q_a_proj or its norm", i);
        if (!divide(m, l))
            return false;
    }
    return decoder_prepare(base, source);
}

/* q [T, heads, dim] times a matrix a head [heads, dim, n]: [T, heads, n] */
static mlx_array by_head(nn *c, mlx_array q, mlx_array w)
{
    mlx_array turned = nn_transpose(c, q, (int[]){1, 0, 2}, 3);
    mlx_array y = NN_CALL(c, mlx_matmul, turned, w);
    return nn_transpose(c, y, (int[]){1, 0, 2}, 3);
}

/* The turned numbers come first in what attention turns, so rows are [turned, latent]; the cache's
 * values are the latent ones. */
static mlx_array attend(nn *c, deepseek *m, deepseek_layer *l, int layer, const nn_batch *b, mlx_array x)
{
    const model *base = &m->d.base;
    int h = base->n_heads, t = b->n_tokens, row = m->rank + m->rope_dim;
    nn_weight *first = m->q_rank ? &l->q_a : &l->base.attn.q;
    mlx_array from_x[2]; /* queries or what they are made of; latent and turned [T, rank + rope] */
    nn_linears(c, x, (nn_weight *[]){first, &l->kv_a}, NULL, 2, from_x);
    mlx_array q = from_x[0], kv = from_x[1];
    if (m->q_rank)
        q = nn_linear(c, nn_norm(c, &m->d.norm, q, &l->q_a_norm, NULL), &l->base.attn.q, NULL);
    q = nn_reshape(c, q, (int[]){t, h, m->nope + m->rope_dim}, 3);
    mlx_array latent_q = by_head(c, nn_slice(c, q, 2, 0, m->nope), l->k_b.w); /* [T, H, rank] */
    mlx_array turned_q = nn_slice(c, q, 2, m->nope, m->nope + m->rope_dim);
    mlx_array latent = nn_norm(c, &m->d.norm, nn_slice(c, kv, 1, 0, m->rank), &l->kv_a_norm, NULL);
    mlx_array turned = nn_slice(c, kv, 1, m->rank, row);
    nn_attention a = m->d.attention;
    a.n_kv_heads = 1;
    a.head_dim = row;
    a.v_dim = m->rank;
    a.v_begin = m->rope_dim;
    q = nn_concat(c, (mlx_array[]){turned_q, latent_q}, 2, 2);
    q = nn_reshape(c, q, (int[]){t, h * row}, 2);
    mlx_array k = nn_concat(c, (mlx_array[]){turned, latent}, 2, 1);
    mlx_array y = nn_attend(c, &a, b, layer, q, k, (mlx_array){0}, (mlx_array){0}); /* [T, H * rank] */
    mlx_array v = nn_transpose(c, l->v_b.w, (int[]){0, 2, 1}, 3);
    y = by_head(c, nn_reshape(c, y, (int[]){t, h, m->rank}, 3), v);
    y = nn_reshape(c, y, (int[]){t, h * m->v_dim}, 2);
    return nn_linear(c, y, &l->base.attn.o, NULL);
}

static mlx_array feed(nn *c, deepseek *m, deepseek_layer *l, int i, mlx_array x)
{
    if (m->d.base.kinds[i] & LAYER_MOE)
        return nn_moe(c, &m->d.router, &l->base.moe, x);
    return nn_mlp(c, m->d.act, &l->base.mlp, x);
}

static mlx_array layer(nn *c, decoder *d, int i, const nn_batch *b, mlx_array x)
{
    deepseek *m = (deepseek *)d;
    deepseek_layer *l = &((deepseek_layer *)d->base.layers)[i];
    x = nn_add(c, x, attend(c, m, l, i, b, nn_norm(c, &d->norm, x, &l->base.attn_norm, NULL)));
    return nn_add(c, x, feed(c, m, l, i, nn_norm(c, &d->norm, x, &l->base.mlp_norm, NULL)));
}

static mlx_array forward(nn *c, model *m, const nn_batch *b)
{
    return decoder_forward(c, m, b, layer);
}

static const char *const aliases[] = {"deepseek_v3", "deepseek2", NULL};

const model_arch deepseek_arch = {
    .name = "deepseek_v2", .aliases = aliases, .size = sizeof(deepseek),
    .layer_size = sizeof(deepseek_layer), .config = config, .n_config = sizeof config / sizeof *config,
    .weights = weights, .n_weights = sizeof weights / sizeof *weights,
    .setup = setup, .prepare = prepare, .clear = decoder_clear, .forward = forward,
    .ignored_layers = true,
};
