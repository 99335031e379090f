/*
 * map.h: a hash map from byte strings to 64-bit values (a number, or a pointer through
 * (uint64_t)(uintptr_t)). Keys are copied. Iteration is in order of insertion.
 *
 * {0} is an empty map. Removing is not offered: no user needs it.
 */
#ifndef NX_BASE_MAP_H
#define NX_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/slice.h"

typedef struct {
    const char *key; /* NUL-terminated copy, in the map's arena */
    uint32_t key_len;
    uint32_t hash;
    uint64_t value;
} nx_map_entry;

typedef struct {
    nx_map_entry *entries; /* in order of insertion: walk these from 0 to n */
    size_t n, cap;
    uint32_t *slots; /* index into entries + 1; 0: empty */
    size_t n_slots;  /* a power of two */
    nx_arena keys;
} nx_map;

void nx_map_clear(nx_map *m);
void nx_map_reserve(nx_map *m, size_t n);
/* Sets or replaces. Returns true when the key is new. */
bool nx_map_set(nx_map *m, const char *key, size_t len, uint64_t value);
/* The entry of a key; a new one has the value 0. Valid until the next nx_map_set or nx_map_put. */
nx_map_entry *nx_map_put(nx_map *m, const char *key, size_t len);
/* The entry of a key, NULL if there is none. Valid until then too. */
nx_map_entry *nx_map_find(const nx_map *m, const char *key, size_t len);
/* The same for n keys at once, which wait for memory together: faster in a large map. */
void nx_map_find_many(const nx_map *m, const nx_slice *keys, size_t n, nx_map_entry **found);
/* Its value, or fallback. */
uint64_t nx_map_get(const nx_map *m, const char *key, size_t len, uint64_t fallback);

#endif
