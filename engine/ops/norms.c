/*
 * norms.c: norms of vectors and matrices, and the cross product.
 */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "engine/ops/axes.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/creation.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/linalg.h"
#include "engine/ops/reduce.h"
#include "engine/ops/shape.h"

nx_array *nx_norm_l2(nx_array *a, const int *axes, int n_axes, bool keepdims, nx_stream *s)
{
    int zero = 0;
    if (!a)
        return NULL;
    if (n_axes < 0) {
        a = nx_flatten_all(a, s);
        axes = &zero;
        n_axes = 1;
    }
    if (n_axes > 2)
        return nx_fail_null("[linalg::norm] Received too many axes for norm.");
    if (a && nx_dtype_in((nx_dtype)a->dtype, NX_COMPLEXES))
        a = nx_abs(a, s);
    return nx_sqrt(nx_sum(nx_square(a, s), axes, n_axes, keepdims, s), s);
}

static nx_array *as_type(nx_array *a, nx_dtype dtype, nx_stream *s)
{
    return a ? nx_astype(a, dtype, s) : NULL;
}

/* (sum |a|^ord)^(1 / ord), and what that tends to; order 0 counts what is not zero. */
static nx_array *vector_norm(nx_array *a, double ord, int axis, bool keep, nx_stream *s)
{
    nx_dtype dtype = nx_at_least_float((nx_dtype)a->dtype);
    if (ord == 2)
        return nx_norm_l2(a, &axis, 1, keep, s);
    if (ord == 0)
        return as_type(nx_sum(nx_not_equal(a, nx_scalar(0, (nx_dtype)a->dtype), s), &axis, 1, keep, s),
                       dtype, s);
    nx_array *size = nx_abs(a, s), *r;
    if (ord == 1)
        r = nx_sum(size, &axis, 1, keep, s);
    else if (isinf(ord))
        r = ord > 0 ? nx_max(size, &axis, 1, keep, s) : nx_min(size, &axis, 1, keep, s);
    else {
        nx_dtype real = nx_dtype_in(dtype, NX_COMPLEXES) ? NX_FLOAT32 : dtype;
        r = nx_power(size, nx_scalar(ord, real), s);
        r = nx_power(nx_sum(r, &axis, 1, keep, s), nx_scalar(1 / ord, real), s);
    }
    return as_type(r, dtype, s);
}

/* The singular values of the matrices on two axes, in a last axis of their own. */
static nx_array *values_of(nx_array *a, const int *axes, nx_stream *s)
{
    nx_array *values;
    int order[NX_MAX_NDIM], n = 0;
    for (int i = 0; i < a->ndim; i++)
        if (i != axes[0] && i != axes[1])
            order[n++] = i;
    order[n++] = axes[0];
    order[n++] = axes[1];
    a = nx_transpose_axes(a, order, n, s);
    return nx_svd(a, false, s, &values) ? values : NULL;
}

/* Takes the last axis away, and puts the two axes of the matrices back as 1. */
static nx_array *keep_axes(nx_array *a, const int *axes, bool keep, nx_stream *s)
{
    return a && keep ? nx_expand_dims_axes(a, axes, 2, s) : a;
}

static nx_array *matrix_norm(nx_array *a, double ord, const int *axes, bool keep, nx_stream *s)
{
    nx_dtype dtype = nx_at_least_float((nx_dtype)a->dtype);
    int last = -1;
    if (fabs(ord) == 2) {
        nx_array *values = values_of(a, axes, s);
        nx_array *r = ord > 0 ? nx_max(values, &last, 1, false, s) : nx_min(values, &last, 1, false, s);
        return as_type(keep_axes(r, axes, keep, s), dtype, s);
    }
    if (fabs(ord) != 1 && !isinf(ord))
        return nx_fail_null("[linalg::norm] Invalid ord %g for matrix norm.", ord);
    int summed = isinf(ord) ? axes[1] : axes[0], other = isinf(ord) ? axes[0] : axes[1];
    nx_array *sums = nx_sum(nx_abs(a, s), &summed, 1, true, s);
    nx_array *r = ord > 0 ? nx_max(sums, &other, 1, true, s) : nx_min(sums, &other, 1, true, s);
    return as_type(keep ? r : nx_squeeze_axes(r, axes, 2, s), dtype, s);
}

/* The axes made plain; none given: all there are. */
static bool norm_axes(const nx_array *a, const int *axes, int n_axes, nx_dims *out)
{
    return nx_axes_fix("linalg::norm", n_axes < 0 ? nx_all_axes() : axes, n_axes < 0 ? a->ndim : n_axes,
                       a->ndim, out);
}

nx_array *nx_norm(nx_array *a, double ord, const int *axes, int n_axes, bool keepdims, nx_stream *s)
{
    nx_dims at;
    if (!a || !norm_axes(a, axes, n_axes, &at))
        return NULL;
    if (at.n == 1)
        return vector_norm(a, ord, at.v[0], keepdims, s);
    if (at.n == 2)
        return matrix_norm(a, ord, at.v, keepdims, s);
    return nx_fail_null("[linalg::norm] %d axes: a norm is of one axis or two.", at.n);
}

nx_array *nx_norm_named(nx_array *a, const char *ord, const int *axes, int n_axes, bool keepdims,
                        nx_stream *s)
{
    nx_dims at;
    int last = -1;
    if (!a || !norm_axes(a, axes, n_axes, &at))
        return NULL;
    if (at.n != 2)
        return nx_fail_null("[linalg::norm] Norm '%s' only supported for matrices, but received %d "
                            "axis/axes.", ord, at.n);
    if (strcmp(ord, "f") == 0 || strcmp(ord, "fro") == 0)
        return nx_norm_l2(a, at.v, 2, keepdims, s);
    if (strcmp(ord, "nuc") == 0)
        return keep_axes(nx_sum(values_of(a, at.v, s), &last, 1, false, s), at.v, keepdims, s);
    return nx_fail_null("[linalg::norm] Invalid ord value '%s' for matrix norm.", ord);
}

/* ---- cross product ------------------------------------------------------------------------------ */

/* Component i of vectors that may lack the third, which is then zero. */
static nx_array *component(nx_array *const *parts, int n, int i, nx_stream *s)
{
    return i < n ? parts[i] : nx_zeros_like(parts[0], s);
}

static nx_array *minor(nx_array *const *a, int n_a, nx_array *const *b, int n_b, int i, nx_stream *s)
{
    int j = (i + 1) % 3, k = (i + 2) % 3;
    nx_array *p = nx_multiply(component(a, n_a, j, s), component(b, n_b, k, s), s);
    nx_array *q = nx_multiply(component(a, n_a, k, s), component(b, n_b, j, s), s);
    return nx_subtract(p, q, s);
}

static bool cross_axis(const nx_array *a, int *axis)
{
    int given = *axis;
    if (*axis < 0)
        *axis += a->ndim;
    if (*axis < 0 || *axis >= a->ndim)
        return nx_fail("[linalg::cross] axis %d invalid for array with %d dimensions.", given, a->ndim);
    if (a->shape[*axis] != 2 && a->shape[*axis] != 3)
        return nx_fail("[linalg::cross] The specified axis must have size 2 or 3, not %d.",
                       a->shape[*axis]);
    return true;
}

nx_array *nx_cross(nx_array *a, nx_array *b, int axis, nx_stream *s)
{
    nx_array *x[3], *y[3], *z[3];
    int axis_a = axis, axis_b = axis;
    if (!a || !b || !cross_axis(a, &axis_a) || !cross_axis(b, &axis_b))
        return NULL;
    int n_a = a->shape[axis_a], n_b = b->shape[axis_b];
    if (!nx_split(a, n_a, axis_a, s, x) || !nx_split(b, n_b, axis_b, s, y))
        return NULL;
    for (int i = 0; i < 3; i++)
        if (!(z[i] = minor(x, n_a, y, n_b, i, s)))
            return NULL;
    int at = axis < 0 ? axis + z[0]->ndim : axis;
    return nx_concatenate(z, 3, at, s);
}
