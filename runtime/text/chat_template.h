/*
 * chat_template.h: a conversation as the text a model was trained on, by the model's own template.
 *
 * Messages are JSON as OpenAI and Hugging Face write them: an array of objects with role and
 * content (a string, or a list of parts) and whatever else the template reads (tool_calls,
 * tool_call_id, name, reasoning_content…). They are passed on as they are.
 */
#ifndef NX_TEXT_CHAT_TEMPLATE_H
#define NX_TEXT_CHAT_TEMPLATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

typedef struct chat_template chat_template;

typedef struct {
    json_t *messages;           /* an array */
    json_t *tools;              /* an array of function descriptions, or NULL */
    json_t *extra;              /* an object of further variables (enable_thinking…), or NULL */
    bool add_generation_prompt; /* end with the beginning of the assistant's turn */
    bool has_now;               /* for tests: templates that print the date print this one */
    int64_t now;                /* seconds since 1970 */
} chat_request;

/*
 * source: the template; NULL or "": the model has none, and plain ChatML is used (see
 * chat_template_is_fallback). bos and eos: the texts of the special tokens, NULL where there are
 * none. All are copied. NULL with a message if the template is not valid.
 *
 * A template is immutable: any number of threads may render it at once.
 */
chat_template *chat_template_new(const char *source, const char *bos, const char *eos);
void chat_template_free(chat_template *t); /* NULL is allowed */

/* Appends the text to *out; on an error (the template's own, or one of its limits) nothing. */
bool chat_template_render(const chat_template *t, const chat_request *r, nx_str *out);

/* The model brought no template: the caller should say so. */
bool chat_template_is_fallback(const chat_template *t);
/* The template reads `tools`. */
bool chat_template_supports_tools(const chat_template *t);
/* Found by rendering one: a system message is accepted and its text appears. */
bool chat_template_supports_system(const chat_template *t);
/* The template reads this variable (such as enable_thinking). */
bool chat_template_reads(const chat_template *t, const char *variable);

/*
 * OpenAI's requests carry the arguments of tool calls as JSON text, templates expect objects: a new
 * array in which such texts are parsed. Text that is no JSON object stays as it is. NULL with a
 * message if `messages` is no array of objects.
 */
json_t *chat_messages_from_openai(json_t *messages);

#endif
