/*
 * answer.h: what a model wrote, told apart while it comes: thinking, answer, tool calls.
 *
 * Which marks a family uses is read off its chat template. Text arrives in pieces; what could still
 * become a mark is held back.
 */
#ifndef NX_RUNTIME_TEXT_ANSWER_H
#define NX_RUNTIME_TEXT_ANSWER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

typedef enum {
    ANSWER_CONTENT,
    ANSWER_REASONING,
    ANSWER_CALL, /* text is the arguments, a JSON object; name is the function's */
} answer_kind;

typedef struct {
    answer_kind kind;
    const char *name; /* of a call; else NULL */
    const char *text;
    size_t length;
} answer_part;

typedef void (*answer_fn)(const answer_part *part, void *user);

typedef struct answer answer;

/* Whether the marks of this template are special tokens, so that the texts of special tokens must
 * be part of what is pushed. */
bool answer_needs_special(const char *chat_template);

/* prompt: what the model continues; where it ends inside an opened thinking mark, the answer begins
 * with thinking. tools: look for calls; described: the tools as OpenAI's interface has them, or NULL.
 * Both texts may be NULL and are not kept. */
answer *answer_new(const char *chat_template, const char *prompt, bool tools, json_t *described);
void answer_free(answer *a);
void answer_push(answer *a, const char *text, size_t length, answer_fn fn, void *user);
/* The end: what was held back is told. A call that is no JSON comes as content, as it was written. */
void answer_end(answer *a, answer_fn fn, void *user);
size_t answer_calls(const answer *a); /* so far */
/* The mark that ends the thinking in which the answer begins; NULL where it begins outside. */
const char *answer_thinking_end(const answer *a);

#endif
