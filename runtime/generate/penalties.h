/*
 * penalties.h: changes to logits before sampling: bias, and what speaks against repetition.
 */
#ifndef NX_RUNTIME_GENERATE_PENALTIES_H
#define NX_RUNTIME_GENERATE_PENALTIES_H

#include "runtime/generate/sampler.h"

/* Whether these options change any logit. */
bool penalties_any(const sampler_options *o);
/* Changes logits [vocab_size] in place. counts [vocab_size] is zero before and after. */
void penalties_apply(const sampler_options *o, float *logits, int vocab_size, int32_t *counts,
                     const int32_t *recent, size_t n);

#endif
