/*
 * pretok.h: pre-tokenizers: a list of steps that cut a normalized text into the pieces which the
 * model then sees one by one. Pieces are handed on as they are cut; no lists are built.
 */
#ifndef NX_RUNTIME_TEXT_PRETOK_H
#define NX_RUNTIME_TEXT_PRETOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/str.h"
#include "base/vec.h"
#include "runtime/text/regex.h"

/* What becomes of the places that a splitting step matches. */
typedef enum {
    PRE_ISOLATED, /* each a piece */
    PRE_REMOVED,  /* dropped */
    PRE_WITH_PREVIOUS,
    PRE_WITH_NEXT,
    PRE_CONTIGUOUS, /* neighbouring matches are one piece */
} pre_behavior;

typedef enum {
    PRE_REGEX,        /* splits at matches of regex */
    PRE_LITERAL,      /* splits at text */
    PRE_CLASS,        /* splits at each character for which is() holds */
    PRE_LENGTH,       /* cuts after every count characters */
    PRE_PREFIX_SPACE, /* puts a space before a piece that does not begin with one */
    PRE_METASPACE,    /* writes text for each space, and before the piece (see prepend) */
    PRE_BYTES,        /* writes bytes as the characters of the byte alphabet */
} pre_kind;

typedef enum { PRE_PREPEND_NEVER, PRE_PREPEND_FIRST, PRE_PREPEND_ALWAYS } pre_prepend;

typedef struct {
    pre_kind kind;
    pre_behavior behavior;
    bool invert; /* the matches are what lies between the matches */
    rx_pattern *regex;
    nx_str text;
    bool (*is)(uint32_t cp);
    size_t count;
    pre_prepend prepend;
} pre_step;

typedef struct {
    NX_VEC(pre_step) steps;
    /* The last step is PRE_BYTES and the model takes plain bytes instead: do not write them out. */
    bool plain_bytes;
} pre_list;

enum { PRE_MAX_STEPS = 64 };

/* The pattern of GPT-2, which byte-level pre-tokenizers use unless told otherwise. */
#define PRE_GPT2_PATTERN                                                                           \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

void pre_list_clear(pre_list *l);
/* False with an error: more than PRE_MAX_STEPS, or a pattern that does not compile. */
bool pre_add(pre_list *l, pre_step step);
bool pre_add_regex(pre_list *l, nx_slice pattern, pre_behavior behavior, bool invert);

/* Takes one piece; false with an error stops everything. */
typedef bool pre_sink(void *user, const char *s, size_t n);

/* Cuts text (valid UTF-8). at_start: it begins where the whole input begins. */
bool pre_run(const pre_list *l, rx_state *rx, const char *text, size_t n, bool at_start,
             pre_sink *sink, void *user);

#endif
