/*
 * jinja_seq_filters.c: filters of sequences and mappings, a row each. map, select and their like
 * return generators, as in Python: walked once, evaluated as they are walked.
 */
#include <string.h>

#include "runtime/text/jinja_rt.h"

#define FILTER(name) static bool name(jinja_rt *rt, jval v, const jinja_args *a, jval *out)

/* --- attributes of items: "a.b.0" --- */

/* The value at a dotted path; numbers in it are indices. */
static bool attr_path(jinja_rt *rt, jval v, jval path, jval fallback, jval *out)
{
    *out = v;
    if (path.t == JINJA_NONE || path.t == JINJA_MISSING)
        return true;
    if (path.t != JINJA_STR)
        return jinja_getitem(rt, v, path, out) &&
               (out->t == JINJA_UNDEFINED && fallback.t != JINJA_MISSING ? (*out = fallback, true)
                                                                         : true);
    for (size_t i = 0; i <= path.s->len; i++) {
        size_t from = i;
        bool digits = true;
        int64_t index = 0;
        for (; i < path.s->len && path.s->s[i] != '.'; i++) {
            digits &= path.s->s[i] >= '0' && path.s->s[i] <= '9' && i - from < 17;
            index = digits ? index * 10 + (path.s->s[i] - '0') : 0;
        }
        jval key = digits && i > from ? jinja_int(index) : jinja_str_sub(rt, path.s, from, i);
        if (!jinja_charge(rt, 1) || !jinja_getitem(rt, *out, key, out))
            return false;
        if (out->t == JINJA_UNDEFINED && fallback.t != JINJA_MISSING)
            *out = fallback;
    }
    return true;
}

static bool fold_case(jinja_rt *rt, jval *v)
{
    jinja_sb b;
    if (v->t != JINJA_STR)
        return true;
    jinja_sb_init(&b, rt);
    jinja_put_case(&b, v->s, JINJA_LOWER);
    return jinja_sb_done(&b, v);
}

/* What an item is compared by: a part of it, without its case unless asked. */
typedef struct {
    jval path, fallback;
    bool case_sensitive;
} key_of;

static bool item_key(jinja_rt *rt, const key_of *k, jval item, jval *out)
{
    return attr_path(rt, item, k->path, k->fallback, out) &&
           (k->case_sensitive || fold_case(rt, out));
}

static jval arg_or_missing(const jinja_args *a, size_t i)
{
    return jinja_given(a, i) ? a->pos[i] : (jval){0};
}

static bool flag(jinja_rt *rt, const jinja_args *a, size_t i)
{
    return jinja_given(a, i) && jinja_truth(rt, a->pos[i]);
}

/* --- sorting --- */

typedef struct {
    jval key, value;
} keyed;

/* Stable merge sort; where `reverse`, equal items keep their order too. */
static bool merge_sort(jinja_rt *rt, keyed *at, keyed *tmp, size_t n, bool reverse)
{
    if (n < 2)
        return true;
    size_t mid = n / 2, i = 0, j = mid, k = 0;
    if (!merge_sort(rt, at, tmp, mid, reverse) || !merge_sort(rt, at + mid, tmp, n - mid, reverse))
        return false;
    while (i < mid && j < n) {
        int c;
        if (!jinja_charge(rt, 1) || !jinja_order(rt, at[j].key, at[i].key, &c))
            return false;
        bool right = c != 2 && (reverse ? c > 0 : c < 0);
        tmp[k++] = right ? at[j++] : at[i++];
    }
    while (i < mid)
        tmp[k++] = at[i++];
    memcpy(at, tmp, k * sizeof *at);
    return true;
}

/* The keys of sort(): a list of parts, so that equal ones need no order among themselves. */
static bool sort_key(jinja_rt *rt, const key_of *k, jval item, jval *out)
{
    jinja_seq *parts = jinja_seq_new(rt, 1);
    size_t from = 0;
    bool text = k->path.t == JINJA_STR;
    for (size_t i = 0; i <= (text ? k->path.s->len : 0); i++) {
        if (text && i < k->path.s->len && k->path.s->s[i] != ',')
            continue;
        key_of part = *k;
        jval v;
        if (text)
            part.path = jinja_str_sub(rt, k->path.s, from, i);
        if (!item_key(rt, &part, item, &v) || !jinja_seq_push(rt, parts, v))
            return false;
        from = i + 1;
    }
    *out = jinja_list(parts);
    return true;
}

static bool sort_items(jinja_rt *rt, jinja_seq *s, const key_of *k, bool lists, bool reverse)
{
    if (!jinja_room(rt, 2 * s->n * sizeof(keyed)))
        return false;
    keyed *at = jinja_alloc(rt, (2 * s->n + 1) * sizeof *at);
    for (size_t i = 0; i < s->n; i++) {
        at[i].value = s->at[i];
        if (!(lists ? sort_key : item_key)(rt, k, s->at[i], &at[i].key))
            return false;
    }
    if (!merge_sort(rt, at, at + s->n, s->n, reverse))
        return false;
    for (size_t i = 0; i < s->n; i++)
        s->at[i] = at[i].value;
    return true;
}

/* sort(reverse=false, case_sensitive=false, attribute=none) */
FILTER(filter_sort)
{
    jinja_seq *s;
    key_of k = {arg_or_missing(a, 2), {0}, flag(rt, a, 1)};
    if (!jinja_collect(rt, v, &s) || !sort_items(rt, s, &k, true, flag(rt, a, 0)))
        return false;
    *out = jinja_list(s);
    return true;
}

/* dictsort(case_sensitive=false, by='key', reverse=false) */
FILTER(filter_dictsort)
{
    bool by_value =
        jinja_given(a, 1) && a->pos[1].t == JINJA_STR && jinja_str_is(a->pos[1].s, "value");
    bool by_key =
        !jinja_given(a, 1) || (a->pos[1].t == JINJA_STR && jinja_str_is(a->pos[1].s, "key"));
    if (!by_value && !by_key)
        return jinja_fail(rt, "dictsort sorts by 'key' or by 'value'");
    if (v.t == JINJA_UNDEFINED)
        return jinja_fail_undefined(rt, v);
    if (v.t != JINJA_DICT)
        return jinja_fail(rt, "'%s' object has no attribute 'items'", jinja_type_name(v));
    jinja_seq *s = jinja_seq_new(rt, v.d->n);
    for (; s->n < v.d->n; s->n++)
        s->at[s->n] = jinja_pair(rt, v.d->at[s->n].key, v.d->at[s->n].value);
    key_of k = {jinja_int(by_value), {0}, flag(rt, a, 0)};
    if (!sort_items(rt, s, &k, false, flag(rt, a, 2)))
        return false;
    *out = jinja_list(s);
    return true;
}

/* groupby(attribute, default=none, case_sensitive=false) */
FILTER(filter_groupby)
{
    jinja_seq *s, *groups = jinja_seq_new(rt, 0), *group = NULL;
    jval fallback = arg_or_missing(a, 1), last = {0}, key, shown;
    if (fallback.t == JINJA_NONE)
        fallback = (jval){0};
    key_of k = {a->pos[0], fallback, flag(rt, a, 2)};
    if (!jinja_collect(rt, v, &s) || !sort_items(rt, s, &k, false, false))
        return false;
    for (size_t i = 0; i < s->n; i++) {
        bool same = false;
        if (!item_key(rt, &k, s->at[i], &key) || (group && !jinja_equal(rt, key, last, &same)))
            return false;
        if (!same) {
            group = jinja_seq_new(rt, 0);
            if (!attr_path(rt, s->at[i], k.path, k.fallback, &shown))
                return false;
            jval pair = jinja_pair(rt, shown, jinja_list(group));
            pair.seq->group = true;
            if (!jinja_seq_push(rt, groups, pair))
                return false;
            last = key;
        }
        if (!jinja_seq_push(rt, group, s->at[i]))
            return false;
    }
    *out = jinja_list(groups);
    return true;
}

/* unique(case_sensitive=false, attribute=none): the first of each. */
typedef struct {
    jinja_iter *in;
    key_of key;
    jinja_dict *seen;
} unique_state;

static bool next_unique(jinja_rt *rt, jinja_iter *it, jval *out, bool *done)
{
    unique_state *u = it->state;
    while (jinja_iter_next(rt, u->in, out, done)) {
        jval key;
        size_t n = u->seen->n;
        if (*done)
            return true;
        if (!item_key(rt, &u->key, *out, &key) || !jinja_dict_set(rt, u->seen, key, jinja_none()))
            return false;
        if (u->seen->n > n)
            return true;
    }
    return false;
}

FILTER(filter_unique)
{
    unique_state *u = jinja_alloc(rt, sizeof *u);
    u->key = (key_of){arg_or_missing(a, 1), {0}, flag(rt, a, 0)};
    u->seen = jinja_dict_new(rt);
    if (!jinja_iter_of(rt, v, &u->in))
        return false;
    *out = jinja_generator(rt, "unique", next_unique, v, u);
    return true;
}

/* min and max(case_sensitive=false, attribute=none): of equal ones the first. */
static bool extreme(jinja_rt *rt, jval v, const jinja_args *a, int sign, jval *out)
{
    jinja_iter *it;
    jval item, key, best;
    bool done, any = false;
    key_of k = {arg_or_missing(a, 1), {0}, flag(rt, a, 0)};
    if (!jinja_iter_of(rt, v, &it))
        return false;
    while (jinja_iter_next(rt, it, &item, &done)) {
        int c = 1;
        if (done) {
            if (!any)
                *out = jinja_undef(rt, "No aggregated item, sequence was empty.");
            return true;
        }
        if (!item_key(rt, &k, item, &key) || (any && !jinja_order(rt, key, best, &c)))
            return false;
        if (!any || c == sign) {
            best = key;
            *out = item;
        }
        any = true;
    }
    return false;
}

FILTER(filter_min)
{
    return extreme(rt, v, a, -1, out);
}
FILTER(filter_max)
{
    return extreme(rt, v, a, 1, out);
}

/* --- map, select, reject --- */

typedef struct {
    jinja_iter *in;
    jval path, fallback;   /* MISSING: the item itself */
    const jinja_str *name; /* the filter or test; NULL: none */
    jinja_args args;
    bool wanted; /* select: true; reject: false */
} step_state;

static bool next_mapped(jinja_rt *rt, jinja_iter *it, jval *out, bool *done)
{
    step_state *s = it->state;
    jval item;
    if (!jinja_iter_next(rt, s->in, &item, done))
        return false;
    if (*done)
        return true;
    return s->name ? jinja_filter_by_name(rt, s->name, item, &s->args, out)
                   : attr_path(rt, item, s->path, s->fallback, out);
}

static bool next_selected(jinja_rt *rt, jinja_iter *it, jval *out, bool *done)
{
    step_state *s = it->state;
    while (jinja_iter_next(rt, s->in, out, done)) {
        jval v;
        bool yes;
        if (*done)
            return true;
        if (!attr_path(rt, *out, s->path, (jval){0}, &v))
            return false;
        if (s->name) {
            if (!jinja_test_by_name(rt, s->name, v, &s->args, &yes))
                return false;
        } else {
            yes = jinja_truth(rt, v);
        }
        if (yes == s->wanted)
            return true;
    }
    return false;
}

/* What is wrong with the arguments shows when the generator is walked, as in Python. */
static bool next_failing(jinja_rt *rt, jinja_iter *it, jval *out, bool *done)
{
    return jinja_fail(rt, "%s", (const char *)it->state);
}

static bool next_none(jinja_rt *rt, jinja_iter *it, jval *out, bool *done)
{
    *done = true;
    return true;
}

static bool failing(jinja_rt *rt, const char *name, const char *why, jval *out)
{
    *out = jinja_generator(rt, name, next_failing, jinja_none(), (void *)(uintptr_t)why);
    return true;
}

static jinja_args args_from(const jinja_args *a, size_t skip)
{
    jinja_args rest = *a;
    rest.pos += skip;
    rest.n -= skip;
    return rest;
}

/* map('filter', …) or map(attribute=…, default=…) */
FILTER(filter_map)
{
    step_state *s = jinja_alloc(rt, sizeof *s);
    bool by_attribute = false;
    if (!jinja_truth(rt, v)) {
        *out = jinja_generator(rt, "map", next_none, v, NULL);
        return true;
    }
    for (size_t i = 0; i < a->n_kw && !a->n; i++)
        if (jinja_str_is(a->kw_name[i], "attribute")) {
            by_attribute = true;
            s->path = a->kw[i];
        }
    for (size_t i = 0; by_attribute && i < a->n_kw; i++) {
        if (jinja_str_is(a->kw_name[i], "default") && a->kw[i].t != JINJA_NONE)
            s->fallback = a->kw[i];
        else if (!jinja_str_is(a->kw_name[i], "default") &&
                 !jinja_str_is(a->kw_name[i], "attribute"))
            return failing(rt, "map", "map() got an unknown keyword argument", out);
    }
    if (!by_attribute) {
        if (!a->n || a->pos[0].t != JINJA_STR)
            return failing(rt, "map", "map requires a filter argument", out);
        s->name = a->pos[0].s;
        s->args = args_from(a, 1);
    }
    if (!jinja_iter_of(rt, v, &s->in))
        return failing(rt, "map", "map() got a value that is not iterable", out);
    *out = jinja_generator(rt, "map", next_mapped, v, s);
    return true;
}

static bool select_or_reject(jinja_rt *rt, jval v, const jinja_args *a, bool attr, bool wanted,
                             jval *out)
{
    step_state *s = jinja_alloc(rt, sizeof *s);
    const char *name = wanted ? "select" : "reject";
    s->wanted = wanted;
    if (!jinja_truth(rt, v)) {
        *out = jinja_generator(rt, name, next_none, v, NULL);
        return true;
    }
    if (attr && !a->n)
        return failing(rt, name, "Missing parameter for attribute name", out);
    if (attr)
        s->path = a->pos[0];
    if (a->n > attr) {
        if (a->pos[attr].t != JINJA_STR)
            return failing(rt, name, "the name of a test must be a string", out);
        s->name = a->pos[attr].s;
        s->args = args_from(a, 1 + (size_t)attr);
    }
    if (!jinja_iter_of(rt, v, &s->in))
        return failing(rt, name, "select() got a value that is not iterable", out);
    *out = jinja_generator(rt, name, next_selected, v, s);
    return true;
}

FILTER(filter_select)
{
    return select_or_reject(rt, v, a, false, true, out);
}
FILTER(filter_reject)
{
    return select_or_reject(rt, v, a, false, false, out);
}
FILTER(filter_selectattr)
{
    return select_or_reject(rt, v, a, true, true, out);
}
FILTER(filter_rejectattr)
{
    return select_or_reject(rt, v, a, true, false, out);
}

/* --- parts and wholes --- */

FILTER(filter_first)
{
    jinja_iter *it;
    bool done;
    if (!jinja_iter_of(rt, v, &it) || !jinja_iter_next(rt, it, out, &done))
        return false;
    if (done)
        *out = jinja_undef(rt, "No first item, sequence was empty.");
    return true;
}

static bool reversible(jval v)
{
    return v.t == JINJA_STR || jinja_is_seq(v) || v.t == JINJA_DICT || v.t == JINJA_VIEW ||
           v.t == JINJA_RANGE;
}

static bool reversed(jinja_rt *rt, jval v, jinja_seq **s)
{
    if (!jinja_collect(rt, v, s))
        return false;
    for (size_t i = 0; i < (*s)->n / 2; i++) {
        jval t = (*s)->at[i];
        (*s)->at[i] = (*s)->at[(*s)->n - 1 - i];
        (*s)->at[(*s)->n - 1 - i] = t;
    }
    return true;
}

FILTER(filter_last)
{
    jinja_seq *s;
    if (v.t == JINJA_UNDEFINED) {
        *out = jinja_undef(rt, "No last item, sequence was empty.");
        return true;
    }
    if (!reversible(v))
        return jinja_fail(rt, "'%s' object is not reversible", jinja_type_name(v));
    if (!jinja_collect(rt, v, &s))
        return false;
    *out = s->n ? s->at[s->n - 1] : jinja_undef(rt, "No last item, sequence was empty.");
    return true;
}

/* A text reversed is a text; what has an order both ways gives an iterator, the rest a list. */
FILTER(filter_reverse)
{
    jinja_seq *s;
    jinja_iter *it;
    if (v.t == JINJA_STR)
        return jinja_slice(rt, v, jinja_none(), jinja_none(), jinja_int(-1), out);
    if (!reversed(rt, v, &s))
        return false;
    *out = jinja_list(s);
    if (!reversible(v) && v.t != JINJA_UNDEFINED)
        return true;
    if (!jinja_iter_of(rt, *out, &it))
        return false;
    it->name = "reversed";
    *out = (jval){.t = JINJA_ITER, .it = it};
    return true;
}

FILTER(filter_list)
{
    jinja_seq *s;
    if (!jinja_collect(rt, v, &s))
        return false;
    *out = jinja_list(s);
    return true;
}

FILTER(filter_items)
{
    jinja_iter *it;
    jval view;
    jinja_args none = {0};
    if (v.t == JINJA_UNDEFINED) {
        *out = jinja_generator(rt, "items", next_none, v, NULL);
        return true;
    }
    if (v.t != JINJA_DICT)
        return failing(rt, "items", "Can only get item pairs from a mapping.", out);
    if (!jinja_find(jinja_dict_methods, "items", 5)->fn(rt, v, &none, &view) ||
        !jinja_iter_of(rt, view, &it))
        return false;
    it->name = "items";
    *out = (jval){.t = JINJA_ITER, .it = it};
    return true;
}

/* join(d='', attribute=none) */
FILTER(filter_join)
{
    jinja_iter *it;
    jval item, path = arg_or_missing(a, 1);
    bool done;
    const jinja_str *sep;
    jinja_sb b;
    if (!jinja_to_str(rt, jinja_given(a, 0) ? a->pos[0] : jinja_text(rt, ""), &sep) ||
        !jinja_iter_of(rt, v, &it))
        return false;
    jinja_sb_init(&b, rt);
    for (size_t i = 0; jinja_iter_next(rt, it, &item, &done); i++) {
        if (done)
            return jinja_sb_done(&b, out);
        if (i)
            jinja_sb_add(&b, sep->s, sep->len);
        if (!attr_path(rt, item, path, (jval){0}, &item) || !jinja_put_str(&b, item))
            return false;
    }
    return false;
}

/* sum(attribute=none, start=0) */
FILTER(filter_sum)
{
    jinja_iter *it;
    jval item, path = arg_or_missing(a, 0);
    bool done;
    jval total = jinja_given(a, 1) ? a->pos[1] : jinja_int(0);
    if (total.t == JINJA_STR)
        return jinja_fail(rt, "sum() cannot add strings: use join");
    if (!jinja_iter_of(rt, v, &it))
        return false;
    while (jinja_iter_next(rt, it, &item, &done)) {
        if (done) {
            *out = total;
            return true;
        }
        if (!attr_path(rt, item, path, (jval){0}, &item) ||
            !jinja_binary(rt, JINJA_ADD, total, item, &total))
            return false;
    }
    return false;
}

typedef struct {
    jinja_seq *items;
    size_t pos;
    int64_t size, slice; /* of a batch; the number of slices */
    jval fill;
} part_state;

static bool next_batch(jinja_rt *rt, jinja_iter *it, jval *out, bool *done)
{
    part_state *p = it->state;
    if ((*done = p->pos >= p->items->n))
        return true;
    jinja_seq *part = jinja_seq_new(rt, 0);
    if (p->size == 0) { /* a batch of none is full at once; the next takes all */
        p->size = -1;
        *out = jinja_list(part);
        return true;
    }
    do
        if (!jinja_seq_push(rt, part, p->items->at[p->pos++]))
            return false;
    while (p->pos < p->items->n && (int64_t)part->n != p->size);
    bool fill = p->pos >= p->items->n && p->fill.t != JINJA_MISSING && p->fill.t != JINJA_NONE;
    while (fill && (int64_t)part->n < p->size)
        if (!jinja_charge(rt, 1) || !jinja_seq_push(rt, part, p->fill))
            return false;
    *out = jinja_list(part);
    return true;
}

/* batch(linecount, fill_with=none): lists of so many. */
FILTER(filter_batch)
{
    part_state *p = jinja_alloc(rt, sizeof *p);
    p->fill = arg_or_missing(a, 1);
    if (!jinja_arg_int(rt, a, 0, 0, &p->size) || !jinja_collect(rt, v, &p->items))
        return false;
    *out = jinja_generator(rt, "batch", next_batch, v, p);
    return true;
}

static bool next_slice(jinja_rt *rt, jinja_iter *it, jval *out, bool *done)
{
    part_state *p = it->state;
    if ((*done = p->slice >= p->size))
        return true;
    int64_t n = (int64_t)p->items->n, each = n / p->size, longer = n % p->size;
    jinja_seq *part = jinja_seq_new(rt, 0);
    for (int64_t i = 0; i < each + (p->slice < longer); i++)
        if (!jinja_seq_push(rt, part, p->items->at[p->pos++]))
            return false;
    bool fill = p->fill.t != JINJA_MISSING && p->fill.t != JINJA_NONE;
    if (fill && p->slice >= longer && !jinja_seq_push(rt, part, p->fill))
        return false;
    p->slice++;
    *out = jinja_list(part);
    return true;
}

/* slice(slices, fill_with=none): so many lists. */
FILTER(filter_slice)
{
    part_state *p = jinja_alloc(rt, sizeof *p);
    p->fill = arg_or_missing(a, 1);
    if (!jinja_arg_int(rt, a, 0, 0, &p->size) || !jinja_collect(rt, v, &p->items))
        return false;
    if (p->size == 0)
        return failing(rt, "slice", "integer division or modulo by zero", out);
    *out = jinja_generator(rt, "slice", next_slice, v, p);
    return true;
}

const jinja_builtin jinja_seq_filters[] = {
    /* name, parameters, needed, function */
    {"batch", "linecount,fill_with", 1, filter_batch},
    {"dictsort", "case_sensitive,by,reverse", 0, filter_dictsort},
    {"first", "", 0, filter_first},
    {"groupby", "attribute,default,case_sensitive", 1, filter_groupby},
    {"items", "", 0, filter_items},
    {"join", "d,attribute", 0, filter_join},
    {"last", "", 0, filter_last},
    {"list", "", 0, filter_list},
    {"map", NULL, 0, filter_map},
    {"max", "case_sensitive,attribute", 0, filter_max},
    {"min", "case_sensitive,attribute", 0, filter_min},
    {"reject", NULL, 0, filter_reject},
    {"rejectattr", NULL, 0, filter_rejectattr},
    {"reverse", "", 0, filter_reverse},
    {"select", NULL, 0, filter_select},
    {"selectattr", NULL, 0, filter_selectattr},
    {"slice", "slices,fill_with", 1, filter_slice},
    {"sort", "reverse,case_sensitive,attribute", 0, filter_sort},
    {"sum", "attribute,start", 0, filter_sum},
    {"unique", "case_sensitive,attribute", 0, filter_unique},
    {0},
};
