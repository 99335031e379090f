/*
 * pool.c: a persistent pool. One job at a time: the caller publishes it, wakes whoever sleeps, takes
 * pieces itself and waits for the pieces others took. A worker that has just finished looks for more
 * for a short while before it sleeps, since kernels come in bursts; it sleeps at once where there
 * are more threads than processors.
 *
 * Pieces that lie together are one thread's: each claims a share, a run of pieces, and works through it
 * from its front, so that it reads memory as one stream. (Taking pieces by turns, a processor that
 * fetches ahead only within a page read weights a third slower.) Who has finished claims a share that
 * nobody came for, and in the end takes pieces from the backs of others' shares.
 */
#include "engine/cpu/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/os.h"

enum { MAX_THREADS = 256, SPIN_NS = 200000 };

typedef struct {
    nx_piece fn;
    void *ctx;
    int64_t n, grain; /* of indices in a piece */
    int shares;
    uint32_t pieces;
} job;

/* What is left of a share: the first piece in the low half, the end in the high one. */
typedef struct {
    _Alignas(64) _Atomic uint64_t left;
} share;

static struct {
    pthread_mutex_t use; /* held by the caller whose job runs */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int sleeping;
    int started;  /* workers, without callers */
    _Atomic int wanted;
    job now;
    _Atomic uint64_t generation;  /* counts jobs; odd: a job is open */
    _Alignas(64) _Atomic int claimed; /* shares */
    _Alignas(64) _Atomic int inside; /* workers that may touch `now` */
    _Atomic int admitted;         /* workers let into this job so far */
} pool = {.use = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER};

static share shares[MAX_THREADS]; /* empty between jobs */
static pthread_t workers[MAX_THREADS];
static _Thread_local bool in_piece;

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static bool take_first(share *s, uint32_t *piece)
{
    uint64_t left = atomic_load_explicit(&s->left, memory_order_acquire);
    while ((uint32_t)left < (uint32_t)(left >> 32))
        if (atomic_compare_exchange_weak(&s->left, &left, left + 1)) {
            *piece = (uint32_t)left;
            return true;
        }
    return false;
}

static bool take_last(share *s, uint32_t *piece)
{
    uint64_t left = atomic_load_explicit(&s->left, memory_order_acquire);
    while ((uint32_t)left < (uint32_t)(left >> 32))
        if (atomic_compare_exchange_weak(&s->left, &left, left - ((uint64_t)1 << 32))) {
            *piece = (uint32_t)(left >> 32) - 1;
            return true;
        }
    return false;
}

static void run_piece(const job *j, uint32_t piece)
{
    int64_t begin = piece * j->grain, end = begin + j->grain;
    j->fn(j->ctx, begin, end < j->n ? end : j->n);
}

/* The next share that nobody has: its index, or -1. */
static int claim(const job *j)
{
    int i = atomic_fetch_add_explicit(&pool.claimed, 1, memory_order_acq_rel);
    if (i >= j->shares)
        return -1;
    uint64_t first = (uint64_t)j->pieces * (uint64_t)i / (uint64_t)j->shares;
    uint64_t end = (uint64_t)j->pieces * ((uint64_t)i + 1) / (uint64_t)j->shares;
    atomic_store_explicit(&shares[i].left, end << 32 | first, memory_order_release);
    return i;
}

static void take_pieces(const job *j)
{
    bool outer = in_piece;
    uint32_t piece;
    in_piece = true;
    for (int i; (i = claim(j)) >= 0;)
        while (take_first(&shares[i], &piece))
            run_piece(j, piece);
    for (int i = 0; i < j->shares; i++)
        while (take_last(&shares[i], &piece))
            run_piece(j, piece);
    in_piece = outer;
}

/* A worker joins the open job, if there is one it has not seen and it is among the wanted. The job
 * cannot close while `inside` counts us, and we look at generation again after being counted. */
static void join(uint64_t *seen)
{
    atomic_fetch_add(&pool.inside, 1);
    uint64_t g = atomic_load(&pool.generation);
    if (g != *seen && (g & 1)) {
        *seen = g;
        if (atomic_fetch_add(&pool.admitted, 1) < atomic_load(&pool.wanted) - 1)
            take_pieces(&pool.now);
    }
    atomic_fetch_sub_explicit(&pool.inside, 1, memory_order_release);
}

static bool job_open(uint64_t seen)
{
    uint64_t g = atomic_load_explicit(&pool.generation, memory_order_acquire);
    return g != seen && (g & 1);
}

static void *worker(void *arg)
{
    (void)arg;
    uint64_t seen = 0;
    for (;;) {
        uint64_t until = nx_os_monotonic_ns() + SPIN_NS;
        bool found = job_open(seen);
        while (!found && nx_os_monotonic_ns() < until) {
            for (int i = 0; i < 64 && !found; i++, relax())
                found = job_open(seen);
        }
        if (!found) {
            pthread_mutex_lock(&pool.lock);
            pool.sleeping++;
            while (!job_open(seen))
                pthread_cond_wait(&pool.wake, &pool.lock);
            pool.sleeping--;
            pthread_mutex_unlock(&pool.lock);
        }
        join(&seen);
    }
    return NULL;
}

int nx_pool_threads(void)
{
    int n = atomic_load_explicit(&pool.wanted, memory_order_relaxed);
    if (n > 0)
        return n;
    const char *env = getenv("NEXUS_THREADS");
    n = env ? atoi(env) : 0;
    if (n < 1)
        n = nx_os_cpus();
    if (n > MAX_THREADS)
        n = MAX_THREADS;
    atomic_store(&pool.wanted, n);
    return n;
}

void nx_pool_set_threads(int n)
{
    pthread_mutex_lock(&pool.use); /* never in the middle of a job */
    atomic_store(&pool.wanted, n < 0 ? 0 : n > MAX_THREADS ? MAX_THREADS : n);
    pthread_mutex_unlock(&pool.use);
}

/* With pool.use held. Fewer threads than wanted is no error: the caller does what nobody takes. */
static void start_workers(int wanted)
{
    while (pool.started < wanted - 1) {
        pthread_t t;
        if (pthread_create(&t, NULL, worker, NULL) != 0)
            return;
        pthread_detach(t);
        workers[pool.started++] = t;
    }
}

/* ---- where workers wake ------------------------------------------------------------------------ */

/* In a virtual machine Linux takes a processor that sleeps for one that its host gave to others, and wakes
 * workers where the caller runs: both then share it for milliseconds, while the rest is idle. So workers may
 * not run where the caller does, as long as there are as many other processors as workers. With pool.use
 * held, when some sleep. */
#if defined(__linux__)
static int avoided, counted; /* the caller's processor, and the threads that were wanted; 0: never done */
static cpu_set_t allowed, given; /* the processors there are for workers, and those that they may use */

static void keep_away(int threads)
{
    cpu_set_t now;
    int here = sched_getcpu();
    if (here < 0 || (here == avoided && threads == counted) ||
        pthread_getaffinity_np(workers[0], sizeof now, &now) != 0)
        return;
    if (!counted || !CPU_EQUAL(&now, &given)) /* whoever runs the program decides */
        allowed = now;
    given = allowed;
    CPU_CLR(here, &given);
    if (CPU_COUNT(&given) < threads - 1)
        given = allowed;
    for (int i = 0; i < pool.started; i++)
        pthread_setaffinity_np(workers[i], sizeof given, &given);
    avoided = here;
    counted = threads;
}
#else
static void keep_away(int threads)
{
    (void)threads;
}
#endif

static void run_alone(int64_t n, int64_t grain, nx_piece fn, void *ctx)
{
    for (int64_t begin = 0; begin < n; begin += grain)
        fn(ctx, begin, begin + grain < n ? begin + grain : n);
}

void nx_parallel(int64_t n, int64_t grain, nx_piece fn, void *ctx)
{
    if (grain < 1)
        grain = 1;
    int64_t pieces = (n + grain - 1) / grain;
    int threads = nx_pool_threads();
    bool countable = pieces <= UINT32_MAX; /* in a share */
    if (pieces <= 1 || !countable || threads == 1 || in_piece || pthread_mutex_trylock(&pool.use) != 0) {
        run_alone(n, grain, fn, ctx);
        return;
    }
    start_workers(threads);
    pool.now = (job){fn, ctx, n, grain, pieces < threads ? (int)pieces : threads, (uint32_t)pieces};
    atomic_store(&pool.claimed, 0);
    atomic_store(&pool.admitted, 0);
    atomic_fetch_add(&pool.generation, 1); /* odd: open */
    pthread_mutex_lock(&pool.lock);
    if (pool.sleeping) {
        keep_away(threads);
        pthread_cond_broadcast(&pool.wake);
    }
    pthread_mutex_unlock(&pool.lock);
    take_pieces(&pool.now);
    atomic_fetch_add(&pool.generation, 1); /* even: closed, nobody joins any more */
    for (int spins = 0; atomic_load_explicit(&pool.inside, memory_order_acquire); spins++)
        spins < 2000 ? relax() : (void)sched_yield(); /* a worker may have lost its processor */
    pthread_mutex_unlock(&pool.use);
}

/* ---- memory of a thread -------------------------------------------------------------------------- */

typedef struct {
    void *at;
    size_t size;
    uint64_t job;
} thread_memory;

static pthread_key_t memory_key;
static pthread_once_t memory_once = PTHREAD_ONCE_INIT;

static void memory_free(void *p)
{
    thread_memory *m = p;
    free(m->at);
    free(m);
}

static void memory_key_make(void)
{
    NX_BUG_IF(pthread_key_create(&memory_key, memory_free) != 0);
}

uint64_t nx_job_number(void)
{
    static _Atomic uint64_t last;
    return atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
}

void *nx_thread_memory(uint64_t number, size_t bytes, bool *kept)
{
    pthread_once(&memory_once, memory_key_make);
    thread_memory *m = pthread_getspecific(memory_key);
    if (!m) {
        m = nx_calloc(1, sizeof *m);
        NX_BUG_IF(pthread_setspecific(memory_key, m) != 0);
    }
    *kept = m->job == number;
    m->job = number;
    if (m->size < bytes) {
        free(m->at);
        m->size = (size_t)nx_whole_lines((int64_t)bytes);
        m->at = aligned_alloc(64, m->size);
        if (!m->at)
            nx_die_nomem(m->size);
    }
    return m->at;
}
