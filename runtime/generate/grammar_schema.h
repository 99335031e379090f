/*
 * grammar_schema.h: what the files that make grammars of JSON schemas share: where in the schema they
 * are, and the small parts of JSON.
 */
#ifndef NX_RUNTIME_GENERATE_GRAMMAR_SCHEMA_H
#define NX_RUNTIME_GENERATE_GRAMMAR_SCHEMA_H

#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/str.h"
#include "base/vec.h"
#include "runtime/generate/grammar_expr.h"

typedef NX_VEC(expr) expr_vec;

typedef struct {
    expr_set *s;
    const json_t *root;
    nx_str path; /* where we are: "/properties/age" */
    int depth;
} schema;

static inline expr fail(schema *c, const char *what)
{
    nx_fail("[schema] %s: %s", c->path.len ? nx_str_cstr(&c->path) : "/", what);
    return -1;
}

/* Walks down, for messages: undone by leave. */
static inline size_t schema_enter(schema *c, const char *part)
{
    size_t before = c->path.len;
    nx_str_printf(&c->path, "/%.100s", part);
    return before;
}

static inline expr schema_leave(schema *c, size_t before, expr e)
{
    nx_str_truncate(&c->path, before);
    return e;
}

static inline expr text(schema *c, const char *t)
{
    return expr_text(c->s, t, strlen(t));
}

static inline expr call(schema *c, const char *name)
{
    return expr_call(c->s, name, strlen(name));
}

static inline expr range(schema *c, uint8_t lo, uint8_t hi)
{
    return expr_byte(c->s, lo, hi);
}

static inline void define(schema *c, const char *name, expr body)
{
    int index = expr_rule_index(c->s, name, strlen(name)); /* may move the rules */
    c->s->rules.at[index].body = body;
}

static inline expr space(schema *c)
{
    return call(c, " space");
}

static inline expr member(schema *c, expr key, expr of)
{
    return EXPR_SEQ(c->s, key, space(c), text(c, ":"), space(c), of);
}

/* The rules that every schema may call; their names cannot be those of references. */
void schema_define_common(schema *c);
/* min to max of item between open and close; max < 0: any number. */
expr schema_list_of(schema *c, const char *open, expr item, int min, int max, const char *close);
expr schema_quoted(schema *c, expr inside);
/* Two of v's keywords as limits; *max is -1 where there is none. */
bool schema_limits(schema *c, const json_t *v, const char *least, const char *most, int *min, int *max);

/* What satisfies the schema v; -1 with a message. */
expr schema_value(schema *c, const json_t *v);
/* The same where its type is known. */
expr schema_string(schema *c, const json_t *v);
expr schema_integer(schema *c, const json_t *v);
expr schema_number(schema *c, const json_t *v);
expr schema_array(schema *c, const json_t *v);
expr schema_object(schema *c, const json_t *v);
/* Whether `required`, a list, names key. */
bool schema_requires(const json_t *required, const char *key);
/* The JSON text v itself. */
expr schema_constant(schema *c, const json_t *v);

#endif
