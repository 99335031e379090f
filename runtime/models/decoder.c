#include "runtime/models/decoder.h"

#include <math.h>
#include <string.h>

#include "base/error.h"

/* ---- settings --------------------------------------------------------------------------------- */

static bool sensible(const decoder *d, const config_source *from)
{
    const model *b = &d->base;
    if (b->n_heads >= 1 && b->n_kv_heads >= 1 && b->n_heads % b->n_kv_heads == 0 && b->head_dim >= 2 &&
        b->hidden_size >= 1 && b->intermediate_size >= 0 && b->vocab_size >= 1 && b->max_context >= 1 &&
        d->attention.rope.dims >= 0 && d->attention.rope.dims <= b->head_dim &&
        d->attention.rope.dims % 2 == 0 && (int64_t)b->n_heads * b->head_dim <= 1 << 24 &&
        b->hidden_size <= 1 << 24 && b->intermediate_size <= 1 << 24 && d->window >= 0 &&
        b->n_experts >= 0 && b->n_experts <= 1 << 16 && d->expert_size >= 0 && d->shared_size >= 0 &&
        d->expert_size <= 1 << 24 && d->router.top >= 0 &&
        (!b->n_experts || (d->router.top >= 1 && d->router.top <= b->n_experts)))
        return true;
    return nx_fail("[%s] the settings make no model: hidden size %d, %d heads, %d KV heads of %d, "
                   "vocabulary %d, %d of %d experts", from->arch, b->hidden_size, b->n_heads,
                   b->n_kv_heads, b->head_dim, b->vocab_size, d->router.top, b->n_experts);
}

/* What a file may leave out. */
static void complete(decoder *d, const config_source *from)
{
    model *b = &d->base;
    const nx_gguf_kv *tokens = from->gguf ? nx_gguf_find(from->gguf, "tokenizer.ggml.tokens") : NULL;
    if (!b->n_kv_heads)
        b->n_kv_heads = b->n_heads;
    if (!b->head_dim && b->n_heads > 0)
        b->head_dim = b->hidden_size / b->n_heads;
    if (!b->vocab_size && tokens && tokens->count < 1 << 28)
        b->vocab_size = (int)tokens->count;
    if (!d->rope_dims)
        d->rope_dims = nx_int_of((float)b->head_dim * d->partial_rotary) / 2 * 2;
    if (!d->expert_size)
        d->expert_size = b->intermediate_size;
    if (!nx_json_get_bool(from->json, "use_sliding_window", true))
        d->window = 0;
    d->one = 1;
    d->norm.eps = d->norm.eps > 0 ? d->norm.eps : 1e-6f;
    d->embed_scale = d->embed_scale == 0 ? 1 : d->embed_scale;
    d->residual_scale = d->residual_scale == 0 ? 1 : d->residual_scale;
    d->logit_scale = d->logit_scale == 0 ? 1 : d->logit_scale;
}

/* rope_scaling, or in its newer place rope_parameters (by kind of layer where layers differ). */
static const json_t *scaling_of(const json_t *config)
{
    static const char *const places[] = {"rope_scaling", "rope_parameters.full_attention",
                                         "rope_parameters"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (json_is_object(nx_json_get(config, places[i])))
            return nx_json_get(config, places[i]);
    return NULL;
}

static bool setup_rope(decoder *d, const config_source *from)
{
    nn_rope *r = &d->attention.rope;
    const json_t *scaling = scaling_of(from->json);
    r->original = (int)nx_json_get_int(from->json, "original_max_position_embeddings", 0);
    bool ok = from->json ? !scaling || nn_rope_configure(r, scaling, d->base.max_context)
                         : nn_rope_configure_gguf(r, from->gguf, from->arch, d->base.max_context);
    if (ok && r->dynamic_factor > 1 && (double)d->base.max_context * r->dynamic_factor < 1 << 30)
        d->base.max_context = (int)((float)d->base.max_context * r->dynamic_factor);
    return ok;
}

bool decoder_setup(decoder *d, const config_source *from, bool pairs)
{
    model *b = &d->base;
    complete(d, from);
    d->attention = (nn_attention){
        .n_heads = b->n_heads, .n_kv_heads = b->n_kv_heads, .head_dim = b->head_dim,
        .scale = 1.0f / sqrtf((float)b->head_dim), .rope = nn_rope_plain(d->rope_dims, d->rope_theta, pairs),
    };
    if (!sensible(d, from) || !setup_rope(d, from))
        return false;
    d->q_size = b->n_heads * b->head_dim;
    d->kv_size = b->n_kv_heads * b->head_dim;
    d->qkv_size = d->q_size + 2 * d->kv_size;
    d->gate_up_size = 2 * b->intermediate_size;
    d->expert_pair_size = 2 * d->expert_size;
    d->local = d->attention;
    d->local.window = d->window;
    d->router.act = d->act;
    decoder_caches(d);
    return true;
}

void decoder_kinds(decoder *d, unsigned bits)
{
    for (int i = 0; i < d->base.n_layers; i++)
        d->base.kinds[i] |= bits;
}

static bool is_listed(const json_t *list, int i)
{
    size_t k;
    json_t *v;
    json_array_foreach(list, k, v)
        if (json_integer_value(v) == i)
            return true;
    return false;
}

void decoder_moe_kinds(decoder *d, const config_source *from, int first_dense, int step)
{
    const json_t *dense = nx_json_get(from->json, "mlp_only_layers");
    for (int i = 0; i < d->base.n_layers; i++) {
        bool moe = d->base.n_experts && i >= first_dense && (step < 2 || (i + 1) % step == 0) &&
                   !is_listed(dense, i);
        d->base.kinds[i] |= moe ? LAYER_MOE : LAYER_DENSE;
    }
}

void decoder_caches(decoder *d)
{
    for (int i = 0; i < d->base.n_layers; i++) {
        const nn_attention *a = d->base.kinds[i] & LAYER_WINDOW ? &d->local : &d->attention;
        d->base.caches[i] = (nn_cache_shape){
            .heads = a->n_kv_heads, .k_dim = a->head_dim, .v_dim = a->head_dim,
            .window = a->window && a->window < d->base.max_context ? a->window : 0};
    }
}

void decoder_windows(decoder *d, const config_source *from, int pattern)
{
    const json_t *types = nx_json_get(from->json, "layer_types");
    for (int i = 0; d->window && i < d->base.n_layers; i++) {
        const char *type = json_string_value(json_array_get(types, (size_t)i));
        bool windowed = type ? strcmp(type, "sliding_attention") == 0
                             : pattern == 0 || (i + 1) % pattern != 0;
        if (windowed)
            d->base.kinds[i] |= LAYER_WINDOW;
    }
    decoder_caches(d);
}

bool decoder_activation(decoder *d, const config_source *from, const char *fallback)
{
    static const char *const keys[] = {"hidden_activation", "hidden_act", "activation_function",
                                       "activation"};
    const char *name = fallback;
    for (size_t i = sizeof keys / sizeof *keys; i-- > 0;)
        name = nx_json_get_str(from->json, keys[i], name);
    bool ok = nn_act_named(name, &d->act);
    d->router.act = d->act;
    return ok;
}

/* ---- after the weights ------------------------------------------------------------------------ */

static bool set_factors(decoder *d, nn_weight *all, nn_weight *for_short)
{
    if (all->form == NN_ABSENT)
        return true;
    const float *factors = mlx_array_data_float32(all->w);
    const float *short_factors =
        for_short && for_short->form != NN_ABSENT ? mlx_array_data_float32(for_short->w) : NULL;
    bool same = !short_factors || for_short->cols == all->cols;
    return (factors && same && all->rows == 1 &&
            nn_rope_set_factors(&d->attention.rope, factors, short_factors, all->cols)) ||
           nx_fail("[%s] the rotation's factors must be %d numbers", d->base.arch->name,
                   d->attention.rope.dims / 2);
}

bool decoder_prepare(model *m, nn_source *source)
{
    decoder *d = (decoder *)m;
    if (d->head.form == NN_ABSENT)
        d->tied = true;
    if (!set_factors(d, &d->rope_freqs, NULL) || !set_factors(d, &d->rope_long, &d->rope_short))
        return false;
    if (!d->local.rope.periods.ctx && d->attention.rope.periods.ctx && !d->window)
        d->local.rope = d->attention.rope;
    return true;
}

void decoder_clear(model *m)
{
    decoder *d = (decoder *)m;
    if (d->local.rope.periods.ctx == d->attention.rope.periods.ctx) /* a shared one */
        d->local.rope.periods = d->local.rope.short_periods = (mlx_array){0};
    nn_rope_clear(&d->local.rope);
    nn_rope_clear(&d->attention.rope);
}

/* ---- forward ---------------------------------------------------------------------------------- */

mlx_array decoder_attend(nn *c, decoder *d, int i, const nn_batch *b, mlx_array x)
{
    unsigned kind = d->base.kinds[i];
    nn_attention a = kind & LAYER_WINDOW ? d->local : d->attention;
    if (kind & LAYER_UNTURNED)
        a.rope.dims = 0;
    return nn_attention_block(c, &a, &d->norm, &decoder_layer_at(d, i)->attn, b, i, x);
}

mlx_array decoder_feed(nn *c, decoder *d, int i, mlx_array x)
{
    decoder_layer *l = decoder_layer_at(d, i);
    if (d->base.kinds[i] & LAYER_MOE)
        return nn_moe(c, &d->router, &l->moe, x);
    return nn_mlp(c, d->act, &l->mlp, x);
}

mlx_array decoder_pre_norm_layer(nn *c, decoder *d, int i, const nn_batch *b, mlx_array x)
{
    decoder_layer *l = decoder_layer_at(d, i);
    mlx_array h = nn_norm(c, &d->norm, x, &l->attn_norm, &l->attn_norm_bias);
    x = nn_add(c, x, nn_scale(c, decoder_attend(c, d, i, b, h), d->residual_scale));
    h = nn_norm(c, &d->norm, x, &l->mlp_norm, &l->mlp_norm_bias);
    return nn_add(c, x, nn_scale(c, decoder_feed(c, d, i, h), d->residual_scale));
}

mlx_array decoder_run(nn *c, decoder *d, const nn_batch *b, mlx_array x, decoder_layer_fn layer)
{
    for (int i = 0; i < d->base.n_layers; i++) {
        size_t mark = nn_mark(c);
        x = layer(c, d, i, b, x);
        nn_release(c, mark, x);
    }
    x = nn_last_rows(c, x, b); /* [n, D] */
    if (!x.ctx)
        return x; /* in the middle of a prompt: only the caches matter */
    x = nn_norm(c, &d->norm, x, &d->final_norm, &d->final_norm_bias);
    if (b->hidden)
        return x;
    x = nn_linear(c, x, d->tied ? &d->embed : &d->head, &d->head_bias);
    return nn_softcap(c, nn_scale(c, x, d->logit_scale), d->logit_cap);
}

mlx_array decoder_forward(nn *c, model *m, const nn_batch *b, decoder_layer_fn layer)
{
    decoder *d = (decoder *)m;
    mlx_array x = nn_embedding(c, &d->embed, b->tokens); /* [T, D] */
    return decoder_run(c, d, b, nn_scale(c, x, d->embed_scale), layer);
}

mlx_array decoder_pre_norm_forward(nn *c, model *m, const nn_batch *b)
{
    return decoder_forward(c, m, b, decoder_pre_norm_layer);
}

static mlx_array sandwich_layer(nn *c, decoder *d, int i, const nn_batch *b, mlx_array x)
{
    decoder_layer *l = decoder_layer_at(d, i);
    mlx_array h = decoder_attend(c, d, i, b, nn_norm(c, &d->norm, x, &l->attn_norm, NULL));
    x = nn_add(c, x, nn_norm(c, &d->norm, h, &l->attn_post_norm, NULL));
    h = decoder_feed(c, d, i, nn_norm(c, &d->norm, x, &l->mlp_norm, NULL));
    return nn_add(c, x, nn_norm(c, &d->norm, h, &l->mlp_post_norm, NULL));
}

mlx_array decoder_sandwich_forward(nn *c, model *m, const nn_batch *b)
{
    return decoder_forward(c, m, b, sandwich_layer);
}
