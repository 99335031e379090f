/*
 * server.h: the server as the command line starts it.
 */
#ifndef NX_SERVER_SERVER_H
#define NX_SERVER_SERVER_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    const char *host; /* "127.0.0.1", "::1", "0.0.0.0", "unix:PATH" */
    int port;
    const char *const *folders; /* to look for models in, beside the stores */
    size_t n_folders;
    const char *model; /* the one for requests that name none; loaded at the start */
    const char *cache_type; /* of answers' caches, as for sessions; NULL: f16 */
    int context, lanes, threads;
    const char *draft; /* proposes tokens to the models of its vocabulary; NULL: none */
    bool lookup;       /* tokens are proposed from the text too */
    int draft_tokens;  /* 0: the default */
    double ttl;
    const char *key_file; /* a line with the key */
    const char *tls_cert, *tls_key;
    const char *const *origins; /* of other sites that browsers may call from */
    size_t n_origins;
    bool offline; /* refuse downloads */
    bool log_prompts;
    const char *quantize;   /* full-precision models are brought to fewer bits, as for nexus_model_load */
    bool force;
} server_options;

/* Serves until the process is asked to end (SIGINT, SIGTERM, or the server's own stop). `ready` is
 * called once it can answer, with its address. False with a message when it cannot start. */
bool server_run(const server_options *o, void (*ready)(const char *url, void *user), void *user);

/* Asks a running server_run to end; safe in signal handlers. A second call ends running requests. */
void server_stop(void);

#endif
