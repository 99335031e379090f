#include "base/map.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"

enum { FIND_GROUP = 32 };

/* Differs from run to run, so that no file can be made whose names all fall into one slot. Nothing
 * shows the order of slots: maps are walked in order of insertion. */
static uint64_t hash_seed(void)
{
    static _Atomic uint64_t seed;
    uint64_t now = atomic_load_explicit(&seed, memory_order_relaxed);
    if (now)
        return now;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    uint64_t fresh = (uint64_t)(uintptr_t)&t ^ (uint64_t)(uintptr_t)&seed << 20;
    fresh ^= ((uint64_t)t.tv_nsec << 32 ^ (uint64_t)t.tv_sec) * 0x9E3779B97F4A7C15u;
    /* all threads must hash alike: the first one's choice stays */
    return atomic_compare_exchange_strong(&seed, &now, fresh | 1) ? fresh | 1 : now;
}

static uint32_t hash_bytes(const char *s, size_t n)
{
    /* Eight bytes a step, multiplied and folded: tokenizers look up millions of short keys. */
    uint64_t h = hash_seed() ^ n;
    while (n >= 8) {
        uint64_t w;
        memcpy(&w, s, 8);
        h = (h ^ w) * 0xD6E8FEB86659FD93u;
        h ^= h >> 32;
        s += 8;
        n -= 8;
    }
    uint64_t w = 0;
    memcpy(&w, s, n);
    h = (h ^ w) * 0xD6E8FEB86659FD93u;
    h ^= h >> 32;
    h *= 0xD6E8FEB86659FD93u;
    return (uint32_t)(h >> 32);
}

void nx_map_clear(nx_map *m)
{
    free(m->entries);
    free(m->slots);
    nx_arena_clear(&m->keys);
    *m = (nx_map){0};
}

static void rehash(nx_map *m, size_t n_slots)
{
    free(m->slots);
    m->slots = nx_calloc(n_slots, sizeof *m->slots);
    m->n_slots = n_slots;
    for (size_t i = 0; i < m->n; i++) {
        size_t s = m->entries[i].hash & (n_slots - 1);
        while (m->slots[s])
            s = (s + 1) & (n_slots - 1);
        m->slots[s] = (uint32_t)(i + 1);
    }
}

void nx_map_reserve(nx_map *m, size_t n)
{
    NX_BUG_IF(n >= UINT32_MAX / 2);
    size_t want = 16;
    while (want < n * 2)
        want *= 2;
    if (want > m->n_slots)
        rehash(m, want);
    if (n > m->cap) {
        m->entries = nx_realloc(m->entries, n * sizeof *m->entries);
        m->cap = n;
    }
}

static bool is_entry(const nx_map_entry *e, uint32_t h, const char *key, size_t len)
{
    return e->hash == h && e->key_len == len && memcmp(e->key, key, len) == 0;
}

static nx_map_entry *find_hashed(const nx_map *m, uint32_t h, const char *key, size_t len)
{
    if (!m->n_slots)
        return NULL;
    for (size_t s = h & (m->n_slots - 1); m->slots[s]; s = (s + 1) & (m->n_slots - 1)) {
        nx_map_entry *e = &m->entries[m->slots[s] - 1];
        if (is_entry(e, h, key, len))
            return e;
    }
    return NULL;
}

nx_map_entry *nx_map_find(const nx_map *m, const char *key, size_t len)
{
    return find_hashed(m, hash_bytes(key, len), key, len);
}

/* A lookup waits for a slot, then its entry, then the entry's key. Each is asked for in all
 * lookups of a group before the next one is read. */
static void find_group(const nx_map *m, const nx_slice *keys, size_t n, nx_map_entry **found)
{
    uint32_t hashes[FIND_GROUP];
    for (size_t i = 0; i < n; i++) {
        hashes[i] = hash_bytes(keys[i].data, keys[i].len);
        __builtin_prefetch(&m->slots[hashes[i] & (m->n_slots - 1)]);
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t slot = m->slots[hashes[i] & (m->n_slots - 1)];
        found[i] = slot ? &m->entries[slot - 1] : NULL;
        if (slot)
            __builtin_prefetch(found[i]);
    }
    for (size_t i = 0; i < n; i++)
        if (found[i])
            __builtin_prefetch(found[i]->key);
    for (size_t i = 0; i < n; i++)
        if (found[i] && !is_entry(found[i], hashes[i], keys[i].data, keys[i].len))
            found[i] = find_hashed(m, hashes[i], keys[i].data, keys[i].len);
}

void nx_map_find_many(const nx_map *m, const nx_slice *keys, size_t n, nx_map_entry **found)
{
    for (size_t i = 0; i < n; i += FIND_GROUP) {
        size_t some = n - i < FIND_GROUP ? n - i : FIND_GROUP;
        if (m->n_slots)
            find_group(m, keys + i, some, found + i);
        else
            memset(found + i, 0, some * sizeof *found);
    }
}

nx_map_entry *nx_map_put(nx_map *m, const char *key, size_t len)
{
    uint32_t h = hash_bytes(key, len);
    nx_map_entry *e = find_hashed(m, h, key, len);
    if (e)
        return e;
    if (m->n + 1 > m->cap || (m->n + 1) * 2 > m->n_slots)
        nx_map_reserve(m, m->n ? (m->n + 1) * 2 : 8);
    e = &m->entries[m->n++];
    *e = (nx_map_entry){nx_arena_strndup(&m->keys, key, len), (uint32_t)len, h, 0};
    size_t s = h & (m->n_slots - 1);
    while (m->slots[s])
        s = (s + 1) & (m->n_slots - 1);
    m->slots[s] = (uint32_t)m->n;
    return e;
}

bool nx_map_set(nx_map *m, const char *key, size_t len, uint64_t value)
{
    size_t before = m->n;
    nx_map_put(m, key, len)->value = value;
    return m->n > before;
}

uint64_t nx_map_get(const nx_map *m, const char *key, size_t len, uint64_t fallback)
{
    nx_map_entry *e = nx_map_find(m, key, len);
    return e ? e->value : fallback;
}
