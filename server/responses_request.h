/* responses_request.h: a request of OpenAI's responses, and the answer while it is made. */
#ifndef NX_SERVER_RESPONSES_REQUEST_H
#define NX_SERVER_RESPONSES_REQUEST_H

#include "base/str.h"
#include "server/openai.h"

typedef struct {
    app *app;
    http_request *r;
    gen_job job;
    bool stream, store, logprobs, shorten;
    const char *previous;
    json_t *input;    /* the request's items */
    json_t *context;  /* the conversation in the chat's form, without instructions */
    json_t *echo;     /* what the answer repeats of the request */
    json_t *unknown;
    size_t left_out;  /* messages that truncation took */

    const char *id;
    int64_t created;
    host_model *model;
    char name[256];
    json_t *output;   /* items that are done */
    bool open;        /* an item is */
    answer_kind kind; /* of it */
    const char *item; /* its id */
    nx_str text;
    json_t *fresh, *tokens; /* log-probabilities: not sent yet, and all of the item */
    int sequence;     /* of the next event */
    double last_sent;
} responding;

/* Fills job, input, context and what the request wants of the answer. Faults go to f. */
void responses_read(responding *c, fields *f);
/* What the answer repeats of the request. New reference. */
json_t *responses_echo(const responding *c, const json_t *body);
/* Shortens the chat until it fits with room for an answer. 0, or the status of a failure. */
int responses_truncate(responding *c);

#endif
