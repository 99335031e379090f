/*
 * http.h: HTTP for handlers that may take their time: each request runs on a thread of its own.
 *
 * The network side (libmicrohttpd) reads a request whole, within limits of size and time, then calls
 * `handle` on a new thread. The handler answers at once (http_reply…) or piece by piece
 * (http_stream_…); a client that leaves is noticed within a tenth of a second, and the handler's
 * on_gone hook is called so that work for nobody ends.
 *
 * A request belongs to the network side and its handler together; a handler must not touch it after
 * it returns. Strings that accessors give live as long as the request.
 */
#ifndef NX_SERVER_HTTP_H
#define NX_SERVER_HTTP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/slice.h"
#include "base/str.h"

typedef struct http_server http_server;
typedef struct http_request http_request;

typedef struct {
    const char *host; /* an address, "localhost", or "unix:PATH" */
    int port;         /* 0: any free one */
    const char *tls_cert, *tls_key; /* PEM texts, or NULL */
    size_t max_body;                /* bytes; more is answered with 413 */
    int max_connections;
    double receive_seconds; /* a request must have arrived whole within this */
    double idle_seconds;    /* a connection may be silent this long */
    /* Called as soon as the headers are there, on the network thread: quick checks that need no
     * body. An answer given here ends the request. May be NULL. */
    void (*check)(http_request *r, void *user);
    void (*handle)(http_request *r, void *user);
    void (*finished)(http_request *r, void *user); /* after the last byte: for the log. May be NULL */
    void *user;
} http_options;

/* False with a message (the address is taken, not ours, or makes no sense), and *out is NULL. It is set
 * before the first request comes, which another thread may answer while this still runs. */
bool http_server_start(const http_options *o, http_server **out);
/* The address as a URL, "http://127.0.0.1:8642". */
const char *http_server_url(const http_server *s);
int http_server_port(const http_server *s);
/* Accepts no new connection. */
void http_server_quiesce(http_server *s);
/* The same; gives running requests `grace` seconds, then cancels them, and frees. */
void http_server_stop(http_server *s, double grace);
int http_server_active(const http_server *s);      /* requests being handled */
int http_server_connections(const http_server *s); /* open ones */

/* ---- the request ---- */

const char *http_method(const http_request *r);
const char *http_path(const http_request *r); /* decoded, without the query */
const char *http_header(const http_request *r, const char *name); /* NULL: not sent */
const char *http_query(const http_request *r, const char *name);  /* NULL: not there */
nx_slice http_body(const http_request *r);
bool http_is_tls(const http_request *r);
nx_arena *http_arena(http_request *r); /* freed with the request */
double http_started(const http_request *r);
/* A line about the request for its log; "" at first. */
void http_set_note(http_request *r, const char *text);
const char *http_note(const http_request *r);

/* True once the client has left or the server stops. */
bool http_gone(const http_request *r);
/* Calls fn(arg), once, as soon as the client has left (at once if it has), on any thread.
 * NULL: no longer wanted; after this returns fn is not running. */
void http_on_gone(http_request *r, void (*fn)(void *arg), void *arg);

/* ---- the answer: exactly one of reply and stream ---- */

void http_set_header(http_request *r, const char *name, const char *value); /* before the answer */
void http_reply(http_request *r, int status, const char *type, const void *body, size_t n);
/* The same for bytes that live as long as the program. */
void http_reply_static(http_request *r, int status, const char *type, const void *body, size_t n);
void http_reply_json(http_request *r, int status, const json_t *body);
bool http_answered(const http_request *r);
int http_status(const http_request *r); /* 0: none yet */

void http_stream_begin(http_request *r, int status, const char *type);
bool http_streaming(const http_request *r); /* a stream has begun */
/* False once the client has left. Waits while too much is unsent. */
bool http_stream_write(http_request *r, const void *bytes, size_t n);
void http_stream_end(http_request *r);

#endif
