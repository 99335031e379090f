#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

enum { BLOCK_MIN = 16 * 1024, BLOCK_MAX = 1024 * 1024 };

struct nx_arena_block {
    nx_arena_block *next;
    size_t size, used;
    _Alignas(16) unsigned char bytes[];
};

static nx_arena_block *block_new(size_t size, nx_arena_block *next)
{
    nx_arena_block *b = nx_malloc(sizeof *b + size);
    b->next = next;
    b->size = size;
    b->used = 0;
    return b;
}

/* align: a power of two, 16 at most. */
static void *take(nx_arena *a, size_t size, size_t align)
{
    if (size > SIZE_MAX - 15 - sizeof(nx_arena_block))
        nx_die_nomem(size);
    nx_arena_block *b = a->head;
    size_t from = b ? (b->used + align - 1) & ~(align - 1) : 0;
    if (!b || b->size < from || b->size - from < size) {
        size_t want = b ? b->size * 2 : BLOCK_MIN;
        if (want > BLOCK_MAX)
            want = BLOCK_MAX;
        if (want < size)
            want = size;
        b = a->head = block_new(want, b);
        from = 0;
    }
    a->total += size;
    b->used = from + size;
    return b->bytes + from;
}

void *nx_arena_alloc(nx_arena *a, size_t size)
{
    return take(a, size, 16);
}

void *nx_arena_calloc(nx_arena *a, size_t size)
{
    return memset(nx_arena_alloc(a, size), 0, size);
}

char *nx_arena_strndup(nx_arena *a, const char *s, size_t n)
{
    if (n == SIZE_MAX)
        nx_die_nomem(n);
    char *p = take(a, n + 1, 1);
    memcpy(p, s, n);
    p[n] = '\0';
    return p;
}

static void free_behind(nx_arena_block *b)
{
    while (b) {
        nx_arena_block *next = b->next;
        free(b);
        b = next;
    }
}

void nx_arena_reset(nx_arena *a)
{
    if (a->head) {
        free_behind(a->head->next);
        a->head->next = NULL;
        a->head->used = 0;
    }
    a->total = 0;
}

void nx_arena_clear(nx_arena *a)
{
    free_behind(a->head);
    *a = (nx_arena){0};
}
