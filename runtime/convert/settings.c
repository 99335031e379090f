#include "runtime/convert/settings.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/ggml_types.h"
#include "base/log.h"
#include "base/str.h"
#include "runtime/convert/family_keys.h"
#include "runtime/models/decoder.h"

typedef enum { WHOLE, REAL, TRUTH } kind;

/* What both formats say, in other words. `hf` may list names to read, of which the first is written. */
typedef struct {
    const char *hf, *gpt2, *gguf; /* gpt2: what that family writes instead */
    kind kind;
} setting;

static const setting table[] = {
    {"num_hidden_layers|n_layer", "n_layer", "block_count", WHOLE},
    {"max_position_embeddings|n_positions|n_ctx", "n_positions", "context_length", WHOLE},
    {"hidden_size|n_embd", "n_embd", "embedding_length", WHOLE},
    {"intermediate_size|n_inner|ffn_hidden_size", "n_inner", "feed_forward_length", WHOLE},
    {"num_attention_heads|n_head", "n_head", "attention.head_count", WHOLE},
    {"num_key_value_heads|num_kv_heads", NULL, "attention.head_count_kv", WHOLE},
    {"head_dim", NULL, "attention.key_length", WHOLE},
    {"vocab_size", "vocab_size", "vocab_size", WHOLE},
    {"rms_norm_eps|norm_eps", NULL, "attention.layer_norm_rms_epsilon", REAL},
    {"layer_norm_eps|layer_norm_epsilon|norm_epsilon", "layer_norm_epsilon",
     "attention.layer_norm_epsilon", REAL},
    {"rope_theta|rotary_emb_base|rope_parameters.rope_theta|rope_parameters.full_attention.rope_theta",
     NULL, "rope.freq_base", REAL},
    {"rope_local_base_freq|rope_parameters.sliding_attention.rope_theta", NULL, "rope.freq_base_swa", REAL},
    {"sliding_window", NULL, "attention.sliding_window", WHOLE},
    {"num_local_experts|num_experts|n_routed_experts", NULL, "expert_count", WHOLE},
    {"num_experts_per_tok|experts_per_token", NULL, "expert_used_count", WHOLE},
    {"moe_intermediate_size", NULL, "expert_feed_forward_length", WHOLE},
    {"shared_expert_intermediate_size", NULL, "expert_shared_feed_forward_length", WHOLE},
    {"norm_topk_prob", NULL, "expert_weights_norm", TRUTH},
    {"embedding_multiplier|scale_emb", NULL, "embedding_scale", REAL},
    {"residual_multiplier", NULL, "residual_scale", REAL},
    {"attention_multiplier", NULL, "attention.scale", REAL},
    {"logits_scaling|logit_scale", NULL, "logit_scale", REAL},
    {"attn_logit_softcapping", NULL, "attn_logit_softcapping", REAL},
    {"final_logit_softcapping", NULL, "final_logit_softcapping", REAL},
    {"use_parallel_residual", NULL, "use_parallel_residual", TRUTH},
};
enum { SETTINGS = sizeof table / sizeof *table };

/* ---- config.json ------------------------------------------------------------------------------ */

/* Families that name a setting otherwise than most. */
static const char *written_name(const family *f, const setting *s)
{
    static const struct {
        const char *family, *usual, *own;
    } others[] = {
        {"qwen2_moe", "num_local_experts", "num_experts"}, {"qwen3_moe", "num_local_experts", "num_experts"},
        {"olmoe", "num_local_experts", "num_experts"}, {"starcoder2", "layer_norm_eps", "norm_epsilon"},
        {"minicpm", "embedding_multiplier", "scale_emb"}, {"cohere2", "logits_scaling", "logit_scale"},
        {"cohere2", "rms_norm_eps", NULL}, {"stablelm", "rms_norm_eps", NULL},
        {"starcoder2", "rms_norm_eps", NULL},
    };
    static _Thread_local char name[96];
    if (f->flags & FAMILY_GPT2)
        return s->gpt2;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(s->hf, "|"), s->hf);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(others[i].family, f->model_type) == 0 && strcmp(others[i].usual, name) == 0)
            return others[i].own;
    bool wrong_norm = strncmp(s->gguf, "attention.layer_norm", 20) == 0 &&
                      (strstr(s->gguf, "rms") == NULL) != ((f->flags & FAMILY_LAYER_NORM) != 0);
    return wrong_norm ? NULL : name;
}

static json_t *number_json(kind k, double v)
{
    char text[40];
    if (k == TRUTH)
        return json_boolean(v != 0);
    if (k == WHOLE)
        return json_integer(nx_int_of(v));
    /* GGUF has 32 bits of it: the shortest decimal that gives them back. */
    for (int digits = 6; digits < 10; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtof(text, NULL) == (float)v)
            break;
    }
    return json_real(strtod(text, NULL));
}

static void put_settings(const plan *p, json_t *o)
{
    const config_source *from = &p->from->config;
    for (int i = 0; i < SETTINGS; i++) {
        const char *name = written_name(p->kin, &table[i]);
        double none = -1e300, v = config_item(from, NULL, table[i].gguf, 0, none);
        if (name && v > none / 2)
            json_object_set_new(o, name, number_json(table[i].kind, v));
    }
    json_object_set_new(o, p->kin->flags & FAMILY_GPT2 ? "n_positions" : "max_position_embeddings",
                        json_integer(p->m->max_context));
    json_object_set_new(o, "vocab_size", json_integer(p->m->vocab_size));
}

static bool has_tensor(const plan *p, const char *gguf)
{
    for (size_t i = 0; i < p->items.n; i++)
        if (strcmp(plan_role(&p->items.at[i]), gguf) == 0)
            return true;
    return false;
}

static void put_token(const plan *p, json_t *o, const char *gguf, const char *name)
{
    uint64_t id = nx_gguf_get_u64(p->from->config.gguf, gguf, UINT64_MAX);
    if (id < (uint64_t)p->m->vocab_size)
        json_object_set_new(o, name, json_integer((json_int_t)id));
}

/* ---- rotation ---- */

/* What Llama 3 divides each frequency by. */
static double llama3_divisor(double base, int dims, int i, double factor, double low, double high,
                             double original)
{
    double wave = 2 * 3.14159265358979323846 * pow(base, 2.0 * i / dims);
    if (wave < original / high)
        return 1;
    if (wave > original / low)
        return factor;
    double smooth = (original / wave - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
}

static const decoder *as_decoder(const plan *p)
{
    return p->m->arch->size >= sizeof(decoder) ? (const decoder *)p->m : NULL;
}

static json_t *factor_list(const plan *p, const char *gguf)
{
    for (size_t i = 0; i < p->items.n; i++) {
        item *t = &p->items.at[i];
        if (strcmp(plan_role(t), gguf) != 0 || t->rows * t->cols > 1 << 16)
            continue;
        float *v = nx_malloc((size_t)(t->rows * t->cols) * sizeof *v);
        json_t *list = item_read(t, false, 0, t->rows, v) ? json_array() : NULL;
        for (int64_t k = 0; list && k < t->rows * t->cols; k++)
            json_array_append_new(list, number_json(REAL, (double)v[k]));
        free(v);
        return list;
    }
    return NULL;
}

/* GGUF has Llama 3's rotation as a tensor; the settings that make it are looked for. */
static bool put_llama3(const plan *p, json_t *o)
{
    json_t *list = factor_list(p, "rope_freqs.weight");
    const decoder *d = as_decoder(p);
    int n = (int)json_array_size(list), dims = 2 * n;
    double factor = n ? json_real_value(json_array_get(list, (size_t)n - 1)) : 0;
    bool found = false;
    for (int original = 1024; d && factor >= 1 && original <= 65536 && !found; original *= 2) {
        found = true;
        for (int i = 0; i < n && found; i++) {
            double v = json_real_value(json_array_get(list, (size_t)i));
            double should = llama3_divisor(d->rope_theta, dims, i, factor, 1, 4, original);
            found = fabs(v - should) < 1e-3 * should;
        }
        if (found)
            json_object_set_new(o, "rope_scaling",
                                json_pack("{s:s, s:f, s:f, s:f, s:i}", "rope_type", "llama3", "factor", factor,
                                          "low_freq_factor", 1.0, "high_freq_factor", 4.0,
                                          "original_max_position_embeddings", original));
    }
    json_decref(list);
    return found || nx_fail("[%s] the rotation in rope_freqs is none that config.json can say",
                            p->from->path);
}

static bool put_rotation(const plan *p, json_t *o)
{
    const config_source *from = &p->from->config;
    char key[96];
    if (has_tensor(p, "rope_freqs.weight"))
        return put_llama3(p, o);
    snprintf(key, sizeof key, "%s.rope.scaling.type", from->arch);
    nx_slice type = nx_gguf_get_str(from->gguf, key);
    double factor = config_item(from, NULL, "rope.scaling.factor", 0, 0);
    double original = config_item(from, NULL, "rope.scaling.original_context_length", 0, 0);
    if (has_tensor(p, "rope_factors_long.weight")) {
        json_object_set_new(o, "rope_scaling",
                            json_pack("{s:s, s:o, s:o}", "type", "longrope", "long_factor",
                                      factor_list(p, "rope_factors_long.weight"), "short_factor",
                                      factor_list(p, "rope_factors_short.weight")));
        if (original > 0)
            json_object_set_new(o, "original_max_position_embeddings", json_integer(nx_int_of(original)));
    } else if (nx_slice_is(type, "linear") || nx_slice_is(type, "yarn")) {
        char name[16];
        snprintf(name, sizeof name, "%.*s", (int)type.len, type.data);
        json_t *s = json_pack("{s:s, s:f}", "rope_type", name, "factor", factor);
        if (original > 0)
            json_object_set_new(s, "original_max_position_embeddings", json_integer(nx_int_of(original)));
        json_object_set_new(o, "rope_scaling", s);
    } else if (type.data && !nx_slice_is(type, "none")) {
        return nx_fail("[%s] the rotation '%.*s' is none that config.json can say", p->from->path,
                       (int)(type.len < 60 ? type.len : 60), type.data);
    }
    return true;
}

static void put_partial(const plan *p, json_t *o)
{
    const decoder *d = as_decoder(p);
    if (d && p->m->head_dim > 0 && d->rope_dims > 0 && d->rope_dims != p->m->head_dim)
        json_object_set_new(o, "partial_rotary_factor", json_real((double)d->rope_dims / p->m->head_dim));
}

/* Gemma 2 and 3 scale their queries by a number that GGUF leaves out but for one size. */
static void put_gemma(const plan *p, json_t *o)
{
    bool large = p->m->n_layers == 46 || p->m->n_layers == 62;
    json_object_set_new(o, "query_pre_attn_scalar",
                        json_integer(large ? p->m->hidden_size / p->m->n_heads : p->m->head_dim));
    if (strcmp(p->kin->model_type, "gemma3_text") == 0)
        json_object_set_new(o, "sliding_window_pattern", json_integer(6));
}

static void put_minicpm(const plan *p, json_t *o)
{
    const decoder *d = as_decoder(p);
    json_object_del(o, "residual_multiplier");
    json_object_del(o, "logits_scaling");
    json_object_set_new(o, "scale_depth", json_real((double)d->residual_scale * sqrt(p->m->n_layers)));
    json_object_set_new(o, "dim_model_base",
                        json_integer((json_int_t)lround((double)d->logit_scale * p->m->hidden_size)));
}

static json_t *config_of_gguf(const plan *p)
{
    json_t *o = family_carried(p->from->config.gguf);
    if (o && strcmp(nx_json_get_str(o, "model_type", ""), p->kin->model_type) == 0)
        return o;
    json_decref(o);
    o = p->kin->fixed ? nx_json_parse(p->kin->fixed, strlen(p->kin->fixed), "settings") : json_object();
    json_object_set_new(o, "architectures", json_pack("[s]", p->kin->class_name));
    json_object_set_new(o, "model_type", json_string(p->kin->model_type));
    put_settings(p, o);
    put_partial(p, o);
    json_object_set_new(o, "tie_word_embeddings", json_boolean(!has_tensor(p, "output.weight")));
    put_token(p, o, "tokenizer.ggml.bos_token_id", "bos_token_id");
    put_token(p, o, "tokenizer.ggml.eos_token_id", "eos_token_id");
    put_token(p, o, "tokenizer.ggml.padding_token_id", "pad_token_id");
    if (strncmp(p->kin->model_type, "gemma", 5) == 0 && p->kin->model_type[5])
        put_gemma(p, o);
    if (strcmp(p->kin->model_type, "minicpm") == 0)
        put_minicpm(p, o);
    if (has_tensor(p, "attn_q.bias") && strcmp(p->kin->model_type, "qwen2") != 0)
        json_object_set_new(o, "attention_bias", json_true());
    if (!put_rotation(p, o)) {
        json_decref(o);
        return NULL;
    }
    return o;
}

/* ---- quantization in config.json ---- */

static json_t *affine_json(const storage *s)
{
    json_t *o = json_pack("{s:i, s:i}", "group_size", s->group, "bits", s->bits);
    json_object_set_new(o, "mode", json_string(s->mode));
    return o;
}

static bool is_usual(const plan *p, const storage *s)
{
    return s->form == p->usual.form && s->bits == p->usual.bits && s->group == p->usual.group &&
           strcmp(s->mode, p->usual.mode) == 0;
}

static void put_quantization(const plan *p, json_t *o)
{
    json_object_del(o, "quantization");
    json_object_del(o, "quantization_config");
    if (p->usual.form != OUT_AFFINE)
        return;
    json_t *q = affine_json(&p->usual);
    for (size_t i = 0; i < p->tensors.n; i++) {
        const out_tensor *t = &p->tensors.at[i];
        char module[300];
        size_t n = strlen(t->name);
        snprintf(module, sizeof module, "%.*s", (int)(n > 7 ? n - 7 : n), t->name);
        if (t->as.form == OUT_AFFINE && !is_usual(p, &t->as))
            json_object_set_new(q, module, affine_json(&t->as));
    }
    json_object_set_new(o, "quantization_config", json_deep_copy(q));
    json_object_set_new(o, "quantization", q);
}

static const char *torch_type(const plan *p)
{
    int type = NX_GGML_F16;
    for (size_t i = 0; i < p->tensors.n; i++)
        if (p->tensors.at[i].as.form == OUT_AFFINE || p->tensors.at[i].cols > 1)
            type = p->tensors.at[i].as.type;
    return type == NX_GGML_F32 ? "float32" : type == NX_GGML_BF16 ? "bfloat16" : "float16";
}

/* A folder that mlx-lm wrote may have factors of its settings in the weights; other readers' must not
 * have them twice. */
static void put_folded(const plan *p, json_t *o)
{
    bool turned = false;
    for (size_t i = 0; i < p->items.n; i++)
        turned = turned || plan_turned_taps(&p->items.at[i]);
    if (turned && p->target == TARGET_HF && p->m->arch->folded_config)
        p->m->arch->folded_config(p->m, o);
}

json_t *settings_config(const plan *p)
{
    json_t *o = p->source == TARGET_GGUF ? config_of_gguf(p) : json_deep_copy(p->from->json);
    if (!o)
        return NULL;
    put_quantization(p, o);
    put_folded(p, o);
    const char *key = json_object_get(o, "dtype") ? "dtype" : "torch_dtype";
    json_object_set_new(o, key, json_string(torch_type(p)));
    return o;
}

/* ---- GGUF's metadata -------------------------------------------------------------------------- */

static bool put_number(nx_gguf_writer *w, const char *arch, const char *name, kind k, double v)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", arch, name);
    if (k == TRUTH)
        return nx_gguf_writer_bool(w, key, v != 0);
    if (k == REAL)
        return nx_gguf_writer_f32(w, key, (float)v);
    if (!(v >= 0 && v <= UINT32_MAX))
        return nx_fail("the setting %s cannot be %g in a GGUF file", name, v);
    return nx_gguf_writer_u32(w, key, (uint32_t)v);
}

static bool has_layers(const model *m, unsigned bit)
{
    for (int i = 0; i < m->n_layers; i++)
        if (m->kinds[i] & bit)
            return true;
    return false;
}

static bool attends(const model *m)
{
    for (int i = 0; i < m->n_layers; i++)
        if (m->caches[i].heads)
            return true;
    return m->arch->encoder;
}

/* What is not said of a model without attention or experts, or is listed by layer. */
static bool says_nothing(const model *m, const char *key)
{
    if (strncmp(key, "expert_", 7) == 0)
        return !has_layers(m, LAYER_MOE);
    if (strcmp(key, "attention.head_count_kv") == 0)
        return family_heads_differ(m);
    if (strcmp(key, "feed_forward_length") == 0)
        return family_networks_differ(m);
    return !attends(m) && strcmp(key, "attention.key_length") == 0;
}

/* Settings whose value follows from others where config.json leaves them out. */
static double completed(const plan *p, const setting *s, double v, double none)
{
    const model *m = p->m;
    if (says_nothing(m, s->gguf))
        return none;
    bool own = strncmp(s->gguf, "attention.layer_norm", 20) == 0 || strcmp(s->gguf, "expert_weights_norm") == 0;
    if (own && family_member(m, s->gguf, &v))
        return v;
    if (strncmp(s->gguf, "attention.head_count", 20) == 0 && !attends(m))
        return 0;
    if (strcmp(s->gguf, "attention.head_count_kv") == 0)
        return m->n_kv_heads;
    if (strcmp(s->gguf, "attention.key_length") == 0)
        return m->head_dim;
    if (strcmp(s->gguf, "block_count") == 0)
        return m->n_layers;
    if (strcmp(s->gguf, "feed_forward_length") == 0)
        return m->intermediate_size > 0 ? m->intermediate_size : 4.0 * m->hidden_size;
    if (strcmp(s->gguf, "context_length") == 0)
        return m->max_context;
    if (p->kin->flags & FAMILY_EXPERT_SIZE && strcmp(s->gguf, "expert_feed_forward_length") == 0)
        return as_decoder(p)->expert_size;
    bool window = strcmp(s->gguf, "attention.sliding_window") == 0;
    const decoder *d = as_decoder(p);
    if (window && d && d->window <= 0)
        return none;
    if (d && strcmp(p->kin->model_type, "minicpm") == 0)
        v = strcmp(s->gguf, "residual_scale") == 0 ? (double)d->residual_scale
            : strcmp(s->gguf, "logit_scale") == 0  ? 1 / (double)d->logit_scale : v;
    return v;
}

static bool put_table(const plan *p, nx_gguf_writer *w)
{
    const config_source *from = &p->from->config;
    double none = -1e300;
    bool ok = true;
    for (int i = 0; i < SETTINGS && ok; i++) {
        double v = completed(p, &table[i], config_item(from, table[i].hf, NULL, -1, none), none);
        if (v > none / 2)
            ok = put_number(w, p->kin->gguf, table[i].gguf, table[i].kind, v);
    }
    return ok;
}

/* DeepSeek sharpens its attention for long texts. */
static bool put_sharpening(const plan *p, nx_gguf_writer *w, const json_t *scaling)
{
    double all = nx_json_get_real(scaling, "mscale_all_dim", 0);
    if (all == 0 || strcmp(p->kin->gguf, "deepseek2") != 0)
        return true;
    if (nx_json_get_real(scaling, "mscale", 1) != all)
        return nx_fail("[%s] mscale and mscale_all_dim differ, and GGUF cannot say so", p->from->path);
    return put_number(w, p->kin->gguf, "rope.scaling.yarn_log_multiplier", REAL, 0.1 * all);
}

/* Where yarn's slow and fast turns end, if elsewhere than usual. Other readers round these to whole
 * dimensions and know nothing else: `yarn_truncate` is a key of ours. */
static bool put_yarn_ends(const plan *p, nx_gguf_writer *w, const json_t *scaling)
{
    double fast = nx_json_get_real(scaling, "beta_fast", 32), slow = nx_json_get_real(scaling, "beta_slow", 1);
    return (fast == 32 || put_number(w, p->kin->gguf, "rope.scaling.yarn_beta_fast", REAL, fast)) &&
           (slow == 1 || put_number(w, p->kin->gguf, "rope.scaling.yarn_beta_slow", REAL, slow)) &&
           (nx_json_get_bool(scaling, "truncate", true) ||
            put_number(w, p->kin->gguf, "rope.scaling.yarn_truncate", TRUTH, 0));
}

static bool put_gguf_rotation(const plan *p, nx_gguf_writer *w)
{
    const decoder *d = as_decoder(p);
    const json_t *scaling = nx_json_get(p->from->json, "rope_scaling");
    if (!json_is_object(scaling))
        scaling = nx_json_get(p->from->json, "rope_parameters");
    const char *type = nx_json_get_str(scaling, "rope_type", nx_json_get_str(scaling, "type", "default"));
    double factor = nx_json_get_real(scaling, "factor", 1);
    double original = nx_json_get_real(scaling, "original_max_position_embeddings", 0);
    char key[128];
    bool ok = !d || d->rope_dims <= 0 || !attends(p->m) ||
              put_number(w, p->kin->gguf, "rope.dimension_count", WHOLE, d->rope_dims);
    if (strcmp(type, "linear") == 0 || strcmp(type, "yarn") == 0) {
        snprintf(key, sizeof key, "%s.rope.scaling.type", p->kin->gguf);
        return ok && nx_gguf_writer_str(w, key, nx_slice_of(type)) &&
               put_number(w, p->kin->gguf, "rope.scaling.factor", REAL, factor) && put_sharpening(p, w, scaling) &&
               (strcmp(type, "yarn") != 0 || put_yarn_ends(p, w, scaling)) &&
               (original <= 0 || put_number(w, p->kin->gguf, "rope.scaling.original_context_length", WHOLE,
                                            original));
    }
    if (d && (strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0)) {
        snprintf(key, sizeof key, "%s.rope.scaling.type", p->kin->gguf);
        return ok && nx_gguf_writer_str(w, key, nx_slice_of("longrope")) &&
               put_number(w, p->kin->gguf, "rope.scaling.attn_factor", REAL,
                          (double)d->attention.rope.magnitude) &&
               put_number(w, p->kin->gguf, "rope.scaling.original_context_length", WHOLE,
                          d->attention.rope.original);
    }
    if (strcmp(type, "default") == 0 || strcmp(type, "llama3") == 0)
        return ok;
    return nx_fail("[%s] the rotation '%s' is none that GGUF can say", p->from->path, type);
}

/* GGUF has no place for it: a file without it would give wrong answers. */
static bool check_said(const plan *p)
{
    const json_t *o = p->from->json;
    double scalar = nx_json_get_real(o, "query_pre_attn_scalar", 0);
    bool large = p->m->n_layers == 46 || p->m->n_layers == 62;
    int implied = large ? p->m->hidden_size / (p->m->n_heads ? p->m->n_heads : 1) : p->m->head_dim;
    if (scalar > 0 && scalar != implied)
        return nx_fail("[%s] query_pre_attn_scalar is %g, and GGUF cannot say so for a model of %d layers",
                       p->from->path, scalar, p->m->n_layers);
    const decoder *d = as_decoder(p);
    if (d && d->window > 0 && d->window < p->m->max_context && strcmp(p->kin->gguf, "llama") == 0)
        nx_warn("[%s] GGUF's llama has no sliding window: past %d tokens the answers will differ",
                p->from->path, d->window);
    double dense = 0; /* layers at the beginning */
    bool leading = family_member(p->m, "leading_dense_block_count", &dense);
    for (int i = 0; i < p->m->n_layers; i++)
        leading = leading && !(p->m->kinds[i] & LAYER_MOE) == (i < (int)dense);
    if (has_layers(p->m, LAYER_MOE) && has_layers(p->m, LAYER_DENSE) && !leading)
        return nx_fail("[%s] some of its layers have no experts, and GGUF cannot say which", p->from->path);
    return true;
}

static int file_type(const plan *p)
{
    static const struct {
        int type, number;
    } numbers[] = {{NX_GGML_F32, 0}, {NX_GGML_F16, 1}, {NX_GGML_Q4_0, 2}, {NX_GGML_Q4_1, 3},
                   {NX_GGML_Q8_0, 7}, {NX_GGML_Q5_0, 8}, {NX_GGML_Q5_1, 9}, {NX_GGML_Q2_K, 10},
                   {NX_GGML_Q3_K, 12}, {NX_GGML_Q4_K, 15}, {NX_GGML_Q5_K, 17}, {NX_GGML_Q6_K, 18},
                   {NX_GGML_BF16, 32}, {NX_GGML_MXFP4, 38}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].type == p->usual.type)
            return numbers[i].number;
    return 1024; /* "guessed" */
}

static bool put_carried(const plan *p, nx_gguf_writer *w)
{
    json_t *o = json_deep_copy(p->from->json);
    json_object_del(o, "quantization");
    json_object_del(o, "quantization_config");
    char *text = json_dumps(o, JSON_COMPACT);
    bool ok = text && nx_gguf_writer_str(w, "nexus.config_json", nx_slice_of(text));
    free(text);
    json_decref(o);
    return ok;
}

/* Of another GGUF file: all of it that does not speak of tensors or parts. */
static bool copy_metadata(const plan *p, nx_gguf_writer *w)
{
    const nx_gguf *g = p->from->config.gguf;
    bool ok = true;
    for (size_t i = 0; i < g->n_kv && ok; i++) {
        const char *key = g->kv[i].key;
        bool own = strncmp(key, "split.", 6) == 0 || strcmp(key, "general.file_type") == 0 ||
                   strcmp(key, "general.alignment") == 0 ||
                   strcmp(key, "general.quantization_version") == 0;
        ok = own || nx_gguf_writer_kv(w, &g->kv[i]);
    }
    return ok;
}

/* Keys that are written here, not by the family's own table. */
static bool shared(const char *key)
{
    for (int i = 0; i < SETTINGS; i++)
        if (strcmp(table[i].gguf, key) == 0)
            return true;
    return strcmp(key, "rope.dimension_count") == 0 || strcmp(key, "attention.value_length") == 0;
}

bool settings_metadata(const plan *p, nx_gguf_writer *w)
{
    bool ok;
    double values = p->m->head_dim;
    family_member(p->m, "attention.value_length", &values);
    if (p->source == TARGET_GGUF)
        ok = copy_metadata(p, w);
    else
        ok = check_said(p) &&
             nx_gguf_writer_str(w, "general.architecture", nx_slice_of(p->kin->gguf)) &&
             nx_gguf_writer_str(w, "general.type", nx_slice_of("model")) &&
             nx_gguf_writer_str(w, "general.name", nx_slice_of(p->from->name)) && put_table(p, w) &&
             (!attends(p->m) || put_number(w, p->kin->gguf, "attention.value_length", WHOLE, values)) &&
             family_put_keys(p, w, shared) &&
             put_gguf_rotation(p, w) && put_carried(p, w);
    return ok && nx_gguf_writer_u32(w, "general.file_type", (uint32_t)file_type(p)) &&
           nx_gguf_writer_u32(w, "general.quantization_version", 2);
}

float *settings_rope_factors(const plan *p, const char *tensor, size_t *n)
{
    const decoder *d = as_decoder(p);
    const json_t *s = nx_json_get(p->from->json, "rope_scaling");
    if (!json_is_object(s))
        s = nx_json_get(p->from->json, "rope_parameters");
    const char *type = nx_json_get_str(s, "rope_type", nx_json_get_str(s, "type", ""));
    const json_t *list = strcmp(tensor, "rope_factors_long.weight") == 0 ? nx_json_get(s, "long_factor")
                                                                       : nx_json_get(s, "short_factor");
    bool freqs = strcmp(tensor, "rope_freqs.weight") == 0;
    if (p->source == TARGET_GGUF || !d || d->rope_dims < 2 ||
        (freqs ? strcmp(type, "llama3") != 0
               : !json_is_array(list) || json_array_size(list) != (size_t)d->rope_dims / 2))
        return NULL;
    *n = (size_t)d->rope_dims / 2;
    float *out = nx_calloc(*n, sizeof *out);
    for (size_t i = 0; i < *n; i++)
        out[i] = freqs ? (float)llama3_divisor(
                             (double)d->rope_theta, d->rope_dims, (int)i, nx_json_get_real(s, "factor", 8),
                             nx_json_get_real(s, "low_freq_factor", 1),
                             nx_json_get_real(s, "high_freq_factor", 4),
                             nx_json_get_real(s, "original_max_position_embeddings", 8192))
                       : (float)json_number_value(json_array_get(list, i));
    return out;
}
