/*
 * gemma.c: Gemma 1, 2 and 3: Llama's blocks with a GELU gate, embeddings scaled by the root of their
 * size, norms stored less one, and a tied head. Gemma 2 and 3 also norm what each half gives, and
 * alternate windows with full attention; 2 bends scores and logits by tanh, 3 norms q and k and turns
 * its windows by another base.
 */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "runtime/models/decoder.h"

extern const model_arch gemma_arch, gemma2_arch, gemma3_arch;

typedef struct {
    decoder d;
    float query_scalar, local_theta, score_cap;
    int pattern;
} gemma;

static const config_row config[] = {
    DECODER_CONFIG,
    RMS_NORM_CONFIG,
    {"query_pre_attn_scalar", NULL, CONFIG_FLOAT, offsetof(gemma, query_scalar), 0, false},
    {"rope_local_base_freq|rope_parameters.sliding_attention.rope_theta", "rope.freq_base_swa",
     CONFIG_FLOAT, offsetof(gemma, local_theta), 10000, false},
    {"attn_logit_softcapping", "attn_logit_softcapping", CONFIG_FLOAT, offsetof(gemma, score_cap), 0,
     false},
    {"final_logit_softcapping", "final_logit_softcapping", CONFIG_FLOAT, DECODER(logit_cap), 0, false},
    {"sliding_window_pattern|_sliding_window_pattern", NULL, CONFIG_INT, offsetof(gemma, pattern), 0,
     false},
};

/* What GGUF's gemma 2 and 3 call the norms around the second half is its own. */
#define SANDWICH_ROWS                                                                              \
    VECTOR("input_layernorm.weight", "attn_norm.weight", WEIGHT_PLUS_ONE, attn_norm, HIDDEN),      \
    VECTOR("post_attention_layernorm.weight", "post_attention_norm.weight", WEIGHT_PLUS_ONE,       \
           attn_post_norm, HIDDEN),                                                                \
    VECTOR("pre_feedforward_layernorm.weight", "ffn_norm.weight", WEIGHT_PLUS_ONE, mlp_norm,       \
           HIDDEN),                                                                                \
    VECTOR("post_feedforward_layernorm.weight", "post_ffw_norm.weight", WEIGHT_PLUS_ONE,           \
           mlp_post_norm, HIDDEN)

static const weight_row gemma_weights[] = {
    ENDS_ROWS(WEIGHT_PLUS_ONE), PRE_NORM_ROWS(WEIGHT_PLUS_ONE), QKV_ROWS, O_ROW, MLP_ROWS(0),
};
static const weight_row gemma2_weights[] = {
    ENDS_ROWS(WEIGHT_PLUS_ONE), SANDWICH_ROWS, QKV_ROWS, O_ROW, MLP_ROWS(0),
};
static const weight_row gemma3_weights[] = {
    ENDS_ROWS(WEIGHT_PLUS_ONE), SANDWICH_ROWS, QKV_ROWS, O_ROW, QK_NORM_ROWS(WEIGHT_PLUS_ONE),
    MLP_ROWS(0),
};

/* The settings of Gemma 3 lie in text_config where a checkpoint has images too. */
static bool setup(model *base, const config_source *from)
{
    gemma *g = (gemma *)base;
    decoder *d = &g->d;
    if (!decoder_activation(d, from, "gelu_pytorch_tanh"))
        return false;
    if (d->act == NN_GELU) /* an old mistake in settings: the models were trained with tanh's */
        d->act = NN_GELU_TANH;
    d->embed_scale = sqrtf((float)base->hidden_size);
    if (!decoder_setup(d, from, false))
        return false;
    if (g->query_scalar > 0)
        d->attention.scale = d->local.scale = 1 / sqrtf(g->query_scalar);
    d->tied = true;
    return true;
}

static bool setup_gemma2(model *base, const config_source *from)
{
    gemma *g = (gemma *)base;
    if (!setup(base, from))
        return false;
    g->d.attention.softcap = g->d.local.softcap = g->score_cap;
    if (from->gguf && base->n_layers == 46) /* 27B, whose scale GGUF does not tell */
        g->d.attention.scale = g->d.local.scale =
            1 / sqrtf((float)base->hidden_size / (float)base->n_heads);
    decoder_windows(&g->d, from, g->pattern ? g->pattern : 2);
    return true;
}

static bool setup_gemma3(model *base, const config_source *from)
{
    gemma *g = (gemma *)base;
    decoder *d = &g->d;
    if (d->rope_theta == 10000)
        d->rope_theta = 1e6f;
    if (!setup(base, from))
        return false;
    if (from->gguf && base->n_layers == 62) /* 27B, likewise */
        d->attention.scale = d->local.scale = 1 / sqrtf((float)base->hidden_size / (float)base->n_heads);
    d->local.rope = nn_rope_plain(d->attention.rope.dims, g->local_theta, false);
    decoder_windows(d, from, g->pattern ? g->pattern : 6);
    return true;
}

static const char *const gemma3_aliases[] = {"gemma3", NULL};

#define ARCH_OF(id, text, also, rows, set_up, run)                                                 \
    const model_arch id = {                                                                        \
        .name = text, .aliases = also, .size = sizeof(gemma), .layer_size = sizeof(decoder_layer), \
        .config = config, .n_config = sizeof config / sizeof *config,                              \
        .weights = rows, .n_weights = sizeof rows / sizeof *rows,                                  \
        .setup = set_up, .prepare = decoder_prepare, .clear = decoder_clear, .forward = run,       \
    }
ARCH_OF(gemma_arch, "gemma", NULL, gemma_weights, setup, decoder_pre_norm_forward);
ARCH_OF(gemma2_arch, "gemma2", NULL, gemma2_weights, setup_gemma2, decoder_sandwich_forward);
ARCH_OF(gemma3_arch, "gemma3_text", gemma3_aliases, gemma3_weights, setup_gemma3,
        decoder_sandwich_forward);
