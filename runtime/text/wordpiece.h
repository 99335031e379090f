/*
 * wordpiece.h: a word is cut into the longest token that begins it, then the longest continuation,
 * and so on; a word that cannot be cut so is the unknown token.
 */
#ifndef NX_RUNTIME_TEXT_WORDPIECE_H
#define NX_RUNTIME_TEXT_WORDPIECE_H

#include <stddef.h>
#include <stdint.h>

#include "base/map.h"
#include "base/str.h"
#include "runtime/text/prefixes.h"
#include "runtime/text/tokenizer.h"

typedef struct {
    pfx_table pieces;
    nx_str first_prefix; /* what the vocabulary writes before a word's first token (GGUF: U+2581) */
    nx_str next_prefix;  /* and before the others ("##") */
    size_t max_chars;    /* a longer word is unknown */
    int32_t unk;
} wordpiece;

void wordpiece_finish(wordpiece *m, const nx_map *vocab);
void wordpiece_clear(wordpiece *m);
/* Appends the ids of one word (of valid UTF-8). */
void wordpiece_encode(const wordpiece *m, const char *s, size_t n, tok_ids *out);

#endif
