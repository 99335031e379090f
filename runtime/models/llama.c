/*
 * llama.c: Llama and what is wired like it: pre-norm decoder blocks with grouped-query attention,
 * rotary positions, and a SiLU-gated MLP or experts of them.
 *
 *     x = embed(tokens)
 *     for each layer:  x += o(attend(q(h), k(h), v(h)))   with h = rms_norm(x)
 *                      x += down(silu(gate(h)) * up(h))    with h = rms_norm(x)
 *     logits = head(rms_norm(x))
 *
 * Relatives add a window (mistral), layers without rotation (smollm3), experts (mixtral), factors of
 * embedding, residual, attention and logits (granite, minicpm), or norms of q and k (hunyuan).
 */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "runtime/models/decoder.h"

extern const model_arch llama_arch;

static const config_row config[] = {
    DECODER_CONFIG,
    RMS_NORM_CONFIG,
    {"embedding_multiplier|scale_emb", "embedding_scale", CONFIG_FLOAT, DECODER(embed_scale), 1, false},
    {"residual_multiplier", "residual_scale", CONFIG_FLOAT, DECODER(residual_scale), 1, false},
};

static const weight_row weights[] = {
    ENDS_ROWS(0),
    PRE_NORM_ROWS(0),
    ATTENTION_ROWS,
    VECTOR("self_attn.query_layernorm.weight|model.layers.%d.self_attn.q_norm.weight", "attn_q_norm.weight",
           WEIGHT_KIND(LAYER_QK_NORM), attn.turned_q_norm, BASE(head_dim)),
    VECTOR("self_attn.key_layernorm.weight|model.layers.%d.self_attn.k_norm.weight", "attn_k_norm.weight",
           WEIGHT_KIND(LAYER_QK_NORM), attn.turned_k_norm, BASE(head_dim)),
    MLP_ROWS(WEIGHT_KIND(LAYER_DENSE)),
    MLP_BIAS_ROWS,
    ROUTER_ROW("block_sparse_moe.gate"),
    EXPERT_ROWS("block_sparse_moe", "w1", "w3", "w2"),
    ROPE_ROWS,
};

/* Factors that some relatives multiply in; their names and directions differ. */
static void setup_scales(decoder *d, const config_source *from)
{
    double scale = config_item(from, "attention_multiplier", "attention.scale", 0, 0);
    double logits = config_item(from, "logits_scaling", "logit_scale", 0, 1);
    double depth = config_item(from, "scale_depth", NULL, 0, 0);
    double width = config_item(from, "dim_model_base", NULL, 0, 0);
    if (scale > 0)
        d->attention.scale = d->local.scale = (float)scale;
    if (logits > 0)
        d->logit_scale = (float)(1 / logits);
    if (depth > 0)
        d->residual_scale = (float)(depth / sqrt(d->base.n_layers));
    if (width > 0)
        d->logit_scale = (float)(width / d->base.hidden_size);
}

/* Hunyuan norms each head's q and k once they are turned, and stretches the base by a factor that its
 * settings call dynamic and that never changes. */
static bool setup_hunyuan(decoder *d, const config_source *from)
{
    double alpha = nx_json_get_real(from->json, "rope_scaling.alpha", 0);
    int dims = d->attention.rope.dims;
    if (nx_json_get_bool(from->json, "use_qk_norm", true))
        decoder_kinds(d, LAYER_QK_NORM);
    if (alpha > 0 && dims > 2) {
        d->attention.rope.base = (float)(d->rope_theta * pow(alpha, dims / (dims - 2.0)));
        d->attention.rope.dynamic_factor = 0;
    }
    return true;
}

/* smollm3: no_rope_layers[i] is 0 where layer i does not turn; without the list, every fourth. */
static void setup_unturned(decoder *d, const config_source *from)
{
    int interval = (int)nx_json_get_int(from->json, "no_rope_layer_interval", 4);
    if (strcmp(from->arch, "smollm3") != 0)
        return;
    for (int i = 0; i < d->base.n_layers; i++)
        if (config_item(from, "no_rope_layers", NULL, i, interval < 1 || (i + 1) % interval != 0) == 0)
            d->base.kinds[i] |= LAYER_UNTURNED;
}

static bool setup(model *base, const config_source *from)
{
    decoder *d = (decoder *)base;
    /* GGUF's llama stores pairs as neighbours; ernie4_5 turns such everywhere. */
    bool hunyuan = strncmp(from->arch, "hunyuan", 7) == 0;
    bool pairs = (from->gguf && !hunyuan) || strcmp(from->arch, "ernie4_5") == 0;
    if (!decoder_activation(d, from, "silu") || !decoder_setup(d, from, pairs))
        return false;
    decoder_kinds(d, base->n_experts ? LAYER_MOE : LAYER_DENSE);
    if (nx_json_has(from->json, "layer_types") || strcmp(from->arch, "mistral") == 0 ||
        strcmp(from->arch, "mixtral") == 0)
        decoder_windows(d, from, 0);
    d->router.late = true;
    setup_scales(d, from);
    setup_unturned(d, from);
    return !hunyuan || setup_hunyuan(d, from);
}

static const char *const aliases[] = {"mistral", "mixtral", "smollm3", "granite", "minicpm", "ernie4_5",
                                      "hunyuan_v1_dense", "hunyuan-dense", NULL};

const model_arch llama_arch = {
    .name = "llama", .aliases = aliases, .size = sizeof(decoder), .layer_size = sizeof(decoder_layer),
    .config = config, .n_config = sizeof config / sizeof *config,
    .weights = weights, .n_weights = sizeof weights / sizeof *weights,
    .setup = setup, .prepare = decoder_prepare, .clear = decoder_clear,
    .forward = decoder_pre_norm_forward,
};
