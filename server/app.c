/* app.c: from a request to its handler; errors, events and ids in the forms of the interfaces. */
#include "server/app.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/os.h"

/* ---- errors ---- */

typedef enum { STYLE_OPENAI, STYLE_ANTHROPIC, STYLE_OLLAMA, STYLE_LMSTUDIO } error_style;

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static error_style style_of(const char *path)
{
    if (begins(path, "/v1/messages"))
        return STYLE_ANTHROPIC;
    if (begins(path, "/api/v1/"))
        return STYLE_LMSTUDIO;
    return begins(path, "/api/") && !begins(path, "/api/v0/") ? STYLE_OLLAMA : STYLE_OPENAI;
}

/* The names of kinds of errors, as OpenAI and Anthropic have them. */
static const char *error_type(int status, bool anthropic)
{
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return anthropic ? "request_too_large" : "invalid_request_error";
    case 429: return "rate_limit_error";
    case 503: return anthropic ? "overloaded_error" : "server_error";
    default: break;
    }
    return status < 500 ? "invalid_request_error" : anthropic ? "api_error" : "server_error";
}

static json_t *text_or_null(const char *text)
{
    return text ? json_string(text) : json_null();
}

/* The error object in the form of the request's interface. New reference. */
static json_t *error_json(const http_request *r, int status, const char *param, const char *message)
{
    switch (style_of(http_path(r))) {
    case STYLE_ANTHROPIC:
        return json_pack("{s:s, s:{s:s, s:s}}", "type", "error", "error", "type",
                         error_type(status, true), "message", message);
    case STYLE_OLLAMA: return json_pack("{s:s}", "error", message);
    default: break;
    }
    return json_pack("{s:{s:s, s:s, s:o, s:i}}", "error", "message", message, "type",
                     error_type(status, false), "param", text_or_null(param), "code", status);
}

const char *app_error_schema(const char *path)
{
    switch (style_of(path)) {
    case STYLE_ANTHROPIC: return "AnthropicError";
    case STYLE_OLLAMA: return "OllamaError";
    default: return "Error";
    }
}

/* The last event of a stream that cannot go on. */
static void fail_stream(http_request *r, json_t *body)
{
    switch (style_of(http_path(r))) {
    case STYLE_OLLAMA: app_line(r, body); break;
    case STYLE_LMSTUDIO: json_object_set_new(body, "type", json_string("error")); /* fall through */
    case STYLE_ANTHROPIC: app_event(r, "error", body); break;
    default: app_event(r, NULL, body);
    }
    http_stream_end(r);
}

void app_fail(http_request *r, int status, const char *param, const char *fmt, ...)
{
    nx_str text = {0};
    va_list ap;
    va_start(ap, fmt);
    nx_str_vprintf(&text, fmt, ap);
    va_end(ap);
    json_t *body = error_json(r, status, param, nx_str_cstr(&text));
    if (!body)
        body = error_json(r, status, NULL, "the request is not valid");
    app_note(r, "%s", nx_str_cstr(&text));
    if (http_streaming(r)) {
        fail_stream(r, body);
    } else {
        if (status == 503)
            http_set_header(r, "Retry-After", "5");
        http_reply_json(r, status, body);
    }
    json_decref(body);
    nx_str_clear(&text);
}

void app_fail_fields(http_request *r, const fields *f)
{
    app_fail(r, 400, f->key, "%s", f->fault);
}

void app_warn_unknown(http_request *r, json_t *body, json_t *unknown)
{
    if (!unknown)
        return;
    json_t *list = json_array(), *each;
    nx_str names = {0};
    size_t i;
    json_array_foreach(unknown, i, each) {
        nx_str line = {0};
        nx_str_printf(&line, "the field '%s' is not known here and was ignored", json_string_value(each));
        json_array_append_new(list, json_string(nx_str_cstr(&line)));
        nx_str_printf(&names, "%s%s", i ? ", " : "", json_string_value(each));
        nx_str_clear(&line);
    }
    for (size_t k = 0; k < names.len; k++) /* a header holds printable ASCII alone */
        if (names.data[k] < 32 || names.data[k] > 126)
            names.data[k] = '?';
    nx_str_truncate(&names, names.len < 512 ? names.len : 512);
    if (!http_answered(r))
        http_set_header(r, "X-Nexus-Ignored", nx_str_cstr(&names));
    if (body)
        json_object_set(body, "warnings", list);
    nx_str_clear(&names);
    json_decref(list);
}

/* ---- ids, times, events ---- */

const char *app_id(http_request *r, const char *prefix)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    unsigned char bytes[24];
    char text[80];
    if (getentropy(bytes, sizeof bytes) != 0)
        memset(bytes, 0, sizeof bytes);
    size_t n = (size_t)snprintf(text, sizeof text - sizeof bytes - 1, "%s", prefix);
    for (size_t i = 0; i < sizeof bytes; i++)
        text[n++] = alphabet[bytes[i] % (sizeof alphabet - 1)];
    return nx_arena_strndup(http_arena(r), text, n);
}

int64_t app_now(void)
{
    return nx_os_wall_ms() / 1000;
}

const char *app_iso_time(http_request *r, int64_t seconds)
{
    time_t t = (time_t)seconds;
    struct tm tm;
    char text[64];
    gmtime_r(&t, &tm);
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S.000000Z", &tm);
    return nx_arena_strndup(http_arena(r), text, n);
}

static bool send_json(http_request *r, const char *before, const json_t *data, const char *after)
{
    nx_str line = {0};
    char *text = json_dumps(data, JSON_COMPACT | JSON_REAL_PRECISION(9));
    nx_str_puts(&line, before);
    nx_str_puts(&line, text ? text : "{}");
    nx_str_puts(&line, after);
    bool here = http_stream_write(r, line.data, line.len);
    free(text);
    nx_str_clear(&line);
    return here;
}

void app_stream_begin(http_request *r, const char *type, json_t *unknown)
{
    app_warn_unknown(r, NULL, unknown);
    http_set_header(r, "Cache-Control", "no-cache");
    http_stream_begin(r, 200, type);
}

bool app_event(http_request *r, const char *event, const json_t *data)
{
    nx_str before = {0};
    if (event)
        nx_str_printf(&before, "event: %s\n", event);
    nx_str_puts(&before, "data: ");
    bool here = send_json(r, nx_str_cstr(&before), data, "\n\n");
    nx_str_clear(&before);
    return here;
}

bool app_line(http_request *r, const json_t *data)
{
    return send_json(r, "", data, "\n");
}

/* ---- figures and the log ---- */

void app_count(app *a, const nexus_stats *s)
{
    app_metrics *m = &a->metrics;
    pthread_mutex_lock(&m->lock);
    m->generations++;
    m->prompt_tokens += s->prompt_tokens;
    m->cached_tokens += s->cached_tokens;
    m->generated_tokens += s->generated_tokens;
    m->drafted_tokens += s->drafted_tokens;
    m->accepted_tokens += s->accepted_tokens;
    m->prefill_seconds += s->prefill_seconds;
    m->decode_seconds += s->decode_seconds;
    pthread_mutex_unlock(&m->lock);
}

void app_count_token(app *a)
{
    app_metrics *m = &a->metrics;
    int64_t now = app_now();
    size_t slot = (size_t)(now % 64);
    pthread_mutex_lock(&m->lock);
    if (m->second_at[slot] != now) {
        m->second_at[slot] = now;
        m->second_tokens[slot] = 0;
    }
    m->second_tokens[slot]++;
    pthread_mutex_unlock(&m->lock);
}

void app_note(http_request *r, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 32 || *c == 127)
            *c = ' ';
    http_set_note(r, text);
}

void app_finished(http_request *r, void *user)
{
    app *a = user;
    int status = http_status(r);
    pthread_mutex_lock(&a->metrics.lock);
    a->metrics.requests++;
    a->metrics.failed += status >= 400;
    pthread_mutex_unlock(&a->metrics.lock);
    time_t now = time(NULL);
    struct tm tm;
    char clock[16];
    localtime_r(&now, &tm);
    strftime(clock, sizeof clock, "%H:%M:%S", &tm);
    const char *note = http_note(r);
    fprintf(stderr, "%s %s %s %d %.2fs%s%s\n", clock, http_method(r), http_path(r), status,
            nx_os_seconds() - http_started(r), *note ? "  " : "", note);
}

/* ---- finding the handler ---- */

static bool path_matches(const app_route *route, const char *path, const char **rest)
{
    size_t n = strlen(route->path);
    if (route->path[n - 1] == '*' && strncmp(path, route->path, n - 1) == 0 && path[n - 1]) {
        *rest = path + n - 1;
        return true;
    }
    *rest = "";
    return strcmp(path, route->path) == 0;
}

static const app_route *find_route(const char *method, const char *path, const char **rest, bool *other)
{
    const app_route *found = NULL;
    *other = false;
    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    for (const app_route *t = app_routes; t->method && !found; t++)
        if (path_matches(t, path, rest)) {
            if (strcmp(method, t->method) == 0)
                found = t;
            else
                *other = true;
        }
    return found;
}

/* "GET, HEAD, POST": what is possible on a path. */
static void allow_methods(http_request *r)
{
    const char *rest;
    nx_str list = {0};
    for (const app_route *t = app_routes; t->method; t++)
        if (path_matches(t, http_path(r), &rest))
            nx_str_printf(&list, "%s%s%s", list.len ? ", " : "", t->method,
                          strcmp(t->method, "GET") == 0 ? ", HEAD" : "");
    http_set_header(r, "Allow", nx_str_cstr(&list));
    nx_str_clear(&list);
}

bool app_route_is_open(const char *method, const char *path)
{
    const char *rest;
    bool other;
    const app_route *t = find_route(method, path, &rest, &other);
    return !t || t->open;
}

/* Depth is held by jansson itself (2048); a body of one request is not worth more. */
static json_t *parse_body(http_request *r)
{
    nx_slice b = http_body(r);
    json_error_t e;
    json_t *o = json_loadb(b.data, b.len, JSON_REJECT_DUPLICATES, &e);
    if (!o && b.len == 0)
        app_fail(r, 400, NULL, "the request has no body: a JSON object is needed");
    else if (!o)
        app_fail(r, 400, NULL, "the body is no JSON: %s, at line %d, column %d", e.text, e.line, e.column);
    else if (!json_is_object(o))
        app_fail(r, 400, NULL, "the body must be a JSON object");
    if (o && !json_is_object(o)) {
        json_decref(o);
        o = NULL;
    }
    return o;
}

void app_handle(http_request *r, void *user)
{
    const char *rest;
    bool other;
    const app_route *t = find_route(http_method(r), http_path(r), &rest, &other);
    if (!t && strcmp(http_method(r), "OPTIONS") == 0) {
        http_reply(r, 204, NULL, "", 0); /* what CORS allows was said by app_check */
        return;
    }
    if (!t) {
        if (other)
            allow_methods(r);
        app_fail(r, other ? 405 : 404, NULL, other ? "%s is not possible on %s" :
                 "there is nothing for %s at %s (see /openapi.json)", http_method(r), http_path(r));
        return;
    }
    app_call c = {.r = r, .rest = rest};
    if (t->fields && !(c.body = parse_body(r)))
        return;
    t->run(user, &c);
    json_decref(c.body);
}
