/*
 * olmo.c: OLMo 2 and OLMoE: norms of q and k over all heads at once. OLMo 2 and EXAONE 4 norm what a
 * half gives, not what it takes; EXAONE 4 norms q and k by head, and turns them within windows alone.
 *
 *     OLMo 2, EXAONE 4: x += norm(attend(x));  x += norm(mlp(x))
 *     OLMoE:            x += attend(norm(x));  x += experts(norm(x))
 */
#include <string.h>

#include "base/error.h"
#include "runtime/models/decoder.h"

extern const model_arch olmo2_arch, olmoe_arch, exaone4_arch;

static const config_row config[] = {DECODER_CONFIG, RMS_NORM_CONFIG};

#define POST_NORM_ROWS                                                                             \
    VECTOR("post_attention_layernorm.weight", "post_attention_norm.weight", 0, attn_post_norm,     \
           HIDDEN),                                                                                \
    VECTOR("post_feedforward_layernorm.weight", "post_ffw_norm.weight", 0, mlp_post_norm, HIDDEN)

static const weight_row olmo2_weights[] = {
    ENDS_ROWS(0), POST_NORM_ROWS, ATTENTION_ROWS, QK_WIDE_NORM_ROWS, MLP_ROWS(0),
};
static const weight_row exaone4_weights[] = {
    ENDS_ROWS(0), POST_NORM_ROWS, QKV_ROWS, O_ROW, QK_NORM_ROWS(0), MLP_ROWS(0), ROPE_ROWS,
};
static const weight_row olmoe_weights[] = {
    ENDS_ROWS(0), PRE_NORM_ROWS(0), ATTENTION_ROWS, QK_WIDE_NORM_ROWS,
    ROUTER_ROW("mlp.gate"), EXPERT_ROWS("mlp", "gate_proj", "up_proj", "down_proj"),
};

static bool setup(model *base, const config_source *from)
{
    decoder *d = (decoder *)base;
    return nx_json_get_real(from->json, "clip_qkv", 0) == 0
               ? decoder_activation(d, from, "silu") && decoder_setup(d, from, false)
               : nx_fail("[%s] clip_qkv is not supported", from->arch);
}

static bool setup_olmoe(model *base, const config_source *from)
{
    decoder *d = (decoder *)base;
    if (!setup(base, from))
        return false;
    d->router.normalised = nx_json_get_bool(from->json, "norm_topk_prob", false);
    decoder_kinds(d, LAYER_MOE);
    return true;
}

/* "LLLG": three layers with a window to one without, which does not turn; a number n: every n-th. */
static bool setup_exaone4(model *base, const config_source *from)
{
    decoder *d = (decoder *)base;
    const char *pattern = nx_json_get_str(from->json, "sliding_window_pattern", NULL);
    int every = pattern ? (int)strlen(pattern)
                        : (int)nx_json_get_int(from->json, "sliding_window_pattern", 4);
    if (!setup(base, from))
        return false;
    decoder_windows(d, from, every);
    for (int i = 0; d->window && i < base->n_layers; i++)
        if (!(base->kinds[i] & LAYER_WINDOW))
            base->kinds[i] |= LAYER_UNTURNED;
    d->local.rope = d->attention.rope;
    return true;
}

static mlx_array post_norm_layer(nn *c, decoder *d, int i, const nn_batch *b, mlx_array x)
{
    decoder_layer *l = decoder_layer_at(d, i);
    mlx_array h = decoder_attend(c, d, i, b, x);
    x = nn_add(c, x, nn_norm(c, &d->norm, h, &l->attn_post_norm, NULL));
    h = decoder_feed(c, d, i, x);
    return nn_add(c, x, nn_norm(c, &d->norm, h, &l->mlp_post_norm, NULL));
}

static mlx_array post_norm_forward(nn *c, model *m, const nn_batch *b)
{
    return decoder_forward(c, m, b, post_norm_layer);
}

#define ARCH_OF(id, text, rows, set_up, run)                                                       \
    const model_arch id = {                                                                        \
        .name = text, .size = sizeof(decoder), .layer_size = sizeof(decoder_layer),                \
        .config = config, .n_config = sizeof config / sizeof *config,                              \
        .weights = rows, .n_weights = sizeof rows / sizeof *rows,                                  \
        .setup = set_up, .prepare = decoder_prepare, .clear = decoder_clear, .forward = run,       \
    }
ARCH_OF(olmo2_arch, "olmo2", olmo2_weights, setup, post_norm_forward);
ARCH_OF(olmoe_arch, "olmoe", olmoe_weights, setup_olmoe, decoder_pre_norm_forward);
ARCH_OF(exaone4_arch, "exaone4", exaone4_weights, setup_exaone4, post_norm_forward);
