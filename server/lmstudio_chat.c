/*
 * lmstudio_chat.c: POST /api/v1/chat, LM Studio's own form of a conversation that the server keeps:
 * one message in, items out; streamed, with events for loading, reading and each item.
 */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/os.h"
#include "server/kept.h"
#include "server/openai.h"

typedef struct {
    app *app;
    http_request *r;
    gen_job job;
    bool stream, store;
    json_t *context; /* the conversation in the chat's form, without the system's part */
    json_t *unknown;

    const char *id;
    char name[256];
    host_model *held; /* loaded for this request before it began; NULL: it was there */
    double load_seconds; /* < 0: nothing was loaded */
    json_t *output;
    const char *open; /* "message", "reasoning"; NULL: no item is open */
    bool reading;     /* the prompt is being read */
    nx_str text, content, reasoning; /* of the open item; and all of a kind */
} talk;

/* ---- reading ---- */

/* A text, or a list of {"type": "message" or "text", "content"}. */
static void read_input(talk *t, fields *f)
{
    const json_t *input = fields_any(f, "input");
    json_t *each;
    size_t i;
    nx_str text = {0};
    if (json_is_string(input))
        nx_str_puts(&text, json_string_value(input));
    else if (!json_is_array(input) || json_array_size(input) == 0)
        fields_fault(f, "input", "'input' is needed: a text, or a list of parts with texts");
    json_array_foreach((json_t *)(uintptr_t)input, i, each) {
        const char *type = json_string_value(json_object_get(each, "type"));
        const char *piece = json_string_value(json_object_get(each, "content"));
        if (!piece || (type && strcmp(type, "message") != 0 && strcmp(type, "text") != 0))
            fields_fault(f, "input", "input[%zu] is of type '%s': only texts can be read by this model", i,
                         type ? type : "?");
        else
            nx_str_puts(&text, piece);
    }
    json_array_append_new(t->context, json_pack("{s:s, s:s}", "role", "user", "content",
                                                nx_str_cstr(&text)));
    nx_str_clear(&text);
}

static void read_previous(talk *t, fields *f)
{
    const char *id = fields_str(f, "previous_response_id", NULL);
    kept_answer before;
    if (id && kept_get(t->app->kept, id, &before)) {
        t->context = json_deep_copy(before.messages);
        kept_answer_clear(&before);
        return;
    }
    t->context = json_array();
    if (id)
        fields_fault(f, "previous_response_id", "there is no response '%s': it was not stored, or the "
                     "server was started anew", id);
}

static void read_reasoning(json_t *as_chat, fields *f)
{
    static const char *const known[] = {"off", "low", "medium", "high", "on"};
    const char *word = fields_str(f, "reasoning", NULL);
    bool ok = !word;
    for (size_t i = 0; word && i < sizeof known / sizeof *known; i++)
        ok |= strcmp(word, known[i]) == 0;
    if (!ok)
        fields_fault(f, "reasoning", "'reasoning' is off, low, medium, high or on");
    else if (word && (strcmp(word, "off") == 0 || strcmp(word, "on") == 0))
        json_object_set_new(as_chat, "enable_thinking", json_boolean(word[1] == 'n'));
    else if (word)
        json_object_set_new(as_chat, "reasoning_effort", json_string(word));
}

static void read_chat(talk *t, fields *f)
{
    const char *system = fields_str(f, "system_prompt", NULL);
    json_t *messages = json_array();
    if (system)
        json_array_append_new(messages, json_pack("{s:s, s:s}", "role", "system", "content", system));
    json_array_extend(messages, t->context);
    json_t *as_chat = json_pack("{s:o}", "messages", messages);
    read_reasoning(as_chat, f);
    fields g;
    fields_open(&g, as_chat);
    openai_read_chat(&t->job, &g);
    if (!fields_ok(&g))
        fields_fault(f, g.key, "%s", g.fault);
    fields_close(&g);
    json_decref(as_chat);
}

static void read_request(talk *t, fields *f)
{
    gen_job *j = &t->job;
    j->model = fields_str(f, "model", NULL);
    j->ttl = fields_real(f, "ttl", -1);
    j->context = (int)fields_int(f, "context_length", 0, 1, INT32_MAX);
    t->stream = fields_bool(f, "stream", false);
    t->store = fields_bool(f, "store", true);
    read_previous(t, f);
    read_input(t, f);
    read_chat(t, f);
    gen_read_sampling(j, f);
    gen_read_format(j, f);
    j->o.max_tokens = (int)fields_int(f, "max_output_tokens", 0, 1, INT32_MAX);
    if (json_array_size(fields_array(f, "integrations")))
        fields_fault(f, "integrations", "'integrations' is not offered: this server calls no other");
}

/* ---- events ---- */

static bool event(talk *t, const char *type, json_t *data)
{
    bool here = true;
    if (t->stream) {
        json_object_set_new(data, "type", json_string(type));
        here = app_event(t->r, type, data);
    }
    json_decref(data);
    return here;
}

static bool kind_event(talk *t, const char *end)
{
    char type[48];
    snprintf(type, sizeof type, "%s.%s", t->open, end);
    return event(t, type, json_object());
}

static void begin_stream(talk *t, const char *name)
{
    if (!t->stream || http_streaming(t->r))
        return;
    app_stream_begin(t->r, "text/event-stream", t->unknown);
    event(t, "chat.start", json_pack("{s:s}", "model_instance_id", name));
}

static const host_loaded *loaded(talk *t, const char *name, host_loaded list[64])
{
    size_t n = host_list_loaded(t->app->host, list, 64);
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0)
            return &list[i];
    return NULL;
}

/* The model, if it is known and has to be loaded, is loaded here, so that it can be told. False: the
 * failure has been answered. */
static bool load_first(talk *t)
{
    host_loaded list[64];
    host_catalog *k = host_catalog_get(t->app->host);
    const nexus_models_entry *e = t->job.model ? host_find(k, t->job.model) : NULL;
    bool here = !e || loaded(t, e->name, list);
    if (e)
        snprintf(t->name, sizeof t->name, "%s", e->name);
    host_catalog_free(k);
    if (here)
        return true;
    double start = nx_os_seconds();
    begin_stream(t, t->name);
    event(t, "model_load.start", json_pack("{s:s}", "model_instance_id", t->name));
    event(t, "model_load.progress", json_pack("{s:s, s:f}", "model_instance_id", t->name, "progress", 0.0));
    nexus_status status = host_acquire(t->app->host, t->name, t->job.ttl, t->job.context, &t->held);
    if (status) {
        app_fail(t->r, app_status(status), "model", "%s", nx_error_message());
        return false;
    }
    t->load_seconds = nx_os_seconds() - start;
    event(t, "model_load.progress", json_pack("{s:s, s:f}", "model_instance_id", t->name, "progress", 1.0));
    event(t, "model_load.end", json_pack("{s:s, s:f}", "model_instance_id", t->name, "load_time_seconds",
                                         t->load_seconds));
    return true;
}

static void on_start(void *user, const gen_start *s)
{
    talk *t = user;
    snprintf(t->name, sizeof t->name, "%s", host_name(s->model));
    begin_stream(t, t->name);
    event(t, "prompt_processing.start", json_object());
    t->reading = true;
}

static void on_progress(void *user, double fraction)
{
    talk *t = user;
    if (t->reading)
        event(t, "prompt_processing.progress", json_pack("{s:f}", "progress", fraction));
}

static void end_reading(talk *t)
{
    if (t->reading)
        event(t, "prompt_processing.end", json_object());
    t->reading = false;
}

/* ---- items ---- */

static void close_item(talk *t)
{
    if (!t->open)
        return;
    kind_event(t, "end");
    json_array_append_new(t->output, json_pack("{s:s, s:s%}", "type", t->open, "content",
                                               nx_str_cstr(&t->text), t->text.len));
    nx_str_truncate(&t->text, 0);
    t->open = NULL;
}

static bool on_part(void *user, const answer_part *p)
{
    talk *t = user;
    bool thought = p->kind == ANSWER_REASONING;
    const char *kind = thought ? "reasoning" : "message";
    end_reading(t);
    if (!t->open || strcmp(t->open, kind) != 0) {
        close_item(t);
        t->open = kind;
        kind_event(t, "start");
    }
    nx_str_add(&t->text, p->text, p->length);
    nx_str_add(thought ? &t->reasoning : &t->content, p->text, p->length);
    return event(t, thought ? "reasoning.delta" : "message.delta",
                 json_pack("{s:s%}", "content", p->text, p->length));
}

/* ---- the answer ---- */

static json_t *stats_json(const talk *t, const gen_result *g)
{
    const nexus_stats *s = &g->stats;
    json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:f, s:f}", "input_tokens", (json_int_t)s->prompt_tokens,
                          "cached_input_tokens", (json_int_t)s->cached_tokens, "total_output_tokens",
                          (json_int_t)s->generated_tokens, "reasoning_output_tokens",
                          (json_int_t)g->reasoning_tokens, "tokens_per_second",
                          s->decode_seconds > 0 ? (double)s->generated_tokens / s->decode_seconds : 0.0,
                          "time_to_first_token_seconds", s->time_to_first_token_seconds);
    if (t->load_seconds >= 0)
        json_object_set_new(o, "model_load_time_seconds", json_real(t->load_seconds));
    return o;
}

static void keep(talk *t)
{
    json_t *m = json_pack("{s:s, s:s%}", "role", "assistant", "content", nx_str_cstr(&t->content),
                          t->content.len);
    if (t->reasoning.len)
        json_object_set_new(m, "reasoning_content", json_stringn(t->reasoning.data, t->reasoning.len));
    json_array_append_new(t->context, m);
    kept_put(t->app->kept, t->id, &(kept_answer){.messages = t->context});
}

static void finish(talk *t, const gen_result *g)
{
    end_reading(t);
    if (!t->open && json_array_size(t->output) == 0) { /* an answer that ended at once */
        t->open = "message";
        kind_event(t, "start");
    }
    close_item(t);
    json_t *o = json_pack("{s:s, s:O, s:o}", "model_instance_id", t->name, "output", t->output, "stats",
                          stats_json(t, g));
    if (t->store) {
        keep(t);
        json_object_set_new(o, "response_id", json_string(t->id));
    }
    app_warn_unknown(t->r, o, t->unknown);
    if (t->stream) {
        event(t, "chat.end", json_pack("{s:O}", "result", o));
        http_stream_end(t->r);
    } else {
        http_reply_json(t->r, 200, o);
    }
    json_decref(o);
}

static void run(talk *t)
{
    const gen_sink sink = {t, on_start, on_part, NULL, on_progress};
    gen_result g;
    if (!load_first(t))
        return;
    int status = gen_run(t->app, t->r, &t->job, &sink, &g);
    if (status)
        app_fail(t->r, status, NULL, "%s", nx_error_message());
    else
        finish(t, &g);
    if (t->held)
        host_release(t->held);
}

void lmstudio_v1_chat(app *a, app_call *call)
{
    talk t = {.app = a, .r = call->r, .id = app_id(call->r, "resp_"), .output = json_array(),
              .load_seconds = -1};
    fields f;
    gen_job_init(&t.job);
    fields_open(&f, call->body);
    read_request(&t, &f);
    t.unknown = fields_unknown(&f);
    if (fields_ok(&f))
        run(&t);
    else
        app_fail_fields(t.r, &f);
    fields_close(&f);
    gen_job_clear(&t.job);
    json_decref(t.context);
    json_decref(t.unknown);
    json_decref(t.output);
    nx_str_clear(&t.text);
    nx_str_clear(&t.content);
    nx_str_clear(&t.reasoning);
}
