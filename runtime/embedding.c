/*
 * embedding.c: nexus_embed: texts as vectors. Texts go through the model together, as many as
 * EMBED_TOKENS allows; each has its own attention, so that no vector depends on its company.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/os.h"
#include "nexus/nexus.h"
#include "runtime/handles.h"
#include "runtime/models/embed.h"
#include "runtime/nn/engine.h"

enum { EMBED_TOKENS = 2048 }; /* a pass; a longer text is a pass of its own */

typedef struct {
    nexus_model *m;
    const tok_ids *texts; /* those of one pass */
    int n, begin;         /* of them, the first one's number among all */
    embed_pooling pooling;
    bool normalised;
    int keep;   /* the first dimensions, which are normalised again; 0: all */
    float *out; /* [all texts, keep] */
} embed_pass;

/* ---- how a model wants to be pooled ---------------------------------------------------------- */

static json_t *folder_json(const package *p, const char *file)
{
    nx_str path = {0};
    nx_str_printf(&path, "%s/%s", p->path, file);
    json_t *o = nx_os_is_file(nx_str_cstr(&path)) ? nx_json_load_file(nx_str_cstr(&path)) : NULL;
    nx_str_clear(&path);
    return o;
}

/* sentence-transformers keeps the steps after the encoder in modules.json. */
static bool further_modules_known(const package *p)
{
    json_t *modules = folder_json(p, "modules.json"), *step;
    size_t i;
    bool ok = true;
    json_array_foreach(modules, i, step)
    {
        const char *type = nx_json_get_str(step, "type", ""), *dot = strrchr(type, '.');
        const char *kind = dot ? dot + 1 : type;
        if (strcmp(kind, "Transformer") != 0 && strcmp(kind, "Pooling") != 0 &&
            strcmp(kind, "Normalize") != 0)
            ok = nx_fail("[%s] has a further step '%s' in modules.json, which is not supported: choose "
                         "a model that ends with pooling", p->name, kind);
    }
    json_decref(modules);
    return ok;
}

static bool folder_pooling(const package *p, embed_pooling *out)
{
    if (!further_modules_known(p))
        return false;
    json_t *o = folder_json(p, "1_Pooling/config.json");
    bool named = true;
    if (nx_json_get_bool(o, "pooling_mode_cls_token", false))
        *out = EMBED_CLS;
    else if (nx_json_get_bool(o, "pooling_mode_lasttoken", false))
        *out = EMBED_LAST;
    else if (nx_json_get_bool(o, "pooling_mode_mean_tokens", false))
        *out = EMBED_MEAN;
    else if (o)
        named = nx_fail("[%s/1_Pooling/config.json] asks for a pooling that is not supported: name one "
                        "of mean, cls and last", p->path);
    json_decref(o);
    return named;
}

/* What the model's files say; else the mean of an encoder, the last token of a decoder. */
static bool model_pooling(const nexus_model *m, embed_pooling *out)
{
    static const embed_pooling by_number[] = {[1] = EMBED_MEAN, [2] = EMBED_CLS, [3] = EMBED_LAST};
    const package *p = &m->package;
    *out = m->model->arch->encoder ? EMBED_MEAN : EMBED_LAST;
    if (!p->is_gguf)
        return folder_pooling(p, out);
    char key[96];
    snprintf(key, sizeof key, "%s.pooling_type", p->arch);
    uint64_t n = nx_gguf_get_u64(p->source.ggufs.at[0], key, 0);
    if (n > 3)
        return nx_fail("[%s] asks for pooling %llu, which is not supported: name one of mean, cls and "
                       "last", p->name, (unsigned long long)n);
    if (n)
        *out = by_number[n];
    return true;
}

static void append(tok_ids *out, const int32_t *ids, size_t n)
{
    nx_vec_reserve(out, n);
    if (n)
        memcpy(out->at + out->n, ids, n * sizeof *ids);
    out->n += n;
}

/* ---- one pass -------------------------------------------------------------------------------- */

static mlx_array shortened(nn *c, const embed_pass *e, mlx_array x)
{
    int d = e->m->model->hidden_size;
    if (!e->keep || e->keep == d)
        return x;
    x = nn_slice(c, x, -1, 0, e->keep);
    return e->normalised ? embed_normalise(c, x) : x;
}

static bool run_pass(void *arg)
{
    embed_pass *e = arg;
    model *m = e->m->model;
    nn c;
    nn_init(&c);
    nn_segment *segments = nx_calloc((size_t)e->n, sizeof *segments);
    nn_cache *caches = nx_calloc((size_t)e->n, sizeof *caches);
    tok_ids all = {0};
    for (int i = 0; i < e->n; i++) {
        int count = (int)e->texts[i].n;
        nn_cache_init(&caches[i], m->caches, m->n_layers, NN_CACHE_F32, count);
        nn_cache_expect(&caches[i], count);
        segments[i] = (nn_segment){(int)all.n, count, m->arch->encoder ? NULL : &caches[i], true, 0};
        append(&all, e->texts[i].at, e->texts[i].n);
    }
    nn_batch b = {.n_tokens = (int)all.n, .segments = segments, .n_segments = e->n};
    b.tokens = nn_own(&c, 0, mlx_array_new_data(all.at, &b.n_tokens, 1, MLX_INT32));
    mlx_array y = nn_astype(&c, model_embed(&c, m, &b, e->pooling, e->normalised), MLX_FLOAT32);
    y = NN_CALL(&c, mlx_contiguous, shortened(&c, e, y), false);
    bool ok = !c.failed && mlx_array_eval(y) == 0;
    size_t width = (size_t)(e->keep ? e->keep : m->hidden_size);
    if (ok)
        memcpy(e->out + (size_t)e->begin * width, mlx_array_data_float32(y),
               (size_t)e->n * width * sizeof(float));
    nn_clear(&c);
    for (int i = 0; i < e->n; i++)
        nn_cache_clear(&caches[i]);
    nx_vec_clear(&all);
    free(caches);
    free(segments);
    return ok;
}

/* ---- the interface --------------------------------------------------------------------------- */

/* Too long a text loses its end, but keeps the closing token where the tokenizer adds one. */
static bool fit_text(const nexus_model *m, tok_ids *ids, bool truncate, size_t number)
{
    size_t most = (size_t)m->model->max_context;
    if (!ids->n)
        return nx_fail("[embed] text %zu has no tokens: give at least one character", number + 1);
    if (ids->n <= most)
        return true;
    if (!truncate)
        return nx_fail("[embed] text %zu has %zu tokens, the model reads %zu at most: shorten it, or "
                       "let it be truncated", number + 1, ids->n, most);
    int32_t last = ids->at[ids->n - 1];
    ids->n = most;
    if (tok_is_special(m->tokenizer, last))
        ids->at[most - 1] = last;
    return true;
}

static bool run_all(embed_pass *e, const tok_ids *ids, size_t count)
{
    for (size_t i = 0; i < count; i += (size_t)e->n) {
        size_t tokens = ids[i].n;
        e->texts = ids + i;
        e->begin = (int)i;
        for (e->n = 1; i + (size_t)e->n < count && tokens + ids[i + (size_t)e->n].n <= EMBED_TOKENS;
             e->n++)
            tokens += ids[i + (size_t)e->n].n;
        if (!engine_run(run_pass, e))
            return false;
    }
    return true;
}

static nexus_status check(const nexus_model *m, const nexus_embed_options *o, embed_pass *e)
{
    if (!m->model) {
        nx_fail("the model was opened for its text alone: open it whole to embed");
        return NEXUS_ERROR_ARGUMENT;
    }
    if (o->dimensions < 0 || o->dimensions > m->model->hidden_size) {
        nx_fail("[embed] %d dimensions are not possible: the model's vectors have %d", o->dimensions,
                m->model->hidden_size);
        return NEXUS_ERROR_ARGUMENT;
    }
    if (o->pooling)
        return embed_pooling_named(o->pooling, &e->pooling) ? NEXUS_OK : NEXUS_ERROR_ARGUMENT;
    return model_pooling(m, &e->pooling) ? NEXUS_OK : NEXUS_ERROR_UNSUPPORTED;
}

static nexus_status read_text(nexus_model *m, const nexus_text *t, bool truncate, size_t number,
                              tok_ids *ids)
{
    if (t->ids)
        append(ids, t->ids, t->length);
    else if (!tok_encode(m->tokenizer, t->bytes, t->length, TOK_ADD_SPECIAL, ids, NULL))
        return NEXUS_ERROR;
    if (!fit_text(m, ids, truncate, number))
        return NEXUS_ERROR_ARGUMENT;
    for (size_t k = 0; k < ids->n; k++)
        if (ids->at[k] < 0 || ids->at[k] >= m->model->vocab_size) {
            nx_fail("[embed] token %d of text %zu is not in the vocabulary of %d", (int)ids->at[k],
                    number + 1, m->model->vocab_size);
            return NEXUS_ERROR_ARGUMENT;
        }
    return NEXUS_OK;
}

nexus_status nexus_embed(nexus_model *m, const nexus_text *texts, size_t count,
                         const nexus_embed_options *options, float **vectors, int *dimensions,
                         size_t *tokens)
{
    const nexus_embed_options none = {0}, *o = options ? options : &none;
    embed_pass e = {.m = m, .normalised = !o->raw, .keep = o->dimensions};
    nexus_status status = check(m, o, &e);
    if (status)
        return status;
    int width = e.keep ? e.keep : m->model->hidden_size;
    tok_ids *ids = nx_calloc(count + 1, sizeof *ids);
    e.out = nx_malloc((count + 1) * (size_t)width * sizeof(float));
    size_t sum = 0;
    for (size_t i = 0; i < count && !status; i++) {
        status = read_text(m, &texts[i], o->truncate, i, &ids[i]);
        sum += ids[i].n;
    }
    if (!status && !run_all(&e, ids, count))
        status = NEXUS_ERROR;
    for (size_t i = 0; i < count; i++)
        nx_vec_clear(&ids[i]);
    free(ids);
    if (status) {
        free(e.out);
        return status;
    }
    *vectors = e.out;
    *dimensions = width;
    if (tokens)
        *tokens = sum;
    return NEXUS_OK;
}
