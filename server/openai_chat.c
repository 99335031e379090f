/* openai_chat.c: POST /v1/chat/completions, streamed or whole; LM Studio's form of it too. */
#include <string.h>

#include "base/error.h"
#include "base/os.h"
#include "server/openai.h"

typedef struct {
    app *app;
    http_request *r;
    gen_job job;
    bool stream, usage, logprobs, stats;
    int n;

    const char *id;
    int64_t created;
    json_t *unknown;
    host_model *model;
    char name[256];
    int index;            /* of the choice being made */
    nx_str content, reasoning;
    json_t *calls;        /* of the choice */
    json_t *tokens;       /* log-probabilities not sent yet */
    json_t *choices;      /* finished ones, where the answer is whole */
    double last_sent;
} chat;

static void read_request(chat *c, fields *f)
{
    static const char *const harmless[] = {"user", "metadata", "store", "service_tier", "modalities",
                                           "parallel_tool_calls", "safety_identifier",
                                           "prompt_cache_key", "verbosity", NULL};
    gen_job *j = &c->job;
    j->model = fields_str(f, "model", NULL);
    openai_read_chat(j, f);
    gen_read_sampling(j, f);
    j->o.max_tokens = (int)fields_int(f, "max_tokens", 0, -1, INT32_MAX);
    j->o.max_tokens = (int)fields_int(f, "max_completion_tokens", j->o.max_tokens, -1, INT32_MAX);
    if (j->o.max_tokens < 0)
        j->o.max_tokens = 0;
    j->ttl = fields_real(f, "ttl", -1);
    c->stream = fields_bool(f, "stream", false);
    const json_t *so = fields_object(f, "stream_options");
    c->usage = json_is_true(json_object_get(so, "include_usage"));
    c->logprobs = fields_bool(f, "logprobs", false);
    j->o.logprobs = c->logprobs;
    j->o.top_logprobs = (int)fields_int(f, "top_logprobs", 0, 0, 20);
    if (j->o.top_logprobs && !c->logprobs)
        fields_fault(f, "top_logprobs", "'top_logprobs' needs 'logprobs': true");
    c->n = (int)fields_int(f, "n", 1, 1, 128);
    gen_read_format(j, f);
    fields_skip(f, harmless);
}

/* ---- events of a stream ---- */

static json_t *chunk(const chat *c, json_t *delta, const char *finish)
{
    json_t *choice = json_pack("{s:i, s:o, s:o}", "index", c->index, "delta", delta, "finish_reason",
                               finish ? json_string(finish) : json_null());
    if (json_array_size(c->tokens))
        json_object_set_new(choice, "logprobs",
                            json_pack("{s:o}", "content", json_deep_copy(c->tokens)));
    return json_pack("{s:s, s:s, s:I, s:s, s:[o]}", "id", c->id, "object", "chat.completion.chunk",
                     "created", (json_int_t)c->created, "model", c->name, "choices", choice);
}

static bool send_delta(chat *c, json_t *delta, const char *finish)
{
    json_t *o = chunk(c, delta, finish);
    json_array_clear(c->tokens);
    bool here = app_event(c->r, NULL, o);
    c->last_sent = nx_os_seconds();
    json_decref(o);
    return here;
}

static void on_start(void *user, const gen_start *s)
{
    chat *c = user;
    c->model = s->model;
    snprintf(c->name, sizeof c->name, "%s", host_name(s->model));
    if (!c->stream)
        return;
    if (!http_streaming(c->r)) {
        app_stream_begin(c->r, "text/event-stream", c->unknown);
    }
    send_delta(c, json_pack("{s:s, s:s}", "role", "assistant", "content", ""), NULL);
}

static json_t *call_json(const chat *c, const answer_part *p, bool streamed)
{
    json_t *o = json_pack("{s:s, s:s, s:{s:s, s:s%}}", "id", app_id(c->r, "call_"), "type", "function",
                          "function", "name", p->name, "arguments", p->text, p->length);
    if (streamed)
        json_object_set_new(o, "index", json_integer((json_int_t)json_array_size(c->calls)));
    return o;
}

static bool on_part(void *user, const answer_part *p)
{
    chat *c = user;
    json_t *delta = NULL;
    if (p->kind == ANSWER_CALL) {
        json_t *call = call_json(c, p, c->stream);
        json_array_append(c->calls, call);
        delta = json_pack("{s:[o]}", "tool_calls", call);
    } else if (c->stream) {
        delta = json_pack("{s:s%}", p->kind == ANSWER_REASONING ? "reasoning_content" : "content",
                          p->text, p->length);
    } else {
        nx_str_add(p->kind == ANSWER_REASONING ? &c->reasoning : &c->content, p->text, p->length);
    }
    bool here = true;
    if (delta && c->stream)
        here = send_delta(c, delta, NULL);
    else
        json_decref(delta);
    return here;
}

static void on_token(void *user, const nexus_piece *p)
{
    chat *c = user;
    if (c->logprobs)
        json_array_append_new(c->tokens, openai_logprob(c->model, p));
}

static void on_progress(void *user, double fraction)
{
    chat *c = user;
    double now = nx_os_seconds();
    if (!c->stream || !http_streaming(c->r) || now - c->last_sent < 2)
        return;
    nx_str line = {0};
    nx_str_printf(&line, ": reading the prompt, %.0f%%\n\n", fraction * 100);
    http_stream_write(c->r, line.data, line.len);
    nx_str_clear(&line);
    c->last_sent = now;
}

/* ---- the answer ---- */

static json_t *stats_json(const gen_result *g)
{
    const nexus_stats *s = &g->stats;
    const char *reason = strcmp(s->stop_reason, "eos") == 0      ? "eosFound"
                         : strcmp(s->stop_reason, "stop") == 0   ? "stopStringFound"
                         : strcmp(s->stop_reason, "length") == 0 ? "maxPredictedTokensReached"
                         : strcmp(s->stop_reason, "context") == 0 ? "contextLengthReached"
                                                                  : "userStopped";
    return json_pack("{s:f, s:f, s:f, s:s, s:I, s:I, s:I}", "tokens_per_second",
                     s->decode_seconds > 0 ? (double)s->generated_tokens / s->decode_seconds : 0.0,
                     "time_to_first_token", s->time_to_first_token_seconds, "generation_time",
                     s->decode_seconds, "stop_reason", reason, "total_draft_tokens_count",
                     (json_int_t)s->drafted_tokens, "accepted_draft_tokens_count",
                     (json_int_t)s->accepted_tokens, "rejected_draft_tokens_count",
                     (json_int_t)(s->drafted_tokens - s->accepted_tokens));
}

/* What LM Studio's v0 adds to OpenAI's answer. */
static void add_stats(const chat *c, json_t *o, const gen_result *g)
{
    if (!c->stats)
        return;
    const nexus_model_info *i = host_info(c->model);
    json_object_set_new(o, "stats", stats_json(g));
    json_object_set_new(o, "model_info",
                        json_pack("{s:s, s:s, s:s, s:i}", "arch", i->family, "quant", i->quantization,
                                  "format", i->format, "context_length", host_context(c->model)));
    json_object_set_new(o, "runtime", json_pack("{s:s, s:s, s:[s, s, s]}", "name", "nexus", "version",
                                                nexus_version(), "supported_formats", "gguf", "mlx",
                                                "huggingface"));
}

static json_t *choice_json(chat *c, const gen_result *g)
{
    bool calls = json_array_size(c->calls) > 0;
    json_t *message = json_pack("{s:s}", "role", "assistant");
    json_object_set_new(message, "content", calls && c->content.len == 0
                                                ? json_null()
                                                : json_stringn(nx_str_cstr(&c->content), c->content.len));
    if (c->reasoning.len)
        json_object_set_new(message, "reasoning_content",
                            json_stringn(c->reasoning.data, c->reasoning.len));
    if (calls)
        json_object_set_new(message, "tool_calls", json_deep_copy(c->calls));
    return json_pack("{s:i, s:o, s:o, s:s}", "index", c->index, "message", message, "logprobs",
                     c->logprobs ? json_pack("{s:O}", "content", c->tokens) : json_null(),
                     "finish_reason", gen_finish_reason(g));
}

static void finish_choice(chat *c, const gen_result *g)
{
    if (c->stream)
        send_delta(c, json_object(), gen_finish_reason(g));
    else
        json_array_append_new(c->choices, choice_json(c, g));
    json_decref(c->tokens);
    c->tokens = json_array();
    json_array_clear(c->calls);
    nx_str_truncate(&c->content, 0);
    nx_str_truncate(&c->reasoning, 0);
}

static void finish_stream(chat *c, const gen_result *g)
{
    static const char done[] = "data: [DONE]\n\n";
    json_t *o = json_pack("{s:s, s:s, s:I, s:s, s:[]}", "id", c->id, "object", "chat.completion.chunk",
                          "created", (json_int_t)c->created, "model", c->name, "choices");
    if (c->usage || c->stats) {
        json_object_set_new(o, "usage", openai_usage(g, false));
        json_object_set_new(o, "timings", openai_timings(g));
        add_stats(c, o, g);
        app_event(c->r, NULL, o);
    }
    json_decref(o);
    http_stream_write(c->r, done, sizeof done - 1);
    http_stream_end(c->r);
}

static void finish_whole(chat *c, const gen_result *g)
{
    json_t *o = json_pack("{s:s, s:s, s:I, s:s, s:O, s:o, s:o}", "id", c->id, "object",
                          "chat.completion", "created", (json_int_t)c->created, "model", c->name,
                          "choices", c->choices, "usage", openai_usage(g, false), "timings",
                          openai_timings(g));
    add_stats(c, o, g);
    app_warn_unknown(c->r, o, c->unknown);
    http_reply_json(c->r, 200, o);
    json_decref(o);
}

/* Figures of several choices together; the prompt counts once. */
static void add_up(gen_result *all, const gen_result *one, int index)
{
    if (index == 0) {
        *all = *one;
        return;
    }
    all->stats.generated_tokens += one->stats.generated_tokens;
    all->stats.decode_seconds += one->stats.decode_seconds;
    all->stats.drafted_tokens += one->stats.drafted_tokens;
    all->stats.accepted_tokens += one->stats.accepted_tokens;
    all->reasoning_tokens += one->reasoning_tokens;
}

static void run_choices(chat *c)
{
    const gen_sink sink = {c, on_start, on_part, on_token, on_progress};
    gen_result all = {0}, one;
    uint64_t seed = c->job.o.seed;
    for (c->index = 0; c->index < c->n; c->index++) {
        c->job.o.seed = seed ? seed + (uint64_t)c->index : 0; /* else all choices were the same */
        int status = gen_run(c->app, c->r, &c->job, &sink, &one);
        if (status) {
            app_fail(c->r, status, NULL, "%s", nx_error_message());
            return;
        }
        add_up(&all, &one, c->index);
        finish_choice(c, &one);
    }
    if (c->stream)
        finish_stream(c, &all);
    else
        finish_whole(c, &all);
}

void openai_chat(app *a, app_call *call)
{
    chat c = {.app = a, .r = call->r, .id = app_id(call->r, "chatcmpl-"), .created = app_now(),
              .calls = json_array(), .tokens = json_array(), .choices = json_array()};
    fields f;
    gen_job_init(&c.job);
    fields_open(&f, call->body);
    read_request(&c, &f);
    c.stats = strncmp(http_path(c.r), "/api/v0/", 8) == 0;
    c.unknown = fields_unknown(&f);
    if (fields_ok(&f))
        run_choices(&c);
    else
        app_fail_fields(c.r, &f);
    fields_close(&f);
    gen_job_clear(&c.job);
    json_decref(c.unknown);
    json_decref(c.calls);
    json_decref(c.tokens);
    json_decref(c.choices);
    nx_str_clear(&c.content);
    nx_str_clear(&c.reasoning);
}
