/*
 * openai_responses.c: POST /v1/responses, streamed or whole, and the answers that were kept.
 *
 * A request is translated into a chat (responses_request.c) and read by the chat's own functions; what
 * is here is the other form of the answer: items that open, grow and close, each with its events.
 */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/os.h"
#include "server/kept.h"
#include "server/responses_items.h"
#include "server/responses_request.h"

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
    int status = c->shorten ? responses_truncate(c) : 0;
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
    responses_read(c, f);
    c->unknown = fields_unknown(f);
    c->echo = responses_echo(c, call->body);
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
