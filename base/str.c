#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"

void nx_str_clear(nx_str *s)
{
    free(s->data);
    *s = (nx_str){0};
}

void nx_str_reserve(nx_str *s, size_t extra)
{
    size_t need = s->len + extra + 1;
    if (need <= s->cap)
        return;
    size_t cap = s->cap ? s->cap * 2 : 32;
    if (cap < need)
        cap = need;
    s->data = nx_realloc(s->data, cap);
    s->cap = cap;
}

void nx_str_add(nx_str *s, const void *bytes, size_t n)
{
    nx_str_reserve(s, n);
    if (n)
        memcpy(s->data + s->len, bytes, n);
    s->len += n;
    s->data[s->len] = '\0';
}

void nx_str_puts(nx_str *s, const char *text)
{
    nx_str_add(s, text, strlen(text));
}

void nx_str_putc(nx_str *s, char c)
{
    nx_str_add(s, &c, 1);
}

void nx_str_vprintf(nx_str *s, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    NX_BUG_IF(n < 0);
    nx_str_reserve(s, (size_t)n);
    vsnprintf(s->data + s->len, (size_t)n + 1, fmt, ap);
    s->len += (size_t)n;
}

void nx_str_printf(nx_str *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    nx_str_vprintf(s, fmt, ap);
    va_end(ap);
}

void nx_str_truncate(nx_str *s, size_t len)
{
    if (len >= s->len)
        return;
    s->len = len;
    s->data[len] = '\0';
}

void nx_str_put_utf8(nx_str *s, unsigned cp)
{
    if (cp > 0x10FFFF || (cp >= 0xD800 && cp <= 0xDFFF))
        cp = 0xFFFD;
    char b[4];
    size_t n = 0;
    if (cp < 0x80) {
        b[n++] = (char)cp;
    } else if (cp < 0x800) {
        b[n++] = (char)(0xC0 | cp >> 6);
        b[n++] = (char)(0x80 | (cp & 0x3F));
    } else if (cp < 0x10000) {
        b[n++] = (char)(0xE0 | cp >> 12);
        b[n++] = (char)(0x80 | (cp >> 6 & 0x3F));
        b[n++] = (char)(0x80 | (cp & 0x3F));
    } else {
        b[n++] = (char)(0xF0 | cp >> 18);
        b[n++] = (char)(0x80 | (cp >> 12 & 0x3F));
        b[n++] = (char)(0x80 | (cp >> 6 & 0x3F));
        b[n++] = (char)(0x80 | (cp & 0x3F));
    }
    nx_str_add(s, b, n);
}

const char *nx_str_cstr(const nx_str *s)
{
    return s->data ? s->data : "";
}

char *nx_str_take(nx_str *s)
{
    nx_str_reserve(s, 0);
    s->data[s->len] = '\0';
    char *p = s->data;
    *s = (nx_str){0};
    return p;
}

bool nx_ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), e = strlen(end);
    return n >= e && strcasecmp(s + n - e, end) == 0;
}
