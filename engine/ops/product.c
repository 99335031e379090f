/* product.c: tensordot, inner, outer, kron: transposed and reshaped matrix products. */
#include "engine/ops/product.h"

#include "engine/ops/axes.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/matmul.h"
#include "engine/ops/shape.h"

/* The axes of a that are not in the list, in order. */
static nx_dims other_axes(const nx_array *a, const nx_dims *axes)
{
    nx_dims rest = {0};
    uint64_t named = 0;
    for (int i = 0; i < axes->n; i++)
        named |= (uint64_t)1 << axes->v[i];
    for (int i = 0; i < a->ndim; i++)
        if (!(named >> i & 1))
            rest.v[rest.n++] = i;
    return rest;
}

/* Elements of a along these axes; -1 after nx_fail if a dimension cannot hold so many. */
static int extent(const nx_array *a, const nx_dims *axes)
{
    int64_t n = 1;
    for (int i = 0; i < axes->n; i++)
        if (__builtin_mul_overflow(n, (int64_t)a->shape[axes->v[i]], &n) || n > INT32_MAX) {
            nx_fail("[tensordot] the arrays are too large");
            return -1;
        }
    return (int)n;
}

/* a as a matrix: the first axes make the rows, the second the columns. */
static nx_array *as_matrix(nx_array *a, const nx_dims *first, const nx_dims *second, nx_stream *s)
{
    int axes[NX_MAX_NDIM], n = 0;
    int shape[2] = {extent(a, first), extent(a, second)};
    if (shape[0] < 0 || shape[1] < 0)
        return NULL;
    for (int i = 0; i < first->n; i++)
        axes[n++] = first->v[i];
    for (int i = 0; i < second->n; i++)
        axes[n++] = second->v[i];
    a = nx_transpose_axes(a, axes, n, s);
    return nx_reshape(a, shape, 2, s);
}

nx_array *nx_tensordot(nx_array *a, nx_array *b, const int *axes_a, int n_a, const int *axes_b,
                       int n_b, nx_stream *s)
{
    nx_dims sum_a, sum_b, shape = {0};
    if (!a || !b)
        return NULL;
    if (n_a != n_b)
        return nx_fail_null("[tensordot] %d axes of a do not pair with %d of b", n_a, n_b);
    if (!nx_axes_fix("tensordot", axes_a, n_a, a->ndim, &sum_a) ||
        !nx_axes_fix("tensordot", axes_b, n_b, b->ndim, &sum_b))
        return NULL;
    for (int i = 0; i < n_a; i++)
        if (a->shape[sum_a.v[i]] != b->shape[sum_b.v[i]])
            return nx_fail_null("[tensordot] axis %d of shape %s and axis %d of shape %s differ",
                                sum_a.v[i], nx_shape_text(a->shape, a->ndim), sum_b.v[i],
                                nx_shape_text(b->shape, b->ndim));
    nx_dims rest_a = other_axes(a, &sum_a), rest_b = other_axes(b, &sum_b);
    if (rest_a.n + rest_b.n > NX_MAX_NDIM)
        return nx_fail_null("[tensordot] %d dimensions are too many, the limit is %d",
                            rest_a.n + rest_b.n, NX_MAX_NDIM);
    for (int i = 0; i < rest_a.n; i++)
        shape.v[shape.n++] = a->shape[rest_a.v[i]];
    for (int i = 0; i < rest_b.n; i++)
        shape.v[shape.n++] = b->shape[rest_b.v[i]];
    nx_array *product =
        nx_matmul(as_matrix(a, &rest_a, &sum_a, s), as_matrix(b, &sum_b, &rest_b, s), s);
    return nx_reshape(product, shape.v, shape.n, s);
}

nx_array *nx_tensordot_axis(nx_array *a, nx_array *b, int n, nx_stream *s)
{
    int axes_a[NX_MAX_NDIM], axes_b[NX_MAX_NDIM];
    if (!a || !b)
        return NULL;
    if (n < 0 || n > a->ndim || n > b->ndim)
        return nx_fail_null("[tensordot] %d axes cannot be summed of %d and %d dimensions", n,
                            a->ndim, b->ndim);
    for (int i = 0; i < n; i++) {
        axes_a[i] = a->ndim - n + i;
        axes_b[i] = i;
    }
    return nx_tensordot(a, b, axes_a, n, axes_b, n, s);
}

nx_array *nx_inner(nx_array *a, nx_array *b, nx_stream *s)
{
    if (!a || !b)
        return NULL;
    if (a->ndim == 0 || b->ndim == 0)
        return nx_multiply(a, b, s);
    if (a->shape[a->ndim - 1] != b->shape[b->ndim - 1])
        return nx_fail_null("[inner] the last dimensions of shapes %s and %s differ",
                            nx_shape_text(a->shape, a->ndim), nx_shape_text(b->shape, b->ndim));
    return nx_tensordot(a, b, (int[]){-1}, 1, (int[]){-1}, 1, s);
}

nx_array *nx_outer(nx_array *a, nx_array *b, nx_stream *s)
{
    nx_array *column = nx_expand_dims(nx_flatten_all(a, s), 1, s);
    return nx_multiply(column, nx_flatten_all(b, s), s);
}

/* a[i, 1, j, 1] b[1, k, 1, l] reshaped to [i k, j l]. */
nx_array *nx_kron(nx_array *a, nx_array *b, nx_stream *s)
{
    int ndim = a && b ? (a->ndim > b->ndim ? a->ndim : b->ndim) : 0;
    int wide_a[NX_MAX_NDIM], wide_b[NX_MAX_NDIM], shape[NX_MAX_NDIM];
    if (!a || !b)
        return NULL;
    if (a->size == 0 || b->size == 0)
        return nx_fail_null("[kron] an empty array has no product");
    if (2 * ndim > NX_MAX_NDIM)
        return nx_fail_null("[kron] %d dimensions are too many, the limit is %d", ndim,
                            NX_MAX_NDIM / 2);
    for (int i = 0; i < ndim; i++) {
        int in_a = i - (ndim - a->ndim), in_b = i - (ndim - b->ndim);
        wide_a[2 * i] = in_a < 0 ? 1 : a->shape[in_a];
        wide_b[2 * i + 1] = in_b < 0 ? 1 : b->shape[in_b];
        wide_a[2 * i + 1] = wide_b[2 * i] = 1;
        if (__builtin_mul_overflow(wide_a[2 * i], wide_b[2 * i + 1], &shape[i]))
            return nx_fail_null("[kron] the result is too large");
    }
    if (!nx_shape_fits("kron", shape, ndim))
        return NULL;
    nx_array *product =
        nx_multiply(nx_reshape(a, wide_a, 2 * ndim, s), nx_reshape(b, wide_b, 2 * ndim, s), s);
    return nx_reshape(product, shape, ndim, s);
}
