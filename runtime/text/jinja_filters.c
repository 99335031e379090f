/*
 * jinja_filters.c: filters of texts and numbers, a row each; those of sequences are in
 * jinja_seq_filters.c.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/text/jinja_rt.h"

#define FILTER(name) static bool name(jinja_rt *rt, jval v, const jinja_args *a, jval *out)

/* --- text --- */

/* Calls a string's method on a value made text. */
static bool text_method(jinja_rt *rt, const char *method, jval v, const jinja_args *a, jval *out)
{
    const jinja_str *s;
    const jinja_builtin *row = jinja_find(jinja_str_methods, method, strlen(method));
    if (v.t != JINJA_STR) {
        if (!jinja_to_str(rt, v, &s))
            return false;
        v = jinja_of_str(s);
    }
    return row->fn(rt, v, a, out);
}

FILTER(filter_upper)
{
    return text_method(rt, "upper", v, a, out);
}
FILTER(filter_lower)
{
    return text_method(rt, "lower", v, a, out);
}
FILTER(filter_capitalize)
{
    return text_method(rt, "capitalize", v, a, out);
}
FILTER(filter_trim)
{
    return text_method(rt, "strip", v, a, out);
}
FILTER(filter_center)
{
    jval width = jinja_given(a, 0) ? a->pos[0] : jinja_int(80);
    jinja_args one = {.pos = &width, .n = 1};
    return text_method(rt, "center", v, &one, out);
}

FILTER(filter_string)
{
    const jinja_str *s;
    if (v.t != JINJA_STR) {
        if (!jinja_to_str(rt, v, &s))
            return false;
        v = jinja_of_str(s);
    }
    *out = v;
    return true;
}

FILTER(filter_replace)
{
    jval pos[3], *count = &pos[2];
    const jinja_str *s[3];
    jval of[3] = {v, a->pos[0], a->pos[1]};
    for (int i = 0; i < 3; i++)
        if (!jinja_to_str(rt, of[i], &s[i]))
            return false;
    pos[0] = jinja_of_str(s[1]);
    pos[1] = jinja_of_str(s[2]);
    *count = jinja_given(a, 2) && a->pos[2].t != JINJA_NONE ? a->pos[2] : jinja_int(-1);
    jinja_args bound = {.pos = pos, .n = 3};
    return text_method(rt, "replace", jinja_of_str(s[0]), &bound, out);
}

/* Words begin after white space and after - ( { [ < */
FILTER(filter_title)
{
    const jinja_str *s;
    jinja_sb b;
    jval word;
    uint32_t cp;
    if (!jinja_to_str(rt, v, &s))
        return false;
    jinja_sb_init(&b, rt);
    for (size_t i = 0, n; i < s->len;) {
        size_t from = i;
        while ((n = jinja_utf8_next(s->s + i, s->len - i, &cp)) &&
               !(jinja_is_space(cp) || (cp < 128 && strchr("-({[<", (int)cp))))
            i += n;
        if (i > from) {
            n = jinja_utf8_next(s->s + from, s->len - from, &cp);
            word = jinja_str_sub(rt, s, from, from + n);
            jinja_put_case(&b, word.s, JINJA_UPPER);
            word = jinja_str_sub(rt, s, from + n, i);
            jinja_put_case(&b, word.s, JINJA_LOWER);
        } else {
            jinja_sb_add(&b, s->s + i, n);
            i += n;
        }
        if (!jinja_charge(rt, 1))
            return false;
    }
    return jinja_sb_done(&b, out);
}

FILTER(filter_wordcount)
{
    const jinja_str *s;
    uint32_t cp;
    bool in_word = false;
    int64_t words = 0;
    if (!jinja_to_str(rt, v, &s) || !jinja_charge_bytes(rt, s->len))
        return false;
    for (size_t i = 0, n; (n = jinja_utf8_next(s->s + i, s->len - i, &cp)); i += n) {
        words += !in_word && jinja_is_word(cp);
        in_word = jinja_is_word(cp);
    }
    *out = jinja_int(words);
    return true;
}

static bool indention(jinja_rt *rt, const jinja_args *a, const jinja_str **out)
{
    jinja_sb b;
    jval text;
    int64_t width;
    if (jinja_given(a, 0) && a->pos[0].t == JINJA_STR) {
        *out = a->pos[0].s;
        return true;
    }
    if (!jinja_arg_int(rt, a, 0, 4, &width))
        return false;
    jinja_sb_init(&b, rt);
    jinja_sb_repeat(&b, " ", 1, width);
    if (!jinja_sb_done(&b, &text))
        return false;
    *out = text.s;
    return true;
}

/* indent(width=4, first=false, blank=false): empty lines are left alone unless blank. */
FILTER(filter_indent)
{
    const jinja_str *pad;
    bool first = jinja_given(a, 1) && jinja_truth(rt, a->pos[1]);
    bool blank = jinja_given(a, 2) && jinja_truth(rt, a->pos[2]);
    jval lines, text;
    jinja_sb b;
    jinja_args none = {0};
    if (v.t == JINJA_UNDEFINED)
        return jinja_fail_undefined(rt, v);
    if (v.t != JINJA_STR)
        return jinja_fail(rt, "indent expects a string, not '%s'", jinja_type_name(v));
    if (!indention(rt, a, &pad) || !jinja_binary(rt, JINJA_ADD, v, jinja_text(rt, "\n"), &text) ||
        !text_method(rt, "splitlines", text, &none, &lines))
        return false;
    jinja_sb_init(&b, rt);
    for (size_t i = 0; i < lines.seq->n; i++) {
        const jinja_str *line = lines.seq->at[i].s;
        if (i)
            jinja_sb_putc(&b, '\n');
        if (i ? blank || line->len : first)
            jinja_sb_add(&b, pad->s, pad->len);
        jinja_sb_add(&b, line->s, line->len);
    }
    return jinja_sb_done(&b, out);
}

/* truncate(length=255, killwords=false, end='...', leeway=5) */
FILTER(filter_truncate)
{
    int64_t length, leeway;
    const jinja_str *end = jinja_text(rt, "...").s;
    bool kill = jinja_given(a, 1) && jinja_truth(rt, a->pos[1]);
    bool no_leeway = !jinja_given(a, 3) || a->pos[3].t == JINJA_NONE;
    int64_t n;
    if (!jinja_length(rt, v, &n))
        return jinja_fail(rt, "truncate expects a string, not '%s'", jinja_type_name(v));
    if (!jinja_arg_int(rt, a, 0, 255, &length) ||
        (jinja_given(a, 2) && !jinja_arg_str(rt, a, 2, &end)) ||
        (!no_leeway && !jinja_arg_int(rt, a, 3, 5, &leeway)))
        return false;
    if (no_leeway)
        leeway = 5;
    if (length < (int64_t)end->n || leeway < 0)
        return jinja_fail(rt, "truncate: the length must hold the end, and leeway not be negative");
    if (leeway >= n || length >= n - leeway) {
        *out = v;
        return true;
    }
    if (v.t != JINJA_STR)
        return jinja_fail(rt, "truncate expects a string, not '%s'", jinja_type_name(v));
    size_t cut = jinja_offset(v.s, (size_t)(length - (int64_t)end->n));
    const char *space = kill ? NULL : memrchr(v.s->s, ' ', cut);
    jinja_sb b;
    jinja_sb_init(&b, rt);
    jinja_sb_add(&b, v.s->s, space ? (size_t)(space - v.s->s) : cut);
    jinja_sb_add(&b, end->s, end->len);
    return jinja_sb_done(&b, out);
}

FILTER(filter_format)
{
    const jinja_str *s;
    if (!jinja_to_str(rt, v, &s))
        return false;
    if (a->n && a->n_kw)
        return jinja_fail(rt, "format: positional and keyword arguments cannot be mixed");
    if (a->n_kw) {
        jinja_dict *d = jinja_dict_new(rt);
        for (size_t i = 0; i < a->n_kw; i++)
            if (!jinja_dict_set(rt, d, jinja_of_str(a->kw_name[i]), a->kw[i]))
                return false;
        return jinja_percent(rt, s, (jval){.t = JINJA_DICT, .d = d}, out);
    }
    jinja_seq *args = jinja_seq_new(rt, a->n);
    for (size_t i = 0; i < a->n; i++)
        args->at[args->n++] = a->pos[i];
    return jinja_percent(rt, s, jinja_tuple(args), out);
}

FILTER(filter_escape)
{
    return jinja_escape(rt, v, out);
}

FILTER(filter_forceescape)
{
    const jinja_str *s;
    return jinja_to_str(rt, v, &s) && jinja_escape(rt, jinja_of_str(s), out);
}

FILTER(filter_safe)
{
    const jinja_str *s;
    if (!jinja_to_str(rt, v, &s))
        return false;
    jinja_str *safe = jinja_alloc(rt, sizeof *safe);
    *safe = *s;
    safe->safe = true;
    *out = jinja_of_str(safe);
    return true;
}

/* What RFC 3986 leaves as it is, and '/'. */
FILTER(filter_urlencode)
{
    const jinja_str *s;
    jinja_sb b;
    char hex[4];
    if (v.t == JINJA_DICT || jinja_is_seq(v))
        return jinja_fail(rt, "urlencode of a '%s' is not supported", jinja_type_name(v));
    if (!jinja_to_str(rt, v, &s))
        return false;
    jinja_sb_init(&b, rt);
    for (size_t i = 0; i < s->len; i++) {
        unsigned char c = (unsigned char)s->s[i];
        if (c < 128 && (jinja_is_alpha(c) || jinja_is_digit(c) || (c && strchr("_.-~/", c)))) {
            jinja_sb_putc(&b, (char)c);
        } else {
            snprintf(hex, sizeof hex, "%%%02X", c);
            jinja_sb_puts(&b, hex);
        }
    }
    return jinja_sb_done(&b, out);
}

/* --- numbers --- */

/* Text as an integer in a base, with Python's prefixes, underscores and white space around. */
static bool parse_int(const jinja_str *s, int64_t base, int64_t *out)
{
    char text[80];
    size_t n = 0, i = 0, end = s->len;
    while (i < end && jinja_is_space((unsigned char)s->s[i]))
        i++;
    while (end > i && jinja_is_space((unsigned char)s->s[end - 1]))
        end--;
    bool negative = i < end && s->s[i] == '-';
    i += i < end && (s->s[i] == '-' || s->s[i] == '+');
    if (i + 1 < end && s->s[i] == '0') {
        char c = s->s[i + 1] | 32;
        int64_t named = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
        if (named && (base == named || base == 0)) {
            base = named;
            i += 2;
            i += i < end && s->s[i] == '_';
        }
    }
    base = base ? base : 10;
    for (bool digit = false; i < end; i++) {
        if (s->s[i] == '_' && digit && i + 1 < end) {
            digit = false;
            continue;
        }
        unsigned char c = (unsigned char)s->s[i] | 32;
        int d = s->s[i] >= '0' && s->s[i] <= '9' ? s->s[i] - '0'
                : c >= 'a' && c <= 'z'           ? c - 'a' + 10
                                                 : 99;
        if (d >= base || n + 1 >= sizeof text)
            return false;
        text[n++] = s->s[i];
        digit = true;
    }
    if (!n)
        return false;
    text[n] = '\0';
    int64_t r = 0;
    for (size_t k = 0; k < n; k++) {
        int d = text[k] <= '9' ? text[k] - '0' : (text[k] | 32) - 'a' + 10;
        if (__builtin_mul_overflow(r, base, &r) ||
            (negative ? __builtin_sub_overflow(r, d, &r) : __builtin_add_overflow(r, d, &r)))
            return false;
    }
    *out = r;
    return true;
}

static bool is_float_char(char c)
{
    return (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.' || (c | 32) == 'e';
}

/* Text as a float: decimal digits, or inf and nan by name. */
static bool parse_float(const jinja_str *s, double *out)
{
    char text[400];
    size_t n = 0, i = 0, end = s->len;
    while (i < end && jinja_is_space((unsigned char)s->s[i]))
        i++;
    while (end > i && jinja_is_space((unsigned char)s->s[end - 1]))
        end--;
    bool plain = true;
    for (; i < end && n + 1 < sizeof text; i++) {
        bool between = s->s[i] == '_' && n && i + 1 < end && text[n - 1] >= '0' &&
                       text[n - 1] <= '9' && s->s[i + 1] >= '0' && s->s[i + 1] <= '9';
        if (between)
            continue;
        plain &= is_float_char(s->s[i]);
        text[n++] = s->s[i];
    }
    text[n] = '\0';
    if (!n || i < end)
        return false;
    const char *name = text + (*text == '-' || *text == '+');
    if (!plain && strcasecmp(name, "inf") && strcasecmp(name, "infinity") &&
        strcasecmp(name, "nan"))
        return false;
    char *stop;
    *out = strtod(text, &stop);
    return *stop == '\0';
}

static bool float_to_int(double f, int64_t *out)
{
    if (!(f > -9.2e18 && f < 9.2e18))
        return false;
    *out = (int64_t)f;
    return true;
}

/* int(default=0, base=10): "42.9" is 42, and what is no number is the default. */
FILTER(filter_int)
{
    int64_t base, i;
    double f;
    jval fallback = jinja_given(a, 0) ? a->pos[0] : jinja_int(0);
    if (v.t == JINJA_UNDEFINED)
        return jinja_fail_undefined(rt, v);
    if (!jinja_arg_int(rt, a, 1, 10, &base))
        return false;
    if (base < 0 || base == 1 || base > 36)
        base = 99;
    if (v.t == JINJA_STR && base != 99 && parse_int(v.s, base, &i))
        *out = jinja_int(i);
    else if (v.t == JINJA_STR && parse_float(v.s, &f) && float_to_int(f, &i))
        *out = jinja_int(i);
    else if (v.t == JINJA_INT || v.t == JINJA_BOOL)
        *out = jinja_int(jinja_as_int(v));
    else if (v.t == JINJA_FLOAT && isinf(v.f))
        return jinja_fail(rt, "cannot convert float infinity to integer");
    else if (v.t == JINJA_FLOAT && float_to_int(v.f, &i))
        *out = jinja_int(i);
    else
        *out = fallback;
    return true;
}

FILTER(filter_float)
{
    double f;
    if (v.t == JINJA_UNDEFINED)
        return jinja_fail_undefined(rt, v);
    if (jinja_is_number(v))
        *out = jinja_float(jinja_as_float(v));
    else if (v.t == JINJA_STR && parse_float(v.s, &f))
        *out = jinja_float(f);
    else
        *out = jinja_given(a, 0) ? a->pos[0] : jinja_float(0);
    return true;
}

FILTER(filter_abs)
{
    if (v.t == JINJA_UNDEFINED || !jinja_is_number(v))
        return jinja_fail(rt, "bad operand type for abs(): '%s'", jinja_type_name(v));
    if (v.t == JINJA_FLOAT) {
        *out = jinja_float(fabs(v.f));
        return true;
    }
    *out = v;
    out->t = JINJA_INT;
    out->i = jinja_as_int(v);
    return out->i >= 0 || jinja_negate(rt, *out, true, out);
}

/* Rounds a decimal representation half to even, as Python's round() does. */
static double round_digits(double f, int64_t digits)
{
    char text[400];
    if (!isfinite(f) || digits > 300)
        return f;
    if (digits >= 0) {
        snprintf(text, sizeof text, "%.*f", (int)digits, f);
        return strtod(text, NULL);
    }
    double p = pow(10, (double)(digits < -308 ? 308 : -digits));
    return nearbyint(f / p) * p;
}

/* round(precision=0, method='common'): floats stay floats; integers stay integers. */
FILTER(filter_round)
{
    int64_t digits;
    const jinja_str *method = jinja_text(rt, "common").s;
    if (!jinja_arg_int(rt, a, 0, 0, &digits) ||
        (jinja_given(a, 1) && !jinja_arg_str(rt, a, 1, &method)))
        return false;
    bool common = jinja_str_is(method, "common"), up = jinja_str_is(method, "ceil");
    if (!common && !up && !jinja_str_is(method, "floor"))
        return jinja_fail(rt, "round: the method must be common, ceil or floor");
    if (v.t == JINJA_UNDEFINED)
        return common ? jinja_fail(rt, "type Undefined has no rounding")
                      : jinja_fail_undefined(rt, v);
    if (!jinja_is_number(v))
        return jinja_fail(rt, "type '%s' has no rounding", jinja_type_name(v));
    if (!common) {
        double p = pow(10, (double)digits), f = jinja_as_float(v) * p;
        *out = jinja_float((up ? ceil(f) : floor(f)) / p);
    } else if (v.t == JINJA_FLOAT) {
        *out = jinja_float(round_digits(v.f, digits));
    } else if (digits >= 0) {
        *out = jinja_int(jinja_as_int(v));
    } else {
        *out = jinja_int((int64_t)round_digits((double)jinja_as_int(v), digits));
    }
    return true;
}

FILTER(filter_filesizeformat)
{
    static const char *const names[2][8] = {
        {"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"},
        {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"}};
    bool binary = jinja_given(a, 0) && jinja_truth(rt, a->pos[0]);
    double base = binary ? 1024 : 1000, bytes;
    char text[64];
    if (v.t == JINJA_STR ? !parse_float(v.s, &bytes) : !jinja_is_number(v))
        return jinja_fail(rt, "filesizeformat expects a number, not '%s'", jinja_type_name(v));
    if (v.t != JINJA_STR)
        bytes = jinja_as_float(v);
    if (bytes == 1) {
        snprintf(text, sizeof text, "1 Byte");
    } else if (bytes < base) {
        snprintf(text, sizeof text, "%.0f Bytes", trunc(bytes));
    } else {
        int i = 0;
        double unit = base * base;
        for (; i < 7 && bytes >= unit; i++)
            unit *= base;
        snprintf(text, sizeof text, "%.1f %s", base * bytes / unit, names[binary][i]);
    }
    *out = jinja_cstr(rt, text, strlen(text));
    return true;
}

/* --- any value --- */

FILTER(filter_default)
{
    bool boolean = jinja_given(a, 1) && jinja_truth(rt, a->pos[1]);
    if (v.t != JINJA_UNDEFINED && (!boolean || jinja_truth(rt, v)))
        *out = v;
    else
        *out = jinja_given(a, 0) ? a->pos[0] : jinja_text(rt, "");
    return true;
}

FILTER(filter_length)
{
    int64_t n;
    if (v.t == JINJA_LOOP) {
        bool found;
        return jinja_loop_attr(rt, v.loop, jinja_text(rt, "length").s, out, &found);
    }
    if (!jinja_length(rt, v, &n))
        return jinja_fail(rt, "object of type '%s' has no length", jinja_type_name(v));
    *out = jinja_int(n);
    return true;
}

FILTER(filter_attr)
{
    const jinja_str *name;
    if (v.t == JINJA_UNDEFINED)
        return jinja_fail_undefined(rt, v);
    if (!jinja_arg_str(rt, a, 0, &name))
        return false;
    if (v.t == JINJA_DICT && !jinja_find(jinja_dict_methods, name->s, name->len)) {
        *out = jinja_undef_name(rt, v, a->pos[0]); /* an attribute, never a key */
        return true;
    }
    return jinja_getattr(rt, v, name, out);
}

const jinja_builtin jinja_filters[] = {
    /* name, parameters, needed, function */
    {"abs", "", 0, filter_abs},
    {"attr", "name", 1, filter_attr},
    {"capitalize", "", 0, filter_capitalize},
    {"center", "width", 0, filter_center},
    {"count", "", 0, filter_length},
    {"d", "default_value,boolean", 0, filter_default},
    {"default", "default_value,boolean", 0, filter_default},
    {"e", "", 0, filter_escape},
    {"escape", "", 0, filter_escape},
    {"filesizeformat", "binary", 0, filter_filesizeformat},
    {"float", "default", 0, filter_float},
    {"forceescape", "", 0, filter_forceescape},
    {"format", NULL, 0, filter_format},
    {"indent", "width,first,blank", 0, filter_indent},
    {"int", "default,base", 0, filter_int},
    {"length", "", 0, filter_length},
    {"lower", "", 0, filter_lower},
    {"replace", "old,new,count", 2, filter_replace},
    {"round", "precision,method", 0, filter_round},
    {"safe", "", 0, filter_safe},
    {"string", "", 0, filter_string},
    {"title", "", 0, filter_title},
    {"tojson", "ensure_ascii,indent,separators,sort_keys", 0, jinja_put_json},
    {"trim", "chars", 0, filter_trim},
    {"truncate", "length,killwords,end,leeway", 0, filter_truncate},
    {"upper", "", 0, filter_upper},
    {"urlencode", "", 0, filter_urlencode},
    {"wordcount", "", 0, filter_wordcount},
    {0},
};
