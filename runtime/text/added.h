/*
 * added.h: finding added tokens ("<|im_end|>") in a text, leftmost and longest first, with the
 * conditions and the surrounding space that a token may ask for.
 */
#ifndef NX_RUNTIME_TEXT_ADDED_H
#define NX_RUNTIME_TEXT_ADDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/vec.h"
#include "runtime/text/prefixes.h"

typedef struct {
    int32_t id;
    const char *text; /* owned by whoever made it */
    uint32_t len;
    bool special;        /* a control token: found only when the caller asks for these */
    bool single_word;    /* only where no word character touches it */
    bool lstrip, rstrip; /* takes the white space on that side with it */
    bool normalized;     /* looked for after normalization */
} added_token;

typedef NX_VEC(added_token) added_list;

typedef struct {
    const added_list *list;
    pfx_table table; /* text -> index in the list */
} added_finder;

/* The finder borrows the list. text/len: what stands for token i, when it is not its own text. */
void added_finder_add(added_finder *f, size_t index, const char *text, size_t len);
void added_finder_finish(added_finder *f);
void added_finder_clear(added_finder *f);

typedef struct {
    size_t begin, end;
    int32_t id;
} added_match;

/* The next token in text[*scan..n). from: where the text not yet handed out begins (a match's
 * left space never reaches before it). Advances *scan. False: there is none. */
bool added_next(const added_finder *f, const char *text, size_t n, size_t from, size_t *scan,
                bool with_special, added_match *out);

#endif
