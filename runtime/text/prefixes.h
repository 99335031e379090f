/*
 * prefixes.h: a fixed set of byte strings, walked a byte at a time: which of them are prefixes of
 * a text? A sorted table, narrowed by each byte; an index by the first byte.
 *
 *     pfx_cursor c = pfx_start(p);
 *     for (size_t i = 0; i < n && pfx_step(p, &c, text[i]); i++)
 *         if ((id = pfx_value(p, &c)) >= 0) a string of i + 1 bytes begins the text
 */
#ifndef NX_RUNTIME_TEXT_PREFIXES_H
#define NX_RUNTIME_TEXT_PREFIXES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/vec.h"

typedef struct {
    const char *data; /* borrowed */
    uint32_t len;
    int32_t value; /* not negative */
} pfx_item;

typedef struct {
    NX_VEC(pfx_item) items;
    uint32_t first[257]; /* items that begin with byte b: first[b] up to first[b + 1] */
} pfx_table;

typedef struct {
    uint32_t lo, hi;
    uint32_t depth; /* bytes walked */
} pfx_cursor;

void pfx_add(pfx_table *p, const char *s, size_t n,
             int32_t value); /* the bytes stay the caller's */
/* After the last pfx_add: of equal strings the one added first stays. */
void pfx_finish(pfx_table *p);
void pfx_clear(pfx_table *p);

static inline pfx_cursor pfx_start(const pfx_table *p)
{
    return (pfx_cursor){0, (uint32_t)p->items.n, 0};
}

/* Walks one byte: false when no string goes on with it. */
bool pfx_step(const pfx_table *p, pfx_cursor *c, char byte);

/* The value of the string that is exactly what was walked, or -1. */
static inline int32_t pfx_value(const pfx_table *p, const pfx_cursor *c)
{
    const pfx_item *i = &p->items.at[c->lo];
    return c->lo < c->hi && i->len == c->depth ? i->value : -1;
}

#endif
