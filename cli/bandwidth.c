#include "cli/bandwidth.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/os.h"

enum { HUGE_PAGE = 2 << 20, BYTES = 256 << 20, PART = 32 << 20, PASSES = 32, MOST_THREADS = 64 };

typedef uint64_t line __attribute__((vector_size(64)));

typedef struct {
    const line *from;
    size_t n;
    uint64_t sum;
} reader;

static void *read_lines(void *arg)
{
    reader *r = arg;
    line a = {0}, b = {0};
    for (size_t i = 0; i + 2 <= r->n; i += 2) {
        a += r->from[i];
        b += r->from[i + 1];
    }
    a += b;
    r->sum = a[0] + a[1] + a[2] + a[3] + a[4] + a[5] + a[6] + a[7];
    return NULL;
}

/* One pass over a part, shared out; the first share is the caller's. */
static double pass(const line *memory, int threads)
{
    reader readers[MOST_THREADS];
    pthread_t started[MOST_THREADS];
    bool running[MOST_THREADS] = {false};
    size_t share = PART / sizeof(line) / (size_t)threads;
    double start = nx_os_seconds();
    for (int i = threads - 1; i >= 0; i--) {
        readers[i] = (reader){memory + (size_t)i * share, share, 0};
        running[i] = i && pthread_create(&started[i], NULL, read_lines, &readers[i]) == 0;
        if (!running[i])
            read_lines(&readers[i]);
    }
    for (int i = 1; i < threads; i++)
        if (running[i])
            pthread_join(started[i], NULL);
    double seconds = nx_os_seconds() - start;
    volatile uint64_t sink = readers[0].sum; /* or nothing needs to be read */
    (void)sink;
    return seconds > 0 ? (double)(share * sizeof(line) * (size_t)threads) / seconds : 0;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Passes are short, so that other programs leave some alone; the third best is no accident. */
double cli_read_bandwidth(int threads)
{
    double speeds[PASSES];
    threads = threads > 0 ? threads : nx_os_cpus();
    threads = threads < MOST_THREADS ? threads : MOST_THREADS;
    line *memory = aligned_alloc(HUGE_PAGE, BYTES);
    if (!memory)
        return 0;
#if defined(MADV_HUGEPAGE)
    (void)madvise(memory, BYTES, MADV_HUGEPAGE); /* as weights lie: twice as fast as through small pages */
#endif
    memset(memory, 1, BYTES); /* pages are there */
    for (int i = 0; i < PASSES; i++)
        speeds[i] = pass(memory + i % (BYTES / PART) * (PART / (int)sizeof(line)), threads);
    free(memory);
    qsort(speeds, PASSES, sizeof *speeds, by_value);
    return speeds[PASSES - 3];
}
