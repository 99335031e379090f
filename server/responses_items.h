/*
 * responses_items.h: what OpenAI's responses say in items, as messages and tools of a chat.
 */
#ifndef NX_SERVER_RESPONSES_ITEMS_H
#define NX_SERVER_RESPONSES_ITEMS_H

#include <jansson.h>

#include "server/fields.h"

/* "input": a text, or a list of items, as a list of items. New reference; NULL with a fault. */
json_t *responses_items(fields *f, const json_t *input);
/* Appends the items' messages: reasoning and calls join the assistant's message they belong to. Faults
 * name the item as key[i]. */
void responses_messages(fields *f, const char *key, const json_t *items, json_t *messages);
/* "tools" and "tool_choice" in the chat's form. New references; NULL where there is none. */
json_t *responses_tools(fields *f, const json_t *tools);
json_t *responses_choice(fields *f, const json_t *choice);

#endif
