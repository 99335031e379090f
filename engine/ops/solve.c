/*
 * solve.c: equations and generalised inverses, composed of what linalg.c has.
 */
#include <float.h>

#include "base/error.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/index.h"
#include "engine/ops/linalg.h"
#include "engine/ops/matmul.h"
#include "engine/ops/reduce.h"
#include "engine/ops/shape.h"
#include "engine/ops/slice.h"
#include "engine/ops/sort.h"

/* A = L L^T: A^-1 = L^-T L^-1. */
nx_array *nx_cholesky_inv(nx_array *a, bool upper, nx_stream *s)
{
    if (!a || !nx_matrix_check("cholesky_inv", a, NX_REAL_MATRIX, true))
        return NULL;
    nx_array *back = nx_tri_inv(a, upper, s);
    nx_array *turned = back ? nx_swapaxes(back, -1, -2, s) : NULL;
    return upper ? nx_matmul(back, turned, s) : nx_matmul(turned, back, s);
}

/* The first n columns (axis -1) or rows (axis -2). */
static nx_array *first(nx_array *a, int axis, int n, nx_stream *s)
{
    int start[NX_MAX_NDIM] = {0}, stop[NX_MAX_NDIM], ones[NX_MAX_NDIM];
    for (int i = 0; i < a->ndim; i++) {
        stop[i] = a->shape[i];
        ones[i] = 1;
    }
    if (stop[a->ndim + axis] == n)
        return a;
    stop[a->ndim + axis] = n;
    return nx_slice(a, start, a->ndim, stop, a->ndim, ones, a->ndim, s);
}

/* A = U S V^T: the inverse of S on what is not negligible, V S^+ U^T. */
nx_array *nx_pinv(nx_array *a, nx_stream *s)
{
    nx_array *svd[3];
    int last = -1;
    if (!a || !nx_matrix_check("pinv", a, NX_REAL_MATRIX, false) || !nx_svd(a, true, s, svd))
        return NULL;
    nx_dtype dtype = (nx_dtype)a->dtype;
    int m = a->shape[a->ndim - 2], n = a->shape[a->ndim - 1], k = m < n ? m : n;
    double eps = dtype == NX_FLOAT64 ? DBL_EPSILON : FLT_EPSILON;
    nx_array *values = nx_expand_dims(svd[1], -2, s);
    nx_array *limit = nx_max(values, &last, 1, true, s);
    limit = nx_multiply(limit, nx_scalar(10.0 * (m > n ? m : n) * eps, dtype), s);
    nx_array *back = nx_where(nx_greater(values, limit, s), nx_reciprocal(values, s),
                              nx_scalar(0, dtype), s);
    nx_array *u = nx_swapaxes(first(svd[0], -1, k, s), -1, -2, s);
    nx_array *v = nx_swapaxes(first(svd[2], -2, k, s), -1, -2, s);
    return nx_matmul(nx_multiply(v, back, s), u, s);
}

/* Both in one type, for which there is a solver, and of shapes that fit; b as matrices. */
static bool check_equation(const char *op, nx_array **a, nx_array **b, nx_stream *s)
{
    if (!*a || !*b)
        return false;
    const nx_array *x = *a, *y = *b;
    if (x->ndim < 2)
        return nx_fail("[linalg::%s] First input must have >= 2 dimensions. Received array with %d "
                       "dimensions.", op, x->ndim);
    if (y->ndim < 1)
        return nx_fail("[linalg::%s] Second input must have >= 1 dimensions. Received array with %d "
                       "dimensions.", op, y->ndim);
    int n = x->shape[x->ndim - 1];
    if (x->shape[x->ndim - 2] != n)
        return nx_fail("[linalg::%s] First input must be a square matrix. Received array with shape "
                       "%s.", op, nx_shape_text(x->shape, x->ndim));
    if (n != y->shape[y->ndim > 1 ? y->ndim - 2 : 0])
        return nx_fail("[linalg::%s] Last dimension of first input with shape %s must match second to "
                       "last dimension of second input with shape %s.", op,
                       nx_shape_text(x->shape, x->ndim), nx_shape_text(y->shape, y->ndim));
    nx_dtype dtype = nx_promote((nx_dtype)x->dtype, (nx_dtype)y->dtype);
    if (!nx_dtype_in(dtype, NX_REAL_MATRIX))
        return nx_fail("[linalg::%s] Input arrays must promote to float32 or float64. Received arrays "
                       "with type %s and %s.", op, nx_dtype_name((nx_dtype)x->dtype),
                       nx_dtype_name((nx_dtype)y->dtype));
    *a = nx_astype(*a, dtype, s);
    *b = nx_astype(*b, dtype, s);
    return *a && *b;
}

/* P A = L U: x = U^-1 L^-1 P b. */
nx_array *nx_solve(nx_array *a, nx_array *b, nx_stream *s)
{
    nx_array *lu[3];
    if (!check_equation("solve", &a, &b, s) || !nx_lu(a, s, lu))
        return NULL;
    bool vector = b->ndim == 1;
    if (vector)
        b = nx_expand_dims(b, -1, s);
    nx_array *order = nx_expand_dims(nx_argsort(lu[0], -1, s), -1, s);
    nx_array *both[2] = {order, b};
    if (!nx_broadcast_leading(both, 2, 2, s))
        return NULL;
    b = nx_take_along_axis(both[1], both[0], -2, s);
    nx_array *y = nx_matmul(nx_tri_inv(lu[1], false, s), b, s);
    y = nx_matmul(nx_tri_inv(lu[2], true, s), y, s);
    return vector ? nx_squeeze_axis(y, -1, s) : y;
}

nx_array *nx_solve_triangular(nx_array *a, nx_array *b, bool upper, nx_stream *s)
{
    if (!check_equation("solve_triangular", &a, &b, s))
        return NULL;
    return nx_matmul(nx_tri_inv(a, upper, s), b, s);
}
