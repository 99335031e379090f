/*
 * tok_decode.h: decoders: what each token contributes to a text. All of the reference's decoders
 * that we know work token by token but for the beginning of the text (and BPE's end-of-word
 * space), which is what lets a text be streamed.
 *
 * Two results differ from the reference's, both where it loses text. An added token whose
 * characters are all in the byte alphabet ("\u00f5") is itself, not a byte. Of byte tokens that
 * together are not valid UTF-8, the valid characters are kept; each other byte is U+FFFD.
 */
#ifndef NX_RUNTIME_TEXT_TOK_DECODE_H
#define NX_RUNTIME_TEXT_TOK_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/str.h"
#include "base/vec.h"
#include "runtime/text/regex.h"

typedef enum {
    DEC_BYTES,         /* characters of the byte alphabet to bytes; a token with others stays */
    DEC_REPLACE,       /* text by with */
    DEC_BYTE_FALLBACK, /* "<0x41>" to the byte */
    DEC_FUSE,          /* one text from here on */
    DEC_STRIP,         /* up to count times text at the start, of each token or the fused text */
    DEC_STRIP_END,     /* the same at the end of each token */
    DEC_METASPACE,     /* text to a space; dropped in the first token where left is set */
    DEC_WORDPIECE,     /* a space before tokens that do not begin with text; cleanup when left */
    DEC_BPE,           /* text at a token's end is a space, but not at the text's end */
    DEC_JOIN_SPACES,   /* no decoder: tokens with spaces between */
} dec_kind;

typedef struct {
    dec_kind kind;
    nx_str text, with;
    size_t count;
    bool left;
} dec_step;

typedef struct {
    NX_VEC(dec_step) steps;
    bool bytes;         /* pieces may hold parts of characters */
    bool byte_fallback; /* an invalid byte is one U+FFFD, not an invalid sequence */
    bool fused;
    bool first_differs; /* the first token of a text decodes to something else than later ones */
    bool end_space;     /* a piece's last space counts only when another token follows */
    char strip;         /* at the beginning of the fused text, up to strip_count times */
    size_t strip_count;
} tok_decoder;

/* Takes step's strings. False with an error: a combination that cannot be streamed. */
bool tok_decoder_add(tok_decoder *d, dec_step step);
void tok_decoder_clear(tok_decoder *d);
/* What a token decodes to, first in a text or later. work: two buffers, one of which the result
 * lies in. */
nx_slice tok_decoder_piece(const tok_decoder *d, nx_slice token, bool first, nx_str work[2]);

#endif
