/*
 * Any bytes as the body of a request, to each interface by turns (the first byte says which): a
 * server without a network and without models, so that every body ends with an answer that is no
 * success, and all that a request may hold was read on the way. links: server
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "fuzz/fuzz.h"
#include "server/app.h"
#include "server/kept.h"

/* ---- a request that only remembers ---- */

struct http_request {
    const char *path;
    nx_slice body;
    nx_arena arena;
    int status;
    bool streaming, ended;
    size_t answers;
};

const char *http_method(const http_request *r)
{
    return "POST";
}

const char *http_path(const http_request *r)
{
    return r->path;
}

const char *http_header(const http_request *r, const char *name)
{
    return NULL;
}

const char *http_query(const http_request *r, const char *name)
{
    return NULL;
}

nx_slice http_body(const http_request *r)
{
    return r->body;
}

bool http_is_tls(const http_request *r)
{
    return false;
}

nx_arena *http_arena(http_request *r)
{
    return &r->arena;
}

double http_started(const http_request *r)
{
    return 0;
}

void http_set_note(http_request *r, const char *text)
{
    fuzz_touch(text, strlen(text));
}

const char *http_note(const http_request *r)
{
    return "";
}

bool http_gone(const http_request *r)
{
    return false;
}

void http_on_gone(http_request *r, void (*fn)(void *arg), void *arg)
{
}

void http_set_header(http_request *r, const char *name, const char *value)
{
    FUZZ_CHECK(!r->status);
    for (const char *c = value; *c; c++) /* what a client sent cannot begin another header */
        FUZZ_CHECK(*c != '\r' && *c != '\n');
}

void http_reply(http_request *r, int status, const char *type, const void *body, size_t n)
{
    FUZZ_CHECK(!r->streaming && r->answers == 0);
    fuzz_touch(body, n);
    r->status = status;
    r->answers++;
}

void http_reply_static(http_request *r, int status, const char *type, const void *body, size_t n)
{
    http_reply(r, status, type, body, n);
}

void http_reply_json(http_request *r, int status, const json_t *body)
{
    char *text = json_dumps(body, JSON_COMPACT);
    FUZZ_CHECK(text);
    http_reply(r, status, "application/json", text, strlen(text));
    free(text);
}

bool http_answered(const http_request *r)
{
    return r->status != 0;
}

int http_status(const http_request *r)
{
    return r->status;
}

void http_stream_begin(http_request *r, int status, const char *type)
{
    FUZZ_CHECK(!r->status);
    r->status = status;
    r->streaming = true;
}

bool http_streaming(const http_request *r)
{
    return r->streaming;
}

bool http_stream_write(http_request *r, const void *bytes, size_t n)
{
    FUZZ_CHECK(r->streaming && !r->ended);
    fuzz_touch(bytes, n);
    return true;
}

void http_stream_end(http_request *r)
{
    r->ended = true;
}

bool http_server_start(const http_options *o, http_server **out)
{
    return false;
}

const char *http_server_url(const http_server *s)
{
    return "";
}

int http_server_port(const http_server *s)
{
    return 0;
}

void http_server_quiesce(http_server *s)
{
}

void http_server_stop(http_server *s, double grace)
{
}

int http_server_active(const http_server *s)
{
    return 0;
}

int http_server_connections(const http_server *s)
{
    return 0;
}

/* ---- the server ---- */

static const char *const paths[] = {
    "/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/messages/count_tokens",
    "/v1/responses", "/v1/embeddings", "/v1/rerank", "/api/chat", "/api/generate", "/api/embed",
    "/api/show", "/api/v0/chat/completions", "/api/v1/chat", "/tokenize", "/detokenize",
    "/apply-template",
};

static app *server(void)
{
    static app a;
    if (!a.host) {
        static const char *const homes[] = {"HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME",
                                            "HF_HOME", "HF_HUB_CACHE", "OLLAMA_MODELS", "LMSTUDIO_HOME"};
        for (size_t i = 0; i < sizeof homes / sizeof *homes; i++)
            setenv(homes[i], "/nonexistent/nowhere", 1);
        a.host = host_new(&(host_options){.lanes = 1});
        a.o.host = "127.0.0.1";
        a.o.offline = true;
        a.kept = kept_new();
        pthread_mutex_init(&a.metrics.lock, NULL);
        pthread_mutex_init(&a.talks_lock, NULL);
    }
    FUZZ_CHECK(a.host);
    return &a;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    app *a = server();
    http_request r = {.path = paths[data[0] % (sizeof paths / sizeof *paths)],
                      .body = {(const char *)data + 1, size - 1}};
    app_handle(&r, a);
    FUZZ_CHECK(r.answers + r.streaming == 1);
    FUZZ_CHECK(r.status >= 200 && r.status < 600 && r.status != 500);
    nx_arena_clear(&r.arena);
    return 0;
}
