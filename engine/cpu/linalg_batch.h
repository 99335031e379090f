/*
 * linalg_batch.h: one routine of LAPACK over a batch of matrices: threads take matrices, or, where
 * there is one, the library's own threads share it. Each piece of the work has scratch of its own.
 */
#ifndef NX_CPU_LINALG_BATCH_H
#define NX_CPU_LINALG_BATCH_H

#include <stdbool.h>

#include "engine/cpu/lapack.h"
#include "engine/cpu/linalg.h"

enum { LINALG_PIECES = 16 };

typedef struct linalg_job {
    const nx_call *call;
    const nx_lapack *lapack;
    int type; /* LP_FLOAT … of the input */
    int m, n, k; /* rows, columns, the smaller of them */
    int64_t batch;
    /* Matrix i with its scratch; LAPACK's info: 0 is good, negative and positive as LAPACK has it. */
    int (*one)(const struct linalg_job *j, int64_t i, char *scratch);
    size_t scratch; /* bytes */
    _Atomic int info; /* the first that is not 0 */
} linalg_job;

/* Scratch is handed out piece by piece; with base NULL it is only counted. */
typedef struct {
    char *base;
    size_t used;
} linalg_scratch;
void *nx_linalg_take(linalg_scratch *s, int64_t n, size_t each);

/* m, n, k, type, batch of a call. */
void nx_linalg_job_init(linalg_job *j, const nx_call *c);
/* What the workspace function answers. */
size_t nx_linalg_workspace(const linalg_job *j, size_t scratch);
/* Runs all; where one fails its outputs are NaN and the stream is told: "[name] reason (info)". */
void nx_linalg_run(linalg_job *j, size_t scratch, const char *name, const char *reason);

/* to [cols, rows] = the transpose of from [rows, cols]; elements of 4 or 8 bytes. */
void nx_linalg_transpose(void *to, const void *from, int64_t rows, int64_t cols, size_t size);

/* The matrix of output o, input 0 that belongs to number i of the batch. */
static inline void *linalg_at(const nx_view *v, int64_t i, int64_t elements)
{
    return (char *)v->data + i * elements * (int64_t)nx_dtype_size(v->dtype);
}

#endif
