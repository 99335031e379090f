/*
 * answerer.h: who answers in nexus run and chat: a model in this process, or one of a running server.
 *
 * A server is asked in the same steps that are taken here: a conversation becomes a prompt by the
 * model's template, the prompt token ids, and these are continued; so with one seed both say the same.
 * Failures leave their sentence in nx_error_message().
 */
#ifndef NX_CLI_ANSWERER_H
#define NX_CLI_ANSWERER_H

#include "cli/client.h"
#include "nexus/nexus.h"

typedef struct {
    nexus_session *session; /* NULL: a server's */
    nexus_model *model;
    client_options at;
    char name[256]; /* of the server's model, as it says it */
    int context;
    bool (*stop)(void); /* asked while a server answers: true ends it */
} answerer;

/* Borrows both. */
answerer answerer_here(nexus_model *m, nexus_session *s);
/* Has the server load the model. */
nexus_status answerer_open_server(answerer *a, const client_options *at, const char *model,
                                  bool (*stop)(void));

nexus_status answerer_chat(answerer *a, const nexus_message *messages, size_t count,
                           const nexus_generate_options *o, nexus_piece_fn piece, void *user,
                           nexus_stats *stats);
nexus_status answerer_complete(answerer *a, const char *text, const nexus_generate_options *o,
                               nexus_piece_fn piece, void *user, nexus_stats *stats);
/* Tokens of a conversation as a prompt, and of a text; 0 where that fails. */
size_t answerer_count(const answerer *a, const nexus_message *messages, size_t count);
size_t answerer_count_text(const answerer *a, const char *text, size_t length);

/* Says of the options that only a server can have (--ctx, …) and that were given in argv that they
 * were not used. */
void answerer_tell_unused(int argc, char **argv);

#endif
