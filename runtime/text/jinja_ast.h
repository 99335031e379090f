/*
 * jinja_ast.h: the parsed template. Built once by jinja_parse*.c in the template's arena and only
 * read afterwards.
 */
#ifndef NX_TEXT_JINJA_AST_H
#define NX_TEXT_JINJA_AST_H

#include "base/arena.h"
#include "base/map.h"
#include "base/vec.h"
#include "runtime/text/jinja_value.h"

typedef enum {
    JINJA_OP_NONE,
    JINJA_ADD,
    JINJA_SUB,
    JINJA_MUL,
    JINJA_DIV,
    JINJA_FLOORDIV,
    JINJA_MOD,
    JINJA_POW,
    JINJA_EQ,
    JINJA_NE,
    JINJA_LT,
    JINJA_LE,
    JINJA_GT,
    JINJA_GE,
    JINJA_IN,
    JINJA_NOTIN,
    /* signs that are no operators of two values */
    JINJA_TILDE,
    JINJA_LBRACKET,
    JINJA_RBRACKET,
    JINJA_LPAREN,
    JINJA_RPAREN,
    JINJA_LBRACE,
    JINJA_RBRACE,
    JINJA_ASSIGN,
    JINJA_DOT,
    JINJA_COLON,
    JINJA_PIPE,
    JINJA_COMMA,
    JINJA_SEMICOLON,
} jinja_op;

typedef enum {
    /* expressions */
    JN_CONST,     /* value */
    JN_NAME,      /* atom, name */
    JN_NSREF,     /* atom . attr: only as a target */
    JN_LIST,      /* list */
    JN_TUPLE,     /* list */
    JN_DICT,      /* list: key, value, key, value… */
    JN_COND,      /* a if b else c (c may be NULL) */
    JN_AND,       /* a, b */
    JN_OR,        /* a, b */
    JN_NOT,       /* a */
    JN_COMPARE,   /* a, then list with ops[] */
    JN_CONCAT,    /* list */
    JN_BINARY,    /* a op b */
    JN_NEG,       /* -a */
    JN_POS,       /* +a */
    JN_ATTR,      /* a.name */
    JN_ITEM,      /* a[b] */
    JN_SLICE,     /* a[b:c:d], each of b c d may be NULL */
    JN_BAD_SLICE, /* a slice where Python cannot take one */
    JN_CALL,      /* a(call) */
    JN_FILTER,    /* a|name(call); a NULL in filter blocks */
    JN_TEST,      /* a is name(call) */
    /* statements */
    JN_OUTPUT,       /* list */
    JN_IF,           /* a, body, orelse */
    JN_FOR,          /* target a in b if c; body, orelse; flag: recursive; uses_loop */
    JN_SET,          /* a = b */
    JN_SET_BLOCK,    /* a, filter b, body */
    JN_MACRO,        /* name, atom, params, body */
    JN_CALL_BLOCK,   /* call a, params, body */
    JN_FILTER_BLOCK, /* filter b, body */
    JN_WITH,         /* list: target, value…; body */
    JN_SCOPE,        /* body in a scope of its own ({% generation %}, {% block %}) */
    JN_BREAK,
    JN_CONTINUE,
    JN_UNSUPPORTED, /* name: extends, include, import: fails when reached */
    JN_KINDS
} jinja_kind;

typedef struct jinja_node jnode;

typedef struct {
    jnode **at;
    size_t n;
} jnode_list;

typedef struct {
    jnode_list pos;
    jnode_list kw;
    const jinja_str **kw_name;
    jnode *star, *star_star; /* *args, **kwargs; NULL without */
} jinja_call_args;

typedef struct {
    uint32_t *atoms;
    const jinja_str **names;
    jnode **defaults; /* NULL where a parameter has none */
    size_t n;
    bool uses_caller, uses_varargs, uses_kwargs;
} jinja_params;

struct jinja_node {
    jinja_kind kind;
    int line;
    jinja_op op;
    bool flag;
    uint32_t atom;
    const jinja_str *name;
    jval value;
    jnode *a, *b, *c, *d;
    jnode_list list, body, orelse;
    jinja_op *ops;
    jinja_call_args *call;
    jinja_params *params;
    const jinja_builtin *row; /* the filter or test; NULL: unknown, an error when reached */
};

struct jinja_template {
    nx_arena arena;
    nx_map names; /* variable names to atoms */
    nx_map texts; /* string literals and attribute names */
    uint32_t n_atoms;
    uint32_t atom_loop, atom_caller, atom_varargs, atom_kwargs;
    jnode_list body;
};

#endif
