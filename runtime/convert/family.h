/*
 * family.h: what a change between config.json's formats and GGUF needs to know of a family beside
 * its tables of names: its two names, and what its layout has of its own.
 */
#ifndef NX_RUNTIME_CONVERT_FAMILY_H
#define NX_RUNTIME_CONVERT_FAMILY_H

#include "runtime/models/model.h"

enum {
    FAMILY_PAIRS = 1,   /* GGUF stores the rows of q and k in pairs */
    FAMILY_GPT2 = 2,    /* config.json says n_layer, n_embd, … */
    FAMILY_EXPERTS = 4, /* of two families with GGUF's name, the one with experts */
    FAMILY_LAYER_NORM = 8, /* its norms have a mean: attention.layer_norm_epsilon */
    FAMILY_GROUPED = 16,   /* config.json's formats have q, k and v in one matrix, by KV head */
    FAMILY_CARRIED = 32,   /* from GGUF only where the file carries a config.json */
    FAMILY_DIVIDED = 64,   /* GGUF divides matrices: to GGUF only */
    FAMILY_EXPERT_SIZE = 128, /* GGUF says the experts' width beside the network's */
};

typedef struct {
    const char *model_type, *gguf, *class_name;
    unsigned flags;
    const char *fixed; /* JSON: what config.json says and GGUF does not; NULL: nothing */
} family;

/* By config.json's model_type, or GGUF's architecture. NULL with a message: not known well enough. */
const family *family_of_config(const char *model_type);
const family *family_of_gguf(const nx_gguf *g, const char *arch, bool experts);
/* The config.json that a GGUF file of ours carries; NULL: none. The caller's. */
json_t *family_carried(const nx_gguf *g);

#endif
