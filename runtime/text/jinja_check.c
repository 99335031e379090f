/*
 * jinja_check.c: a walk over the parsed template that refuses filters and tests nobody knows, as
 * Jinja does when it compiles. Under an `if` of the same scope they are let pass and fail only when
 * they are reached.
 */
#include "base/error.h"
#include "runtime/text/jinja_parse.h"

enum { MAX_CHECK_DEPTH = 1200 };

static bool check(const jnode *n, bool soft, int depth);

static bool check_list(const jnode_list *l, bool soft, int depth)
{
    for (size_t i = 0; i < l->n; i++)
        if (!check(l->at[i], soft, depth))
            return false;
    return true;
}

static bool check_call(const jinja_call_args *c, bool soft, int depth)
{
    return !c || (check_list(&c->pos, soft, depth) && check_list(&c->kw, soft, depth) &&
                  check(c->star, soft, depth) && check(c->star_star, soft, depth));
}

static bool check_params(const jinja_params *p, int depth)
{
    for (size_t i = 0; p && i < p->n; i++)
        if (!check(p->defaults[i], false, depth))
            return false;
    return true;
}

static bool known(const jnode *n, bool soft)
{
    if (n->row || soft || (n->kind != JN_FILTER && n->kind != JN_TEST))
        return true;
    return nx_fail("[template] line %d: there is no %s named '%.*s'", n->line,
                   n->kind == JN_FILTER ? "filter" : "test", (int)n->name->len, n->name->s);
}

/* Does this statement open a scope, in which being under an outer if is forgotten? */
static bool opens_scope(jinja_kind k)
{
    return k == JN_FOR || k == JN_MACRO || k == JN_CALL_BLOCK || k == JN_FILTER_BLOCK ||
           k == JN_WITH || k == JN_SCOPE || k == JN_SET_BLOCK;
}

static bool check(const jnode *n, bool soft, int depth)
{
    if (!n)
        return true;
    if (depth > MAX_CHECK_DEPTH)
        return nx_fail("[template] line %d: the template is nested too deeply", n->line);
    bool inner = (soft || n->kind == JN_IF || n->kind == JN_COND);
    bool body = inner && !opens_scope(n->kind);
    bool test = n->kind == JN_FOR ? false : inner; /* a loop's condition has its own scope */
    depth++;
    return known(n, soft) && check(n->a, inner, depth) && check(n->b, inner, depth) &&
           check(n->c, test, depth) && check(n->d, inner, depth) &&
           check_list(&n->list, n->kind == JN_WITH ? body : inner, depth) &&
           check_call(n->call, inner, depth) && check_params(n->params, depth) &&
           check_list(&n->body, body, depth) && check_list(&n->orelse, body, depth);
}

bool jinja_check(const jinja_template *t)
{
    return check_list(&t->body, false, 0);
}
