/*
 * multivariate.c: normal random vectors with a covariance: mean + z C^1/2, z of independent numbers
 * and the root U S^1/2 V^T from the singular values of C.
 */
#include "base/error.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/linalg.h"
#include "engine/ops/matmul.h"
#include "engine/ops/random.h"
#include "engine/ops/shape.h"

static bool check(const nx_array *mean, const nx_array *cov, nx_dtype dtype)
{
    if (dtype != NX_FLOAT32)
        return nx_fail("[multivariate_normal] dtype must be float32.");
    if (mean->ndim < 1)
        return nx_fail("[multivariate_normal] mean must have at least one dimension.");
    if (cov->ndim < 2)
        return nx_fail("[multivariate_normal] cov must have at least two dimensions.");
    int n = mean->shape[mean->ndim - 1];
    if (cov->shape[cov->ndim - 1] != cov->shape[cov->ndim - 2])
        return nx_fail("[multivariate_normal] last two dimensions of cov must be equal.");
    return n == cov->shape[cov->ndim - 1] ||
           nx_fail("[multivariate_normal] mean and cov must have compatible shapes.");
}

nx_array *nx_random_multivariate_normal(nx_array *mean, nx_array *cov, const int *shape, int ndim,
                                        nx_dtype dtype, nx_array *key, nx_stream *s)
{
    nx_dims batch, all;
    nx_array *svd[3];
    if (!mean || !cov || !check(mean, cov, dtype))
        return NULL;
    if (!nx_broadcast_dims(mean->shape, mean->ndim - 1, cov->shape, cov->ndim - 2, &batch) ||
        !nx_broadcast_dims(shape, ndim, batch.v, batch.n, &all))
        return NULL;
    if (all.n > NX_MAX_NDIM - 2)
        return nx_fail_null("[multivariate_normal] %d dimensions are too many.", all.n + 1);
    all.v[all.n++] = mean->shape[mean->ndim - 1];
    nx_array *z = nx_random_normal(all.v, all.n, dtype, NULL, NULL, key, s);
    if (!z || !nx_svd(nx_dtype_in((nx_dtype)cov->dtype, NX_REAL_MATRIX | NX_COMPLEXES)
                          ? cov
                          : nx_astype(cov, NX_FLOAT32, s), true, s, svd))
        return NULL;
    nx_array *root = nx_multiply(svd[0], nx_expand_dims(nx_sqrt(svd[1], s), -2, s), s);
    root = nx_matmul(root, svd[2], s);
    nx_array *x = nx_squeeze_axis(nx_matmul(nx_expand_dims(z, -2, s), root, s), -2, s);
    return nx_add(x, mean, s);
}
