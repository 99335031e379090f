/*
 * generate.h: one generation for any of the interfaces: from a prompt to parts of an answer.
 *
 * An interface translates its request into a gen_job, gives a sink that writes its own form of
 * events, and translates the result. Everything between is here.
 */
#ifndef NX_SERVER_GENERATE_H
#define NX_SERVER_GENERATE_H

#include <jansson.h>

#include "base/vec.h"
#include "runtime/text/answer.h"
#include "server/app.h"
#include "server/fields.h"
#include "server/host.h"

typedef struct {
    const char *model; /* as the request names it; NULL: the default */
    double ttl;        /* < 0: the server's */
    int context;       /* the model's lanes are to have at least; 0: as they are */
    json_t *chat;      /* owned: {"messages": …, "tools": …, variables}; NULL: a text or ids */
    const char *text;  /* continued as it stands */
    size_t length;
    const json_t *ids; /* or token ids, a list of integers */
    bool add_special;  /* of text */
    bool plain;        /* the answer is not told apart: thinking and calls are text */
    bool tools;        /* look for tool calls */
    nexus_generate_options o;
    nexus_grammar *grammar;     /* owned; o.grammar points here */
    NX_VEC(const char *) stops; /* o.stop points here */
    NX_VEC(nexus_bias) bias;    /* o.bias points here */
} gen_job;

void gen_job_init(gen_job *j);
void gen_job_clear(gen_job *j);

/* Reads what sampling has in common in all interfaces (temperature, top_p, …, seed, stop) by its
 * names there. Faults go to f. */
void gen_read_sampling(gen_job *j, fields *f);
/* A text or a list of texts, as OpenAI's stop. */
void gen_read_stops(gen_job *j, fields *f, const char *key);
/* The form of the answer: OpenAI's response_format, and `json_schema`, `grammar` and `regex`. */
void gen_read_format(gen_job *j, fields *f);
/* The answer is a JSON text that satisfies this schema; true or "json": any object. */
void gen_set_schema(gen_job *j, fields *f, const char *key, const json_t *schema);
/* {"50256": -100} or [[50256, -100]]; false bans. */
void gen_read_bias(gen_job *j, fields *f);

typedef struct {
    host_model *model;
    size_t prompt_tokens;
    const char *prompt; /* the rendered text; NULL where ids were given */
} gen_start;

typedef struct {
    void *user;
    /* The prompt fits and computing begins. */
    void (*start)(void *user, const gen_start *s);
    /* A part of the answer; false stops. */
    bool (*part)(void *user, const answer_part *part);
    /* Each token, before the parts that it brings; may be NULL. */
    void (*token)(void *user, const nexus_piece *piece);
    /* The prompt is being read; may be NULL. */
    void (*progress)(void *user, double fraction);
} gen_sink;

typedef struct {
    nexus_stats stats;
    size_t calls;             /* tool calls in it */
    size_t reasoning_tokens;  /* tokens that were thinking */
    double load_seconds;      /* of the model, where this request loaded it */
    char model[256];          /* the one that answered */
} gen_result;

/* Runs on the request's thread until the answer is there. 0, or the HTTP status of the failure, with
 * nx_error_message; after sink->start was called a failure comes too late for a status of its own. */
int gen_run(app *a, http_request *r, const gen_job *j, const gen_sink *sink, gen_result *out);

/* How many tokens the job's prompt has, and (may be NULL) the context it has to fit into. 0, or the
 * HTTP status of the failure. */
int gen_count(app *a, const gen_job *j, size_t *tokens, int *context);

/* "stop", "length", "tool_calls" */
const char *gen_finish_reason(const gen_result *g);

/* Text of one token, special ones shown. Free with nexus_free. */
char *gen_token_text(host_model *m, int32_t id, size_t *length);

#endif
