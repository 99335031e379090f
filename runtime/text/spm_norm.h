/*
 * spm_norm.h: SentencePiece's normalizer as a tokenizer.model describes it: replacements by the longest
 * known beginning, user-defined symbols as they are, spaces merged, marked and put in front.
 */
#ifndef NX_RUNTIME_TEXT_SPM_NORM_H
#define NX_RUNTIME_TEXT_SPM_NORM_H

#include "runtime/text/charsmap.h"
#include "runtime/text/prefixes.h"

typedef struct {
    charsmap map;      /* no units: characters stay */
    pfx_table symbols; /* user-defined ones; texts are borrowed */
    bool dummy_prefix, remove_extra_spaces, escape_spaces;
} spm_norm;

void spm_norm_free(spm_norm *s);
/* Appends the normalized text (of valid UTF-8). */
void spm_norm_apply(const spm_norm *s, nx_slice text, nx_str *out);

#endif
