/*
 * grammar_text.h: what the written forms of grammars have in common: a place in a text, numbers, and
 * how often a part stands.
 */
#ifndef NX_RUNTIME_GENERATE_GRAMMAR_TEXT_H
#define NX_RUNTIME_GENERATE_GRAMMAR_TEXT_H

#include "runtime/generate/grammar_expr.h"

typedef struct {
    const char *start, *at, *end;
} grammar_text;

enum { GRAMMAR_NESTING_MOST = 200 }; /* groups inside one another */

/* The byte at the place; NUL at the end. */
static inline char grammar_peek(const grammar_text *t)
{
    return t->at < t->end ? *t->at : '\0';
}

/* n hexadecimal digits that make a code point; false where they do not. */
bool grammar_hex(grammar_text *t, int n, uint32_t *out);
/* One character as it stands; false where the text is no valid UTF-8. */
bool grammar_plain(grammar_text *t, uint32_t *out);

/* * + ? {n} {n,} {n,m}, and where `from_zero` is set {,m}. False without *times changed where there is
 * none; *wrong: there is one that makes no sense. max -1: without end. */
typedef struct {
    int min, max;
} grammar_times;
bool grammar_repetition(grammar_text *t, bool from_zero, grammar_times *times, bool *wrong);

#endif
