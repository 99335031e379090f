/*
 * jinja_lex.h: template text into tokens, with Jinja's whitespace rules for trim_blocks and
 * lstrip_blocks already applied to the text between tags.
 */
#ifndef NX_TEXT_JINJA_LEX_H
#define NX_TEXT_JINJA_LEX_H

#include "base/vec.h"
#include "runtime/text/jinja_ast.h"

typedef enum {
    JT_EOF,
    JT_DATA,      /* text */
    JT_VAR_BEGIN, /* {{ */
    JT_VAR_END,
    JT_BLOCK_BEGIN, /* {% */
    JT_BLOCK_END,
    JT_NAME,   /* text */
    JT_STRING, /* text, escapes resolved */
    JT_INT,
    JT_FLOAT,
    JT_OP,
} jinja_token_type;

typedef struct {
    jinja_token_type type;
    int line;
    jinja_op op;
    const char *s; /* in the arena */
    size_t len;
    int64_t i;
    double f;
} jinja_token;

typedef NX_VEC(jinja_token) jinja_tokens;

/* Ends with a JT_EOF. The tokens' text lies in `arena`; the vector is the caller's to clear, also
 * after an error. */
bool jinja_lex(nx_arena *arena, const char *source, size_t len, jinja_tokens *out);

#endif
