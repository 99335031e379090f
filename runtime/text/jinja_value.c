/*
 * jinja_value.c: making values, and Python's truth, equality, order, hash, length and `in`.
 */
#include "runtime/text/jinja_value.h"

#include <math.h>
#include <string.h>

#include "runtime/text/jinja_rt.h"

/* --- making --- */

const jinja_str *jinja_str_new(jinja_rt *rt, const char *s, size_t len)
{
    jinja_str *str = jinja_alloc(rt, sizeof *str);
    str->s = len ? s : "";
    str->len = len;
    str->n = jinja_utf8_count(str->s, len);
    return str;
}

jval jinja_text(jinja_rt *rt, const char *literal)
{
    return jinja_of_str(jinja_str_new(rt, literal, strlen(literal)));
}

jval jinja_cstr(jinja_rt *rt, const char *s, size_t len)
{
    return jinja_of_str(jinja_str_new(rt, nx_arena_strndup(&rt->arena, s, len), len));
}

jinja_seq *jinja_seq_new(jinja_rt *rt, size_t cap)
{
    jinja_seq *s = jinja_alloc(rt, sizeof *s);
    s->cap = cap;
    s->at = cap ? jinja_alloc(rt, cap * sizeof *s->at) : NULL;
    return s;
}

bool jinja_seq_push(jinja_rt *rt, jinja_seq *s, jval v)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 4;
        if (!jinja_room(rt, cap * sizeof *s->at) || !jinja_charge(rt, s->n / 8))
            return false;
        jval *at = nx_arena_alloc(&rt->arena, cap * sizeof *at);
        if (s->n)
            memcpy(at, s->at, s->n * sizeof *at);
        s->at = at;
        s->cap = cap;
    }
    s->at[s->n++] = v;
    return true;
}

jval jinja_list(jinja_seq *s)
{
    return (jval){.t = JINJA_LIST, .seq = s};
}

jval jinja_tuple(jinja_seq *s)
{
    return (jval){.t = JINJA_TUPLE, .seq = s};
}

jval jinja_pair(jinja_rt *rt, jval a, jval b)
{
    jinja_seq *s = jinja_seq_new(rt, 2);
    s->at[0] = a;
    s->at[1] = b;
    s->n = 2;
    return jinja_tuple(s);
}

jval jinja_undef(jinja_rt *rt, const char *hint)
{
    jinja_undefined *u = jinja_alloc(rt, sizeof *u);
    u->hint = hint;
    return (jval){.t = JINJA_UNDEFINED, .u = u};
}

jval jinja_undef_name(jinja_rt *rt, jval of, jval name)
{
    jinja_undefined *u = jinja_alloc(rt, sizeof *u);
    u->name = name;
    u->of = of;
    return (jval){.t = JINJA_UNDEFINED, .u = u};
}

bool jinja_fail_undefined(jinja_rt *rt, jval v)
{
    const jinja_undefined *u = v.u;
    const jinja_str *name;
    if (u->hint)
        return jinja_fail(rt, "%s", u->hint);
    if (!jinja_to_str(rt, u->name, &name))
        return false;
    if (u->of.t == JINJA_MISSING)
        return jinja_fail(rt, "'%.*s' is undefined", (int)name->len, name->s);
    const char *type = u->of.t == JINJA_NONE ? "None" : jinja_type_name(u->of);
    const char *object = u->of.t == JINJA_NONE ? "" : " object";
    if (u->name.t != JINJA_STR)
        return jinja_fail(rt, "%s%s has no element %.*s", type, object, (int)name->len, name->s);
    return jinja_fail(rt, "'%s%s' has no attribute '%.*s'", type, object, (int)name->len, name->s);
}

/* --- dictionaries --- */

enum { SMALL_DICT = 8 };

jinja_dict *jinja_dict_new(jinja_rt *rt)
{
    return jinja_alloc(rt, sizeof(jinja_dict));
}

static bool rehash(jinja_rt *rt, jinja_dict *d)
{
    size_t n = d->n_slots ? d->n_slots * 2 : 32;
    if (!jinja_room(rt, n * sizeof *d->slots) || !jinja_charge(rt, d->n))
        return false;
    d->slots = jinja_alloc(rt, n * sizeof *d->slots);
    d->n_slots = n;
    for (size_t i = 0; i < d->n; i++) {
        size_t s = d->at[i].hash & (n - 1);
        while (d->slots[s])
            s = (s + 1) & (n - 1);
        d->slots[s] = (uint32_t)(i + 1);
    }
    return true;
}

static bool same_key(jinja_rt *rt, jval a, jval b, bool *same)
{
    if (a.t == JINJA_STR && b.t == JINJA_STR) {
        *same = a.s->len == b.s->len && memcmp(a.s->s, b.s->s, a.s->len) == 0;
        return true;
    }
    return jinja_equal(rt, a, b, same);
}

static bool find(jinja_rt *rt, const jinja_dict *d, jval key, uint64_t hash, jinja_entry **found)
{
    bool same = false;
    *found = NULL;
    if (!d->slots) {
        for (size_t i = 0; i < d->n; i++) {
            if (d->at[i].hash == hash && !same_key(rt, d->at[i].key, key, &same))
                return false;
            if (same) {
                *found = &d->at[i];
                return true;
            }
        }
        return true;
    }
    for (size_t s = hash & (d->n_slots - 1); d->slots[s]; s = (s + 1) & (d->n_slots - 1)) {
        jinja_entry *e = &d->at[d->slots[s] - 1];
        if (e->hash == hash && !same_key(rt, e->key, key, &same))
            return false;
        if (same) {
            *found = e;
            return true;
        }
        if (!jinja_charge(rt, 1)) /* keys chosen to collide cost their walker */
            return false;
    }
    return true;
}

static bool append_entry(jinja_rt *rt, jinja_dict *d, jinja_entry e)
{
    if (d->n == d->cap) {
        size_t cap = d->cap ? d->cap * 2 : 4;
        if (!jinja_room(rt, cap * sizeof *d->at))
            return false;
        jinja_entry *at = nx_arena_alloc(&rt->arena, cap * sizeof *at);
        if (d->n)
            memcpy(at, d->at, d->n * sizeof *at);
        d->at = at;
        d->cap = cap;
    }
    d->at[d->n++] = e;
    if (d->n > SMALL_DICT && d->n * 2 > d->n_slots)
        return rehash(rt, d);
    if (d->slots) {
        size_t s = e.hash & (d->n_slots - 1);
        while (d->slots[s])
            s = (s + 1) & (d->n_slots - 1);
        d->slots[s] = (uint32_t)d->n;
    }
    return true;
}

bool jinja_dict_set(jinja_rt *rt, jinja_dict *d, jval key, jval value)
{
    uint64_t hash;
    jinja_entry *e;
    if (!jinja_hash(rt, key, &hash) || !find(rt, d, key, hash, &e))
        return false;
    if (e) {
        e->value = value;
        return true;
    }
    return append_entry(rt, d, (jinja_entry){key, value, hash});
}

bool jinja_dict_get(jinja_rt *rt, const jinja_dict *d, jval key, jinja_entry **found)
{
    uint64_t hash;
    return jinja_hash(rt, key, &hash) && find(rt, d, key, hash, found);
}

static uint64_t mix(uint64_t h)
{
    h ^= h >> 32;
    h *= 0xD6E8FEB86659FD93u;
    h ^= h >> 32;
    h *= 0xD6E8FEB86659FD93u;
    return h ^ h >> 32;
}

static uint64_t hash_bytes(const char *s, size_t n)
{
    uint64_t h = n;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)s[i]) * 0x100000001B3u;
    return mix(h);
}

jval *jinja_dict_str(const jinja_dict *d, const char *key, size_t len)
{
    uint64_t hash = d->slots ? hash_bytes(key, len) : 0;
    size_t s = d->slots ? hash & (d->n_slots - 1) : 0;
    for (size_t i = 0; d->slots || i < d->n; i++, s = (s + 1) & (d->n_slots - 1)) {
        if (d->slots && !d->slots[s])
            return NULL;
        jinja_entry *e = d->slots ? &d->at[d->slots[s] - 1] : &d->at[i];
        if (e->key.t == JINJA_STR && e->key.s->len == len && !memcmp(e->key.s->s, key, len))
            return &e->value;
    }
    return NULL;
}

static bool hash_seq(jinja_rt *rt, const jinja_seq *s, uint64_t *out)
{
    if (!jinja_enter(rt))
        return false;
    bool ok = true;
    *out = 77;
    for (size_t i = 0; ok && i < s->n; i++) {
        uint64_t h = 0;
        ok = jinja_charge(rt, 1) && jinja_hash(rt, s->at[i], &h);
        *out = mix(*out * 31 + h);
    }
    jinja_leave(rt);
    return ok;
}

/* Numbers that are equal have the same hash, whatever their type. */
bool jinja_hash(jinja_rt *rt, jval v, uint64_t *out)
{
    switch (v.t) {
    case JINJA_STR:
        *out = hash_bytes(v.s->s, v.s->len);
        return jinja_charge_bytes(rt, v.s->len);
    case JINJA_BOOL:
    case JINJA_INT:
        *out = mix((uint64_t)jinja_as_int(v) + 1);
        return true;
    case JINJA_FLOAT:
        if (v.f >= -9e18 && v.f <= 9e18 && v.f == (double)(int64_t)v.f)
            *out = mix((uint64_t)(int64_t)v.f + 1);
        else
            memcpy(out, &v.f, sizeof v.f);
        return true;
    case JINJA_TUPLE:
        return hash_seq(rt, v.seq, out);
    case JINJA_LIST:
    case JINJA_DICT:
    case JINJA_VIEW:
        return jinja_fail(rt, "unhashable type: '%s'", jinja_type_name(v));
    case JINJA_NONE:
    case JINJA_UNDEFINED:
        *out = (uint64_t)v.t * 1000003u;
        return true;
    default:
        *out = mix((uint64_t)(uintptr_t)v.d);
        return true;
    }
}

/* --- asking --- */

const char *jinja_type_name(jval v)
{
    static const char *const names[] = {
        "missing",   "Undefined",   "NoneType",  "bool",
        "int",       "float",       "str",       "list",
        "tuple",     "dict",        "dict_view", "range",
        "generator", "Namespace",   "Macro",     "builtin_function_or_method",
        "function",  "LoopContext", "Cycler",    "Joiner"};
    static const char *const views[] = {"dict_keys", "dict_values", "dict_items"};
    if (v.t == JINJA_VIEW)
        return views[v.view->kind];
    return v.t == JINJA_STR && v.s->safe ? "Markup" : names[v.t];
}

bool jinja_str_is(const jinja_str *s, const char *literal)
{
    return s->len == strlen(literal) && memcmp(s->s, literal, s->len) == 0;
}

bool jinja_truth(jinja_rt *rt, jval v)
{
    int64_t n;
    switch (v.t) {
    case JINJA_MISSING:
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return false;
    case JINJA_BOOL:
        return v.b;
    case JINJA_INT:
        return v.i != 0;
    case JINJA_FLOAT:
        return v.f != 0;
    case JINJA_LOOP:
        return true; /* inside it there is an item */
    default:
        return !jinja_length(rt, v, &n) || n > 0;
    }
}

bool jinja_length(jinja_rt *rt, jval v, int64_t *n)
{
    *n = 0;
    switch (v.t) {
    case JINJA_UNDEFINED:
        return true;
    case JINJA_STR:
        *n = (int64_t)v.s->n;
        return true;
    case JINJA_LIST:
    case JINJA_TUPLE:
        *n = (int64_t)v.seq->n;
        return true;
    case JINJA_DICT:
        *n = (int64_t)v.d->n;
        return true;
    case JINJA_VIEW:
        *n = (int64_t)v.view->d->n;
        return true;
    case JINJA_RANGE:
        *n = v.range->n;
        return true;
    default:
        return false;
    }
}

static bool equal_seqs(jinja_rt *rt, const jinja_seq *a, const jinja_seq *b, bool *out)
{
    *out = a->n == b->n;
    for (size_t i = 0; *out && i < a->n; i++)
        if (!jinja_charge(rt, 1) || !jinja_equal(rt, a->at[i], b->at[i], out))
            return false;
    return true;
}

static bool equal_dicts(jinja_rt *rt, const jinja_dict *a, const jinja_dict *b, bool *out)
{
    *out = a->n == b->n;
    for (size_t i = 0; *out && i < a->n; i++) {
        jinja_entry *e;
        if (!jinja_charge(rt, 1) || !find(rt, b, a->at[i].key, a->at[i].hash, &e))
            return false;
        *out = e != NULL;
        if (e && !jinja_equal(rt, a->at[i].value, e->value, out))
            return false;
    }
    return true;
}

static bool equal_numbers(jval a, jval b)
{
    if (a.t != JINJA_FLOAT && b.t != JINJA_FLOAT)
        return jinja_as_int(a) == jinja_as_int(b);
    long double x = a.t == JINJA_FLOAT ? (long double)a.f : (long double)jinja_as_int(a);
    long double y = b.t == JINJA_FLOAT ? (long double)b.f : (long double)jinja_as_int(b);
    return x == y;
}

static bool equal_nested(jinja_rt *rt, jval a, jval b, bool *out)
{
    if (!jinja_enter(rt))
        return false;
    bool ok =
        a.t == JINJA_DICT ? equal_dicts(rt, a.d, b.d, out) : equal_seqs(rt, a.seq, b.seq, out);
    jinja_leave(rt);
    return ok;
}

static bool equal_ranges(const jinja_range *a, const jinja_range *b)
{
    if (a->n != b->n || a->n == 0)
        return a->n == b->n;
    return a->start == b->start && (a->n == 1 || a->step == b->step);
}

bool jinja_equal(jinja_rt *rt, jval a, jval b, bool *out)
{
    *out = false;
    if (jinja_is_number(a) && jinja_is_number(b)) {
        *out = equal_numbers(a, b);
        return true;
    }
    if (a.t != b.t)
        return true;
    switch (a.t) {
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        *out = true;
        return true;
    case JINJA_STR:
        *out = a.s->len == b.s->len && memcmp(a.s->s, b.s->s, a.s->len) == 0;
        return jinja_charge_bytes(rt, *out ? a.s->len : 0);
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_DICT:
        return equal_nested(rt, a, b, out);
    case JINJA_RANGE:
        *out = equal_ranges(a.range, b.range);
        return true;
    default:
        *out = a.d == b.d;
        return true;
    }
}

static int compare_bytes(const jinja_str *a, const jinja_str *b)
{
    size_t n = a->len < b->len ? a->len : b->len;
    int c = memcmp(a->s, b->s, n); /* UTF-8 sorts as its code points do */
    return c ? c : (a->len > b->len) - (a->len < b->len);
}

/* The first items that differ decide; then the length. */
static bool order_seqs(jinja_rt *rt, const jinja_seq *a, const jinja_seq *b, int *out)
{
    for (size_t i = 0; i < a->n && i < b->n; i++) {
        bool same;
        if (!jinja_charge(rt, 1) || !jinja_equal(rt, a->at[i], b->at[i], &same))
            return false;
        if (!same)
            return jinja_order(rt, a->at[i], b->at[i], out);
    }
    *out = (a->n > b->n) - (a->n < b->n);
    return true;
}

bool jinja_order(jinja_rt *rt, jval a, jval b, int *out)
{
    if (a.t == JINJA_UNDEFINED || b.t == JINJA_UNDEFINED)
        return jinja_fail_undefined(rt, a.t == JINJA_UNDEFINED ? a : b);
    if (jinja_is_number(a) && jinja_is_number(b)) {
        if (a.t != JINJA_FLOAT && b.t != JINJA_FLOAT) {
            int64_t x = jinja_as_int(a), y = jinja_as_int(b);
            *out = (x > y) - (x < y);
            return true;
        }
        long double x = a.t == JINJA_FLOAT ? (long double)a.f : (long double)jinja_as_int(a);
        long double y = b.t == JINJA_FLOAT ? (long double)b.f : (long double)jinja_as_int(b);
        *out = isnan(x) || isnan(y) ? 2 : (x > y) - (x < y);
        return true;
    }
    if (a.t == JINJA_STR && b.t == JINJA_STR) {
        *out = compare_bytes(a.s, b.s);
        *out = (*out > 0) - (*out < 0);
        return jinja_charge_bytes(rt, a.s->len < b.s->len ? a.s->len : b.s->len);
    }
    if (a.t != b.t || !jinja_is_seq(a))
        return jinja_fail(rt, "'<' is not supported between '%s' and '%s'", jinja_type_name(a),
                          jinja_type_name(b));
    if (!jinja_enter(rt))
        return false;
    bool ok = order_seqs(rt, a.seq, b.seq, out);
    jinja_leave(rt);
    return ok;
}

static bool str_contains(jinja_rt *rt, const jinja_str *s, jval item, bool *out)
{
    if (item.t != JINJA_STR)
        return jinja_fail(rt, "'in <string>' requires a string on its left, not '%s'",
                          jinja_type_name(item));
    *out = item.s->len == 0 || memmem(s->s, s->len, item.s->s, item.s->len) != NULL;
    return jinja_charge_bytes(rt, s->len);
}

static bool walk_contains(jinja_rt *rt, jval container, jval item, bool *out)
{
    jinja_iter *it;
    jval v;
    bool done = false;
    *out = false;
    if (!jinja_iterable(container))
        return jinja_fail(rt, "argument of type '%s' is not iterable", jinja_type_name(container));
    if (!jinja_iter_of(rt, container, &it))
        return false;
    while (!*out) {
        if (!jinja_iter_next(rt, it, &v, &done))
            return false;
        if (done)
            break;
        if (!jinja_equal(rt, v, item, out))
            return false;
    }
    return true;
}

bool jinja_contains(jinja_rt *rt, jval container, jval item, bool *out)
{
    jinja_entry *e;
    if (container.t == JINJA_STR)
        return str_contains(rt, container.s, item, out);
    if (container.t == JINJA_DICT ||
        (container.t == JINJA_VIEW && container.view->kind == JINJA_KEYS)) {
        const jinja_dict *d = container.t == JINJA_DICT ? container.d : container.view->d;
        if (!jinja_dict_get(rt, d, item, &e))
            return false;
        *out = e != NULL;
        return true;
    }
    return walk_contains(rt, container, item, out);
}
