/*
 * spm_file.h: a tokenizer.model read: SentencePiece's own file, a protocol buffer with the pieces and their
 * scores, what kind of model they make, and how texts are normalized. Texts stay in the file's bytes.
 */
#ifndef NX_RUNTIME_TEXT_SPM_FILE_H
#define NX_RUNTIME_TEXT_SPM_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/vec.h"

/* Kinds of pieces, which tokenizer.ggml.token_type numbers alike; and of models. */
enum { SPM_NORMAL = 1, SPM_UNKNOWN, SPM_CONTROL, SPM_USER, SPM_UNUSED, SPM_BYTE };
enum { SPM_KIND_UNIGRAM = 1, SPM_KIND_BPE = 2 };

typedef struct {
    nx_slice text;
    float score;
    uint32_t type;
} spm_piece;

typedef struct {
    NX_VEC(spm_piece) pieces;
    uint64_t kind;      /* as the file says it */
    bool suffix, bytes; /* spaces behind words; pieces for bytes */
    int32_t bos, eos, pad;
    nx_slice map; /* replacements of characters (charsmap.h); empty: none */
    bool dummy_prefix, remove_extra_spaces, escape_spaces;
} spm_file;

/* False with a message; to be cleared either way. */
bool spm_file_read(spm_file *f, nx_slice bytes);
void spm_file_clear(spm_file *f);
bool spm_file_broken(const char *what); /* false, with the message that says so */

#endif
