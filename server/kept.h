/*
 * kept.h: answers that can be gone on from by their id (previous_response_id), in memory: the newest
 * ones, forgotten when the server ends. Calls may come from any thread.
 */
#ifndef NX_SERVER_KEPT_H
#define NX_SERVER_KEPT_H

#include <jansson.h>
#include <stdbool.h>

typedef struct kept kept;

typedef struct {
    json_t *response; /* as it was answered */
    json_t *input;    /* the items of the request */
    json_t *messages; /* the conversation with the answer, in OpenAI's chat form; no instructions */
} kept_answer;

kept *kept_new(void);
void kept_free(kept *k);
/* Keeps new references. */
void kept_put(kept *k, const char *id, const kept_answer *a);
/* New references, whose values are shared: a caller changes only a copy. False: not kept (any more). */
bool kept_get(kept *k, const char *id, kept_answer *out);
bool kept_remove(kept *k, const char *id);
void kept_answer_clear(kept_answer *a);

#endif
