/*
 * guard.c: who may call: the Host and Origin a browser sends, and the key.
 *
 * Without a key the server answers only requests that name it as this machine: a page of a stranger
 * that had its name point here (DNS rebinding) sends that name as Host. A page of another site
 * sends its Origin, which must be this server's own or on the list.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "server/app.h"

/* The host of "host:port", "[v6]:port"; its length. */
static size_t host_length(const char *h)
{
    if (*h == '[') {
        const char *end = strchr(h, ']');
        return end ? (size_t)(end - h) + 1 : strlen(h);
    }
    return strcspn(h, ":");
}

static bool is_host(const char *given, const char *name)
{
    size_t n = host_length(given);
    return n == strlen(name) && strncasecmp(given, name, n) == 0;
}

static bool host_is_ours(const app *a, const char *given)
{
    static const char *const local[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; i < sizeof local / sizeof *local; i++)
        if (is_host(given, local[i]))
            return true;
    return is_host(given, a->o.host);
}

/* "http://HOST" of the same host and port as the request went to. */
static bool origin_is_same(const http_request *r, const char *origin)
{
    const char *to = http_header(r, "Host"), *at = strstr(origin, "://");
    return to && at && strcasecmp(at + 3, to) == 0;
}

static bool origin_is_listed(const app *a, const char *origin)
{
    for (size_t i = 0; i < a->o.n_origins; i++)
        if (strcmp(a->o.origins[i], "*") == 0 || strcasecmp(a->o.origins[i], origin) == 0)
            return true;
    return false;
}

/* The same time whatever the texts have in common. */
static bool same_key(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    unsigned char differ = n != m;
    for (size_t i = 0; i < n; i++)
        differ |= (unsigned char)a[i] ^ (unsigned char)(i < m ? b[i] : 0);
    return differ == 0;
}

static const char *given_key(const http_request *r)
{
    const char *bearer = http_header(r, "Authorization"), *key = http_header(r, "x-api-key");
    if (bearer && strncasecmp(bearer, "Bearer ", 7) == 0)
        return bearer + 7;
    return key;
}

static void allow_origin(http_request *r, const char *origin)
{
    http_set_header(r, "Access-Control-Allow-Origin", origin);
    http_set_header(r, "Vary", "Origin");
    if (strcmp(http_method(r), "OPTIONS") == 0) {
        http_set_header(r, "Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, OPTIONS");
        http_set_header(r, "Access-Control-Allow-Headers",
                        "Authorization, Content-Type, x-api-key, anthropic-version, anthropic-beta");
        http_set_header(r, "Access-Control-Max-Age", "600");
    }
}

void app_check(http_request *r, void *user)
{
    app *a = user;
    const char *to = http_header(r, "Host"), *origin = http_header(r, "Origin");
    bool socket = strncmp(a->o.host, "unix:", 5) == 0;
    http_set_header(r, "X-Content-Type-Options", "nosniff");
    if (!a->key && !socket && (!to || !host_is_ours(a, to))) {
        app_fail(r, 403, NULL, "this server answers to its own address alone, not to '%s'",
                 to ? to : "");
        return;
    }
    if (origin && !origin_is_same(r, origin)) {
        if (!origin_is_listed(a, origin)) {
            app_fail(r, 403, NULL, "pages of %s may not call this server: start it with --cors %s if "
                     "they should", origin, origin);
            return;
        }
        allow_origin(r, origin);
        if (strcmp(http_method(r), "OPTIONS") == 0)
            return;
    }
    if (a->key && !app_route_is_open(http_method(r), http_path(r))) {
        const char *key = given_key(r);
        if (!key || !same_key(a->key, key)) {
            http_set_header(r, "WWW-Authenticate", "Bearer");
            app_fail(r, 401, NULL, key ? "the API key is not this server's"
                                       : "an API key is needed: Authorization: Bearer KEY");
        }
    }
}
