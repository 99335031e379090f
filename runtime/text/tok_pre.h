/*
 * tok_pre.h: the pre-tokenizers that GGUF files name (tokenizer.ggml.pre).
 */
#ifndef NX_RUNTIME_TEXT_TOK_PRE_H
#define NX_RUNTIME_TEXT_TOK_PRE_H

#include "base/slice.h"

enum {
    TOK_PRE_NFC = 1,           /* texts are brought to NFC first */
    TOK_PRE_IGNORE_MERGES = 2, /* a piece that is a token needs no merges */
    TOK_PRE_ADD_BOS = 4,       /* unless the file says otherwise */
    TOK_PRE_ADD_SEP = 8,       /* a separator ends the text (RoBERTa's) */
    TOK_PRE_NO_BYTES = 16,     /* characters, not bytes; spaces are written U+2581 */
};

typedef struct {
    const char *names;       /* separated by spaces */
    const char *patterns[8]; /* split at, one after the other; NULL ends */
    unsigned flags;
} tok_pre;

/* NULL with an error for a name that is not known. */
const tok_pre *tok_pre_find(nx_slice name);
/* A name for the patterns (ending with NULL) that a tokenizer.json splits at, and the flags NFC,
 * IGNORE_MERGES and NO_BYTES; NULL with an error where none is known. Lives as long as the program. */
const char *tok_pre_name(const char *const *patterns, unsigned flags, size_t *length);

#endif
