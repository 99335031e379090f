/*
 * jinja_format.c: text % values, and str.format with Python's format specifications.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/text/jinja_rt.h"

enum { MAX_WIDTH = 1000000, MAX_PRECISION = 300 };

/* [[fill]align][sign][#][0][width][,][.precision][type] */
typedef struct {
    uint32_t fill;
    char align; /* < > ^ = or 0 */
    char sign;  /* + - space */
    bool alternate;
    char group;               /* , or _ or 0 */
    int64_t width, precision; /* precision -1: none */
    char type;                /* 0: none */
} spec;

static bool bad_spec(jinja_rt *rt)
{
    return jinja_fail(rt, "a format specification is not valid here");
}

static const char *take_number(const char *p, const char *end, int64_t *out)
{
    for (*out = 0; p < end && *p >= '0' && *p <= '9'; p++)
        *out = *out < MAX_WIDTH ? *out * 10 + (*p - '0') : *out;
    return p;
}

static bool is_align(char c)
{
    return c == '<' || c == '>' || c == '^' || c == '=';
}

static bool parse_spec(jinja_rt *rt, const jinja_str *s, spec *o)
{
    const char *p = s->s, *end = p + s->len;
    uint32_t cp;
    *o = (spec){.fill = ' ', .sign = '-', .precision = -1};
    size_t n = jinja_utf8_next(p, s->len, &cp);
    if (n && p + n < end && is_align(p[n])) {
        o->fill = cp;
        o->align = p[n];
        p += n + 1;
    } else if (p < end && is_align(*p)) {
        o->align = *p++;
    }
    if (p < end && (*p == '+' || *p == '-' || *p == ' '))
        o->sign = *p++;
    if (p < end && *p == '#')
        o->alternate = p++;
    if (p < end && *p == '0') {
        p++;
        if (!o->align) {
            o->align = '=';
            o->fill = '0';
        }
    }
    p = take_number(p, end, &o->width);
    if (p < end && (*p == ',' || *p == '_'))
        o->group = *p++;
    if (p < end && *p == '.') {
        const char *digits = ++p;
        p = take_number(p, end, &o->precision);
        if (p == digits || o->precision > MAX_WIDTH)
            return bad_spec(rt);
    }
    if (p < end)
        o->type = *p++;
    return (p == end && o->width <= MAX_WIDTH) || bad_spec(rt);
}

/* Pads `sign` and `body` (n code points together) to the width. */
static void put_padded(jinja_sb *b, const spec *o, const char *sign, const char *body, size_t len,
                       size_t n, char natural)
{
    char align = o->align ? o->align : natural;
    int64_t space = o->width - (int64_t)n;
    int64_t left = align == '>' ? space : align == '^' ? space / 2 : 0;
    if (space < 0)
        space = left = 0;
    for (int64_t i = 0; i < left; i++)
        jinja_sb_cp(b, o->fill);
    jinja_sb_puts(b, sign);
    for (int64_t i = 0; align == '=' && i < space; i++)
        jinja_sb_cp(b, o->fill);
    jinja_sb_add(b, body, len);
    for (int64_t i = left; align != '=' && i < space; i++)
        jinja_sb_cp(b, o->fill);
}

static bool format_str(jinja_rt *rt, jinja_sb *b, const jinja_str *s, const spec *o)
{
    if ((o->type && o->type != 's') || o->sign != '-' || o->align == '=' || o->alternate ||
        o->group)
        return bad_spec(rt);
    size_t len = s->len, n = s->n;
    if (o->precision >= 0 && (size_t)o->precision < n) {
        n = (size_t)o->precision;
        len = jinja_offset(s, n);
    }
    put_padded(b, o, "", s->s, len, n, '<');
    return !b->failed;
}

/* Puts a separator between groups of digits from the right. */
static size_t group_digits(char *out, size_t size, const char *digits, size_t n, char sep, int each)
{
    size_t k = 0;
    for (size_t i = 0; i < n && k + 2 < size; i++) {
        if (i && (n - i) % (size_t)each == 0)
            out[k++] = sep;
        out[k++] = digits[i];
    }
    return k;
}

static const char *sign_text(bool negative, char sign)
{
    return negative ? "-" : sign == '+' ? "+" : sign == ' ' ? " " : "";
}

static bool format_float(jinja_rt *rt, jinja_sb *b, double f, const spec *o);

static bool format_int(jinja_rt *rt, jinja_sb *b, int64_t i, const spec *o)
{
    char digits[72], text[160], sign[8];
    uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    int base = 10;
    const char *prefix = "";
    size_t n = sizeof digits;
    if (o->type && strchr("eEfFgG%", o->type))
        return format_float(rt, b, (double)i, o);
    switch (o->type) {
    case 'b':
        base = 2, prefix = "0b";
        break;
    case 'o':
        base = 8, prefix = "0o";
        break;
    case 'x':
        base = 16, prefix = "0x";
        break;
    case 'X':
        base = 16, prefix = "0X";
        break;
    case 'c':
        if (i < 0 || i > 0x10FFFF || (i >= 0xD800 && i < 0xE000) || o->precision >= 0)
            return bad_spec(rt);
        jinja_sb c;
        jval v;
        jinja_sb_init(&c, rt);
        jinja_sb_cp(&c, (uint32_t)i);
        if (!jinja_sb_done(&c, &v))
            return false;
        put_padded(b, o, "", v.s->s, v.s->len, 1, '<');
        return !b->failed;
    case 0:
    case 'd':
    case 'n':
        break;
    default:
        return bad_spec(rt);
    }
    if (o->precision >= 0 || (o->group == ',' && base != 10))
        return bad_spec(rt);
    do
        digits[--n] =
            (o->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[u % (unsigned)base];
    while (u /= (unsigned)base);
    const char *body = digits + n;
    size_t len = sizeof digits - n;
    if (o->group) {
        len = group_digits(text, sizeof text, body, len, o->group, base == 10 ? 3 : 4);
        body = text;
    }
    snprintf(sign, sizeof sign, "%s%s", sign_text(i < 0, o->sign), o->alternate ? prefix : "");
    put_padded(b, o, sign, body, len, len + strlen(sign), '>');
    return !b->failed;
}

/* Fixed, exponent or general digits of |f|, as C prints them, grouped where asked. */
static bool format_float(jinja_rt *rt, jinja_sb *b, double f, const spec *o)
{
    char text[700], grouped[1000], fmt[16];
    char type = o->type == '%' ? 'f' : o->type == 'n' || !o->type ? 'g' : o->type;
    if (!strchr("eEfFgG", type))
        return bad_spec(rt);
    if (o->precision > MAX_PRECISION)
        return jinja_fail(rt, "a precision over %d is not supported", MAX_PRECISION);
    double v = fabs(o->type == '%' ? f * 100 : f);
    if (isnan(v) || isinf(v)) {
        snprintf(text, sizeof text, "%s%s", isnan(v) ? "nan" : "inf", o->type == '%' ? "%" : "");
    } else if (!o->type && o->precision < 0) { /* like str() */
        jinja_sb s;
        jinja_sb_init(&s, rt);
        jinja_put_float(&s, v);
        if (s.failed)
            return false;
        snprintf(text, sizeof text, "%.*s", (int)s.len, s.data);
    } else {
        snprintf(fmt, sizeof fmt, "%%%s.*%c", o->alternate ? "#" : "", type);
        snprintf(text, sizeof text, fmt, (int)(o->precision < 0 ? 6 : o->precision), v);
        if (!o->type && strspn(text, "0123456789") == strlen(text))
            snprintf(text + strlen(text), sizeof text - strlen(text), ".0");
        if (o->type == '%')
            snprintf(text + strlen(text), sizeof text - strlen(text), "%%");
    }
    size_t whole = strspn(text, "0123456789"), len = strlen(text);
    const char *body = text;
    if (o->group && whole) {
        size_t k = group_digits(grouped, sizeof grouped, text, whole, o->group, 3);
        snprintf(grouped + k, sizeof grouped - k, "%s", text + whole);
        body = grouped;
        len = strlen(grouped);
    }
    const char *sign = sign_text(signbit(f) && !isnan(f), o->sign);
    put_padded(b, o, sign, body, len, len + strlen(sign), '>');
    return !b->failed;
}

static bool put_spec(jinja_rt *rt, jinja_sb *b, jval v, const jinja_str *text)
{
    spec o;
    if (!text->len)
        return jinja_put_str(b, v);
    if (!parse_spec(rt, text, &o))
        return false;
    if (v.t == JINJA_STR)
        return format_str(rt, b, v.s, &o);
    if (v.t == JINJA_FLOAT)
        return format_float(rt, b, v.f, &o);
    if (v.t == JINJA_INT || (v.t == JINJA_BOOL && o.type))
        return format_int(rt, b, jinja_as_int(v), &o);
    if (v.t == JINJA_BOOL) {
        o.align = o.align ? o.align : '>';
        return format_int(rt, b, v.b, &o);
    }
    return jinja_fail(rt, "unsupported format specification for '%s'", jinja_type_name(v));
}

/* --- str.format --- */

typedef struct {
    jinja_rt *rt;
    const jinja_args *a;
    int64_t next; /* the next automatic field; -1 once fields are numbered */
    bool automatic;
} fields;

static bool all_digits(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] < '0' || s[i] > '9')
            return false;
    return n > 0 && n < 10;
}

static bool field_value(fields *f, const char *name, size_t n, jval *out)
{
    int64_t index = -1;
    if (n == 0) {
        if (f->next < 0)
            return jinja_fail(f->rt, "format(): automatic and numbered fields cannot be mixed");
        index = f->next++;
        f->automatic = true;
    } else if (all_digits(name, n)) {
        if (f->automatic)
            return jinja_fail(f->rt, "format(): automatic and numbered fields cannot be mixed");
        take_number(name, name + n, &index);
        f->next = -1;
    }
    if (index >= 0) {
        if ((uint64_t)index >= f->a->n)
            return jinja_fail(f->rt, "format(): there is no argument %lld", (long long)index);
        *out = f->a->pos[index];
        return true;
    }
    for (size_t i = 0; i < f->a->n_kw; i++)
        if (f->a->kw_name[i]->len == n && memcmp(f->a->kw_name[i]->s, name, n) == 0) {
            *out = f->a->kw[i];
            return true;
        }
    return jinja_fail(f->rt, "format(): there is no argument '%.*s'", (int)n, name);
}

/* name, then .attribute and [item] in any number. */
static bool resolve(fields *f, const char *p, const char *end, jval *out)
{
    const char *name = p;
    while (p < end && *p != '.' && *p != '[')
        p++;
    if (!field_value(f, name, (size_t)(p - name), out))
        return false;
    while (p < end) {
        bool item = *p++ == '[';
        const char *part = p;
        while (p < end && (item ? *p != ']' : *p != '.' && *p != '['))
            p++;
        size_t n = (size_t)(p - part);
        if (!n || (item && p == end))
            return jinja_fail(f->rt, "format(): a field name is not valid");
        jval key = jinja_cstr(f->rt, part, n);
        int64_t i;
        if (item && all_digits(part, n)) {
            take_number(part, p, &i);
            key = jinja_int(i);
        }
        if (!(item ? jinja_getitem(f->rt, *out, key, out) : jinja_getattr(f->rt, *out, key.s, out)))
            return false;
        p += item;
    }
    return true;
}

static bool expand(fields *f, const char *p, const char *end, int depth, jinja_sb *b);

/* One field between its braces: name, !r or !s, :specification (which may hold fields itself). */
static bool put_field(fields *f, const char *p, const char *end, int depth, jinja_sb *b)
{
    const char *name = p;
    jval v, text;
    jinja_sb inner;
    while (p < end && *p != '!' && *p != ':') {
        if (*p == '[')
            while (p < end && *p != ']')
                p++;
        p += p < end;
    }
    if (!resolve(f, name, p, &v))
        return false;
    if (p < end && *p == '!') {
        char how = p + 1 < end ? p[1] : 0;
        p += 2;
        if ((how != 'r' && how != 's' && how != 'a') || (p < end && *p != ':'))
            return jinja_fail(f->rt, "format(): a conversion must be !r or !s");
        jinja_sb_init(&inner, f->rt);
        if (!(how == 's' ? jinja_put_str(&inner, v) : jinja_put_repr(&inner, v)) ||
            !jinja_sb_done(&inner, &v))
            return false;
    }
    jinja_sb_init(&inner, f->rt);
    if (p < end && !expand(f, p + 1, end, depth + 1, &inner))
        return false;
    return jinja_sb_done(&inner, &text) && put_spec(f->rt, b, v, text.s);
}

static bool expand(fields *f, const char *p, const char *end, int depth, jinja_sb *b)
{
    if (depth > 1)
        return jinja_fail(f->rt, "format(): fields are nested too deeply");
    while (p < end) {
        if (*p != '{' && *p != '}') {
            const char *start = p;
            while (p < end && *p != '{' && *p != '}')
                p++;
            jinja_sb_add(b, start, (size_t)(p - start));
            continue;
        }
        if (depth == 0 && p + 1 < end && p[1] == *p) { /* {{ and }} */
            jinja_sb_putc(b, *p);
            p += 2;
            continue;
        }
        if (*p == '}')
            return jinja_fail(f->rt, "format(): a single '}'");
        const char *start = ++p;
        int open = 1;
        while (p < end && open) {
            open += *p == '{' ? 1 : *p == '}' ? -1 : 0;
            p++;
        }
        if (open)
            return jinja_fail(f->rt, "format(): a '{' is never closed");
        if (!jinja_charge(f->rt, 1) || !put_field(f, start, p - 1, depth, b))
            return false;
    }
    return !b->failed;
}

bool jinja_format(jinja_rt *rt, const jinja_str *fmt, const jinja_args *a, jval *out)
{
    fields f = {.rt = rt, .a = a};
    jinja_sb b;
    jinja_sb_init(&b, rt);
    return expand(&f, fmt->s, fmt->s + fmt->len, 0, &b) && jinja_sb_done(&b, out);
}

/* --- % --- */

typedef struct {
    jinja_rt *rt;
    jval args;
    size_t next;
} percent;

static bool next_arg(percent *c, jval *out)
{
    bool tuple = c->args.t == JINJA_TUPLE;
    if (c->next >= (tuple ? c->args.seq->n : 1))
        return jinja_fail(c->rt, "not enough arguments for a format string");
    *out = tuple ? c->args.seq->at[c->next] : c->args;
    c->next++;
    return true;
}

static const char *percent_flags(const char *p, const char *end, spec *o)
{
    for (; p < end && strchr("-+ #0", *p) && *p; p++) {
        if (*p == '-')
            o->align = '<';
        else if (*p == '#')
            o->alternate = true;
        else if (*p == '0' && o->align != '<')
            o->align = '=', o->fill = '0';
        else if (*p == '+' || (*p == ' ' && o->sign != '+'))
            o->sign = *p;
    }
    if (o->align == '<')
        o->fill = ' ';
    return p;
}

/* A width or precision: digits, or * for an argument. */
static const char *percent_number(percent *c, const char *p, const char *end, int64_t *out)
{
    jval v;
    if (p >= end || *p != '*')
        return take_number(p, end, out);
    if (!next_arg(c, &v))
        return NULL;
    if (v.t != JINJA_INT || v.i > MAX_WIDTH || v.i < -MAX_WIDTH) {
        jinja_fail(c->rt, "* in a format string wants an integer");
        return NULL;
    }
    *out = v.i;
    return p + 1;
}

static bool percent_int(percent *c, jinja_sb *b, jval v, spec *o)
{
    if (v.t == JINJA_FLOAT && o->type == 'd' && fabs(v.f) < 9e18)
        v = jinja_int((int64_t)v.f);
    if (v.t != JINJA_INT && v.t != JINJA_BOOL)
        return jinja_fail(c->rt, "%%%c in a format string wants a number, not '%s'", o->type,
                          jinja_type_name(v));
    o->precision = -1;
    return format_int(c->rt, b, jinja_as_int(v), o);
}

static bool put_percent(percent *c, jinja_sb *b, jval v, spec *o)
{
    const jinja_str *s;
    jinja_sb text;
    jval r;
    switch (o->type) {
    case 's':
    case 'r':
    case 'a':
        jinja_sb_init(&text, c->rt);
        if (!(o->type == 's' ? jinja_put_str(&text, v) : jinja_put_repr(&text, v)) ||
            !jinja_sb_done(&text, &r))
            return false;
        s = r.s;
        o->align = o->align == '<' ? '<' : '>';
        o->type = 's';
        o->fill = ' ';
        o->sign = '-';
        o->alternate = false;
        return format_str(c->rt, b, s, o);
    case 'i':
    case 'u':
        o->type = 'd';
        return percent_int(c, b, v, o);
    case 'd':
    case 'x':
    case 'X':
    case 'o':
        return percent_int(c, b, v, o);
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G':
        if (!jinja_is_number(v))
            return jinja_fail(c->rt, "%%%c in a format string wants a number", o->type);
        return format_float(c->rt, b, jinja_as_float(v), o);
    case 'c':
        if (v.t == JINJA_STR && v.s->n == 1) {
            o->type = 's';
            o->align = o->align == '<' ? '<' : '>';
            return format_str(c->rt, b, v.s, o);
        }
        o->align = o->align == '<' ? '<' : '>';
        return v.t == JINJA_INT ? format_int(c->rt, b, v.i, o) : bad_spec(c->rt);
    default:
        return jinja_fail(c->rt, "a format string has an unknown conversion");
    }
}

/* One conversion behind its %; returns where it ends, NULL after an error. */
static const char *put_conversion(percent *c, const char *p, const char *end, jinja_sb *b)
{
    spec o = {.fill = ' ', .sign = '-', .precision = -1};
    jval v = {0};
    if (p < end && *p == '(') {
        const char *close = memchr(p, ')', (size_t)(end - p));
        jinja_entry *e = NULL;
        if (!close || c->args.t != JINJA_DICT)
            return jinja_fail(c->rt, "format requires a mapping"), NULL;
        jval key = jinja_cstr(c->rt, p + 1, (size_t)(close - p - 1));
        if (!jinja_dict_get(c->rt, c->args.d, key, &e))
            return NULL;
        if (!e)
            return jinja_fail(c->rt, "the format string names a key that is not there"), NULL;
        v = e->value;
        p = close + 1;
    }
    p = percent_flags(p, end, &o);
    if (!(p = percent_number(c, p, end, &o.width)))
        return NULL;
    if (o.width < 0) {
        o.align = '<';
        o.width = -o.width;
    }
    if (p < end && *p == '.' && !(p = percent_number(c, p + 1, end, &o.precision)))
        return NULL;
    while (p < end && (*p == 'l' || *p == 'h' || *p == 'L'))
        p++;
    if (p >= end)
        return jinja_fail(c->rt, "a format string is incomplete"), NULL;
    o.type = *p++;
    if (o.type == '%') {
        jinja_sb_putc(b, '%');
        return p;
    }
    if (v.t == JINJA_MISSING && !next_arg(c, &v))
        return NULL;
    return put_percent(c, b, v, &o) ? p : NULL;
}

bool jinja_percent(jinja_rt *rt, const jinja_str *fmt, jval args, jval *out)
{
    percent c = {.rt = rt, .args = args};
    const char *p = fmt->s, *end = p + fmt->len;
    jinja_sb b;
    jinja_sb_init(&b, rt);
    while (p < end && !b.failed) {
        const char *mark = memchr(p, '%', (size_t)(end - p));
        jinja_sb_add(&b, p, (size_t)((mark ? mark : end) - p));
        if (!mark)
            break;
        if (!jinja_charge(rt, 1) || !(p = put_conversion(&c, mark + 1, end, &b)))
            return false;
    }
    size_t given = args.t == JINJA_TUPLE ? args.seq->n : 1;
    /* What could be a mapping need not be used up: Python takes a list for one. */
    bool mapping = args.t == JINJA_DICT || args.t == JINJA_LIST || args.t == JINJA_RANGE ||
                   args.t == JINJA_UNDEFINED;
    if (c.next < given && !mapping)
        return jinja_fail(rt, "not all arguments are used by the format string");
    return jinja_sb_done(&b, out);
}
