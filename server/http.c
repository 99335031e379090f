/* http.c: the daemon: connections, receiving a request, and the thread that handles it. */
#include "server/http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/os.h"
#include "server/http_impl.h"

enum {
    CONNECTION_MEMORY = 16 << 10, /* a connection's pool: headers must fit in it */
    HANDLER_STACK = 1 << 20,
};

/* ---- the request's life ---- */

static enum MHD_Result copy_field(http_request *r, http_fields *to, const char *name,
                                  const char *value)
{
    nx_vec_push(to, (http_field){nx_arena_strndup(&r->arena, name, strlen(name)),
                                 nx_arena_strndup(&r->arena, value ? value : "",
                                                  value ? strlen(value) : 0)});
    return MHD_YES;
}

static enum MHD_Result copy_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    http_request *r = cls;
    return copy_field(r, &r->headers, name, value);
}

static enum MHD_Result copy_query(void *cls, enum MHD_ValueKind kind, const char *name,
                                  const char *value)
{
    http_request *r = cls;
    return copy_field(r, &r->queries, name, value);
}

static http_conn *conn_of(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *i = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return i ? i->socket_context : NULL;
}

static http_request *request_new(http_server *s, struct MHD_Connection *c, const char *url,
                                 const char *method)
{
    http_request *r = nx_calloc(1, sizeof *r);
    r->server = s;
    r->connection = c;
    atomic_init(&r->refs, 1);
    atomic_init(&r->gone, false);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->drained, NULL);
    r->conn = conn_of(c);
    r->fd = r->conn ? r->conn->fd : -1;
    r->started = nx_os_seconds();
    r->tls = s->o.tls_cert != NULL;
    r->method = nx_arena_strndup(&r->arena, method, strlen(method));
    r->path = nx_arena_strndup(&r->arena, url, strlen(url));
    MHD_get_connection_values(c, MHD_HEADER_KIND, copy_header, r);
    MHD_get_connection_values(c, MHD_GET_ARGUMENT_KIND, copy_query, r);
    return r;
}

void http_request_unref(http_request *r)
{
    if (atomic_fetch_sub(&r->refs, 1) != 1)
        return;
    nx_vec_clear(&r->headers);
    nx_vec_clear(&r->queries);
    nx_vec_clear(&r->reply_headers);
    nx_str_clear(&r->body);
    nx_str_clear(&r->note);
    nx_str_clear(&r->out);
    nx_arena_clear(&r->arena);
    pthread_cond_destroy(&r->drained);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static void set_deadline(http_request *r, double seconds)
{
    if (!r->conn)
        return;
    pthread_mutex_lock(&r->server->lock);
    r->conn->deadline = seconds > 0 ? nx_os_seconds() + seconds : 0;
    pthread_mutex_unlock(&r->server->lock);
}

/* ---- the handler's thread ---- */

static void running_add(http_request *r)
{
    http_server *s = r->server;
    pthread_mutex_lock(&s->lock);
    r->next = s->running;
    r->link = &s->running;
    if (r->next)
        r->next->link = &r->next;
    s->running = r;
    s->n_running++;
    pthread_mutex_unlock(&s->lock);
}

static void running_remove(http_request *r)
{
    http_server *s = r->server;
    pthread_mutex_lock(&s->lock);
    *r->link = r->next;
    if (r->next)
        r->next->link = r->link;
    if (--s->n_running == 0)
        pthread_cond_broadcast(&s->idle);
    pthread_mutex_unlock(&s->lock);
}

static void *handler_main(void *arg)
{
    http_request *r = arg;
    http_server *s = r->server;
    s->o.handle(r, s->o.user);
    if (!http_answered(r)) {
        static const char none[] = "{\"error\":{\"message\":\"the request was not answered: this is a "
                                   "fault of the server\",\"type\":\"server_error\"}}";
        http_reply(r, 500, "application/json", none, sizeof none - 1);
    } else if (r->streaming && !r->ended) {
        http_stream_end(r);
    }
    http_on_gone(r, NULL, NULL);
    running_remove(r);
    http_request_unref(r);
    return NULL;
}

static bool start_handler(http_request *r)
{
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, HANDLER_STACK);
    bool ok = pthread_create(&thread, &attr, handler_main, r) == 0;
    pthread_attr_destroy(&attr);
    return ok;
}

/* ---- what libmicrohttpd calls, on its thread ---- */

static void busy(http_request *r)
{
    static const char text[] = "{\"error\":{\"message\":\"the server cannot start another thread: try "
                               "again later\",\"type\":\"server_error\"}}";
    http_reply(r, 503, "application/json", text, sizeof text - 1);
}

/* The request is whole: its connection sleeps while a thread handles it. */
static enum MHD_Result dispatch(http_request *r)
{
    set_deadline(r, 0);
    pthread_mutex_lock(&r->lock);
    r->state = HTTP_RUNNING;
    r->suspended = true;
    pthread_mutex_unlock(&r->lock);
    MHD_suspend_connection(r->connection);
    atomic_fetch_add(&r->refs, 1);
    running_add(r);
    if (!start_handler(r)) {
        busy(r);
        running_remove(r);
        http_request_unref(r);
    }
    return MHD_YES;
}

static void refuse_large(http_request *r)
{
    nx_str text = {0};
    nx_str_printf(&text, "{\"error\":{\"message\":\"the request is larger than the %zu bytes allowed\","
                         "\"type\":\"invalid_request_error\"}}", r->server->o.max_body);
    http_reply(r, 413, "application/json", nx_str_cstr(&text), text.len);
    nx_str_clear(&text);
}

static void check_headers(http_request *r)
{
    const http_options *o = &r->server->o;
    const char *length = http_header(r, "Content-Length");
    /* Taken in and dropped, so that the client gets to read the answer. */
    r->too_large = length && strtoull(length, NULL, 10) > o->max_body;
    if (o->check)
        o->check(r, o->user);
}

static void receive(http_request *r, const char *bytes, size_t n)
{
    r->too_large = r->too_large || r->body.len + n > r->server->o.max_body;
    if (r->too_large)
        nx_str_clear(&r->body);
    else
        nx_str_add(&r->body, bytes, n);
}

static http_state state_of(http_request *r)
{
    pthread_mutex_lock(&r->lock);
    http_state state = r->state;
    pthread_mutex_unlock(&r->lock);
    return state;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *bytes,
                                  size_t *n, void **slot)
{
    http_request *r = *slot;
    if (!r) {
        *slot = r = request_new(cls, c, url, method);
        set_deadline(r, r->server->o.receive_seconds);
        check_headers(r);
        return http_answered(r) ? http_queue_answer(r) : MHD_YES;
    }
    switch (state_of(r)) {
    case HTTP_RECEIVING:
        if (*n) {
            receive(r, bytes, *n);
            *n = 0;
            return MHD_YES;
        }
        if (!r->too_large)
            return dispatch(r);
        refuse_large(r);
        return http_queue_answer(r);
    case HTTP_READY:
        return http_queue_answer(r);
    default: /* resumed before there is an answer, or again: nothing to do */
        return MHD_YES;
    }
}

static void on_completed(void *cls, struct MHD_Connection *c, void **slot,
                         enum MHD_RequestTerminationCode how)
{
    http_request *r = *slot;
    if (!r)
        return;
    *slot = NULL;
    if (how != MHD_REQUEST_TERMINATED_COMPLETED_OK)
        http_mark_gone(r);
    set_deadline(r, r->server->o.idle_seconds);
    pthread_mutex_lock(&r->lock);
    r->connection = NULL;
    r->conn = NULL;
    pthread_cond_broadcast(&r->drained);
    pthread_mutex_unlock(&r->lock);
    if (r->server->o.finished)
        r->server->o.finished(r, r->server->o.user);
    http_request_unref(r);
}

static void on_connection(void *cls, struct MHD_Connection *c, void **slot,
                          enum MHD_ConnectionNotificationCode what)
{
    http_server *s = cls;
    pthread_mutex_lock(&s->lock);
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        http_conn *k = nx_calloc(1, sizeof *k);
        const union MHD_ConnectionInfo *i =
            MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
        k->fd = i ? i->connect_fd : -1;
        k->deadline = nx_os_seconds() + s->o.receive_seconds;
        k->next = s->conns;
        k->link = &s->conns;
        if (k->next)
            k->next->link = &k->next;
        s->conns = k;
        s->n_conns++;
        *slot = k;
    } else if (*slot) {
        http_conn *k = *slot;
        *k->link = k->next;
        if (k->next)
            k->next->link = k->link;
        s->n_conns--;
        free(k);
        *slot = NULL;
    }
    pthread_mutex_unlock(&s->lock);
}

static void on_log(void *cls, const char *fmt, va_list ap)
{
    if (!nx_log_on(NX_LOG_DEBUG))
        return;
    nx_str line = {0};
    nx_str_vprintf(&line, fmt, ap);
    while (line.len && line.data[line.len - 1] == '\n')
        nx_str_truncate(&line, line.len - 1);
    nx_debug("http: %s", nx_str_cstr(&line));
    nx_str_clear(&line);
}

/* ---- the server ---- */

static bool start_daemon(http_server *s)
{
    const http_options *o = &s->o;
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO | MHD_ALLOW_SUSPEND_RESUME |
                     MHD_USE_ERROR_LOG;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)o->tls_cert},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)o->tls_key},
        {MHD_OPTION_END, 0, NULL},
    };
    if (o->tls_cert)
        flags |= MHD_USE_TLS;
    else
        tls[0] = tls[2];
    s->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, s->listener, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY, MHD_OPTION_CONNECTION_LIMIT, (unsigned)o->max_connections,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)o->idle_seconds, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, s, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_ARRAY, tls,
        MHD_OPTION_END);
    return s->daemon != NULL;
}

static void server_free(http_server *s)
{
    if (s->listener >= 0)
        close(s->listener);
    if (s->unix_path)
        unlink(s->unix_path);
    free(s->unix_path);
    free(s->url);
    pthread_cond_destroy(&s->idle);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static bool start_all(http_server *s)
{
    if (!http_listen(s))
        return false;
    if (!start_daemon(s))
        return nx_fail(s->o.tls_cert ? "the server does not start: is the TLS certificate a PEM file, "
                                       "and the key its own?"
                                     : "the server does not start: %s", strerror(errno));
    if (http_watch_start(s))
        return true;
    MHD_stop_daemon(s->daemon);
    s->listener = -1;
    return nx_fail("the server cannot start its watching thread");
}

bool http_server_start(const http_options *o, http_server **out)
{
    http_server *s = *out = nx_calloc(1, sizeof *s);
    s->o = *o;
    s->listener = -1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->idle, NULL);
    if (start_all(s))
        return true;
    *out = NULL;
    server_free(s);
    return false;
}

const char *http_server_url(const http_server *s)
{
    return s->url;
}

int http_server_port(const http_server *s)
{
    return s->port;
}

static int read_locked(const http_server *s, const int *value)
{
    http_server *m = (http_server *)(uintptr_t)s; /* the lock is not part of its value */
    pthread_mutex_lock(&m->lock);
    int n = *value;
    pthread_mutex_unlock(&m->lock);
    return n;
}

int http_server_active(const http_server *s)
{
    return read_locked(s, &s->n_running);
}

int http_server_connections(const http_server *s)
{
    return read_locked(s, &s->n_conns);
}

/* Waits until nothing runs, at most `seconds`. Called with the lock held. */
static bool wait_idle(http_server *s, double seconds)
{
    double end = nx_os_seconds() + seconds, left;
    while (s->n_running > 0 && (left = end - nx_os_seconds()) > 0)
        nx_os_wait(&s->idle, &s->lock, left);
    return s->n_running == 0;
}

void http_server_quiesce(http_server *s)
{
    if (!s->quiet)
        s->quiet = MHD_quiesce_daemon(s->daemon) != MHD_INVALID_SOCKET;
}

void http_server_stop(http_server *s, double grace)
{
    if (!s)
        return;
    http_server_quiesce(s);
    pthread_mutex_lock(&s->lock);
    if (!wait_idle(s, grace)) {
        s->stopping = true; /* the watcher cancels them */
        wait_idle(s, 1e6);
    }
    pthread_mutex_unlock(&s->lock);
    http_watch_stop(s);
    MHD_stop_daemon(s->daemon);
    if (!s->quiet)
        s->listener = -1; /* closed with the daemon */
    server_free(s);
}
