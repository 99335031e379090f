/*
 * grammar_expr.h: building grammars: expressions over bytes, and rules that name them.
 *
 * An expr is an index into its set; combining some makes a new one. Sizes are limited: a set that
 * grew too large fails as a whole when it is compiled.
 */
#ifndef NX_RUNTIME_GENERATE_GRAMMAR_EXPR_H
#define NX_RUNTIME_GENERATE_GRAMMAR_EXPR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"
#include "base/vec.h"

typedef int32_t expr; /* -1: none */

typedef enum { EXPR_BYTES, EXPR_SEQ, EXPR_ALT, EXPR_REPEAT, EXPR_RULE } expr_kind;

typedef struct {
    expr_kind kind;
    uint8_t lo, hi;  /* BYTES: one byte of this range */
    int first, n;    /* SEQ, ALT: parts[first … first + n) */
    int min, max;    /* REPEAT of parts[first]; max -1: without end */
    int rule;        /* RULE */
} expr_node;

typedef struct {
    char *name;
    expr body; /* -1: named and not yet given */
} expr_rule;

typedef struct {
    NX_VEC(expr_node) nodes;
    NX_VEC(expr) parts;
    NX_VEC(expr_rule) rules;
    nx_map names;
    bool too_large;
} expr_set;

typedef struct {
    uint32_t lo, hi;
} code_range;

typedef NX_VEC(code_range) code_ranges;

void expr_set_clear(expr_set *s);

expr expr_empty(expr_set *s); /* the empty text */
expr expr_byte(expr_set *s, uint8_t lo, uint8_t hi);
expr expr_text(expr_set *s, const char *text, size_t n); /* these bytes */
/* One character of these code points, as UTF-8; sorts and joins the ranges. negated: any other. */
expr expr_class(expr_set *s, code_ranges *r, bool negated);
expr expr_seq(expr_set *s, const expr *parts, int n);
expr expr_alt(expr_set *s, const expr *parts, int n);
expr expr_repeat(expr_set *s, expr part, int min, int max); /* max -1: without end */
expr expr_optional(expr_set *s, expr part);
/* A call of a rule by name; the rule may be given later. */
expr expr_call(expr_set *s, const char *name, size_t n);
int expr_rule_index(expr_set *s, const char *name, size_t n);

#define EXPR_SEQ(s, ...) \
    expr_seq(s, (const expr[]){__VA_ARGS__}, (int)(sizeof((const expr[]){__VA_ARGS__}) / sizeof(expr)))
#define EXPR_ALT(s, ...) \
    expr_alt(s, (const expr[]){__VA_ARGS__}, (int)(sizeof((const expr[]){__VA_ARGS__}) / sizeof(expr)))

enum { EXPR_NODES_MOST = 200000, EXPR_REPEAT_MOST = 5000 };

#endif
