/*
 * str.h: a growable string of bytes, always followed by a NUL.
 *
 * Embedded by value; {0} is an empty one. It may hold any bytes, NUL among them.
 */
#ifndef NX_BASE_STR_H
#define NX_BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct {
    char *data; /* NULL while nothing was ever added; see nx_str_cstr */
    size_t len; /* bytes, without the NUL */
    size_t cap;
} nx_str;

void nx_str_clear(nx_str *s); /* frees; s is empty again */
void nx_str_reserve(nx_str *s, size_t extra);
void nx_str_add(nx_str *s, const void *bytes, size_t n);
void nx_str_puts(nx_str *s, const char *text);
void nx_str_putc(nx_str *s, char c);
void nx_str_printf(nx_str *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void nx_str_vprintf(nx_str *s, const char *fmt, va_list ap);
void nx_str_truncate(nx_str *s, size_t len);
/* Appends one code point as UTF-8 (U+FFFD for a surrogate or anything over U+10FFFF). */
void nx_str_put_utf8(nx_str *s, unsigned code_point);

/* The bytes as a C string, "" when empty. Belongs to s. */
const char *nx_str_cstr(const nx_str *s);

/* Hands the bytes over (to be freed with free) and leaves s empty. Never NULL. */
char *nx_str_take(nx_str *s);

/* Of two C strings: whether the first ends with the second, upper case or lower. For names of files. */
bool nx_ends_with(const char *s, const char *end);

#endif
