/*
 * vocab_kinds.h: what GGUF implies of a tokenizer of pieces or of whole words, and whether a tokenizer.json
 * is of that kind.
 */
#ifndef NX_RUNTIME_CONVERT_VOCAB_KINDS_H
#define NX_RUNTIME_CONVERT_VOCAB_KINDS_H

#include <stdbool.h>

#include "base/json.h"
#include "base/str.h"
#include "runtime/text/spm_file.h"

/* What GGUF says of a unigram vocabulary beside its tokens. */
typedef struct {
    nx_str charsmap; /* replacements of characters, as SentencePiece's file has them; empty: none */
    bool removes_spaces, prefix;
} unigram_rules;

/* False with a message where GGUF's readers would split texts otherwise. */
bool unigram_rules_of(const json_t *tokenizer, unigram_rules *out);
bool unigram_rules_of_pieces(const spm_file *f, unigram_rules *out);
/* Of a tokenizer.model. */
bool pieces_are_usual(const spm_file *f);
bool wordpiece_is_usual(const json_t *tokenizer);

#endif
