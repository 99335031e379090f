/*
 * jinja_globals.c: the functions a template finds without being given them, and the tests.
 */
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "runtime/text/jinja_rt.h"

/* --- functions --- */

enum { MAX_RANGE = 100000 };

/* range(stop), range(start, stop), range(start, stop, step) */
static bool global_range(jinja_rt *rt, jval self, const jinja_args *a, jval *out)
{
    int64_t v[3] = {0, 0, 1};
    if (!a->n || a->n > 3 || a->n_kw)
        return jinja_fail(rt, "range() takes from 1 to 3 numbers");
    for (size_t i = 0; i < a->n; i++)
        if (!jinja_arg_int(rt, a, i, 0, &v[a->n == 1 ? 1 : i]))
            return false;
    if (v[2] == 0)
        return jinja_fail(rt, "range() needs a step that is not zero");
    __int128 span = v[2] > 0 ? (__int128)v[1] - v[0] : (__int128)v[0] - v[1];
    __int128 step = v[2] > 0 ? (__int128)v[2] : -(__int128)v[2];
    __int128 n = span > 0 ? (span + step - 1) / step : 0;
    if (n > MAX_RANGE)
        return jinja_fail(rt, "range() of more than %d numbers", MAX_RANGE);
    jinja_range *r = jinja_alloc(rt, sizeof *r);
    *r = (jinja_range){v[0], v[2], (int64_t)n};
    *out = (jval){.t = JINJA_RANGE, .range = r};
    return true;
}

static bool add_pairs(jinja_rt *rt, jinja_dict *d, jval from)
{
    jinja_seq *items, *pair;
    if (from.t == JINJA_DICT) {
        for (size_t i = 0; i < from.d->n; i++)
            if (!jinja_charge(rt, 1) ||
                !jinja_dict_set(rt, d, from.d->at[i].key, from.d->at[i].value))
                return false;
        return true;
    }
    if (!jinja_collect(rt, from, &items))
        return false;
    for (size_t i = 0; i < items->n; i++) {
        if (!jinja_collect(rt, items->at[i], &pair))
            return false;
        if (pair->n != 2)
            return jinja_fail(rt, "a dictionary is made of pairs, not of %zu items", pair->n);
        if (!jinja_dict_set(rt, d, pair->at[0], pair->at[1]))
            return false;
    }
    return true;
}

/* What dict() and namespace() share: a mapping or pairs, then keywords. */
static bool fill(jinja_rt *rt, const char *name, const jinja_args *a, jinja_dict **d)
{
    *d = jinja_dict_new(rt);
    if (a->n > 1)
        return jinja_fail(rt, "%s() takes at most one positional argument", name);
    if (a->n && !add_pairs(rt, *d, a->pos[0]))
        return false;
    for (size_t i = 0; i < a->n_kw; i++)
        if (!jinja_dict_set(rt, *d, jinja_of_str(a->kw_name[i]), a->kw[i]))
            return false;
    return true;
}

static bool global_dict(jinja_rt *rt, jval self, const jinja_args *a, jval *out)
{
    *out = (jval){.t = JINJA_DICT};
    return fill(rt, "dict", a, &out->d);
}

static bool dict_fromkeys(jinja_rt *rt, jval self, const jinja_args *a, jval *out)
{
    jinja_seq *keys;
    jinja_dict *d = jinja_dict_new(rt);
    if (!jinja_collect(rt, a->pos[0], &keys))
        return false;
    for (size_t i = 0; i < keys->n; i++)
        if (!jinja_dict_set(rt, d, keys->at[i], jinja_given(a, 1) ? a->pos[1] : jinja_none()))
            return false;
    *out = (jval){.t = JINJA_DICT, .d = d};
    return true;
}

static bool global_namespace(jinja_rt *rt, jval self, const jinja_args *a, jval *out)
{
    jinja_dict *d;
    if (!fill(rt, "namespace", a, &d))
        return false;
    for (size_t i = 0; i < d->n; i++)
        if (d->at[i].key.t == JINJA_STR && d->at[i].key.s->len && d->at[i].key.s->s[0] == '_')
            return jinja_fail(rt, "names of a namespace cannot begin with '_'");
    *out = (jval){.t = JINJA_NAMESPACE, .d = d};
    return true;
}

static bool global_raise(jinja_rt *rt, jval self, const jinja_args *a, jval *out)
{
    const jinja_str *s;
    if (!jinja_to_str(rt, a->pos[0], &s))
        return false;
    return jinja_fail(rt, "%.*s", (int)s->len, s->s);
}

/* The parts of a format that C's strftime would read differently: microseconds, and a time zone
 * that a time without one does not have. */
static bool own_part(jinja_sb *b, char c)
{
    if (c == 'f')
        jinja_sb_puts(b, "000000");
    return c == 'f' || c == 'z' || c == 'Z';
}

static bool put_time(jinja_rt *rt, const jinja_str *fmt, const struct tm *tm, jval *out)
{
    jinja_sb b;
    char part[4], text[256];
    jinja_sb_init(&b, rt);
    for (size_t i = 0; i < fmt->len; i++) {
        if (fmt->s[i] != '%' || i + 1 >= fmt->len) {
            jinja_sb_putc(&b, fmt->s[i]);
            continue;
        }
        size_t n = 0;
        part[n++] = '%';
        char c = fmt->s[++i];
        if ((c == '-' || c == '_' || c == '^' || c == '#' || c == '0' || c == 'E' || c == 'O') &&
            i + 1 < fmt->len) {
            part[n++] = c;
            c = fmt->s[++i];
        }
        part[n++] = c;
        part[n] = '\0';
        if (!own_part(&b, c) && c)
            jinja_sb_add(&b, text, strftime(text, sizeof text, part, tm));
    }
    return jinja_sb_done(&b, out);
}

static bool global_strftime(jinja_rt *rt, jval self, const jinja_args *a, jval *out)
{
    const jinja_str *fmt;
    struct tm tm;
    time_t now = rt->opt.has_now ? (time_t)rt->opt.now : time(NULL);
    if (!jinja_arg_str(rt, a, 0, &fmt))
        return false;
    if (!localtime_r(&now, &tm))
        return jinja_fail(rt, "the time is out of range");
    return put_time(rt, fmt, &tm, out);
}

static bool global_cycler(jinja_rt *rt, jval self, const jinja_args *a, jval *out)
{
    if (!a->n || a->n_kw)
        return jinja_fail(rt, "cycler() needs at least one item");
    jinja_cycler *c = jinja_alloc(rt, sizeof *c);
    for (size_t i = 0; i < a->n; i++)
        if (!jinja_seq_push(rt, &c->items, a->pos[i]))
            return false;
    *out = (jval){.t = JINJA_CYCLER, .cycler = c};
    return true;
}

static bool cycler_next(jinja_rt *rt, jval self, const jinja_args *a, jval *out)
{
    jinja_cycler *c = self.cycler;
    *out = c->items.at[c->pos];
    c->pos = (c->pos + 1) % c->items.n;
    return true;
}

static bool cycler_reset(jinja_rt *rt, jval self, const jinja_args *a, jval *out)
{
    self.cycler->pos = 0;
    *out = jinja_none();
    return true;
}

static bool global_joiner(jinja_rt *rt, jval self, const jinja_args *a, jval *out)
{
    jinja_joiner *j = jinja_alloc(rt, sizeof *j);
    j->sep = jinja_given(a, 0) ? a->pos[0] : jinja_text(rt, ", ");
    *out = (jval){.t = JINJA_JOINER, .joiner = j};
    return true;
}

const jinja_builtin jinja_globals[] = {
    /* name, parameters, needed, function */
    {"range", NULL, 0, global_range},
    {"dict", NULL, 0, global_dict},
    {"namespace", NULL, 0, global_namespace},
    {"raise_exception", "message", 1, global_raise},
    {"strftime_now", "format", 1, global_strftime},
    {"cycler", NULL, 0, global_cycler},
    {"joiner", "sep", 0, global_joiner},
    {0},
};

const jinja_builtin jinja_cycler_methods[] = {
    {"next", "", 0, cycler_next},
    {"reset", "", 0, cycler_reset},
    {0},
};

const jinja_builtin jinja_dict_type_methods[] = {
    {"fromkeys", "/iterable,value", 1, dict_fromkeys},
    {0},
};

/* --- tests --- */

static bool answer(jval *out, bool yes)
{
    *out = jinja_bool(yes);
    return true;
}

/* value % n, for the tests on numbers. */
static bool remainder_is(jinja_rt *rt, jval v, jval n, int64_t want, jval *out)
{
    jval r;
    bool same;
    if (!jinja_binary(rt, JINJA_MOD, v, n, &r) || !jinja_equal(rt, r, jinja_int(want), &same))
        return false;
    return answer(out, same);
}

static bool test_odd(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return remainder_is(rt, v, jinja_int(2), 1, out);
}
static bool test_even(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return remainder_is(rt, v, jinja_int(2), 0, out);
}
static bool test_divisibleby(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return remainder_is(rt, v, a->pos[0], 0, out);
}
static bool test_defined(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return answer(out, v.t != JINJA_UNDEFINED);
}
static bool test_undefined(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return answer(out, v.t == JINJA_UNDEFINED);
}
static bool test_none(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return answer(out, v.t == JINJA_NONE);
}
static bool test_boolean(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return answer(out, v.t == JINJA_BOOL);
}
static bool test_true(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return answer(out, v.t == JINJA_BOOL && v.b);
}
static bool test_false(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return answer(out, v.t == JINJA_BOOL && !v.b);
}
static bool test_integer(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return answer(out, v.t == JINJA_INT);
}
static bool test_float(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return answer(out, v.t == JINJA_FLOAT);
}
static bool test_number(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return answer(out, jinja_is_number(v));
}
static bool test_string(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return answer(out, v.t == JINJA_STR);
}
static bool test_mapping(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return answer(out, v.t == JINJA_DICT);
}
static bool test_iterable(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return answer(out, jinja_iterable(v));
}
static bool test_sequence(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    int64_t n;
    return answer(out, jinja_length(rt, v, &n) && v.t != JINJA_VIEW);
}
static bool test_callable(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return answer(out, v.t == JINJA_UNDEFINED || v.t == JINJA_MACRO || v.t == JINJA_METHOD ||
                           v.t == JINJA_FUNC || v.t == JINJA_LOOP || v.t == JINJA_JOINER);
}
static bool test_escaped(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return answer(out, v.t == JINJA_STR && v.s->safe);
}

/* The same object: for what is compared by value, the same value of the same type. */
static bool test_sameas(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    jval w = a->pos[0];
    bool same = false;
    if (v.t != w.t)
        return answer(out, false);
    if (v.t == JINJA_LIST || v.t == JINJA_TUPLE || v.t == JINJA_DICT)
        return answer(out, v.d == w.d);
    return jinja_equal(rt, v, w, &same) && answer(out, same);
}

static bool test_in(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return jinja_binary(rt, JINJA_IN, v, a->pos[0], out);
}
static bool test_eq(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return jinja_binary(rt, JINJA_EQ, v, a->pos[0], out);
}
static bool test_ne(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return jinja_binary(rt, JINJA_NE, v, a->pos[0], out);
}
static bool test_lt(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return jinja_binary(rt, JINJA_LT, v, a->pos[0], out);
}
static bool test_le(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return jinja_binary(rt, JINJA_LE, v, a->pos[0], out);
}
static bool test_gt(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return jinja_binary(rt, JINJA_GT, v, a->pos[0], out);
}
static bool test_ge(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return jinja_binary(rt, JINJA_GE, v, a->pos[0], out);
}

/* Is every letter of the text of this case, and is there one? */
static bool all_of_case(jinja_rt *rt, jval v, bool upper, jval *out)
{
    const jinja_str *s;
    uint32_t cp;
    bool any = false;
    if (!jinja_to_str(rt, v, &s) || !jinja_charge_bytes(rt, s->len))
        return false;
    for (size_t i = 0, n; (n = jinja_utf8_next(s->s + i, s->len - i, &cp)); i += n) {
        if (upper ? jinja_is_lower(cp) : jinja_is_upper(cp))
            return answer(out, false);
        any |= upper ? jinja_is_upper(cp) : jinja_is_lower(cp);
    }
    return answer(out, any);
}
static bool test_lower(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return all_of_case(rt, v, false, out);
}
static bool test_upper(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return all_of_case(rt, v, true, out);
}
static bool test_filter(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return answer(out, v.t == JINJA_STR && jinja_filter_find(v.s->s, v.s->len));
}
static bool test_test(jinja_rt *rt, jval v, const jinja_args *a, jval *out)
{
    return answer(out, v.t == JINJA_STR && jinja_find(jinja_tests, v.s->s, v.s->len));
}

const jinja_builtin jinja_tests[] = {
    /* name, parameters, needed, function */
    {"defined", "", 0, test_defined},
    {"undefined", "", 0, test_undefined},
    {"none", "", 0, test_none},
    {"boolean", "", 0, test_boolean},
    {"true", "", 0, test_true},
    {"false", "", 0, test_false},
    {"integer", "", 0, test_integer},
    {"float", "", 0, test_float},
    {"number", "", 0, test_number},
    {"string", "", 0, test_string},
    {"mapping", "", 0, test_mapping},
    {"iterable", "", 0, test_iterable},
    {"sequence", "", 0, test_sequence},
    {"callable", "", 0, test_callable},
    {"escaped", "", 0, test_escaped},
    {"odd", "", 0, test_odd},
    {"even", "", 0, test_even},
    {"divisibleby", "num", 1, test_divisibleby},
    {"sameas", "other", 1, test_sameas},
    {"in", "seq", 1, test_in},
    {"eq", "/other", 1, test_eq},
    {"==", "/other", 1, test_eq},
    {"equalto", "/other", 1, test_eq},
    {"ne", "/other", 1, test_ne},
    {"!=", "/other", 1, test_ne},
    {"lt", "/other", 1, test_lt},
    {"<", "/other", 1, test_lt},
    {"lessthan", "/other", 1, test_lt},
    {"le", "/other", 1, test_le},
    {"<=", "/other", 1, test_le},
    {"gt", "/other", 1, test_gt},
    {">", "/other", 1, test_gt},
    {"greaterthan", "/other", 1, test_gt},
    {"ge", "/other", 1, test_ge},
    {">=", "/other", 1, test_ge},
    {"lower", "", 0, test_lower},
    {"upper", "", 0, test_upper},
    {"filter", "", 0, test_filter},
    {"test", "", 0, test_test},
    {0},
};
