/*
 * estimate.h: the one memory estimate: what a model needs to run at a context, against what the
 * machine has. Selection, refusal, the program and a server all ask here. docs/models.md says how
 * the figures come about, with predicted beside measured memory.
 */
#ifndef NX_RUNTIME_CATALOG_ESTIMATE_H
#define NX_RUNTIME_CATALOG_ESTIMATE_H

#include "runtime/models/model.h"

/* What the estimate needs to know of a model, known of families too that this version cannot run. */
typedef struct {
    uint64_t file_bytes;   /* of the weights' files */
    uint64_t turned_bytes; /* of them, in matrices that are turned into a faster layout at first use */
    int n_layers, n_kv_heads, head_dim, hidden_size, intermediate_size, n_heads, vocab_size;
    /* The cache: numbers a position, of layers that keep all positions and of those that keep a
     * window's; and the states of recurrent layers. All zero: not known, and taken from the above. */
    uint64_t cache_row, window_row, state_bytes;
    uint64_t cache_blocks, window_blocks; /* the same in blocks of 32 numbers, as packed caches have them */
    int window;
} memory_shape;

/* file_bytes and turned_bytes are left to the caller. */
memory_shape memory_shape_of(const model *m);
/* Fills what files may leave out: KV heads are heads, a head's width is its share of the hidden
 * size. */
void memory_shape_complete(memory_shape *s);

/* Bytes: the files as stored, the cache, the activations of one prefill step, logits, and what the
 * program and its tokenizer need whatever the model. */
uint64_t estimate_memory(const memory_shape *s, int ctx, nn_cache_form cache_type);
/* The largest context (a multiple of 256, at most `most`) with which the model fits into `room`
 * bytes; 0: none does. */
int estimate_context(const memory_shape *s, uint64_t room, nn_cache_form cache_type, int most);
/* The bytes a model of these parameters has after quantizing its matrices to `bits` bits in groups
 * of 64 (scale and bias of 16 bits each). */
uint64_t estimate_quantized(uint64_t parameters, uint64_t matrix_parameters, int bits);

/* What is left to the desktop and everything else when a machine is told to be free. */
uint64_t estimate_reserve(uint64_t total);

#endif
