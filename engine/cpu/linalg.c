/*
 * linalg.c: factorisations and inverses by LAPACK. Eigenvalues and singular values: linalg_eigen.c.
 *
 * LAPACK sees a row-major matrix as its transpose. Where the transpose does as well (an inverse, a
 * triangle with the other name), it works on the rows as they are; else on a transposed copy.
 */
#include "engine/cpu/linalg.h"

#include <stdint.h>
#include <string.h>

#include "engine/cpu/linalg_batch.h"
#include "engine/ops/params.h"

enum { BLOCK = 64 }; /* columns that the blocked routines like scratch for */

static size_t element(const linalg_job *j)
{
    return nx_dtype_size(j->call->in[0].dtype);
}

/* Zeroes what is strictly above (or below) the diagonal of a row-major [rows, cols]. */
static void clear_triangle(char *a, int64_t rows, int64_t cols, bool above, size_t size)
{
    for (int64_t r = 0; r < rows; r++) {
        int64_t begin = above ? r + 1 : 0, end = above ? cols : r < cols ? r : cols;
        if (begin < end)
            memset(a + (size_t)(r * cols + begin) * size, 0, (size_t)(end - begin) * size);
    }
}

/* ---- QR ------------------------------------------------------------------------------------ */

typedef struct {
    char *a, *tau, *work;
    int lwork;
    size_t used;
} qr_scratch;

static qr_scratch qr_layout(const linalg_job *j, char *base)
{
    linalg_scratch s = {base, 0};
    qr_scratch q = {.lwork = (j->n > 1 ? j->n : 1) * BLOCK};
    q.a = nx_linalg_take(&s, (int64_t)j->m * j->n, element(j));
    q.tau = nx_linalg_take(&s, j->k, element(j));
    q.work = nx_linalg_take(&s, q.lwork, element(j));
    q.used = s.used;
    return q;
}

static int qr_one(const linalg_job *j, int64_t i, char *scratch)
{
    qr_scratch w = qr_layout(j, scratch);
    int64_t m = j->m, n = j->n, k = j->k;
    size_t size = element(j);
    int info;
    char *q = linalg_at(&j->call->out[0], i, m * k), *r = linalg_at(&j->call->out[1], i, k * n);
    nx_linalg_transpose(w.a, linalg_at(&j->call->in[0], i, m * n), m, n, size);
    j->lapack->geqrf[j->type](&j->m, &j->n, w.a, &j->m, w.tau, w.work, &w.lwork, &info);
    if (info)
        return info;
    for (int64_t row = 0; row < k; row++)
        for (int64_t col = row; col < n; col++)
            memcpy(r + (size_t)(row * n + col) * size, w.a + (size_t)(col * m + row) * size, size);
    clear_triangle(r, k, n, false, size);
    j->lapack->orgqr[j->type](&j->m, &j->k, &j->k, w.a, &j->m, w.tau, w.work, &w.lwork, &info);
    nx_linalg_transpose(q, w.a, k, m, size);
    return info;
}

size_t nx_linalg_qr_workspace(const nx_call *c)
{
    linalg_job j;
    nx_linalg_job_init(&j, c);
    return nx_linalg_workspace(&j, qr_layout(&j, NULL).used);
}

void nx_linalg_qr(const nx_call *c)
{
    linalg_job j;
    nx_linalg_job_init(&j, c);
    j.one = qr_one;
    nx_linalg_run(&j, qr_layout(&j, NULL).used, "linalg::qr", "the matrix has no QR factorization");
}

/* ---- inverses ------------------------------------------------------------------------------- */

static int inverse_one(const linalg_job *j, int64_t i, char *scratch)
{
    const nx_inverse_params *p = j->call->params;
    int64_t all = (int64_t)j->n * j->n;
    int info, lwork = j->n * BLOCK;
    char *a = linalg_at(&j->call->out[0], i, all);
    linalg_scratch s = {scratch, 0};
    memcpy(a, linalg_at(&j->call->in[0], i, all), (size_t)all * element(j));
    if (p->tri) {
        clear_triangle(a, j->n, j->n, !p->upper, element(j));
        j->lapack->trtri[j->type](p->upper ? "L" : "U", "N", &j->n, a, &j->n, &info, 1, 1);
        return info;
    }
    int *pivots = nx_linalg_take(&s, j->n, sizeof *pivots);
    void *work = nx_linalg_take(&s, lwork, element(j));
    j->lapack->getrf[j->type](&j->n, &j->n, a, &j->n, pivots, &info);
    if (!info)
        j->lapack->getri[j->type](&j->n, a, &j->n, pivots, work, &lwork, &info);
    return info;
}

static size_t inverse_scratch(const linalg_job *j)
{
    linalg_scratch s = {NULL, 0};
    nx_linalg_take(&s, j->n, sizeof(int));
    nx_linalg_take(&s, (int64_t)j->n * BLOCK, element(j));
    return s.used;
}

size_t nx_linalg_inverse_workspace(const nx_call *c)
{
    linalg_job j;
    nx_linalg_job_init(&j, c);
    return nx_linalg_workspace(&j, inverse_scratch(&j));
}

void nx_linalg_inverse(const nx_call *c)
{
    linalg_job j;
    nx_linalg_job_init(&j, c);
    j.one = inverse_one;
    nx_linalg_run(&j, inverse_scratch(&j), "linalg::inv", "the matrix is singular");
}

/* ---- Cholesky ------------------------------------------------------------------------------- */

/* A matrix that is not positive definite leaves a factor as far as it was found, as MLX does. */
static int cholesky_one(const linalg_job *j, int64_t i, char *scratch)
{
    bool upper = ((const nx_cholesky_params *)j->call->params)->upper;
    int64_t all = (int64_t)j->n * j->n;
    int info;
    char *a = linalg_at(&j->call->out[0], i, all);
    (void)scratch;
    memcpy(a, linalg_at(&j->call->in[0], i, all), (size_t)all * element(j));
    j->lapack->potrf[j->type](upper ? "L" : "U", &j->n, a, &j->n, &info, 1);
    clear_triangle(a, j->n, j->n, !upper, element(j));
    return info < 0 ? info : 0;
}

void nx_linalg_cholesky(const nx_call *c)
{
    linalg_job j;
    nx_linalg_job_init(&j, c);
    j.one = cholesky_one;
    nx_linalg_run(&j, 0, "linalg::cholesky", "the matrix has no Cholesky factor");
}

/* ---- LU --------------------------------------------------------------------------------------- */

typedef struct {
    char *a;
    int *pivots, *order;
    size_t used;
} lu_scratch;

static lu_scratch lu_layout(const linalg_job *j, char *base)
{
    linalg_scratch s = {base, 0};
    lu_scratch l;
    l.a = nx_linalg_take(&s, (int64_t)j->m * j->n, element(j));
    l.pivots = nx_linalg_take(&s, j->k, sizeof(int));
    l.order = nx_linalg_take(&s, j->m, sizeof(int));
    l.used = s.used;
    return l;
}

/* Outputs: L and U in one, which rows were exchanged, and where each row of A is in L. */
static int lu_one(const linalg_job *j, int64_t i, char *scratch)
{
    lu_scratch w = lu_layout(j, scratch);
    int64_t m = j->m, n = j->n;
    int info;
    uint32_t *pivots = linalg_at(&j->call->out[1], i, j->k), *rows = linalg_at(&j->call->out[2], i, m);
    nx_linalg_transpose(w.a, linalg_at(&j->call->in[0], i, m * n), m, n, element(j));
    j->lapack->getrf[j->type](&j->m, &j->n, w.a, &j->m, w.pivots, &info);
    if (info)
        return info;
    nx_linalg_transpose(linalg_at(&j->call->out[0], i, m * n), w.a, n, m, element(j));
    for (int64_t r = 0; r < m; r++)
        w.order[r] = (int)r;
    for (int64_t r = 0; r < j->k; r++) {
        int other = w.pivots[r] - 1, t = w.order[r];
        pivots[r] = (uint32_t)other;
        w.order[r] = w.order[other];
        w.order[other] = t;
    }
    for (int64_t r = 0; r < m; r++)
        rows[w.order[r]] = (uint32_t)r;
    return 0;
}

size_t nx_linalg_lu_workspace(const nx_call *c)
{
    linalg_job j;
    nx_linalg_job_init(&j, c);
    return nx_linalg_workspace(&j, lu_layout(&j, NULL).used);
}

void nx_linalg_lu(const nx_call *c)
{
    linalg_job j;
    nx_linalg_job_init(&j, c);
    j.one = lu_one;
    nx_linalg_run(&j, lu_layout(&j, NULL).used, "linalg::lu", "the matrix is singular");
}
