/*
 * jinja_print.c: values as text: Python's str() and repr(), json.dumps as Hugging Face's tojson
 * calls it; and values from JSON.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/text/jinja_rt.h"

/* --- numbers --- */

/* The shortest digits that read back as the same number, as Python prints them. */
void jinja_put_float(jinja_sb *b, double f)
{
    char text[40], out[48];
    if (isnan(f) || isinf(f)) {
        jinja_sb_puts(b, isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
        return;
    }
    int precision = 0;
    do
        snprintf(text, sizeof text, "%.*e", precision, f);
    while (strtod(text, NULL) != f && ++precision < 17);
    int exponent = atoi(strchr(text, 'e') + 1);
    if (exponent < -4 || exponent >= 16) {
        char *e = strchr(text, 'e');
        snprintf(out, sizeof out, "%.*se%c%02d", (int)(e - text), text, exponent < 0 ? '-' : '+',
                 abs(exponent));
    } else {
        int decimals = precision - exponent;
        snprintf(out, sizeof out, "%.*f", decimals > 0 ? decimals : 1, f);
    }
    jinja_sb_puts(b, out);
}

static void put_int(jinja_sb *b, int64_t i)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)i);
    jinja_sb_puts(b, text);
}

/* --- repr --- */

static void put_repr_char(jinja_sb *b, uint32_t cp, char quote)
{
    static const char from[] = "\n\r\t", to[] = "nrt";
    char text[16];
    const char *simple = cp && cp < 128 ? strchr(from, (int)cp) : NULL;
    if (cp == (uint32_t)quote || cp == '\\') {
        jinja_sb_putc(b, '\\');
        jinja_sb_putc(b, (char)cp);
    } else if (simple) {
        jinja_sb_putc(b, '\\');
        jinja_sb_putc(b, to[simple - from]);
    } else if (jinja_is_printable(cp)) {
        jinja_sb_cp(b, cp);
    } else {
        snprintf(text, sizeof text,
                 cp < 0x100     ? "\\x%02x"
                 : cp < 0x10000 ? "\\u%04x"
                                : "\\U%08x",
                 cp);
        jinja_sb_puts(b, text);
    }
}

static void put_repr_str(jinja_sb *b, const jinja_str *s)
{
    bool single = s->len && memchr(s->s, '\'', s->len), dbl = s->len && memchr(s->s, '"', s->len);
    char quote = single && !dbl ? '"' : '\'';
    uint32_t cp;
    if (s->safe)
        jinja_sb_puts(b, "Markup(");
    jinja_sb_putc(b, quote);
    for (size_t i = 0, n; !b->failed && (n = jinja_utf8_next(s->s + i, s->len - i, &cp)); i += n)
        put_repr_char(b, cp, quote);
    jinja_sb_putc(b, quote);
    if (s->safe)
        jinja_sb_putc(b, ')');
}

static bool put_items(jinja_sb *b, const jinja_seq *s, const char *open, const char *close)
{
    jinja_sb_puts(b, open);
    for (size_t i = 0; i < s->n; i++) {
        if (i)
            jinja_sb_puts(b, ", ");
        if (!jinja_put_repr(b, s->at[i]))
            return false;
    }
    jinja_sb_puts(b, close);
    return !b->failed;
}

static bool put_dict(jinja_sb *b, const jinja_dict *d)
{
    jinja_sb_putc(b, '{');
    for (size_t i = 0; i < d->n; i++) {
        if (i)
            jinja_sb_puts(b, ", ");
        if (!jinja_put_repr(b, d->at[i].key))
            return false;
        jinja_sb_puts(b, ": ");
        if (!jinja_put_repr(b, d->at[i].value))
            return false;
    }
    jinja_sb_putc(b, '}');
    return !b->failed;
}

static bool put_view(jinja_sb *b, jval v)
{
    jinja_seq *s;
    if (!jinja_collect(b->rt, v, &s))
        return false;
    jinja_sb_puts(b, jinja_type_name(v));
    return put_items(b, s, "([", "])");
}

static void put_range(jinja_sb *b, const jinja_range *r)
{
    char text[96];
    int64_t stop = r->start + r->n * r->step;
    if (r->step == 1)
        snprintf(text, sizeof text, "range(%lld, %lld)", (long long)r->start, (long long)stop);
    else
        snprintf(text, sizeof text, "range(%lld, %lld, %lld)", (long long)r->start, (long long)stop,
                 (long long)r->step);
    jinja_sb_puts(b, text);
}

static void put_named(jinja_sb *b, const char *kind, const char *name, size_t len)
{
    jinja_sb_putc(b, '<');
    jinja_sb_puts(b, kind);
    jinja_sb_putc(b, ' ');
    jinja_sb_add(b, name, len);
    jinja_sb_putc(b, '>');
}

static bool put_object(jinja_sb *b, jval v)
{
    const char *name = "";
    switch (v.t) {
    case JINJA_LOOP:
        return jinja_loop_print(b, v.loop);
    case JINJA_NAMESPACE:
        jinja_sb_puts(b, "<Namespace ");
        if (!put_dict(b, v.d))
            return false;
        jinja_sb_putc(b, '>');
        return !b->failed;
    case JINJA_MACRO:
        jinja_sb_puts(b, "<Macro ");
        put_repr_str(b, v.macro->name);
        jinja_sb_putc(b, '>');
        return !b->failed;
    case JINJA_METHOD:
        name = v.method->row->name;
        break;
    case JINJA_FUNC:
        name = v.func->name;
        break;
    case JINJA_ITER:
        name = v.it->name ? v.it->name : "";
        break;
    default:
        break;
    }
    put_named(b, jinja_type_name(v), name, strlen(name));
    return !b->failed;
}

static bool put_nested(jinja_sb *b, jval v)
{
    switch (v.t) {
    case JINJA_LIST:
        return put_items(b, v.seq, "[", "]");
    case JINJA_TUPLE:
        return put_items(b, v.seq, "(", v.seq->n == 1 ? ",)" : ")");
    case JINJA_DICT:
        return put_dict(b, v.d);
    case JINJA_VIEW:
        return put_view(b, v);
    default:
        return put_object(b, v);
    }
}

bool jinja_put_repr(jinja_sb *b, jval v)
{
    switch (v.t) {
    case JINJA_UNDEFINED:
        jinja_sb_puts(b, "Undefined");
        break;
    case JINJA_NONE:
        jinja_sb_puts(b, "None");
        break;
    case JINJA_BOOL:
        jinja_sb_puts(b, v.b ? "True" : "False");
        break;
    case JINJA_INT:
        put_int(b, v.i);
        break;
    case JINJA_FLOAT:
        jinja_put_float(b, v.f);
        break;
    case JINJA_STR:
        put_repr_str(b, v.s);
        break;
    case JINJA_RANGE:
        put_range(b, v.range);
        break;
    default:
        if (!jinja_charge(b->rt, 1) || !jinja_enter(b->rt))
            return false;
        bool ok = put_nested(b, v);
        jinja_leave(b->rt);
        return ok && !b->failed;
    }
    return !b->failed;
}

bool jinja_put_str(jinja_sb *b, jval v)
{
    if (v.t == JINJA_STR)
        jinja_sb_add(b, v.s->s, v.s->len);
    else if (v.t != JINJA_UNDEFINED)
        return jinja_put_repr(b, v);
    return !b->failed;
}

bool jinja_to_str(jinja_rt *rt, jval v, const jinja_str **out)
{
    jinja_sb b;
    if (v.t == JINJA_STR && !v.s->safe) {
        *out = v.s;
        return true;
    }
    jinja_sb_init(&b, rt);
    if (!jinja_put_str(&b, v) || !jinja_sb_done(&b, &v))
        return false;
    *out = v.s;
    return true;
}

/* --- JSON --- */

typedef struct {
    jinja_sb *b;
    bool ascii, sort, pretty;
    const jinja_str *indent, *item_sep, *key_sep;
    int depth;
} json_out;

static void put_json_char(jinja_sb *b, uint32_t cp, bool ascii)
{
    static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
    char text[16];
    const char *simple = cp && cp < 128 ? strchr(from, (int)cp) : NULL;
    if (simple) {
        jinja_sb_putc(b, '\\');
        jinja_sb_putc(b, to[simple - from]);
    } else if (cp < 32 || (ascii && cp > 126 && cp < 0x10000)) {
        if (cp == 127) {
            jinja_sb_putc(b, 127);
            return;
        }
        snprintf(text, sizeof text, "\\u%04x", cp);
        jinja_sb_puts(b, text);
    } else if (ascii && cp >= 0x10000) {
        snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xD800 + ((cp - 0x10000) >> 10),
                 0xDC00 + ((cp - 0x10000) & 0x3FF));
        jinja_sb_puts(b, text);
    } else {
        jinja_sb_cp(b, cp);
    }
}

static void put_json_str(json_out *o, const jinja_str *s)
{
    uint32_t cp;
    jinja_sb_putc(o->b, '"');
    for (size_t i = 0, n; !o->b->failed && (n = jinja_utf8_next(s->s + i, s->len - i, &cp)); i += n)
        put_json_char(o->b, cp, o->ascii);
    jinja_sb_putc(o->b, '"');
}

static void put_json_float(json_out *o, double f)
{
    if (isnan(f))
        jinja_sb_puts(o->b, "NaN");
    else if (isinf(f))
        jinja_sb_puts(o->b, f < 0 ? "-Infinity" : "Infinity");
    else
        jinja_put_float(o->b, f);
}

static void json_break(json_out *o)
{
    if (!o->pretty)
        return;
    jinja_sb_putc(o->b, '\n');
    jinja_sb_repeat(o->b, o->indent->s, o->indent->len, o->depth);
}

static bool put_json(json_out *o, jval v);

static bool put_json_list(json_out *o, const jinja_seq *s)
{
    jinja_sb_putc(o->b, '[');
    o->depth++;
    for (size_t i = 0; i < s->n; i++) {
        if (i)
            jinja_sb_add(o->b, o->item_sep->s, o->item_sep->len);
        json_break(o);
        if (!put_json(o, s->at[i]))
            return false;
    }
    o->depth--;
    if (s->n)
        json_break(o);
    jinja_sb_putc(o->b, ']');
    return !o->b->failed;
}

/* Keys are strings; numbers and constants are written as strings, anything else is an error. */
static bool put_json_key(json_out *o, jval k)
{
    if (k.t == JINJA_STR) {
        put_json_str(o, k.s);
        return true;
    }
    if (k.t != JINJA_NONE && !jinja_is_number(k))
        return jinja_fail(o->b->rt, "keys must be str, int, float, bool or None, not %s",
                          jinja_type_name(k));
    jinja_sb_putc(o->b, '"');
    bool ok = put_json(o, k);
    jinja_sb_putc(o->b, '"');
    return ok;
}

/* Entries by key: a merge sort over pointers. */
static bool merge_entries(jinja_rt *rt, const jinja_entry **at, const jinja_entry **tmp, size_t n)
{
    if (n < 2)
        return true;
    size_t mid = n / 2, i = 0, j = mid, k = 0;
    if (!merge_entries(rt, at, tmp, mid) || !merge_entries(rt, at + mid, tmp, n - mid))
        return false;
    while (i < mid && j < n) {
        int c;
        if (!jinja_charge(rt, 1) || !jinja_order(rt, at[j]->key, at[i]->key, &c))
            return false;
        tmp[k++] = c == -1 ? at[j++] : at[i++];
    }
    while (i < mid)
        tmp[k++] = at[i++];
    memcpy(at, tmp, k * sizeof *at); /* what is left of the right half is in place */
    return true;
}

static bool put_json_dict(json_out *o, const jinja_dict *d)
{
    jinja_rt *rt = o->b->rt;
    if (!jinja_room(rt, 2 * d->n * sizeof(void *)))
        return false;
    const jinja_entry **at = jinja_alloc(rt, (2 * d->n + 1) * sizeof *at);
    for (size_t i = 0; i < d->n; i++)
        at[i] = &d->at[i];
    if (o->sort && !merge_entries(rt, at, at + d->n, d->n))
        return false;
    jinja_sb_putc(o->b, '{');
    o->depth++;
    for (size_t i = 0; i < d->n; i++) {
        if (i)
            jinja_sb_add(o->b, o->item_sep->s, o->item_sep->len);
        json_break(o);
        if (!put_json_key(o, at[i]->key))
            return false;
        jinja_sb_add(o->b, o->key_sep->s, o->key_sep->len);
        if (!put_json(o, at[i]->value))
            return false;
    }
    o->depth--;
    if (d->n)
        json_break(o);
    jinja_sb_putc(o->b, '}');
    return !o->b->failed;
}

static bool put_json(json_out *o, jval v)
{
    jinja_rt *rt = o->b->rt;
    bool ok;
    switch (v.t) {
    case JINJA_NONE:
        jinja_sb_puts(o->b, "null");
        break;
    case JINJA_BOOL:
        jinja_sb_puts(o->b, v.b ? "true" : "false");
        break;
    case JINJA_INT:
        put_int(o->b, v.i);
        break;
    case JINJA_FLOAT:
        put_json_float(o, v.f);
        break;
    case JINJA_STR:
        put_json_str(o, v.s);
        break;
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_DICT:
        if (!jinja_charge(rt, 1) || !jinja_enter(rt))
            return false;
        ok = v.t == JINJA_DICT ? put_json_dict(o, v.d) : put_json_list(o, v.seq);
        jinja_leave(rt);
        return ok;
    default:
        return jinja_fail(rt, "Object of type %s is not JSON serializable", jinja_type_name(v));
    }
    return !o->b->failed;
}

static bool json_indent(jinja_rt *rt, const jinja_args *a, json_out *o)
{
    int64_t n;
    jinja_sb b;
    jval text;
    o->pretty = jinja_given(a, 1) && a->pos[1].t != JINJA_NONE;
    if (!o->pretty)
        return true;
    if (a->pos[1].t == JINJA_STR) {
        o->indent = a->pos[1].s;
        return true;
    }
    if (!jinja_arg_int(rt, a, 1, 0, &n))
        return false;
    jinja_sb_init(&b, rt);
    jinja_sb_repeat(&b, " ", 1, n);
    if (!jinja_sb_done(&b, &text))
        return false;
    o->indent = text.s;
    return true;
}

static bool json_separators(jinja_rt *rt, const jinja_args *a, json_out *o)
{
    o->item_sep = jinja_text(rt, o->pretty ? "," : ", ").s;
    o->key_sep = jinja_text(rt, ": ").s;
    if (!jinja_given(a, 2) || a->pos[2].t == JINJA_NONE)
        return true;
    jinja_seq *s;
    if (!jinja_collect(rt, a->pos[2], &s))
        return false;
    if (s->n != 2 || s->at[0].t != JINJA_STR || s->at[1].t != JINJA_STR)
        return jinja_fail(rt, "separators must be two strings");
    o->item_sep = s->at[0].s;
    o->key_sep = s->at[1].s;
    return true;
}

/* tojson(ensure_ascii=false, indent=none, separators=none, sort_keys=false) */
bool jinja_put_json(jinja_rt *rt, jval self, const jinja_args *a, jval *out)
{
    jinja_sb b;
    jinja_sb_init(&b, rt);
    json_out o = {.b = &b,
                  .ascii = jinja_given(a, 0) && jinja_truth(rt, a->pos[0]),
                  .sort = jinja_given(a, 3) && jinja_truth(rt, a->pos[3])};
    return json_indent(rt, a, &o) && json_separators(rt, a, &o) && put_json(&o, self) &&
           jinja_sb_done(&b, out);
}

static bool from_object(jinja_rt *rt, json_t *j, jval *out)
{
    jinja_dict *d = jinja_dict_new(rt);
    const char *key;
    json_t *item;
    json_object_foreach(j, key, item)
    {
        jval v;
        if (!jinja_from_json(rt, item, &v) || !jinja_dict_set(rt, d, jinja_text(rt, key), v))
            return false;
    }
    *out = (jval){.t = JINJA_DICT, .d = d};
    return true;
}

static bool from_array(jinja_rt *rt, json_t *j, jval *out)
{
    size_t n = json_array_size(j);
    jinja_seq *s = jinja_seq_new(rt, n);
    for (; s->n < n; s->n++)
        if (!jinja_from_json(rt, json_array_get(j, s->n), &s->at[s->n]))
            return false;
    *out = jinja_list(s);
    return true;
}

/* Strings are not copied: the JSON value outlives the render. */
bool jinja_from_json(jinja_rt *rt, json_t *j, jval *out)
{
    bool ok = true;
    if (!jinja_charge(rt, 1) || !jinja_enter(rt))
        return false;
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        ok = from_object(rt, j, out);
        break;
    case JSON_ARRAY:
        ok = from_array(rt, j, out);
        break;
    case JSON_STRING:
        *out = jinja_of_str(jinja_str_new(rt, json_string_value(j), json_string_length(j)));
        break;
    case JSON_INTEGER:
        *out = jinja_int(json_integer_value(j));
        break;
    case JSON_REAL:
        *out = jinja_float(json_real_value(j));
        break;
    case JSON_NULL:
        *out = jinja_none();
        break;
    default:
        *out = jinja_bool(json_is_true(j));
        break;
    }
    jinja_leave(rt);
    return ok;
}
