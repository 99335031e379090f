/*
 * http.h: a GET over HTTP, through libcurl, which is loaded when it is first needed: nothing else in
 * the library touches the network.
 */
#ifndef NX_RUNTIME_CATALOG_HTTP_H
#define NX_RUNTIME_CATALOG_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* What the last answer's head said (of the last, after redirections). */
typedef struct {
    long status;
    int64_t length;                                /* of the body; -1: not told */
    int64_t range_begin, range_end, range_total;   /* of a part; -1: not told */
    double retry_after;                            /* seconds; -1: not told */
    char error_code[64], error_message[256];       /* the hub's own words */
} http_head;

typedef struct {
    const char *url;
    const char *bearer;  /* sent to the first host alone; may be NULL */
    bool ranged;         /* ask for bytes from .. to (inclusive) */
    uint64_t from, to;
    double patience;     /* seconds without a byte, or to connect, before it fails */
    /* Pieces of a good answer's body (status 2xx). False stops. */
    bool (*sink)(const http_head *head, const char *bytes, size_t n, void *user);
    bool (*go_on)(void *user); /* asked now and then; false stops. May be NULL */
    void *user;
} http_request;

/* True when there was an answer, whatever its status. False with an error: no connection, cut off,
 * or stopped (*stopped tells). */
bool http_get(const http_request *r, http_head *head, bool *stopped);

/* The whole body (at most `most` bytes) of a good answer, else an error. patience in seconds. */
bool http_text(const char *url, const char *bearer, double patience, size_t most, nx_str *out,
               http_head *head);

/* Appends text with what a path may not hold percent-encoded ('/' is kept). */
void http_put_path(nx_str *out, const char *text);

#endif
