/*
 * shapes.h: models of the true shape of known ones, with random weights: what speed is measured on
 * where no model was fetched. As a GGUF file, or as a folder in MLX's format, quantized in groups of
 * 64, so that other programs can run the very same files.
 */
#ifndef NX_RUNTIME_CATALOG_SHAPES_H
#define NX_RUNTIME_CATALOG_SHAPES_H

#include "nexus/nexus.h"

typedef struct {
    const char *name;   /* "tinyllama-1.1b" */
    const char *arch;   /* GGUF's name of the family */
    const char *family; /* config.json's model_type */
    int layers, hidden, heads, kv_heads, head_dim, intermediate, vocab, context;
    int experts, experts_used; /* 0: dense */
    float rope_base, epsilon;
    bool tied;    /* the embedding is the head too */
    bool qk_norm; /* norms of queries and keys */
} shape;

/* NULL with a message that lists the names; letters may be of either case. */
const shape *shape_find(const char *name);

/* Writes one at `path`: a file if gguf, else a folder that is made. */
nexus_status shape_write(const shape *s, int bits, bool gguf, const char *path);

#endif
