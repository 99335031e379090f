/* model.c: the walks over the tables of a family: settings, weights, facts. */
#include "runtime/models/model.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/map.h"
#include "base/str.h"

#define ARCH(name) extern const model_arch name;
#include "runtime/models/arch.def"
#undef ARCH

static const model_arch *const archs[] = {
#define ARCH(name) &name,
#include "runtime/models/arch.def"
#undef ARCH
};
enum { N_ARCHS = sizeof archs / sizeof *archs };

const model_arch *model_arch_find(const char *name)
{
    for (int i = 0; i < N_ARCHS; i++) {
        if (strcmp(archs[i]->name, name) == 0)
            return archs[i];
        for (const char *const *a = archs[i]->aliases; a && *a; a++)
            if (strcmp(*a, name) == 0)
                return archs[i];
    }
    return NULL;
}

const char *model_arch_names(void)
{
    static _Thread_local char text[512];
    size_t n = 0;
    for (int i = 0; i < N_ARCHS && n < sizeof text; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, i ? ", %s" : "%s", archs[i]->name);
    return text;
}

/* ---- settings --------------------------------------------------------------------------------- */

/* The number a row names, false where the file does not have it. */
static bool row_value(const config_row *row, const config_source *from, double *out)
{
    if (from->json) {
        json_t *v = row->hf ? nx_json_get(from->json, row->hf) : NULL;
        if (json_is_boolean(v))
            *out = json_boolean_value(v);
        else if (json_is_number(v))
            *out = json_number_value(v);
        else
            return false;
        return true;
    }
    const nx_gguf_kv *kv = row->gguf ? nx_gguf_findf(from->gguf, "%s.%s", from->arch, row->gguf) : NULL;
    if (!kv)
        return false;
    *out = kv->item_type == NX_GGUF_BOOL ? nx_gguf_bool(kv, false) : nx_gguf_f64(kv, 0);
    return true;
}

static bool read_row(model *m, const config_row *row, const config_source *from)
{
    double v = row->fallback;
    const char *key = from->json ? row->hf : row->gguf;
    if (!row_value(row, from, &v) && row->required)
        return nx_fail("[%s] the model's settings lack '%s'", from->arch, key ? key : "?");
    char *at = (char *)m + row->offset;
    if (row->type == CONFIG_INT) {
        if (!(v >= -INT_MAX && v <= INT_MAX))
            return nx_fail("[%s] setting '%s' is out of range", from->arch, key ? key : "?");
        *(int *)at = (int)v;
    } else if (row->type == CONFIG_FLOAT) {
        *(float *)at = (float)v;
    } else {
        *(bool *)at = v != 0;
    }
    return true;
}

model *model_configure(const config_source *from)
{
    const model_arch *arch = model_arch_find(from->arch);
    if (!arch)
        return nx_fail_null("the model family '%s' is not supported; supported are: %s", from->arch,
                            model_arch_names());
    model *m = nx_calloc(1, arch->size);
    m->arch = arch;
    bool ok = true;
    for (int i = 0; ok && i < arch->n_config; i++)
        ok = read_row(m, &arch->config[i], from);
    ok = ok && arch->setup(m, from);
    if (ok && (m->n_layers < 1 || m->n_layers > 10000))
        ok = nx_fail("[%s] %d layers make no model", from->arch, m->n_layers);
    if (!ok) {
        model_free(m);
        return NULL;
    }
    m->layers = nx_calloc((size_t)m->n_layers, arch->layer_size);
    return m;
}

/* ---- weights ---------------------------------------------------------------------------------- */

static nn_weight *weight_at(const model *m, const weight_row *row, int layer)
{
    char *base = row->flags & WEIGHT_LAYER
                     ? (char *)m->layers + (size_t)layer * m->arch->layer_size
                     : (char *)(uintptr_t)m;
    return (nn_weight *)(base + row->offset);
}

/* The tensor's name in the format at hand; NULL where the format has none. */
static const char *row_name(const weight_row *row, int layer, bool is_gguf, char *out, size_t size)
{
    const char *pattern = is_gguf ? row->gguf : row->hf;
    if (!pattern)
        return NULL;
    const char *hole = strstr(pattern, "%d");
    if (!hole)
        snprintf(out, size, "%s", pattern);
    else
        snprintf(out, size, "%.*s%d%s", (int)(hole - pattern), pattern, layer, hole + 2);
    return out;
}

/* Calls `visit` for each weight of each layer, with its name. */
typedef bool (*weight_visit)(const model *m, const weight_row *row, int layer, const char *name,
                             void *arg);
static bool each_weight(const model *m, bool is_gguf, weight_visit visit, void *arg)
{
    char name[256];
    for (int i = 0; i < m->arch->n_weights; i++) {
        const weight_row *row = &m->arch->weights[i];
        int n = row->flags & WEIGHT_LAYER ? m->n_layers : 1;
        for (int layer = 0; layer < n; layer++)
            if (row_name(row, layer, is_gguf, name, sizeof name) && !visit(m, row, layer, name, arg))
                return false;
    }
    return true;
}

typedef struct {
    nn_source *source;
    nn_quant_config quant;
} load_ctx;

static bool load_one(const model *m, const weight_row *row, int layer, const char *name, void *arg)
{
    load_ctx *ctx = arg;
    bool found;
    if (!nn_weight_load(weight_at(m, row, layer), ctx->source, name, ctx->quant, &found))
        return false;
    if (found || row->flags & WEIGHT_OPTIONAL)
        return true;
    const char *near = nn_source_nearest(ctx->source, name);
    return nx_fail("[%s] tensor '%s' is missing%s%s%s", m->arch->name, name,
                   near ? "; the nearest name there is '" : "", near ? near : "", near ? "'" : "");
}

/* Names a format stores beside the weights, that carry nothing a forward pass needs. */
static bool is_derived(const char *name)
{
    static const char *const endings[] = {"rotary_emb.inv_freq", "attn.bias", "attn.masked_bias"};
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t e = strlen(endings[i]);
        if (n >= e && strcmp(name + n - e, endings[i]) == 0)
            return true;
    }
    return false;
}

static bool check_all_used(const model *m, const nn_source *s)
{
    for (size_t i = 0; i < s->tensors.n; i++) {
        const nn_tensor *t = &s->tensors.at[i];
        if (!t->used && !is_derived(t->name))
            return nx_fail("[%s] the file holds tensor '%s', which this family does not use: running "
                           "without it would give wrong answers", m->arch->name, t->name);
    }
    return true;
}

bool model_load_weights(model *m, nn_source *s, nn_quant_config quant, bool is_gguf)
{
    load_ctx ctx = {s, quant};
    return each_weight(m, is_gguf, load_one, &ctx) && (!m->arch->prepare || m->arch->prepare(m, s)) &&
           check_all_used(m, s);
}

static bool clear_one(const model *m, const weight_row *row, int layer, const char *name, void *arg)
{
    nn_weight_clear(weight_at(m, row, layer));
    return true;
}

void model_free(model *m)
{
    if (!m)
        return;
    if (m->layers) {
        each_weight(m, false, clear_one, NULL);
        each_weight(m, true, clear_one, NULL);
    }
    if (m->arch->clear)
        m->arch->clear(m);
    free(m->layers);
    free(m);
}

/* ---- facts ------------------------------------------------------------------------------------ */

typedef struct {
    load_ctx load;
    model_facts *facts;
    nx_map labels; /* quantization -> parameters */
} facts_ctx;

static bool inspect_one(const model *m, const weight_row *row, int layer, const char *name, void *arg)
{
    facts_ctx *ctx = arg;
    nn_weight_facts f;
    if (!nn_weight_inspect(ctx->load.source, name, ctx->load.quant, &f)) {
        if (row->flags & WEIGHT_OPTIONAL)
            return true;
        return nx_fail("[%s] tensor '%s' is missing", m->arch->name, name);
    }
    ctx->facts->parameters += f.parameters;
    ctx->facts->bytes += f.bytes;
    size_t n = strlen(f.label);
    uint64_t before = nx_map_get(&ctx->labels, f.label, n, 0);
    nx_map_set(&ctx->labels, f.label, n, before + f.parameters);
    return true;
}

bool model_inspect_weights(const model *m, nn_source *s, nn_quant_config quant, bool is_gguf,
                           model_facts *out)
{
    *out = (model_facts){0};
    facts_ctx ctx = {{s, quant}, out, {0}};
    bool ok = each_weight(m, is_gguf, inspect_one, &ctx);
    uint64_t most = 0;
    for (size_t i = 0; i < ctx.labels.n; i++)
        if (ctx.labels.entries[i].value > most) {
            most = ctx.labels.entries[i].value;
            snprintf(out->label, sizeof out->label, "%s", ctx.labels.entries[i].key);
        }
    nx_map_clear(&ctx.labels);
    return ok;
}
