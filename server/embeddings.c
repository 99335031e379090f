/*
 * embeddings.c: texts as vectors (OpenAI, LM Studio, ollama), and documents ranked by them.
 *
 * All of them read their texts into an embedding job, which loads the model through the host as any
 * other and asks the library for vectors a few texts at a time, so that a client who leaves is noticed.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/os.h"
#include "server/lib.h"
#include "server/ollama.h"
#include "server/openai.h"

enum { TEXTS_AT_ONCE = 32, TEXTS_MOST = 2048 };

typedef struct {
    app *app;
    http_request *r;
    fields f;
    json_t *unknown;
    const char *model;
    double ttl, started, load_seconds;
    nexus_embed_options o;
    bool may_truncate, truncated;
    NX_VEC(nexus_text) texts;

    host_model *m; /* NULL: not acquired */
    float *vectors; /* [texts.n, width] */
    int width;
    size_t tokens;
} embed_job;

static void job_open(embed_job *j, app *a, app_call *c)
{
    *j = (embed_job){.app = a, .r = c->r, .ttl = -1, .started = nx_os_seconds()};
    fields_open(&j->f, c->body);
    j->model = fields_str(&j->f, "model", NULL);
}

static void job_close(embed_job *j)
{
    if (j->m)
        host_release(j->m);
    free(j->vectors);
    nx_vec_clear(&j->texts);
    json_decref(j->unknown);
    fields_close(&j->f);
}

/* ---- reading ---- */

static void add_ids(embed_job *j, const char *key, const json_t *list)
{
    json_t *each;
    size_t i, n = json_array_size(list);
    int32_t *ids = nx_arena_alloc(http_arena(j->r), (n + 1) * sizeof *ids);
    json_array_foreach((json_t *)(uintptr_t)list, i, each) {
        json_int_t id = json_integer_value(each);
        if (!json_is_integer(each) || id < 0 || id > INT32_MAX)
            fields_fault(&j->f, key, "'%s' must hold texts, or lists of token ids", key);
        ids[i] = (int32_t)id;
    }
    nx_vec_push(&j->texts, (nexus_text){.ids = ids, .length = n});
}

static void add_text(embed_job *j, const char *key, const json_t *text)
{
    if (json_is_string(text))
        nx_vec_push(&j->texts, (nexus_text){.bytes = json_string_value(text),
                                            .length = json_string_length(text)});
    else if (json_is_array(text))
        add_ids(j, key, text);
    else
        fields_fault(&j->f, key, "'%s' must hold texts, or lists of token ids", key);
}

/* A text, a list of texts, one list of ids, or a list of those. */
static void read_input(embed_job *j, const char *key)
{
    const json_t *input = fields_any(&j->f, key);
    json_t *each;
    size_t i;
    if (!input || (json_is_array(input) && json_array_size(input) == 0))
        fields_fault(&j->f, key, "'%s' is needed: a text, or a list of texts", key);
    else if (json_is_array(input) && !json_is_integer(json_array_get(input, 0)))
        json_array_foreach((json_t *)(uintptr_t)input, i, each)
            add_text(j, key, each);
    else
        add_text(j, key, input);
}

/* ---- running ---- */

/* A request that names no model means the one for embeddings, where there is just one. */
static const char *model_name(embed_job *j)
{
    const char *name = j->model;
    if (name && *name)
        return name;
    host_catalog *k = host_catalog_get(j->app->host);
    const nexus_models *all = host_catalog_models(k);
    size_t found = 0;
    for (size_t i = 0; all && i < nexus_models_count(all); i++) {
        const nexus_models_entry *e = nexus_models_at(all, i);
        if (!host_usable(e) || e->duplicate_of[0] || strcmp(e->kind, "embedding") != 0)
            continue;
        name = nx_arena_strndup(http_arena(j->r), e->name, strlen(e->name));
        found++;
    }
    host_catalog_free(k);
    return found == 1 ? name : NULL;
}

static nexus_status embed_some(embed_job *j, size_t begin, size_t n)
{
    float *vectors;
    int width;
    size_t tokens;
    nexus_model *m = host_handle(j->m);
    const nexus_text *texts = j->texts.at + begin;
    nexus_status status = lib(nexus_embed(m, texts, n, &j->o, &vectors, &width, &tokens));
    if (status == NEXUS_ERROR_ARGUMENT && j->may_truncate && !j->o.truncate) {
        j->o.truncate = true; /* what was not possible without is, or is not, now */
        status = lib(nexus_embed(m, texts, n, &j->o, &vectors, &width, &tokens));
        j->truncated |= !status;
        j->o.truncate = false;
    }
    if (status)
        return status;
    if (!j->vectors)
        j->vectors = nx_malloc(j->texts.n * (size_t)width * sizeof *j->vectors);
    memcpy(j->vectors + begin * (size_t)width, vectors, n * (size_t)width * sizeof *vectors);
    nexus_free(vectors);
    j->width = width;
    j->tokens += tokens;
    return NEXUS_OK;
}

static bool run_texts(embed_job *j)
{
    nexus_status status = NEXUS_OK;
    for (size_t i = 0; !status && i < j->texts.n; i += TEXTS_AT_ONCE) {
        size_t left = j->texts.n - i;
        if (http_gone(j->r)) {
            app_fail(j->r, 499, NULL, "the client has left");
            return false;
        }
        status = embed_some(j, i, left < TEXTS_AT_ONCE ? left : TEXTS_AT_ONCE);
    }
    if (status)
        app_fail(j->r, app_status(status), NULL, "%s", nx_error_message());
    return !status;
}

/* The vectors of the texts that were read; false: the failure has been answered. */
static bool job_run(embed_job *j)
{
    j->unknown = fields_unknown(&j->f);
    if (j->texts.n > TEXTS_MOST)
        fields_fault(&j->f, "input", "%zu texts are too many for one request: send at most %d at a time",
                     j->texts.n, TEXTS_MOST);
    if (!fields_ok(&j->f)) {
        app_fail_fields(j->r, &j->f);
        return false;
    }
    double start = nx_os_seconds();
    nexus_status status = host_acquire(j->app->host, model_name(j), j->ttl, 0, &j->m);
    if (status) {
        app_fail(j->r, app_status(status), "model", "%s", nx_error_message());
        return false;
    }
    j->load_seconds = nx_os_seconds() - start;
    if (!run_texts(j))
        return false;
    app_note(j->r, "%s: %zu texts, %zu tokens", host_name(j->m), j->texts.n, j->tokens);
    return true;
}

static void job_answer(embed_job *j, json_t *o)
{
    app_warn_unknown(j->r, o, j->unknown);
    if (j->truncated) {
        json_t *list = json_object_get(o, "warnings");
        if (!list) {
            list = json_array();
            json_object_set_new(o, "warnings", list);
        }
        json_array_append_new(list, json_string("texts longer than the model reads lost their end"));
    }
    http_reply_json(j->r, 200, o);
    json_decref(o);
}

static json_t *vector_json(const float *v, int width)
{
    json_t *list = json_array();
    for (int i = 0; i < width; i++)
        json_array_append_new(list, json_real(v[i]));
    return list;
}

/* ---- OpenAI, LM Studio ---- */

/* The numbers' bytes, little-endian, as base64. */
static json_t *vector_base64(const float *v, int width)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    nx_str out = {0};
    uint32_t held = 0;
    int bits = 0;
    for (size_t i = 0; i < (size_t)width * 4; i++) {
        uint32_t word;
        memcpy(&word, &v[i / 4], 4);
        held = held << 8 | (word >> (i % 4 * 8) & 255);
        for (bits += 8; bits >= 6; bits -= 6)
            nx_str_putc(&out, digits[held >> (bits - 6) & 63]);
    }
    if (bits)
        nx_str_putc(&out, digits[held << (6 - bits) & 63]);
    while (out.len % 4)
        nx_str_putc(&out, '=');
    json_t *o = json_string(nx_str_cstr(&out));
    nx_str_clear(&out);
    return o;
}

void openai_embeddings(app *a, app_call *c)
{
    static const char *const harmless[] = {"user", NULL};
    embed_job j;
    job_open(&j, a, c);
    read_input(&j, "input");
    const char *form = fields_str(&j.f, "encoding_format", "float");
    bool base64 = strcmp(form, "base64") == 0;
    if (!base64 && strcmp(form, "float") != 0)
        fields_fault(&j.f, "encoding_format", "'encoding_format' is float or base64");
    j.o.dimensions = (int)fields_int(&j.f, "dimensions", 0, 1, INT32_MAX);
    j.ttl = fields_real(&j.f, "ttl", -1);
    fields_skip(&j.f, harmless);
    if (job_run(&j)) {
        json_t *data = json_array();
        for (size_t i = 0; i < j.texts.n; i++) {
            const float *v = j.vectors + i * (size_t)j.width;
            json_array_append_new(data, json_pack("{s:s, s:o, s:I}", "object", "embedding", "embedding",
                                                  base64 ? vector_base64(v, j.width)
                                                         : vector_json(v, j.width),
                                                  "index", (json_int_t)i));
        }
        job_answer(&j, json_pack("{s:s, s:o, s:s, s:{s:I, s:I}}", "object", "list", "data", data, "model",
                             host_name(j.m), "usage", "prompt_tokens", (json_int_t)j.tokens,
                             "total_tokens", (json_int_t)j.tokens));
    }
    job_close(&j);
}

/* ---- ollama ---- */

static void read_ollama(embed_job *j)
{
    static const char *const harmless[] = {"options", NULL};
    j->ttl = ollama_keep_alive(&j->f);
    j->may_truncate = fields_bool(&j->f, "truncate", true);
    fields_skip(&j->f, harmless);
}

void ollama_embed(app *a, app_call *c)
{
    embed_job j;
    job_open(&j, a, c);
    read_input(&j, "input");
    read_ollama(&j);
    j.o.dimensions = (int)fields_int(&j.f, "dimensions", 0, 0, INT32_MAX);
    if (job_run(&j)) {
        json_t *list = json_array();
        for (size_t i = 0; i < j.texts.n; i++)
            json_array_append_new(list, vector_json(j.vectors + i * (size_t)j.width, j.width));
        job_answer(&j, json_pack("{s:s, s:o, s:I, s:I, s:I}", "model", host_name(j.m), "embeddings", list,
                             "total_duration", (json_int_t)((nx_os_seconds() - j.started) * 1e9),
                             "load_duration", (json_int_t)(j.load_seconds * 1e9), "prompt_eval_count",
                             (json_int_t)j.tokens));
    }
    job_close(&j);
}

/* The older one: one text, one vector. */
void ollama_embeddings(app *a, app_call *c)
{
    embed_job j;
    job_open(&j, a, c);
    const json_t *prompt = fields_any(&j.f, "prompt");
    if (json_is_string(prompt))
        add_text(&j, "prompt", prompt);
    else
        fields_fault(&j.f, "prompt", "'prompt' is needed: a text");
    read_ollama(&j);
    if (job_run(&j))
        job_answer(&j, json_pack("{s:o}", "embedding", vector_json(j.vectors, j.width)));
    job_close(&j);
}

/* ---- ranking ---- */

typedef struct {
    size_t index;
    double score;
} ranked;

/* The best first; equals as they were given. */
static int by_score(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static double dot(const float *a, const float *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* Documents are texts, or objects with one. */
static const json_t *read_documents(embed_job *j)
{
    const json_t *list = fields_array(&j->f, "documents");
    json_t *each;
    size_t i;
    if (json_array_size(list) == 0)
        fields_fault(&j->f, "documents", "'documents' is needed: a list of texts");
    json_array_foreach((json_t *)(uintptr_t)list, i, each) {
        const json_t *text = json_is_object(each) ? json_object_get(each, "text") : each;
        if (json_is_string(text))
            add_text(j, "documents", text);
        else
            fields_fault(&j->f, "documents", "documents[%zu] must be a text", i);
    }
    return list;
}

static json_t *results(const embed_job *j, const json_t *documents, size_t most, bool whole)
{
    size_t n = j->texts.n - 1;
    ranked *order = nx_malloc((n + 1) * sizeof *order);
    for (size_t i = 0; i < n; i++) /* vectors have length one: this is the cosine */
        order[i] = (ranked){i, dot(j->vectors, j->vectors + (i + 1) * (size_t)j->width, j->width)};
    qsort(order, n, sizeof *order, by_score);
    json_t *list = json_array();
    for (size_t i = 0; i < n && i < most; i++) {
        json_t *o = json_pack("{s:I, s:f}", "index", (json_int_t)order[i].index, "relevance_score",
                              order[i].score);
        json_t *d = json_array_get(documents, order[i].index);
        if (whole)
            json_object_set_new(o, "document", json_is_object(d) ? json_incref(d)
                                                                 : json_pack("{s:O}", "text", d));
        json_array_append_new(list, o);
    }
    free(order);
    return list;
}

void rerank(app *a, app_call *c)
{
    embed_job j;
    job_open(&j, a, c);
    const json_t *query = fields_any(&j.f, "query");
    if (json_is_string(query))
        add_text(&j, "query", query);
    else
        fields_fault(&j.f, "query", "'query' is needed: a text");
    const json_t *documents = read_documents(&j);
    size_t top = (size_t)fields_int(&j.f, "top_n", INT32_MAX, 1, INT32_MAX);
    bool whole = fields_bool(&j.f, "return_documents", false);
    j.may_truncate = fields_bool(&j.f, "truncate", false);
    if (job_run(&j))
        job_answer(&j, json_pack("{s:s, s:s, s:s, s:o, s:{s:I, s:I}}", "object", "list", "model",
                             host_name(j.m), "scoring", "cosine of embeddings", "results",
                             results(&j, documents, top, whole), "usage", "prompt_tokens",
                             (json_int_t)j.tokens, "total_tokens", (json_int_t)j.tokens));
    job_close(&j);
}
