/*
 * app.h: the server: what its handlers share, the table of routes, and how each interface says that
 * something went wrong.
 */
#ifndef NX_SERVER_APP_H
#define NX_SERVER_APP_H

#include <jansson.h>
#include <pthread.h>

#include "server/fields.h"
#include "server/host.h"
#include "server/http.h"
#include "server/server.h"

typedef struct {
    pthread_mutex_t lock;
    uint64_t requests, failed, generations, prompt_tokens, cached_tokens, generated_tokens;
    uint64_t drafted_tokens, accepted_tokens;
    double prefill_seconds, decode_seconds;
    /* The last minute by second, for the page's plots: generated tokens. */
    uint32_t second_tokens[64];
    int64_t second_at[64];
} app_metrics;

typedef struct {
    server_options o;
    host *host;
    http_server *http;
    char *key; /* NULL: none is asked for */
    double started;
    int64_t started_at;
    app_metrics metrics;
    pthread_mutex_t talks_lock;
    struct conversations *talks; /* NULL until they are first asked for */
    struct downloads *downloads;
    struct kept *kept;           /* answers to go on from */
} app;

typedef struct {
    http_request *r;
    json_t *body;       /* an object; NULL where the route takes none */
    const char *rest;   /* what the pattern's * stands for */
} app_call;

/* ---- routes ---- */

typedef struct {
    const char *method, *path; /* a path that ends with "*" stands for all that begin so */
    void (*run)(app *a, app_call *c);
    bool open;          /* without a key */
    const char *about;  /* for the API description */
    const char *fields; /* of the JSON object that is needed (see routes.c); NULL: none */
} app_route;

/* All of them; ends with a row without method. */
extern const app_route app_routes[];

/* Whether no key is needed, as for paths that are not served. */
bool app_route_is_open(const char *method, const char *path);
void app_check(http_request *r, void *user);    /* host, origin, key, size: before the body */
void app_handle(http_request *r, void *user);   /* finds the route and runs it */
void app_finished(http_request *r, void *user); /* the line in the log */

/* ---- answers ---- */

/* An error in the form of the interface that the path belongs to: the answer, or where a stream has
 * begun its last event. param: the field; may be NULL. */
void app_fail(http_request *r, int status, const char *param, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The name of that form's schema in the API description. */
const char *app_error_schema(const char *path);
/* 400 with the fault that reading the fields met. */
void app_fail_fields(http_request *r, const fields *f);
/* Adds the names of fields that were not understood as a header, and to body["warnings"]. */
void app_warn_unknown(http_request *r, json_t *body, json_t *unknown);
/* The HTTP status that stands for a library status. */
int app_status(nexus_status s);

/* A fresh id: "chatcmpl-" and 24 letters and digits. In the request's arena. */
const char *app_id(http_request *r, const char *prefix);
int64_t app_now(void); /* seconds since 1970 */
/* "2026-01-31T12:00:00.000000Z", in the request's arena. */
const char *app_iso_time(http_request *r, int64_t seconds);

/* A stream of this type, with the header that names what was not understood. */
void app_stream_begin(http_request *r, const char *type, json_t *unknown);
/* One server-sent event; event NULL: data alone. False once the client has left. */
bool app_event(http_request *r, const char *event, const json_t *data);
/* One line of NDJSON. */
bool app_line(http_request *r, const json_t *data);

void app_count(app *a, const nexus_stats *s);
void app_count_token(app *a); /* each as it comes, for the plot */
/* What the request did, for its line in the log. Control characters become spaces. */
void app_note(http_request *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- handlers, by interface ---- */

void openai_chat(app *a, app_call *c);
void openai_completions(app *a, app_call *c);
void openai_responses(app *a, app_call *c);
void openai_responses_count(app *a, app_call *c);
void openai_response_get(app *a, app_call *c);
void openai_response_remove(app *a, app_call *c);
void openai_embeddings(app *a, app_call *c);
void rerank(app *a, app_call *c);
void openai_models(app *a, app_call *c);
void openai_model(app *a, app_call *c);
void anthropic_messages(app *a, app_call *c);
void anthropic_count_tokens(app *a, app_call *c);
void ollama_generate(app *a, app_call *c);
void ollama_chat(app *a, app_call *c);
void ollama_embed(app *a, app_call *c);
void ollama_embeddings(app *a, app_call *c);
void ollama_pull(app *a, app_call *c);
void ollama_delete(app *a, app_call *c);
void ollama_copy(app *a, app_call *c);
void ollama_tags(app *a, app_call *c);
void ollama_ps(app *a, app_call *c);
void ollama_show(app *a, app_call *c);
void ollama_version(app *a, app_call *c);
void ollama_status(app *a, app_call *c);
void lmstudio_v0_models(app *a, app_call *c);
void lmstudio_v0_model(app *a, app_call *c);
void lmstudio_v1_models(app *a, app_call *c);
void lmstudio_v1_load(app *a, app_call *c);
void lmstudio_v1_unload(app *a, app_call *c);
void lmstudio_v1_chat(app *a, app_call *c);
void lmstudio_v1_download(app *a, app_call *c);
void lmstudio_v1_download_status(app *a, app_call *c);
void text_tokenize(app *a, app_call *c);
void text_detokenize(app *a, app_call *c);
void text_apply_template(app *a, app_call *c);
void status_health(app *a, app_call *c);
void status_metrics(app *a, app_call *c);
void status_openapi(app *a, app_call *c);
void page_get(app *a, app_call *c);
void page_markdown(app *a, app_call *c);
void page_models(app *a, app_call *c);
void page_pulls(app *a, app_call *c);
void page_pull_cancel(app *a, app_call *c);
void talks_list(app *a, app_call *c);
void talks_get(app *a, app_call *c);
void talks_put(app *a, app_call *c);
void talks_remove(app *a, app_call *c);
void admin_ps(app *a, app_call *c);
void admin_load(app *a, app_call *c);
void admin_unload(app *a, app_call *c);
void admin_stop(app *a, app_call *c);

#endif
