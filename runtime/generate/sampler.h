/*
 * sampler.h: from logits to a token.
 *
 * Order: repetition penalty, top_k, top_p, min_p (all on the distribution at temperature 1, as it
 * comes from the model), then temperature, then the draw. Temperature 0 takes the likeliest after
 * the penalty. The same seed and logits give the same tokens on any machine.
 */
#ifndef NX_RUNTIME_GENERATE_SAMPLER_H
#define NX_RUNTIME_GENERATE_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    float temperature;
    int top_k; /* 0: all */
    float top_p, min_p;
    float repeat_penalty;
    uint64_t seed;
} sampler_options;

typedef struct sampler sampler;

/* NULL with a message when a value makes no sense. vocab_size logits a call. */
sampler *sampler_new(const sampler_options *o, int vocab_size);
void sampler_free(sampler *s);
/* The token after these logits [vocab_size]; recent: the tokens so far, for the penalty. Where no
 * logit is finite (a broken model), -1 with a message. */
int32_t sampler_next(sampler *s, const float *logits, const int32_t *recent, size_t n_recent);

/* Natural log of the probability of `id` under the logits as they are. */
float sampler_logprob(const float *logits, int vocab_size, int32_t id);

enum { SAMPLER_PENALTY_WINDOW = 64 };

#endif
