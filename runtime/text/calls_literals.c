/*
 * calls_literals.c: calls written as code: [f(k='v', n=3)], and call:f{k:<|"|>v<|"|>,n:3}.
 *
 *     list     "[" call ("," call)* "]" | call
 *     call     ["call:"] NAME "(" [KEY "=" value ("," …)*] ")"  |  NAME object
 *     value    text | number | word | "[" values "]" | "{" (KEY | text) ":" value … "}"
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "runtime/text/calls.h"

enum { MOST_DEPTH = 64 };

static const char quote_token[] = "<|\"|>";

typedef struct {
    const char *p;
    bool failed;
} literal;

static void skip(literal *l)
{
    while (isspace((unsigned char)*l->p))
        l->p++;
}

static bool take(literal *l, const char *what)
{
    skip(l);
    size_t n = strlen(what);
    if (strncmp(l->p, what, n) != 0)
        return false;
    l->p += n;
    return true;
}

static void need(literal *l, const char *what)
{
    if (!take(l, what))
        l->failed = true;
}

static char *word(literal *l)
{
    skip(l);
    size_t n = 0;
    while (isalnum((unsigned char)l->p[n]) || (l->p[n] && strchr("_.-", l->p[n])))
        n++;
    char *s = nx_strndup(l->p, n);
    l->p += n;
    if (!n)
        l->failed = true;
    return s;
}

/* '…' or "…" with Python's escapes, or between quote tokens without any. Appends to *out. */
static bool take_text(literal *l, nx_str *out)
{
    static const char letters[] = "nrtbf0", bytes[] = "\n\r\t\b\f";
    if (take(l, quote_token)) {
        const char *end = strstr(l->p, quote_token);
        if (!end)
            return l->failed = true;
        nx_str_add(out, l->p, (size_t)(end - l->p));
        l->p = end + sizeof quote_token - 1;
        return true;
    }
    char q = *l->p;
    if (q != '\'' && q != '"')
        return false;
    for (l->p++; *l->p && *l->p != q; l->p++) {
        const char *letter = *l->p == '\\' && l->p[1] ? strchr(letters, l->p[1]) : NULL;
        if (*l->p == '\\' && l->p[1] == 'u' && isxdigit((unsigned char)l->p[2])) {
            char hex[5] = {0};
            strncpy(hex, l->p + 2, 4);
            nx_str_put_utf8(out, (unsigned)strtoul(hex, NULL, 16));
            l->p += 1 + strlen(hex);
        } else if (letter) {
            nx_str_putc(out, letter - letters < 5 ? bytes[letter - letters] : '\0');
            l->p++;
        } else {
            l->p += *l->p == '\\' && l->p[1];
            nx_str_putc(out, *l->p);
        }
    }
    if (*l->p == q)
        l->p++;
    else
        l->failed = true;
    return true;
}

static json_t *value(literal *l, int depth);

static char *key(literal *l)
{
    nx_str s = {0};
    skip(l);
    if (take_text(l, &s))
        return nx_str_take(&s);
    return word(l);
}

/* Up to `close`: KEY sep value, … */
static json_t *pairs(literal *l, const char *sep, const char *close, int depth)
{
    json_t *o = json_object();
    while (!l->failed && !take(l, close)) {
        char *k = key(l);
        need(l, sep);
        json_t *v = l->failed ? NULL : value(l, depth + 1);
        if (v && json_object_set_new(o, k, v) != 0)
            l->failed = true;
        free(k);
        if (!take(l, ",") && !l->failed) {
            need(l, close);
            break;
        }
    }
    return o;
}

static json_t *items(literal *l, int depth)
{
    json_t *list = json_array();
    while (!l->failed && !take(l, "]")) {
        json_t *v = value(l, depth + 1);
        if (v)
            json_array_append_new(list, v);
        if (!take(l, ",") && !l->failed) {
            need(l, "]");
            break;
        }
    }
    return list;
}

static json_t *number_or_word(literal *l)
{
    size_t n = strcspn(l->p, ",]})= \t\r\n");
    json_t *v = json_loadb(l->p, n, JSON_DECODE_ANY, NULL);
    if (!v && n == 4 && memcmp(l->p, "True", 4) == 0)
        v = json_true();
    if (!v && n == 5 && memcmp(l->p, "False", 5) == 0)
        v = json_false();
    if (!v && n == 4 && memcmp(l->p, "None", 4) == 0)
        v = json_null();
    l->p += n;
    l->failed = l->failed || !v;
    return v;
}

static json_t *value(literal *l, int depth)
{
    nx_str s = {0};
    if (depth > MOST_DEPTH) {
        l->failed = true;
        return NULL;
    }
    skip(l);
    if (take_text(l, &s)) {
        json_t *v = json_stringn(nx_str_cstr(&s), s.len);
        nx_str_clear(&s);
        l->failed = l->failed || !v;
        return v;
    }
    nx_str_clear(&s);
    if (take(l, "["))
        return items(l, depth);
    if (take(l, "{"))
        return pairs(l, ":", "}", depth);
    return number_or_word(l);
}

static bool read_call(calls_reader *r, literal *l)
{
    take(l, "<|tool_call>");
    bool braces = take(l, "call:");
    char *name = word(l);
    json_t *arguments = NULL;
    if (!l->failed && take(l, "("))
        arguments = pairs(l, "=", ")", 0);
    else if (!l->failed && braces && take(l, "{"))
        arguments = pairs(l, ":", "}", 0);
    bool ok = arguments && !l->failed && calls_known(r, name);
    if (ok)
        calls_tell(r, name, json_incref(arguments));
    json_decref(arguments);
    free(name);
    return ok;
}

bool calls_read_literals(calls_reader *r, const char *text)
{
    literal l = {text, false};
    size_t before = r->count;
    bool list = take(&l, "[");
    while (read_call(r, &l)) {
        take(&l, "<tool_call|>");
        if (!take(&l, ",") && !take(&l, ";") && (list || !*l.p))
            break;
    }
    return r->count > before;
}
