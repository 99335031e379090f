/*
 * embed.h: a text as one vector: the last hidden states of an encoder (or of a decoder), pooled.
 */
#ifndef NX_RUNTIME_MODELS_EMBED_H
#define NX_RUNTIME_MODELS_EMBED_H

#include "runtime/models/model.h"

typedef enum { EMBED_MEAN, EMBED_CLS, EMBED_LAST } embed_pooling;

/* "mean", "cls", "last"; false with a message for anything else. */
bool embed_pooling_named(const char *name, embed_pooling *out);

/* The vectors [n_segments, hidden] of a batch whose segments are whole texts: of an encoder without
 * caches, of a decoder with empty ones. normalised: of length one. */
mlx_array model_embed(nn *c, model *m, nn_batch *b, embed_pooling pooling, bool normalised);

/* Rows of length one. */
mlx_array embed_normalise(nn *c, mlx_array x);

#endif
