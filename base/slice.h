/*
 * slice.h: bytes that belong to somebody else: a pointer and a length, no NUL promised.
 */
#ifndef NX_BASE_SLICE_H
#define NX_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

typedef struct {
    const char *data; /* NULL: there is no such string (length 0 then) */
    size_t len;
} nx_slice;

static inline nx_slice nx_slice_of(const char *text)
{
    return (nx_slice){text, text ? strlen(text) : 0};
}

static inline bool nx_slice_eq(nx_slice a, nx_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* False when there is no string at all. */
static inline bool nx_slice_is(nx_slice s, const char *text)
{
    return s.data && nx_slice_eq(s, nx_slice_of(text));
}

#endif
