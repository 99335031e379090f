#include "engine/core/buffer.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "base/os.h"
#include "engine/core/stream.h"

/*
 * Size classes: eight to a power of two, so at most an eighth is wasted. Small memory is malloc's;
 * from MMAP_MIN on pages are mapped, so that memory given back really leaves the process.
 */
enum { ALIGN = 64, BINS = 64 * 8, MMAP_MIN = 1 << 20, SEARCH = 8 };

static struct {
    pthread_mutex_t lock;
    nx_buffer *bins[BINS]; /* freed memory, the latest first */
    nx_buffer *headers;    /* freed structs without memory */
    size_t active, peak, cached;
    size_t limit, cache_limit, wired_limit;
    bool ready;
    long fail_after; /* NEXUS_FAIL_ALLOC: the N-th allocation fails; -1: never */
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .fail_after = -1};

/* With the lock held. */
static void pool_setup(void)
{
    if (pool.ready)
        return;
    pool.ready = true;
    size_t memory = nx_os_memory_total();
    pool.limit = memory + memory / 2; /* as MLX's: half as much again as the machine has */
    pool.cache_limit = memory / 8;
    const char *fail = getenv("NEXUS_FAIL_ALLOC");
    pool.fail_after = fail ? atol(fail) : -1;
}

static uint32_t bin_of(size_t size, size_t *rounded)
{
    if (size <= 512) {
        *rounded = (size + 63) & ~(size_t)63;
        return (uint32_t)(*rounded / 64);
    }
    int top = 63 - __builtin_clzll(size - 1); /* 2^top <= size - 1 */
    size_t step = (size_t)1 << (top - 3);
    size_t eighth = (size - 1 - ((size_t)1 << top)) / step; /* 0..7 */
    *rounded = ((size_t)1 << top) + (eighth + 1) * step;
    return (uint32_t)((size_t)top * 8 + eighth);
}

static void *memory_get(size_t size)
{
    if (size < MMAP_MIN)
        return aligned_alloc(ALIGN, size);
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void memory_put(void *p, size_t size)
{
    if (size < MMAP_MIN)
        free(p);
    else
        munmap(p, size);
}

static bool usable_by(const nx_buffer *b, const nx_stream *s)
{
    return !b->stream || b->stream == s || nx_stream_is_done(b->stream, b->seq);
}

static nx_buffer *header_get(void)
{
    nx_buffer *b = pool.headers;
    if (b)
        pool.headers = b->next;
    else
        b = nx_malloc(sizeof *b);
    return b;
}

static nx_buffer *cache_take(uint32_t bin, nx_stream *s)
{
    nx_buffer **at = &pool.bins[bin];
    for (int i = 0; *at && i < SEARCH; i++, at = &(*at)->next) {
        if (!usable_by(*at, s))
            continue;
        nx_buffer *b = *at;
        *at = b->next;
        pool.cached -= b->size;
        return b;
    }
    return NULL;
}

/* Gives cached memory back until at most `keep` bytes are cached; what tasks still use stays. */
static void cache_trim(size_t keep)
{
    for (int bin = BINS - 1; bin >= 0 && pool.cached > keep; bin--) {
        nx_buffer **at = &pool.bins[bin];
        while (*at && pool.cached > keep) {
            nx_buffer *b = *at;
            if (!usable_by(b, NULL)) {
                at = &b->next;
                continue;
            }
            *at = b->next;
            pool.cached -= b->size;
            memory_put(b->data, b->size);
            b->next = pool.headers;
            pool.headers = b;
        }
    }
}

static bool may_allocate(size_t size)
{
    if (pool.fail_after == 0)
        return false;
    if (pool.fail_after > 0)
        pool.fail_after--;
    return pool.active + size <= pool.limit;
}

nx_buffer *nx_buffer_new(size_t size, nx_stream *stream)
{
    size_t rounded;
    if (size > (size_t)1 << 48)
        return nx_fail_null("[malloc] an array of %zu bytes is beyond any machine's memory", size);
    uint32_t bin = bin_of(size ? size : 1, &rounded);
    pthread_mutex_lock(&pool.lock);
    pool_setup();
    if (!may_allocate(rounded)) {
        pthread_mutex_unlock(&pool.lock);
        return nx_fail_null("[malloc] %zu bytes would pass the memory limit (%zu bytes in use, "
                            "limit %zu)", size, pool.active, pool.limit);
    }
    nx_buffer *b = cache_take(bin, stream);
    if (!b) {
        if (pool.active + pool.cached + rounded > pool.limit)
            cache_trim(pool.limit - pool.active - rounded);
        char *data = memory_get(rounded);
        if (!data) { /* let everything go that can go, once */
            cache_trim(0);
            data = memory_get(rounded);
        }
        if (!data) {
            pthread_mutex_unlock(&pool.lock);
            return nx_fail_null("[malloc] no memory for %zu bytes (%zu bytes in use by arrays)",
                                size, pool.active);
        }
        b = header_get();
        b->data = data;
        b->size = rounded;
        b->bin = bin;
    }
    pool.active += rounded;
    if (pool.active > pool.peak)
        pool.peak = pool.active;
    pthread_mutex_unlock(&pool.lock);
    atomic_init(&b->refs, 1);
    b->stream = NULL;
    b->seq = 0;
    b->dtor = NULL;
    b->payload = NULL;
    return b;
}

nx_buffer *nx_buffer_wrap(void *data, size_t size, void (*dtor)(void *), void *payload)
{
    nx_buffer *b = nx_malloc(sizeof *b);
    *b = (nx_buffer){.bin = NX_EXTERNAL, .data = data, .size = size, .dtor = dtor, .payload = payload};
    atomic_init(&b->refs, 1);
    return b;
}

static void external_free(void *arg)
{
    nx_buffer *b = arg;
    if (b->dtor)
        b->dtor(b->payload);
    free(b);
}

void nx_buffer_unref(nx_buffer **pb)
{
    nx_buffer *b = *pb;
    *pb = NULL;
    if (!b || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (b->bin == NX_EXTERNAL) {
        if (usable_by(b, NULL))
            external_free(b);
        else
            nx_stream_call(b->stream, external_free, b); /* after its last reader */
        return;
    }
    pthread_mutex_lock(&pool.lock);
    pool.active -= b->size;
    pool.cached += b->size;
    b->next = pool.bins[b->bin];
    pool.bins[b->bin] = b;
    if (pool.cached > pool.cache_limit)
        cache_trim(pool.cache_limit);
    pthread_mutex_unlock(&pool.lock);
}

/* ---- memory that is kept ---------------------------------------------------------------------- */

enum { HUGE = 2 << 20, CHUNK = 8 * HUGE };

/* Memory mapped at once for several buffers, given back with the last of them. Guarded by pool.lock. */
typedef struct {
    char *data;
    size_t size, used;
    int live; /* buffers in it */
} chunk;
static chunk *open_chunk; /* where the next one goes; NULL: nowhere yet */

typedef struct {
    chunk *in;
    size_t size;
} kept;

static chunk *chunk_new(size_t size)
{
    size = (size + HUGE - 1) & ~(size_t)(HUGE - 1);
    size_t mapped = size + HUGE; /* trimmed to whole huge pages */
    char *p = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    size_t before = (HUGE - ((uintptr_t)p & (HUGE - 1))) & (HUGE - 1);
    if (before)
        munmap(p, before);
    munmap(p + before + size, mapped - before - size);
#if defined(MADV_HUGEPAGE)
    (void)madvise(p + before, size, MADV_HUGEPAGE); /* a wish: without it, all works, slower */
#endif
    chunk *c = nx_malloc(sizeof *c);
    *c = (chunk){.data = p + before, .size = size};
    return c;
}

static void chunk_unref(chunk *c)
{
    if (--c->live)
        return;
    if (c == open_chunk)
        open_chunk = NULL;
    munmap(c->data, c->size);
    free(c);
}

static void kept_free(void *arg)
{
    kept *k = arg;
    pthread_mutex_lock(&pool.lock);
    pool.active -= k->size;
    chunk_unref(k->in);
    pthread_mutex_unlock(&pool.lock);
    free(k);
}

/* Room for `size` bytes, with pool.lock held. The rest of a chunk too small for the next is lost. */
static chunk *chunk_for(size_t size)
{
    if (open_chunk && open_chunk->size - open_chunk->used >= size)
        return open_chunk;
    chunk *c = chunk_new(size > CHUNK / 2 ? size : CHUNK);
    if (c && c->size - size >= HUGE)
        open_chunk = c;
    return c;
}

nx_buffer *nx_buffer_new_kept(size_t size)
{
    if (size > (size_t)1 << 48)
        return nx_fail_null("[malloc] an array of %zu bytes is beyond any machine's memory", size);
    size = size ? (size + ALIGN - 1) & ~(size_t)(ALIGN - 1) : ALIGN;
    pthread_mutex_lock(&pool.lock);
    pool_setup();
    chunk *c = may_allocate(size) ? chunk_for(size) : NULL;
    if (!c) {
        pthread_mutex_unlock(&pool.lock);
        return nx_fail_null("[malloc] no memory for %zu bytes (%zu bytes in use by arrays)", size,
                            pool.active);
    }
    kept *k = nx_malloc(sizeof *k);
    *k = (kept){c, size};
    char *data = c->data + c->used;
    c->used += size;
    c->live++;
    pool.active += size;
    if (pool.active > pool.peak)
        pool.peak = pool.active;
    pthread_mutex_unlock(&pool.lock);
    return nx_buffer_wrap(data, size, kept_free, k);
}

static size_t locked_get(const size_t *field)
{
    pthread_mutex_lock(&pool.lock);
    pool_setup();
    size_t v = *field;
    pthread_mutex_unlock(&pool.lock);
    return v;
}

static size_t locked_set(size_t *field, size_t value)
{
    pthread_mutex_lock(&pool.lock);
    pool_setup();
    size_t old = *field;
    *field = value;
    pthread_mutex_unlock(&pool.lock);
    return old;
}

size_t nx_memory_active(void)
{
    return locked_get(&pool.active);
}

size_t nx_memory_peak(void)
{
    return locked_get(&pool.peak);
}

size_t nx_memory_cached(void)
{
    return locked_get(&pool.cached);
}

size_t nx_memory_limit(void)
{
    return locked_get(&pool.limit);
}

void nx_memory_reset_peak(void)
{
    locked_set(&pool.peak, 0);
}

size_t nx_memory_set_limit(size_t limit)
{
    return locked_set(&pool.limit, limit);
}

size_t nx_memory_set_cache_limit(size_t limit)
{
    size_t old = locked_set(&pool.cache_limit, limit);
    pthread_mutex_lock(&pool.lock);
    cache_trim(limit);
    pthread_mutex_unlock(&pool.lock);
    return old;
}

size_t nx_memory_set_wired_limit(size_t limit)
{
    return locked_set(&pool.wired_limit, limit); /* pages are never wired here: kept, not used */
}

void nx_memory_clear_cache(void)
{
    pthread_mutex_lock(&pool.lock);
    cache_trim(0);
    pthread_mutex_unlock(&pool.lock);
}
