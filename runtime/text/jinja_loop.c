/*
 * jinja_loop.c: the `loop` variable of a for loop. Items are taken one at a time, so that a
 * condition or a filter of the loop is evaluated only as far as the body gets, unless the body asks
 * for loop.last, loop.nextitem (one more) or loop.length (all).
 */
#include <string.h>

#include "runtime/text/jinja_rt.h"

bool jinja_loop_new(jinja_rt *rt, jval items, jinja_iter *it, int64_t depth0, jinja_loop **out)
{
    jinja_loop *l = jinja_alloc(rt, sizeof *l);
    l->items = items;
    l->it = it;
    l->index0 = -1;
    l->length = -1;
    l->depth0 = depth0;
    *out = l;
    return true;
}

static bool peek(jinja_rt *rt, jinja_loop *l)
{
    if (l->peeked || l->ended)
        return true;
    bool done;
    if (!jinja_iter_next(rt, l->it, &l->after, &done))
        return false;
    l->peeked = !done;
    l->ended = done;
    return true;
}

bool jinja_loop_next(jinja_rt *rt, jinja_loop *l, jval *out, bool *done)
{
    if (!peek(rt, l))
        return false;
    if ((*done = !l->peeked))
        return true;
    l->index0++;
    l->before = l->current;
    l->current = *out = l->after;
    l->peeked = false;
    return true;
}

/* Walks to the end to count what has no length of its own. */
static bool loop_length(jinja_rt *rt, jinja_loop *l, int64_t *n)
{
    if (l->length < 0 && !jinja_length(rt, l->items, &l->length)) {
        jinja_seq *rest;
        if (!jinja_collect(rt, (jval){.t = JINJA_ITER, .it = l->it}, &rest) ||
            !jinja_iter_of(rt, jinja_list(rest), &l->it))
            return false;
        l->length = (int64_t)rest->n + l->index0 + 1 + l->peeked;
        l->ended = false;
    }
    *n = l->length;
    return true;
}

typedef bool loop_attr(jinja_rt *rt, jinja_loop *l, jval *out);

static bool attr_index(jinja_rt *rt, jinja_loop *l, jval *out)
{
    *out = jinja_int(l->index0 + 1);
    return true;
}
static bool attr_index0(jinja_rt *rt, jinja_loop *l, jval *out)
{
    *out = jinja_int(l->index0);
    return true;
}
static bool attr_first(jinja_rt *rt, jinja_loop *l, jval *out)
{
    *out = jinja_bool(l->index0 == 0);
    return true;
}
static bool attr_last(jinja_rt *rt, jinja_loop *l, jval *out)
{
    if (!peek(rt, l))
        return false;
    *out = jinja_bool(!l->peeked);
    return true;
}
static bool attr_length(jinja_rt *rt, jinja_loop *l, jval *out)
{
    int64_t n;
    if (!loop_length(rt, l, &n))
        return false;
    *out = jinja_int(n);
    return true;
}
static bool attr_revindex(jinja_rt *rt, jinja_loop *l, jval *out)
{
    int64_t n;
    if (!loop_length(rt, l, &n))
        return false;
    *out = jinja_int(n - l->index0);
    return true;
}
static bool attr_revindex0(jinja_rt *rt, jinja_loop *l, jval *out)
{
    int64_t n;
    if (!loop_length(rt, l, &n))
        return false;
    *out = jinja_int(n - l->index0 - 1);
    return true;
}
static bool attr_depth(jinja_rt *rt, jinja_loop *l, jval *out)
{
    *out = jinja_int(l->depth0 + 1);
    return true;
}
static bool attr_depth0(jinja_rt *rt, jinja_loop *l, jval *out)
{
    *out = jinja_int(l->depth0);
    return true;
}
static bool attr_previtem(jinja_rt *rt, jinja_loop *l, jval *out)
{
    *out = l->index0 <= 0 ? jinja_undef(rt, "there is no previous item") : l->before;
    return true;
}
static bool attr_nextitem(jinja_rt *rt, jinja_loop *l, jval *out)
{
    if (!peek(rt, l))
        return false;
    *out = l->peeked ? l->after : jinja_undef(rt, "there is no next item");
    return true;
}

static bool call_cycle(jinja_rt *rt, jval self, const jinja_args *a, jval *out)
{
    if (!a->n || a->n_kw)
        return jinja_fail(rt, "loop.cycle() needs items to choose from");
    *out = a->pos[(size_t)self.loop->index0 % a->n];
    return true;
}

static bool call_changed(jinja_rt *rt, jval self, const jinja_args *a, jval *out)
{
    jinja_seq *now = jinja_seq_new(rt, a->n);
    bool same = false;
    for (size_t i = 0; i < a->n; i++)
        now->at[now->n++] = a->pos[i];
    if (self.loop->changed.t != JINJA_MISSING &&
        !jinja_equal(rt, self.loop->changed, jinja_tuple(now), &same))
        return false;
    self.loop->changed = jinja_tuple(now);
    *out = jinja_bool(!same);
    return true;
}

static const jinja_builtin loop_methods[] = {
    {"cycle", NULL, 0, call_cycle},
    {"changed", NULL, 0, call_changed},
    {0},
};

static const struct {
    const char *name;
    loop_attr *get;
} loop_attrs[] = {
    {"index", attr_index},         {"index0", attr_index0},     {"first", attr_first},
    {"last", attr_last},           {"length", attr_length},     {"revindex", attr_revindex},
    {"revindex0", attr_revindex0}, {"depth", attr_depth},       {"depth0", attr_depth0},
    {"previtem", attr_previtem},   {"nextitem", attr_nextitem},
};

bool jinja_loop_attr(jinja_rt *rt, jinja_loop *l, const jinja_str *name, jval *out, bool *found)
{
    *found = true;
    for (size_t i = 0; i < sizeof loop_attrs / sizeof *loop_attrs; i++)
        if (jinja_str_is(name, loop_attrs[i].name))
            return loop_attrs[i].get(rt, l, out);
    const jinja_builtin *row = jinja_find(loop_methods, name->s, name->len);
    *found = row != NULL;
    if (row) {
        jinja_method *m = jinja_alloc(rt, sizeof *m);
        *m = (jinja_method){row, (jval){.t = JINJA_LOOP, .loop = l}};
        *out = (jval){.t = JINJA_METHOD, .method = m};
    }
    return true;
}

bool jinja_loop_print(jinja_sb *b, jinja_loop *l)
{
    int64_t n;
    if (!loop_length(b->rt, l, &n))
        return false;
    char text[80];
    snprintf(text, sizeof text, "<LoopContext %lld/%lld>", (long long)l->index0 + 1, (long long)n);
    jinja_sb_puts(b, text);
    return !b->failed;
}
