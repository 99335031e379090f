/*
 * lapack.h: LAPACK as a library that is loaded when it is first needed: OpenBLAS, or what
 * NEXUS_LAPACK names. Routines have Fortran's names and calling convention: everything by address,
 * matrices by columns, the lengths of strings at the end.
 *
 * A row-major matrix is, to LAPACK, its transpose; callers know.
 */
#ifndef NX_CPU_LAPACK_H
#define NX_CPU_LAPACK_H

#include <stddef.h>

#include "engine/core/dtype.h"

/* The types LAPACK knows, of those the engine has; a routine is a row of one function for each. */
enum { LP_FLOAT, LP_DOUBLE, LP_COMPLEX, LP_TYPES };
enum { LP_VALUES, LP_VECTORS };

static inline int nx_lapack_type(nx_dtype t)
{
    return t == NX_COMPLEX64 ? LP_COMPLEX : t == NX_FLOAT64 ? LP_DOUBLE : LP_FLOAT;
}

typedef const int *lp_int; /* a size, by address */
typedef const char *lp_char;
typedef void lp_qr_fn(lp_int m, lp_int n, void *a, lp_int lda, void *tau, void *work, lp_int lwork,
                      int *info);
typedef void lp_q_fn(lp_int m, lp_int n, lp_int k, void *a, lp_int lda, const void *tau, void *work,
                     lp_int lwork, int *info);
typedef void lp_lu_fn(lp_int m, lp_int n, void *a, lp_int lda, int *pivots, int *info);
typedef void lp_inverse_fn(lp_int n, void *a, lp_int lda, const int *pivots, void *work, lp_int lwork,
                           int *info);
typedef void lp_triangle_fn(lp_char uplo, lp_char diag, lp_int n, void *a, lp_int lda, int *info,
                            size_t, size_t);
typedef void lp_cholesky_fn(lp_char uplo, lp_int n, void *a, lp_int lda, int *info, size_t);
typedef void lp_svd_fn(lp_char job, lp_int m, lp_int n, void *a, lp_int lda, void *s, void *u,
                       lp_int ldu, void *vt, lp_int ldvt, void *work, lp_int lwork, int *iwork,
                       int *info, size_t);
typedef void lp_svd_complex_fn(lp_char job, lp_int m, lp_int n, void *a, lp_int lda, void *s, void *u,
                               lp_int ldu, void *vt, lp_int ldvt, void *work, lp_int lwork,
                               void *rwork, int *iwork, int *info, size_t);
typedef void lp_eig_fn(lp_char left, lp_char right, lp_int n, void *a, lp_int lda, void *re, void *im,
                       void *vl, lp_int ldvl, void *vr, lp_int ldvr, void *work, lp_int lwork,
                       int *info, size_t, size_t);
typedef void lp_eig_complex_fn(lp_char left, lp_char right, lp_int n, void *a, lp_int lda, void *w,
                               void *vl, lp_int ldvl, void *vr, lp_int ldvr, void *work, lp_int lwork,
                               void *rwork, int *info, size_t, size_t);
typedef void lp_eigh_fn(lp_char job, lp_char uplo, lp_int n, void *a, lp_int lda, void *w, void *work,
                        lp_int lwork, int *iwork, lp_int liwork, int *info, size_t, size_t);
typedef void lp_eigh_complex_fn(lp_char job, lp_char uplo, lp_int n, void *a, lp_int lda, void *w,
                                void *work, lp_int lwork, void *rwork, lp_int lrwork, int *iwork,
                                lp_int liwork, int *info, size_t, size_t);

typedef struct {
    lp_qr_fn *geqrf[2]; /* float, double */
    lp_q_fn *orgqr[2];
    lp_lu_fn *getrf[2];
    lp_inverse_fn *getri[2];
    lp_triangle_fn *trtri[2];
    lp_cholesky_fn *potrf[2];
    lp_svd_fn *gesdd[2];
    lp_svd_complex_fn *cgesdd;
    lp_eig_fn *geev[2];
    lp_eig_complex_fn *cgeev;
    lp_eigh_fn *syevd[2];
    lp_eigh_complex_fn *cheevd;
    void (*set_threads)(int n); /* NULL where the library has no threads of its own */
} nx_lapack;

/* The library, loaded at the first call. NULL where there is none; then *why says what to install. */
const nx_lapack *nx_lapack_get(const char **why);

#endif
