/* http_reply.c: reading a request's parts, and answers, whole or streamed. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "server/http.h"
#include "server/http_impl.h"

enum { STREAM_MOST = 1 << 20 }; /* unsent bytes of a stream before its handler has to wait */

/* ---- the request ---- */

static const char *find(const http_fields *f, const char *name)
{
    for (size_t i = 0; i < f->n; i++)
        if (strcasecmp(f->at[i].name, name) == 0)
            return f->at[i].value;
    return NULL;
}

const char *http_method(const http_request *r)
{
    return r->method;
}

const char *http_path(const http_request *r)
{
    return r->path;
}

const char *http_header(const http_request *r, const char *name)
{
    return find(&r->headers, name);
}

const char *http_query(const http_request *r, const char *name)
{
    return find(&r->queries, name);
}

nx_slice http_body(const http_request *r)
{
    return (nx_slice){nx_str_cstr(&r->body), r->body.len};
}

bool http_is_tls(const http_request *r)
{
    return r->tls;
}

nx_arena *http_arena(http_request *r)
{
    return &r->arena;
}

double http_started(const http_request *r)
{
    return r->started;
}

void http_set_note(http_request *r, const char *text)
{
    pthread_mutex_lock(&r->lock);
    if (r->connection) { /* afterwards it belongs to the log */
        nx_str_truncate(&r->note, 0);
        nx_str_puts(&r->note, text);
    }
    pthread_mutex_unlock(&r->lock);
}

const char *http_note(const http_request *r)
{
    return nx_str_cstr(&r->note);
}

bool http_gone(const http_request *r)
{
    return atomic_load(&r->gone);
}

void http_mark_gone(http_request *r)
{
    pthread_mutex_lock(&r->lock);
    atomic_store(&r->gone, true);
    if (r->on_gone) {
        r->on_gone(r->on_gone_arg);
        r->on_gone = NULL;
    }
    pthread_cond_broadcast(&r->drained);
    pthread_mutex_unlock(&r->lock);
}

void http_on_gone(http_request *r, void (*fn)(void *arg), void *arg)
{
    pthread_mutex_lock(&r->lock);
    r->on_gone = fn;
    r->on_gone_arg = arg;
    if (fn && atomic_load(&r->gone)) {
        fn(arg);
        r->on_gone = NULL;
    }
    pthread_mutex_unlock(&r->lock);
}

/* ---- the answer ---- */

/* With the lock held: the network thread looks at the request again. */
static void wake(http_request *r)
{
    if (r->suspended && r->connection) {
        r->suspended = false;
        MHD_resume_connection(r->connection);
    }
}

void http_set_header(http_request *r, const char *name, const char *value)
{
    nx_vec_push(&r->reply_headers, (http_field){nx_arena_strndup(&r->arena, name, strlen(name)),
                                                nx_arena_strndup(&r->arena, value, strlen(value))});
}

static void answer(http_request *r, int status, const char *type)
{
    NX_BUG_IF(r->status);
    r->status = status;
    r->type = type;
    r->state = HTTP_READY;
    wake(r);
}

void http_reply(http_request *r, int status, const char *type, const void *body, size_t n)
{
    pthread_mutex_lock(&r->lock);
    nx_str_add(&r->out, body, n);
    answer(r, status, type);
    pthread_mutex_unlock(&r->lock);
}

void http_reply_static(http_request *r, int status, const char *type, const void *body, size_t n)
{
    pthread_mutex_lock(&r->lock);
    r->fixed = body;
    r->fixed_size = n;
    answer(r, status, type);
    pthread_mutex_unlock(&r->lock);
}

void http_reply_json(http_request *r, int status, const json_t *body)
{
    char *text = json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(9) | JSON_ENCODE_ANY);
    if (!text)
        text = nx_strdup("{}");
    http_reply(r, status, "application/json", text, strlen(text));
    free(text);
}

int http_status(const http_request *r)
{
    http_request *m = (http_request *)(uintptr_t)r; /* the lock is not part of its value */
    pthread_mutex_lock(&m->lock);
    int status = r->status;
    pthread_mutex_unlock(&m->lock);
    return status;
}

bool http_answered(const http_request *r)
{
    return http_status(r) != 0;
}

/* ---- streams ---- */

void http_stream_begin(http_request *r, int status, const char *type)
{
    pthread_mutex_lock(&r->lock);
    r->streaming = true;
    answer(r, status, type);
    pthread_mutex_unlock(&r->lock);
}

bool http_streaming(const http_request *r)
{
    return r->streaming; /* set by the handler's own thread */
}

bool http_stream_write(http_request *r, const void *bytes, size_t n)
{
    pthread_mutex_lock(&r->lock);
    while (!atomic_load(&r->gone) && r->connection && r->out.len - r->sent > STREAM_MOST)
        pthread_cond_wait(&r->drained, &r->lock);
    bool here = !atomic_load(&r->gone) && r->connection;
    if (here) {
        nx_str_add(&r->out, bytes, n);
        wake(r);
    }
    pthread_mutex_unlock(&r->lock);
    return here;
}

void http_stream_end(http_request *r)
{
    pthread_mutex_lock(&r->lock);
    r->ended = true;
    wake(r);
    pthread_mutex_unlock(&r->lock);
}

/* Network thread. A reader that has nothing puts its connection to sleep; the next write wakes it. */
static ssize_t read_stream(void *cls, uint64_t pos, char *buffer, size_t most)
{
    http_request *r = cls;
    pthread_mutex_lock(&r->lock);
    size_t n = r->out.len - r->sent;
    ssize_t result;
    if (n > 0) {
        n = n < most ? n : most;
        memcpy(buffer, r->out.data + r->sent, n);
        r->sent += n;
        if (r->sent == r->out.len) {
            nx_str_truncate(&r->out, 0);
            r->sent = 0;
        }
        pthread_cond_broadcast(&r->drained);
        result = (ssize_t)n;
    } else if (r->ended) {
        result = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        r->suspended = true;
        MHD_suspend_connection(r->connection);
        result = 0;
    }
    pthread_mutex_unlock(&r->lock);
    return result;
}

static struct MHD_Response *make_response(http_request *r)
{
    if (r->streaming)
        return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, read_stream, r, NULL);
    if (r->fixed)
        return MHD_create_response_from_buffer(r->fixed_size, (void *)(uintptr_t)r->fixed,
                                               MHD_RESPMEM_PERSISTENT);
    size_t n = r->out.len;
    return MHD_create_response_from_buffer(n, nx_str_take(&r->out), MHD_RESPMEM_MUST_FREE);
}

enum MHD_Result http_queue_answer(http_request *r)
{
    pthread_mutex_lock(&r->lock);
    struct MHD_Response *response = make_response(r);
    r->state = HTTP_SENDING;
    pthread_mutex_unlock(&r->lock);
    if (!response)
        return MHD_NO;
    if (r->type)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, r->type);
    for (size_t i = 0; i < r->reply_headers.n; i++)
        MHD_add_response_header(response, r->reply_headers.at[i].name, r->reply_headers.at[i].value);
    enum MHD_Result ok = MHD_queue_response(r->connection, (unsigned)r->status, response);
    MHD_destroy_response(response);
    return ok;
}
