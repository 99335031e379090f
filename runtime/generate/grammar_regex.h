/* grammar_regex.h: a regular expression as an expression of a larger grammar. */
#ifndef NX_RUNTIME_GENERATE_GRAMMAR_REGEX_H
#define NX_RUNTIME_GENERATE_GRAMMAR_REGEX_H

#include "runtime/generate/grammar.h"

/* json: as characters stand inside a JSON text. whole: the pattern is the whole text even without ^
 * and $; else anything may stand around it. -1 with a message. */
expr grammar_regex_expr(expr_set *s, const char *pattern, size_t n, bool json, bool whole);

#endif
