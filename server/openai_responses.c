/*
 * openai_responses.c: POST /v1/responses, streamed or whole, and the answers that were kept.
 *
 * A request is translated into a chat (responses_items.c) and read by the chat's own functions; what
 * is here is the other form of the answer: items that open, grow and close, each with its events.
 */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/os.h"
#include "server/kept.h"
#include "server/openai.h"
#include "server/responses_items.h"

typedef struct {
    app *app;
    http_request *r;
    gen_job job;
    bool stream, store, logprobs, shorten;
    const char *previous;
    json_t *input;    /* the request's items */
    json_t *context;  /* the conversation in the chat's form, without instructions */
    json_t *echo;     /* what the answer repeats of the request */
    json_t *unknown;
    size_t left_out;  /* messages that truncation took */

    const char *id;
    int64_t created;
    host_model *model;
    char name[256];
    json_t *output;   /* items that are done */
    bool open;        /* an item is */
    answer_kind kind; /* of it */
    const char *item; /* its id */
    nx_str text;
    json_t *fresh, *tokens; /* log-probabilities: not sent yet, and all of the item */
    int sequence;     /* of the next event */
    double last_sent;
} responding;

/* ---- reading ---- */

static void read_format(responding *c, fields *f)
{
    const json_t *text = fields_object(f, "text"), *format = json_object_get(text, "format");
    const char *type = json_string_value(json_object_get(format, "type"));
    if (type && strcmp(type, "json_schema") == 0)
        gen_set_schema(&c->job, f, "text.format", json_object_get(format, "schema"));
    else if (type && strcmp(type, "json_object") == 0)
        gen_set_schema(&c->job, f, "text.format", json_true());
    else if (format && (!type || strcmp(type, "text") != 0))
        fields_fault(f, "text", "'text.format' is of type text, json_object or json_schema");
    gen_read_format(&c->job, f);
}

/* What further may be in the answer: the one thing that is told apart here is log-probabilities. */
static void read_include(responding *c, fields *f)
{
    const json_t *list = fields_array(f, "include");
    json_t *each;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)list, i, each) {
        const char *word = json_string_value(each);
        if (word && strcmp(word, "message.output_text.logprobs") == 0)
            c->logprobs = true;
        else if (!word || strcmp(word, "reasoning.encrypted_content") != 0) /* it comes in the clear */
            fields_fault(f, "include", "include[%zu] '%s' is nothing that can be included here", i,
                         word ? word : "?");
    }
    c->job.o.top_logprobs = (int)fields_int(f, "top_logprobs", 0, 0, 20);
    c->logprobs |= c->job.o.top_logprobs > 0;
    c->job.o.logprobs = c->logprobs;
}

/* What is a part of the interface and cannot be had here. */
static void refuse_others(fields *f)
{
    if (fields_bool(f, "background", false))
        fields_fault(f, "background", "'background' is not offered: stream the answer, or wait for it");
    if (fields_any(f, "conversation"))
        fields_fault(f, "conversation", "'conversation' is not offered: go on with previous_response_id");
    if (fields_any(f, "prompt"))
        fields_fault(f, "prompt", "'prompt' is not offered: there are no stored prompts here");
}

static void read_previous(responding *c, fields *f)
{
    kept_answer before;
    c->previous = fields_str(f, "previous_response_id", NULL);
    if (!c->previous) {
        c->context = json_array();
    } else if (kept_get(c->app->kept, c->previous, &before)) {
        c->context = json_deep_copy(before.messages); /* new items join its last message */
        kept_answer_clear(&before);
    } else {
        c->context = json_array();
        fields_fault(f, "previous_response_id", "there is no response '%s': it was not stored, or the "
                     "server was started anew", c->previous);
    }
}

/* The request as a chat, read as such. */
static void read_chat(responding *c, fields *f)
{
    const char *instructions = fields_str(f, "instructions", NULL);
    json_t *messages = json_array();
    if (instructions)
        json_array_append_new(messages, json_pack("{s:s, s:s}", "role", "system", "content",
                                                  instructions));
    json_array_extend(messages, c->context);
    if (json_array_size(messages) == 0)
        fields_fault(f, "input", "'input' is needed: a text or a list of items");
    json_t *as_chat = json_pack("{s:o}", "messages", messages);
    json_t *tools = responses_tools(f, fields_array(f, "tools"));
    json_t *choice = responses_choice(f, fields_any(f, "tool_choice"));
    if (tools)
        json_object_set_new(as_chat, "tools", tools);
    if (choice)
        json_object_set_new(as_chat, "tool_choice", choice);
    const json_t *reasoning = fields_object(f, "reasoning");
    json_object_set(as_chat, "reasoning_effort", json_object_get(reasoning, "effort"));
    json_t *variables = (json_t *)(uintptr_t)fields_object(f, "chat_template_kwargs");
    if (variables)
        json_object_set(as_chat, "chat_template_kwargs", variables);
    fields g;
    fields_open(&g, as_chat);
    if (fields_ok(f))
        openai_read_chat(&c->job, &g);
    if (!fields_ok(&g))
        fields_fault(f, g.key, "%s", g.fault);
    fields_close(&g);
    json_decref(as_chat);
}

/* Settings that the answer repeats, where they were given. */
static json_t *echo(const responding *c, const json_t *body)
{
    static const char *const keys[] = {"instructions", "max_output_tokens", "max_tool_calls", "metadata",
                                       "previous_response_id", "reasoning", "text", "tool_choice",
                                       "tools", "parallel_tool_calls", "user", "service_tier",
                                       "prompt_cache_key", "safety_identifier", "truncation", NULL};
    json_t *o = json_pack("{s:n, s:n, s:n, s:{}, s:n, s:{s:n, s:n}, s:{s:{s:s}}, s:s, s:[], s:b, s:s, s:b, "
                          "s:b, s:f, s:f, s:i}", "instructions", "max_output_tokens", "max_tool_calls",
                          "metadata", "previous_response_id", "reasoning", "effort", "summary", "text",
                          "format", "type", "text", "tool_choice", "auto", "tools",
                          "parallel_tool_calls", 1, "truncation", "disabled", "background", 0, "store",
                          c->store, "temperature", (double)c->job.o.temperature, "top_p",
                          (double)c->job.o.top_p, "top_logprobs", c->job.o.top_logprobs);
    for (const char *const *k = keys; *k; k++) {
        json_t *v = json_object_get(body, *k);
        if (v && !json_is_null(v))
            json_object_set(o, *k, v);
    }
    return o;
}

static void read_request(responding *c, fields *f)
{
    static const char *const harmless[] = {"user", "metadata", "service_tier", "parallel_tool_calls",
                                           "safety_identifier", "prompt_cache_key", "max_tool_calls",
                                           "prompt_cache_retention", "stream_options", NULL};
    gen_job *j = &c->job;
    j->model = fields_str(f, "model", NULL);
    j->ttl = fields_real(f, "ttl", -1);
    c->stream = fields_bool(f, "stream", false);
    c->store = fields_bool(f, "store", true);
    const char *truncation = fields_str(f, "truncation", "disabled");
    c->shorten = strcmp(truncation, "auto") == 0;
    if (!c->shorten && strcmp(truncation, "disabled") != 0)
        fields_fault(f, "truncation", "'truncation' is auto or disabled");
    read_previous(c, f);
    c->input = responses_items(f, fields_any(f, "input"));
    responses_messages(f, "input", c->input, c->context);
    gen_read_sampling(j, f);
    j->o.max_tokens = (int)fields_int(f, "max_output_tokens", 0, 1, INT32_MAX);
    read_include(c, f);
    read_chat(c, f);
    read_format(c, f);
    refuse_others(f);
    fields_skip(f, harmless);
}

/* ---- truncation ---- */

static bool is_role(const json_t *message, const char *role)
{
    const char *given = json_string_value(json_object_get(message, "role"));
    return given && strcmp(given, role) == 0;
}

/* Takes the oldest `turns` turns (a user's message and what follows it) out of the chat, never the
 * last one, nor what the system said. */
static size_t leave_out(json_t *messages, size_t turns)
{
    size_t out = 0, i = 0, begun = 0;
    for (size_t k = 0; k < json_array_size(messages); k++)
        begun += is_role(json_array_get(messages, k), "user");
    if (turns >= begun)
        turns = begun ? begun - 1 : 0;
    size_t passed = 0;
    while (turns && i < json_array_size(messages)) {
        json_t *m = json_array_get(messages, i);
        passed += is_role(m, "user");
        if (passed > turns)
            break;
        if (is_role(m, "system") || passed == 0) {
            i++;
            continue;
        }
        json_array_remove(messages, i);
        out++;
    }
    return out;
}

/* Shortens the chat until it fits with room for an answer. 0, or the status of a failure. */
static int truncate_chat(responding *c)
{
    json_t *messages = json_object_get(c->job.chat, "messages");
    size_t n, most, out = 1;
    int context;
    while (out) {
        int status = gen_count(c->app, &c->job, &n, &context);
        if (status)
            return status;
        most = (size_t)context - (size_t)context / 4;
        if (n <= most)
            break;
        size_t turns = json_array_size(messages) / 2 * (n - most) / n;
        out = leave_out(messages, turns ? turns : 1);
        c->left_out += out;
    }
    return 0;
}

/* ---- events ---- */

/* Takes data, and adds its type and number. False once the client has left. */
static bool event(responding *c, const char *type, json_t *data)
{
    bool here = true;
    if (c->stream) {
        json_object_set_new(data, "type", json_string(type));
        json_object_set_new(data, "sequence_number", json_integer(c->sequence++));
        here = app_event(c->r, type, data);
        c->last_sent = nx_os_seconds();
    }
    json_decref(data);
    return here;
}

static json_t *response_json(const responding *c, const char *status, const gen_result *g)
{
    bool done = g != NULL, cut = strcmp(status, "incomplete") == 0;
    json_t *o = json_pack("{s:s, s:s, s:I, s:s, s:n, s:o, s:s, s:o, s:o}", "id", c->id, "object",
                          "response", "created_at", (json_int_t)c->created, "status", status, "error",
                          "incomplete_details",
                          cut ? json_pack("{s:s}", "reason", "max_output_tokens") : json_null(), "model",
                          c->name, "output", done ? json_copy(c->output) : json_array(), "usage",
                          done ? openai_usage(g, true) : json_null());
    json_object_update_missing(o, c->echo);
    if (done) {
        json_object_set_new(o, "completed_at", json_integer((json_int_t)app_now()));
        json_object_set_new(o, "timings", openai_timings(g));
    }
    return o;
}

static void on_start(void *user, const gen_start *s)
{
    responding *c = user;
    c->model = s->model;
    snprintf(c->name, sizeof c->name, "%s", host_name(s->model));
    if (!c->stream)
        return;
    app_stream_begin(c->r, "text/event-stream", c->unknown);
    event(c, "response.created", json_pack("{s:o}", "response", response_json(c, "in_progress", NULL)));
    event(c, "response.in_progress",
          json_pack("{s:o}", "response", response_json(c, "in_progress", NULL)));
}

/* ---- items ---- */

static json_t *part_json(const responding *c, const char *text, size_t n, bool done)
{
    if (c->kind == ANSWER_REASONING)
        return json_pack("{s:s, s:s%}", "type", "reasoning_text", "text", text, n);
    json_t *o = json_pack("{s:s, s:s%, s:[], s:[]}", "type", "output_text", "text", text, n,
                          "annotations", "logprobs");
    if (done)
        json_object_set_new(o, "logprobs", json_copy(c->tokens));
    return o;
}

static json_t *item_json(const responding *c, json_t *content, const char *status)
{
    if (c->kind == ANSWER_REASONING)
        return json_pack("{s:s, s:s, s:[], s:o, s:s}", "id", c->item, "type", "reasoning", "summary",
                         "content", content, "status", status);
    return json_pack("{s:s, s:s, s:s, s:o, s:s}", "id", c->item, "type", "message", "role", "assistant",
                     "content", content, "status", status);
}

/* Where in the answer an event is. */
static json_t *place(const responding *c)
{
    return json_pack("{s:s, s:I, s:i}", "item_id", c->item, "output_index",
                     (json_int_t)json_array_size(c->output), "content_index", 0);
}

static bool item_event(responding *c, const char *type, const char *key, json_t *value)
{
    json_t *o = place(c);
    json_object_set_new(o, key, value);
    return event(c, type, o);
}

static bool output_event(responding *c, const char *type, json_t *item)
{
    return event(c, type, json_pack("{s:I, s:o}", "output_index",
                                    (json_int_t)json_array_size(c->output), "item", item));
}

static void close_item(responding *c, const char *status)
{
    if (!c->open)
        return;
    c->open = false;
    bool thought = c->kind == ANSWER_REASONING;
    json_t *done = place(c);
    json_object_set_new(done, "text", json_stringn(nx_str_cstr(&c->text), c->text.len));
    if (!thought)
        json_object_set_new(done, "logprobs", json_copy(c->tokens));
    event(c, thought ? "response.reasoning_text.done" : "response.output_text.done", done);
    json_t *part = part_json(c, nx_str_cstr(&c->text), c->text.len, true);
    item_event(c, "response.content_part.done", "part", json_incref(part));
    json_t *item = item_json(c, json_pack("[o]", part), status);
    output_event(c, "response.output_item.done", json_incref(item));
    json_array_append_new(c->output, item);
}

static void open_item(responding *c, answer_kind kind)
{
    if (c->open && c->kind == kind)
        return;
    close_item(c, "completed");
    c->open = true;
    c->kind = kind;
    c->item = app_id(c->r, kind == ANSWER_REASONING ? "rs_" : "msg_");
    nx_str_truncate(&c->text, 0);
    json_array_clear(c->tokens);
    output_event(c, "response.output_item.added", item_json(c, json_array(), "in_progress"));
    item_event(c, "response.content_part.added", "part", part_json(c, "", 0, false));
}

static bool text_part(responding *c, const answer_part *p)
{
    bool thought = p->kind == ANSWER_REASONING;
    open_item(c, p->kind);
    nx_str_add(&c->text, p->text, p->length);
    json_t *o = place(c);
    json_object_set_new(o, "delta", json_stringn(p->text, p->length));
    if (!thought) {
        json_array_extend(c->tokens, c->fresh);
        json_object_set_new(o, "logprobs", json_copy(c->fresh));
    }
    json_array_clear(c->fresh);
    return event(c, thought ? "response.reasoning_text.delta" : "response.output_text.delta", o);
}

static json_t *call_json(const char *id, const char *call, const answer_part *p, bool done)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s%, s:s}", "id", id, "type", "function_call", "call_id",
                     call, "name", p->name, "arguments", p->text, done ? p->length : 0, "status",
                     done ? "completed" : "in_progress");
}

static bool call_part(responding *c, const answer_part *p)
{
    close_item(c, "completed");
    const char *call = app_id(c->r, "call_");
    json_int_t index = (json_int_t)json_array_size(c->output);
    c->item = app_id(c->r, "fc_");
    output_event(c, "response.output_item.added", call_json(c->item, call, p, false));
    event(c, "response.function_call_arguments.delta",
          json_pack("{s:s, s:I, s:s%}", "item_id", c->item, "output_index", index, "delta", p->text,
                    p->length));
    event(c, "response.function_call_arguments.done",
          json_pack("{s:s, s:I, s:s, s:s%}", "item_id", c->item, "output_index", index, "name", p->name,
                    "arguments", p->text, p->length));
    json_t *item = call_json(c->item, call, p, true);
    bool here = output_event(c, "response.output_item.done", json_incref(item));
    json_array_append_new(c->output, item);
    json_array_clear(c->fresh);
    return here;
}

static bool on_part(void *user, const answer_part *p)
{
    return p->kind == ANSWER_CALL ? call_part(user, p) : text_part(user, p);
}

static void on_token(void *user, const nexus_piece *p)
{
    responding *c = user;
    if (c->logprobs)
        json_array_append_new(c->fresh, openai_logprob(c->model, p));
}

/* Clients that wait for a long prompt are told that somebody is there. */
static void on_progress(void *user, double fraction)
{
    static const char line[] = ": reading the prompt\n\n";
    responding *c = user;
    double now = nx_os_seconds();
    if (!http_streaming(c->r) || now - c->last_sent < 2)
        return;
    http_stream_write(c->r, line, sizeof line - 1);
    c->last_sent = now;
}

/* ---- the answer ---- */

static void keep(responding *c, json_t *response)
{
    fields none;
    fields_open(&none, NULL);
    responses_messages(&none, "output", c->output, c->context);
    fields_close(&none);
    kept_put(c->app->kept, c->id, &(kept_answer){response, c->input, c->context});
}

static void say_left_out(const responding *c, json_t *o)
{
    nx_str line = {0};
    json_t *list = json_object_get(o, "warnings");
    nx_str_printf(&line, "the %zu oldest messages were left out, since the conversation is longer than the "
                  "context", c->left_out);
    if (!list) {
        list = json_array();
        json_object_set_new(o, "warnings", list);
    }
    json_array_append_new(list, json_string(nx_str_cstr(&line)));
    nx_str_clear(&line);
}

static void finish(responding *c, const gen_result *g)
{
    bool cut = strcmp(gen_finish_reason(g), "length") == 0;
    const char *status = cut ? "incomplete" : "completed";
    if (!c->open && json_array_size(c->output) == 0)
        open_item(c, ANSWER_CONTENT); /* an answer that ended at once is an empty one */
    close_item(c, status);
    json_t *o = response_json(c, status, g);
    app_warn_unknown(c->r, o, c->unknown);
    if (c->left_out)
        say_left_out(c, o);
    if (c->store)
        keep(c, o);
    if (c->stream) {
        event(c, cut ? "response.incomplete" : "response.completed",
              json_pack("{s:O}", "response", o));
        http_stream_end(c->r);
    } else {
        http_reply_json(c->r, 200, o);
    }
    json_decref(o);
}

/* In a stream a failure is the last state of the response. */
static void fail_response(responding *c, int status)
{
    if (!http_streaming(c->r)) {
        app_fail(c->r, status, NULL, "%s", nx_error_message());
        return;
    }
    json_t *o = response_json(c, "failed", NULL);
    json_object_set_new(o, "error", json_pack("{s:s, s:s}", "code", status < 500 ? "invalid_prompt"
                                              : "server_error", "message", nx_error_message()));
    app_note(c->r, "%s", nx_error_message());
    event(c, "response.failed", json_pack("{s:o}", "response", o));
    http_stream_end(c->r);
}

static void run(responding *c)
{
    const gen_sink sink = {c, on_start, on_part, on_token, on_progress};
    gen_result g;
    int status = c->shorten ? truncate_chat(c) : 0;
    if (!status)
        status = gen_run(c->app, c->r, &c->job, &sink, &g);
    if (status)
        fail_response(c, status);
    else
        finish(c, &g);
}

static void begin(responding *c, app *a, app_call *call, fields *f)
{
    *c = (responding){.app = a, .r = call->r, .id = app_id(call->r, "resp_"), .created = app_now(),
                      .output = json_array(), .fresh = json_array(), .tokens = json_array()};
    gen_job_init(&c->job);
    fields_open(f, call->body);
    read_request(c, f);
    c->unknown = fields_unknown(f);
    c->echo = echo(c, call->body);
}

static void end(responding *c, fields *f)
{
    fields_close(f);
    gen_job_clear(&c->job);
    json_decref(c->input);
    json_decref(c->context);
    json_decref(c->echo);
    json_decref(c->unknown);
    json_decref(c->output);
    json_decref(c->fresh);
    json_decref(c->tokens);
    nx_str_clear(&c->text);
}

void openai_responses(app *a, app_call *call)
{
    responding c;
    fields f;
    begin(&c, a, call, &f);
    if (fields_ok(&f))
        run(&c);
    else
        app_fail_fields(c.r, &f);
    end(&c, &f);
}

void openai_responses_count(app *a, app_call *call)
{
    responding c;
    fields f;
    size_t n = 0;
    begin(&c, a, call, &f);
    int status = fields_ok(&f) ? gen_count(a, &c.job, &n, NULL) : 400;
    if (!fields_ok(&f)) {
        app_fail_fields(c.r, &f);
    } else if (status) {
        app_fail(c.r, status, NULL, "%s", nx_error_message());
    } else {
        json_t *o = json_pack("{s:s, s:I}", "object", "response.input_tokens", "input_tokens",
                              (json_int_t)n);
        app_warn_unknown(c.r, o, c.unknown);
        http_reply_json(c.r, 200, o);
        json_decref(o);
    }
    end(&c, &f);
}

/* ---- kept answers ---- */

/* {"object": "list", "data": items with ids} */
static json_t *item_list(app_call *c, const json_t *items)
{
    json_t *list = json_array(), *each;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)items, i, each) {
        json_t *copy = json_copy(each);
        if (!json_object_get(copy, "id"))
            json_object_set_new(copy, "id", json_string(app_id(c->r, "msg_")));
        if (!json_object_get(copy, "type"))
            json_object_set_new(copy, "type", json_string("message"));
        json_array_append_new(list, copy);
    }
    json_t *first = json_object_get(json_array_get(list, 0), "id");
    json_t *last = json_object_get(json_array_get(list, json_array_size(list) - 1), "id");
    return json_pack("{s:s, s:o, s:O, s:O, s:b}", "object", "list", "data", list, "first_id",
                     first ? first : json_null(), "last_id", last ? last : json_null(), "has_more", 0);
}

/* GET /v1/responses/ID and /v1/responses/ID/input_items */
void openai_response_get(app *a, app_call *c)
{
    static const char items[] = "/input_items";
    size_t n = strlen(c->rest), k = sizeof items - 1;
    bool input = n > k && strcmp(c->rest + n - k, items) == 0;
    const char *id = nx_arena_strndup(http_arena(c->r), c->rest, input ? n - k : n);
    kept_answer before;
    if (!kept_get(a->kept, id, &before) || !before.response) {
        app_fail(c->r, 404, "id", "there is no response '%s': it was not stored, or the server was "
                 "started anew", id);
        return;
    }
    json_t *o = input ? item_list(c, before.input) : json_incref(before.response);
    http_reply_json(c->r, 200, o);
    json_decref(o);
    kept_answer_clear(&before);
}

void openai_response_remove(app *a, app_call *c)
{
    if (!kept_remove(a->kept, c->rest)) {
        app_fail(c->r, 404, "id", "there is no response '%s'", c->rest);
        return;
    }
    json_t *o = json_pack("{s:s, s:s, s:b}", "id", c->rest, "object", "response", "deleted", 1);
    http_reply_json(c->r, 200, o);
    json_decref(o);
}
