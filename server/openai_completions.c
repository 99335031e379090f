/* openai_completions.c: POST /v1/completions: texts continued as they stand. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "server/openai.h"

typedef struct {
    app *app;
    http_request *r;
    gen_job job;
    const json_t *prompt; /* a text, a list of texts, ids, or a list of lists of ids */
    const char *suffix;
    bool stream, usage, echo;
    int n, logprobs; /* logprobs -1: none wanted */

    const char *id;
    int64_t created;
    json_t *unknown, *choices;
    host_model *model;
    char name[256];
    int index;
    nx_str text;
    json_t *tokens, *ids, *token_logprobs, *top, *offsets;
} completion;

static void read_request(completion *c, fields *f)
{
    static const char *const harmless[] = {"user", NULL};
    gen_job *j = &c->job;
    j->model = fields_str(f, "model", NULL);
    c->prompt = fields_any(f, "prompt");
    if (!json_is_string(c->prompt) && !json_is_array(c->prompt))
        fields_fault(f, "prompt", "'prompt' is needed: a text, a list of texts, or token ids");
    gen_read_sampling(j, f);
    j->plain = true;
    j->o.max_tokens = (int)fields_int(f, "max_tokens", 16, -1, INT32_MAX);
    if (j->o.max_tokens < 0)
        j->o.max_tokens = 0;
    j->ttl = fields_real(f, "ttl", -1);
    c->stream = fields_bool(f, "stream", false);
    const json_t *so = fields_object(f, "stream_options");
    c->usage = json_is_true(json_object_get(so, "include_usage"));
    c->logprobs = (int)fields_int(f, "logprobs", -1, 0, 20);
    j->o.logprobs = c->logprobs >= 0;
    j->o.top_logprobs = c->logprobs > 0 ? c->logprobs : 0;
    gen_read_format(j, f);
    c->echo = fields_bool(f, "echo", false);
    c->n = (int)fields_int(f, "n", 1, 1, 128);
    if (fields_int(f, "best_of", 1, 1, 128) > c->n)
        fields_fault(f, "best_of", "'best_of' over 'n' is not offered");
    const char *suffix = fields_str(f, "suffix", NULL);
    if (suffix && *suffix)
        fields_fault(f, "suffix", "'suffix' is not offered: the text is continued at its end");
    fields_skip(f, harmless);
}

/* ---- log-probabilities, in the old form ---- */

static json_t *logprobs_take(completion *c)
{
    if (c->logprobs < 0)
        return json_null();
    json_t *o = json_pack("{s:o, s:o, s:o, s:o, s:o}", "tokens", c->tokens, "token_ids", c->ids, "token_logprobs",
                          c->token_logprobs, "top_logprobs", c->top, "text_offset", c->offsets);
    c->tokens = json_array();
    c->ids = json_array();
    c->token_logprobs = json_array();
    c->top = json_array();
    c->offsets = json_array();
    return o;
}

static void on_token(void *user, const nexus_piece *p)
{
    completion *c = user;
    if (c->logprobs < 0)
        return;
    size_t n;
    char *text = gen_token_text(c->model, p->id, &n);
    json_t *top = json_object();
    for (size_t i = 0; i < p->top_count; i++) {
        size_t k;
        char *other = p->top[i].id >= 0 ? gen_token_text(c->model, p->top[i].id, &k) : NULL;
        if (other)
            json_object_set_new(top, other, json_real(p->top[i].logprob));
        nexus_free(other);
    }
    json_array_append_new(c->tokens, json_string(text));
    json_array_append_new(c->ids, json_integer(p->id));
    json_array_append_new(c->token_logprobs, json_real(p->logprob));
    json_array_append_new(c->top, top);
    json_array_append_new(c->offsets, json_integer((json_int_t)c->text.len));
    nexus_free(text);
}

/* ---- the answer ---- */

static bool send_chunk(completion *c, const char *text, size_t n, const char *finish)
{
    json_t *o = json_pack("{s:s, s:s, s:I, s:s, s:[{s:s%, s:i, s:o, s:o}]}", "id", c->id, "object",
                          "text_completion", "created", (json_int_t)c->created, "model", c->name,
                          "choices", "text", text, n, "index", c->index, "logprobs", logprobs_take(c),
                          "finish_reason", finish ? json_string(finish) : json_null());
    bool here = app_event(c->r, NULL, o);
    json_decref(o);
    return here;
}

static void on_start(void *user, const gen_start *s)
{
    completion *c = user;
    c->model = s->model;
    snprintf(c->name, sizeof c->name, "%s", host_name(s->model));
    if (c->stream && !http_streaming(c->r)) {
        app_stream_begin(c->r, "text/event-stream", c->unknown);
    }
    if (!c->echo || !s->prompt)
        return;
    nx_str_puts(&c->text, s->prompt);
    if (c->stream)
        send_chunk(c, s->prompt, strlen(s->prompt), NULL);
}

static bool on_part(void *user, const answer_part *p)
{
    completion *c = user;
    nx_str_add(&c->text, p->text, p->length);
    return !c->stream || send_chunk(c, p->text, p->length, NULL);
}

static void finish_choice(completion *c, const gen_result *g)
{
    if (c->stream)
        send_chunk(c, "", 0, gen_finish_reason(g));
    else
        json_array_append_new(
            c->choices, json_pack("{s:s%, s:i, s:o, s:s}", "text", nx_str_cstr(&c->text), c->text.len,
                                  "index", c->index, "logprobs", logprobs_take(c), "finish_reason",
                                  gen_finish_reason(g)));
    nx_str_truncate(&c->text, 0);
}

static void finish(completion *c, const gen_result *g)
{
    static const char done[] = "data: [DONE]\n\n";
    json_t *o = json_pack("{s:s, s:s, s:I, s:s, s:O, s:o, s:o}", "id", c->id, "object",
                          "text_completion", "created", (json_int_t)c->created, "model", c->name,
                          "choices", c->choices, "usage", openai_usage(g, false), "timings",
                          openai_timings(g));
    if (c->stream) {
        if (c->usage)
            app_event(c->r, NULL, o);
        http_stream_write(c->r, done, sizeof done - 1);
        http_stream_end(c->r);
    } else {
        app_warn_unknown(c->r, o, c->unknown);
        http_reply_json(c->r, 200, o);
    }
    json_decref(o);
}

/* One prompt of those given: a text, or ids. */
static void set_prompt(gen_job *j, const json_t *p)
{
    j->text = json_string_value(p);
    j->length = json_string_length(p);
    j->ids = json_is_array(p) ? p : NULL;
}

static size_t prompt_count(const json_t *p)
{
    bool many = json_is_array(p) && !json_is_integer(json_array_get(p, 0));
    return many ? json_array_size(p) : 1;
}

static void run_all(completion *c)
{
    const gen_sink sink = {c, on_start, on_part, on_token, NULL};
    gen_result all = {0}, one;
    size_t prompts = prompt_count(c->prompt);
    bool many = json_is_array(c->prompt) && !json_is_integer(json_array_get(c->prompt, 0));
    uint64_t seed = c->job.o.seed;
    for (c->index = 0; (size_t)c->index < prompts * (size_t)c->n; c->index++) {
        size_t p = (size_t)c->index / (size_t)c->n;
        set_prompt(&c->job, many ? json_array_get(c->prompt, p) : c->prompt);
        c->job.o.seed = seed ? seed + (uint64_t)(c->index % c->n) : 0;
        int status = gen_run(c->app, c->r, &c->job, &sink, &one);
        if (status) {
            app_fail(c->r, status, NULL, "%s", nx_error_message());
            return;
        }
        if (c->index == 0) {
            all = one;
        } else {
            all.stats.prompt_tokens += c->index % c->n ? 0 : one.stats.prompt_tokens;
            all.stats.generated_tokens += one.stats.generated_tokens;
        }
        finish_choice(c, &one);
    }
    finish(c, &all);
}

static bool prompts_ok(fields *f, const json_t *p)
{
    json_t *each;
    size_t i;
    if (json_is_array(p) && json_array_size(p) == 0)
        fields_fault(f, "prompt", "'prompt' is an empty list");
    if (json_is_array(p) && !json_is_integer(json_array_get(p, 0)))
        json_array_foreach((json_t *)(uintptr_t)p, i, each)
            if (!json_is_string(each) && !json_is_array(each))
                fields_fault(f, "prompt", "prompt[%zu] must be a text or a list of token ids", i);
    return fields_ok(f);
}

void openai_completions(app *a, app_call *call)
{
    completion c = {.app = a, .r = call->r, .id = app_id(call->r, "cmpl-"), .created = app_now(),
                    .choices = json_array(), .tokens = json_array(), .ids = json_array(),
                    .token_logprobs = json_array(), .top = json_array(), .offsets = json_array()};
    fields f;
    gen_job_init(&c.job);
    fields_open(&f, call->body);
    read_request(&c, &f);
    c.unknown = fields_unknown(&f);
    if (prompts_ok(&f, c.prompt))
        run_all(&c);
    else
        app_fail_fields(c.r, &f);
    fields_close(&f);
    gen_job_clear(&c.job);
    json_decref(c.unknown);
    json_decref(c.choices);
    json_decref(c.tokens);
    json_decref(c.ids);
    json_decref(c.token_logprobs);
    json_decref(c.top);
    json_decref(c.offsets);
    nx_str_clear(&c.text);
}
