/*
 * From Oniguruma's syntax to PCRE2's. Most of it is the same; what differs, and what we write
 * instead:
 *
 *   \s \S      White_Space; PCRE2's \s has U+180E too          explicit ranges
 *   \w \W      letters, marks, digits, connectors              \p{…} lists (PCRE2: no marks)
 *   [:punct:]  symbols too; the others are like \p{…}          \p{…} lists
 *   \b \B      between \w and \W, as above                      lookarounds
 *   \h         a hexadecimal digit                             [0-9A-Fa-f]
 *   \p{Han}    the script; PCRE2 also its extensions           \p{sc:Han}
 *   \p{^L}     is the same in both
 *   [a[bc]]    a class inside a class: union                   the inner brackets are dropped
 *   [a&&[^b]]  intersection                                    (?:(?![b])[a])
 *   a{1,3}+    repeats a{1,3}; in PCRE2 it is possessive       a{1,}
 *
 * Refused, by name: what is left (a nested negated class without &&, \K, \g, \k, …).
 */
#include <ctype.h>
#include <string.h>

#include "base/error.h"
#include "runtime/text/regex.h"

static const char SPACE[] = "\\x09-\\x0d\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}"
                            "\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";
static const char NOT_SPACE[] =
    "\\x00-\\x08\\x0e-\\x1f\\x21-\\x84\\x86-\\x9f\\xa1-\\x{167f}\\x{1681}-\\x{1fff}"
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}"
    "\\x{3001}-\\x{10ffff}";
/* Letters in circles and squares are alphabetic although their category is So; of the numbers that
 * are no digits, Latin-1's alone are in \w. */
#define NAMED_WORD                                                                                 \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}"                                         \
    "\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"
static const char WORD[] = NAMED_WORD "\\xb2\\xb3\\xb9\\xbc-\\xbe";

typedef struct {
    nx_slice in;
    size_t at;
    nx_str *out;
} trans;

static bool refuse(const trans *t, const char *what)
{
    return nx_fail("[tokenizer] the pattern \"%.*s\" uses %s (at byte %zu), which is not supported",
                   (int)(t->in.len < 300 ? t->in.len : 300), t->in.data, what, t->at);
}

static int peek(const trans *t, size_t ahead)
{
    return t->at + ahead < t->in.len ? (unsigned char)t->in.data[t->at + ahead] : -1;
}

static void copy(trans *t, size_t n)
{
    nx_str_add(t->out, t->in.data + t->at, n);
    t->at += n;
}

/* Long names of categories and properties, as PCRE2 calls them. */
static const char *short_category(const char *name, size_t n)
{
    static const struct {
        const char *name, *as;
    } table[] = {
        {"letter", "L"},
        {"mark", "M"},
        {"number", "N"},
        {"punctuation", "P"},
        {"symbol", "S"},
        {"separator", "Z"},
        {"other", "C"},
        {"uppercase_letter", "Lu"},
        {"lowercase_letter", "Ll"},
        {"titlecase_letter", "Lt"},
        {"modifier_letter", "Lm"},
        {"other_letter", "Lo"},
        {"decimal_number", "Nd"},
        {"letter_number", "Nl"},
        {"other_number", "No"},
        {"nonspacing_mark", "Mn"},
        {"spacing_mark", "Mc"},
        {"enclosing_mark", "Me"},
        {"digit", "Nd"},
        {"upper", "Uppercase"},
        {"lower", "Lowercase"},
        {"alpha", "Alphabetic"},
        {"alphabetic", "Alphabetic"},
        {"space", "White_Space"},
        {"punct", "P"},
        {"any", "Any"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strlen(table[i].name) == n && strncasecmp(table[i].name, name, n) == 0)
            return table[i].as;
    return NULL;
}

/* At "\p" or "\P". */
static bool property(trans *t)
{
    if (peek(t, 2) != '{')
        return refuse(t, "\\p without braces");
    size_t from = t->at + 3;
    const char *close = memchr(t->in.data + from, '}', t->in.len - from);
    if (!close)
        return refuse(t, "\\p{ without }");
    const char *name = t->in.data + from;
    size_t n = (size_t)(close - name);
    nx_str_add(t->out, t->in.data + t->at, 3);
    if (n && *name == '^') {
        nx_str_putc(t->out, '^');
        name++;
        n--;
    }
    const char *as = short_category(name, n);
    if (!as && n > 2) /* not a category: a script */
        nx_str_puts(t->out, "sc:");
    if (as)
        nx_str_puts(t->out, as);
    else
        nx_str_add(t->out, name, n);
    nx_str_putc(t->out, '}');
    t->at = (size_t)(close - t->in.data) + 1;
    return true;
}

static void put_set(trans *t, bool in_class, bool negated, const char *set)
{
    if (in_class)
        nx_str_puts(t->out, set);
    else
        nx_str_printf(t->out, "[%s%s]", negated ? "^" : "", set);
    t->at += 2;
}

/* At a backslash. */
static bool escape(trans *t, bool in_class)
{
    int c = peek(t, 1);
    switch (c) {
    case -1:
        return refuse(t, "a backslash at its end");
    case 'p':
    case 'P':
        return property(t);
    case 's':
        return put_set(t, in_class, false, SPACE), true;
    case 'S':
        return put_set(t, in_class, true, in_class ? NOT_SPACE : SPACE), true;
    case 'w':
        return put_set(t, in_class, false, WORD), true;
    case 'W':
        if (in_class)
            return refuse(t, "\\W inside a class");
        return put_set(t, false, true, WORD), true;
    case 'h':
        return put_set(t, in_class, false, "0-9A-Fa-f"), true;
    case 'u': /* \uHHHH */
        for (size_t i = 2; i < 6; i++)
            if (peek(t, i) < 0 || !isxdigit(peek(t, i)))
                return refuse(t, "\\u without four hexadecimal digits");
        nx_str_printf(t->out, "\\x{%.4s}", t->in.data + t->at + 2);
        t->at += 6;
        return true;
    case 'b':
        if (in_class)
            break; /* a backspace */
        nx_str_printf(t->out, "(?:(?<=[%s])(?![%s])|(?<![%s])(?=[%s]))", WORD, WORD, WORD, WORD);
        t->at += 2;
        return true;
    case 'B':
        nx_str_printf(t->out, "(?:(?<=[%s])(?=[%s])|(?<![%s])(?![%s]))", WORD, WORD, WORD, WORD);
        t->at += 2;
        return true;
    case 'G':
    case 'K':
    case 'g':
    case 'k':
    case 'H':
    case 'R':
    case 'Q':
    case 'E':
    case 'C':
    case 'N':
    case 'O':
    case 'y':
    case 'Y':
        return refuse(t, (char[]){'\\', (char)c, 0});
    default:
        break;
    }
    copy(t, 2);
    return true;
}

/* At "[:" inside a class. */
static bool named_class(trans *t)
{
    static const struct {
        const char *name, *as;
    } table[] = {
        {"[:alpha:]", "\\p{Alphabetic}"},
        {"[:alnum:]", "\\p{Alphabetic}\\p{Nd}"},
        {"[:digit:]", "\\p{Nd}"},
        {"[:upper:]", "\\p{Uppercase}"},
        {"[:lower:]", "\\p{Lowercase}"},
        {"[:punct:]", "\\p{P}\\p{S}"},
        {"[:space:]", SPACE},
        {"[:word:]", NAMED_WORD},
        {"[:xdigit:]", "0-9A-Fa-f"},
        {"[:blank:]", "\\t\\p{Zs}"},
    };
    nx_slice rest = {t->in.data + t->at, t->in.len - t->at};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        size_t n = strlen(table[i].name);
        if (rest.len >= n && memcmp(rest.data, table[i].name, n) == 0) {
            nx_str_puts(t->out, table[i].as);
            t->at += n;
            return true;
        }
    }
    return refuse(t, "a class by a name that is not known");
}

static bool class_items(trans *t);

/* At "[": a whole class, with its brackets. */
static bool char_class(trans *t)
{
    size_t start = t->out->len;
    copy(t, 1);
    bool negated = peek(t, 0) == '^';
    if (negated)
        copy(t, 1);
    if (peek(t, 0) == ']') { /* first: a member */
        nx_str_puts(t->out, "\\]");
        t->at++;
    }
    if (!class_items(t))
        return false;
    if (peek(t, 0) == ']') {
        copy(t, 1);
        return true;
    }
    if (negated)
        return refuse(t, "&& in a negated class");
    /* "[left&&right]": a character of left before which right matches */
    nx_str left = {0};
    nx_str_add(&left, t->out->data + start, t->out->len - start);
    nx_str_truncate(t->out, start);
    t->at += 2;
    nx_str_puts(t->out, "(?:(?=");
    bool ok = peek(t, 0) == '[' || refuse(t, "&& without a class behind it");
    ok = ok && char_class(t);
    ok = ok && (peek(t, 0) == ']' || refuse(t, "more than one class behind &&"));
    if (ok) {
        t->at++;
        nx_str_printf(t->out, ")%s])", nx_str_cstr(&left));
    }
    nx_str_clear(&left);
    return ok;
}

/* Members up to "]" or "&&", which are left to the caller. */
static bool class_items(trans *t)
{
    while (peek(t, 0) != ']' && !(peek(t, 0) == '&' && peek(t, 1) == '&')) {
        int c = peek(t, 0);
        if (c < 0)
            return refuse(t, "[ without ]");
        if (c == '\\') {
            if (!escape(t, true))
                return false;
        } else if (c == '[' && peek(t, 1) == ':') {
            if (!named_class(t))
                return false;
        } else if (c == '[') {
            if (peek(t, 1) == '^')
                return refuse(t, "a negated class inside a class");
            t->at++;
            if (!class_items(t))
                return false;
            if (peek(t, 0) != ']')
                return refuse(t, "&& inside a nested class");
            t->at++;
        } else {
            copy(t, 1);
        }
    }
    return true;
}

/* Behind "{m,n}": "+" repeats the whole in Oniguruma. Begins at the "{". */
static bool interval(trans *t)
{
    const char *close = memchr(t->in.data + t->at, '}', t->in.len - t->at);
    if (!close || !isdigit(peek(t, 1)))
        return copy(t, 1), true;
    size_t n = (size_t)(close - (t->in.data + t->at)) + 1;
    if (peek(t, n) != '+')
        return copy(t, n), true;
    if (!(peek(t, 1) == '1' || peek(t, 1) == '0') || (peek(t, 2) != ',' && peek(t, 2) != '}'))
        return refuse(t, "a repeated interval");
    nx_str_printf(t->out, "{%c,}", peek(t, 1));
    t->at += n + 1;
    return true;
}

/* At "(": what is refused is what one of the two engines does not know, or "(?m", which lets "."
 * match a newline in one and "^" in the other. */
static bool group(trans *t)
{
    if (peek(t, 1) == '*')
        return refuse(t, "(*");
    if (peek(t, 1) != '?')
        return copy(t, 1), true;
    if (strchr("~(RP|C&0123456789+", peek(t, 2) < 0 ? '~' : peek(t, 2)))
        return refuse(t, "a group of a kind that is not known");
    for (size_t i = 2; peek(t, i) >= 0 && (isalpha(peek(t, i)) || peek(t, i) == '-'); i++)
        if (!strchr("ix-", peek(t, i)))
            return refuse(t, "a group with flags other than i and x");
    return copy(t, 2), true;
}

bool rx_translate(nx_str *out, nx_slice pattern)
{
    trans t = {pattern, 0, out};
    while (t.at < pattern.len) {
        int c = peek(&t, 0);
        bool ok = true;
        if (c == '\\')
            ok = escape(&t, false);
        else if (c == '[')
            ok = char_class(&t);
        else if (c == '{')
            ok = interval(&t);
        else if (c == '(')
            ok = group(&t);
        else
            copy(&t, 1);
        if (!ok)
            return false;
    }
    return true;
}
