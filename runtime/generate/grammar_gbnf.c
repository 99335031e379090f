/* grammar_gbnf.c: llama.cpp's notation of grammars: rules of literals, classes, groups, repetitions. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/generate/grammar.h"
#include "runtime/generate/grammar_text.h"

typedef NX_VEC(expr) expr_vec;

typedef struct {
    grammar_text text;
    expr_set set;
    int depth;
} parser;

static int line_of(const parser *p)
{
    int line = 1;
    for (const char *c = p->text.start; c < p->text.at; c++)
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
    return grammar_peek(&p->text);
}

/* Spaces and comments; line ends too where a rule goes on. */
static void skip(parser *p, bool lines)
{
    for (; p->text.at < p->text.end; p->text.at++) {
        if (*p->text.at == '#')
            while (p->text.at + 1 < p->text.end && p->text.at[1] != '\n')
                p->text.at++;
        else if (!(*p->text.at == ' ' || *p->text.at == '\t' || (lines && (*p->text.at == '\n' || *p->text.at == '\r'))))
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
    const char *from = p->text.at;
    while (p->text.at < p->text.end && is_name(*p->text.at))
        p->text.at++;
    return (nx_slice){from, (size_t)(p->text.at - from)};
}

/* One character, escapes read. False after a message. */
static bool character(parser *p, uint32_t *out)
{
    if (p->text.at >= p->text.end)
        return fail(p, "the text ends inside a literal or class") >= 0;
    if (*p->text.at != '\\') {
        return grammar_plain(&p->text, out) || fail(p, "this is no valid UTF-8") >= 0;
    }
    p->text.at++;
    if (p->text.at >= p->text.end)
        return fail(p, "the text ends inside an escape") >= 0;
    char c = *p->text.at++;
    switch (c) {
    case 'x': return grammar_hex(&p->text, 2, out) || fail(p, "\\x needs two hexadecimal digits") >= 0;
    case 'u': return grammar_hex(&p->text, 4, out) || fail(p, "\\u needs four hexadecimal digits") >= 0;
    case 'U': return grammar_hex(&p->text, 8, out) || fail(p, "\\U needs eight hexadecimal digits") >= 0;
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
    p->text.at++;
    while (p->text.at < p->text.end && *p->text.at != '"') {
        uint32_t c;
        if (!character(p, &c))
            goto done;
        nx_str_put_utf8(&text, c);
    }
    if (p->text.at >= p->text.end) {
        fail(p, "a literal is not closed");
        goto done;
    }
    p->text.at++;
    e = expr_text(&p->set, nx_str_cstr(&text), text.len);
done:
    nx_str_clear(&text);
    return e;
}

static expr class(parser *p)
{
    code_ranges ranges = {0};
    expr e = -1;
    p->text.at++;
    bool negated = peek(p) == '^';
    p->text.at += negated;
    while (p->text.at < p->text.end && *p->text.at != ']') {
        code_range r;
        if (!character(p, &r.lo))
            goto done;
        r.hi = r.lo;
        if (peek(p) == '-' && p->text.at + 1 < p->text.end && p->text.at[1] != ']') {
            p->text.at++;
            if (!character(p, &r.hi))
                goto done;
        }
        if (r.hi < r.lo) {
            fail(p, "a range ends before it begins");
            goto done;
        }
        nx_vec_push(&ranges, r);
    }
    if (p->text.at >= p->text.end) {
        fail(p, "a class is not closed");
        goto done;
    }
    p->text.at++;
    e = expr_class(&p->set, &ranges, negated);
done:
    nx_vec_clear(&ranges);
    return e;
}

static expr alternatives(parser *p, bool nested);

static expr group(parser *p)
{
    if (++p->depth > GRAMMAR_NESTING_MOST)
        return fail(p, "groups are nested too deeply");
    p->text.at++;
    skip(p, true);
    expr e = alternatives(p, true);
    p->depth--;
    if (e < 0)
        return -1;
    if (peek(p) != ')')
        return fail(p, "a group is not closed");
    p->text.at++;
    return e;
}

/* How often a part stands, written after it; several times over too. */
static expr repeated(parser *p, expr e)
{
    grammar_times times;
    bool wrong;
    while (grammar_repetition(&p->text, true, &times, &wrong))
        e = expr_repeat(&p->set, e, times.min, times.max);
    return wrong ? fail(p, "a repetition is {n}, {n,} or {n,m}") : e;
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
        p->text.at++;
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
    return n.len > 0 && q.text.end - q.text.at >= 3 && memcmp(q.text.at, "::=", 3) == 0;
}

static expr sequence(parser *p, bool nested)
{
    expr_vec parts = {0};
    expr e = -1;
    for (;;) {
        skip(p, nested);
        char c = peek(p);
        if (p->text.at >= p->text.end || c == '|' || c == ')' || c == '\n' || c == '\r' || (nested && at_rule(p)))
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
            p->text.at++;
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
    if (n.len == 0 || p->text.end - p->text.at < 3 || memcmp(p->text.at, "::=", 3) != 0)
        return fail(p, "a rule is written: name ::= …") >= 0;
    p->text.at += 3;
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
    if (p->text.at < p->text.end && *p->text.at != '\n' && *p->text.at != '\r')
        return fail(p, "this does not belong to a rule") >= 0;
    return true;
}

grammar *grammar_from_gbnf(const char *text, size_t length)
{
    parser p = {.text = {text, text, text + length}};
    bool ok = true;
    for (skip(&p, true); ok && p.text.at < p.text.end; skip(&p, true))
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
