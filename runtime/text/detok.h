/*
 * detok.h: ids to text as they come, in whole characters. What all calls together append is what
 * tok_decode gives for all ids at once.
 *
 *     detok d = {0};
 *     detok_init(&d, t, false);
 *     while (…) detok_push(&d, id, &text);
 *     detok_flush(&d, &text);
 *     detok_clear(&d);
 */
#ifndef NX_RUNTIME_TEXT_DETOK_H
#define NX_RUNTIME_TEXT_DETOK_H

#include "runtime/text/tokenizer.h"

typedef struct {
    const tokenizer *t; /* borrowed */
    bool with_special;
    bool started;    /* a token was pushed that is not left out */
    size_t to_strip; /* spaces that may still be taken from the beginning */
    bool end_space;  /* a space that stands only if something follows */
    nx_str work[2];
    char held[4]; /* the beginning of a character whose rest is still to come */
    size_t n_held;
} detok;

/* with_special: special tokens are written too. */
void detok_init(detok *d, const tokenizer *t, bool with_special);
void detok_clear(detok *d);
/* Appends what can be said after this id. False with an error for an id that does not exist. */
bool detok_push(detok *d, int32_t id, nx_str *out);
/* The end: what is still incomplete becomes U+FFFD. The detok is as after detok_init. */
void detok_flush(detok *d, nx_str *out);

#endif
