/* The thread pool: every index once, nested and concurrent calls, changing thread counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <pthread.h>
#include <sched.h>
#include <cmocka.h>

#include "base/os.h"
#include "engine/cpu/pool.h"

enum { N = 100000 };

static void mark(void *ctx, int64_t begin, int64_t end)
{
    _Atomic int *seen = ctx;
    for (int64_t i = begin; i < end; i++)
        atomic_fetch_add_explicit(&seen[i], 1, memory_order_relaxed);
}

static void check_once(int64_t n, int64_t grain)
{
    _Atomic int *seen = calloc(N, sizeof *seen);
    nx_parallel(n, grain, mark, seen);
    for (int64_t i = 0; i < N; i++)
        assert_int_equal(atomic_load(&seen[i]), i < n);
    free(seen);
}

static void every_index_once(void **state)
{
    int64_t sizes[] = {0, 1, 7, 1000, 99999, N}, grains[] = {1, 3, 64, 5000, 1 << 30};
    for (int threads = 1; threads <= 9; threads += 4) {
        nx_pool_set_threads(threads);
        assert_int_equal(nx_pool_threads(), threads);
        for (size_t i = 0; i < 6; i++)
            for (size_t k = 0; k < 5; k++)
                check_once(sizes[i], grains[k]);
    }
    nx_pool_set_threads(0);
    assert_true(nx_pool_threads() >= 1);
}

static void inner(void *ctx, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i < end; i++)
        nx_parallel(100, 10, mark, (_Atomic int *)ctx + i * 100);
}

static void nested_calls_run_in_place(void **state)
{
    _Atomic int *seen = calloc(N, sizeof *seen);
    nx_pool_set_threads(3);
    nx_parallel(N / 100, 7, inner, seen);
    for (int64_t i = 0; i < N; i++)
        assert_int_equal(atomic_load(&seen[i]), 1);
    nx_pool_set_threads(0);
    free(seen);
}

/* Index 0 ends when all others have: of its thread's share too, which others must have taken over. */
static void first_waits(void *ctx, int64_t begin, int64_t end)
{
    enum { SECONDS = 20 };
    _Atomic int *done = ctx;
    double until = nx_os_seconds() + SECONDS;
    while (begin == 0 && atomic_load(done) < 99 && nx_os_seconds() < until)
        sched_yield();
    assert_true(begin > 0 || atomic_load(done) == 99);
    atomic_fetch_add(done, (int)(end - begin));
}

static void a_thread_that_is_held_up_is_helped_out(void **state)
{
    _Atomic int done = 0;
    nx_pool_set_threads(2);
    nx_parallel(100, 1, first_waits, &done);
    assert_int_equal(atomic_load(&done), 100);
    nx_pool_set_threads(0);
}

static void *caller(void *arg)
{
    for (int i = 0; i < 200; i++)
        nx_parallel(1000, 10, mark, arg);
    return NULL;
}

static void callers_do_not_meet(void **state)
{
    enum { CALLERS = 4 };
    pthread_t t[CALLERS];
    _Atomic int *seen[CALLERS];
    nx_pool_set_threads(4);
    for (int i = 0; i < CALLERS; i++) {
        seen[i] = calloc(1000, sizeof **seen);
        pthread_create(&t[i], NULL, caller, seen[i]);
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(t[i], NULL);
        for (int k = 0; k < 1000; k++)
            assert_int_equal(atomic_load(&seen[i][k]), 200);
        free(seen[i]);
    }
    nx_pool_set_threads(0);
}

#if defined(__linux__)
typedef struct {
    pthread_t caller;
    const cpu_set_t *take; /* what the worker takes for itself, or NULL */
    cpu_set_t worker; /* where it may run */
    bool failed;
    _Atomic int met;
} places;

/* Two pieces, each of which waits for the other: one is the worker's. */
static void note_places(void *ctx, int64_t begin, int64_t end)
{
    places *p = ctx;
    for (int64_t i = begin; i < end; i++) {
        atomic_fetch_add(&p->met, 1);
        while (atomic_load(&p->met) < 2)
            sched_yield();
        if (pthread_equal(pthread_self(), p->caller))
            continue;
        p->failed = sched_getaffinity(0, sizeof p->worker, &p->worker) ||
                    (p->take && sched_setaffinity(0, sizeof *p->take, p->take));
    }
}

/* Where the worker may run, woken by a caller on processor `cpu`. */
static cpu_set_t worker_of_caller_on(int cpu, const cpu_set_t *take)
{
    places p = {.caller = pthread_self(), .take = take};
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    nanosleep(&(struct timespec){.tv_nsec = 20 * 1000 * 1000}, NULL); /* the worker sleeps too */
    nx_parallel(2, 1, note_places, &p);
    assert_false(p.failed);
    return p.worker;
}

static void workers_keep_away_from_the_caller(void **state)
{
    cpu_set_t all, alone;
    int cpu[2], n = 0;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    for (int i = 0; i < CPU_SETSIZE && n < 2; i++)
        if (CPU_ISSET(i, &all))
            cpu[n++] = i;
    if (n < 2)
        skip();
    nx_pool_set_threads(2);
    places p = {.caller = pthread_self()};
    nx_parallel(2, 1, note_places, &p); /* the worker is there, with all processors */
    for (int i = 0; i < 4; i++) {
        cpu_set_t want = all, got = worker_of_caller_on(cpu[i % 2], NULL);
        CPU_CLR(cpu[i % 2], &want);
        assert_true(CPU_EQUAL(&got, &want));
    }
    /* Somebody gives the worker one processor: it stays there, wherever the caller is. */
    CPU_ZERO(&alone);
    CPU_SET(cpu[1], &alone);
    worker_of_caller_on(cpu[1], &alone);
    for (int i = 0; i < 4; i++) {
        cpu_set_t got = worker_of_caller_on(cpu[i % 2], i == 3 ? &all : NULL);
        assert_true(CPU_EQUAL(&got, &alone));
    }
    cpu_set_t want = all, got = worker_of_caller_on(cpu[0], NULL);
    CPU_CLR(cpu[0], &want);
    assert_true(CPU_EQUAL(&got, &want));
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
    nx_pool_set_threads(0);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#if defined(__linux__)
        cmocka_unit_test(workers_keep_away_from_the_caller),
#endif
        cmocka_unit_test(every_index_once),
        cmocka_unit_test(nested_calls_run_in_place),
        cmocka_unit_test(a_thread_that_is_held_up_is_helped_out),
        cmocka_unit_test(callers_do_not_meet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
