/*
 * conversations.h: the page's conversations, stored in SQLite on this machine: one document each.
 * What was acknowledged survives a kill. Calls may come from any thread.
 */
#ifndef NX_SERVER_CONVERSATIONS_H
#define NX_SERVER_CONVERSATIONS_H

#include <jansson.h>
#include <stdbool.h>

typedef struct conversations conversations;

/* In the data folder; NULL with a message where it cannot be opened. */
conversations *conversations_open(void);
void conversations_close(conversations *c);

/* [{"id", "title", "changed"}], the newest first; NULL with a message. */
json_t *conversations_list(conversations *c);
/* NULL where there is none, with a message (a new nx_error) where reading failed. */
json_t *conversations_get(conversations *c, const char *id, bool *failed);
bool conversations_put(conversations *c, const char *id, const char *title, double changed,
                       const json_t *document);
bool conversations_remove(conversations *c, const char *id, bool *found);

#endif
