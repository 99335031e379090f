/*
 * jinja_iter.c: walking over values, and loop.
 */
#include <string.h>

#include "runtime/text/jinja_rt.h"

bool jinja_iterable(jval v)
{
    switch (v.t) {
    case JINJA_UNDEFINED:
    case JINJA_STR:
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_DICT:
    case JINJA_VIEW:
    case JINJA_RANGE:
    case JINJA_ITER:
    case JINJA_LOOP:
        return true;
    default:
        return false;
    }
}

static bool next_nothing(jinja_rt *rt, jinja_iter *it, jval *out, bool *done)
{
    *done = true;
    return true;
}

static bool next_str(jinja_rt *rt, jinja_iter *it, jval *out, bool *done)
{
    const jinja_str *s = it->src.s;
    uint32_t cp;
    size_t n = jinja_utf8_next(s->s + it->pos, s->len - it->pos, &cp);
    if ((*done = n == 0))
        return true;
    *out = jinja_of_str(jinja_str_new(rt, s->s + it->pos, n));
    it->pos += n;
    return true;
}

static bool next_seq(jinja_rt *rt, jinja_iter *it, jval *out, bool *done)
{
    if (!(*done = it->pos >= it->src.seq->n))
        *out = it->src.seq->at[it->pos++];
    return true;
}

static bool next_dict(jinja_rt *rt, jinja_iter *it, jval *out, bool *done)
{
    const jinja_dict *d = it->src.t == JINJA_DICT ? it->src.d : it->src.view->d;
    if ((*done = it->pos >= d->n))
        return true;
    const jinja_entry *e = &d->at[it->pos++];
    if (it->src.t == JINJA_DICT || it->src.view->kind == JINJA_KEYS)
        *out = e->key;
    else
        *out = it->src.view->kind == JINJA_VALUES ? e->value : jinja_pair(rt, e->key, e->value);
    return true;
}

static bool next_range(jinja_rt *rt, jinja_iter *it, jval *out, bool *done)
{
    const jinja_range *r = it->src.range;
    if (!(*done = (int64_t)it->pos >= r->n))
        *out = jinja_int(r->start + (int64_t)it->pos++ * r->step);
    return true;
}

static bool next_loop(jinja_rt *rt, jinja_iter *it, jval *out, bool *done)
{
    if (!jinja_loop_next(rt, it->src.loop, out, done))
        return false;
    if (!*done)
        *out = jinja_pair(rt, *out, it->src);
    return true;
}

bool jinja_iter_of(jinja_rt *rt, jval v, jinja_iter **out)
{
    static jinja_next_fn *const next[] = {
        [JINJA_UNDEFINED] = next_nothing, [JINJA_STR] = next_str,   [JINJA_LIST] = next_seq,
        [JINJA_TUPLE] = next_seq,         [JINJA_DICT] = next_dict, [JINJA_VIEW] = next_dict,
        [JINJA_RANGE] = next_range,       [JINJA_LOOP] = next_loop,
    };
    if (!jinja_iterable(v))
        return jinja_fail(rt, "'%s' object is not iterable", jinja_type_name(v));
    if (v.t == JINJA_ITER) {
        *out = v.it;
        return true;
    }
    *out = jinja_alloc(rt, sizeof **out);
    (*out)->next = next[v.t];
    (*out)->src = v;
    return true;
}

/* Generators may stand on generators: their nesting is bounded like any other. */
bool jinja_iter_next(jinja_rt *rt, jinja_iter *it, jval *out, bool *done)
{
    *done = false;
    if (!jinja_charge(rt, 1) || !jinja_enter(rt))
        return false;
    bool ok = it->next(rt, it, out, done);
    jinja_leave(rt);
    return ok;
}

bool jinja_collect(jinja_rt *rt, jval v, jinja_seq **out)
{
    jinja_iter *it;
    int64_t n = 0;
    jval item;
    bool done;
    if (!jinja_iter_of(rt, v, &it))
        return false;
    if (jinja_length(rt, v, &n) && !jinja_room(rt, (size_t)n * sizeof item))
        return false;
    *out = jinja_seq_new(rt, (size_t)n);
    while (jinja_iter_next(rt, it, &item, &done)) {
        if (done)
            return true;
        if (!jinja_seq_push(rt, *out, item))
            return false;
    }
    return false;
}

jval jinja_generator(jinja_rt *rt, const char *name, jinja_next_fn *next, jval src, void *state)
{
    jinja_iter *it = jinja_alloc(rt, sizeof *it);
    it->next = next;
    it->src = src;
    it->state = state;
    it->name = name;
    return (jval){.t = JINJA_ITER, .it = it};
}
