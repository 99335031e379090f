/*
 * random_tmpl.c: RandomBits. The bytes under one key are words; counter i of the first half gives
 * word i and its partner in the second half. With an odd number of words the one in the middle comes
 * from a counter of its own. The last word may be cut off.
 */
#include <string.h>

#include "engine/core/threefry.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/pool.h"

typedef uint32_t __attribute__((aligned(1), may_alias)) word; /* keys may leave odd offsets */

typedef struct {
    const uint32_t *keys;
    char *out;
    int64_t bytes; /* under one key */
    int64_t words, half;
} job;

/* Counters begin..end-1 whose words are whole. */
static void whole_words(const job *j, const uint32_t *key, char *out, int64_t begin, int64_t end)
{
    int64_t partner = j->words - j->half;
    uint32_t k0 = key[0], k1 = key[1];
    word *x = (word *)out, *y = x + partner;
    for (int64_t i = begin; i < end; i++) {
        nx_pair p = nx_threefry(k0, k1, (uint32_t)i, (uint32_t)(i + partner));
        x[i] = p.first;
        y[i] = p.second;
    }
}

static void put(const job *j, char *out, int64_t index, uint32_t value)
{
    int64_t left = j->bytes - index * 4;
    memcpy(out + index * 4, &value, (size_t)(left < 4 ? left : 4));
}

/* The counters with words that are not whole or have no partner. */
static void rest(const job *j, const uint32_t *key, char *out)
{
    int64_t partner = j->words - j->half;
    if (j->half) {
        int64_t i = j->half - 1;
        nx_pair p = nx_threefry(key[0], key[1], (uint32_t)i, (uint32_t)(i + partner));
        put(j, out, i, p.first);
        put(j, out, i + partner, p.second);
    }
    if (j->words & 1)
        put(j, out, j->half, nx_threefry(key[0], key[1], (uint32_t)j->half, 0).first);
}

static void counters(void *ctx, int64_t begin, int64_t end)
{
    const job *j = ctx;
    whole_words(j, j->keys, j->out, begin, end);
}

static void keys(void *ctx, int64_t begin, int64_t end)
{
    const job *j = ctx;
    for (int64_t k = begin; k < end; k++) {
        if (j->half)
            whole_words(j, j->keys + 2 * k, j->out + k * j->bytes, 0, j->half - 1);
        rest(j, j->keys + 2 * k, j->out + k * j->bytes);
    }
}

void NX_FN(random_bits)(const nx_call *c)
{
    int64_t n_keys = nx_view_size(&c->in[0]) / 2;
    int64_t size = nx_view_size(&c->out[0]) * (int64_t)nx_dtype_size(c->out[0].dtype);
    job j = {.keys = c->in[0].data, .out = c->out[0].data, .bytes = size / n_keys};
    j.words = (j.bytes + 3) / 4;
    j.half = j.words / 2;
    if (n_keys > 1) {
        nx_parallel(n_keys, nx_grain(j.bytes, NX_PIECE_BYTES), keys, &j);
        return;
    }
    if (j.half > 1)
        nx_parallel(j.half - 1, nx_grain(8, NX_PIECE_BYTES), counters, &j);
    rest(&j, j.keys, j.out);
}
