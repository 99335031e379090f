/* http_impl.h: what http.c, http_reply.c and http_watch.c share. */
#ifndef NX_SERVER_HTTP_IMPL_H
#define NX_SERVER_HTTP_IMPL_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/vec.h"
#include "server/http.h"

/* One open connection, for the deadlines. */
typedef struct http_conn {
    struct http_conn *next, **link;
    int fd;
    double deadline; /* seconds; 0: none, a handler has it */
} http_conn;

typedef struct {
    const char *name, *value;
} http_field;

typedef NX_VEC(http_field) http_fields;

/* How the network side and the handler's thread hand a request over. */
typedef enum {
    HTTP_RECEIVING, /* the network side reads it */
    HTTP_RUNNING,   /* the handler has it; the connection is suspended */
    HTTP_READY,     /* an answer is there and not yet queued */
    HTTP_SENDING,   /* the answer is queued */
} http_state;

struct http_request {
    http_server *server;
    _Atomic int refs; /* the network side, and the handler */
    struct http_request *next, **link; /* of the server's running ones */
    struct MHD_Connection *connection;
    http_conn *conn;
    int fd;
    nx_arena arena;
    http_fields headers, queries, reply_headers;
    const char *method, *path;
    nx_str body, note;
    bool tls, too_large;
    double started;

    pthread_mutex_t lock; /* what follows */
    pthread_cond_t drained;
    http_state state;
    bool suspended, streaming, ended;
    atomic_bool gone;
    void (*on_gone)(void *arg);
    void *on_gone_arg;
    int status;
    const char *type;
    nx_str out;  /* the body, or what of a stream is unsent */
    size_t sent; /* of out */
    const void *fixed; /* instead of out */
    size_t fixed_size;
};

struct http_server {
    http_options o;
    struct MHD_Daemon *daemon;
    int listener, port;
    bool quiet; /* the listener is ours to close: the daemon has let go of it */
    char *url, *unix_path;
    pthread_mutex_t lock; /* conns, running */
    pthread_cond_t idle;  /* nothing runs any more */
    http_conn *conns;
    http_request *running;
    int n_conns, n_running;
    bool stopping;
    pthread_t watcher;
    bool watching;
};

/* Opens the listening socket: fills listener, port, url, unix_path. */
bool http_listen(http_server *s);

/* The watcher: deadlines, and clients that leave while their request runs. */
bool http_watch_start(http_server *s);
void http_watch_stop(http_server *s);

/* Marks a request as abandoned and calls its hook. */
void http_mark_gone(http_request *r);

/* Network thread: queues the answer that is ready. */
enum MHD_Result http_queue_answer(http_request *r);

void http_request_unref(http_request *r);

#endif
