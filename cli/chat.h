/*
 * chat.h: the state of nexus chat, shared by its loop (chat.c) and its commands (chat_commands.c).
 */
#ifndef NX_CLI_CHAT_H
#define NX_CLI_CHAT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"
#include "cli/answerer.h"
#include "cli/conversation.h"
#include "cli/options.h"

typedef struct {
    const answer_options *options;
    answerer *by;
    const char *model_name;
    int context; /* tokens in all */
    bool terminal, color;

    conversation talk;
    nx_str attached; /* files read for the next message */
    nx_str file;     /* where the conversation was saved or loaded last */
    size_t used;     /* tokens of the context that the conversation takes */
    uint64_t again;  /* added to the seed, so that a second answer is another one */

    nexus_stats last; /* of the last answer */
    size_t answers, computed, generated; /* sums over the conversation's answers */
    double seconds;

    bool leaving, interrupted;
    bool failed; /* something was refused: a pipe's exit code says so */
    bool broken; /* standard output is gone */
} chat;

/* A note to the person on stderr: what was done, what to know. */
void chat_say(const chat *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "nexus: MESSAGE" on stderr. */
void chat_complain(chat *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Answers the last message, a user's. False when there is no answer: the message is still there. */
bool chat_answer(chat *c);
/* Tokens that n messages take as a prompt; 0 for none, or when the template refuses them. */
size_t chat_count(const chat *c, const message_list *messages);
/* Counts c->used again, after the conversation was changed by hand. */
void chat_recount(chat *c);

/* A line that begins with a slash. */
void chat_command(chat *c, const char *line);

#endif
