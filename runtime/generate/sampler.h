/*
 * sampler.h: from logits to a token.
 *
 * Order: logit bias; penalties (repeat, presence, frequency, DRY); the constraint's mask; then, on
 * the distribution at temperature 1, top_k, typical, top_p, min_p, XTC; temperature; the draw.
 * Mirostat, where chosen, stands in for the filters from top_k to XTC. Temperature 0 takes the
 * likeliest after the mask. The same seed and logits give the same tokens on any machine.
 */
#ifndef NX_RUNTIME_GENERATE_SAMPLER_H
#define NX_RUNTIME_GENERATE_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What may come next, kept by whoever knows (a grammar). */
typedef struct {
    /* Bit i % 64 of word i / 64: token i may come next. NULL with a message when none may. */
    const uint64_t *(*mask)(void *user);
    bool (*accept)(void *user, int32_t id); /* moves over it; false where it may not come */
    /* For drafts: remembers where it is, and goes back there. Not nested. */
    void (*mark)(void *user);
    void (*back)(void *user);
    void *user;
} sampler_constraint;

typedef struct {
    int32_t id;
    float bias; /* added to the logit; -INFINITY bans */
} sampler_bias;

typedef struct {
    float temperature;
    int top_k; /* 0: all */
    float top_p, min_p;
    float typical_p;       /* keep the most typical that together have this probability; 0 or 1: all */
    float xtc_probability; /* how often all tokens over the threshold but the least are dropped */
    float xtc_threshold;
    float repeat_penalty;    /* divides (or multiplies) the logits of tokens in the window; 1: none */
    float presence_penalty;  /* taken off once for a token in the window */
    float frequency_penalty; /* taken off for each time it is there */
    int penalty_window;      /* tokens; 0: SAMPLER_PENALTY_WINDOW; -1: all */
    float dry_multiplier;    /* 0: none. Against going on as after an earlier occurrence */
    float dry_base;          /* 0: 1.75 */
    int dry_allowed_length;  /* repeated tokens that cost nothing; 0: 2 */
    int dry_window;          /* tokens looked back; 0: all */
    int mirostat;            /* 0: off; 1, 2: the algorithm's version */
    float mirostat_tau;      /* bits of surprise aimed at; 0: 5 */
    float mirostat_eta;      /* learning rate; 0: 0.1 */
    const sampler_bias *bias; /* borrowed until sampler_free */
    size_t n_bias;
    const sampler_constraint *constraint; /* borrowed; may be NULL */
    uint64_t seed;
} sampler_options;

typedef struct sampler sampler;

/* NULL with a message when a value makes no sense. vocab_size logits a call. */
sampler *sampler_new(const sampler_options *o, int vocab_size);
void sampler_free(sampler *s);
/* The token after these logits [vocab_size]; recent: the tokens so far, for the penalties. Where no
 * logit is finite (a broken model), or the constraint leaves none, -1 with a message. */
int32_t sampler_next(sampler *s, const float *logits, const int32_t *recent, size_t n_recent);

/* Drafts: where the sampler is in its random numbers (and its constraint in its text, which between
 * mark and back moves too); what it would choose next from another model's logits (-1: nothing), moving
 * on; and back. */
typedef struct {
    uint64_t state[2];
    float surprise;
} sampler_place;
sampler_place sampler_mark(const sampler *s);
int32_t sampler_guess(sampler *s, const float *logits, int n_logits, const int32_t *recent,
                      size_t n_recent);
void sampler_back(sampler *s, const sampler_place *p);
/* How many of these, from the first on, the constraint allows one after the other. */
int sampler_allowed(const sampler *s, const int32_t *ids, int n);

/* Natural log of the probability of `id` under the logits as they are. */
float sampler_logprob(const float *logits, int vocab_size, int32_t id);

/* The n likeliest under the logits as they are, likeliest first. */
typedef struct {
    int32_t id;
    float logprob;
} sampler_top;
void sampler_likeliest(const float *logits, int vocab_size, sampler_top *out, int n);

enum { SAMPLER_PENALTY_WINDOW = 64, SAMPLER_TOP_MOST = 20 };

#endif
