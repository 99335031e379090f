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

/* Item i of a value that is one number (for all i), or an array; i -1: no array. */
static bool json_number_at(const json_t *v, int i, double *out)
{
    if (json_is_array(v) && i >= 0)
        v = json_array_get(v, (size_t)i);
    if (json_is_boolean(v))
        *out = json_boolean_value(v);
    else if (json_is_number(v))
        *out = json_number_value(v);
    else
        return false;
    return true;
}

static bool gguf_number_at(const nx_gguf_kv *kv, int i, double *out)
{
    if (!kv)
        return false;
    uint64_t at = kv->type == NX_GGUF_ARRAY && i > 0 ? (uint64_t)i : 0;
    if (kv->item_type == NX_GGUF_STR || at >= kv->count)
        return false;
    *out = kv->item_type == NX_GGUF_BOOL ? nx_gguf_item_bool(kv, at, false)
                                         : nx_gguf_item_f64(kv, at, 0);
    return true;
}

/* Calls `each` with the names between '|', until it gives true. */
typedef bool (*name_visit)(const char *name, void *arg);
static bool any_name(const char *names, name_visit visit, void *arg)
{
    char one[256];
    for (const char *at = names; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL) {
        snprintf(one, sizeof one, "%.*s", (int)strcspn(at, "|"), at);
        if (visit(one, arg))
            return true;
    }
    return false;
}

typedef struct {
    const config_source *from;
    int item;
    double *out;
} number_query;

/* "path#" */
static bool length_named(const json_t *config, const char *name, double *out)
{
    char path[256];
    snprintf(path, sizeof path, "%.*s", (int)strcspn(name, "#"), name);
    const json_t *v = nx_json_get(config, path);
    *out = json_is_array(v) ? (double)json_array_size(v) : (double)json_string_length(v);
    return json_is_array(v) || json_is_string(v);
}

static bool number_named(const char *name, void *arg)
{
    const number_query *q = arg;
    if (q->from->json && strchr(name, '#'))
        return length_named(q->from->json, name, q->out);
    if (q->from->json)
        return json_number_at(nx_json_get(q->from->json, name), q->item, q->out);
    return gguf_number_at(nx_gguf_findf(q->from->gguf, "%s.%s", q->from->arch, name), q->item, q->out);
}

static bool number_of(const config_source *from, const char *hf, const char *gguf, int i, double *out)
{
    return any_name(from->json ? hf : gguf, number_named, &(number_query){from, i, out});
}

double config_item(const config_source *from, const char *hf, const char *gguf, int i, double fallback)
{
    double v;
    return number_of(from, hf, gguf, i, &v) ? v : fallback;
}

static bool list_named(const char *name, void *arg)
{
    const number_query *q = arg;
    const nx_gguf_kv *kv = nx_gguf_findf(q->from->gguf, "%s.%s", q->from->arch, name);
    return kv && kv->type == NX_GGUF_ARRAY;
}

static bool is_list(const config_source *from, const char *gguf)
{
    return from->gguf && any_name(gguf, list_named, &(number_query){from, 0, NULL});
}

/* The number a row names, false where the file does not have it. Where GGUF lists it by layer, the
 * largest. */
static bool row_value(const config_row *row, const config_source *from, double *out)
{
    double v;
    if (!number_of(from, row->hf, row->gguf, -1, out))
        return false;
    if (is_list(from, row->gguf))
        for (int i = 1; number_of(from, NULL, row->gguf, i, &v); i++)
            *out = v > *out ? v : *out;
    return true;
}

static bool read_row(model *m, const config_row *row, const config_source *from)
{
    double v = row->fallback;
    const char *key = from->json ? row->hf : row->gguf;
    if (!row_value(row, from, &v) && row->required)
        return nx_fail("[%s] the model's settings lack '%.*s'", from->arch,
                       (int)strcspn(key ? key : "?", "|"), key ? key : "?");
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

/* Before a family computes with them: sizes whose products no int holds. */
static bool check_sizes(const model *m, const config_source *from)
{
    const int sizes[] = {m->hidden_size, m->intermediate_size, m->n_heads, m->n_kv_heads, m->head_dim};
    if (m->n_layers < 1 || m->n_layers > 10000)
        return nx_fail("[%s] %d layers make no model", from->arch, m->n_layers);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i] < 0 || sizes[i] > 1 << 24)
            return nx_fail("[%s] the settings make no model: hidden size %d, intermediate size %d, %d heads, "
                           "%d KV heads of %d", from->arch, m->hidden_size, m->intermediate_size, m->n_heads,
                           m->n_kv_heads, m->head_dim);
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
    ok = ok && check_sizes(m, from);
    if (ok) {
        m->layers = nx_calloc((size_t)m->n_layers, arch->layer_size);
        m->kinds = nx_calloc((size_t)m->n_layers, sizeof *m->kinds);
        m->caches = nx_calloc((size_t)m->n_layers, sizeof *m->caches);
        ok = arch->setup(m, from);
    }
    if (!ok) {
        model_free(m);
        return NULL;
    }
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

/* A pattern's name for layer %d and expert %e. */
static void fill_name(const char *pattern, int layer, int expert, char *out, size_t size)
{
    size_t n = 0;
    for (const char *p = pattern; *p && *p != '|' && n + 12 < size; p++) {
        if (p[0] == '%' && (p[1] == 'd' || p[1] == 'e'))
            n += (size_t)snprintf(out + n, size - n, "%d", *++p == 'd' ? layer : expert);
        else
            out[n++] = *p;
    }
    out[n] = '\0';
}

/* What checkpoints put before, or leave off, the names of a text model's tensors. */
static const char *const prefixes[] = {"", "language_model.", "model.language_model.", "model.",
                                       "transformer.", "bert.", "backbone."};
static const char *const left_off[] = {"model.", "transformer.", "bert.", "gpt_neox."};

/* Finds the tensor a row's names mean: its name in the source, in out. False: the first of the names. */
static bool find_name(const weight_row *row, int layer, bool is_gguf, nn_source *s, char *out,
                      size_t size, bool *by_expert)
{
    char name[256], plain[256];
    const char *pattern = is_gguf ? row->gguf : row->hf;
    for (const char *at = pattern; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL) {
        fill_name(at, layer, 0, plain, sizeof plain);
        const char *e = strstr(at, "%e");
        *by_expert = e && e < at + strcspn(at, "|");
        for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes && (i == 0 || !is_gguf); i++) {
            snprintf(out, size, "%s%s", prefixes[i], plain);
            if (nn_weight_there(s, out))
                return true;
        }
        for (size_t i = 0; i < sizeof left_off / sizeof *left_off && !is_gguf; i++) {
            size_t n = strlen(left_off[i]);
            snprintf(out, size, "%s", plain + (strncmp(plain, left_off[i], n) == 0 ? n : 0));
            if (nn_weight_there(s, out))
                return true;
        }
    }
    fill_name(pattern, layer, 0, name, sizeof name);
    snprintf(out, size, "%s", name);
    return false;
}

/* Calls `visit` for each weight of each layer that the format at hand has. */
typedef bool (*weight_visit)(const model *m, const weight_row *row, int layer, void *arg);
static bool each_weight(const model *m, weight_visit visit, void *arg)
{
    for (int i = 0; i < m->arch->n_weights; i++) {
        const weight_row *row = &m->arch->weights[i];
        unsigned kind = row->flags >> 8;
        int n = row->flags & WEIGHT_LAYER ? m->n_layers : 1;
        for (int layer = 0; layer < n; layer++)
            if ((!kind || kind & m->kinds[layer]) && !visit(m, row, layer, arg))
                return false;
    }
    return true;
}

typedef struct {
    nn_source *source;
    nn_quant_config quant;
    bool is_gguf;
} load_ctx;

/* An expert's name is the first one's with another number, which stands where the pattern has %e. */
static void expert_name(const char *first, const char *pattern, int i, char *out, size_t size)
{
    const char *rest = strstr(pattern, "%e") + 2;
    size_t tail = strcspn(rest, "|"), head = strlen(first) - tail - 1;
    snprintf(out, size, "%.*s%d%.*s", (int)head, first, i, (int)tail, rest);
}

static const char *pattern_with_expert(const weight_row *row, bool is_gguf)
{
    const char *p = is_gguf ? row->gguf : row->hf;
    while (p && strstr(p, "%e") && strcspn(p, "|") < (size_t)(strstr(p, "%e") - p))
        p = strchr(p, '|') + 1;
    return p;
}

/* Marks what a row means as used, so that what is left over may be what somebody misnamed. */
static bool mark_one(const model *m, const weight_row *row, int layer, void *arg)
{
    const load_ctx *ctx = arg;
    char name[300], own[300];
    bool by_expert;
    if (!(ctx->is_gguf ? row->gguf : row->hf) ||
        !find_name(row, layer, ctx->is_gguf, ctx->source, name, sizeof name, &by_expert))
        return true;
    nn_source_find(ctx->source, name);
    const char *pattern = by_expert ? pattern_with_expert(row, ctx->is_gguf) : NULL;
    for (int i = 1; by_expert && i < m->n_experts; i++) {
        expert_name(name, pattern, i, own, sizeof own);
        nn_source_find(ctx->source, own);
    }
    return true;
}

static bool missing(const model *m, const load_ctx *ctx, const char *name)
{
    each_weight(m, mark_one, (void *)(uintptr_t)ctx);
    const char *near = nn_source_nearest(ctx->source, name);
    return nx_fail("[%s] tensor '%s' is missing%s%s%s", m->arch->name, name,
                   near ? "; the nearest name there is '" : "", near ? near : "", near ? "'" : "");
}

static bool load_each_expert(const model *m, nn_weight *w, const char *first, const char *pattern,
                             const load_ctx *ctx)
{
    char name[300];
    nn_weight *parts = nx_calloc((size_t)m->n_experts, sizeof *parts);
    bool ok = true, found = true;
    for (int i = 0; ok && i < m->n_experts; i++) {
        expert_name(first, pattern, i, name, sizeof name);
        ok = nn_weight_load(&parts[i], ctx->source, name, ctx->quant, &found);
        if (ok && !found)
            ok = missing(m, ctx, name);
    }
    ok = ok && nn_weight_stack(w, parts, m->n_experts, first);
    for (int i = 0; i < m->n_experts; i++)
        nn_weight_clear(&parts[i]);
    free(parts);
    return ok;
}

static bool adjust(const weight_row *row, nn_weight *w, const load_ctx *ctx)
{
    bool other = !ctx->is_gguf && !(row->flags & WEIGHT_NOT_MLX && nn_source_is_mlx(ctx->source));
    if (row->flags & WEIGHT_TURNED && other && !nn_weight_transpose(w))
        return false;
    if (row->flags & WEIGHT_PLUS_ONE && other && !nn_weight_plus_one(w))
        return false;
    return !(row->flags & WEIGHT_NUMBERS) || nn_weight_to_numbers(w);
}

/* Shapes must agree with the settings before anything is multiplied. */
static bool check_shape(const model *m, const weight_row *row, const nn_weight *w, const char *name)
{
    if (!row->cols || w->form == NN_ABSENT || row->flags & WEIGHT_NUMBERS)
        return true;
    bool experts = row->flags & WEIGHT_EXPERTS, vector = !row->rows;
    int rows = vector ? experts ? m->n_experts : 1 : *(const int *)((const char *)m + row->rows);
    int cols = *(const int *)((const char *)m + row->cols);
    bool ok = w->rows == rows && w->cols == cols && w->experts == (experts && !vector ? m->n_experts : 0);
    if (vector && w->form != NN_AFFINE)
        return ok || nx_fail("[%s] tensor '%s' has %d numbers, the settings say %d", m->arch->name, name,
                             w->rows * w->cols, cols);
    if (ok && !vector)
        return true;
    if (vector)
        return nx_fail("[%s] tensor '%s' must be plain numbers", m->arch->name, name);
    return nx_fail("[%s] tensor '%s' has shape (%d,%d)%s, the settings say (%d,%d)", m->arch->name, name,
                   w->rows, w->cols, w->experts ? " an expert" : "", rows, cols);
}

static bool load_one(const model *m, const weight_row *row, int layer, void *arg)
{
    const load_ctx *ctx = arg;
    char name[300];
    bool by_expert, found = true;
    nn_weight *w = weight_at(m, row, layer);
    if (w->form != NN_ABSENT || !(ctx->is_gguf ? row->gguf : row->hf))
        return true; /* another row has filled it, or this format has none */
    if (!find_name(row, layer, ctx->is_gguf, ctx->source, name, sizeof name, &by_expert))
        return row->flags & WEIGHT_OPTIONAL || missing(m, ctx, name);
    bool ok = by_expert
                  ? load_each_expert(m, w, name, pattern_with_expert(row, ctx->is_gguf), ctx)
                  : nn_weight_load(w, ctx->source, name, ctx->quant, &found);
    return ok && adjust(row, w, ctx) && check_shape(m, row, w, name);
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

static bool is_ignored(const model *m, const char *name)
{
    for (const char *const *p = m->arch->ignored; p && *p; p++)
        if (strncmp(name, *p, strlen(*p)) == 0)
            return true;
    int layer = 0;
    bool numbered = sscanf(name, "model.layers.%d.", &layer) == 1 || sscanf(name, "blk.%d.", &layer) == 1;
    return (m->arch->ignored_layers && numbered && layer >= m->n_layers) || is_derived(name);
}

/* Of the names the tables know, the one most like `name`. */
typedef struct {
    const char *name;
    bool is_gguf;
    int least;
    char nearest[256];
} nearest_ctx;

static bool compare_one(const model *m, const weight_row *row, int layer, void *arg)
{
    nearest_ctx *x = arg;
    char known[256];
    const char *pattern = x->is_gguf ? row->gguf : row->hf;
    for (const char *at = pattern; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL) {
        fill_name(at, layer, 0, known, sizeof known);
        int d = nn_name_distance(x->name, known);
        if (d < x->least) {
            x->least = d;
            snprintf(x->nearest, sizeof x->nearest, "%s", known);
        }
    }
    return true;
}

static bool check_all_used(const model *m, const nn_source *s, bool is_gguf)
{
    for (size_t i = 0; i < s->tensors.n; i++) {
        const nn_tensor *t = &s->tensors.at[i];
        if (t->used || is_ignored(m, t->name))
            continue;
        nearest_ctx x = {t->name, is_gguf, INT_MAX, ""};
        each_weight(m, compare_one, &x);
        return nx_fail("[%s] the file holds tensor '%s', which this family does not use: running "
                       "without it would give wrong answers; the nearest name it knows is '%s'",
                       m->arch->name, t->name, x.nearest);
    }
    return true;
}

bool model_load_weights(model *m, nn_source *s, nn_quant_config quant, bool is_gguf)
{
    load_ctx ctx = {s, quant, is_gguf};
    return each_weight(m, load_one, &ctx) && (!m->arch->prepare || m->arch->prepare(m, s)) &&
           check_all_used(m, s, is_gguf);
}

typedef struct {
    load_ctx load;
    model_tensor_fn visit;
    void *arg;
    nx_map seen; /* names of tensors: two rows may mean the same one */
} each_ctx;

static bool show_one(const model *m, const weight_row *row, int layer, void *arg)
{
    each_ctx *ctx = arg;
    nn_source *s = ctx->load.source;
    bool is_gguf = ctx->load.is_gguf, by_expert, ok = true;
    char name[300], own[300];
    if (!(is_gguf ? row->gguf : row->hf))
        return true;
    if (!find_name(row, layer, is_gguf, s, name, sizeof name, &by_expert))
        return row->flags & WEIGHT_OPTIONAL || missing(m, &ctx->load, name);
    if (!nx_map_set(&ctx->seen, name, strlen(name), 1))
        return true;
    const char *pattern = by_expert ? pattern_with_expert(row, is_gguf) : NULL;
    int n = by_expert ? m->n_experts : 1;
    char **names = nx_calloc((size_t)n + 1, sizeof *names);
    for (int i = 0; i < n && ok; i++) {
        snprintf(own, sizeof own, "%s", name);
        if (by_expert)
            expert_name(name, pattern, i, own, sizeof own);
        names[i] = nx_strdup(own);
        nn_source_find(s, own);
        ok = nn_weight_there(s, own) || missing(m, &ctx->load, own);
    }
    ok = ok && ctx->visit(row, layer, names, n, ctx->arg);
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
    return ok;
}

bool model_each_tensor(const model *m, nn_source *s, bool is_gguf, model_tensor_fn visit, void *arg)
{
    each_ctx ctx = {.load = {.source = s, .is_gguf = is_gguf}, .visit = visit, .arg = arg};
    bool ok = each_weight(m, show_one, &ctx);
    nx_map_clear(&ctx.seen);
    return ok;
}

const nn_weight *model_weight(const model *m, const weight_row *row, int layer)
{
    return weight_at(m, row, layer);
}

static const char *next_name(const char *pattern)
{
    const char *bar = strchr(pattern, '|');
    return bar ? bar + 1 : NULL;
}

/* Of as many names as there are in the other spelling the one that stands where `from` does there; else the
 * first. */
static const char *counterpart(const char *pattern, const char *other, const char *from, int layer)
{
    int n = 0;
    char name[300];
    const char *first = pattern;
    for (const char *at = pattern; at; at = next_name(at))
        n++;
    for (const char *at = other; at; at = next_name(at))
        n--;
    for (; other && from && n == 0; other = next_name(other), pattern = next_name(pattern)) {
        fill_name(other, layer, 0, name, sizeof name);
        size_t a = strlen(name), b = strlen(from), least = a < b ? a : b; /* a prefix may lack */
        if (strcmp(name + a - least, from + b - least) == 0)
            return pattern;
    }
    return first;
}

bool model_tensor_name(const weight_row *row, bool is_gguf, bool stacked, int layer, int expert,
                       const char *from, char *out, size_t size)
{
    const char *pattern = is_gguf ? row->gguf : row->hf;
    if (!pattern)
        return false;
    pattern = counterpart(pattern, is_gguf ? row->hf : row->gguf, from, layer);
    for (const char *at = pattern; stacked && at; at = next_name(at)) {
        const char *e = strstr(at, "%e");
        if (!e || e > at + strcspn(at, "|")) {
            pattern = at;
            break;
        }
    }
    fill_name(pattern, layer, expert, out, size);
    return true;
}

static bool clear_one(const model *m, const weight_row *row, int layer, void *arg)
{
    nn_weight_clear(weight_at(m, row, layer));
    return true;
}

void model_free(model *m)
{
    if (!m)
        return;
    if (m->layers) {
        each_weight(m, clear_one, NULL);
        if (m->arch->clear)
            m->arch->clear(m);
    }
    free(m->layers);
    free(m->kinds);
    free(m->caches);
    free(m);
}

/* ---- facts ------------------------------------------------------------------------------------ */

typedef struct {
    load_ctx load;
    model_facts *facts;
    nx_map labels; /* quantization -> parameters */
    uint64_t embed_bytes, head_bytes;
} facts_ctx;

static void count_one(facts_ctx *ctx, const char *name)
{
    nn_weight_facts f;
    if (!nn_weight_inspect(ctx->load.source, name, ctx->load.quant, &f))
        return;
    ctx->facts->parameters += f.parameters;
    ctx->facts->bytes += f.bytes;
    size_t n = strlen(f.label);
    uint64_t before = nx_map_get(&ctx->labels, f.label, n, 0);
    nx_map_set(&ctx->labels, f.label, n, before + f.parameters);
}

static bool inspect_one(const model *m, const weight_row *row, int layer, void *arg)
{
    facts_ctx *ctx = arg;
    char name[300], own[300];
    bool by_expert;
    if (!(ctx->load.is_gguf ? row->gguf : row->hf))
        return true;
    if (!find_name(row, layer, ctx->load.is_gguf, ctx->load.source, name, sizeof name, &by_expert))
        return row->flags & WEIGHT_OPTIONAL ||
               nx_fail("[%s] tensor '%s' is missing", m->arch->name, name);
    uint64_t before = ctx->facts->bytes;
    count_one(ctx, name);
    const char *pattern = by_expert ? pattern_with_expert(row, ctx->load.is_gguf) : NULL;
    for (int i = 1; by_expert && i < m->n_experts; i++) {
        expert_name(name, pattern, i, own, sizeof own);
        count_one(ctx, own);
    }
    uint64_t bytes = ctx->facts->bytes - before;
    if (row->flags & WEIGHT_EXPERTS)
        ctx->facts->expert_bytes += bytes;
    if (row->gguf && strcmp(row->gguf, "token_embd.weight") == 0)
        ctx->embed_bytes += bytes;
    if (row->gguf && strcmp(row->gguf, "output.weight") == 0)
        ctx->head_bytes += bytes;
    return true;
}

bool model_inspect_weights(const model *m, nn_source *s, nn_quant_config quant, bool is_gguf,
                           model_facts *out)
{
    *out = (model_facts){0};
    facts_ctx ctx = {.load = {s, quant, is_gguf}, .facts = out};
    bool ok = each_weight(m, inspect_one, &ctx);
    out->lookup_bytes = ctx.head_bytes ? ctx.embed_bytes : 0;
    uint64_t most = 0;
    for (size_t i = 0; i < ctx.labels.n; i++)
        if (ctx.labels.entries[i].value > most) {
            most = ctx.labels.entries[i].value;
            snprintf(out->label, sizeof out->label, "%s", ctx.labels.entries[i].key);
        }
    nx_map_clear(&ctx.labels);
    return ok;
}
