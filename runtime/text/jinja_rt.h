/*
 * jinja_rt.h: one render: its arena, limits and position, and what all jinja_*.c share.
 *
 * Every function that can fail returns false after jinja_fail, which records where.
 */
#ifndef NX_TEXT_JINJA_RT_H
#define NX_TEXT_JINJA_RT_H

#include "runtime/text/jinja.h"
#include "runtime/text/jinja_ast.h"
#include "runtime/text/jinja_value.h"

/* Text being built, in the arena. After a failure it takes nothing more. */
typedef struct {
    jinja_rt *rt;
    char *data;
    size_t len, cap;
    bool failed;
} jinja_sb;

typedef struct jinja_env jinja_env;

typedef struct {
    uint32_t atom;
    jval value;
} jinja_binding;

/* A scope. The root has a slot an atom; the others a few bindings. */
struct jinja_env {
    jinja_env *parent; /* NULL: the root */
    jinja_binding *at;
    size_t n, cap;
    jval *root;
};

struct jinja_rt {
    nx_arena arena;
    const jinja_template *tpl;
    jinja_options opt;
    uint64_t steps;
    int depth;
    int line;
    jinja_sb *out;
    jinja_env *globals;
};

struct jinja_macro {
    const jinja_str *name;
    const jnode *node; /* parameters and body */
    jinja_env *env;    /* where it was defined */
};

bool jinja_fail(jinja_rt *rt, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Counts work; false when the render has done too much. */
bool jinja_charge(jinja_rt *rt, uint64_t steps);
static inline bool jinja_charge_bytes(jinja_rt *rt, size_t bytes)
{
    return jinja_charge(rt, bytes / 64 + 1);
}
/* Nesting: every jinja_enter that returned true needs a jinja_leave. */
bool jinja_enter(jinja_rt *rt);
static inline void jinja_leave(jinja_rt *rt)
{
    rt->depth--;
}
/* Arena memory; false where a single piece would exceed the limit. */
bool jinja_room(jinja_rt *rt, size_t bytes);
void *jinja_alloc(jinja_rt *rt, size_t bytes); /* small pieces: zeroed */

void jinja_sb_init(jinja_sb *b, jinja_rt *rt);
void jinja_sb_add(jinja_sb *b, const char *s, size_t n);
void jinja_sb_puts(jinja_sb *b, const char *s);
void jinja_sb_putc(jinja_sb *b, char c);
void jinja_sb_cp(jinja_sb *b, uint32_t code_point);
void jinja_sb_repeat(jinja_sb *b, const char *s, size_t n, int64_t times);
bool jinja_sb_done(jinja_sb *b, jval *out); /* the text as a string value */

/* --- printing (jinja_print.c) --- */
bool jinja_put_str(jinja_sb *b, jval v);  /* Python's str() */
bool jinja_put_repr(jinja_sb *b, jval v); /* Python's repr() */
bool jinja_to_str(jinja_rt *rt, jval v, const jinja_str **out);
void jinja_put_float(jinja_sb *b, double f);
bool jinja_put_json(jinja_rt *rt, jval self, const jinja_args *a, jval *out);
bool jinja_from_json(jinja_rt *rt, json_t *j, jval *out);

/* --- characters (jinja_chars.c) --- */
size_t jinja_utf8_next(const char *s, size_t len, uint32_t *cp); /* bytes taken; 0 at the end */
size_t jinja_utf8_count(const char *s, size_t len);
size_t jinja_offset(const jinja_str *s, size_t index); /* byte offset of a code point */
bool jinja_is_space(uint32_t cp);
bool jinja_is_line_break(uint32_t cp);
bool jinja_is_printable(uint32_t cp);
bool jinja_is_word(uint32_t cp);
bool jinja_is_alpha(uint32_t cp);
bool jinja_is_digit(uint32_t cp);
bool jinja_is_numeric(uint32_t cp);
bool jinja_is_upper(uint32_t cp);
bool jinja_is_lower(uint32_t cp);
typedef enum { JINJA_UPPER, JINJA_LOWER, JINJA_TITLE, JINJA_CAPITALIZE, JINJA_SWAP } jinja_case;
void jinja_put_case(jinja_sb *b, const jinja_str *s, jinja_case how);

/* --- operators (jinja_ops.c) --- */
bool jinja_binary(jinja_rt *rt, jinja_op op, jval a, jval b, jval *out);
bool jinja_negate(jinja_rt *rt, jval a, bool minus, jval *out);
bool jinja_getattr(jinja_rt *rt, jval of, const jinja_str *name, jval *out);
bool jinja_getitem(jinja_rt *rt, jval of, jval index, jval *out);
bool jinja_slice(jinja_rt *rt, jval of, jval start, jval stop, jval step, jval *out);
bool jinja_escape(jinja_rt *rt, jval v, jval *out);
bool jinja_percent(jinja_rt *rt, const jinja_str *fmt, jval args, jval *out);
bool jinja_format(jinja_rt *rt, const jinja_str *fmt, const jinja_args *a, jval *out);
jval jinja_str_sub(jinja_rt *rt, const jinja_str *s, size_t from, size_t to); /* bytes */

/* --- calls (jinja_call.c, jinja_exec.c) --- */
bool jinja_call(jinja_rt *rt, jval fn, const jinja_args *a, jval *out);
bool jinja_call_builtin(jinja_rt *rt, const jinja_builtin *row, jval self, const jinja_args *a,
                        jval *out);
bool jinja_call_macro(jinja_rt *rt, jinja_macro *m, const jinja_args *a, jval *out);
bool jinja_call_loop(jinja_rt *rt, jinja_loop *loop, jval items, jval *out);
const jinja_builtin *jinja_find(const jinja_builtin *rows, const char *name, size_t len);
bool jinja_arg_int(jinja_rt *rt, const jinja_args *a, size_t i, int64_t fallback, int64_t *out);
bool jinja_arg_str(jinja_rt *rt, const jinja_args *a, size_t i, const jinja_str **out);
static inline bool jinja_given(const jinja_args *a, size_t i)
{
    return i < a->n && a->pos[i].t != JINJA_MISSING;
}

/* --- loops (jinja_loop.c) --- */
bool jinja_loop_new(jinja_rt *rt, jval items, jinja_iter *it, int64_t depth0, jinja_loop **out);
bool jinja_loop_next(jinja_rt *rt, jinja_loop *l, jval *out, bool *done);
bool jinja_loop_attr(jinja_rt *rt, jinja_loop *l, const jinja_str *name, jval *out, bool *found);
bool jinja_loop_print(jinja_sb *b, jinja_loop *l);
struct jinja_loop {
    jval items; /* what is walked, for its length */
    jinja_iter *it;
    jval before, current, after; /* MISSING where there is none */
    bool peeked, ended;
    int64_t index0, length; /* length -1: not known yet */
    int64_t depth0;
    jval changed;      /* the arguments of the last changed() */
    const jnode *node; /* a recursive loop: what loop(…) runs, and in which scope */
    jinja_env *env;
};

/* --- expressions (jinja_eval.c) --- */
bool jinja_eval(jinja_rt *rt, const jnode *n, jinja_env *env, jval *out);
bool jinja_eval_call(jinja_rt *rt, const jnode *n, jinja_env *env, jval caller, jval *out);
bool jinja_eval_filter_on(jinja_rt *rt, const jnode *n, jinja_env *env, jval in, jval *out);
bool jinja_eval_test_row(jinja_rt *rt, const jinja_builtin *row, jval v, const jinja_args *a,
                         bool *out);
bool jinja_filter_by_name(jinja_rt *rt, const jinja_str *name, jval v, const jinja_args *a,
                          jval *out);
bool jinja_test_by_name(jinja_rt *rt, const jinja_str *name, jval v, const jinja_args *a,
                        bool *out);

/* --- statements (jinja_exec.c) --- */
typedef enum { JINJA_FAILED, JINJA_DONE, JINJA_BREAK, JINJA_CONTINUE } jinja_flow;
jinja_flow jinja_exec_all(jinja_rt *rt, const jnode_list *body, jinja_env *env);
jinja_env *jinja_env_new(jinja_rt *rt, jinja_env *parent);
void jinja_env_set(jinja_rt *rt, jinja_env *env, uint32_t atom, jval v);
jval jinja_env_get(const jinja_env *env, uint32_t atom);

/* --- tables; each ends with a row without a name --- */
extern const jinja_builtin jinja_filters[], jinja_seq_filters[], jinja_tests[], jinja_globals[];
extern const jinja_builtin jinja_str_methods[], jinja_dict_methods[], jinja_list_methods[],
    jinja_tuple_methods[], jinja_cycler_methods[], jinja_dict_type_methods[];
const jinja_builtin *jinja_filter_find(const char *name, size_t len);

#endif
