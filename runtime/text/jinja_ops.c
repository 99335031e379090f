/*
 * jinja_ops.c: operators of two values, attributes, subscripts and slices, as Python and Jinja's
 * sandbox define them. Integers have 64 bits: a result beyond is an error.
 */
#include <math.h>
#include <string.h>

#include "runtime/text/jinja_rt.h"

/* --- arithmetic --- */

static bool overflow(jinja_rt *rt)
{
    return jinja_fail(rt, "an integer does not fit 64 bits");
}

static int64_t floor_div(int64_t a, int64_t b)
{
    int64_t q = a / b;
    return q - ((a % b != 0) && ((a < 0) != (b < 0)));
}

static double float_mod(double a, double b)
{
    double m = fmod(a, b);
    if (m != 0)
        return (m < 0) != (b < 0) ? m + b : m;
    return copysign(0.0, b);
}

static double float_floor_div(double a, double b)
{
    double m = float_mod(a, b), q = (a - m) / b;
    if (q == 0)
        return copysign(0.0, a / b);
    double f = floor(q);
    return q - f > 0.5 ? f + 1 : f;
}

static bool int_pow(jinja_rt *rt, int64_t base, int64_t exp, jval *out)
{
    if (exp < 0) {
        if (base == 0)
            return jinja_fail(rt, "0 cannot be raised to a negative power");
        *out = jinja_float(pow((double)base, (double)exp));
        return true;
    }
    int64_t r = 1;
    while (exp) {
        if (exp & 1 && __builtin_mul_overflow(r, base, &r))
            return overflow(rt);
        exp >>= 1;
        if (exp && __builtin_mul_overflow(base, base, &base))
            return overflow(rt);
    }
    *out = jinja_int(r);
    return true;
}

static bool int_binary(jinja_rt *rt, jinja_op op, int64_t a, int64_t b, jval *out)
{
    int64_t r = 0;
    bool bad = false;
    if ((op == JINJA_DIV || op == JINJA_FLOORDIV || op == JINJA_MOD) && b == 0)
        return jinja_fail(rt, "division by zero");
    switch (op) {
    case JINJA_ADD:
        bad = __builtin_add_overflow(a, b, &r);
        break;
    case JINJA_SUB:
        bad = __builtin_sub_overflow(a, b, &r);
        break;
    case JINJA_MUL:
        bad = __builtin_mul_overflow(a, b, &r);
        break;
    case JINJA_FLOORDIV:
        bad = a == INT64_MIN && b == -1;
        r = bad ? 0 : floor_div(a, b);
        break;
    case JINJA_MOD:
        r = b == -1 ? 0 : a - floor_div(a, b) * b;
        break;
    case JINJA_POW:
        return int_pow(rt, a, b, out);
    default:
        *out = jinja_float((double)a / (double)b);
        return true;
    }
    *out = jinja_int(r);
    return !bad || overflow(rt);
}

static bool float_binary(jinja_rt *rt, jinja_op op, double a, double b, jval *out)
{
    double r = 0;
    if ((op == JINJA_DIV || op == JINJA_FLOORDIV || op == JINJA_MOD) && b == 0)
        return jinja_fail(rt, "float division by zero");
    switch (op) {
    case JINJA_ADD:
        r = a + b;
        break;
    case JINJA_SUB:
        r = a - b;
        break;
    case JINJA_MUL:
        r = a * b;
        break;
    case JINJA_DIV:
        r = a / b;
        break;
    case JINJA_FLOORDIV:
        r = float_floor_div(a, b);
        break;
    case JINJA_MOD:
        r = float_mod(a, b);
        break;
    default:
        if (a == 0 && b < 0)
            return jinja_fail(rt, "0.0 cannot be raised to a negative power");
        if (a < 0 && b != floor(b) && isfinite(a) && isfinite(b))
            return jinja_fail(rt, "a negative number has no power with a fraction");
        r = pow(a, b);
        if (isinf(r) && isfinite(a) && isfinite(b))
            return jinja_fail(rt, "the power is too large");
        break;
    }
    *out = jinja_float(r);
    return true;
}

static bool unsupported(jinja_rt *rt, jinja_op op, jval a, jval b)
{
    static const char *const signs[] = {
        [JINJA_ADD] = "+",       [JINJA_SUB] = "-", [JINJA_MUL] = "*", [JINJA_DIV] = "/",
        [JINJA_FLOORDIV] = "//", [JINJA_MOD] = "%", [JINJA_POW] = "**"};
    return jinja_fail(rt, "unsupported operand types for %s: '%s' and '%s'", signs[op],
                      jinja_type_name(a), jinja_type_name(b));
}

/* --- strings and sequences --- */

static const struct {
    char c;
    const char *text;
} escapes[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'\'', "&#39;"}, {'"', "&#34;"}};

static void put_escaped(jinja_sb *b, const jinja_str *s)
{
    for (size_t i = 0; i < s->len; i++) {
        const char *text = NULL;
        for (size_t k = 0; k < sizeof escapes / sizeof *escapes; k++)
            if (s->s[i] == escapes[k].c)
                text = escapes[k].text;
        if (text)
            jinja_sb_puts(b, text);
        else
            jinja_sb_putc(b, s->s[i]);
    }
}

static jval as_safe(jinja_rt *rt, jval v)
{
    jinja_str *s = jinja_alloc(rt, sizeof *s);
    *s = *v.s;
    s->safe = true;
    return jinja_of_str(s);
}

/* HTML's special characters as entities; text marked safe is left alone. The result is safe. */
bool jinja_escape(jinja_rt *rt, jval v, jval *out)
{
    const jinja_str *s;
    jinja_sb b;
    if (v.t == JINJA_STR && v.s->safe) {
        *out = v;
        return true;
    }
    if (!jinja_to_str(rt, v, &s))
        return false;
    jinja_sb_init(&b, rt);
    put_escaped(&b, s);
    if (!jinja_sb_done(&b, out))
        return false;
    *out = as_safe(rt, *out);
    return true;
}

static bool concat(jinja_rt *rt, jval a, jval b, jval *out)
{
    bool safe = a.s->safe || b.s->safe;
    jinja_sb sb;
    if (safe && (!jinja_escape(rt, a, &a) || !jinja_escape(rt, b, &b)))
        return false;
    jinja_sb_init(&sb, rt);
    jinja_sb_add(&sb, a.s->s, a.s->len);
    jinja_sb_add(&sb, b.s->s, b.s->len);
    if (!jinja_sb_done(&sb, out))
        return false;
    if (safe)
        *out = as_safe(rt, *out);
    return true;
}

static bool add_seqs(jinja_rt *rt, jval a, jval b, jval *out)
{
    size_t n = a.seq->n + b.seq->n;
    if (!jinja_room(rt, n * sizeof *a.seq->at) || !jinja_charge(rt, n / 8))
        return false;
    jinja_seq *s = jinja_seq_new(rt, n);
    if (a.seq->n)
        memcpy(s->at, a.seq->at, a.seq->n * sizeof *s->at);
    if (b.seq->n)
        memcpy(s->at + a.seq->n, b.seq->at, b.seq->n * sizeof *s->at);
    s->n = n;
    *out = (jval){.t = a.t, .seq = s};
    return true;
}

static bool repeat(jinja_rt *rt, jval a, int64_t times, jval *out)
{
    if (times < 0)
        times = 0;
    if (a.t == JINJA_STR) {
        jinja_sb b;
        jinja_sb_init(&b, rt);
        jinja_sb_repeat(&b, a.s->s, a.s->len, times);
        if (!jinja_sb_done(&b, out))
            return false;
        if (a.s->safe)
            *out = as_safe(rt, *out);
        return true;
    }
    size_t total;
    if (__builtin_mul_overflow(a.seq->n, (size_t)times, &total) ||
        total > SIZE_MAX / sizeof(jval) || !jinja_room(rt, total * sizeof(jval)) ||
        !jinja_charge(rt, total / 8))
        return jinja_fail(rt, "the repeated list is too large");
    jinja_seq *s = jinja_seq_new(rt, total);
    for (; s->n < total; s->n++)
        s->at[s->n] = a.seq->at[s->n % a.seq->n];
    *out = (jval){.t = a.t, .seq = s};
    return true;
}

static bool repeatable(jval v)
{
    return v.t == JINJA_STR || jinja_is_seq(v);
}

static bool is_integer(jval v)
{
    return v.t == JINJA_INT || v.t == JINJA_BOOL;
}

static bool arithmetic(jinja_rt *rt, jinja_op op, jval a, jval b, jval *out)
{
    if (op == JINJA_MOD && a.t == JINJA_STR)
        return jinja_percent(rt, a.s, b, out);
    if (a.t == JINJA_UNDEFINED || b.t == JINJA_UNDEFINED)
        return jinja_fail_undefined(rt, a.t == JINJA_UNDEFINED ? a : b);
    if (is_integer(a) && is_integer(b))
        return int_binary(rt, op, jinja_as_int(a), jinja_as_int(b), out);
    if (jinja_is_number(a) && jinja_is_number(b))
        return float_binary(rt, op, jinja_as_float(a), jinja_as_float(b), out);
    if (op == JINJA_ADD && a.t == JINJA_STR && b.t == JINJA_STR)
        return concat(rt, a, b, out);
    if (op == JINJA_ADD && a.t == b.t && jinja_is_seq(a))
        return add_seqs(rt, a, b, out);
    if (op == JINJA_MUL && repeatable(a) && is_integer(b))
        return repeat(rt, a, jinja_as_int(b), out);
    if (op == JINJA_MUL && repeatable(b) && is_integer(a))
        return repeat(rt, b, jinja_as_int(a), out);
    return unsupported(rt, op, a, b);
}

static bool compare(jinja_rt *rt, jinja_op op, jval a, jval b, bool *out)
{
    int c;
    if (op == JINJA_EQ || op == JINJA_NE) {
        if (!jinja_equal(rt, a, b, out))
            return false;
        *out = *out == (op == JINJA_EQ);
        return true;
    }
    if (op == JINJA_IN || op == JINJA_NOTIN) {
        if (!jinja_contains(rt, b, a, out))
            return false;
        *out = *out == (op == JINJA_IN);
        return true;
    }
    if (!jinja_order(rt, a, b, &c))
        return false;
    *out = c == 2           ? false
           : op == JINJA_LT ? c < 0
           : op == JINJA_LE ? c <= 0
           : op == JINJA_GT ? c > 0
                            : c >= 0;
    return true;
}

bool jinja_binary(jinja_rt *rt, jinja_op op, jval a, jval b, jval *out)
{
    bool r;
    if (op < JINJA_EQ)
        return arithmetic(rt, op, a, b, out);
    if (!compare(rt, op, a, b, &r))
        return false;
    *out = jinja_bool(r);
    return true;
}

bool jinja_negate(jinja_rt *rt, jval a, bool minus, jval *out)
{
    if (a.t == JINJA_UNDEFINED)
        return jinja_fail_undefined(rt, a);
    if (!jinja_is_number(a))
        return jinja_fail(rt, "bad operand type for unary %c: '%s'", minus ? '-' : '+',
                          jinja_type_name(a));
    if (a.t == JINJA_FLOAT) {
        *out = jinja_float(minus ? -a.f : a.f);
        return true;
    }
    int64_t i = jinja_as_int(a);
    if (minus && i == INT64_MIN)
        return overflow(rt);
    *out = jinja_int(minus ? -i : i);
    return true;
}

/* --- attributes --- */

static const jinja_builtin *method_of(jval of, const jinja_str *name)
{
    static const jinja_builtin *const tables[] = {
        [JINJA_STR] = jinja_str_methods,       [JINJA_LIST] = jinja_list_methods,
        [JINJA_TUPLE] = jinja_tuple_methods,   [JINJA_DICT] = jinja_dict_methods,
        [JINJA_CYCLER] = jinja_cycler_methods,
    };
    size_t n = sizeof tables / sizeof *tables;
    const jinja_builtin *t = (size_t)of.t < n ? tables[of.t] : NULL;
    if (of.t == JINJA_FUNC && strcmp(of.func->name, "dict") == 0)
        t = jinja_dict_type_methods;
    return t ? jinja_find(t, name->s, name->len) : NULL;
}

static bool bind_method(jinja_rt *rt, jval of, const jinja_builtin *row, jval *out)
{
    if (!row->fn) {
        jinja_sb b;
        jval hint;
        jinja_sb_init(&b, rt);
        jinja_sb_puts(&b, "access to attribute '");
        jinja_sb_puts(&b, row->name);
        jinja_sb_puts(&b, "' of '");
        jinja_sb_puts(&b, jinja_type_name(of));
        jinja_sb_puts(&b, "' object is unsafe: a template cannot change its values.");
        jinja_sb_add(&b, "", 1);
        if (!jinja_sb_done(&b, &hint))
            return false;
        *out = jinja_undef(rt, hint.s->s);
        return true;
    }
    jinja_method *m = jinja_alloc(rt, sizeof *m);
    *m = (jinja_method){row, of};
    *out = (jval){.t = JINJA_METHOD, .method = m};
    return true;
}

/* Attributes that are plain values. */
static bool data_attr(jinja_rt *rt, jval of, const jinja_str *name, jval *out, bool *found)
{
    jval *v = NULL;
    *found = false;
    if (of.t == JINJA_LOOP)
        return jinja_loop_attr(rt, of.loop, name, out, found);
    if (of.t == JINJA_NAMESPACE)
        v = jinja_dict_str(of.d, name->s, name->len);
    if (of.t == JINJA_TUPLE && of.seq->group && jinja_str_is(name, "grouper"))
        v = &of.seq->at[0];
    if (of.t == JINJA_TUPLE && of.seq->group && jinja_str_is(name, "list"))
        v = &of.seq->at[1];
    if (of.t == JINJA_CYCLER && jinja_str_is(name, "current"))
        v = &of.cycler->items.at[of.cycler->pos];
    jval macro_name = {0};
    if (of.t == JINJA_MACRO && jinja_str_is(name, "name")) {
        macro_name = jinja_of_str(of.macro->name);
        v = &macro_name;
    }
    if (v) {
        *out = *v;
        *found = true;
    }
    return true;
}

bool jinja_getattr(jinja_rt *rt, jval of, const jinja_str *name, jval *out)
{
    bool found;
    if (of.t == JINJA_UNDEFINED)
        return jinja_fail_undefined(rt, of);
    if (!data_attr(rt, of, name, out, &found))
        return false;
    if (found)
        return true;
    const jinja_builtin *row = method_of(of, name);
    if (row)
        return bind_method(rt, of, row, out);
    if (of.t == JINJA_DICT) {
        jval *v = jinja_dict_str(of.d, name->s, name->len);
        if (v) {
            *out = *v;
            return true;
        }
    }
    *out = jinja_undef_name(rt, of, jinja_of_str(name));
    return true;
}

/* --- subscripts --- */

jval jinja_str_sub(jinja_rt *rt, const jinja_str *s, size_t from, size_t to)
{
    jinja_str *sub = jinja_alloc(rt, sizeof *sub);
    sub->s = s->s + from;
    sub->len = to - from;
    sub->n = s->n == s->len ? sub->len : jinja_utf8_count(sub->s, sub->len);
    sub->safe = s->safe;
    return jinja_of_str(sub);
}

/* The item at an index that counts from the end when negative; *found false beyond the ends. */
static bool item_at(jinja_rt *rt, jval of, int64_t i, jval *out, bool *found)
{
    int64_t n;
    *found = false;
    if (!jinja_length(rt, of, &n))
        return true;
    if (i < 0)
        i += n;
    if (i < 0 || i >= n)
        return true;
    *found = true;
    if (of.t == JINJA_STR) {
        if (of.s->n != of.s->len && !jinja_charge_bytes(rt, of.s->len))
            return false;
        size_t from = jinja_offset(of.s, (size_t)i);
        uint32_t cp;
        *out = jinja_str_sub(rt, of.s, from,
                             from + jinja_utf8_next(of.s->s + from, of.s->len - from, &cp));
    } else if (of.t == JINJA_RANGE) {
        *out = jinja_int(of.range->start + i * of.range->step);
    } else {
        *out = of.seq->at[i];
    }
    return true;
}

bool jinja_getitem(jinja_rt *rt, jval of, jval index, jval *out)
{
    bool found = false;
    if (of.t == JINJA_UNDEFINED)
        return jinja_fail_undefined(rt, of);
    if (of.t == JINJA_DICT && index.t != JINJA_LIST && index.t != JINJA_DICT &&
        index.t != JINJA_VIEW) {
        jinja_entry *e;
        if (!jinja_dict_get(rt, of.d, index, &e))
            return false;
        if (e) {
            *out = e->value;
            return true;
        }
    } else if (is_integer(index) &&
               (of.t == JINJA_STR || jinja_is_seq(of) || of.t == JINJA_RANGE)) {
        if (!item_at(rt, of, jinja_as_int(index), out, &found))
            return false;
        if (found)
            return true;
    }
    if (index.t == JINJA_STR) {
        if (!data_attr(rt, of, index.s, out, &found))
            return false;
        const jinja_builtin *row = found ? NULL : method_of(of, index.s);
        if (found || row)
            return found || bind_method(rt, of, row, out);
    }
    *out = jinja_undef_name(rt, of, index);
    return true;
}

/* --- slices --- */

static bool slice_bound(jinja_rt *rt, jval v, int64_t fallback, int64_t n, int64_t low,
                        int64_t high, int64_t *out)
{
    if (v.t == JINJA_NONE) {
        *out = fallback;
        return true;
    }
    if (!is_integer(v))
        return jinja_fail(rt, "slice indices must be integers or none");
    int64_t i = jinja_as_int(v);
    if (i < 0)
        i = i < -n ? -1 : i + n;
    *out = i < low ? low : i > high ? high : i;
    return true;
}

static bool slice_str(jinja_rt *rt, const jinja_str *s, int64_t from, int64_t step, int64_t count,
                      jval *out)
{
    if (!jinja_charge_bytes(rt, s->len))
        return false;
    if (step == 1) {
        size_t a = jinja_offset(s, (size_t)from), b = jinja_offset(s, (size_t)(from + count));
        *out = jinja_str_sub(rt, s, a, b);
        return true;
    }
    /* Another step: through a table of where each code point begins. */
    jinja_sb b;
    uint32_t cp;
    if (!jinja_room(rt, (s->n + 1) * sizeof(size_t)))
        return false;
    size_t *at = nx_arena_alloc(&rt->arena, (s->n + 1) * sizeof *at), pos = 0;
    for (size_t i = 0; i < s->n; i++) {
        at[i] = pos;
        pos += jinja_utf8_next(s->s + pos, s->len - pos, &cp);
    }
    at[s->n] = s->len;
    jinja_sb_init(&b, rt);
    for (int64_t k = 0; k < count; k++) {
        size_t i = (size_t)(from + k * step);
        jinja_sb_add(&b, s->s + at[i], at[i + 1] - at[i]);
    }
    if (!jinja_sb_done(&b, out))
        return false;
    if (s->safe)
        *out = as_safe(rt, *out);
    return true;
}

static bool slice_items(jinja_rt *rt, jval of, int64_t from, int64_t step, int64_t count, jval *out)
{
    if (of.t == JINJA_RANGE) {
        jinja_range *r = jinja_alloc(rt, sizeof *r);
        *r = (jinja_range){of.range->start + from * of.range->step, of.range->step * step, count};
        *out = (jval){.t = JINJA_RANGE, .range = r};
        return true;
    }
    if (!jinja_room(rt, (size_t)count * sizeof(jval)) || !jinja_charge(rt, (uint64_t)count / 8))
        return false;
    jinja_seq *s = jinja_seq_new(rt, (size_t)count);
    for (; s->n < (size_t)count; s->n++)
        s->at[s->n] = of.seq->at[from + (int64_t)s->n * step];
    *out = (jval){.t = of.t, .seq = s};
    return true;
}

bool jinja_slice(jinja_rt *rt, jval of, jval start, jval stop, jval step, jval *out)
{
    int64_t n, k = 1, from, to, count;
    if (of.t == JINJA_UNDEFINED)
        return jinja_fail_undefined(rt, of);
    if (of.t != JINJA_STR && !jinja_is_seq(of) && of.t != JINJA_RANGE)
        return jinja_fail(rt, "'%s' object cannot be sliced", jinja_type_name(of));
    jinja_length(rt, of, &n);
    if (step.t != JINJA_NONE && !is_integer(step))
        return jinja_fail(rt, "slice indices must be integers or none");
    if (step.t != JINJA_NONE)
        k = jinja_as_int(step);
    if (k == 0)
        return jinja_fail(rt, "slice step cannot be zero");
    /* A step beyond the length takes one item, whatever its size. */
    k = k > n + 1 ? n + 1 : k < -(n + 1) ? -(n + 1) : k;
    int64_t low = k < 0 ? -1 : 0, high = k < 0 ? n - 1 : n;
    if (!slice_bound(rt, start, k < 0 ? high : low, n, low, high, &from) ||
        !slice_bound(rt, stop, k < 0 ? low : high, n, low, high, &to))
        return false;
    count = k > 0 ? (to - from + k - 1) / k : (from - to - k - 1) / -k;
    if (count < 0 || (k > 0 ? from >= to : from <= to))
        count = 0;
    if (count == 0)
        from = 0;
    return of.t == JINJA_STR ? slice_str(rt, of.s, from, k, count, out)
                             : slice_items(rt, of, from, k, count, out);
}
