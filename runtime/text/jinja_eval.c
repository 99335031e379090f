/*
 * jinja_eval.c: expressions. One function a kind of node; jinja_eval finds it by table.
 */
#include <string.h>

#include "base/error.h"
#include "runtime/text/jinja_rt.h"

typedef bool eval_fn(jinja_rt *rt, const jnode *n, jinja_env *env, jval *out);

static bool eval_const(jinja_rt *rt, const jnode *n, jinja_env *env, jval *out)
{
    *out = n->value;
    return true;
}

static bool eval_name(jinja_rt *rt, const jnode *n, jinja_env *env, jval *out)
{
    *out = jinja_env_get(env, n->atom);
    if (out->t == JINJA_MISSING)
        *out = jinja_undef_name(rt, (jval){0}, jinja_of_str(n->name));
    return true;
}

static bool eval_items(jinja_rt *rt, const jnode *n, jinja_env *env, jinja_seq **out)
{
    jinja_seq *s = *out = jinja_seq_new(rt, n->list.n);
    for (; s->n < n->list.n; s->n++)
        if (!jinja_eval(rt, n->list.at[s->n], env, &s->at[s->n]))
            return false;
    return true;
}

static bool eval_list(jinja_rt *rt, const jnode *n, jinja_env *env, jval *out)
{
    jinja_seq *s;
    if (!eval_items(rt, n, env, &s))
        return false;
    *out = n->kind == JN_LIST ? jinja_list(s) : jinja_tuple(s);
    return true;
}

static bool eval_dict(jinja_rt *rt, const jnode *n, jinja_env *env, jval *out)
{
    jinja_dict *d = jinja_dict_new(rt);
    for (size_t i = 0; i + 1 < n->list.n; i += 2) {
        jval k, v;
        if (!jinja_eval(rt, n->list.at[i], env, &k) ||
            !jinja_eval(rt, n->list.at[i + 1], env, &v) || !jinja_dict_set(rt, d, k, v))
            return false;
    }
    *out = (jval){.t = JINJA_DICT, .d = d};
    return true;
}

static bool eval_cond(jinja_rt *rt, const jnode *n, jinja_env *env, jval *out)
{
    if (!jinja_eval(rt, n->b, env, out))
        return false;
    if (jinja_truth(rt, *out))
        return jinja_eval(rt, n->a, env, out);
    if (n->c)
        return jinja_eval(rt, n->c, env, out);
    *out = jinja_undef(rt, "the inline if-expression evaluated to false and no else section was "
                           "defined.");
    return true;
}

static bool eval_and_or(jinja_rt *rt, const jnode *n, jinja_env *env, jval *out)
{
    if (!jinja_eval(rt, n->a, env, out))
        return false;
    return jinja_truth(rt, *out) == (n->kind == JN_OR) || jinja_eval(rt, n->b, env, out);
}

static bool eval_not(jinja_rt *rt, const jnode *n, jinja_env *env, jval *out)
{
    if (!jinja_eval(rt, n->a, env, out))
        return false;
    *out = jinja_bool(!jinja_truth(rt, *out));
    return true;
}

static bool eval_compare(jinja_rt *rt, const jnode *n, jinja_env *env, jval *out)
{
    jval left, right;
    if (!jinja_eval(rt, n->a, env, &left))
        return false;
    for (size_t i = 0; i < n->list.n; i++, left = right) {
        if (!jinja_eval(rt, n->list.at[i], env, &right) ||
            !jinja_binary(rt, n->ops[i], left, right, out))
            return false;
        if (!out->b)
            break;
    }
    return true;
}

static bool eval_concat(jinja_rt *rt, const jnode *n, jinja_env *env, jval *out)
{
    jinja_seq *s;
    jinja_sb b;
    if (!eval_items(rt, n, env, &s))
        return false;
    jinja_sb_init(&b, rt);
    for (size_t i = 0; i < s->n; i++)
        if (!jinja_put_str(&b, s->at[i]))
            return false;
    return jinja_sb_done(&b, out);
}

static bool eval_binary(jinja_rt *rt, const jnode *n, jinja_env *env, jval *out)
{
    jval a, b;
    if (!jinja_eval(rt, n->a, env, &a) || !jinja_eval(rt, n->b, env, &b))
        return false;
    rt->line = n->line;
    return jinja_binary(rt, n->op, a, b, out);
}

static bool eval_sign(jinja_rt *rt, const jnode *n, jinja_env *env, jval *out)
{
    jval a;
    return jinja_eval(rt, n->a, env, &a) && jinja_negate(rt, a, n->kind == JN_NEG, out);
}

static bool eval_attr(jinja_rt *rt, const jnode *n, jinja_env *env, jval *out)
{
    jval a;
    if (!jinja_eval(rt, n->a, env, &a))
        return false;
    rt->line = n->line;
    return jinja_getattr(rt, a, n->name, out);
}

static bool eval_item(jinja_rt *rt, const jnode *n, jinja_env *env, jval *out)
{
    jval a, b;
    if (!jinja_eval(rt, n->a, env, &a) || !jinja_eval(rt, n->b, env, &b))
        return false;
    rt->line = n->line;
    return jinja_getitem(rt, a, b, out);
}

static bool eval_part(jinja_rt *rt, const jnode *n, jinja_env *env, jval *out)
{
    *out = jinja_none();
    return !n || jinja_eval(rt, n, env, out);
}

static bool eval_slice(jinja_rt *rt, const jnode *n, jinja_env *env, jval *out)
{
    jval a, from, to, step;
    if (!jinja_eval(rt, n->a, env, &a) || !eval_part(rt, n->b, env, &from) ||
        !eval_part(rt, n->c, env, &to) || !eval_part(rt, n->d, env, &step))
        return false;
    rt->line = n->line;
    return jinja_slice(rt, a, from, to, step, out);
}

static bool eval_bad_slice(jinja_rt *rt, const jnode *n, jinja_env *env, jval *out)
{
    rt->line = n->line;
    return jinja_fail(rt, "a slice cannot stand in a tuple of indices");
}

/* --- calls --- */

static bool add_star(jinja_rt *rt, const jnode *n, jinja_env *env, jinja_seq *pos)
{
    jval v, item;
    jinja_iter *it;
    bool done;
    if (!n)
        return true;
    if (!jinja_eval(rt, n, env, &v) || !jinja_iter_of(rt, v, &it))
        return false;
    while (jinja_iter_next(rt, it, &item, &done)) {
        if (done)
            return true;
        if (!jinja_seq_push(rt, pos, item))
            return false;
    }
    return false;
}

typedef struct {
    jinja_seq *names, *values;
} keywords;

static bool add_keyword(jinja_rt *rt, keywords *k, const jinja_str *name, jval v)
{
    return jinja_seq_push(rt, k->names, jinja_of_str(name)) && jinja_seq_push(rt, k->values, v);
}

static bool add_star_star(jinja_rt *rt, const jnode *n, jinja_env *env, keywords *k)
{
    jval v;
    if (!n)
        return true;
    if (!jinja_eval(rt, n, env, &v))
        return false;
    if (v.t != JINJA_DICT)
        return jinja_fail(rt, "what follows ** must be a mapping, not '%s'", jinja_type_name(v));
    for (size_t i = 0; i < v.d->n; i++) {
        if (v.d->at[i].key.t != JINJA_STR)
            return jinja_fail(rt, "keywords must be strings");
        if (!jinja_charge(rt, 1) || !add_keyword(rt, k, v.d->at[i].key.s, v.d->at[i].value))
            return false;
    }
    return true;
}

static bool no_duplicates(jinja_rt *rt, const keywords *k)
{
    for (size_t i = 0; i < k->names->n; i++)
        for (size_t j = 0; j < i; j++) {
            const jinja_str *a = k->names->at[i].s, *b = k->names->at[j].s;
            if (!jinja_charge(rt, 1))
                return false;
            if (a->len == b->len && memcmp(a->s, b->s, a->len) == 0)
                return jinja_fail(rt, "keyword argument '%.*s' is given twice", (int)a->len, a->s);
        }
    return true;
}

/* All arguments of a call. A call block adds its body as the keyword `caller`. */
static bool eval_args(jinja_rt *rt, const jinja_call_args *c, jinja_env *env, jval caller,
                      jinja_args *out)
{
    jinja_seq *pos = jinja_seq_new(rt, c->pos.n);
    keywords k = {jinja_seq_new(rt, c->kw.n), jinja_seq_new(rt, c->kw.n)};
    jval v;
    for (size_t i = 0; i < c->pos.n; i++)
        if (!jinja_eval(rt, c->pos.at[i], env, &v) || !jinja_seq_push(rt, pos, v))
            return false;
    for (size_t i = 0; i < c->kw.n; i++)
        if (!jinja_eval(rt, c->kw.at[i], env, &v) || !add_keyword(rt, &k, c->kw_name[i], v))
            return false;
    if (caller.t != JINJA_MISSING && !add_keyword(rt, &k, caller.macro->name, caller))
        return false;
    if (!add_star(rt, c->star, env, pos) || !add_star_star(rt, c->star_star, env, &k) ||
        !no_duplicates(rt, &k))
        return false;
    *out = (jinja_args){.pos = pos->at, .n = pos->n, .kw = k.values->at, .n_kw = k.values->n};
    if (out->n_kw) {
        out->kw_name = jinja_alloc(rt, out->n_kw * sizeof *out->kw_name);
        for (size_t i = 0; i < out->n_kw; i++)
            out->kw_name[i] = k.names->at[i].s;
    }
    return true;
}

bool jinja_eval_call(jinja_rt *rt, const jnode *n, jinja_env *env, jval caller, jval *out)
{
    jval fn;
    jinja_args a;
    if (!jinja_eval(rt, n->a, env, &fn) || !eval_args(rt, n->call, env, caller, &a))
        return false;
    rt->line = n->line;
    return jinja_call(rt, fn, &a, out);
}

static bool eval_call(jinja_rt *rt, const jnode *n, jinja_env *env, jval *out)
{
    return jinja_eval_call(rt, n, env, (jval){0}, out);
}

/* --- filters and tests --- */

static bool unknown(jinja_rt *rt, const char *what, const jinja_str *name)
{
    return jinja_fail(rt, "there is no %s named '%.*s'", what, (int)name->len, name->s);
}

bool jinja_eval_filter_on(jinja_rt *rt, const jnode *n, jinja_env *env, jval in, jval *out)
{
    jinja_args a;
    if (n->a && !jinja_eval_filter_on(rt, n->a, env, in, &in)) /* a chain in a filter block */
        return false;
    rt->line = n->line;
    if (!n->row)
        return unknown(rt, "filter", n->name);
    if (!eval_args(rt, n->call, env, (jval){0}, &a))
        return false;
    rt->line = n->line;
    return jinja_call_builtin(rt, n->row, in, &a, out);
}

static bool eval_filter(jinja_rt *rt, const jnode *n, jinja_env *env, jval *out)
{
    jval in;
    jinja_args a;
    if (!n->row) {
        rt->line = n->line;
        return unknown(rt, "filter", n->name);
    }
    if (!jinja_eval(rt, n->a, env, &in) || !eval_args(rt, n->call, env, (jval){0}, &a))
        return false;
    rt->line = n->line;
    return jinja_call_builtin(rt, n->row, in, &a, out);
}

static bool eval_test(jinja_rt *rt, const jnode *n, jinja_env *env, jval *out)
{
    jval in;
    jinja_args a;
    if (!n->row) {
        rt->line = n->line;
        return unknown(rt, "test", n->name);
    }
    if (!jinja_eval(rt, n->a, env, &in) || !eval_args(rt, n->call, env, (jval){0}, &a))
        return false;
    rt->line = n->line;
    return jinja_call_builtin(rt, n->row, in, &a, out);
}

bool jinja_filter_by_name(jinja_rt *rt, const jinja_str *name, jval v, const jinja_args *a,
                          jval *out)
{
    const jinja_builtin *row = jinja_filter_find(name->s, name->len);
    return row ? jinja_call_builtin(rt, row, v, a, out) : unknown(rt, "filter", name);
}

bool jinja_test_by_name(jinja_rt *rt, const jinja_str *name, jval v, const jinja_args *a, bool *out)
{
    const jinja_builtin *row = jinja_find(jinja_tests, name->s, name->len);
    jval r;
    if (!row)
        return unknown(rt, "test", name);
    if (!jinja_call_builtin(rt, row, v, a, &r))
        return false;
    *out = jinja_truth(rt, r);
    return true;
}

static eval_fn *const evaluators[JN_KINDS] = {
    [JN_CONST] = eval_const,     [JN_NAME] = eval_name,     [JN_LIST] = eval_list,
    [JN_TUPLE] = eval_list,      [JN_DICT] = eval_dict,     [JN_COND] = eval_cond,
    [JN_AND] = eval_and_or,      [JN_OR] = eval_and_or,     [JN_NOT] = eval_not,
    [JN_COMPARE] = eval_compare, [JN_CONCAT] = eval_concat, [JN_BINARY] = eval_binary,
    [JN_NEG] = eval_sign,        [JN_POS] = eval_sign,      [JN_ATTR] = eval_attr,
    [JN_ITEM] = eval_item,       [JN_SLICE] = eval_slice,   [JN_BAD_SLICE] = eval_bad_slice,
    [JN_CALL] = eval_call,       [JN_FILTER] = eval_filter, [JN_TEST] = eval_test,
};

bool jinja_eval(jinja_rt *rt, const jnode *n, jinja_env *env, jval *out)
{
    if (n->kind <= JN_NAME)
        return jinja_charge(rt, 1) && evaluators[n->kind](rt, n, env, out);
    rt->line = n->line;
    if (!jinja_charge(rt, 1) || !jinja_enter(rt))
        return false;
    NX_BUG_IF(!evaluators[n->kind]);
    bool ok = evaluators[n->kind](rt, n, env, out);
    jinja_leave(rt);
    return ok;
}
