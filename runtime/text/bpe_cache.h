/*
 * bpe_cache.h: how short words came out, in a table of fixed size where a new word takes the place
 * of the one that was there. One a thread at a time: nothing to lock.
 */
#ifndef NX_RUNTIME_TEXT_BPE_CACHE_H
#define NX_RUNTIME_TEXT_BPE_CACHE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

enum {
    BPE_CACHE_WORD = 30, /* bytes of the longest word that is kept */
    BPE_CACHE_IDS = 8,   /* ids of it at most */
    BPE_CACHE_SIZE = 1 << 14,
};

typedef struct {
    char word[BPE_CACHE_WORD];
    uint8_t len; /* 0: free */
    uint8_t n_ids;
    int32_t ids[BPE_CACHE_IDS];
} bpe_cache_entry; /* 64 bytes: one line of the processor's cache */

typedef struct {
    bpe_cache_entry *entries;
} bpe_cache;

static inline void bpe_cache_init(bpe_cache *c)
{
    c->entries = nx_calloc(BPE_CACHE_SIZE, sizeof *c->entries);
}

static inline void bpe_cache_clear(bpe_cache *c)
{
    free(c->entries);
}

/* The place where a word is or would be; NULL for one that is too long. */
static inline bpe_cache_entry *bpe_cache_at(const bpe_cache *c, const char *s, size_t n)
{
    if (n == 0 || n > BPE_CACHE_WORD)
        return NULL;
    uint64_t h = n, w;
    for (; n >= 8; s += 8, n -= 8) {
        memcpy(&w, s, 8);
        h = (h ^ w) * 0x9E3779B97F4A7C15u;
        h ^= h >> 29;
    }
    w = 0;
    memcpy(&w, s, n);
    h = (h ^ w) * 0xD6E8FEB86659FD93u;
    return &c->entries[(h ^ h >> 32) >> 7 & (BPE_CACHE_SIZE - 1)];
}

static inline bool bpe_cache_holds(const bpe_cache_entry *e, const char *s, size_t n)
{
    return e->len == n && memcmp(e->word, s, n) == 0;
}

static inline void bpe_cache_put(bpe_cache_entry *e, const char *s, size_t n, const int32_t *ids,
                                 size_t n_ids)
{
    if (n_ids > BPE_CACHE_IDS)
        return;
    memcpy(e->word, s, n);
    e->len = (uint8_t)n;
    e->n_ids = (uint8_t)n_ids;
    memcpy(e->ids, ids, n_ids * sizeof *ids);
}

#endif
