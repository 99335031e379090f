/*
 * charsmap.h: SentencePiece's "precompiled charsmap": replacements of character sequences, as a
 * double-array trie and a pool of NUL-terminated results.
 */
#ifndef NX_RUNTIME_TEXT_CHARSMAP_H
#define NX_RUNTIME_TEXT_CHARSMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/str.h"

typedef struct {
    uint32_t *units; /* owned */
    size_t n_units;
    char *pool; /* owned; ends in a NUL */
    size_t pool_size;
} charsmap;

/* From the bytes that a file holds. False with an error when they are no such map. */
bool charsmap_init(charsmap *m, const void *data, size_t size);
/* The same, written as base64 (tokenizer.json). */
bool charsmap_init_base64(charsmap *m, nx_slice text);
void charsmap_clear(charsmap *m);
/* By the longest known beginning of text: what it becomes and its bytes; NULL: none is known. */
const char *charsmap_longest(const charsmap *m, nx_slice text, size_t *taken);
/* Appends text with its replacements, as Hugging Face's tokenizers choose them. */
void charsmap_apply(const charsmap *m, nx_slice text, nx_str *out);

#endif
