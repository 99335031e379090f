/*
 * grammar.h: texts that a generation may produce, as a mask over the vocabulary.
 *
 * A grammar is an expression over bytes with rules that may call one another (grammar_expr.h),
 * written as GBNF, a regular expression or a JSON schema. It compiles to a program for a pushdown
 * automaton. Matching makes a deterministic automaton of it as it goes: a state is a set of places
 * with their stacks, stacks are shared, and each state's steps are remembered. So after a few
 * tokens a step costs a table look-up a byte, and a mask one such walk over the sorted vocabulary;
 * masks of states met before are kept.
 */
#ifndef NX_RUNTIME_GENERATE_GRAMMAR_H
#define NX_RUNTIME_GENERATE_GRAMMAR_H

#include "runtime/generate/grammar_expr.h"
#include "runtime/text/tokenizer.h"

/* ---- from a text: NULL with a message that names the place ---- */

typedef struct grammar grammar; /* a compiled program; immutable */

grammar *grammar_from_gbnf(const char *text, size_t length); /* llama.cpp's notation; rule "root" */
grammar *grammar_from_regex(const char *pattern, size_t length); /* the whole text must match */
grammar *grammar_from_schema(const char *json, size_t length);   /* a JSON text that satisfies it */
grammar *grammar_any_json(void);                                 /* any JSON object */
/* The root expression and the rules of e; frees e. */
grammar *grammar_compile(expr_set *e, expr root);
void grammar_free(grammar *g);

/* ---- the vocabulary, sorted once a tokenizer ---- */

typedef struct vocabulary vocabulary;
vocabulary *vocabulary_new(const tokenizer *t);
void vocabulary_free(vocabulary *v);

/* ---- matching ---- */

typedef struct matcher matcher;

/* Both are borrowed and must outlive it. vocab_size: of the logits. */
matcher *matcher_new(const grammar *g, const vocabulary *v, int vocab_size);
void matcher_free(matcher *m);
void matcher_reset(matcher *m);
/* Bits of the tokens that may come next; end-of-text tokens only where the text may end. NULL with a
 * message where nothing may. */
const uint64_t *matcher_mask(matcher *m);
/* Moves over a token; false where it may not come here, and nothing may any more. */
bool matcher_accept(matcher *m, int32_t id);
/* Remembers this place, one at a time, and goes back to it: to try what may not come. */
void matcher_mark(matcher *m);
void matcher_back(matcher *m);
/* For tests: moves over bytes; false where they do not match. */
bool matcher_bytes(matcher *m, const char *bytes, size_t n);
bool matcher_may_end(matcher *m);

#endif
