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
enum { ALIGN = 64, BINS = 64 * 8, MMAP_MIN = 1 << 20, HUGE_MIN = 4 << 20, SEARCH = 8 };

static struct {
    pthread_mutex_t lock;
    nx_buffer *bins[2][BINS]; /* freed memory of the host's, of devices; the latest first */
    nx_buffer *headers;    /* freed structs without memory */
    size_t active, peak, cached;
    size_t limit, cache_limit, wired_limit;
    size_t hard_limit; /* 0: none */
    bool ready;
    long fail_at;     /* this allocation from now on fails; 0: none */
    bool keeps_failing; /* so do all after it (NEXUS_FAIL_ALLOC) */
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

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
    if (fail) {
        pool.fail_at = atol(fail) + 1;
        pool.keeps_failing = true;
    }
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

/* A wish: without it, all works, slower. */
static void wish_huge_pages(void *p, size_t size)
{
#if defined(MADV_HUGEPAGE)
    (void)madvise(p, size, MADV_HUGEPAGE);
#else
    (void)p, (void)size;
#endif
}

static void *memory_get(const nx_memory *memory, size_t size)
{
    if (memory)
        return memory->get(size);
    if (size < MMAP_MIN)
        return aligned_alloc(ALIGN, size);
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (size >= HUGE_MIN)
        wish_huge_pages(p, size);
    return p;
}

static void memory_put(const nx_buffer *b)
{
    if (b->memory)
        b->memory->put(b->data, b->size);
    else if (b->size < MMAP_MIN)
        free(b->data);
    else
        munmap(b->data, b->size);
}

bool nx_buffer_usable_by(const nx_buffer *b, const nx_stream *s)
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

static nx_buffer *cache_take(const nx_memory *memory, uint32_t bin, nx_stream *s)
{
    nx_buffer **at = &pool.bins[memory != NULL][bin];
    for (int i = 0; *at && i < SEARCH; i++, at = &(*at)->next) {
        if ((*at)->memory != memory || !nx_buffer_usable_by(*at, s))
            continue;
        nx_buffer *b = *at;
        *at = b->next;
        pool.cached -= b->size;
        return b;
    }
    return NULL;
}

/* Gives memory of one bin back until at most `keep` bytes are cached; what tasks still use stays. */
static void bin_trim(nx_buffer **at, size_t keep)
{
    while (*at && pool.cached > keep) {
        nx_buffer *b = *at;
        if (!nx_buffer_usable_by(b, NULL)) {
            at = &b->next;
            continue;
        }
        *at = b->next;
        pool.cached -= b->size;
        memory_put(b);
        b->next = pool.headers;
        pool.headers = b;
    }
}

static void cache_trim(size_t keep)
{
    for (int bin = BINS - 1; bin >= 0 && pool.cached > keep; bin--) {
        bin_trim(&pool.bins[0][bin], keep);
        bin_trim(&pool.bins[1][bin], keep);
    }
}

/* Room for `size` more bytes under a limit, by giving up what is cached. */
static void cache_make_room(size_t size, size_t limit)
{
    size_t used = pool.active + size;
    cache_trim(used < limit ? limit - used : 0);
}

/* Is this the allocation that a test wants to fail? */
static bool fails_now(void)
{
    if (pool.fail_at == 0 || --pool.fail_at > 0)
        return false;
    pool.fail_at = pool.keeps_failing; /* 1: the next one too */
    return true;
}

/* False after nx_fail. With the lock held. */
static bool may_allocate(size_t size)
{
    if (fails_now())
        return nx_fail("[malloc] no memory for %zu bytes: this failure is a test's", size);
    if (pool.hard_limit && pool.active + size > pool.hard_limit)
        return nx_fail("[malloc] %zu bytes would pass the memory limit (%zu bytes in use, "
                       "limit %zu)", size, pool.active, pool.hard_limit);
    return true;
}

/* New memory, or some of the cache's; NULL after nx_fail. With the lock held. */
static nx_buffer *buffer_get(const nx_memory *memory, size_t size, nx_stream *stream)
{
    size_t rounded;
    uint32_t bin = bin_of(size ? size : 1, &rounded);
    if (!may_allocate(rounded))
        return NULL;
    nx_buffer *b = cache_take(memory, bin, stream);
    if (b)
        return b;
    if (pool.active + pool.cached + rounded > pool.limit)
        cache_make_room(rounded, pool.limit);
    if (pool.hard_limit && pool.active + pool.cached + rounded > pool.hard_limit)
        cache_make_room(rounded, pool.hard_limit);
    char *data = memory_get(memory, rounded);
    if (!data) { /* let everything go that can go, once */
        cache_trim(0);
        data = memory_get(memory, rounded);
    }
    if (!data)
        return nx_fail_null("[malloc] no memory for %zu bytes (%zu bytes in use by arrays)", size,
                            pool.active);
    b = header_get();
    *b = (nx_buffer){.data = data, .size = rounded, .bin = bin, .memory = memory};
    return b;
}

nx_buffer *nx_buffer_new_in(const nx_memory *memory, size_t size, nx_stream *stream)
{
    if (size > (size_t)1 << 48)
        return nx_fail_null("[malloc] an array of %zu bytes is beyond any machine's memory", size);
    pthread_mutex_lock(&pool.lock);
    pool_setup();
    nx_buffer *b = buffer_get(memory, size, stream);
    if (b) {
        pool.active += b->size;
        if (pool.active > pool.peak)
            pool.peak = pool.active;
    }
    pthread_mutex_unlock(&pool.lock);
    if (b) {
        atomic_init(&b->refs, 1);
        b->filled_seq = 0; /* the last task stays: it may still run, and this be given up unused */
    }
    return b;
}

nx_buffer *nx_buffer_new(size_t size, nx_stream *stream)
{
    return nx_buffer_new_in(stream ? nx_stream_memory(stream) : NULL, size, stream);
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
    if (b->mirror)
        nx_buffer_unref(&b->mirror);
    if (b->bin == NX_EXTERNAL) {
        if (nx_buffer_usable_by(b, NULL))
            external_free(b);
        else
            nx_stream_call(b->stream, external_free, b); /* after its last reader */
        return;
    }
    pthread_mutex_lock(&pool.lock);
    pool.active -= b->size;
    pool.cached += b->size;
    nx_buffer **at = &pool.bins[b->memory != NULL][b->bin];
    b->next = *at;
    *at = b;
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
    wish_huge_pages(p + before, size);
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
    bool may = may_allocate(size);
    chunk *c = may ? chunk_for(size) : NULL;
    if (may && !c)
        nx_fail("[malloc] no memory for %zu bytes (%zu bytes in use by arrays)", size, pool.active);
    if (!c) {
        pthread_mutex_unlock(&pool.lock);
        return NULL;
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

size_t nx_memory_set_hard_limit(size_t limit)
{
    return locked_set(&pool.hard_limit, limit);
}

long nx_memory_fail_at(long n)
{
    pthread_mutex_lock(&pool.lock);
    pool_setup();
    long left = pool.fail_at;
    pool.fail_at = n;
    pool.keeps_failing = false;
    pthread_mutex_unlock(&pool.lock);
    return left;
}

void nx_memory_clear_cache(void)
{
    pthread_mutex_lock(&pool.lock);
    cache_trim(0);
    pthread_mutex_unlock(&pool.lock);
}
