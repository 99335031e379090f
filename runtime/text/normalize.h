/*
 * normalize.h: normalizers: a list of steps that rewrite a text before it is cut.
 */
#ifndef NX_RUNTIME_TEXT_NORMALIZE_H
#define NX_RUNTIME_TEXT_NORMALIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/str.h"
#include "base/vec.h"
#include "runtime/text/charsmap.h"
#include "runtime/text/regex.h"
#include "runtime/text/spm_norm.h"

typedef enum {
    NORM_NFC,
    NORM_NFD,
    NORM_NFKC,
    NORM_NFKD,
    NORM_LOWERCASE,
    NORM_STRIP,         /* white space at the ends (left, right) */
    NORM_STRIP_MARKS,   /* every M* */
    NORM_STRIP_ACCENTS, /* decomposed, without Mn */
    NORM_REPLACE,       /* text (or what regex matches) by with */
    NORM_PREPEND,       /* with, before a text that is not empty */
    NORM_BYTES,         /* bytes as characters of the byte alphabet */
    NORM_CLEAN,         /* BERT: no control characters, every white space a space */
    NORM_CJK_SPACES,    /* BERT: a space on both sides of an ideograph */
    NORM_NMT,           /* SentencePiece's nmt rules: as NORM_CLEAN, other lists */
    NORM_CHARSMAP,      /* SentencePiece's compiled replacements, as Hugging Face's tokenizers do them */
    NORM_SENTENCEPIECE, /* SentencePiece's own normalizer */
} norm_kind;

typedef struct {
    norm_kind kind;
    nx_str text, with;
    rx_pattern *regex;
    bool left, right;
    charsmap map;
    spm_norm *spm; /* owned */
} norm_step;

typedef struct {
    NX_VEC(norm_step) steps;
    bool verbatim; /* added tokens are looked for in a normalized text as they are written */
} norm_list;

void norm_list_clear(norm_list *l);

/* Normalizes text (valid UTF-8). *out is the result: text itself when nothing is to be done, else
 * in one of the two buffers. *cut: its first characters were dropped. False with an error when a
 * pattern gives up. */
bool norm_run(const norm_list *l, rx_state *rx, nx_slice text, nx_str buffers[2], nx_slice *out,
              bool *cut);

#endif
