/*
 * jinja_chars.c: characters: UTF-8, and what Python's str methods ask of Unicode.
 */
#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"
#include "runtime/text/jinja_rt.h"

size_t jinja_utf8_next(const char *s, size_t len, uint32_t *cp)
{
    if (!len)
        return 0;
    if ((unsigned char)*s < 0x80) {
        *cp = (unsigned char)*s;
        return 1;
    }
    int n = nx_utf8_decode(s, len, cp);
    return (size_t)(n < 0 ? -n : n);
}

size_t jinja_utf8_count(const char *s, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += ((unsigned char)s[i] & 0xC0) != 0x80;
    return n;
}

size_t jinja_offset(const jinja_str *s, size_t index)
{
    if (s->n == s->len)
        return index < s->len ? index : s->len;
    size_t pos = 0;
    for (; pos < s->len; pos++) {
        bool start = ((unsigned char)s->s[pos] & 0xC0) != 0x80;
        if (start && index-- == 0)
            break;
    }
    return pos;
}

bool jinja_is_space(uint32_t cp)
{
    if (cp < 0x80)
        return (cp >= 9 && cp <= 13) || (cp >= 28 && cp <= 32);
    return cp == 0x85 || cp == 0xA0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) ||
           cp == 0x2028 || cp == 0x2029 || cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

bool jinja_is_line_break(uint32_t cp)
{
    return (cp >= 10 && cp <= 13) || (cp >= 28 && cp <= 30) || cp == 0x85 || cp == 0x2028 ||
           cp == 0x2029;
}

static utf8proc_category_t category(uint32_t cp)
{
    return utf8proc_category((utf8proc_int32_t)cp);
}

bool jinja_is_printable(uint32_t cp)
{
    if (cp < 0x7F)
        return cp >= 32;
    switch (category(cp)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
        return false;
    default:
        return true;
    }
}

bool jinja_is_alpha(uint32_t cp)
{
    if (cp < 0x80)
        return (cp | 32) >= 'a' && (cp | 32) <= 'z';
    utf8proc_category_t c = category(cp);
    return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

bool jinja_is_digit(uint32_t cp)
{
    if (cp < 0x80)
        return cp >= '0' && cp <= '9';
    return category(cp) == UTF8PROC_CATEGORY_ND;
}

bool jinja_is_numeric(uint32_t cp)
{
    if (cp < 0x80)
        return cp >= '0' && cp <= '9';
    utf8proc_category_t c = category(cp);
    return c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO;
}

bool jinja_is_word(uint32_t cp)
{
    return cp == '_' || jinja_is_alpha(cp) || jinja_is_numeric(cp);
}

bool jinja_is_upper(uint32_t cp)
{
    return cp < 0x80 ? cp >= 'A' && cp <= 'Z' : utf8proc_isupper((utf8proc_int32_t)cp);
}

bool jinja_is_lower(uint32_t cp)
{
    return cp < 0x80 ? cp >= 'a' && cp <= 'z' : utf8proc_islower((utf8proc_int32_t)cp);
}

/* --- case --- */

/* Letters whose upper (title) case is several: code point, upper, title where it differs. */
static const struct {
    uint16_t cp;
    const char *upper, *title;
} long_cases[] = {
#include "runtime/text/jinja_case_data.h"
};

static bool put_long(jinja_sb *b, uint32_t cp, bool title)
{
    if (cp < 0xDF)
        return false;
    for (size_t i = 0; i < sizeof long_cases / sizeof *long_cases; i++)
        if (long_cases[i].cp == cp) {
            jinja_sb_puts(b, title ? long_cases[i].title : long_cases[i].upper);
            return true;
        }
    return false;
}

static void put_upper(jinja_sb *b, uint32_t cp)
{
    if (cp < 0x80)
        jinja_sb_putc(b, (char)(jinja_is_lower(cp) ? cp - 32 : cp));
    else if (!put_long(b, cp, false))
        jinja_sb_cp(b, (uint32_t)utf8proc_toupper((utf8proc_int32_t)cp));
}

static void put_title(jinja_sb *b, uint32_t cp)
{
    if (cp < 0x80)
        put_upper(b, cp);
    else if (!put_long(b, cp, true))
        jinja_sb_cp(b, (uint32_t)utf8proc_totitle((utf8proc_int32_t)cp));
}

static bool cased(uint32_t cp)
{
    return jinja_is_upper(cp) || jinja_is_lower(cp) || category(cp) == UTF8PROC_CATEGORY_LT;
}

static bool case_ignorable(uint32_t cp)
{
    utf8proc_category_t c = category(cp);
    return c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_ME || c == UTF8PROC_CATEGORY_CF ||
           c == UTF8PROC_CATEGORY_LM || c == UTF8PROC_CATEGORY_SK || cp == '\'' || cp == '.' ||
           cp == ':' || cp == 0xB7 || cp == 0x2018 || cp == 0x2019;
}

/* A sigma at the end of a word: a letter before it and none behind. */
static bool final_sigma(const jinja_str *s, size_t from, size_t to)
{
    uint32_t cp = 0;
    bool before = false;
    for (size_t i = 0; i < from;) {
        i += jinja_utf8_next(s->s + i, s->len - i, &cp);
        if (!case_ignorable(cp))
            before = cased(cp);
    }
    for (size_t i = to; before && i < s->len;) {
        i += jinja_utf8_next(s->s + i, s->len - i, &cp);
        if (!case_ignorable(cp))
            return !cased(cp);
    }
    return before;
}

static void put_lower(jinja_sb *b, const jinja_str *s, size_t at, size_t n, uint32_t cp)
{
    if (cp < 0x80)
        jinja_sb_putc(b, (char)(jinja_is_upper(cp) ? cp + 32 : cp));
    else if (cp == 0x130)
        jinja_sb_puts(b, "i\xCC\x87");
    else if (cp == 0x3A3 && jinja_charge_bytes(b->rt, s->len))
        jinja_sb_cp(b, final_sigma(s, at, at + n) ? 0x3C2 : 0x3C3);
    else
        jinja_sb_cp(b, (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp));
}

void jinja_put_case(jinja_sb *b, const jinja_str *s, jinja_case how)
{
    bool in_word = false;
    uint32_t cp;
    for (size_t i = 0, n; (n = jinja_utf8_next(s->s + i, s->len - i, &cp)); i += n) {
        bool first = how == JINJA_CAPITALIZE ? i == 0 : !in_word;
        if (how == JINJA_UPPER || (how == JINJA_SWAP && jinja_is_lower(cp)))
            put_upper(b, cp);
        else if (how == JINJA_LOWER || (how == JINJA_SWAP && jinja_is_upper(cp)))
            put_lower(b, s, i, n, cp);
        else if (how == JINJA_SWAP)
            jinja_sb_cp(b, cp);
        else if (first)
            put_title(b, cp);
        else
            put_lower(b, s, i, n, cp);
        in_word = how == JINJA_TITLE && cased(cp);
    }
}
