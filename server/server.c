/* server.c: starts the parts, waits for the end, and takes them down in order. */
#include "server/server.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/os.h"
#include "server/app.h"
#include "server/conversations.h"
#include "server/downloads.h"
#include "server/kept.h"

enum { BODY_MOST = 32 << 20, CONNECTIONS_MOST = 4096, FILES_BESIDE = 256, KEY_LEAST = 16, PEM_MOST = 1 << 20 };
static const double RECEIVE_SECONDS = 60, IDLE_SECONDS = 120, GRACE_SECONDS = 20;

static int wake[2] = {-1, -1}; /* a pipe: a byte for each request to end */

void server_stop(void)
{
    int before = errno;
    if (wake[1] >= 0 && write(wake[1], "x", 1) < 0) {
        /* the pipe is full of requests to end: one more changes nothing */
    }
    errno = before;
}

static bool is_loopback(const char *at)
{
    return strcmp(at, "localhost") == 0 || strncmp(at, "127.", 4) == 0 || strcmp(at, "::1") == 0 ||
           strncmp(at, "unix:", 5) == 0;
}

/* The key is the file's first line. */
static bool read_key(app *a)
{
    if (!a->o.key_file)
        return is_loopback(a->o.host) ||
               nx_fail("the server would answer other machines at %s: give it a key with "
                       "--api-key-file FILE, or let it listen on 127.0.0.1", a->o.host);
    nx_str text = {0};
    if (!nx_os_read_file(a->o.key_file, &text, 4096)) {
        nx_str_clear(&text);
        return false;
    }
    nx_str_truncate(&text, strcspn(nx_str_cstr(&text), "\r\n"));
    bool long_enough = text.len >= KEY_LEAST;
    if (long_enough)
        a->key = nx_str_take(&text);
    nx_str_clear(&text);
    return long_enough || nx_fail("%s must hold a key of at least %d characters in its first line",
                                  a->o.key_file, KEY_LEAST);
}

static bool read_pem(const char *path, char **out)
{
    nx_str text = {0};
    if (!path)
        return true;
    bool ok = nx_os_read_file(path, &text, PEM_MOST);
    if (ok)
        *out = nx_str_take(&text);
    nx_str_clear(&text);
    return ok;
}

/* Folders that may vanish later are worth a warning then; one that is not there now is a slip. */
static bool check_folders(const server_options *o)
{
    for (size_t i = 0; i < o->n_folders; i++)
        if (!nx_os_is_dir(o->folders[i]))
            return nx_fail("--models %s: there is no such folder", o->folders[i]);
    return true;
}

static bool start_http(app *a)
{
    nx_os_allow_files(CONNECTIONS_MOST + FILES_BESIDE);
    char *cert = NULL, *key = NULL;
    bool ok = !a->o.tls_cert == !a->o.tls_key ||
              nx_fail("--tls-cert and --tls-key belong together: one is missing");
    ok = ok && read_pem(a->o.tls_cert, &cert) && read_pem(a->o.tls_key, &key);
    http_options h = {.host = a->o.host, .port = a->o.port, .tls_cert = cert, .tls_key = key,
                      .max_body = BODY_MOST, .max_connections = CONNECTIONS_MOST,
                      .receive_seconds = RECEIVE_SECONDS, .idle_seconds = IDLE_SECONDS,
                      .check = app_check, .handle = app_handle, .finished = app_finished, .user = a};
    ok = ok && http_server_start(&h, &a->http);
    free(cert);
    free(key);
    return ok;
}

/* The model of --model is there before the first request needs it. */
static bool preload(app *a)
{
    host_model *m;
    if (!a->o.model)
        return true;
    if (host_acquire(a->host, a->o.model, -1, 0, &m))
        return false;
    host_release(m);
    return true;
}

static bool start(app *a)
{
    const server_options *o = &a->o;
    host_options h = {.folders = o->folders, .n_folders = o->n_folders, .model = o->model,
                      .context = o->context, .lanes = o->lanes, .threads = o->threads, .ttl = o->ttl,
                      .force = o->force, .quantize = o->quantize, .draft = o->draft, .cache_type = o->cache_type};
    a->host = check_folders(o) && read_key(a) ? host_new(&h) : NULL;
    if (a->host)
        a->downloads = downloads_new(a->host);
    return a->host && preload(a) && start_http(a);
}

static void wait_for_end(void)
{
    char byte;
    while (read(wake[0], &byte, 1) < 0 && errno == EINTR)
        ;
}

/* Takes the parts down; a second request to end cuts what still runs. */
static void end(app *a)
{
    if (a->http) {
        struct pollfd again = {.fd = wake[0], .events = POLLIN};
        double until = nx_os_seconds() + GRACE_SECONDS;
        http_server_quiesce(a->http);
        while (http_server_active(a->http) > 0 && nx_os_seconds() < until)
            if (poll(&again, 1, 100) > 0)
                break;
        http_server_stop(a->http, 0);
    }
    downloads_free(a->downloads);
    host_free(a->host);
    conversations_close(a->talks);
    kept_free(a->kept);
    pthread_mutex_destroy(&a->talks_lock);
    pthread_mutex_destroy(&a->metrics.lock);
    free(a->key);
    free(a);
}

bool server_run(const server_options *o, void (*ready)(const char *url, void *user), void *user)
{
    if (pipe(wake) != 0)
        return nx_fail("the server cannot make a pipe: %s", strerror(errno));
    app *a = nx_calloc(1, sizeof *a);
    a->o = *o;
    a->started = nx_os_seconds();
    a->started_at = app_now();
    a->kept = kept_new();
    pthread_mutex_init(&a->metrics.lock, NULL);
    pthread_mutex_init(&a->talks_lock, NULL);
    bool ok = start(a);
    char message[512];
    snprintf(message, sizeof message, "%s", ok ? "" : nx_error_message());
    if (ok) {
        ready(http_server_url(a->http), user);
        wait_for_end();
    }
    end(a);
    close(wake[0]);
    close(wake[1]);
    wake[0] = wake[1] = -1;
    return ok || nx_fail("%s", message);
}
