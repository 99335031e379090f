#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local char message[1024];

/* A message that did not fit ends with a whole character. */
static void end_whole(char *text, size_t n)
{
    while (n > 0 && ((unsigned char)text[n - 1] & 0xC0) == 0x80)
        n--;
    text[n ? n - 1 : 0] = '\0';
}

bool nx_fail(const char *fmt, ...)
{
    char text[sizeof message]; /* an argument may be the old message itself */
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n >= (int)sizeof text)
        end_whole(text, sizeof text - 1);
    memcpy(message, text, sizeof message);
    return false;
}

bool nx_fail_in(const char *fmt, ...)
{
    char prefix[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(prefix, sizeof prefix, fmt, ap);
    va_end(ap);
    return nx_fail("%s: %s", prefix, message);
}

const char *nx_error_message(void)
{
    return message;
}

void nx_error_clear(void)
{
    message[0] = '\0';
}

void nx_bug(const char *file, int line, const char *what)
{
    fprintf(stderr, "nexus: internal error at %s:%d: %s\n", file, line, what);
    abort();
}

/* Without exit's handlers: other threads go on running under them. */
void nx_die_nomem(size_t size)
{
    fprintf(stderr, "nexus: out of memory (%zu bytes asked for)\n", size);
    _Exit(1);
}

void nx_die_nothread(void)
{
    fputs("nexus: no thread can be started: memory or the limit on processes is used up\n", stderr);
    _Exit(1);
}

void *nx_malloc(size_t size)
{
    void *p = malloc(size ? size : 1);
    if (!p)
        nx_die_nomem(size);
    return p;
}

void *nx_calloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);
    if (!p)
        nx_die_nomem(count * size);
    return p;
}

void *nx_realloc(void *p, size_t size)
{
    void *q = realloc(p, size ? size : 1);
    if (!q)
        nx_die_nomem(size);
    return q;
}

char *nx_strdup(const char *s)
{
    return nx_strndup(s, strlen(s));
}

char *nx_strndup(const char *s, size_t n)
{
    char *p = nx_malloc(n + 1);
    memcpy(p, s, n);
    p[n] = '\0';
    return p;
}
