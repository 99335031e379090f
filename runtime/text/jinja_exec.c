/*
 * jinja_exec.c: statements, scopes, loops and macros.
 *
 * A for loop's body, a macro, a with, a filter block and a block set have scopes of their own; an
 * if has none. What a scope does not bind is looked up outwards, ending with what the caller gave.
 */
#include <string.h>

#include "base/error.h"
#include "runtime/text/jinja_rt.h"

/* --- scopes --- */

jinja_env *jinja_env_new(jinja_rt *rt, jinja_env *parent)
{
    jinja_env *e = jinja_alloc(rt, sizeof *e);
    e->parent = parent;
    return e;
}

void jinja_env_set(jinja_rt *rt, jinja_env *env, uint32_t atom, jval v)
{
    if (env->root) {
        env->root[atom] = v;
        return;
    }
    for (size_t i = 0; i < env->n; i++)
        if (env->at[i].atom == atom) {
            env->at[i].value = v;
            return;
        }
    if (env->n == env->cap) {
        size_t cap = env->cap ? env->cap * 2 : 4;
        jinja_binding *at = jinja_alloc(rt, cap * sizeof *at);
        if (env->n)
            memcpy(at, env->at, env->n * sizeof *at);
        env->at = at;
        env->cap = cap;
    }
    env->at[env->n++] = (jinja_binding){atom, v};
}

jval jinja_env_get(const jinja_env *env, uint32_t atom)
{
    for (; !env->root; env = env->parent)
        for (size_t i = 0; i < env->n; i++)
            if (env->at[i].atom == atom)
                return env->at[i].value;
    return env->root[atom];
}

/* --- assignment --- */

static bool assign(jinja_rt *rt, const jnode *target, jinja_env *env, jval v);

static bool unpack(jinja_rt *rt, const jnode *target, jinja_env *env, jval v)
{
    jinja_seq *s;
    if (!jinja_iterable(v))
        return jinja_fail(rt, "cannot unpack '%s' object", jinja_type_name(v));
    if (!jinja_collect(rt, v, &s))
        return false;
    if (s->n != target->list.n)
        return jinja_fail(rt, "expected %zu values to unpack, got %zu", target->list.n, s->n);
    for (size_t i = 0; i < s->n; i++)
        if (!assign(rt, target->list.at[i], env, s->at[i]))
            return false;
    return true;
}

static bool assign_attribute(jinja_rt *rt, const jnode *target, jinja_env *env, jval v)
{
    jval ns = jinja_env_get(env, target->atom);
    if (ns.t != JINJA_NAMESPACE)
        return jinja_fail(rt, "cannot assign an attribute of '%.*s': it is no namespace",
                          (int)target->name->len, target->name->s);
    if (target->value.s->len && target->value.s->s[0] == '_')
        return jinja_fail(rt, "names of a namespace cannot begin with '_'");
    return jinja_dict_set(rt, ns.d, target->value, v);
}

static bool assign(jinja_rt *rt, const jnode *target, jinja_env *env, jval v)
{
    if (target->kind == JN_TUPLE)
        return unpack(rt, target, env, v);
    if (target->kind == JN_NSREF)
        return assign_attribute(rt, target, env, v);
    jinja_env_set(rt, env, target->atom, v);
    return true;
}

/* --- output --- */

static jinja_flow exec_output(jinja_rt *rt, const jnode *n, jinja_env *env)
{
    for (size_t i = 0; i < n->list.n; i++) {
        const jnode *item = n->list.at[i];
        jval v;
        if (item->kind == JN_CONST && item->value.t == JINJA_STR) {
            jinja_sb_add(rt->out, item->value.s->s, item->value.s->len);
            if (rt->out->failed || !jinja_charge(rt, 1))
                return JINJA_FAILED;
            continue;
        }
        if (!jinja_eval(rt, item, env, &v) || !jinja_put_str(rt->out, v))
            return JINJA_FAILED;
    }
    return JINJA_DONE;
}

/* Runs a body with its output kept aside. *text is set where the flow is JINJA_DONE. */
static jinja_flow capture(jinja_rt *rt, const jnode_list *body, jinja_env *env, jval *text)
{
    jinja_sb b, *outer = rt->out;
    jinja_sb_init(&b, rt);
    rt->out = &b;
    jinja_flow flow = jinja_exec_all(rt, body, env);
    rt->out = outer;
    if (flow == JINJA_DONE && !jinja_sb_done(&b, text))
        return JINJA_FAILED;
    return flow;
}

/* --- simple statements --- */

static jinja_flow exec_if(jinja_rt *rt, const jnode *n, jinja_env *env)
{
    for (;;) {
        jval v;
        if (!jinja_eval(rt, n->a, env, &v))
            return JINJA_FAILED;
        if (jinja_truth(rt, v))
            return jinja_exec_all(rt, &n->body, env);
        if (n->orelse.n != 1 || n->orelse.at[0]->kind != JN_IF)
            return jinja_exec_all(rt, &n->orelse, env);
        n = n->orelse.at[0]; /* elif */
    }
}

static jinja_flow exec_set(jinja_rt *rt, const jnode *n, jinja_env *env)
{
    jval v;
    return jinja_eval(rt, n->b, env, &v) && assign(rt, n->a, env, v) ? JINJA_DONE : JINJA_FAILED;
}

static jinja_flow exec_set_block(jinja_rt *rt, const jnode *n, jinja_env *env)
{
    jval v;
    jinja_env *inner = jinja_env_new(rt, env);
    jinja_flow flow = capture(rt, &n->body, inner, &v);
    if (flow != JINJA_DONE)
        return flow;
    if (n->b && !jinja_eval_filter_on(rt, n->b, inner, v, &v))
        return JINJA_FAILED;
    return assign(rt, n->a, env, v) ? JINJA_DONE : JINJA_FAILED;
}

static jinja_flow exec_filter_block(jinja_rt *rt, const jnode *n, jinja_env *env)
{
    jval v;
    jinja_env *inner = jinja_env_new(rt, env);
    jinja_flow flow = capture(rt, &n->body, inner, &v);
    if (flow != JINJA_DONE)
        return flow;
    return jinja_eval_filter_on(rt, n->b, inner, v, &v) && jinja_put_str(rt->out, v) ? JINJA_DONE
                                                                                     : JINJA_FAILED;
}

/* The values are evaluated outside of the scope that they are bound in. */
static jinja_flow exec_with(jinja_rt *rt, const jnode *n, jinja_env *env)
{
    jinja_env *inner = jinja_env_new(rt, env);
    for (size_t i = 0; i + 1 < n->list.n; i += 2) {
        jval v;
        if (!jinja_eval(rt, n->list.at[i + 1], env, &v) || !assign(rt, n->list.at[i], inner, v))
            return JINJA_FAILED;
    }
    return jinja_exec_all(rt, &n->body, inner);
}

static jinja_flow exec_scope(jinja_rt *rt, const jnode *n, jinja_env *env)
{
    return jinja_exec_all(rt, &n->body, jinja_env_new(rt, env));
}

static jinja_flow exec_break(jinja_rt *rt, const jnode *n, jinja_env *env)
{
    return n->kind == JN_BREAK ? JINJA_BREAK : JINJA_CONTINUE;
}

static jinja_flow exec_unsupported(jinja_rt *rt, const jnode *n, jinja_env *env)
{
    jinja_fail(rt, "{%% %.*s %%} has no other templates to load", (int)n->name->len, n->name->s);
    return JINJA_FAILED;
}

/* --- loops --- */

typedef struct {
    jinja_iter *in;
    const jnode *loop;
    jinja_env *env;
} filtered;

/* The items of a loop with a condition: {% for x in xs if … %}. */
static bool next_filtered(jinja_rt *rt, jinja_iter *it, jval *out, bool *done)
{
    filtered *f = it->state;
    while (jinja_iter_next(rt, f->in, out, done)) {
        jval keep;
        if (*done)
            return true;
        jinja_env *inner = jinja_env_new(rt, f->env);
        if (!assign(rt, f->loop->a, inner, *out) || !jinja_eval(rt, f->loop->c, inner, &keep))
            return false;
        if (jinja_truth(rt, keep))
            return true;
    }
    return false;
}

static bool loop_items(jinja_rt *rt, const jnode *n, jinja_env *env, jval *items, jinja_iter **it)
{
    if (!jinja_iter_of(rt, *items, it))
        return false;
    if (n->c) {
        filtered *f = jinja_alloc(rt, sizeof *f);
        *f = (filtered){*it, n, env};
        *items = jinja_generator(rt, "loop", next_filtered, *items, f);
        *it = items->it;
    }
    return true;
}

/* The body for every item. *ended: did one run reach its end (else the else part runs)? */
static jinja_flow run_items(jinja_rt *rt, const jnode *n, jinja_loop *l, bool *ended)
{
    for (;;) {
        jval item;
        bool done;
        if (!jinja_loop_next(rt, l, &item, &done))
            return JINJA_FAILED;
        if (done)
            return JINJA_DONE;
        jinja_env *inner = jinja_env_new(rt, l->env);
        jinja_env_set(rt, inner, rt->tpl->atom_loop, (jval){.t = JINJA_LOOP, .loop = l});
        if (!assign(rt, n->a, inner, item))
            return JINJA_FAILED;
        jinja_flow flow = jinja_exec_all(rt, &n->body, inner);
        if (flow == JINJA_FAILED)
            return flow;
        if (flow == JINJA_BREAK)
            return JINJA_DONE;
        *ended |= flow == JINJA_DONE;
    }
}

static jinja_flow run_loop(jinja_rt *rt, const jnode *n, jinja_env *env, jval items, int64_t depth)
{
    jinja_iter *it;
    jinja_loop *l;
    bool ended = false;
    if (!loop_items(rt, n, env, &items, &it) || !jinja_loop_new(rt, items, it, depth, &l))
        return JINJA_FAILED;
    l->node = n->flag ? n : NULL;
    l->env = env;
    if (run_items(rt, n, l, &ended) == JINJA_FAILED)
        return JINJA_FAILED;
    return ended ? JINJA_DONE : jinja_exec_all(rt, &n->orelse, jinja_env_new(rt, env));
}

static jinja_flow exec_for(jinja_rt *rt, const jnode *n, jinja_env *env)
{
    jval items;
    if (!jinja_eval(rt, n->b, env, &items))
        return JINJA_FAILED;
    return run_loop(rt, n, env, items, 0);
}

bool jinja_call_loop(jinja_rt *rt, jinja_loop *l, jval items, jval *out)
{
    if (!l->node)
        return jinja_fail(rt, "loop() needs a loop that is marked 'recursive'");
    jinja_sb b, *outer = rt->out;
    jinja_sb_init(&b, rt);
    rt->out = &b;
    jinja_flow flow = run_loop(rt, l->node, l->env, items, l->depth0 + 1);
    rt->out = outer;
    if (flow == JINJA_BREAK || flow == JINJA_CONTINUE)
        return jinja_fail(rt, "break or continue outside of a loop");
    return flow == JINJA_DONE && jinja_sb_done(&b, out);
}

/* --- macros --- */

static jval macro_of(jinja_rt *rt, const jnode *n, jinja_env *env)
{
    jinja_macro *m = jinja_alloc(rt, sizeof *m);
    *m = (jinja_macro){n->name, n, env};
    return (jval){.t = JINJA_MACRO, .macro = m};
}

static jinja_flow exec_macro(jinja_rt *rt, const jnode *n, jinja_env *env)
{
    jinja_env_set(rt, env, n->atom, macro_of(rt, n, env));
    return JINJA_DONE;
}

static jinja_flow exec_call_block(jinja_rt *rt, const jnode *n, jinja_env *env)
{
    jval v;
    if (!jinja_eval_call(rt, n->a, env, macro_of(rt, n, env), &v) || !jinja_put_str(rt->out, v))
        return JINJA_FAILED;
    return JINJA_DONE;
}

static bool same_str(const jinja_str *a, const jinja_str *b)
{
    return a->len == b->len && memcmp(a->s, b->s, a->len) == 0;
}

/* Binds parameter i from its place, its keyword (marked as used), or its default. */
static bool bind_param(jinja_rt *rt, jinja_macro *m, size_t i, const jinja_args *a, bool *used,
                       jinja_env *env)
{
    const jinja_params *p = m->node->params;
    jval v = i < a->n ? a->pos[i] : (jval){0};
    for (size_t k = 0; i >= a->n && k < a->n_kw; k++)
        if (same_str(a->kw_name[k], p->names[i])) {
            v = a->kw[k];
            used[k] = true;
        }
    if (v.t == JINJA_MISSING && p->defaults[i] && !jinja_eval(rt, p->defaults[i], env, &v))
        return false;
    if (v.t == JINJA_MISSING)
        v = jinja_undef(rt, "a parameter was not provided");
    jinja_env_set(rt, env, p->atoms[i], v);
    return true;
}

static bool bind_kwargs(jinja_rt *rt, jinja_macro *m, const jinja_args *a, const bool *used,
                        jinja_env *env)
{
    jinja_dict *rest = jinja_dict_new(rt);
    for (size_t k = 0; k < a->n_kw; k++) {
        if (used[k])
            continue;
        if (!m->node->params->uses_kwargs)
            return jinja_fail(rt, "macro '%.*s' takes no keyword argument '%.*s'",
                              (int)m->name->len, m->name->s, (int)a->kw_name[k]->len,
                              a->kw_name[k]->s);
        if (!jinja_dict_set(rt, rest, jinja_of_str(a->kw_name[k]), a->kw[k]))
            return false;
    }
    if (m->node->params->uses_kwargs)
        jinja_env_set(rt, env, rt->tpl->atom_kwargs, (jval){.t = JINJA_DICT, .d = rest});
    return true;
}

static bool bind_varargs(jinja_rt *rt, jinja_macro *m, const jinja_args *a, jinja_env *env)
{
    const jinja_params *p = m->node->params;
    jinja_seq *rest = jinja_seq_new(rt, 0);
    if (a->n > p->n && !p->uses_varargs)
        return jinja_fail(rt, "macro '%.*s' takes not more than %zu arguments", (int)m->name->len,
                          m->name->s, p->n);
    for (size_t i = p->n; i < a->n; i++)
        if (!jinja_seq_push(rt, rest, a->pos[i]))
            return false;
    if (p->uses_varargs)
        jinja_env_set(rt, env, rt->tpl->atom_varargs, jinja_tuple(rest));
    return true;
}

static void bind_caller(jinja_rt *rt, const jinja_args *a, bool *used, jinja_env *env)
{
    jval caller = {0};
    for (size_t k = 0; k < a->n_kw; k++)
        if (!used[k] && jinja_str_is(a->kw_name[k], "caller")) {
            caller = a->kw[k];
            used[k] = true;
        }
    if (caller.t == JINJA_MISSING || caller.t == JINJA_NONE)
        caller = jinja_undef(rt, "No caller defined");
    jinja_env_set(rt, env, rt->tpl->atom_caller, caller);
}

static bool has_param(const jinja_params *p, uint32_t atom)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->atoms[i] == atom)
            return true;
    return false;
}

bool jinja_call_macro(jinja_rt *rt, jinja_macro *m, const jinja_args *a, jval *out)
{
    const jinja_params *p = m->node->params;
    jinja_env *env = jinja_env_new(rt, m->env);
    bool *used = jinja_alloc(rt, a->n_kw + 1);
    int line = rt->line;
    /* Arguments first: a default may read the parameters before it, but no other. */
    for (size_t i = 0; i < p->n; i++)
        if (!bind_param(rt, m, i, a, used, env))
            return false;
    if (p->uses_caller && !has_param(p, rt->tpl->atom_caller))
        bind_caller(rt, a, used, env);
    if (!bind_kwargs(rt, m, a, used, env) || !bind_varargs(rt, m, a, env))
        return false;
    jinja_flow flow = capture(rt, &m->node->body, env, out);
    if (flow == JINJA_DONE)
        rt->line = line;
    return flow == JINJA_DONE;
}

/* --- all --- */

static jinja_flow (*const executors[JN_KINDS])(jinja_rt *, const jnode *, jinja_env *) = {
    [JN_OUTPUT] = exec_output,
    [JN_IF] = exec_if,
    [JN_FOR] = exec_for,
    [JN_SET] = exec_set,
    [JN_SET_BLOCK] = exec_set_block,
    [JN_MACRO] = exec_macro,
    [JN_CALL_BLOCK] = exec_call_block,
    [JN_FILTER_BLOCK] = exec_filter_block,
    [JN_WITH] = exec_with,
    [JN_SCOPE] = exec_scope,
    [JN_BREAK] = exec_break,
    [JN_CONTINUE] = exec_break,
    [JN_UNSUPPORTED] = exec_unsupported,
};

jinja_flow jinja_exec_all(jinja_rt *rt, const jnode_list *body, jinja_env *env)
{
    jinja_flow flow = JINJA_DONE;
    if (!jinja_enter(rt))
        return JINJA_FAILED;
    for (size_t i = 0; flow == JINJA_DONE && i < body->n; i++) {
        const jnode *n = body->at[i];
        rt->line = n->line;
        NX_BUG_IF(!executors[n->kind]);
        flow = jinja_charge(rt, 1) ? executors[n->kind](rt, n, env) : JINJA_FAILED;
    }
    jinja_leave(rt);
    return flow;
}
