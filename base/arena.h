/*
 * arena.h: memory that is all freed at once: one a request, one a build scope, one a parse.
 *
 * {0} is an empty arena. Pieces are aligned to 16 bytes (copies of texts to none) and never move.
 */
#ifndef NX_BASE_ARENA_H
#define NX_BASE_ARENA_H

#include <stddef.h>

typedef struct nx_arena_block nx_arena_block;
typedef struct {
    nx_arena_block *head; /* the block being filled; full ones hang behind it */
    size_t total;         /* bytes handed out since the last reset */
} nx_arena;

void *nx_arena_alloc(nx_arena *a, size_t size); /* uninitialised; ends the process without memory */
void *nx_arena_calloc(nx_arena *a, size_t size); /* zeroed */
char *nx_arena_strndup(nx_arena *a, const char *s, size_t n);
void nx_arena_reset(nx_arena *a); /* everything is free again; keeps one block for reuse */
void nx_arena_clear(nx_arena *a); /* gives all memory back */

#endif
