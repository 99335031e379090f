/*
 * pool.h: the threads that share the work of one kernel.
 *
 * nx_parallel cuts 0..n into pieces and runs them on the pool and on the caller. Pieces are cut by
 * n and grain alone, never by the number of threads, and no result is combined across pieces here:
 * so results cannot depend on how many threads there are. A call from inside a piece runs in place.
 */
#ifndef NX_CPU_POOL_H
#define NX_CPU_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One piece: indices begin..end-1. */
typedef void (*nx_piece)(void *ctx, int64_t begin, int64_t end);

/* Runs fn over 0..n in pieces of `grain` indices (the last may be shorter). Returns when all are
 * done. Work under one grain runs on the caller at once. */
void nx_parallel(int64_t n, int64_t grain, nx_piece fn, void *ctx);

/* Threads that share work, the caller included. NEXUS_THREADS, else the processors this process may
 * use. Setting it takes effect with the next nx_parallel; 0: the default again. */
int nx_pool_threads(void);
void nx_pool_set_threads(int n);

/* A grain so that a piece moves about `bytes` bytes when one index costs `bytes_each`. */
static inline int64_t nx_grain(int64_t bytes_each, int64_t bytes)
{
    int64_t g = bytes / (bytes_each > 0 ? bytes_each : 1);
    return g > 0 ? g : 1;
}
enum { NX_PIECE_BYTES = 128 * 1024 }; /* worth a hand-over to another thread */

/* Memory of the calling thread, for what every thread makes for itself in a job: cheaper than to fetch it, line
 * by line, from the processor that made it. *kept: it holds what this thread put there in the same job, whose
 * number is nx_job_number()'s. Aligned to a cache line; valid until the thread asks for another job. */
void *nx_thread_memory(uint64_t number, size_t bytes, bool *kept);
uint64_t nx_job_number(void); /* another at each call */

/* Bytes rounded up to whole cache lines, so that parts of one workspace do not share any. */
static inline int64_t nx_whole_lines(int64_t bytes)
{
    return (bytes + 63) & ~(int64_t)63;
}

#endif
