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

/* The same of verbs that ask one only when --server is given. */
#define SERVER_OPTIONS(o)                                                                          \
    {"server", 0, ARG_TEXT, &(o)->server, false, "URL", "have this running server answer (or unix:PATH)"}, \
    {"api-key-file", 0, ARG_TEXT, &(o)->key_file, true, "FILE", "the server's key, in its first line"}

/* The JSON answer of a request; body NULL: a GET. NULL with a message: no server there, or it refused. */
json_t *client_ask(const client_options *o, const char *path, const json_t *body);
/* The same with the message on stderr. */
json_t *client_call(const client_options *o, const char *path, const json_t *body);

/* Posts and hands out the data of each server-sent event; false ends it, as does stop (asked about
 * once a second and with each piece; may be NULL). False with a message where the server refused or
 * was lost. */
bool client_stream(const client_options *o, const char *path, const json_t *body,
                   bool (*event)(const json_t *data, void *user), void *user, bool (*stop)(void));

#endif
