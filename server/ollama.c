/* ollama.c: ollama's interface: /api/generate, /api/chat and the lists of models. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/os.h"
#include "server/ollama.h"
#include "server/openai.h"

static const double KEEP_ALIVE = -1; /* the server's own time */

typedef struct {
    app *app;
    http_request *r;
    gen_job job;
    bool chat, stream, think;
    json_t *unknown;
    char name[256];
    nx_str content, thinking;
    json_t *calls;
    double started;
} reply;

/* ---- reading ---- */

double ollama_keep_alive(fields *f)
{
    const json_t *v = fields_any(f, "keep_alive");
    if (json_is_number(v))
        return json_number_value(v);
    const char *at = json_string_value(v);
    if (!at)
        return KEEP_ALIVE;
    double total = 0;
    bool negative = *at == '-';
    at += negative;
    while (*at) {
        char *end;
        double n = strtod(at, &end);
        if (end == at)
            break;
        double unit = strncmp(end, "ms", 2) == 0 ? 1e-3 : *end == 'h' ? 3600 : *end == 'm' ? 60 : 1;
        total += n * unit;
        at = end + (strncmp(end, "ms", 2) == 0 ? 2 : *end ? 1 : 0);
    }
    if (*at)
        fields_fault(f, "keep_alive", "'keep_alive' is a time such as \"5m\", or seconds");
    return negative ? 1e9 : total;
}

/* "options": sampling under ollama's names, which are ours but for a few. */
static void read_options(reply *a, fields *f)
{
    static const char *const harmless[] = {"num_batch", "num_gpu", "main_gpu", "num_thread",
                                           "use_mmap", "num_keep", "numa", NULL};
    json_t *o = (json_t *)(uintptr_t)fields_object(f, "options");
    a->job.o.temperature = 0.8f; /* ollama's defaults */
    a->job.o.top_k = 40;
    a->job.o.top_p = 0.9f;
    a->job.o.repeat_penalty = 1.1f;
    if (!o)
        return;
    fields g;
    fields_open(&g, o);
    gen_read_sampling(&a->job, &g);
    a->job.o.max_tokens = (int)fields_int(&g, "num_predict", 0, -2, INT32_MAX);
    if (a->job.o.max_tokens < 0)
        a->job.o.max_tokens = 0;
    a->job.context = (int)fields_int(&g, "num_ctx", 0, 0, INT32_MAX);
    fields_skip(&g, harmless);
    if (!fields_ok(&g))
        fields_fault(f, g.key, "%s", g.fault);
    json_t *unknown = fields_unknown(&g);
    if (unknown && !a->unknown)
        a->unknown = json_incref(unknown);
    json_decref(unknown);
    fields_close(&g);
}

static void read_common(reply *a, fields *f)
{
    gen_job *j = &a->job;
    j->model = fields_str(f, "model", NULL);
    j->ttl = ollama_keep_alive(f);
    a->stream = fields_bool(f, "stream", true);
    read_options(a, f);
    const json_t *format = fields_any(f, "format");
    bool json = json_is_string(format) && strcmp(json_string_value(format), "json") == 0;
    if (json || json_is_object(format))
        gen_set_schema(j, f, "format", format);
    else if (format && !(json_is_string(format) && json_string_length(format) == 0))
        fields_fault(f, "format", "'format' is \"json\" or a schema");
    const json_t *think = fields_any(f, "think");
    a->think = think && !json_is_false(think);
    if (think && j->chat)
        json_object_set_new(j->chat, "enable_thinking", json_boolean(a->think));
    if (json_array_size(fields_array(f, "images")))
        fields_fault(f, "images", "this model reads texts alone, no images");
}

static void read_chat(reply *a, fields *f)
{
    openai_read_chat(&a->job, f);
    read_common(a, f);
}

/* A prompt goes through the template as a user's message, unless it is raw. */
static void read_generate(reply *a, fields *f)
{
    static const char *const harmless[] = {"context", "template", NULL};
    gen_job *j = &a->job;
    const char *prompt = fields_str(f, "prompt", ""), *system = fields_str(f, "system", NULL);
    const char *suffix = fields_str(f, "suffix", NULL);
    if (suffix && *suffix)
        fields_fault(f, "suffix", "'suffix' is not offered: the text is continued at its end");
    if (fields_bool(f, "raw", false)) {
        j->text = prompt;
        j->length = strlen(prompt);
        j->plain = true;
    } else {
        json_t *messages = json_array();
        if (system)
            json_array_append_new(messages, json_pack("{s:s, s:s}", "role", "system", "content", system));
        json_array_append_new(messages, json_pack("{s:s, s:s}", "role", "user", "content", prompt));
        j->chat = json_pack("{s:o, s:b}", "messages", messages, "add_generation_prompt", 1);
    }
    read_common(a, f);
    fields_skip(f, harmless);
}

/* ---- answering ---- */

static json_t *line(const reply *a, const char *content, size_t n, const char *thinking, size_t k,
                    json_t *calls, bool done)
{
    json_t *o = json_pack("{s:s, s:s, s:b}", "model", a->name, "created_at",
                          app_iso_time(a->r, app_now()), "done", done);
    if (!a->chat) {
        json_object_set_new(o, "response", json_stringn(content, n));
        if (k)
            json_object_set_new(o, "thinking", json_stringn(thinking, k));
        return o;
    }
    json_t *m = json_pack("{s:s, s:s%}", "role", "assistant", "content", content, n);
    if (k)
        json_object_set_new(m, "thinking", json_stringn(thinking, k));
    if (json_array_size(calls))
        json_object_set(m, "tool_calls", calls);
    json_object_set_new(o, "message", m);
    return o;
}

static void on_start(void *user, const gen_start *s)
{
    reply *a = user;
    snprintf(a->name, sizeof a->name, "%s", host_name(s->model));
    if (!a->stream)
        return;
    app_stream_begin(a->r, "application/x-ndjson", a->unknown);
}

static bool on_part(void *user, const answer_part *p)
{
    reply *a = user;
    json_t *calls = NULL;
    bool thought = p->kind == ANSWER_REASONING;
    if (p->kind == ANSWER_CALL) {
        json_t *arguments = json_loadb(p->text, p->length, 0, NULL);
        calls = json_pack("[{s:{s:s, s:o}}]", "function", "name", p->name, "arguments",
                          arguments ? arguments : json_object());
        json_array_extend(a->calls, calls);
    } else {
        nx_str_add(thought ? &a->thinking : &a->content, p->text, p->length);
    }
    bool here = true;
    if (a->stream) {
        size_t n = p->kind == ANSWER_CALL ? 0 : p->length;
        json_t *o = line(a, p->text, thought ? 0 : n, p->text, thought ? n : 0, calls, false);
        here = app_line(a->r, o);
        json_decref(o);
    }
    json_decref(calls);
    return here;
}

static json_int_t ns(double seconds)
{
    return (json_int_t)(seconds * 1e9);
}

static void add_figures(const reply *a, json_t *o, const gen_result *g)
{
    const nexus_stats *s = &g->stats;
    json_t *figures = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "done_reason",
        strcmp(gen_finish_reason(g), "length") == 0 ? "length" : "stop", "total_duration",
        ns(nx_os_seconds() - a->started), "load_duration", ns(g->load_seconds), "prompt_eval_count",
        (json_int_t)s->prompt_tokens, "prompt_eval_cached", (json_int_t)s->cached_tokens,
        "prompt_eval_duration", ns(s->prefill_seconds), "eval_count", (json_int_t)s->generated_tokens,
        "eval_duration", ns(s->decode_seconds));
    json_object_update(o, figures);
    json_decref(figures);
}

static void finish(reply *a, const gen_result *g)
{
    json_t *o = a->stream ? line(a, "", 0, NULL, 0, NULL, true)
                          : line(a, nx_str_cstr(&a->content), a->content.len, nx_str_cstr(&a->thinking),
                                 a->thinking.len, a->calls, true);
    add_figures(a, o, g);
    if (a->stream) {
        app_line(a->r, o);
        http_stream_end(a->r);
    } else {
        app_warn_unknown(a->r, o, a->unknown);
        http_reply_json(a->r, 200, o);
    }
    json_decref(o);
}

/* Without anything to answer a request loads the model, or with keep_alive 0 unloads it. */
static void load_only(reply *a)
{
    bool unload = a->job.ttl == 0;
    host_model *m;
    nexus_status status = NEXUS_OK;
    if (unload)
        host_unload(a->app->host, a->job.model ? a->job.model : "");
    else if (!(status = host_acquire(a->app->host, a->job.model, a->job.ttl, a->job.context, &m)))
        host_release(m);
    if (status) {
        app_fail(a->r, app_status(status), NULL, "%s", nx_error_message());
        return;
    }
    snprintf(a->name, sizeof a->name, "%s", a->job.model ? a->job.model : "");
    json_t *o = line(a, "", 0, NULL, 0, NULL, true);
    json_object_set_new(o, "done_reason", json_string(unload ? "unload" : "load"));
    http_reply_json(a->r, 200, o);
    json_decref(o);
}

static void answer_request(app *a, app_call *call, bool is_chat)
{
    reply p = {.app = a, .r = call->r, .chat = is_chat, .calls = json_array(),
               .started = nx_os_seconds()};
    fields f;
    gen_job_init(&p.job);
    const char *what = is_chat ? "messages" : "prompt";
    const json_t *given = json_object_get(call->body, what);
    bool empty = !given || json_array_size(given) + json_string_length(given) == 0;
    fields_open(&f, call->body);
    if (empty) {
        p.job.model = fields_str(&f, "model", NULL);
        p.job.ttl = ollama_keep_alive(&f);
        read_options(&p, &f);
    } else if (is_chat) {
        read_chat(&p, &f);
    } else {
        read_generate(&p, &f);
    }
    if (!empty && !p.unknown)
        p.unknown = fields_unknown(&f);
    const gen_sink sink = {&p, on_start, on_part, NULL, NULL};
    gen_result g;
    int status = 0;
    if (!fields_ok(&f))
        app_fail_fields(p.r, &f);
    else if (empty)
        load_only(&p);
    else if ((status = gen_run(a, p.r, &p.job, &sink, &g)))
        app_fail(p.r, status, NULL, "%s", nx_error_message());
    else
        finish(&p, &g);
    fields_close(&f);
    gen_job_clear(&p.job);
    json_decref(p.unknown);
    json_decref(p.calls);
    nx_str_clear(&p.content);
    nx_str_clear(&p.thinking);
}

void ollama_generate(app *a, app_call *call)
{
    answer_request(a, call, false);
}

void ollama_chat(app *a, app_call *call)
{
    answer_request(a, call, true);
}

/* ---- lists ---- */

/* "1.1B", "135M" */
static const char *parameter_size(char *out, size_t size, uint64_t n)
{
    snprintf(out, size, n >= 1000000000 ? "%.1fB" : "%.0fM",
             n >= 1000000000 ? (double)n * 1e-9 : (double)n * 1e-6);
    return out;
}

static json_t *details(const char *format, const char *family, uint64_t parameters, const char *quant)
{
    char size[32];
    return json_pack("{s:s, s:s, s:s, s:[s], s:s, s:s}", "parent_model", "", "format", format, "family",
                     family, "families", family, "parameter_size",
                     parameter_size(size, sizeof size, parameters), "quantization_level", quant);
}

/* There is no digest of whole files: path, size and time stand for the content. */
static const char *digest(app_call *c, const nexus_models_entry *e)
{
    uint64_t h = 1469598103934665603u; /* FNV-1a */
    for (const char *p = e->path; *p; p++)
        h = (h ^ (unsigned char)*p) * 1099511628211u;
    h = (h ^ e->bytes) * 1099511628211u;
    h = (h ^ (uint64_t)e->modified) * 1099511628211u;
    char text[65];
    for (int i = 0; i < 4; i++) {
        snprintf(text + i * 16, 17, "%016llx", (unsigned long long)h);
        h = h * 6364136223846793005u + 1442695040888963407u;
    }
    return nx_arena_strndup(http_arena(c->r), text, 64);
}

void ollama_tags(app *a, app_call *c)
{
    host_catalog *k = host_catalog_get(a->host);
    const nexus_models *all = host_catalog_models(k);
    json_t *list = json_array();
    for (size_t i = 0; all && i < nexus_models_count(all); i++) {
        const nexus_models_entry *e = nexus_models_at(all, i);
        if (!host_usable(e) || e->duplicate_of[0])
            continue;
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:I, s:s, s:o}", "name", e->name, "model", e->name,
                            "modified_at", app_iso_time(c->r, e->modified), "size", (json_int_t)e->bytes,
                            "digest", digest(c, e), "details",
                            details(e->format, e->family, e->parameters, e->quantization)));
    }
    json_t *o = json_pack("{s:o}", "models", list);
    http_reply_json(c->r, 200, o);
    json_decref(o);
    host_catalog_free(k);
}

void ollama_ps(app *a, app_call *c)
{
    host_loaded loaded[64];
    size_t n = host_list_loaded(a->host, loaded, 64);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        const host_loaded *l = &loaded[i];
        double left = l->expires_seconds < 0 ? 3.2e9 : l->expires_seconds;
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:I, s:I, s:s, s:i, s:o}", "name", l->name, "model", l->name,
                            "size", (json_int_t)l->info.memory_bytes, "size_vram", (json_int_t)0,
                            "expires_at", app_iso_time(c->r, app_now() + (int64_t)left),
                            "context_length", l->context, "details",
                            details(l->info.format, l->info.family, l->info.parameters,
                                    l->info.quantization)));
    }
    json_t *o = json_pack("{s:o}", "models", list);
    http_reply_json(c->r, 200, o);
    json_decref(o);
}

static json_t *capabilities(const nexus_models_entry *e)
{
    json_t *list = json_array();
    bool embeds = strcmp(e->kind, "embedding") == 0;
    json_array_append_new(list, json_string(embeds ? "embedding" : "completion"));
    return list;
}

void ollama_show(app *a, app_call *c)
{
    fields f;
    fields_open(&f, c->body);
    const char *name = fields_str(&f, "model", NULL);
    if (!name)
        name = fields_str(&f, "name", "");
    host_catalog *k = host_catalog_get(a->host);
    const nexus_models_entry *e = host_find(k, name);
    if (e) {
        json_t *info = json_pack("{s:s, s:I}", "general.architecture", e->family,
                                 "general.parameter_count", (json_int_t)e->parameters);
        nx_str key = {0};
        nx_str_printf(&key, "%s.context_length", e->family);
        json_object_set_new(info, nx_str_cstr(&key), json_integer(e->max_context));
        nx_str_clear(&key);
        json_t *o = json_pack("{s:s, s:s, s:o, s:o, s:o, s:s}", "modelfile", "", "parameters", "",
                              "details", details(e->format, e->family, e->parameters, e->quantization),
                              "model_info", info, "capabilities", capabilities(e), "modified_at",
                              app_iso_time(c->r, e->modified));
        http_reply_json(c->r, 200, o);
        json_decref(o);
    } else {
        app_fail(c->r, 404, "model", "there is no model called '%s'", name);
    }
    host_catalog_free(k);
    fields_close(&f);
}

void ollama_version(app *a, app_call *c)
{
    json_t *o = json_pack("{s:s}", "version", nexus_version());
    http_reply_json(c->r, 200, o);
    json_decref(o);
}

void ollama_status(app *a, app_call *c)
{
    json_t *o = json_pack("{s:{s:b}}", "cloud", "disabled", 1);
    http_reply_json(c->r, 200, o);
    json_decref(o);
}
