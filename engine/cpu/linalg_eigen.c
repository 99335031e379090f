/*
 * linalg_eigen.c: eigenvalues and singular values by LAPACK.
 */
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "engine/cpu/linalg_batch.h"
#include "engine/ops/params.h"

static size_t element(const linalg_job *j)
{
    return nx_dtype_size(j->call->in[0].dtype);
}

static size_t real_element(const linalg_job *j)
{
    return j->type == LP_DOUBLE ? sizeof(double) : sizeof(float);
}

/* Sizes of scratch are passed as ints. */
static int as_int(int64_t n)
{
    return n > INT_MAX ? INT_MAX : n < 1 ? 1 : (int)n;
}

static bool fits_int(int64_t n)
{
    return n <= INT_MAX;
}

/* Infos of our own: LAPACK counts its scratch in 32 bits, and does not check for NaN everywhere. */
enum { TOO_LARGE = -1000, NOT_FINITE = -1001 };

/* A copy of input matrix i; false if there is an infinity or a NaN in it. */
static bool copy_finite(const linalg_job *j, int64_t i, void *to)
{
    int64_t n = (int64_t)j->m * j->n;
    const void *from = linalg_at(&j->call->in[0], i, n);
    double zeros = 0; /* NaN once something is not finite */
    memcpy(to, from, (size_t)n * element(j));
    if (j->type == LP_DOUBLE)
        for (int64_t k = 0; k < n; k++)
            zeros += ((const double *)from)[k] * 0;
    else
        for (int64_t k = 0; k < n * (j->type == LP_COMPLEX ? 2 : 1); k++)
            zeros += (double)(((const float *)from)[k] * 0);
    return zeros == 0;
}

/* ---- singular values -------------------------------------------------------------------------- */

/*
 * To LAPACK A is its transpose [n, m]: the left vectors it finds are our right ones, and what it
 * writes by columns reads by rows as U and V^H. So nothing has to be transposed.
 */
typedef struct {
    char *a, *work, *rwork;
    int *iwork;
    int64_t lwork;
    size_t used;
} svd_scratch;

static bool svd_wants_vectors(const linalg_job *j)
{
    return ((const nx_vectors_params *)j->call->params)->vectors;
}

static svd_scratch svd_layout(const linalg_job *j, char *base)
{
    linalg_scratch s = {base, 0};
    int64_t k = j->k, most = j->m > j->n ? j->m : j->n, real = 0;
    svd_scratch w = {.lwork = 4 * k * k + 7 * k + most + 64 * (k + most)};
    if (!svd_wants_vectors(j))
        w.lwork = 10 * k + most + 64 * (k + most);
    if (j->type == LP_COMPLEX)
        real = svd_wants_vectors(j) ? 5 * k * k + 5 * k + 2 * most * k + 2 * k * k + k : 7 * k;
    w.a = nx_linalg_take(&s, (int64_t)j->m * j->n, element(j));
    w.work = nx_linalg_take(&s, w.lwork, element(j));
    w.rwork = nx_linalg_take(&s, real, sizeof(float));
    w.iwork = nx_linalg_take(&s, 8 * k, sizeof(int));
    w.used = s.used;
    return w;
}

/* Without rows or columns there are no values, and any vectors will do. */
static void identity(const nx_view *v, int64_t i, int64_t n)
{
    size_t size = nx_dtype_size(v->dtype);
    char *a = linalg_at(v, i, n * n);
    memset(a, 0, (size_t)(n * n) * size);
    for (int64_t r = 0; r < n; r++) {
        char *at = a + (size_t)(r * n + r) * size;
        if (v->dtype == NX_FLOAT64)
            *(double *)at = 1;
        else
            *(float *)at = 1;
    }
}

static int svd_one(const linalg_job *j, int64_t i, char *scratch)
{
    svd_scratch w = svd_layout(j, scratch);
    const nx_view *out = j->call->out;
    bool vectors = svd_wants_vectors(j);
    int64_t m = j->m, n = j->n;
    int info = 0, lwork = as_int(w.lwork), one = 1;
    if (!fits_int(w.lwork))
        return TOO_LARGE;
    if (j->k == 0) {
        identity(&out[0], i, m);
        identity(&out[2], i, n);
        return 0;
    }
    if (!copy_finite(j, i, w.a))
        return NOT_FINITE;
    void *s = linalg_at(&out[vectors ? 1 : 0], i, j->k);
    void *u = vectors ? linalg_at(&out[2], i, n * n) : w.work;
    void *vt = vectors ? linalg_at(&out[0], i, m * m) : w.work;
    const int *ldu = vectors ? &j->n : &one, *ldvt = vectors ? &j->m : &one;
    const char *job = vectors ? "A" : "N";
    if (j->type == LP_COMPLEX)
        j->lapack->cgesdd(job, &j->n, &j->m, w.a, &j->n, s, u, ldu, vt, ldvt, w.work, &lwork, w.rwork,
                          w.iwork, &info, 1);
    else
        j->lapack->gesdd[j->type](job, &j->n, &j->m, w.a, &j->n, s, u, ldu, vt, ldvt, w.work, &lwork,
                                  w.iwork, &info, 1);
    return info;
}

size_t nx_linalg_svd_workspace(const nx_call *c)
{
    linalg_job j;
    nx_linalg_job_init(&j, c);
    return nx_linalg_workspace(&j, svd_layout(&j, NULL).used);
}

void nx_linalg_svd(const nx_call *c)
{
    linalg_job j;
    nx_linalg_job_init(&j, c);
    j.one = svd_one;
    nx_linalg_run(&j, svd_layout(&j, NULL).used, "linalg::svd",
                  "no singular values: is a number not finite, or the matrix too large?");
}

/* ---- eigenvalues of any matrix ------------------------------------------------------------------ */

/*
 * Left vectors u of the transpose, u^H A^T = w u^H, are the conjugates of right vectors of A, which
 * saves transposing. A pair of conjugate values of a real matrix has its vectors' real and imaginary
 * parts in two columns.
 */
typedef struct {
    char *a, *values, *vectors, *work, *rwork;
    int64_t lwork;
    size_t used;
} eig_scratch;

static eig_scratch eig_layout(const linalg_job *j, char *base)
{
    linalg_scratch s = {base, 0};
    int64_t n = j->n;
    eig_scratch w = {.lwork = 4 * n + 64 * n};
    w.a = nx_linalg_take(&s, n * n, element(j));
    w.values = nx_linalg_take(&s, 2 * n, real_element(j));
    w.vectors = nx_linalg_take(&s, n * n, element(j));
    w.work = nx_linalg_take(&s, w.lwork, element(j));
    w.rwork = nx_linalg_take(&s, 2 * n, sizeof(float));
    w.used = s.used;
    return w;
}

static double real_at(const linalg_job *j, const char *a, int64_t i)
{
    return j->type == LP_DOUBLE ? ((const double *)(const void *)a)[i]
                                : (double)((const float *)(const void *)a)[i];
}

/* Columns of real numbers become columns of complex ones. */
static void unpack_vectors(const linalg_job *j, const eig_scratch *w, float *out)
{
    int64_t n = j->n;
    for (int64_t col = 0; col < n; col++) {
        double im = real_at(j, w->values, n + col);
        int64_t re = im < 0 ? col - 1 : col; /* the second of a pair conjugates the first */
        for (int64_t row = 0; row < n; row++) {
            float *to = out + 2 * (row * n + col);
            to[0] = (float)real_at(j, w->vectors, re * n + row);
            to[1] = im == 0 ? 0 : (float)real_at(j, w->vectors, (re + 1) * n + row);
            if (im > 0)
                to[1] = -to[1];
        }
    }
}

static void conjugate_columns(const float *from, int64_t n, float *to)
{
    for (int64_t col = 0; col < n; col++)
        for (int64_t row = 0; row < n; row++) {
            to[2 * (row * n + col)] = from[2 * (col * n + row)];
            to[2 * (row * n + col) + 1] = -from[2 * (col * n + row) + 1];
        }
}

static int eig_one(const linalg_job *j, int64_t i, char *scratch)
{
    eig_scratch w = eig_layout(j, scratch);
    const nx_view *out = j->call->out;
    bool vectors = ((const nx_vectors_params *)j->call->params)->vectors;
    int64_t n = j->n;
    int info, lwork = as_int(w.lwork), one = 1;
    float *values = linalg_at(&out[0], i, n), *v = vectors ? linalg_at(&out[1], i, n * n) : NULL;
    const char *left = vectors ? "V" : "N";
    if (!copy_finite(j, i, w.a))
        return NOT_FINITE;
    if (j->type == LP_COMPLEX) {
        j->lapack->cgeev(left, "N", &j->n, w.a, &j->n, values, w.vectors, &j->n, w.vectors, &one,
                         w.work, &lwork, w.rwork, &info, 1, 1);
        if (vectors && !info)
            conjugate_columns((const float *)(const void *)w.vectors, n, v);
        return info;
    }
    char *im = w.values + (size_t)n * real_element(j);
    j->lapack->geev[j->type](left, "N", &j->n, w.a, &j->n, w.values, im, w.vectors, &j->n, w.vectors,
                             &one, w.work, &lwork, &info, 1, 1);
    for (int64_t k = 0; k < n && !info; k++) {
        values[2 * k] = (float)real_at(j, w.values, k);
        values[2 * k + 1] = (float)real_at(j, w.values, n + k);
    }
    if (vectors && !info)
        unpack_vectors(j, &w, v);
    return info;
}

size_t nx_linalg_eig_workspace(const nx_call *c)
{
    linalg_job j;
    nx_linalg_job_init(&j, c);
    return nx_linalg_workspace(&j, eig_layout(&j, NULL).used);
}

void nx_linalg_eig(const nx_call *c)
{
    linalg_job j;
    nx_linalg_job_init(&j, c);
    j.one = eig_one;
    nx_linalg_run(&j, eig_layout(&j, NULL).used, "linalg::eig",
                  "no eigenvalues: is a number not finite?");
}

/* ---- of a symmetric or Hermitian one ------------------------------------------------------------- */

typedef struct {
    char *a, *work, *rwork;
    int *iwork;
    int64_t lwork, lrwork, liwork;
    size_t used;
} eigh_scratch;

static eigh_scratch eigh_layout(const linalg_job *j, char *base)
{
    linalg_scratch s = {base, 0};
    int64_t n = j->n;
    bool vectors = ((const nx_eigh_params *)j->call->params)->vectors, complex = j->type == LP_COMPLEX;
    eigh_scratch w = {.lwork = 1 + 70 * n + (vectors ? 2 * n * n : 0),
                      .lrwork = complex ? 1 + 5 * n + (vectors ? 2 * n * n : 0) : 0,
                      .liwork = 3 + 5 * n};
    w.a = nx_linalg_take(&s, n * n, element(j));
    w.work = nx_linalg_take(&s, w.lwork, element(j));
    w.rwork = nx_linalg_take(&s, w.lrwork, sizeof(float));
    w.iwork = nx_linalg_take(&s, w.liwork, sizeof(int));
    w.used = s.used;
    return w;
}

static int eigh_one(const linalg_job *j, int64_t i, char *scratch)
{
    eigh_scratch w = eigh_layout(j, scratch);
    const nx_eigh_params *p = j->call->params;
    const nx_view *out = j->call->out;
    int64_t n = j->n;
    int info, lwork = as_int(w.lwork), lrwork = as_int(w.lrwork), liwork = as_int(w.liwork);
    if (!fits_int(w.lwork) || !fits_int(w.lrwork) || !fits_int(w.liwork))
        return TOO_LARGE;
    const char *job = p->vectors ? "V" : "N", *uplo = p->upper ? "U" : "L"; /* of the transpose, as MLX */
    void *values = linalg_at(&out[0], i, n);
    if (!copy_finite(j, i, w.a))
        return NOT_FINITE;
    if (j->type == LP_COMPLEX)
        j->lapack->cheevd(job, uplo, &j->n, w.a, &j->n, values, w.work, &lwork, w.rwork, &lrwork,
                          w.iwork, &liwork, &info, 1, 1);
    else
        j->lapack->syevd[j->type](job, uplo, &j->n, w.a, &j->n, values, w.work, &lwork, w.iwork,
                                  &liwork, &info, 1, 1);
    if (info || !p->vectors)
        return info;
    if (j->type == LP_COMPLEX) /* those of the transpose, which is the conjugate */
        conjugate_columns((const float *)(const void *)w.a, n, linalg_at(&out[1], i, n * n));
    else
        nx_linalg_transpose(linalg_at(&out[1], i, n * n), w.a, n, n, element(j));
    return 0;
}

size_t nx_linalg_eigh_workspace(const nx_call *c)
{
    linalg_job j;
    nx_linalg_job_init(&j, c);
    return nx_linalg_workspace(&j, eigh_layout(&j, NULL).used);
}

void nx_linalg_eigh(const nx_call *c)
{
    linalg_job j;
    nx_linalg_job_init(&j, c);
    j.one = eigh_one;
    nx_linalg_run(&j, eigh_layout(&j, NULL).used, "linalg::eigh",
                  "no eigenvalues: is a number not finite, or the matrix too large?");
}
