/* scoring.h: texts read by a model with the logits of every token: evaluation and calibration. */
#ifndef NX_RUNTIME_SCORING_H
#define NX_RUNTIME_SCORING_H

#include "runtime/handles.h"

/* Reads the next n tokens of the text that the cache holds. logits: [n, vocabulary], or NULL where
 * nobody wants them. False with a message. */
bool scoring_pass(nexus_model *m, nn_cache *cache, const int32_t *ids, int n, float *logits);
void scoring_cache(nexus_model *m, nn_cache *cache, int context);
void scoring_clear(nn_cache *cache);

#endif
