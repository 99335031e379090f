/*
 * llama.c: Llama and what is wired like it: pre-norm decoder blocks with grouped-query attention,
 * rotary positions and a SiLU-gated MLP.
 *
 *     x = embed(tokens)
 *     for each layer:  x += o(attend(q(h), k(h), v(h)))   with h = rms_norm(x)
 *                      x += down(silu(gate(h)) * up(h))    with h = rms_norm(x)
 *     logits = head(rms_norm(x))
 */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/models/model.h"

extern const model_arch llama_arch;

typedef struct {
    nn_weight attn_norm, q, k, v, o;
    nn_weight q_bias, k_bias, v_bias, o_bias;
    nn_weight mlp_norm, gate, up, down;
    nn_weight gate_bias, up_bias, down_bias;
} llama_layer;

typedef struct {
    model base;
    float rms_norm_eps, rope_theta;
    int rope_dims;
    bool rope_traditional, tied;
    nn_attention attention;
    nn_weight embed, norm, head, rope_freqs;
    mlx_array freqs; /* rotation periods [rope_dims / 2] where scaling changes them; else empty */
    float scaling_factor, low_freq_factor, high_freq_factor; /* "llama3" */
    int original_context;
    bool scaled;
} llama;

#define BASE(member) offsetof(llama, base) + offsetof(model, member)

static const config_row config[] = {
    {"num_hidden_layers", "block_count", CONFIG_INT, BASE(n_layers), 0, true},
    {"hidden_size", "embedding_length", CONFIG_INT, BASE(hidden_size), 0, true},
    {"intermediate_size", "feed_forward_length", CONFIG_INT, BASE(intermediate_size), 0, true},
    {"num_attention_heads", "attention.head_count", CONFIG_INT, BASE(n_heads), 0, true},
    {"num_key_value_heads", "attention.head_count_kv", CONFIG_INT, BASE(n_kv_heads), 0, false},
    {"head_dim", "attention.key_length", CONFIG_INT, BASE(head_dim), 0, false},
    {"vocab_size", "vocab_size", CONFIG_INT, BASE(vocab_size), 0, false},
    {"max_position_embeddings", "context_length", CONFIG_INT, BASE(max_context), 2048, false},
    {"rms_norm_eps", "attention.layer_norm_rms_epsilon", CONFIG_FLOAT,
     offsetof(llama, rms_norm_eps), 1e-6, false},
    {"rope_theta", "rope.freq_base", CONFIG_FLOAT, offsetof(llama, rope_theta), 10000, false},
    {NULL, "rope.dimension_count", CONFIG_INT, offsetof(llama, rope_dims), 0, false},
    {"tie_word_embeddings", NULL, CONFIG_BOOL, offsetof(llama, tied), 0, false},
};

#define LAYER(hf, gguf, member, optional)                                             \
    {                                                                                 \
        "model.layers.%d." hf, "blk.%d." gguf, WEIGHT_LAYER | (optional),             \
            offsetof(llama_layer, member)                                             \
    }

static const weight_row weights[] = {
    {"model.embed_tokens.weight", "token_embd.weight", 0, offsetof(llama, embed)},
    LAYER("input_layernorm.weight", "attn_norm.weight", attn_norm, 0),
    LAYER("self_attn.q_proj.weight", "attn_q.weight", q, 0),
    LAYER("self_attn.k_proj.weight", "attn_k.weight", k, 0),
    LAYER("self_attn.v_proj.weight", "attn_v.weight", v, 0),
    LAYER("self_attn.o_proj.weight", "attn_output.weight", o, 0),
    LAYER("self_attn.q_proj.bias", "attn_q.bias", q_bias, WEIGHT_OPTIONAL),
    LAYER("self_attn.k_proj.bias", "attn_k.bias", k_bias, WEIGHT_OPTIONAL),
    LAYER("self_attn.v_proj.bias", "attn_v.bias", v_bias, WEIGHT_OPTIONAL),
    LAYER("self_attn.o_proj.bias", "attn_output.bias", o_bias, WEIGHT_OPTIONAL),
    LAYER("post_attention_layernorm.weight", "ffn_norm.weight", mlp_norm, 0),
    LAYER("mlp.gate_proj.weight", "ffn_gate.weight", gate, 0),
    LAYER("mlp.up_proj.weight", "ffn_up.weight", up, 0),
    LAYER("mlp.down_proj.weight", "ffn_down.weight", down, 0),
    LAYER("mlp.gate_proj.bias", "ffn_gate.bias", gate_bias, WEIGHT_OPTIONAL),
    LAYER("mlp.up_proj.bias", "ffn_up.bias", up_bias, WEIGHT_OPTIONAL),
    LAYER("mlp.down_proj.bias", "ffn_down.bias", down_bias, WEIGHT_OPTIONAL),
    {"model.norm.weight", "output_norm.weight", 0, offsetof(llama, norm)},
    {"lm_head.weight", "output.weight", WEIGHT_OPTIONAL, offsetof(llama, head)},
    {NULL, "rope_freqs.weight", WEIGHT_OPTIONAL, offsetof(llama, rope_freqs)},
};

/* config.json's rope_scaling. What is not known is refused: another rotation gives other answers. */
static bool read_scaling(llama *m, const json_t *json)
{
    const json_t *s = nx_json_get(json, "rope_scaling");
    if (!json_is_object(s))
        return true;
    const char *type = nx_json_get_str(s, "rope_type", nx_json_get_str(s, "type", "default"));
    double factor = nx_json_get_real(s, "factor", 1);
    if (strcmp(type, "default") == 0)
        return true;
    if (factor < 1)
        return nx_fail("[llama] rope_scaling.factor %g is under 1", factor);
    if (strcmp(type, "linear") == 0) {
        m->attention.rope_scale = (float)(1 / factor);
        return true;
    }
    if (strcmp(type, "llama3") != 0)
        return nx_fail("[llama] rope scaling '%s' is not supported; supported are: linear, llama3",
                       type);
    m->scaled = true;
    m->scaling_factor = (float)factor;
    m->low_freq_factor = (float)nx_json_get_real(s, "low_freq_factor", 1);
    m->high_freq_factor = (float)nx_json_get_real(s, "high_freq_factor", 4);
    m->original_context = (int)nx_json_get_int(s, "original_max_position_embeddings", 8192);
    return m->high_freq_factor > m->low_freq_factor ||
           nx_fail("[llama] rope_scaling: high_freq_factor must be over low_freq_factor");
}

/* GGUF says the same in metadata; "llama3" comes as the tensor rope_freqs. */
static bool read_scaling_gguf(llama *m, const config_source *from)
{
    nx_slice type = nx_gguf_str(nx_gguf_findf(from->gguf, "%s.rope.scaling.type", from->arch));
    double factor = nx_gguf_f64(nx_gguf_findf(from->gguf, "%s.rope.scaling.factor", from->arch), 1);
    if (!type.data || nx_slice_is(type, "none"))
        return true;
    if (!nx_slice_is(type, "linear"))
        return nx_fail("[llama] rope scaling '%.*s' is not supported; supported are: linear, llama3",
                       (int)type.len, type.data);
    if (factor < 1)
        return nx_fail("[llama] rope.scaling.factor %g is under 1", factor);
    m->attention.rope_scale = (float)(1 / factor);
    return true;
}

static bool setup(model *base, const config_source *from)
{
    llama *m = (llama *)base;
    const nx_gguf_kv *tokens = from->gguf ? nx_gguf_find(from->gguf, "tokenizer.ggml.tokens") : NULL;
    if (!base->n_kv_heads)
        base->n_kv_heads = base->n_heads;
    if (!base->head_dim && base->n_heads > 0)
        base->head_dim = base->hidden_size / base->n_heads;
    if (!base->vocab_size && tokens && tokens->count < 1 << 28)
        base->vocab_size = (int)tokens->count;
    if (!m->rope_dims)
        m->rope_dims = base->head_dim;
    if (base->n_heads < 1 || base->n_kv_heads < 1 || base->n_heads % base->n_kv_heads ||
        base->head_dim < 2 || base->hidden_size < 1 || base->intermediate_size < 1 ||
        base->vocab_size < 1 || base->max_context < 1 || m->rope_dims > base->head_dim ||
        m->rope_dims < 0 || m->rope_dims % 2 || base->n_kv_heads > base->n_heads ||
        (int64_t)base->n_heads * base->head_dim > 1 << 24)
        return nx_fail("[llama] the settings make no model: hidden size %d, %d heads, %d KV heads of "
                       "%d, vocabulary %d", base->hidden_size, base->n_heads, base->n_kv_heads,
                       base->head_dim, base->vocab_size);
    m->rope_traditional = from->gguf != NULL; /* GGUF's llama stores pairs as neighbours */
    m->attention = (nn_attention){
        .n_heads = base->n_heads, .n_kv_heads = base->n_kv_heads, .head_dim = base->head_dim,
        .scale = 1.0f / sqrtf((float)base->head_dim), .rope_dims = m->rope_dims,
        .rope_traditional = m->rope_traditional, .rope_base = m->rope_theta, .rope_scale = 1.0f,
    };
    int window = (int)nx_json_get_int(from->json, "sliding_window", 0);
    if (window > 0 && window < base->max_context &&
        nx_json_get_bool(from->json, "use_sliding_window", true))
        return nx_fail("[llama] attention within a sliding window of %d tokens is not supported",
                       window);
    return from->json ? read_scaling(m, from->json) : read_scaling_gguf(m, from);
}

/* Periods of the rotation with Llama 3.1's correction: long wavelengths are stretched by the
 * factor, short ones kept, those between blended. */
static void llama3_periods(const llama *m, float *periods)
{
    const double pi = 3.14159265358979323846;
    for (int i = 0; i < m->rope_dims / 2; i++) {
        double period = pow(m->rope_theta, 2.0 * i / m->rope_dims), wavelength = 2 * pi * period;
        double low = m->original_context / (double)m->low_freq_factor;
        double high = m->original_context / (double)m->high_freq_factor;
        double smooth = (m->original_context / wavelength - m->low_freq_factor) /
                        (m->high_freq_factor - m->low_freq_factor);
        double frequency = (1 - smooth) / (m->scaling_factor * period) + smooth / period;
        if (wavelength > low)
            frequency = 1 / (m->scaling_factor * period);
        else if (wavelength < high)
            frequency = 1 / period;
        periods[i] = (float)(1 / frequency);
    }
}

/* GGUF's rope_freqs: one divisor of the frequency a pair. */
static bool factor_periods(const llama *m, float *periods)
{
    const float *factors = mlx_array_data_float32(m->rope_freqs.w);
    if (m->rope_freqs.cols != m->rope_dims / 2 || !factors)
        return nx_fail("[llama] tensor 'rope_freqs.weight' must hold %d float32 numbers",
                       m->rope_dims / 2);
    for (int i = 0; i < m->rope_dims / 2; i++)
        periods[i] = (float)(pow(m->rope_theta, 2.0 * i / m->rope_dims) * factors[i]);
    return true;
}

/* Shapes must agree with the settings before anything is multiplied. */
static bool check_shape(const char *what, const nn_weight *w, int rows, int cols)
{
    bool vector = rows == 1; /* norms and biases are numbers, never blocks */
    if (w->form == NN_ABSENT)
        return true;
    if (vector && (w->form != NN_PLAIN || mlx_array_ndim(w->w) != 1))
        return nx_fail("[llama] %s must be %d plain floating-point numbers in one dimension", what,
                       cols);
    if (w->rows == rows && w->cols == cols)
        return true;
    return nx_fail("[llama] %s has shape (%d,%d), the settings say (%d,%d)", what, w->rows, w->cols,
                   rows, cols);
}

static bool check_shapes(const llama *m)
{
    const model *b = &m->base;
    int q = b->n_heads * b->head_dim, kv = b->n_kv_heads * b->head_dim;
    bool ok = check_shape("the embedding", &m->embed, b->vocab_size, b->hidden_size) &&
              check_shape("the output head", &m->head, b->vocab_size, b->hidden_size) &&
              check_shape("the last norm", &m->norm, 1, b->hidden_size);
    for (int i = 0; ok && i < b->n_layers; i++) {
        const llama_layer *l = &((llama_layer *)b->layers)[i];
        ok = check_shape("attention norm", &l->attn_norm, 1, b->hidden_size) &&
             check_shape("q", &l->q, q, b->hidden_size) &&
             check_shape("k", &l->k, kv, b->hidden_size) &&
             check_shape("v", &l->v, kv, b->hidden_size) &&
             check_shape("o", &l->o, b->hidden_size, q) &&
             check_shape("mlp norm", &l->mlp_norm, 1, b->hidden_size) &&
             check_shape("gate", &l->gate, b->intermediate_size, b->hidden_size) &&
             check_shape("up", &l->up, b->intermediate_size, b->hidden_size) &&
             check_shape("down", &l->down, b->hidden_size, b->intermediate_size) &&
             check_shape("q bias", &l->q_bias, 1, q) && check_shape("k bias", &l->k_bias, 1, kv) &&
             check_shape("v bias", &l->v_bias, 1, kv) &&
             check_shape("o bias", &l->o_bias, 1, b->hidden_size) &&
             check_shape("gate bias", &l->gate_bias, 1, b->intermediate_size) &&
             check_shape("up bias", &l->up_bias, 1, b->intermediate_size) &&
             check_shape("down bias", &l->down_bias, 1, b->hidden_size);
    }
    return ok;
}

static bool prepare(model *base, nn_source *source)
{
    llama *m = (llama *)base;
    if (!check_shapes(m))
        return false;
    if (m->head.form == NN_ABSENT)
        m->tied = true;
    bool has_factors = m->rope_freqs.form != NN_ABSENT;
    if (!m->scaled && !has_factors)
        return true;
    float *periods = nx_malloc((size_t)m->rope_dims / 2 * sizeof *periods);
    bool ok = true;
    if (has_factors)
        ok = factor_periods(m, periods);
    else
        llama3_periods(m, periods);
    if (ok)
        m->attention.rope_freqs = m->freqs =
            mlx_array_new_data(periods, (int[]){m->rope_dims / 2}, 1, MLX_FLOAT32);
    free(periods);
    return ok && m->freqs.ctx;
}

static void clear(model *base)
{
    mlx_array_free(((llama *)base)->freqs);
}

static mlx_array attention_block(nn *c, llama *m, llama_layer *l, int layer, const nn_batch *b,
                                 mlx_array x)
{
    mlx_array h = nn_rms_norm(c, x, nn_vector(c, &l->attn_norm), m->rms_norm_eps); /* [T, D] */
    mlx_array q = nn_linear(c, h, &l->q, &l->q_bias);
    mlx_array k = nn_linear(c, h, &l->k, &l->k_bias);
    mlx_array v = nn_linear(c, h, &l->v, &l->v_bias);
    mlx_array y = nn_attend(c, &m->attention, b, layer, q, k, v);
    return nn_linear(c, y, &l->o, &l->o_bias);
}

static mlx_array mlp_block(nn *c, llama *m, llama_layer *l, mlx_array x)
{
    mlx_array h = nn_rms_norm(c, x, nn_vector(c, &l->mlp_norm), m->rms_norm_eps);
    mlx_array gate = nn_silu(c, nn_linear(c, h, &l->gate, &l->gate_bias)); /* [T, F] */
    mlx_array up = nn_linear(c, h, &l->up, &l->up_bias);
    return nn_linear(c, nn_mul(c, gate, up), &l->down, &l->down_bias);
}

static mlx_array forward(nn *c, model *base, const nn_batch *b)
{
    llama *m = (llama *)base;
    mlx_array x = nn_embedding(c, &m->embed, b->tokens); /* [T, D] */
    for (int i = 0; i < base->n_layers; i++) {
        llama_layer *l = &((llama_layer *)base->layers)[i];
        x = nn_add(c, x, attention_block(c, m, l, i, b, x));
        x = nn_add(c, x, mlp_block(c, m, l, x));
    }
    x = nn_last_rows(c, x, b); /* [n, D] */
    if (!x.ctx)
        return x; /* in the middle of a prompt: only the caches matter */
    x = nn_rms_norm(c, x, nn_vector(c, &m->norm), m->rms_norm_eps);
    return nn_linear(c, x, m->tied ? &m->embed : &m->head, NULL);
}

static const char *const aliases[] = {"mistral", NULL};

const model_arch llama_arch = {
    .name = "llama", .aliases = aliases, .size = sizeof(llama), .layer_size = sizeof(llama_layer),
    .config = config, .n_config = sizeof config / sizeof *config,
    .weights = weights, .n_weights = sizeof weights / sizeof *weights,
    .setup = setup, .prepare = prepare, .clear = clear, .forward = forward,
};
