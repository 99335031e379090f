/*
 * statistics.c: mean, variance, standard deviation and median, composed of reductions, sorting and
 * arithmetic.
 */
#include "base/error.h"
#include "engine/ops/axes.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/reduce.h"
#include "engine/ops/shape.h"
#include "engine/ops/slice.h"
#include "engine/ops/sort.h"

/* sum divided by the number of elements along the axes. */
static nx_array *per_element(nx_array *sum, nx_array *a, const nx_dims *axes, nx_stream *s)
{
    nx_dtype dtype = nx_at_least_float((nx_dtype)a->dtype);
    return nx_multiply(sum, nx_number_of_elements(a, axes->v, axes->n, true, dtype, s), s);
}

nx_array *nx_mean(nx_array *a, const int *axes, int n_axes, bool keepdims, nx_stream *s)
{
    nx_dims fixed = {0};
    if (!a || !nx_axes_fix("mean", axes, n_axes, a->ndim, &fixed))
        return NULL;
    nx_array *sum = nx_sum(a, axes, n_axes, keepdims, s);
    return per_element(sum, a, &fixed, s);
}

nx_array *nx_var(nx_array *a, const int *axes, int n_axes, bool keepdims, int ddof, nx_stream *s)
{
    nx_dims fixed = {0};
    if (!a || !nx_axes_fix("var", axes, n_axes, a->ndim, &fixed))
        return NULL;
    nx_dtype dtype = nx_at_least_float((nx_dtype)a->dtype);
    nx_array *mean = nx_mean(a, axes, n_axes, true, s);
    nx_array *squares = nx_sum(nx_square(nx_subtract(a, mean, s), s), axes, n_axes, keepdims, s);
    if (ddof == 0)
        return per_element(squares, a, &fixed, s);
    nx_array *n = nx_number_of_elements(a, fixed.v, fixed.n, false, dtype, s);
    n = nx_maximum(nx_subtract(n, nx_scalar(ddof, dtype), s), nx_scalar(0, dtype), s);
    return nx_divide(squares, n, s);
}

nx_array *nx_std(nx_array *a, const int *axes, int n_axes, bool keepdims, int ddof, nx_stream *s)
{
    return nx_sqrt(nx_var(a, axes, n_axes, keepdims, ddof, s), s);
}

/* The axes of the median at the end of the shape, as one dimension. */
static nx_array *axes_last(nx_array *a, const nx_dims *axes, nx_stream *s)
{
    bool chosen[NX_MAX_NDIM] = {0};
    int order[NX_MAX_NDIM], n = 0;
    for (int i = 0; i < axes->n; i++)
        chosen[axes->v[i]] = true;
    for (int i = 0; i < a->ndim; i++)
        if (!chosen[i])
            order[n++] = i;
    int kept = n;
    for (int i = 0; i < a->ndim; i++)
        if (chosen[i])
            order[n++] = i;
    return nx_flatten(nx_transpose_axes(a, order, n, s), kept, a->ndim - 1, s);
}

/* Elements first..first+n-1 of the last axis. */
static nx_array *last_axis_part(nx_array *a, int first, int n, nx_stream *s)
{
    nx_dims start = {.n = a->ndim}, stop = {.n = a->ndim}, step = {.n = a->ndim};
    for (int i = 0; i < a->ndim; i++) {
        stop.v[i] = a->shape[i];
        step.v[i] = 1;
    }
    start.v[a->ndim - 1] = first;
    stop.v[a->ndim - 1] = first + n;
    return nx_slice(a, start.v, start.n, stop.v, stop.n, step.v, step.n, s);
}

nx_array *nx_median(nx_array *a, const int *axes, int n_axes, bool keepdims, nx_stream *s)
{
    nx_dims fixed = {0};
    if (!a || !nx_axes_fix("median", axes, n_axes, a->ndim, &fixed))
        return NULL;
    nx_dtype dtype = nx_at_least_float((nx_dtype)a->dtype);
    if (!a->ndim)
        return nx_astype(a, dtype, s);
    if (!n_axes)
        return nx_fail_null("[median] no axis is given");
    nx_array *sorted = axes_last(a, &fixed, s);
    int n = sorted ? sorted->shape[sorted->ndim - 1] : 0;
    if (sorted && !n)
        return nx_fail_null("[median] there is no median of nothing: shape %s has a reduced dimension "
                            "of size 0", nx_shape_text(a->shape, a->ndim));
    int middle = n % 2 ? 1 : 2;
    sorted = nx_sort(sorted, -1, s);
    nx_array *out = sorted ? last_axis_part(sorted, (n - 1) / 2, middle, s) : NULL;
    out = nx_mean(nx_astype(out, dtype, s), (const int[]){-1}, 1, false, s);
    return keepdims ? nx_expand_dims_axes(out, fixed.v, fixed.n, s) : out;
}
