/*
 * grammar_regex.c: regular expressions as grammars: what a schema's `pattern` uses, without what no
 * automaton has (look-around, references to groups).
 */
#include "runtime/generate/grammar_regex.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/generate/grammar_text.h"

typedef NX_VEC(expr) expr_vec;

typedef struct {
    grammar_text text;
    expr_set *set;
    int depth;
    bool json;     /* characters are written as inside a JSON text */
    bool from, to; /* ^ and $ were seen at the ends */
} parser;

static expr fail(parser *p, const char *what)
{
    nx_fail("[grammar] the pattern at character %zu: %s", (size_t)(p->text.at - p->text.start) + 1, what);
    return -1;
}

static char peek(const parser *p)
{
    return grammar_peek(&p->text);
}

/* ---- characters ---- */

static void push(code_ranges *r, uint32_t lo, uint32_t hi)
{
    nx_vec_push(r, (code_range){lo, hi});
}

/* \d \w \s and their opposites. */
static bool shorthand(char c, code_ranges *r)
{
    code_ranges one = {0};
    switch (c | 32) {
    case 'd': push(&one, '0', '9'); break;
    case 'w':
        push(&one, '0', '9');
        push(&one, 'A', 'Z');
        push(&one, '_', '_');
        push(&one, 'a', 'z');
        break;
    case 's':
        push(&one, '\t', '\r');
        push(&one, ' ', ' ');
        push(&one, 0xA0, 0xA0);
        push(&one, 0x2028, 0x2029);
        break;
    default: return false;
    }
    if (c & 32) {
        for (size_t i = 0; i < one.n; i++)
            nx_vec_push(r, one.at[i]);
    } else { /* the list is sorted: what lies between */
        uint32_t from = 0;
        for (size_t i = 0; i < one.n; i++) {
            push(r, from, one.at[i].lo - 1);
            from = one.at[i].hi + 1;
        }
        push(r, from, 0x10FFFF);
    }
    nx_vec_clear(&one);
    return true;
}

/* After a backslash: the character it stands for. */
static bool escape(parser *p, uint32_t *out)
{
    char c = peek(p);
    p->text.at++;
    switch (c) {
    case 'n': *out = '\n'; return true;
    case 'r': *out = '\r'; return true;
    case 't': *out = '\t'; return true;
    case 'f': *out = '\f'; return true;
    case 'v': *out = '\v'; return true;
    case '0': *out = 0; return true;
    case 'x': return grammar_hex(&p->text, 2, out) || fail(p, "\\x needs two hexadecimal digits") >= 0;
    case 'u': return grammar_hex(&p->text, 4, out) || fail(p, "\\u needs four hexadecimal digits") >= 0;
    default: break;
    }
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '1' && c <= '9') || !c;
    *out = (uint32_t)(unsigned char)c;
    return !letter || fail(p, "this escape cannot be enforced") >= 0;
}

static bool plain(parser *p, uint32_t *out)
{
    return grammar_plain(&p->text, out) || fail(p, "this is no valid UTF-8") >= 0;
}

/* How a character may stand inside a JSON text. */
static expr json_escape(expr_set *s, uint32_t c)
{
    static const char names[][2] = {{'"', '"'}, {'\\', '\\'}, {'\b', 'b'}, {'\f', 'f'}, {'\n', 'n'},
                                    {'\r', 'r'}, {'\t', 't'}};
    char text[8] = "\\u00";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (c == (uint32_t)names[i][0])
            return expr_text(s, (const char[]){'\\', names[i][1]}, 2);
    text[4] = "0123456789abcdef"[c >> 4];
    text[5] = "0123456789abcdef"[c & 15];
    return expr_text(s, text, 6);
}

static bool in_ranges(const code_ranges *r, uint32_t c, bool negated)
{
    bool in = false;
    for (size_t i = 0; i < r->n; i++)
        in = in || (c >= r->at[i].lo && c <= r->at[i].hi);
    return in != negated;
}

/* A class; inside JSON those characters that must be escaped are. */
static expr class_expr(parser *p, code_ranges *r, bool negated)
{
    if (!p->json)
        return expr_class(p->set, r, negated);
    expr_vec parts = {0};
    for (uint32_t c = 0; c < 0x80; c++)
        if ((c < 0x20 || c == '"' || c == '\\') && in_ranges(r, c, negated))
            nx_vec_push(&parts, json_escape(p->set, c));
    code_ranges rest = {0}, out = {0};
    if (negated) { /* what is left out, and what is escaped, is not there in plain */
        for (size_t i = 0; i < r->n; i++)
            nx_vec_push(&rest, r->at[i]);
        push(&rest, 0, 0x1F);
        push(&rest, '"', '"');
        push(&rest, '\\', '\\');
        nx_vec_push(&parts, expr_class(p->set, &rest, true));
    } else {
        static const code_range holes[] = {{0, 0x1F}, {'"', '"'}, {'\\', '\\'}};
        for (size_t i = 0; i < r->n; i++) {
            uint32_t lo = r->at[i].lo, hi = r->at[i].hi;
            for (size_t k = 0; k < 3 && lo <= hi; k++) {
                if (holes[k].hi < lo || holes[k].lo > hi)
                    continue;
                if (holes[k].lo > lo)
                    push(&out, lo, holes[k].lo - 1);
                lo = holes[k].hi + 1;
            }
            if (lo <= hi)
                push(&out, lo, hi);
        }
        nx_vec_push(&parts, expr_class(p->set, &out, false));
    }
    expr e = expr_alt(p->set, parts.at, (int)parts.n);
    nx_vec_clear(&parts);
    nx_vec_clear(&rest);
    nx_vec_clear(&out);
    return e;
}

static expr one_character(parser *p, uint32_t c)
{
    code_ranges r = {0};
    push(&r, c, c);
    expr e = class_expr(p, &r, false);
    nx_vec_clear(&r);
    return e;
}

/* ---- the parts of a pattern ---- */

/* One end of a range in a class; false after a message, or where it was a shorthand (*many). */
static bool class_end(parser *p, code_ranges *r, uint32_t *c, bool *many)
{
    *many = false;
    if (peek(p) != '\\')
        return plain(p, c);
    p->text.at++;
    if (shorthand(peek(p), r)) {
        p->text.at++;
        *many = true;
        return true;
    }
    if (peek(p) == 'b') {
        p->text.at++;
        *c = '\b';
        return true;
    }
    return escape(p, c);
}

static bool class_items(parser *p, code_ranges *r)
{
    while (p->text.at < p->text.end && *p->text.at != ']') {
        code_range one;
        bool many;
        if (!class_end(p, r, &one.lo, &many))
            return false;
        if (many)
            continue;
        one.hi = one.lo;
        if (peek(p) == '-' && p->text.at + 1 < p->text.end && p->text.at[1] != ']') {
            p->text.at++;
            if (!class_end(p, r, &one.hi, &many))
                return false;
            if (many || one.hi < one.lo)
                return fail(p, "this range of a class makes no sense") >= 0;
        }
        nx_vec_push(r, one);
    }
    return p->text.at < p->text.end || fail(p, "a class is not closed") >= 0;
}

static expr class(parser *p)
{
    code_ranges r = {0};
    p->text.at++;
    bool negated = peek(p) == '^';
    p->text.at += negated;
    expr e = class_items(p, &r) ? class_expr(p, &r, negated) : -1;
    p->text.at++;
    nx_vec_clear(&r);
    return e;
}

static expr alternatives(parser *p);

static expr group(parser *p)
{
    if (++p->depth > GRAMMAR_NESTING_MOST)
        return fail(p, "groups are nested too deeply");
    p->text.at++;
    if (peek(p) == '?') { /* (?:…) and (?<name>…) */
        p->text.at++;
        if (peek(p) == '<' && p->text.at + 1 < p->text.end && p->text.at[1] != '=' && p->text.at[1] != '!')
            while (p->text.at < p->text.end && *p->text.at != '>')
                p->text.at++;
        else if (peek(p) != ':')
            return fail(p, "look-around and the like cannot be enforced");
        p->text.at++;
    }
    expr e = alternatives(p);
    p->depth--;
    if (e < 0)
        return -1;
    if (peek(p) != ')')
        return fail(p, "a group is not closed");
    p->text.at++;
    return e;
}

static expr repeated(parser *p, expr e)
{
    grammar_times times;
    bool wrong;
    while (grammar_repetition(&p->text, false, &times, &wrong)) {
        if (peek(p) == '?') /* lazy or greedy: the texts are the same */
            p->text.at++;
        e = expr_repeat(p->set, e, times.min, times.max);
    }
    return wrong ? fail(p, "a repetition is {n}, {n,} or {n,m}") : e;
}

static expr atom(parser *p)
{
    uint32_t c;
    code_ranges r = {0};
    expr e = -1;
    switch (peek(p)) {
    case '(': return group(p);
    case '[': return class(p);
    case '*': case '+': case '?': case '{': return fail(p, "there is nothing to repeat");
    case '^': return fail(p, "^ can stand at the start alone");
    case '$': return fail(p, "$ can stand at the end alone");
    case '.':
        p->text.at++;
        push(&r, '\n', '\n');
        push(&r, '\r', '\r');
        e = class_expr(p, &r, true);
        break;
    case '\\':
        p->text.at++;
        if (shorthand(peek(p), &r)) {
            p->text.at++;
            e = class_expr(p, &r, false);
        } else if (escape(p, &c)) {
            e = one_character(p, c);
        }
        break;
    default:
        if (plain(p, &c))
            e = one_character(p, c);
    }
    nx_vec_clear(&r);
    return e;
}

static expr sequence(parser *p)
{
    expr_vec parts = {0};
    expr e;
    while (p->text.at < p->text.end && *p->text.at != '|' && *p->text.at != ')') {
        e = atom(p);
        e = e < 0 ? -1 : repeated(p, e);
        if (e < 0) {
            nx_vec_clear(&parts);
            return -1;
        }
        nx_vec_push(&parts, e);
    }
    e = expr_seq(p->set, parts.at, (int)parts.n);
    nx_vec_clear(&parts);
    return e;
}

static expr alternatives(parser *p)
{
    expr_vec parts = {0};
    expr e;
    for (;; p->text.at++) {
        if ((e = sequence(p)) < 0) {
            nx_vec_clear(&parts);
            return -1;
        }
        nx_vec_push(&parts, e);
        if (peek(p) != '|')
            break;
    }
    e = expr_alt(p->set, parts.at, (int)parts.n);
    nx_vec_clear(&parts);
    return e;
}

/* $ is the end, unless a backslash stands before it (and not another before that). */
static bool ends_open(const char *text, size_t n)
{
    size_t slashes = 0;
    if (n == 0 || text[n - 1] != '$')
        return true;
    while (slashes + 1 < n && text[n - 2 - slashes] == '\\')
        slashes++;
    return slashes % 2 == 1;
}

expr grammar_regex_expr(expr_set *s, const char *pattern, size_t n, bool json, bool whole)
{
    bool from = n > 0 && pattern[0] == '^', to = !ends_open(pattern, n);
    parser p = {.text = {pattern, pattern + from, pattern + n - to}, .set = s, .json = json};
    expr e = alternatives(&p);
    if (e >= 0 && p.text.at < p.text.end)
        e = fail(&p, "there is a ) too many");
    if (e < 0 || whole)
        return e;
    code_ranges none = {0};
    expr any = expr_repeat(s, class_expr(&p, &none, true), 0, -1);
    nx_vec_clear(&none);
    if (!from)
        e = EXPR_SEQ(s, any, e);
    return to ? e : EXPR_SEQ(s, e, any);
}

grammar *grammar_from_regex(const char *pattern, size_t length)
{
    expr_set s = {0};
    expr e = grammar_regex_expr(&s, pattern, length, false, true);
    if (e < 0) {
        expr_set_clear(&s);
        return NULL;
    }
    return grammar_compile(&s, e);
}
