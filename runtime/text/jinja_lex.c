/*
 * jinja_lex.c: tokens by hand-written scanning; the only place that knows Jinja's white space
 * rules.
 */
#include "runtime/text/jinja_lex.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "base/utf8.h"
#include "runtime/text/jinja_rt.h"

typedef struct {
    nx_arena *arena;
    const char *s;
    size_t len, pos;
    int line;
    bool line_starting; /* did the last piece end with a line break? */
    jinja_tokens *out;
} lexer;

static bool fail_at(const lexer *x, const char *what)
{
    return nx_fail("[template] line %d: %s", x->line, what);
}

static bool at(const lexer *x, size_t pos, const char *text)
{
    size_t n = strlen(text);
    return pos <= x->len && x->len - pos >= n && memcmp(x->s + pos, text, n) == 0;
}

static void push(lexer *x, jinja_token t)
{
    t.line = x->line;
    nx_vec_push(x->out, t);
}

/* Moves on to `pos`, counting lines. */
static void advance(lexer *x, size_t pos)
{
    for (size_t i = x->pos; i < pos; i++)
        x->line += x->s[i] == '\n';
    if (pos > x->pos)
        x->line_starting = x->s[pos - 1] == '\n';
    x->pos = pos;
}

/* The first position at or after `pos` that is no white space. */
static size_t skip_space(const lexer *x, size_t pos)
{
    uint32_t cp;
    size_t n;
    while ((n = jinja_utf8_next(x->s + pos, x->len - pos, &cp)) && jinja_is_space(cp))
        pos += n;
    return pos;
}

/* The end of x->s[from, to) without the white space that ends it. */
static size_t strip_end(const lexer *x, size_t from, size_t to)
{
    while (to > from) {
        size_t start = to - 1;
        while (start > from && ((unsigned char)x->s[start] & 0xC0) == 0x80)
            start--;
        uint32_t cp;
        jinja_utf8_next(x->s + start, to - start, &cp);
        if (!jinja_is_space(cp))
            break;
        to = start;
    }
    return to;
}

/* What the tag at `to` leaves of the text before it: '-' strips all white space; without a sign, a
 * tag that is first on its line takes its indentation away. */
static size_t text_end(const lexer *x, size_t from, size_t to, char sign, bool variable)
{
    if (sign == '-')
        return strip_end(x, from, to);
    if (sign == '+' || variable)
        return to;
    size_t line = to;
    while (line > from && x->s[line - 1] != '\n')
        line--;
    if (line == from && !x->line_starting)
        return to;
    return strip_end(x, line, to) == line ? line : to;
}

static void push_data(lexer *x, size_t from, size_t to)
{
    if (to > from)
        push(x, (jinja_token){.type = JT_DATA, .s = x->s + from, .len = to - from});
}

/* The length of a closing tag at `pos` ("%}", "-%}" with the white space behind it, "+%}"), and
 * one line break after a bare one where `trim`; 0 if none is there. */
static size_t closing(const lexer *x, size_t pos, const char *tag, bool plus, bool trim)
{
    if (at(x, pos, tag))
        return 2 + (trim && at(x, pos + 2, "\n"));
    if (plus && at(x, pos, "+") && at(x, pos + 1, tag))
        return 3;
    if (at(x, pos, "-") && at(x, pos + 1, tag))
        return skip_space(x, pos + 3) - pos;
    return 0;
}

/* After "{%" and its sign: "raw %}"? Returns the length up to the end of the tag, or 0. */
static size_t word_tag(const lexer *x, size_t pos, const char *word, bool opening)
{
    size_t p = skip_space(x, pos);
    if (!at(x, p, word))
        return 0;
    p = skip_space(x, p + strlen(word));
    size_t n = closing(x, p, "%}", !opening, !opening);
    return n ? p + n - pos : 0;
}

static size_t sign_at(const lexer *x, size_t pos, char *sign)
{
    *sign = pos < x->len && (x->s[pos] == '-' || x->s[pos] == '+') ? x->s[pos] : 0;
    return *sign ? 1 : 0;
}

static bool lex_raw(lexer *x)
{
    for (size_t p = x->pos; p + 1 < x->len; p++) {
        if (!at(x, p, "{%"))
            continue;
        char sign;
        size_t after = p + 2 + sign_at(x, p + 2, &sign);
        size_t n = word_tag(x, after, "endraw", false);
        if (!n)
            continue;
        push_data(x, x->pos, text_end(x, x->pos, p, sign, false));
        advance(x, after + n);
        return true;
    }
    return fail_at(x, "{% raw %} has no {% endraw %}");
}

static bool lex_comment(lexer *x)
{
    for (size_t p = x->pos; p < x->len; p++) {
        size_t n = closing(x, p, "#}", true, true);
        if (n) {
            advance(x, p + n);
            return true;
        }
    }
    return fail_at(x, "a comment {# has no #}");
}

/* --- inside tags --- */

static bool digit_in(char c, int base)
{
    if (base == 16)
        return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'f');
    return c >= '0' && c < '0' + base;
}

/* Digits with single underscores between them; `lead`: one may also stand in front. */
static size_t digits(const lexer *x, size_t pos, int base, bool lead)
{
    size_t p = pos;
    while (p < x->len) {
        size_t u = p;
        if (x->s[u] == '_' && (p > pos || lead))
            u++;
        if (u >= x->len || !digit_in(x->s[u], base))
            break;
        p = u + 1;
    }
    return p - pos;
}

static size_t float_length(const lexer *x)
{
    if (x->pos > 0 && x->s[x->pos - 1] == '.')
        return 0;
    size_t p = x->pos + digits(x, x->pos, 10, false), whole = p;
    if (p == x->pos)
        return 0;
    if (at(x, p, ".")) {
        size_t n = digits(x, p + 1, 10, false);
        p += n ? n + 1 : 0;
    }
    if (at(x, p, "e") || at(x, p, "E")) {
        size_t q = p + 1;
        q += at(x, q, "+") || at(x, q, "-");
        size_t n = digits(x, q, 10, false);
        p = n ? q + n : p;
    }
    return p > whole ? p - x->pos : 0;
}

static size_t integer_length(const lexer *x, int *base, size_t *skip)
{
    static const struct {
        char mark;
        int base;
    } bases[] = {{'b', 2}, {'o', 8}, {'x', 16}};
    *base = 10;
    *skip = 0;
    char c = x->s[x->pos];
    if (c == '0' && x->pos + 1 < x->len)
        for (int i = 0; i < 3; i++)
            if ((x->s[x->pos + 1] | 32) == bases[i].mark) {
                size_t n = digits(x, x->pos + 2, bases[i].base, true);
                if (n) {
                    *base = bases[i].base;
                    *skip = 2;
                    return n + 2;
                }
            }
    if (c != '0')
        return digits(x, x->pos, 10, false);
    size_t p = x->pos + 1; /* 0, 00, 0_0: never 07 */
    while (p < x->len && (x->s[p] == '0' || (x->s[p] == '_' && at(x, p + 1, "0"))))
        p++;
    return p - x->pos;
}

/* The digits of a number without their underscores, as a C string. */
static char *number_text(lexer *x, size_t from, size_t n)
{
    char *text = nx_arena_alloc(x->arena, n + 1);
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (x->s[from + i] != '_')
            text[k++] = x->s[from + i];
    text[k] = '\0';
    return text;
}

static bool lex_integer(lexer *x)
{
    int base;
    size_t skip, n = integer_length(x, &base, &skip);
    const char *text = number_text(x, x->pos + skip, n - skip);
    int64_t v = 0;
    for (const char *p = text; *p; p++) {
        int d = *p <= '9' ? *p - '0' : (*p | 32) - 'a' + 10;
        if (__builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, d, &v))
            return fail_at(x, "an integer does not fit 64 bits");
    }
    push(x, (jinja_token){.type = JT_INT, .i = v});
    advance(x, x->pos + n);
    return true;
}

static void lex_float(lexer *x, size_t n)
{
    push(x, (jinja_token){.type = JT_FLOAT, .f = strtod(number_text(x, x->pos, n), NULL)});
    advance(x, x->pos + n);
}

static size_t name_length(const lexer *x)
{
    size_t p = x->pos, n;
    uint32_t cp;
    while ((n = jinja_utf8_next(x->s + p, x->len - p, &cp)) && jinja_is_word(cp))
        p += n;
    return p - x->pos;
}

/* Up to `max` digits of an escape; -1 if there are fewer than `min`. */
static int64_t escape_digits(const char *s, size_t len, int base, size_t min, size_t max, size_t *n)
{
    int64_t v = 0;
    for (*n = 0; *n < max && *n < len && digit_in(s[*n], base); (*n)++)
        v = v * base + (s[*n] <= '9' ? s[*n] - '0' : (s[*n] | 32) - 'a' + 10);
    return *n < min ? -1 : v;
}

/* One escape behind its backslash, as Python reads it; returns its length, 0 for a bad one. */
static size_t unescape(const char *s, size_t len, nx_str *out)
{
    static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
    if (*s == '\n')
        return 1;
    const char *simple = memchr(from, *s, sizeof from - 1);
    if (simple) {
        nx_str_putc(out, to[simple - from]);
        return 1;
    }
    size_t n, fixed = *s == 'x' ? 2 : *s == 'u' ? 4 : *s == 'U' ? 8 : 0;
    if (*s == 'N')
        return 0;
    if (fixed || (*s >= '0' && *s <= '7')) {
        int64_t v = fixed ? escape_digits(s + 1, len - 1, 16, fixed, fixed, &n)
                          : escape_digits(s, len, 8, 1, 3, &n);
        if (v < 0 || v > 0x10FFFF || (v >= 0xD800 && v < 0xE000))
            return 0;
        nx_str_put_utf8(out, (unsigned)v);
        return n + (fixed ? 1 : 0);
    }
    nx_str_putc(out, '\\'); /* an unknown escape stays as it is */
    return nx_str_putc(out, *s), 1;
}

static bool lex_string(lexer *x)
{
    char quote = x->s[x->pos];
    nx_str text = {0};
    size_t p = x->pos + 1;
    while (p < x->len && x->s[p] != quote) {
        if (x->s[p] != '\\') {
            nx_str_putc(&text, x->s[p++]);
            continue;
        }
        size_t n = p + 1 < x->len ? unescape(x->s + p + 1, x->len - p - 1, &text) : 0;
        if (!n) {
            nx_str_clear(&text);
            return fail_at(x, "a string holds an escape that is none");
        }
        p += n + 1;
    }
    if (p >= x->len) {
        nx_str_clear(&text);
        return fail_at(x, "a string has no end");
    }
    const char *copy = nx_arena_strndup(x->arena, nx_str_cstr(&text), text.len);
    push(x, (jinja_token){.type = JT_STRING, .s = copy, .len = text.len});
    nx_str_clear(&text);
    advance(x, p + 1);
    return true;
}

static const struct {
    char text[3];
    jinja_op op;
} signs[] = {
    /* longer ones first */
    {"//", JINJA_FLOORDIV}, {"**", JINJA_POW},     {"==", JINJA_EQ},    {"!=", JINJA_NE},
    {">=", JINJA_GE},       {"<=", JINJA_LE},      {"+", JINJA_ADD},    {"-", JINJA_SUB},
    {"/", JINJA_DIV},       {"*", JINJA_MUL},      {"%", JINJA_MOD},    {"~", JINJA_TILDE},
    {"[", JINJA_LBRACKET},  {"]", JINJA_RBRACKET}, {"(", JINJA_LPAREN}, {")", JINJA_RPAREN},
    {"{", JINJA_LBRACE},    {"}", JINJA_RBRACE},   {">", JINJA_GT},     {"<", JINJA_LT},
    {"=", JINJA_ASSIGN},    {".", JINJA_DOT},      {":", JINJA_COLON},  {"|", JINJA_PIPE},
    {",", JINJA_COMMA},     {";", JINJA_SEMICOLON}};

/* Keeps the stack of open brackets; a tag ends only outside of them. */
static bool balance(lexer *x, jinja_op op, nx_str *open)
{
    static const char closer[] = {
        [JINJA_LBRACKET] = ']', [JINJA_RBRACKET] = ']', [JINJA_LPAREN] = ')',
        [JINJA_RPAREN] = ')',   [JINJA_LBRACE] = '}',   [JINJA_RBRACE] = '}',
    };
    if (op == JINJA_LBRACKET || op == JINJA_LPAREN || op == JINJA_LBRACE) {
        nx_str_putc(open, closer[op]);
    } else if (op == JINJA_RBRACKET || op == JINJA_RPAREN || op == JINJA_RBRACE) {
        if (!open->len || open->data[open->len - 1] != closer[op])
            return nx_fail("[template] line %d: unexpected '%c'", x->line, closer[op]);
        nx_str_truncate(open, open->len - 1);
    }
    return true;
}

static bool lex_sign(lexer *x, nx_str *open)
{
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (at(x, x->pos, signs[i].text)) {
            if (!balance(x, signs[i].op, open))
                return false;
            push(x, (jinja_token){.type = JT_OP, .op = signs[i].op});
            advance(x, x->pos + strlen(signs[i].text));
            return true;
        }
    uint32_t cp;
    size_t n = jinja_utf8_next(x->s + x->pos, x->len - x->pos, &cp);
    return nx_fail("[template] line %d: unexpected character '%.*s'", x->line, (int)n,
                   x->s + x->pos);
}

static bool lex_inside(lexer *x, nx_str *open)
{
    size_t n;
    char c = x->s[x->pos];
    if ((n = float_length(x))) {
        lex_float(x, n);
        return true;
    }
    if (c >= '0' && c <= '9')
        return lex_integer(x);
    if ((n = name_length(x))) {
        push(x, (jinja_token){.type = JT_NAME, .s = x->s + x->pos, .len = n});
        advance(x, x->pos + n);
        return true;
    }
    if (c == '\'' || c == '"')
        return lex_string(x);
    return lex_sign(x, open);
}

static bool lex_tag(lexer *x, bool variable)
{
    nx_str open = {0};
    bool ok = true;
    push(x, (jinja_token){.type = variable ? JT_VAR_BEGIN : JT_BLOCK_BEGIN});
    while (ok && x->pos < x->len) {
        size_t n = open.len ? 0 : closing(x, x->pos, variable ? "}}" : "%}", !variable, !variable);
        if (n) {
            push(x, (jinja_token){.type = variable ? JT_VAR_END : JT_BLOCK_END});
            advance(x, x->pos + n);
            break;
        }
        size_t p = skip_space(x, x->pos);
        if (p > x->pos)
            advance(x, p);
        else
            ok = lex_inside(x, &open);
    }
    nx_str_clear(&open);
    return ok;
}

static bool lex_text(lexer *x)
{
    size_t p = x->pos;
    while (p < x->len && !at(x, p, "{%") && !at(x, p, "{{") && !at(x, p, "{#"))
        p++;
    if (p >= x->len) {
        push_data(x, x->pos, x->len);
        advance(x, x->len);
        return true;
    }
    char kind = x->s[p + 1], sign;
    size_t after = p + 2 + sign_at(x, p + 2, &sign);
    push_data(x, x->pos, text_end(x, x->pos, p, sign, kind == '{'));
    size_t raw = kind == '%' ? word_tag(x, after, "raw", true) : 0;
    advance(x, after + raw);
    if (raw)
        return lex_raw(x);
    return kind == '#' ? lex_comment(x) : lex_tag(x, kind == '{');
}

/* Line breaks of any kind become \n; one at the very end is dropped. */
static void take_source(lexer *x, const char *source, size_t len)
{
    char *copy = nx_arena_alloc(x->arena, len + 1);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        copy[n++] = source[i] == '\r' ? '\n' : source[i];
        if (source[i] == '\r' && i + 1 < len && source[i + 1] == '\n')
            i++;
    }
    if (n && copy[n - 1] == '\n')
        n--;
    copy[n] = '\0';
    x->s = copy;
    x->len = n;
}

bool jinja_lex(nx_arena *arena, const char *source, size_t len, jinja_tokens *out)
{
    lexer x = {.arena = arena, .line = 1, .line_starting = true, .out = out};
    if (!nx_utf8_valid(source, len))
        return nx_fail("[template] the template is not valid UTF-8");
    take_source(&x, source, len);
    while (x.pos < x.len)
        if (!lex_text(&x))
            return false;
    push(&x, (jinja_token){.type = JT_EOF});
    return true;
}
