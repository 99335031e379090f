/* grammar_gbnf.c: llama.cpp's notation of grammars: rules of literals, classes, groups, repetitions. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/utf8.h"
#include "runtime/generate/grammar.h"

enum { NESTING_MOST = 200 };

typedef NX_VEC(expr) expr_vec;

typedef struct {
    const char *start, *at, *end;
    expr_set set;
    int depth;
} parser;

static int line_of(const parser *p)
{
    int line = 1;
    for (const char *c = p->start; c < p->at; c++)
        line += *c == '\n';
    return line;
}

static expr fail(parser *p, const char *what)
{
    nx_fail("[grammar] line %d: %s", line_of(p), what);
    return -1;
}

static char peek(const parser *p)
{
    return p->at < p->end ? *p->at : '\0';
}

/* Spaces and comments; line ends too where a rule goes on. */
static void skip(parser *p, bool lines)
{
    for (; p->at < p->end; p->at++) {
        if (*p->at == '#')
            while (p->at + 1 < p->end && p->at[1] != '\n')
                p->at++;
        else if (!(*p->at == ' ' || *p->at == '\t' || (lines && (*p->at == '\n' || *p->at == '\r'))))
            break;
    }
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static nx_slice name(parser *p)
{
    const char *from = p->at;
    while (p->at < p->end && is_name(*p->at))
        p->at++;
    return (nx_slice){from, (size_t)(p->at - from)};
}

/* n hexadecimal digits. */
static bool hex(parser *p, int n, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < n; i++, p->at++) {
        char c = peek(p);
        int d = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (d < 0)
            return false;
        *out = *out << 4 | (uint32_t)d;
    }
    return *out <= 0x10FFFF;
}

/* One character, escapes read. False after a message. */
static bool character(parser *p, uint32_t *out)
{
    if (p->at >= p->end)
        return fail(p, "the text ends inside a literal or class") >= 0;
    if (*p->at != '\\') {
        int n = nx_utf8_decode(p->at, (size_t)(p->end - p->at), out);
        p->at += n < 0 ? -n : n;
        return n > 0 || fail(p, "this is no valid UTF-8") >= 0;
    }
    p->at++;
    if (p->at >= p->end)
        return fail(p, "the text ends inside an escape") >= 0;
    char c = *p->at++;
    switch (c) {
    case 'x': return hex(p, 2, out) || fail(p, "\\x needs two hexadecimal digits") >= 0;
    case 'u': return hex(p, 4, out) || fail(p, "\\u needs four hexadecimal digits") >= 0;
    case 'U': return hex(p, 8, out) || fail(p, "\\U needs eight hexadecimal digits") >= 0;
    case 'n': *out = '\n'; return true;
    case 'r': *out = '\r'; return true;
    case 't': *out = '\t'; return true;
    case '\\': case '"': case '[': case ']': case '-': case '^': case '/': *out = (uint32_t)c; return true;
    default: return fail(p, "this escape is not known") >= 0;
    }
}

static expr literal(parser *p)
{
    nx_str text = {0};
    expr e = -1;
    p->at++;
    while (p->at < p->end && *p->at != '"') {
        uint32_t c;
        if (!character(p, &c))
            goto done;
        nx_str_put_utf8(&text, c);
    }
    if (p->at >= p->end) {
        fail(p, "a literal is not closed");
        goto done;
    }
    p->at++;
    e = expr_text(&p->set, nx_str_cstr(&text), text.len);
done:
    nx_str_clear(&text);
    return e;
}

static expr class(parser *p)
{
    code_ranges ranges = {0};
    expr e = -1;
    p->at++;
    bool negated = peek(p) == '^';
    p->at += negated;
    while (p->at < p->end && *p->at != ']') {
        code_range r;
        if (!character(p, &r.lo))
            goto done;
        r.hi = r.lo;
        if (peek(p) == '-' && p->at + 1 < p->end && p->at[1] != ']') {
            p->at++;
            if (!character(p, &r.hi))
                goto done;
        }
        if (r.hi < r.lo) {
            fail(p, "a range ends before it begins");
            goto done;
        }
        nx_vec_push(&ranges, r);
    }
    if (p->at >= p->end) {
        fail(p, "a class is not closed");
        goto done;
    }
    p->at++;
    e = expr_class(&p->set, &ranges, negated);
done:
    nx_vec_clear(&ranges);
    return e;
}

static expr alternatives(parser *p, bool nested);

static expr group(parser *p)
{
    if (++p->depth > NESTING_MOST)
        return fail(p, "groups are nested too deeply");
    p->at++;
    skip(p, true);
    expr e = alternatives(p, true);
    p->depth--;
    if (e < 0)
        return -1;
    if (peek(p) != ')')
        return fail(p, "a group is not closed");
    p->at++;
    return e;
}

static int number(parser *p)
{
    int n = -1;
    while (peek(p) >= '0' && peek(p) <= '9') {
        n = (n < 0 ? 0 : n) * 10 + (peek(p) - '0');
        n = n > EXPR_REPEAT_MOST + 1 ? EXPR_REPEAT_MOST + 1 : n;
        p->at++;
    }
    return n;
}

/* * + ? {n} {n,} {n,m} after a part. */
static expr repeated(parser *p, expr e)
{
    for (;;) {
        char c = peek(p);
        int min = 0, max = -1;
        if (c == '+')
            min = 1;
        else if (c == '?')
            max = 1;
        else if (c == '{') {
            p->at++;
            min = max = number(p);
            if (peek(p) == ',') {
                p->at++;
                max = number(p);
                min = min < 0 ? 0 : min;
            }
            if (min < 0 || peek(p) != '}' || (max >= 0 && max < min))
                return fail(p, "a repetition is {n}, {n,} or {n,m}");
        } else if (c != '*') {
            return e;
        }
        p->at++;
        e = expr_repeat(&p->set, e, min, max);
    }
}

static expr item(parser *p)
{
    char c = peek(p);
    expr e;
    if (c == '"')
        e = literal(p);
    else if (c == '[')
        e = class(p);
    else if (c == '(')
        e = group(p);
    else if (c == '.') {
        code_ranges any = {0};
        p->at++;
        e = expr_class(&p->set, &any, true);
        nx_vec_clear(&any);
    } else if (is_name(c)) {
        nx_slice n = name(p);
        e = expr_call(&p->set, n.data, n.len);
    } else {
        return fail(p, "a literal, class, group or rule's name is expected here");
    }
    return e < 0 ? -1 : repeated(p, e);
}

/* A rule's name and "::=" begin here: the rule before has ended. */
static bool at_rule(const parser *p)
{
    parser q = *p;
    nx_slice n = name(&q);
    skip(&q, false);
    return n.len > 0 && q.end - q.at >= 3 && memcmp(q.at, "::=", 3) == 0;
}

static expr sequence(parser *p, bool nested)
{
    expr_vec parts = {0};
    expr e = -1;
    for (;;) {
        skip(p, nested);
        char c = peek(p);
        if (p->at >= p->end || c == '|' || c == ')' || c == '\n' || c == '\r' || (nested && at_rule(p)))
            break;
        if ((e = item(p)) < 0) {
            nx_vec_clear(&parts);
            return -1;
        }
        nx_vec_push(&parts, e);
    }
    e = expr_seq(&p->set, parts.at, (int)parts.n);
    nx_vec_clear(&parts);
    return e;
}

/* Whether the next line goes on with another alternative. */
static bool goes_on(parser *p)
{
    parser q = *p;
    skip(&q, true);
    if (peek(&q) != '|')
        return false;
    *p = q;
    return true;
}

static expr alternatives(parser *p, bool nested)
{
    expr_vec parts = {0};
    expr e;
    do {
        if (peek(p) == '|')
            p->at++;
        skip(p, true);
        if ((e = sequence(p, nested)) < 0) {
            nx_vec_clear(&parts);
            return -1;
        }
        nx_vec_push(&parts, e);
    } while (goes_on(p));
    e = expr_alt(&p->set, parts.at, (int)parts.n);
    nx_vec_clear(&parts);
    return e;
}

static bool rule(parser *p)
{
    nx_slice n = name(p);
    skip(p, false);
    if (n.len == 0 || p->end - p->at < 3 || memcmp(p->at, "::=", 3) != 0)
        return fail(p, "a rule is written: name ::= …") >= 0;
    p->at += 3;
    skip(p, true);
    int index = expr_rule_index(&p->set, n.data, n.len);
    if (p->set.rules.at[index].body >= 0)
        return nx_fail("[grammar] line %d: the rule '%s' is given twice", line_of(p),
                       p->set.rules.at[index].name);
    expr body = alternatives(p, false);
    if (body < 0)
        return false;
    p->set.rules.at[index].body = body;
    skip(p, false);
    if (p->at < p->end && *p->at != '\n' && *p->at != '\r')
        return fail(p, "this does not belong to a rule") >= 0;
    return true;
}

grammar *grammar_from_gbnf(const char *text, size_t length)
{
    parser p = {.start = text, .at = text, .end = text + length};
    bool ok = true;
    for (skip(&p, true); ok && p.at < p.end; skip(&p, true))
        ok = rule(&p);
    const nx_map_entry *root = nx_map_find(&p.set.names, "root", 4);
    if (ok && (!root || p.set.rules.at[root->value].body < 0))
        ok = nx_fail("[grammar] there is no rule called 'root'");
    if (!ok) {
        expr_set_clear(&p.set);
        return NULL;
    }
    return grammar_compile(&p.set, expr_call(&p.set, "root", 4));
}
