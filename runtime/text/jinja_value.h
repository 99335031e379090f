/*
 * jinja_value.h: what a Jinja expression can be, with Python's semantics. Internal to jinja_*.c.
 *
 * A value is 16 bytes, passed by value; what it points to lives in the arena of the render (or of
 * the template, for constants) and never changes once built, as in Hugging Face's immutable
 * sandbox. The exceptions: a namespace, and whatever is walked (iterators, loop).
 */
#ifndef NX_TEXT_JINJA_VALUE_H
#define NX_TEXT_JINJA_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

typedef enum {
    JINJA_MISSING, /* no value: an unbound name, an argument not given; never seen by templates */
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_STR,
    JINJA_LIST,
    JINJA_TUPLE,
    JINJA_DICT,
    JINJA_VIEW, /* dict.keys(), .values(), .items() */
    JINJA_RANGE,
    JINJA_ITER, /* a generator: walked once */
    JINJA_NAMESPACE,
    JINJA_MACRO,
    JINJA_METHOD, /* a builtin bound to its object */
    JINJA_FUNC,   /* a builtin */
    JINJA_LOOP,
    JINJA_CYCLER,
    JINJA_JOINER,
} jinja_type;

typedef struct jinja_rt jinja_rt;
typedef struct jinja_value jval;

/* Valid UTF-8; not NUL-terminated. */
typedef struct {
    const char *s;
    size_t len; /* bytes */
    size_t n;   /* code points */
    bool safe;  /* Markup: + escapes what it is joined with */
} jinja_str;

typedef struct jinja_seq jinja_seq;
typedef struct jinja_dict jinja_dict;
typedef struct jinja_undefined jinja_undefined;
typedef struct jinja_view jinja_view;
typedef struct jinja_range jinja_range;
typedef struct jinja_iter jinja_iter;
typedef struct jinja_macro jinja_macro;
typedef struct jinja_method jinja_method;
typedef struct jinja_loop jinja_loop;
typedef struct jinja_cycler jinja_cycler;
typedef struct jinja_joiner jinja_joiner;
typedef struct jinja_builtin jinja_builtin;

struct jinja_value {
    jinja_type t;
    union {
        bool b;
        int64_t i;
        double f;
        const jinja_str *s;
        jinja_seq *seq; /* list and tuple */
        jinja_dict *d;  /* dict and namespace */
        const jinja_undefined *u;
        jinja_view *view;
        jinja_range *range;
        jinja_iter *it;
        jinja_macro *macro;
        jinja_method *method;
        const jinja_builtin *func;
        jinja_loop *loop;
        jinja_cycler *cycler;
        jinja_joiner *joiner;
    };
};

struct jinja_seq {
    size_t n, cap;
    jval *at;
    bool group; /* a tuple of groupby: .grouper and .list */
};

typedef struct {
    jval key, value;
    uint64_t hash;
} jinja_entry;

struct jinja_dict {
    size_t n, cap;
    jinja_entry *at; /* in order of insertion */
    uint32_t *slots; /* index + 1; NULL while small */
    size_t n_slots;  /* a power of two */
};

/* Why a value is undefined: a hint, or the name (attribute, index) that `of` does not have. */
struct jinja_undefined {
    const char *hint;
    jval name, of; /* of MISSING: a variable */
};

struct jinja_view {
    jinja_dict *d;
    enum { JINJA_KEYS, JINJA_VALUES, JINJA_ITEMS } kind;
};

struct jinja_range {
    int64_t start, step, n;
};

struct jinja_cycler {
    jinja_seq items;
    size_t pos;
};

/* Called the first time it is empty, then its separator. */
struct jinja_joiner {
    jval sep;
    bool called;
};

/* A step of a walk: true with *done or a value in *out; false after an error. */
typedef bool jinja_next_fn(jinja_rt *rt, jinja_iter *it, jval *out, bool *done);

struct jinja_iter {
    jinja_next_fn *next;
    jval src;         /* what is walked */
    size_t pos;       /* where in it (bytes for a string) */
    void *state;      /* a filter's own */
    const char *name; /* for printing */
};

/* The arguments of a call. Bound ones have pos[] a parameter each, MISSING where not given. */
typedef struct {
    jval *pos;
    size_t n;
    const jinja_str **kw_name;
    jval *kw;
    size_t n_kw;
} jinja_args;

typedef bool jinja_fn(jinja_rt *rt, jval self, const jinja_args *a, jval *out);

/*
 * A filter, test, method or global function. params names its parameters, separated by commas;
 * "/" in front: positional only; NULL: it takes its arguments as they come. The first `need`
 * parameters must be given. fn NULL: it changes its object, which a template may not.
 */
struct jinja_builtin {
    const char *name;
    const char *params;
    int need;
    jinja_fn *fn;
};

struct jinja_method {
    const jinja_builtin *row;
    jval self;
};

static inline jval jinja_none(void)
{
    return (jval){.t = JINJA_NONE};
}
static inline jval jinja_bool(bool b)
{
    return (jval){.t = JINJA_BOOL, .b = b};
}
static inline jval jinja_int(int64_t i)
{
    return (jval){.t = JINJA_INT, .i = i};
}
static inline jval jinja_float(double f)
{
    return (jval){.t = JINJA_FLOAT, .f = f};
}
static inline jval jinja_of_str(const jinja_str *s)
{
    return (jval){.t = JINJA_STR, .s = s};
}
static inline bool jinja_is_seq(jval v)
{
    return v.t == JINJA_LIST || v.t == JINJA_TUPLE;
}

/* --- making (jinja_value.c) --- */
const jinja_str *jinja_str_new(jinja_rt *rt, const char *s, size_t len); /* does not copy */
jval jinja_text(jinja_rt *rt, const char *literal);                      /* does not copy */
jval jinja_cstr(jinja_rt *rt, const char *s, size_t len);                /* copies */
jinja_seq *jinja_seq_new(jinja_rt *rt, size_t cap);
bool jinja_seq_push(jinja_rt *rt, jinja_seq *s, jval v);
jval jinja_list(jinja_seq *s);
jval jinja_tuple(jinja_seq *s);
jval jinja_pair(jinja_rt *rt, jval a, jval b);
jinja_dict *jinja_dict_new(jinja_rt *rt);
bool jinja_dict_set(jinja_rt *rt, jinja_dict *d, jval key, jval value);
/* *found NULL where there is none; false after an error (an unhashable key). */
bool jinja_dict_get(jinja_rt *rt, const jinja_dict *d, jval key, jinja_entry **found);
/* By a string that is known to be one. */
jval *jinja_dict_str(const jinja_dict *d, const char *key, size_t len);
jval jinja_undef(jinja_rt *rt, const char *hint);
jval jinja_undef_name(jinja_rt *rt, jval of, jval name);
/* Fails with the sentence that belongs to an undefined value. */
bool jinja_fail_undefined(jinja_rt *rt, jval v);

/* --- asking --- */
const char *jinja_type_name(jval v); /* as Python calls it */
bool jinja_truth(jinja_rt *rt, jval v);
bool jinja_equal(jinja_rt *rt, jval a, jval b, bool *out);
/* -1, 0, 1; false after an error where Python has no order. */
bool jinja_order(jinja_rt *rt, jval a, jval b, int *out);
bool jinja_hash(jinja_rt *rt, jval v, uint64_t *out);
/* Python's len(): false without an error when it has none. */
bool jinja_length(jinja_rt *rt, jval v, int64_t *n);
bool jinja_contains(jinja_rt *rt, jval container, jval item, bool *out);
static inline bool jinja_is_number(jval v)
{
    return v.t == JINJA_BOOL || v.t == JINJA_INT || v.t == JINJA_FLOAT;
}
static inline int64_t jinja_as_int(jval v)
{
    return v.t == JINJA_BOOL ? v.b : v.i;
}
static inline double jinja_as_float(jval v)
{
    return v.t == JINJA_FLOAT ? v.f : (double)jinja_as_int(v);
}
bool jinja_str_is(const jinja_str *s, const char *literal);

/* --- walking (jinja_iter.c) --- */
bool jinja_iterable(jval v);
bool jinja_iter_of(jinja_rt *rt, jval v, jinja_iter **out);
bool jinja_iter_next(jinja_rt *rt, jinja_iter *it, jval *out, bool *done);
/* Everything that is left to walk, as a new sequence. */
bool jinja_collect(jinja_rt *rt, jval v, jinja_seq **out);
jval jinja_generator(jinja_rt *rt, const char *name, jinja_next_fn *next, jval src, void *state);

#endif
