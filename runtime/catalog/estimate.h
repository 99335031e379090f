/*
 * estimate.h: the one memory estimate: what a model needs to run at a context.
 */
#ifndef NX_RUNTIME_CATALOG_ESTIMATE_H
#define NX_RUNTIME_CATALOG_ESTIMATE_H

#include "runtime/models/model.h"

/* Bytes: the files as stored, the cache, the activations of one prefill step, logits, and what the
 * program and its tokenizer need whatever the model. */
uint64_t estimate_memory(const model *m, uint64_t file_bytes, int ctx, mlx_dtype cache_type);

#endif
