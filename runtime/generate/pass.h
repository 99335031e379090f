/*
 * pass.h: one evaluated pass of a model over a ragged batch. Engine thread.
 */
#ifndef NX_RUNTIME_GENERATE_PASS_H
#define NX_RUNTIME_GENERATE_PASS_H

#include "runtime/models/model.h"

/* ids: [b->n_tokens]. *out (empty before): float32 logits [rows wanted, vocab], or stays empty where
 * no segment wants any, and then the caches are evaluated. The caches' lengths are not moved. */
bool pass_run(nn *c, model *m, nn_batch *b, const int32_t *ids, mlx_array *out);

#endif
