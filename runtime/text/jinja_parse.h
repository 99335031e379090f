/*
 * jinja_parse.h: what the expression parser (jinja_parse.c) and the statement parser
 * (jinja_parse_stmt.c) share.
 */
#ifndef NX_TEXT_JINJA_PARSE_H
#define NX_TEXT_JINJA_PARSE_H

#include "runtime/text/jinja_lex.h"
#include "runtime/text/jinja_rt.h"

typedef NX_VEC(jnode *) jinja_nodes;

/* What the parser remembers of the macros around it: which of the magic names they read. */
typedef struct jinja_macro_uses {
    struct jinja_macro_uses *outer;
    jinja_params *params;
} jinja_macro_uses;

typedef struct {
    jinja_template *tpl;
    const jinja_token *t; /* the current token; the last one is JT_EOF */
    int depth;
    int loops; /* for loops around, up to the next macro: may break stand here? */
    jinja_macro_uses *macros;
} jinja_parser;

bool jinja_parse_fail(const jinja_parser *p, const char *what); /* false, with the line */
bool jinja_parse_enter(jinja_parser *p);

jnode *jinja_node(jinja_parser *p, jinja_kind kind);
jnode *jinja_node_at(jinja_parser *p, jinja_kind kind, int line);
jnode_list jinja_nodes_keep(jinja_parser *p, jinja_nodes *v); /* copies to the arena, clears v */
const jinja_str *jinja_parse_str(jinja_parser *p, const char *s, size_t len);
uint32_t jinja_atom(jinja_template *t, const char *name, size_t len);

bool jinja_is_op(const jinja_parser *p, jinja_op op);
bool jinja_is_name(const jinja_parser *p, const char *name);
bool jinja_skip_op(jinja_parser *p, jinja_op op);
bool jinja_skip_name(jinja_parser *p, const char *name);
bool jinja_expect_op(jinja_parser *p, jinja_op op, const char *text);

/* All return NULL after an error. */
jnode *jinja_parse_expr(jinja_parser *p, bool with_cond);
/* One expression, or a tuple of those between commas. `end`: a name that also ends it. */
jnode *jinja_parse_tuple(jinja_parser *p, bool with_cond, const char *end, bool parens);
jnode *jinja_parse_primary(jinja_parser *p, bool with_ns);
jnode *jinja_parse_filters(jinja_parser *p, jnode *in, bool start_inline);
jnode *jinja_parse_target(jinja_parser *p, const char *end, bool with_ns);

/* Refuses unknown filters and tests, except under an if, where they fail when they are reached. */
bool jinja_check(const jinja_template *t);

bool jinja_parse_body(jinja_parser *p, const char *const *ends, jnode_list *out);

#endif
