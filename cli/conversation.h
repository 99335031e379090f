/*
 * conversation.h: the messages of a conversation, which of them still fit the context, and its file:
 * {"model": NAME, "messages": [{"role": …, "content": …}, …]}.
 */
#ifndef NX_CLI_CONVERSATION_H
#define NX_CLI_CONVERSATION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/vec.h"
#include "nexus/nexus.h"

typedef struct {
    char *system; /* NULL: none */
    NX_VEC(nexus_message) messages; /* contents are owned, roles are constants */
    size_t first; /* messages before this one are no longer shown to the model */
} conversation;

typedef NX_VEC(nexus_message) message_list;

void conversation_clear(conversation *c); /* the messages; the system message stays */
void conversation_free(conversation *c);
void conversation_set_system(conversation *c, const char *text); /* NULL: none */
void conversation_add(conversation *c, const char *role, const char *content);
/* Takes the last message away; its content is the caller's to free. */
char *conversation_pop(conversation *c);
/* The last message's role, "" when there is none. */
const char *conversation_last_role(const conversation *c);

/* What the model is shown: system message, then the rest from first on. Borrowed from c. */
void conversation_shown(const conversation *c, message_list *out);
/* Leaves out the oldest exchange: all up to the next user message. False when it is the last. */
bool conversation_leave_out(conversation *c);

/* Replaces the file whole. The folder must exist. */
bool conversation_save(const conversation *c, const char *model, const char *path);
/* Replaces c. On failure c is as it was. *model (to be freed) is NULL when the file names none. */
bool conversation_load(conversation *c, const char *path, char **model);

#endif
