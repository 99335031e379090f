/*
 * client.h: asking a running server, over TCP or a Unix socket.
 */
#ifndef NX_CLI_CLIENT_H
#define NX_CLI_CLIENT_H

#include <jansson.h>

#include "cli/args.h"

typedef struct {
    const char *server;   /* "http://127.0.0.1:8642" or "unix:PATH" */
    const char *key_file; /* NULL: none */
} client_options;

client_options client_defaults(void);
/* The rows that every verb which asks a server has. */
#define CLIENT_OPTIONS(o)                                                                          \
    {"server", 0, ARG_TEXT, &(o)->server, true, "URL", "address (http://127.0.0.1:8642), or unix:PATH"}, \
    {"api-key-file", 0, ARG_TEXT, &(o)->key_file, true, "FILE", "the server's key, in its first line"}

/* The JSON answer of a request; body NULL: a GET. NULL after a message on stderr: no server there, or
 * it refused. */
json_t *client_call(const client_options *o, const char *path, const json_t *body);

#endif
