#include "server/generate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/os.h"
#include "server/lib.h"

/* ---- jobs ---- */

void gen_job_init(gen_job *j)
{
    *j = (gen_job){.ttl = -1, .add_special = true, .o = nexus_generate_defaults()};
}

void gen_job_clear(gen_job *j)
{
    json_decref(j->chat);
    nexus_grammar_free(j->grammar);
    nx_vec_clear(&j->stops);
    nx_vec_clear(&j->bias);
}

/* A sampling field: its names in the interfaces, and where its value goes. */
typedef struct {
    const char *name;
    size_t offset;
    bool whole; /* an int; else a float */
} sampling_row;

#define REAL(name, member) {name, offsetof(nexus_generate_options, member), false}
#define WHOLE(name, member) {name, offsetof(nexus_generate_options, member), true}
static const sampling_row rows[] = {
    REAL("temperature", temperature),
    WHOLE("top_k", top_k),
    REAL("top_p", top_p),
    REAL("min_p", min_p),
    REAL("typical_p", typical_p),
    REAL("xtc_probability", xtc_probability),
    REAL("xtc_threshold", xtc_threshold),
    REAL("repeat_penalty", repeat_penalty),
    REAL("repetition_penalty", repeat_penalty),
    REAL("presence_penalty", presence_penalty),
    REAL("frequency_penalty", frequency_penalty),
    WHOLE("repeat_last_n", penalty_window),
    REAL("dry_multiplier", dry_multiplier),
    REAL("dry_base", dry_base),
    WHOLE("dry_allowed_length", dry_allowed_length),
    WHOLE("dry_penalty_last_n", dry_window),
    WHOLE("mirostat", mirostat),
    WHOLE("draft_tokens", draft_tokens),
    WHOLE("num_draft_tokens", draft_tokens),
    WHOLE("draft_num_predict", draft_tokens),
    REAL("mirostat_tau", mirostat_tau),
    REAL("mirostat_eta", mirostat_eta),
};

void gen_read_stops(gen_job *j, fields *f, const char *key)
{
    const json_t *v = fields_any(f, key), *each;
    size_t i;
    if (json_is_string(v)) {
        nx_vec_push(&j->stops, json_string_value(v));
    } else if (json_is_array(v)) {
        json_array_foreach((json_t *)(uintptr_t)v, i, each) {
            if (!json_is_string(each))
                fields_fault(f, key, "'%s' must hold texts", key);
            else
                nx_vec_push(&j->stops, json_string_value(each));
        }
    } else if (v) {
        fields_fault(f, key, "'%s' must be a text or a list of texts", key);
    }
    j->o.stop = j->stops.at;
    j->o.stop_count = j->stops.n;
}

static void push_bias(gen_job *j, fields *f, const char *id_text, const json_t *id_json,
                      const json_t *value)
{
    char *end = NULL;
    if (!id_text && !id_json)
        id_json = json_null(); /* an empty pair */
    long long id = id_json ? json_integer_value(id_json) : strtoll(id_text, &end, 10);
    bool ban = json_is_false(value);
    if ((end && (*end || end == id_text)) || (id_json && !json_is_integer(id_json)) || id < 0 ||
        id > INT32_MAX || !(ban || json_is_number(value))) {
        fields_fault(f, "logit_bias", "'logit_bias' gives token ids their numbers, as {\"50256\": -100}");
        return;
    }
    nx_vec_push(&j->bias, (nexus_bias){(int32_t)id, ban ? -INFINITY : (float)json_number_value(value)});
}

void gen_read_bias(gen_job *j, fields *f)
{
    json_t *v = (json_t *)(uintptr_t)fields_any(f, "logit_bias"), *each;
    const char *key;
    size_t i;
    if (json_is_object(v))
        json_object_foreach(v, key, each)
            push_bias(j, f, key, NULL, each);
    else if (json_is_array(v))
        json_array_foreach(v, i, each)
            push_bias(j, f, NULL, json_is_array(each) ? json_array_get(each, 0) : each,
                      json_array_get(each, 1));
    else if (v)
        fields_fault(f, "logit_bias", "'logit_bias' must be an object");
    j->o.bias = j->bias.at;
    j->o.bias_count = j->bias.n;
}

/* ---- the form of the answer ---- */

static void set_grammar(gen_job *j, fields *f, const char *key, nexus_grammar_kind kind, const char *text)
{
    if (j->grammar) {
        fields_fault(f, key, "'%s' is one form of the answer too many", key);
        return;
    }
    if (nexus_grammar_new(kind, text, strlen(text), &j->grammar))
        fields_fault(f, key, "'%s': %s", key, nexus_error_message());
    j->o.grammar = j->grammar;
}

void gen_set_schema(gen_job *j, fields *f, const char *key, const json_t *schema)
{
    bool any = json_is_true(schema) || json_is_string(schema);
    char *text = any ? nx_strdup("") : json_dumps(schema, JSON_COMPACT);
    if (any || json_is_object(schema))
        set_grammar(j, f, key, any ? NEXUS_GRAMMAR_JSON : NEXUS_GRAMMAR_SCHEMA, text);
    else
        fields_fault(f, key, "'%s' needs a schema, which is an object", key);
    free(text);
}

void gen_read_format(gen_job *j, fields *f)
{
    const json_t *format = fields_object(f, "response_format"), *schema = fields_any(f, "json_schema");
    const char *type = json_string_value(json_object_get(format, "type"));
    const char *gbnf = fields_str(f, "grammar", NULL), *regex = fields_str(f, "regex", NULL);
    if (format && type && strcmp(type, "json_object") == 0) {
        const json_t *inside = json_object_get(format, "schema");
        gen_set_schema(j, f, "response_format", inside ? inside : json_true());
    } else if (format && type && strcmp(type, "json_schema") == 0) {
        const json_t *named = json_object_get(format, "json_schema");
        const json_t *inside = json_object_get(named ? named : format, "schema");
        gen_set_schema(j, f, "response_format", inside);
    } else if (format && (!type || strcmp(type, "text") != 0)) {
        fields_fault(f, "response_format", "'response_format' is of type text, json_object or json_schema");
    }
    if (schema)
        gen_set_schema(j, f, "json_schema", schema);
    if (gbnf)
        set_grammar(j, f, "grammar", NEXUS_GRAMMAR_GBNF, gbnf);
    if (regex)
        set_grammar(j, f, "regex", NEXUS_GRAMMAR_REGEX, regex);
}

void gen_read_sampling(gen_job *j, fields *f)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *at = (char *)&j->o + rows[i].offset;
        if (rows[i].whole)
            *(int *)at = (int)fields_int(f, rows[i].name, *(int *)at, -1, INT32_MAX);
        else
            *(float *)at = (float)fields_real(f, rows[i].name, *(float *)at);
    }
    const json_t *seed = fields_any(f, "seed");
    if (seed && !json_is_integer(seed))
        fields_fault(f, "seed", "'seed' must be a whole number");
    else if (seed && json_integer_value(seed) >= 0) /* 0 is a seed here; -1 asks for a fresh one */
        j->o.seed = (uint64_t)json_integer_value(seed) + (json_integer_value(seed) == 0 ? 0x5EED : 0);
    j->o.ignore_eos = fields_bool(f, "ignore_eos", false);
    j->o.lookup = fields_bool(f, "lookup", false);
    gen_read_stops(j, f, "stop");
    gen_read_bias(j, f);
}

/* ---- running ---- */

typedef struct {
    app *app;
    http_request *r;
    const gen_sink *sink;
    answer *answer; /* NULL: plain */
    gen_result *out;
    bool go_on;
    double last_sent;
    bool in_reasoning;
} run;

static bool left(void *arg)
{
    return http_gone(arg);
}

static void take_part(const answer_part *part, void *user)
{
    run *u = user;
    u->in_reasoning = part->kind == ANSWER_REASONING;
    if (u->go_on)
        u->go_on = u->sink->part(u->sink->user, part);
}

static bool take_piece(const nexus_piece *piece, void *user)
{
    run *u = user;
    app_count_token(u->app);
    if (u->sink->token && piece->id >= 0)
        u->sink->token(u->sink->user, piece);
    if (u->answer)
        answer_push(u->answer, piece->text, piece->length, take_part, u);
    else if (piece->length)
        take_part(&(answer_part){ANSWER_CONTENT, NULL, piece->text, piece->length}, u);
    u->out->reasoning_tokens += u->in_reasoning;
    return u->go_on && !http_gone(u->r);
}

static bool take_progress(double fraction, void *user)
{
    run *u = user;
    if (u->sink->progress)
        u->sink->progress(u->sink->user, fraction);
    return !http_gone(u->r);
}

static void cancel_session(void *session)
{
    nexus_session_cancel(session);
}

int app_status(nexus_status s)
{
    switch (s) {
    case NEXUS_OK: return 0;
    case NEXUS_ERROR_ARGUMENT: return 400;
    case NEXUS_ERROR_CONTEXT: return 400;
    case NEXUS_ERROR_NOT_FOUND: return 404;
    case NEXUS_ERROR_FORMAT: return 422;
    case NEXUS_ERROR_UNSUPPORTED: return 422;
    case NEXUS_ERROR_MEMORY: return 503;
    default: return 500;
    }
}

/* The prompt as ids, and as text where there is one. */
static nexus_status make_prompt(const gen_job *j, nexus_model *m, char **text, int32_t **ids, size_t *n)
{
    nexus_status status = NEXUS_OK;
    size_t i;
    json_t *each;
    if (j->ids) {
        *n = json_array_size(j->ids);
        *ids = nx_malloc((*n + 1) * sizeof **ids);
        json_array_foreach((json_t *)(uintptr_t)j->ids, i, each) {
            json_int_t id = json_integer_value(each);
            (*ids)[i] = json_is_integer(each) && id >= 0 && id <= INT32_MAX ? (int32_t)id : -1;
        }
        return NEXUS_OK;
    }
    if (j->chat) {
        char *request = json_dumps(j->chat, JSON_COMPACT);
        status = nexus_render_json(m, request, strlen(request), text);
        free(request);
        return status ? status : nexus_tokenize(m, *text, strlen(*text), false, true, ids, n, NULL);
    }
    *text = nx_strndup(j->text, j->length);
    return nexus_tokenize(m, j->text, j->length, j->add_special, true, ids, n, NULL);
}

static bool makes_text(const host_model *m)
{
    return !host_embeds(m) || nx_fail("%s makes embeddings, not text: send texts to /v1/embeddings, or "
                                      "name another model", host_name(m));
}

static bool context_fits(const host_model *m, size_t n)
{
    int context = host_context(m);
    if (n < (size_t)context)
        return true;
    return nx_fail("the prompt has %zu tokens, and the context of %s here is %d, answer included: "
                   "shorten the prompt, or have a larger context: the server's --ctx, LM Studio's "
                   "context_length or ollama's num_ctx", n, host_name(m),
                   context);
}

static int run_on_lane(app *a, const gen_job *j, run *u, host_lane *l, const int32_t *ids, size_t n)
{
    nexus_generate_options o = j->o;
    o.special_text = u->answer && answer_needs_special(nexus_model_template(host_handle(host_lane_model(l))));
    o.prefill = take_progress;
    o.lookup = o.lookup || (a->o.lookup && nexus_model_takes_drafts(host_handle(host_lane_model(l))));
    o.draft_tokens = o.draft_tokens ? o.draft_tokens : a->o.draft_tokens;
    o.grammar_after = u->answer ? answer_thinking_end(u->answer) : NULL;
    nexus_session_uncancel(host_lane_session(l)); /* by whom the lane served before */
    http_on_gone(u->r, cancel_session, host_lane_session(l));
    nexus_status status =
        lib(nexus_generate(host_lane_session(l), ids, n, &o, take_piece, u, &u->out->stats));
    http_on_gone(u->r, NULL, NULL);
    if (status)
        return app_status(status);
    if (u->answer) {
        answer_end(u->answer, take_part, u);
        u->out->calls = answer_calls(u->answer);
    }
    app_count(a, &u->out->stats);
    return 0;
}

static int run_on_model(app *a, http_request *r, const gen_job *j, const gen_sink *sink,
                        host_model *m, gen_result *out)
{
    char *text = NULL;
    int32_t *ids = NULL;
    size_t n = 0;
    run u = {.app = a, .r = r, .sink = sink, .out = out, .go_on = true};
    nexus_model *handle = host_handle(m);
    nexus_status bad = lib(make_prompt(j, handle, &text, &ids, &n));
    int status = bad ? app_status(bad == NEXUS_ERROR ? NEXUS_ERROR_ARGUMENT : bad) : 0;
    if (!status && (!makes_text(m) || !context_fits(m, n)))
        status = 400;
    host_lane *l = status ? NULL : host_lane_take(m, ids, n, left, r);
    if (l) {
        sink->start(sink->user, &(gen_start){m, n, text});
        if (!j->plain)
            u.answer = answer_new(nexus_model_template(handle), text, j->tools,
                                  json_object_get(j->chat, "tools"));
        status = run_on_lane(a, j, &u, l, ids, n);
        answer_free(u.answer);
        host_lane_give(l);
    } else if (!status) {
        status = http_gone(r) ? 499 : 503;
    }
    free(text);
    nexus_free(ids);
    return status;
}

int gen_run(app *a, http_request *r, const gen_job *j, const gen_sink *sink, gen_result *out)
{
    *out = (gen_result){0};
    host_model *m;
    double start = nx_os_seconds();
    nexus_status status = host_acquire(a->host, j->model, j->ttl, j->context, &m);
    if (status)
        return app_status(status);
    out->load_seconds = nx_os_seconds() - start;
    snprintf(out->model, sizeof out->model, "%s", host_name(m));
    int code = run_on_model(a, r, j, sink, m, out);
    const nexus_stats *s = &out->stats;
    if (!code)
        app_note(r, "%s: %zu prompt tokens (%zu cached), %zu generated, %.1f/s, %s", out->model,
                 s->prompt_tokens, s->cached_tokens, s->generated_tokens,
                 s->decode_seconds > 0 ? (double)(s->generated_tokens - 1) / s->decode_seconds : 0,
                 s->stop_reason);
    host_release(m);
    return code;
}

int gen_count(app *a, const gen_job *j, size_t *tokens, int *context)
{
    host_model *m;
    nexus_status status = host_acquire(a->host, j->model, j->ttl, j->context, &m);
    if (status)
        return app_status(status);
    char *text = NULL;
    int32_t *ids = NULL;
    status = lib(make_prompt(j, host_handle(m), &text, &ids, tokens));
    free(text);
    nexus_free(ids);
    if (context)
        *context = host_context(m);
    host_release(m);
    return status == NEXUS_ERROR ? 400 : app_status(status);
}

const char *gen_finish_reason(const gen_result *g)
{
    const char *s = g->stats.stop_reason;
    if (strcmp(s, "length") == 0 || strcmp(s, "context") == 0)
        return "length";
    return g->calls ? "tool_calls" : "stop";
}

char *gen_token_text(host_model *m, int32_t id, size_t *length)
{
    char *text = NULL;
    if (nexus_detokenize(host_handle(m), &id, 1, true, &text, length)) {
        *length = 0;
        return nx_strdup("");
    }
    return text;
}
