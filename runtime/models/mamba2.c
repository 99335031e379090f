/*
 * mamba2.c: Mamba 2: a state space in every layer, x += mixer(norm(x)); and Nemotron-H, whose layers
 * are each one of a state space, attention without positions, a feed-forward network or experts.
 */
#include <string.h>

#include "base/error.h"
#include "runtime/models/decoder.h"
#include "runtime/nn/ssm.h"

extern const model_arch mamba2_arch, nemotron_h_arch;

typedef struct {
    decoder_layer base;
    nn_mamba2_weights mixer;
} mamba_layer;

typedef struct {
    decoder d;
    nn_mamba2 space;
    int expand;
    int in_rows, inner, channels; /* shapes */
} mamba;

#define OWN(member) offsetof(mamba, member)

static const config_row config[] = {
    DECODER_CONFIG,
    {"layer_norm_epsilon|rms_norm_eps|norm_eps",
     "attention.layer_norm_rms_epsilon|attention.layer_norm_epsilon", CONFIG_FLOAT,
     DECODER(norm.eps), 1e-5, false},
    {"mamba_num_heads|num_heads|num_attention_heads", "ssm.time_step_rank", CONFIG_INT,
     OWN(space.heads), 0, true},
    {"mamba_head_dim|head_dim", NULL, CONFIG_INT, OWN(space.head_dim), 0, false},
    {"ssm_state_size|state_size", "ssm.state_size", CONFIG_INT, OWN(space.state), 0, true},
    {"n_groups", "ssm.group_count", CONFIG_INT, OWN(space.groups), 1, false},
    {"conv_kernel", "ssm.conv_kernel", CONFIG_INT, OWN(space.conv), 4, false},
    {"norm_topk_prob", "expert_weights_norm", CONFIG_BOOL, DECODER(router.normalised), 1, false},
    {"routed_scaling_factor", "expert_weights_scale", CONFIG_FLOAT, DECODER(router.scaling), 1, false},
    {"n_group", "expert_group_count", CONFIG_INT, DECODER(router.groups), 0, false},
    {"topk_group", "expert_group_used_count", CONFIG_INT, DECODER(router.top_groups), 0, false},
    {"moe_shared_expert_intermediate_size", "expert_shared_feed_forward_length", CONFIG_INT,
     DECODER(shared_size), 0, false},
};

/* Names after "backbone.layers.%d.". */
#define ROW_OF(hf, gguf, flags, member, rows, cols)                                                \
    {"backbone.layers.%d." hf, "blk.%d." gguf, WEIGHT_LAYER | (flags), offsetof(mamba_layer, member), \
     rows, cols}
#define ON_SPACE     WEIGHT_KIND(LAYER_RECURRENT)
#define ON_ATTENTION WEIGHT_KIND(LAYER_ATTENTION)
#define ON_DENSE     WEIGHT_KIND(LAYER_DENSE)
#define COMMON_ROWS                                                                                \
    {"backbone.embeddings.weight|backbone.embedding.weight", "token_embd.weight", 0,               \
     DECODER(embed), BASE(vocab_size), HIDDEN},                                                    \
    HEAD_ROW,                                                                                      \
    {"backbone.norm_f.weight", "output_norm.weight", 0, DECODER(final_norm), 0, HIDDEN},           \
    ROW_OF("norm.weight", "attn_norm.weight", 0, base.attn_norm, 0, HIDDEN),                       \
    ROW_OF("mixer.in_proj.weight", "ssm_in.weight", ON_SPACE, mixer.in, OWN(in_rows), HIDDEN),     \
    ROW_OF("mixer.in_proj.bias", "ssm_in.bias", ON_SPACE | WEIGHT_OPTIONAL, mixer.in_bias, 0,      \
           OWN(in_rows)),                                                                          \
    ROW_OF("mixer.conv1d.weight", "ssm_conv1d.weight", ON_SPACE | WEIGHT_NUMBERS, mixer.conv, 0, 0), \
    ROW_OF("mixer.conv1d.bias", "ssm_conv1d.bias", ON_SPACE | WEIGHT_OPTIONAL, mixer.conv_bias, 0, \
           OWN(channels)),                                                                         \
    ROW_OF("mixer.dt_bias", "ssm_dt.bias", ON_SPACE, mixer.dt_bias, 0, OWN(space.heads)),          \
    ROW_OF("mixer.A_log", "ssm_a", ON_SPACE | WEIGHT_NUMBERS | WEIGHT_LOG, mixer.a, 0, 0),                      \
    ROW_OF("mixer.D", "ssm_d", ON_SPACE | WEIGHT_NUMBERS, mixer.d, 0, 0),                          \
    ROW_OF("mixer.norm.weight", "ssm_norm.weight", ON_SPACE | WEIGHT_NUMBERS, mixer.norm, 0, 0),   \
    ROW_OF("mixer.out_proj.weight", "ssm_out.weight", ON_SPACE, mixer.out, HIDDEN, OWN(inner)),    \
    ROW_OF("mixer.out_proj.bias", "ssm_out.bias", ON_SPACE | WEIGHT_OPTIONAL, mixer.out_bias, 0, HIDDEN)

static const weight_row mamba2_weights[] = {COMMON_ROWS};

#define EXPERT_OF(hf, mlx, gguf, member, rows, cols)                                               \
    ROW_OF("mixer.experts.%e." hf "|backbone.layers.%d.mixer.switch_mlp." mlx, gguf,               \
           ON_MOE | WEIGHT_EXPERTS, base.moe.experts.member, rows, cols)
static const weight_row nemotron_weights[] = {
    COMMON_ROWS,
    ROW_OF("mixer.q_proj.weight", "attn_q.weight", ON_ATTENTION, base.attn.q, Q, HIDDEN),
    ROW_OF("mixer.k_proj.weight", "attn_k.weight", ON_ATTENTION, base.attn.k, KV, HIDDEN),
    ROW_OF("mixer.v_proj.weight", "attn_v.weight", ON_ATTENTION, base.attn.v, KV, HIDDEN),
    ROW_OF("mixer.o_proj.weight", "attn_output.weight", ON_ATTENTION, base.attn.o, HIDDEN, Q),
    ROW_OF("mixer.up_proj.weight", "ffn_up.weight", ON_DENSE, base.mlp.up, FF, HIDDEN),
    ROW_OF("mixer.down_proj.weight", "ffn_down.weight", ON_DENSE, base.mlp.down, HIDDEN, FF),
    ROW_OF("mixer.gate.weight", "ffn_gate_inp.weight", ON_MOE, base.moe.router, BASE(n_experts), HIDDEN),
    ROW_OF("mixer.gate.e_score_correction_bias", "exp_probs_b.bias", ON_MOE, base.moe.correction, 0,
           BASE(n_experts)),
    EXPERT_OF("up_proj.weight", "fc1.weight", "ffn_up_exps.weight", up, DECODER(expert_size), HIDDEN),
    EXPERT_OF("down_proj.weight", "fc2.weight", "ffn_down_exps.weight", down, HIDDEN, DECODER(expert_size)),
    ROW_OF("mixer.shared_experts.up_proj.weight", "ffn_up_shexp.weight", ON_SHARED, base.moe.shared.up,
           DECODER(shared_size), HIDDEN),
    ROW_OF("mixer.shared_experts.down_proj.weight", "ffn_down_shexp.weight", ON_SHARED,
           base.moe.shared.down, HIDDEN, DECODER(shared_size)),
};

static bool setup_space(mamba *m, const config_source *from)
{
    nn_mamba2 *s = &m->space;
    int width = nx_int_of(config_item(from, NULL, "ssm.inner_size", 0, 0));
    if (from->gguf && s->heads > 0)
        s->head_dim = width / s->heads;
    s->eps = m->d.norm.eps;
    s->a_ready = from->gguf != NULL;
    s->dt_min = (float)config_item(from, "time_step_limit", NULL, 0, 0);
    s->dt_max = (float)config_item(from, "time_step_limit", NULL, 1, 0);
    if (!nn_mamba2_check(s, from->arch))
        return false;
    m->inner = nn_mamba2_inner(s);
    m->channels = nn_mamba2_channels(s);
    m->in_rows = m->inner + m->channels + s->heads;
    return true;
}

/* There is no attention: the settings that decoders share are made up. */
static bool setup_mamba2(model *base, const config_source *from)
{
    mamba *m = (mamba *)base;
    base->n_heads = base->n_kv_heads = 1;
    base->head_dim = 2;
    if (!setup_space(m, from) || !decoder_setup(&m->d, from, false))
        return false;
    m->space.norm_groups = m->space.groups;
    decoder_kinds(&m->d, LAYER_RECURRENT);
    for (int i = 0; i < base->n_layers; i++) {
        base->caches[i] = (nn_cache_shape){0};
        nn_mamba2_cache(&m->space, &base->caches[i]);
    }
    return true;
}

/* "M-*E": state space, feed-forward, attention, experts; or a list of words. */
static unsigned kind_of(const config_source *from, int i)
{
    static const struct {
        const char *word;
        unsigned kind;
    } words[] = {
        {"mamba", LAYER_RECURRENT}, {"linear_attention", LAYER_RECURRENT}, {"M", LAYER_RECURRENT},
        {"attention", LAYER_ATTENTION}, {"full_attention", LAYER_ATTENTION}, {"*", LAYER_ATTENTION},
        {"mlp", LAYER_DENSE}, {"-", LAYER_DENSE}, {"moe", LAYER_MOE}, {"E", LAYER_MOE},
    };
    const char *pattern = nx_json_get_str(from->json, "hybrid_override_pattern", NULL);
    const json_t *list = nx_json_get(from->json, "layers_block_type");
    char one[2] = {pattern && (size_t)i < strlen(pattern) ? pattern[i] : 0, 0};
    const char *word = pattern ? one : json_string_value(json_array_get(list, (size_t)i));
    for (size_t k = 0; word && k < sizeof words / sizeof *words; k++)
        if (strcmp(words[k].word, word) == 0)
            return words[k].kind;
    return 0;
}

static unsigned gguf_kind(const config_source *from, int i)
{
    if (config_item(from, NULL, "attention.head_count_kv", i, 0) > 0)
        return LAYER_ATTENTION;
    if (config_item(from, NULL, "feed_forward_length", i, 0) == 0)
        return LAYER_RECURRENT;
    return config_item(from, NULL, "expert_count", 0, 0) > 0 ? LAYER_MOE : LAYER_DENSE;
}

static bool setup_nemotron(model *base, const config_source *from)
{
    mamba *m = (mamba *)base;
    decoder *d = &m->d;
    d->act = NN_RELU2;
    if (!setup_space(m, from) || !decoder_setup(d, from, false))
        return false;
    if (nx_json_has(from->json, "moe_latent_size"))
        return nx_fail("[nemotron_h] experts behind a latent projection are not supported");
    m->space.norm_groups = m->space.groups;
    d->router.sigmoid = d->router.group_by_two = true;
    for (int i = 0; i < base->n_layers; i++) {
        unsigned kind = from->gguf ? gguf_kind(from, i) : kind_of(from, i);
        if (!kind)
            return nx_fail("[nemotron_h] the kind of layer %d is not told, or not known", i);
        base->kinds[i] = kind | (kind == LAYER_MOE && d->shared_size ? LAYER_SHARED : 0) | LAYER_UNTURNED;
        if (kind != LAYER_ATTENTION)
            base->caches[i] = (nn_cache_shape){0};
        if (kind == LAYER_RECURRENT)
            nn_mamba2_cache(&m->space, &base->caches[i]);
    }
    return true;
}

static mlx_array mix(nn *c, mamba *m, int i, const nn_batch *b, mlx_array x)
{
    mamba_layer *l = &((mamba_layer *)m->d.base.layers)[i];
    unsigned kind = m->d.base.kinds[i];
    nn_attention a = m->d.attention;
    a.rope.dims = 0;
    if (kind & LAYER_RECURRENT)
        return nn_mamba2_block(c, &m->space, &l->mixer, b, i, x, (mlx_array){0});
    if (kind & LAYER_ATTENTION)
        return nn_attention_block(c, &a, &m->d.norm, &l->base.attn, b, i, x);
    if (kind & LAYER_MOE)
        return nn_moe(c, &m->d.router, &l->base.moe, x);
    return nn_mlp(c, m->d.act, &l->base.mlp, x);
}

static mlx_array layer(nn *c, decoder *d, int i, const nn_batch *b, mlx_array x)
{
    mamba_layer *l = &((mamba_layer *)d->base.layers)[i];
    return nn_add(c, x, mix(c, (mamba *)d, i, b, nn_norm(c, &d->norm, x, &l->base.attn_norm, NULL)));
}

static mlx_array forward(nn *c, model *m, const nn_batch *b)
{
    return decoder_forward(c, m, b, layer);
}

static bool has_numbers(const nn_weight *w, int n)
{
    return mlx_array_size(w->w) == (size_t)n;
}

static bool prepare(model *base, nn_source *source)
{
    mamba *m = (mamba *)base;
    for (int i = 0; i < base->n_layers; i++) {
        const nn_mamba2_weights *w = &((mamba_layer *)base->layers)[i].mixer;
        if (base->kinds[i] & LAYER_RECURRENT &&
            !(has_numbers(&w->conv, m->channels * m->space.conv) && has_numbers(&w->a, m->space.heads) &&
              has_numbers(&w->d, m->space.heads) && has_numbers(&w->norm, m->inner)))
            return nx_fail("[%s] the state space of layer %d (conv1d, A, D, norm) has another shape than "
                           "the settings say", base->arch->name, i);
    }
    return decoder_prepare(base, source);
}

static const char *const ignored[] = {"mtp.", NULL};

#define ARCH_OF(id, text, rows, set_up)                                                            \
    const model_arch id = {                                                                        \
        .name = text, .size = sizeof(mamba), .layer_size = sizeof(mamba_layer), .config = config,  \
        .n_config = sizeof config / sizeof *config, .weights = rows,                               \
        .n_weights = sizeof rows / sizeof *rows, .setup = set_up, .prepare = prepare,              \
        .clear = decoder_clear, .forward = forward, .ignored = ignored,                            \
    }
ARCH_OF(mamba2_arch, "mamba2", mamba2_weights, setup_mamba2);
ARCH_OF(nemotron_h_arch, "nemotron_h", nemotron_weights, setup_nemotron);
