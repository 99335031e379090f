/*
 * scheduler.h: many sequences through one model, a step at a time.
 *
 * A step takes, from every sequence in the scheduler, the tokens it has ready (a piece of its
 * prompt, or the token it generated last), lays them end to end, runs the model once, and lets each
 * sequence whose prompt is through choose its next token. Sequences come and go between steps. All
 * of it runs on the engine thread; callbacks too.
 */
#ifndef NX_RUNTIME_GENERATE_SCHEDULER_H
#define NX_RUNTIME_GENERATE_SCHEDULER_H

#include <stdatomic.h>

#include "runtime/generate/draft.h"
#include "runtime/generate/sampler.h"
#include "runtime/models/model.h"

typedef NX_VEC(int32_t) token_vec;

typedef struct sequence {
    nn_cache *cache;  /* borrowed; holds the first cache->length of tokens */
    token_vec *tokens; /* borrowed: prompt and what was generated; grows here */
    sampler *sampler; /* borrowed */
    draft *draft;     /* borrowed; NULL: a token a step. Not for models whose layers keep states */
    bool logprobs;
    int n_top; /* likeliest tokens wanted with each: 0 to SAMPLER_TOP_MOST */
    atomic_bool *cancel; /* borrowed: set from anywhere, ends the sequence before its next step */
    /* A token was chosen (and appended); top: the n_top likeliest. Return false to end the sequence. */
    bool (*on_token)(struct sequence *s, int32_t id, float logprob, const sampler_top *top);
    /* Prompt tokens done so far, of all; between steps. May be NULL. */
    void (*on_prefill)(struct sequence *s, size_t done, size_t total);
    /* The sequence has left the scheduler, which does not touch it after this call. */
    void (*on_end)(struct sequence *s);
    void *user;

    /* Filled by the scheduler. */
    size_t prompt_end;  /* tokens before the first generated one */
    bool ended, failed; /* failed: message says why */
    char message[512];
} sequence;

typedef struct scheduler scheduler;

/* brief: others may come at any time, so long prompts are read in short steps. */
scheduler *scheduler_new(model *m, bool brief);
void scheduler_free(scheduler *s);
/* Joins with the next step. The caller keeps it alive until it has ended. At least one token must
 * not be in the cache yet. */
void scheduler_add(scheduler *s, sequence *q);
/* One pass of the model. False when no sequence is left. */
bool scheduler_step(scheduler *s);

enum {
    SCHEDULER_CHUNK = 512,       /* most prompt tokens a step; of a brief one, where that takes no
                                    more than SCHEDULER_STEP_SECONDS */
    SCHEDULER_CHUNK_SHARED = 64, /* while others wait or decode, so that they move on */
    SCHEDULER_CHUNK_LEAST = 16,  /* of a brief one: fewer rows cost more each */
};
#define SCHEDULER_STEP_SECONDS 0.06

#endif
