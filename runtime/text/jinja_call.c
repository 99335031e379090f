/*
 * jinja_call.c: calling things: builtins by their rows, methods, macros, loops.
 */
#include <string.h>

#include "runtime/text/jinja_rt.h"

const jinja_builtin *jinja_find(const jinja_builtin *rows, const char *name, size_t len)
{
    for (; rows->name; rows++)
        if (strlen(rows->name) == len && memcmp(rows->name, name, len) == 0)
            return rows;
    return NULL;
}

const jinja_builtin *jinja_filter_find(const char *name, size_t len)
{
    const jinja_builtin *row = jinja_find(jinja_filters, name, len);
    return row ? row : jinja_find(jinja_seq_filters, name, len);
}

enum { MAX_PARAMS = 6 };

/* The place of `name` among the parameters, -1 if it is none of them. */
static int param_index(const char *params, const jinja_str *name, int *count)
{
    int found = -1;
    *count = 0;
    for (const char *p = params; *p;) {
        size_t n = strcspn(p, ",");
        if (name && name->len == n && memcmp(name->s, p, n) == 0)
            found = *count;
        (*count)++;
        p += n + (p[n] == ',');
    }
    return found;
}

static bool bind(jinja_rt *rt, const jinja_builtin *row, const jinja_args *a, jval *slots, int *n)
{
    bool positional = row->params[0] == '/';
    const char *params = row->params + positional;
    param_index(params, NULL, n);
    if (a->n > (size_t)*n)
        return jinja_fail(rt, "%s() takes at most %d arguments, %zu are given", row->name, *n,
                          a->n);
    for (size_t i = 0; i < a->n; i++)
        slots[i] = a->pos[i];
    for (size_t i = 0; i < a->n_kw; i++) {
        int k = positional ? -1 : param_index(params, a->kw_name[i], n);
        if (k < 0)
            return jinja_fail(rt, "%s() takes no keyword argument '%.*s'", row->name,
                              (int)a->kw_name[i]->len, a->kw_name[i]->s);
        if (slots[k].t != JINJA_MISSING)
            return jinja_fail(rt, "%s() got its argument '%.*s' twice", row->name,
                              (int)a->kw_name[i]->len, a->kw_name[i]->s);
        slots[k] = a->kw[i];
    }
    for (int i = 0; i < row->need; i++)
        if (slots[i].t == JINJA_MISSING)
            return jinja_fail(rt, "%s() needs %d argument%s", row->name, row->need,
                              row->need == 1 ? "" : "s");
    return true;
}

bool jinja_call_builtin(jinja_rt *rt, const jinja_builtin *row, jval self, const jinja_args *a,
                        jval *out)
{
    if (!row->params)
        return row->fn(rt, self, a, out);
    jval slots[MAX_PARAMS] = {0};
    int n;
    if (!bind(rt, row, a, slots, &n))
        return false;
    jinja_args bound = {.pos = slots, .n = (size_t)n};
    return row->fn(rt, self, &bound, out);
}

static bool call_any(jinja_rt *rt, jval fn, const jinja_args *a, jval *out)
{
    switch (fn.t) {
    case JINJA_FUNC:
        return jinja_call_builtin(rt, fn.func, jinja_none(), a, out);
    case JINJA_METHOD:
        return jinja_call_builtin(rt, fn.method->row, fn.method->self, a, out);
    case JINJA_MACRO:
        return jinja_call_macro(rt, fn.macro, a, out);
    case JINJA_LOOP:
        if (a->n != 1 || a->n_kw)
            return jinja_fail(rt, "loop() takes the items to walk");
        return jinja_call_loop(rt, fn.loop, a->pos[0], out);
    case JINJA_JOINER:
        *out = fn.joiner->called ? fn.joiner->sep : jinja_text(rt, "");
        fn.joiner->called = true;
        return true;
    case JINJA_UNDEFINED:
        return jinja_fail_undefined(rt, fn);
    default:
        return jinja_fail(rt, "'%s' object is not callable", jinja_type_name(fn));
    }
}

bool jinja_call(jinja_rt *rt, jval fn, const jinja_args *a, jval *out)
{
    if (!jinja_charge(rt, 1) || !jinja_enter(rt))
        return false;
    bool ok = call_any(rt, fn, a, out);
    jinja_leave(rt);
    return ok;
}

bool jinja_arg_int(jinja_rt *rt, const jinja_args *a, size_t i, int64_t fallback, int64_t *out)
{
    *out = fallback;
    if (!jinja_given(a, i))
        return true;
    jval v = a->pos[i];
    if (v.t == JINJA_UNDEFINED)
        return jinja_fail_undefined(rt, v);
    if (v.t != JINJA_INT && v.t != JINJA_BOOL)
        return jinja_fail(rt, "'%s' object cannot be interpreted as an integer",
                          jinja_type_name(v));
    *out = jinja_as_int(v);
    return true;
}

bool jinja_arg_str(jinja_rt *rt, const jinja_args *a, size_t i, const jinja_str **out)
{
    jval v = a->pos[i];
    if (v.t != JINJA_STR)
        return jinja_fail(rt, "a string is expected, not '%s'", jinja_type_name(v));
    *out = v.s;
    return true;
}
