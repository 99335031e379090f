#include "base/json_stream.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/utf8.h"

/* What the grammar allows next. */
enum {
    EXPECT_VALUE,          /* a value */
    EXPECT_VALUE_OR_CLOSE, /* just after '[' */
    EXPECT_KEY_OR_CLOSE,   /* just after '{' */
    EXPECT_COMMA_OR_CLOSE, /* after a value inside an object or array */
    EXPECT_NOTHING,        /* after the one value */
    EXPECT_FAILED,
};

void nx_json_stream_init(nx_json_stream *s, const char *data, size_t size, const char *name)
{
    memset(s, 0, sizeof *s);
    s->token = NX_JSON_NULL;
    s->name = name;
    s->begin = s->at = data;
    s->end = data + size;
    s->expect = EXPECT_VALUE;
}

void nx_json_stream_clear(nx_json_stream *s)
{
    nx_str_clear(&s->scratch);
}

bool nx_json_stream_fail(nx_json_stream *s, const char *what)
{
    size_t line = 1, column = 1;
    for (const char *p = s->begin; p < s->at; p++) {
        column = *p == '\n' ? 1 : column + 1;
        line += *p == '\n';
    }
    s->token = NX_JSON_ERROR;
    s->text = (nx_slice){NULL, 0};
    s->expect = EXPECT_FAILED;
    return nx_fail("[json] %s: line %zu, column %zu: %s", s->name, line, column, what);
}

/* ---- strings ---- */

static int hex4(const char *p, const char *end)
{
    int v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int c = (unsigned char)p[i], d = c | 0x20;
        if (c >= '0' && c <= '9')
            v = v * 16 + c - '0';
        else if (d >= 'a' && d <= 'f')
            v = v * 16 + d - 'a' + 10;
        else
            return -1;
    }
    return v;
}

/* After "\u": one code point, of one or two escapes. */
static bool read_unicode(nx_json_stream *s)
{
    int hi = hex4(s->at, s->end);
    if (hi < 0)
        return nx_json_stream_fail(s, "\\u needs four hexadecimal digits");
    if ((hi & 0xFC00) == 0xDC00)
        return nx_json_stream_fail(s, "the second half of a surrogate pair stands alone");
    s->at += 4;
    unsigned cp = (unsigned)hi;
    if ((hi & 0xFC00) == 0xD800) {
        int lo = s->end - s->at >= 6 && s->at[0] == '\\' && s->at[1] == 'u'
                     ? hex4(s->at + 2, s->end)
                     : -1;
        if (lo < 0 || (lo & 0xFC00) != 0xDC00)
            return nx_json_stream_fail(s, "the first half of a surrogate pair stands alone");
        s->at += 6;
        cp = 0x10000 + ((unsigned)(hi & 0x3FF) << 10 | (unsigned)(lo & 0x3FF));
    }
    nx_str_put_utf8(&s->scratch, cp);
    return true;
}

static bool read_escape(nx_json_stream *s)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    s->at++; /* the backslash */
    if (s->at == s->end)
        return nx_json_stream_fail(s, "the text ends inside a string");
    char c = *s->at;
    const char *f = c ? strchr(from, c) : NULL;
    if (f) {
        s->at++;
        nx_str_putc(&s->scratch, to[f - from]);
        return true;
    }
    if (c != 'u')
        return nx_json_stream_fail(s, "no such escape");
    s->at++;
    return read_unicode(s);
}

/* Steps to the next quote, backslash, control character or the end, checking UTF-8. */
static bool plain_run(nx_json_stream *s)
{
    while (s->at < s->end) {
        unsigned char c = (unsigned char)*s->at;
        if (c == '"' || c == '\\' || c < 0x20)
            return true;
        if (c < 0x80) {
            s->at++;
            continue;
        }
        uint32_t cp;
        int k = nx_utf8_decode(s->at, (size_t)(s->end - s->at), &cp);
        if (k < 0)
            return nx_json_stream_fail(s, "invalid UTF-8");
        s->at += k;
    }
    return true;
}

/* At a quote. Most strings have no escape and are given as they lie in the input. */
static bool read_string(nx_json_stream *s)
{
    const char *from = ++s->at;
    s->scratch.len = 0;
    s->text_is_input = true;
    for (;;) {
        if (!plain_run(s))
            return false;
        if (s->at == s->end)
            return nx_json_stream_fail(s, "the text ends inside a string");
        if (*s->at == '"' && s->text_is_input) {
            s->text = (nx_slice){from, (size_t)(s->at++ - from)};
            return true;
        }
        nx_str_add(&s->scratch, from, (size_t)(s->at - from));
        if (*s->at == '"') {
            s->at++;
            s->text = (nx_slice){s->scratch.data, s->scratch.len};
            return true;
        }
        if (*s->at != '\\')
            return nx_json_stream_fail(s, "a control character in a string");
        s->text_is_input = false;
        if (!read_escape(s))
            return false;
        from = s->at;
    }
}

/* ---- numbers and words ---- */

static const char *digits(const char *p, const char *end)
{
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

static bool read_number(nx_json_stream *s)
{
    const char *p = s->at, *q;
    p += *p == '-';
    q = digits(p, s->end);
    if (q == p)
        return nx_json_stream_fail(s, "a number needs a digit");
    if (*p == '0' && q - p > 1)
        return nx_json_stream_fail(s, "a number may not begin with 0");
    p = q;
    if (p < s->end && *p == '.') {
        q = digits(p + 1, s->end);
        if (q == p + 1)
            return nx_json_stream_fail(s, "a number needs a digit after the point");
        p = q;
    }
    if (p < s->end && (*p == 'e' || *p == 'E')) {
        p++;
        p += p < s->end && (*p == '+' || *p == '-');
        q = digits(p, s->end);
        if (q == p)
            return nx_json_stream_fail(s, "an exponent needs a digit");
        p = q;
    }
    s->text = (nx_slice){s->at, (size_t)(p - s->at)};
    s->text_is_input = true;
    s->at = p;
    return true;
}

static bool read_word(nx_json_stream *s, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(s->end - s->at) < n || memcmp(s->at, word, n) != 0)
        return nx_json_stream_fail(s, "not a JSON value");
    s->at += n;
    return true;
}

/* ---- the grammar ---- */

static bool in_object(const nx_json_stream *s)
{
    int level = s->depth - 1;
    return s->is_object[level / 8] >> (level % 8) & 1;
}

static nx_json_token open_level(nx_json_stream *s, bool object)
{
    if (s->depth == NX_JSON_MAX_DEPTH) {
        nx_json_stream_fail(s, "nested too deeply");
        return NX_JSON_ERROR;
    }
    unsigned char bit = (unsigned char)(1u << (s->depth % 8));
    unsigned char *byte = &s->is_object[s->depth / 8];
    *byte = object ? *byte | bit : *byte & (unsigned char)~bit;
    s->depth++;
    s->at++;
    s->expect = object ? EXPECT_KEY_OR_CLOSE : EXPECT_VALUE_OR_CLOSE;
    return object ? NX_JSON_OBJECT : NX_JSON_ARRAY;
}

static void after_value(nx_json_stream *s)
{
    s->expect = s->depth ? EXPECT_COMMA_OR_CLOSE : EXPECT_NOTHING;
}

static nx_json_token close_level(nx_json_stream *s)
{
    nx_json_token t = in_object(s) ? NX_JSON_OBJECT_END : NX_JSON_ARRAY_END;
    s->at++;
    s->depth--;
    after_value(s);
    return t;
}

static void skip_space(nx_json_stream *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t'))
        s->at++;
}

static nx_json_token read_scalar(nx_json_stream *s, char c)
{
    nx_json_token t = NX_JSON_NUMBER;
    bool ok;
    if (c == '"')
        t = NX_JSON_STRING, ok = read_string(s);
    else if (c == 't')
        t = NX_JSON_TRUE, ok = read_word(s, "true");
    else if (c == 'f')
        t = NX_JSON_FALSE, ok = read_word(s, "false");
    else if (c == 'n')
        t = NX_JSON_NULL, ok = read_word(s, "null");
    else if (c == '-' || (c >= '0' && c <= '9'))
        ok = read_number(s);
    else
        ok = nx_json_stream_fail(s, "not a JSON value");
    if (!ok)
        return NX_JSON_ERROR;
    after_value(s);
    return t;
}

static nx_json_token read_value(nx_json_stream *s, char c)
{
    if (c == '{' || c == '[')
        return open_level(s, c == '{');
    return read_scalar(s, c);
}

static nx_json_token read_key(nx_json_stream *s, char c)
{
    if (c != '"') {
        nx_json_stream_fail(s, "a key in quotes is expected");
        return NX_JSON_ERROR;
    }
    if (!read_string(s))
        return NX_JSON_ERROR;
    skip_space(s);
    if (s->at == s->end || *s->at != ':') {
        nx_json_stream_fail(s, "':' is expected after a key");
        return NX_JSON_ERROR;
    }
    s->at++;
    s->expect = EXPECT_VALUE;
    return NX_JSON_KEY;
}

static nx_json_token after_comma(nx_json_stream *s)
{
    s->at++;
    skip_space(s);
    if (s->at == s->end) {
        nx_json_stream_fail(s, "the text ends too early");
        return NX_JSON_ERROR;
    }
    return in_object(s) ? read_key(s, *s->at) : read_value(s, *s->at);
}

static nx_json_token next(nx_json_stream *s)
{
    skip_space(s);
    if (s->at == s->end) {
        nx_json_stream_fail(s, "the text ends too early");
        return NX_JSON_ERROR;
    }
    char c = *s->at;
    switch (s->expect) {
    case EXPECT_VALUE:
        return read_value(s, c);
    case EXPECT_VALUE_OR_CLOSE:
        return c == ']' ? close_level(s) : read_value(s, c);
    case EXPECT_KEY_OR_CLOSE:
        return c == '}' ? close_level(s) : read_key(s, c);
    default:
        if (c == ',')
            return after_comma(s);
        if (c == (in_object(s) ? '}' : ']'))
            return close_level(s);
        nx_json_stream_fail(s, in_object(s) ? "',' or '}' is expected" : "',' or ']' is expected");
        return NX_JSON_ERROR;
    }
}

nx_json_token nx_json_next(nx_json_stream *s)
{
    if (s->expect == EXPECT_FAILED)
        return NX_JSON_ERROR;
    if (s->expect == EXPECT_NOTHING) {
        skip_space(s);
        if (s->at == s->end)
            return s->token = NX_JSON_END;
        nx_json_stream_fail(s, "more text after the value");
        return NX_JSON_ERROR;
    }
    s->text = (nx_slice){NULL, 0};
    return s->token = next(s);
}

bool nx_json_skip_rest(nx_json_stream *s)
{
    int outside = s->depth - 1;
    while (s->depth && s->depth > outside)
        if (nx_json_next(s) == NX_JSON_ERROR)
            return false;
    return true;
}

bool nx_json_skip_value(nx_json_stream *s)
{
    nx_json_token t = nx_json_next(s);
    if (t == NX_JSON_KEY) /* the caller stood before a key: its value goes with it */
        t = nx_json_next(s);
    if (t == NX_JSON_OBJECT || t == NX_JSON_ARRAY)
        return nx_json_skip_rest(s);
    return t != NX_JSON_ERROR;
}

/* ---- typed reading ---- */

/* The number as a double; the C library wants a NUL behind it and reads by the locale, whose
 * decimal point may be a comma. */
static double to_double(nx_json_stream *s)
{
    s->scratch.len = 0;
    const char *point = localeconv()->decimal_point;
    for (size_t i = 0; i < s->text.len; i++) {
        if (s->text.data[i] == '.')
            nx_str_puts(&s->scratch, point);
        else
            nx_str_putc(&s->scratch, s->text.data[i]);
    }
    return strtod(nx_str_cstr(&s->scratch), NULL);
}

static bool need_number(nx_json_stream *s)
{
    return s->token == NX_JSON_NUMBER || nx_json_stream_fail(s, "a number is expected");
}

bool nx_json_number_f64(nx_json_stream *s, double *out)
{
    if (!need_number(s))
        return false;
    double v = to_double(s);
    if (isinf(v))
        return nx_json_stream_fail(s, "the number is too large");
    *out = v;
    return true;
}

/* Digits only: exact where a double would not be. False without an error when it is not so. */
static bool plain_u64(nx_slice t, uint64_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < t.len; i++) {
        if (t.data[i] < '0' || t.data[i] > '9' || __builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (unsigned)(t.data[i] - '0'), &v))
            return false;
    }
    *out = v;
    return t.len > 0;
}

bool nx_json_number_u64(nx_json_stream *s, uint64_t *out)
{
    if (!need_number(s))
        return false;
    if (plain_u64(s->text, out))
        return true;
    double v = to_double(s);
    /* 2^53: beyond it a double may stand for another integer than the one written */
    if (!(v >= 0 && v <= 0x1p53 && v == floor(v)))
        return nx_json_stream_fail(s, "the number is no whole number from 0 to 2^64 - 1");
    *out = (uint64_t)v;
    return true;
}

bool nx_json_number_i64(nx_json_stream *s, int64_t *out)
{
    if (!need_number(s))
        return false;
    bool minus = s->text.data[0] == '-';
    nx_slice t = {s->text.data + minus, s->text.len - minus};
    uint64_t u;
    if (plain_u64(t, &u) && u <= (uint64_t)INT64_MAX + minus) {
        *out = minus ? (int64_t)(0 - u) : (int64_t)u;
        return true;
    }
    double v = to_double(s);
    if (!(v >= -0x1p53 && v <= 0x1p53 && v == floor(v)))
        return nx_json_stream_fail(s, "the number is no whole number that fits 64 bits");
    *out = (int64_t)v;
    return true;
}

bool nx_json_read_string(nx_json_stream *s, nx_slice *out)
{
    nx_json_token t = nx_json_next(s);
    if (t != NX_JSON_STRING)
        return t != NX_JSON_ERROR ? nx_json_stream_fail(s, "a string is expected") : false;
    *out = s->text;
    return true;
}

bool nx_json_read_i64(nx_json_stream *s, int64_t *out)
{
    return nx_json_next(s) != NX_JSON_ERROR && nx_json_number_i64(s, out);
}

bool nx_json_read_f64(nx_json_stream *s, double *out)
{
    return nx_json_next(s) != NX_JSON_ERROR && nx_json_number_f64(s, out);
}

bool nx_json_read_bool(nx_json_stream *s, bool *out)
{
    nx_json_token t = nx_json_next(s);
    if (t != NX_JSON_TRUE && t != NX_JSON_FALSE)
        return t != NX_JSON_ERROR ? nx_json_stream_fail(s, "true or false is expected") : false;
    *out = t == NX_JSON_TRUE;
    return true;
}
