/*
 * linalg_batch.c: runs LAPACK's routines over batches; see linalg_batch.h.
 *
 * One job at a time in the whole process: the library's number of threads is one for all.
 */
#include "engine/cpu/linalg_batch.h"

#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "engine/cpu/pool.h"

static pthread_mutex_t library_lock = PTHREAD_MUTEX_INITIALIZER;

void *nx_linalg_take(linalg_scratch *s, int64_t n, size_t each)
{
    void *p = s->base ? s->base + s->used : NULL;
    s->used += (size_t)nx_whole_lines(n * (int64_t)each);
    return p;
}

void nx_linalg_job_init(linalg_job *j, const nx_call *c)
{
    const nx_view *a = &c->in[0];
    const char *why;
    *j = (linalg_job){.call = c, .type = nx_lapack_type(a->dtype), .batch = 1};
    j->m = a->shape[a->ndim - 2];
    j->n = a->shape[a->ndim - 1];
    j->k = j->m < j->n ? j->m : j->n;
    for (int i = 0; i < a->ndim - 2; i++)
        j->batch *= a->shape[i];
    j->lapack = nx_lapack_get(&why);
}

static int64_t pieces_of(const linalg_job *j)
{
    return j->batch < LINALG_PIECES ? j->batch : LINALG_PIECES;
}

size_t nx_linalg_workspace(const linalg_job *j, size_t scratch)
{
    return scratch * (size_t)pieces_of(j); /* nx_linalg_take keeps it a multiple of 64 */
}

/* Output matrices are told from lists by what the batch leaves of them. */
static void fill_nan(const linalg_job *j, int64_t i)
{
    for (int o = 0; o < j->call->n_out; o++) {
        const nx_view *v = &j->call->out[o];
        int64_t each = nx_view_size(v) / j->batch;
        void *at = linalg_at(v, i, each);
        if (v->dtype == NX_FLOAT64)
            for (int64_t k = 0; k < each; k++)
                ((double *)at)[k] = NAN;
        else if (v->dtype == NX_UINT32)
            memset(at, 0, (size_t)each * 4);
        else
            for (int64_t k = 0; k < each * (v->dtype == NX_COMPLEX64 ? 2 : 1); k++)
                ((float *)at)[k] = NAN;
    }
}

static void piece(void *ctx, int64_t begin, int64_t end)
{
    linalg_job *j = ctx;
    int64_t pieces = pieces_of(j);
    char *scratch = (char *)j->call->workspace + (size_t)begin * j->scratch;
    for (int64_t i = j->batch * begin / pieces; i < j->batch * end / pieces; i++) {
        int info = j->one(j, i, scratch), none = 0;
        if (info == 0)
            continue;
        fill_nan(j, i);
        __atomic_compare_exchange_n((int *)&j->info, &none, info, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED);
    }
}

void nx_linalg_run(linalg_job *j, size_t scratch, const char *name, const char *reason)
{
    const char *why;
    if (!nx_lapack_get(&why)) {
        for (int64_t i = 0; i < j->batch; i++)
            fill_nan(j, i);
        nx_task_fail("[%s] %s", name, why);
        return;
    }
    j->scratch = scratch;
    pthread_mutex_lock(&library_lock);
    if (j->lapack->set_threads)
        j->lapack->set_threads(j->batch == 1 && (int64_t)j->m * j->n > 128 * 128 ? nx_pool_threads() : 1);
    if (j->batch == 1)
        piece(j, 0, 1);
    else
        nx_parallel(pieces_of(j), 1, piece, j);
    pthread_mutex_unlock(&library_lock);
    if (j->info)
        nx_task_fail("[%s] %s (LAPACK's info is %d)", name, reason, j->info);
}

enum { TILE = 16 };

#define TRANSPOSE(T, bytes)                                                                       \
    static void transpose_##bytes(T *restrict to, const T *restrict from, int64_t rows, int64_t cols) \
    {                                                                                             \
        for (int64_t r0 = 0; r0 < rows; r0 += TILE)                                               \
            for (int64_t c0 = 0; c0 < cols; c0 += TILE)                                           \
                for (int64_t r = r0; r < rows && r < r0 + TILE; r++)                              \
                    for (int64_t c = c0; c < cols && c < c0 + TILE; c++)                          \
                        to[c * rows + r] = from[r * cols + c];                                    \
    }
TRANSPOSE(uint32_t, 4)
TRANSPOSE(uint64_t, 8)

void nx_linalg_transpose(void *to, const void *from, int64_t rows, int64_t cols, size_t size)
{
    if (size == 4)
        transpose_4(to, from, rows, cols);
    else
        transpose_8(to, from, rows, cols);
}
