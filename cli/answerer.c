#include "cli/answerer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/os.h"
#include "server/lib.h"

answerer answerer_here(nexus_model *m, nexus_session *s)
{
    return (answerer){.model = m, .session = s, .context = nexus_session_context(s)};
}

nexus_status answerer_open_server(answerer *a, const client_options *at, const char *model,
                                  bool (*stop)(void))
{
    *a = (answerer){.at = *at, .stop = stop};
    json_t *body = json_pack("{s:s}", "model", model);
    json_t *o = body ? client_ask(at, "/nexus/load", body) : NULL;
    if (!body)
        nx_fail("'%s' is not valid UTF-8", model);
    if (o) {
        snprintf(a->name, sizeof a->name, "%s", nx_json_get_str(o, "model", model));
        a->context = (int)nx_json_get_int(o, "context", 0);
    }
    json_decref(body);
    json_decref(o);
    return o ? NEXUS_OK : NEXUS_ERROR;
}

void answerer_tell_unused(int argc, char **argv)
{
    static const char *const names[] = {"--ctx", "-c", "--cache-type", "--threads", "--force", "--draft",
                                        "--lookup", "--draft-tokens"};
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
            size_t n = strlen(names[k]);
            if (strncmp(argv[i], names[k], n) == 0 && (argv[i][n] == '\0' || argv[i][n] == '='))
                fprintf(stderr, "nexus: %s is the server's to choose, and is not used here\n", names[k]);
        }
}

/* ---- prompts of a server's model ---- */

static json_t *ids_of_text(const answerer *a, const char *text, size_t n, bool special, bool parse)
{
    json_t *body = json_pack("{s:s, s:s%, s:b, s:b}", "model", a->name, "content", text, n, "add_special",
                             special, "parse_special", parse);
    json_t *o = body ? client_ask(&a->at, "/tokenize", body) : NULL;
    json_t *ids = json_incref(json_object_get(o, "tokens"));
    if (!body)
        nx_fail("the text is not valid UTF-8");
    json_decref(body);
    json_decref(o);
    return ids;
}

static json_t *ids_of_messages(const answerer *a, const nexus_message *messages, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_pack("{s:s, s:s}", "role", messages[i].role, "content",
                                              messages[i].content));
    json_t *body = json_pack("{s:s, s:o}", "model", a->name, "messages", list);
    json_t *o = client_ask(&a->at, "/apply-template", body);
    const json_t *prompt = json_object_get(o, "prompt");
    json_t *ids = prompt ? ids_of_text(a, json_string_value(prompt), json_string_length(prompt), false, true)
                         : NULL;
    json_decref(body);
    json_decref(o);
    return ids;
}

size_t answerer_count(const answerer *a, const nexus_message *messages, size_t count)
{
    char *prompt = NULL;
    int32_t *ids = NULL;
    size_t n = 0;
    if (count == 0)
        return 0;
    if (!a->session) {
        json_t *list = ids_of_messages(a, messages, count);
        n = json_array_size(list);
        json_decref(list);
        return n;
    }
    if (!nexus_render(a->model, messages, count, &prompt) &&
        !nexus_tokenize(a->model, prompt, strlen(prompt), false, true, &ids, &n, NULL))
        nexus_free(ids);
    nexus_free(prompt);
    return n;
}

size_t answerer_count_text(const answerer *a, const char *text, size_t length)
{
    int32_t *ids;
    size_t n = 0;
    if (!a->session) {
        json_t *list = ids_of_text(a, text, length, false, false);
        n = json_array_size(list);
        json_decref(list);
    } else if (!nexus_tokenize(a->model, text, length, false, false, &ids, &n, NULL)) {
        nexus_free(ids);
    }
    return n;
}

/* ---- a server's answer ---- */

typedef struct {
    const answerer *a;
    nexus_piece_fn piece;
    void *user;
    nexus_stats stats;
    double started;
    bool stopped, failed, finished;
} incoming;

static bool tell(incoming *in, const char *text, size_t n, int32_t id, double logprob)
{
    nexus_piece p = {.text = text, .length = n, .id = id, .logprob = (float)logprob};
    if (in->piece && !in->piece(&p, in->user))
        in->stopped = true;
    return !in->stopped;
}

/* Tokens are told before the text that they bring, which comes with the last of them. */
static bool take_choice(incoming *in, const json_t *choice)
{
    const json_t *text = json_object_get(choice, "text"), *tokens = json_object_get(choice, "logprobs");
    const json_t *ids = json_object_get(tokens, "token_ids");
    const json_t *logprobs = json_object_get(tokens, "token_logprobs");
    size_t n = json_array_size(ids);
    const char *reason = nx_json_get_str(choice, "finish_reason", NULL);
    if (reason)
        snprintf(in->stats.stop_reason, sizeof in->stats.stop_reason, "%s",
                 strcmp(reason, "length") == 0 ? "length" : "eos");
    if (json_string_length(text) && in->stats.time_to_first_token_seconds == 0)
        in->stats.time_to_first_token_seconds = nx_os_seconds() - in->started;
    for (size_t i = 0; i + 1 < n && !in->stopped; i++)
        tell(in, "", 0, (int32_t)json_integer_value(json_array_get(ids, i)),
             json_real_value(json_array_get(logprobs, i)));
    if ((n == 0 && json_string_length(text) == 0) || in->stopped)
        return !in->stopped;
    return tell(in, json_string_value(text), json_string_length(text),
                n ? (int32_t)json_integer_value(json_array_get(ids, n - 1)) : -1,
                json_real_value(json_array_get(logprobs, n - 1)));
}

static void take_usage(incoming *in, const json_t *e)
{
    nexus_stats *s = &in->stats;
    s->prompt_tokens = (size_t)nx_json_get_int(e, "usage.prompt_tokens", 0);
    s->cached_tokens = (size_t)nx_json_get_int(e, "usage.prompt_tokens_details.cached_tokens", 0);
    s->generated_tokens = (size_t)nx_json_get_int(e, "usage.completion_tokens", 0);
    s->prefill_seconds = nx_json_get_real(e, "timings.prompt_ms", 0) / 1e3;
    s->decode_seconds = nx_json_get_real(e, "timings.predicted_ms", 0) / 1e3;
    if (strcmp(s->stop_reason, "length") == 0 &&
        s->prompt_tokens + s->generated_tokens >= (size_t)in->a->context)
        snprintf(s->stop_reason, sizeof s->stop_reason, "context");
    in->finished = true;
}

static bool take_event(const json_t *e, void *user)
{
    incoming *in = user;
    const char *error = nx_json_get_str(e, "error.message", NULL);
    if (error) {
        in->failed = true;
        nx_fail("the server said: %s", error);
        return false;
    }
    if (json_object_get(e, "usage"))
        take_usage(in, e);
    const json_t *choice = json_array_get(json_object_get(e, "choices"), 0);
    return choice ? take_choice(in, choice) : true;
}

static json_t *request(const answerer *a, json_t *ids, const nexus_generate_options *o)
{
    json_t *stops = json_array();
    for (size_t i = 0; i < o->stop_count; i++)
        json_array_append_new(stops, json_string(o->stop[i]));
    json_t *body = json_pack("{s:s, s:o, s:b, s:{s:b}, s:i, s:f, s:i, s:f, s:f, s:f, s:I, s:o}", "model",
                             a->name, "prompt", ids, "stream", 1, "stream_options", "include_usage", 1,
                             "max_tokens", o->max_tokens ? o->max_tokens : -1, "temperature",
                             (double)o->temperature, "top_k", o->top_k, "top_p", (double)o->top_p,
                             "min_p", (double)o->min_p, "repeat_penalty", (double)o->repeat_penalty,
                             "seed", o->seed ? (json_int_t)(o->seed & INT64_MAX) : (json_int_t)-1, "stop",
                             stops);
    if (o->logprobs)
        json_object_set_new(body, "logprobs", json_integer(0));
    return body;
}

/* Continues the ids, which it takes. */
static nexus_status continue_ids(answerer *a, json_t *ids, const nexus_generate_options *o,
                                 nexus_piece_fn piece, void *user, nexus_stats *stats)
{
    incoming in = {.a = a, .piece = piece, .user = user, .started = nx_os_seconds()};
    if (!ids)
        return NEXUS_ERROR;
    json_t *body = request(a, ids, o);
    bool ok = client_stream(&a->at, "/v1/completions", body, take_event, &in, a->stop);
    json_decref(body);
    if (!ok || in.failed)
        return NEXUS_ERROR;
    if (!in.finished && !in.stopped && !(a->stop && a->stop())) {
        nx_fail("the server ended before the answer was complete");
        return NEXUS_ERROR;
    }
    if (!in.finished)
        snprintf(in.stats.stop_reason, sizeof in.stats.stop_reason, "cancelled");
    if (stats)
        *stats = in.stats;
    return NEXUS_OK;
}

nexus_status answerer_chat(answerer *a, const nexus_message *messages, size_t count,
                           const nexus_generate_options *o, nexus_piece_fn piece, void *user,
                           nexus_stats *stats)
{
    if (a->session)
        return lib(nexus_chat(a->session, messages, count, o, piece, user, stats));
    return continue_ids(a, ids_of_messages(a, messages, count), o, piece, user, stats);
}

nexus_status answerer_complete(answerer *a, const char *text, const nexus_generate_options *o,
                               nexus_piece_fn piece, void *user, nexus_stats *stats)
{
    if (a->session)
        return lib(nexus_complete(a->session, text, o, piece, user, stats));
    return continue_ids(a, ids_of_text(a, text, strlen(text), true, true), o, piece, user, stats);
}
