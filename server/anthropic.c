/* anthropic.c: POST /v1/messages and its count_tokens. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/os.h"
#include "server/openai.h"

typedef struct {
    app *app;
    http_request *r;
    gen_job job;
    bool stream, thinking;
    const char *id;
    json_t *unknown;
    char name[256];
    size_t prompt_tokens;
    json_t *content;   /* finished blocks */
    const char *open;  /* type of the block being written: "text", "thinking"; NULL: none */
    int index;         /* of the block */
    nx_str text;       /* of it */
    double last_sent;
} message;

/* ---- the request, into the form that templates know ---- */

/* A text, or the texts of a list of blocks. */
static void block_text(fields *f, const json_t *content, const char *where, nx_str *out)
{
    json_t *each;
    size_t i;
    if (json_is_string(content))
        nx_str_puts(out, json_string_value(content));
    json_array_foreach((json_t *)(uintptr_t)content, i, each) {
        const char *type = json_string_value(json_object_get(each, "type"));
        const char *text = json_string_value(json_object_get(each, "text"));
        if (type && strcmp(type, "text") == 0 && text)
            nx_str_puts(out, text);
        else
            fields_fault(f, "messages", "%s holds a block of type '%s': only texts can be read by this "
                         "model", where, type ? type : "?");
    }
}

static void add_message(json_t *list, const char *role, const nx_str *text)
{
    json_array_append_new(list, json_pack("{s:s, s:s%}", "role", role, "content", nx_str_cstr(text),
                                          text->len));
}

/* {"type": "tool_use"} becomes one of the assistant's tool_calls. */
static void add_call(json_t *calls, const json_t *block)
{
    const json_t *input = json_object_get(block, "input");
    char *arguments = json_dumps(input ? input : json_null(), JSON_COMPACT | JSON_ENCODE_ANY);
    const char *id = json_string_value(json_object_get(block, "id"));
    const char *name = json_string_value(json_object_get(block, "name"));
    json_array_append_new(calls, json_pack("{s:s, s:s, s:{s:s, s:s}}", "id", id ? id : "", "type",
                                           "function", "function", "name", name ? name : "",
                                           "arguments", arguments ? arguments : "{}"));
    free(arguments);
}

/* {"type": "tool_result"} becomes a message of its own. */
static void add_result(fields *f, json_t *list, const json_t *block)
{
    nx_str text = {0};
    block_text(f, json_object_get(block, "content"), "a tool_result", &text);
    const char *id = json_string_value(json_object_get(block, "tool_use_id"));
    json_array_append_new(list, json_pack("{s:s, s:s, s:s%}", "role", "tool", "tool_call_id",
                                          id ? id : "", "content", nx_str_cstr(&text), text.len));
    nx_str_clear(&text);
}

static void add_blocks(fields *f, json_t *list, const char *role, const json_t *blocks)
{
    nx_str text = {0}, thought = {0};
    json_t *calls = json_array(), *each;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)blocks, i, each) {
        const char *type = json_string_value(json_object_get(each, "type"));
        const char *said = json_string_value(json_object_get(each, "text"));
        const char *thinking = json_string_value(json_object_get(each, "thinking"));
        if (type && strcmp(type, "text") == 0 && said)
            nx_str_puts(&text, said);
        else if (type && strcmp(type, "thinking") == 0 && thinking)
            nx_str_puts(&thought, thinking);
        else if (type && strcmp(type, "redacted_thinking") == 0)
            continue;
        else if (type && strcmp(type, "tool_use") == 0)
            add_call(calls, each);
        else if (type && strcmp(type, "tool_result") == 0)
            add_result(f, list, each);
        else
            fields_fault(f, "messages", "a content block is of type '%s': only texts, thinking and tools "
                         "can be read by this model", type ? type : "?");
    }
    bool any = text.len || json_array_size(calls);
    if (any || strcmp(role, "assistant") == 0) {
        add_message(list, role, &text);
        json_t *last = json_array_get(list, json_array_size(list) - 1);
        if (json_array_size(calls))
            json_object_set(last, "tool_calls", calls);
        if (thought.len)
            json_object_set_new(last, "reasoning_content", json_stringn(thought.data, thought.len));
    }
    json_decref(calls);
    nx_str_clear(&text);
    nx_str_clear(&thought);
}

static json_t *read_messages(fields *f)
{
    json_t *list = json_array(), *each;
    const json_t *given = fields_array(f, "messages"), *system = fields_any(f, "system");
    size_t i;
    if (system) {
        nx_str text = {0};
        block_text(f, system, "'system'", &text);
        add_message(list, "system", &text);
        nx_str_clear(&text);
    }
    if (!given || json_array_size(given) == 0)
        fields_fault(f, "messages", "'messages' is needed: a list of {\"role\", \"content\"}");
    json_array_foreach((json_t *)(uintptr_t)given, i, each) {
        const char *role = json_string_value(json_object_get(each, "role"));
        const json_t *content = json_object_get(each, "content");
        if (!role || (strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0)) {
            fields_fault(f, "messages", "messages[%zu].role must be user or assistant", i);
            break;
        }
        if (json_is_string(content))
            json_array_append_new(list, json_pack("{s:s, s:O}", "role", role, "content", content));
        else if (json_is_array(content))
            add_blocks(f, list, role, content);
        else
            fields_fault(f, "messages", "messages[%zu].content must be a text or a list of blocks", i);
    }
    return list;
}

/* {"name", "description", "input_schema"} to the function form. */
static json_t *read_tools(gen_job *j, fields *f)
{
    const json_t *given = fields_array(f, "tools"), *choice = fields_object(f, "tool_choice");
    const char *how = json_string_value(json_object_get(choice, "type"));
    json_t *list = json_array(), *each;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)given, i, each) {
        const char *name = json_string_value(json_object_get(each, "name"));
        json_t *schema = json_object_get(each, "input_schema");
        if (!name || !json_is_object(schema)) {
            fields_fault(f, "tools", "tools[%zu] needs a name and an input_schema", i);
            break;
        }
        json_t *function = json_pack("{s:s, s:O}", "name", name, "parameters", schema);
        json_t *about = json_object_get(each, "description");
        if (json_is_string(about))
            json_object_set(function, "description", about);
        json_array_append_new(list, json_pack("{s:s, s:o}", "type", "function", "function", function));
    }
    if (json_array_size(list) == 0 || (how && strcmp(how, "none") == 0)) {
        json_decref(list);
        return NULL;
    }
    if (how && strcmp(how, "auto") != 0) /* "any", or "tool" with a name */
        openai_force_call(j, f, list, json_string_value(json_object_get(choice, "name")));
    return list;
}

static void read_conversation(gen_job *j, fields *f, bool *thinking)
{
    j->model = fields_str(f, "model", NULL);
    j->chat = json_pack("{s:o}", "messages", read_messages(f));
    const json_t *messages = json_object_get(j->chat, "messages");
    const json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    const char *role = json_string_value(json_object_get(last, "role"));
    json_object_set_new(j->chat, "add_generation_prompt",
                        json_boolean(!role || strcmp(role, "assistant") != 0));
    json_t *tools = read_tools(j, f);
    j->tools = tools != NULL;
    if (tools)
        json_object_set_new(j->chat, "tools", tools);
    const json_t *t = fields_object(f, "thinking");
    const char *type = json_string_value(json_object_get(t, "type"));
    *thinking = type && strcmp(type, "disabled") != 0;
    if (t)
        json_object_set_new(j->chat, "enable_thinking", json_boolean(*thinking));
}

static void read_request(message *m, fields *f)
{
    static const char *const harmless[] = {"metadata", "service_tier", "anthropic_version", "betas",
                                           NULL};
    gen_job *j = &m->job;
    read_conversation(j, f, &m->thinking);
    gen_read_sampling(j, f);
    gen_read_stops(j, f, "stop_sequences");
    j->o.max_tokens = (int)fields_int(f, "max_tokens", 0, 1, INT32_MAX);
    if (!fields_any(f, "max_tokens"))
        fields_fault(f, "max_tokens", "'max_tokens' is needed");
    m->stream = fields_bool(f, "stream", false);
    fields_skip(f, harmless);
}

/* ---- the answer ---- */

static json_t *usage(size_t in, size_t cached, size_t out)
{
    return json_pack("{s:I, s:I, s:I, s:I}", "input_tokens", (json_int_t)(in - cached),
                     "cache_read_input_tokens", (json_int_t)cached, "cache_creation_input_tokens",
                     (json_int_t)0, "output_tokens", (json_int_t)out);
}

static bool event(message *m, const char *name, json_t *data)
{
    bool here = app_event(m->r, name, data);
    m->last_sent = nx_os_seconds();
    json_decref(data);
    return here;
}

static json_t *head(const message *m, json_t *content, json_t *reason, json_t *sequence, json_t *used)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "id", m->id, "type", "message", "role",
                     "assistant", "model", m->name, "content", content, "stop_reason", reason,
                     "stop_sequence", sequence, "usage", used);
}

static void on_start(void *user, const gen_start *s)
{
    message *m = user;
    snprintf(m->name, sizeof m->name, "%s", host_name(s->model));
    m->prompt_tokens = s->prompt_tokens;
    if (!m->stream)
        return;
    app_stream_begin(m->r, "text/event-stream", m->unknown);
    event(m, "message_start",
          json_pack("{s:s, s:o}", "type", "message_start", "message",
                    head(m, json_array(), json_null(), json_null(), usage(s->prompt_tokens, 0, 0))));
}

static json_t *block(const char *type, const char *text, size_t n)
{
    if (strcmp(type, "thinking") == 0)
        return json_pack("{s:s, s:s%, s:s}", "type", type, "thinking", text, n, "signature", "");
    return json_pack("{s:s, s:s%}", "type", type, "text", text, n);
}

static void close_block(message *m)
{
    if (!m->open)
        return;
    if (m->stream)
        event(m, "content_block_stop",
              json_pack("{s:s, s:i}", "type", "content_block_stop", "index", m->index));
    else
        json_array_append_new(m->content, block(m->open, nx_str_cstr(&m->text), m->text.len));
    nx_str_truncate(&m->text, 0);
    m->open = NULL;
    m->index++;
}

static void open_block(message *m, const char *type)
{
    if (m->open && strcmp(m->open, type) == 0)
        return;
    close_block(m);
    m->open = type;
    if (m->stream)
        event(m, "content_block_start",
              json_pack("{s:s, s:i, s:o}", "type", "content_block_start", "index", m->index,
                        "content_block", block(type, "", 0)));
}

static bool text_delta(message *m, const char *type, const answer_part *p)
{
    open_block(m, type);
    bool thinking = strcmp(type, "thinking") == 0;
    if (!m->stream) {
        nx_str_add(&m->text, p->text, p->length);
        return true;
    }
    return event(m, "content_block_delta",
                 json_pack("{s:s, s:i, s:{s:s, s:s%}}", "type", "content_block_delta", "index", m->index,
                           "delta", "type", thinking ? "thinking_delta" : "text_delta",
                           thinking ? "thinking" : "text", p->text, p->length));
}

static bool call_block(message *m, const answer_part *p)
{
    close_block(m);
    const char *id = app_id(m->r, "toolu_");
    json_t *input = json_loadb(p->text, p->length, 0, NULL);
    if (!m->stream) {
        json_array_append_new(m->content, json_pack("{s:s, s:s, s:s, s:o}", "type", "tool_use", "id", id,
                                                    "name", p->name, "input",
                                                    input ? input : json_object()));
        m->index++;
        return true;
    }
    json_decref(input);
    event(m, "content_block_start",
          json_pack("{s:s, s:i, s:{s:s, s:s, s:s, s:{}}}", "type", "content_block_start", "index",
                    m->index, "content_block", "type", "tool_use", "id", id, "name", p->name, "input"));
    event(m, "content_block_delta",
          json_pack("{s:s, s:i, s:{s:s, s:s%}}", "type", "content_block_delta", "index", m->index,
                    "delta", "type", "input_json_delta", "partial_json", p->text, p->length));
    bool here = event(m, "content_block_stop",
                      json_pack("{s:s, s:i}", "type", "content_block_stop", "index", m->index));
    m->index++;
    return here;
}

static bool on_part(void *user, const answer_part *p)
{
    message *m = user;
    switch (p->kind) {
    case ANSWER_CALL: return call_block(m, p);
    case ANSWER_REASONING: return text_delta(m, "thinking", p);
    default: return text_delta(m, "text", p);
    }
}

static void on_progress(void *user, double fraction)
{
    message *m = user;
    if (http_streaming(m->r) && nx_os_seconds() - m->last_sent > 2)
        event(m, "ping", json_pack("{s:s}", "type", "ping"));
}

static const char *stop_reason(const gen_result *g)
{
    const char *s = g->stats.stop_reason;
    if (strcmp(s, "length") == 0)
        return "max_tokens";
    if (strcmp(s, "context") == 0)
        return "model_context_window_exceeded";
    if (strcmp(s, "stop") == 0)
        return "stop_sequence";
    return g->calls ? "tool_use" : "end_turn";
}

static void finish(message *m, const gen_result *g)
{
    const nexus_stats *s = &g->stats;
    close_block(m);
    json_t *used = usage(s->prompt_tokens, s->cached_tokens, s->generated_tokens);
    json_t *reason = json_string(stop_reason(g));
    json_t *sequence = s->stop_text[0] ? json_string(s->stop_text) : json_null();
    if (!m->stream) {
        json_t *o = head(m, json_incref(m->content), reason, sequence, used);
        app_warn_unknown(m->r, o, m->unknown);
        http_reply_json(m->r, 200, o);
        json_decref(o);
        return;
    }
    event(m, "message_delta", json_pack("{s:s, s:{s:o, s:o}, s:o}", "type", "message_delta", "delta",
                                        "stop_reason", reason, "stop_sequence", sequence, "usage", used));
    event(m, "message_stop", json_pack("{s:s}", "type", "message_stop"));
    http_stream_end(m->r);
}

void anthropic_messages(app *a, app_call *call)
{
    message m = {.app = a, .r = call->r, .id = app_id(call->r, "msg_"), .content = json_array()};
    fields f;
    gen_job_init(&m.job);
    m.job.o.temperature = 1; /* the interface's own default */
    m.job.o.top_p = 1;
    fields_open(&f, call->body);
    read_request(&m, &f);
    m.unknown = fields_unknown(&f);
    if (fields_ok(&f)) {
        const gen_sink sink = {&m, on_start, on_part, NULL, on_progress};
        gen_result g;
        int status = gen_run(a, m.r, &m.job, &sink, &g);
        if (status)
            app_fail(m.r, status, NULL, "%s", nx_error_message());
        else
            finish(&m, &g);
    } else {
        app_fail_fields(m.r, &f);
    }
    fields_close(&f);
    gen_job_clear(&m.job);
    json_decref(m.unknown);
    json_decref(m.content);
    nx_str_clear(&m.text);
}

void anthropic_count_tokens(app *a, app_call *call)
{
    gen_job j;
    fields f;
    bool thinking;
    size_t n = 0;
    gen_job_init(&j);
    fields_open(&f, call->body);
    read_conversation(&j, &f, &thinking);
    int status = fields_ok(&f) ? gen_count(a, &j, &n, NULL) : 400;
    if (!fields_ok(&f)) {
        app_fail_fields(call->r, &f);
    } else if (status) {
        app_fail(call->r, status, NULL, "%s", nx_error_message());
    } else {
        json_t *o = json_pack("{s:I}", "input_tokens", (json_int_t)n);
        http_reply_json(call->r, 200, o);
        json_decref(o);
    }
    fields_close(&f);
    gen_job_clear(&j);
}
