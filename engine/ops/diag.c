/* diag.c: diagonals and grids, composed of gathers, scatters and broadcasts. */
#include <string.h>

#include "engine/ops/axes.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/index.h"
#include "engine/ops/reduce.h"
#include "engine/ops/shape.h"

/* from, from + 1, ... as a constant. */
static nx_array *counting(int from, int n)
{
    nx_array *a = nx_array_new(&n, 1, NX_INT32);
    for (int i = 0; a && i < n; i++)
        ((int *)a->data)[i] = from + i;
    return a;
}

nx_array *nx_diagonal(nx_array *a, int offset, int axis1, int axis2, nx_stream *s)
{
    if (!a)
        return NULL;
    if (a->ndim < 2)
        return nx_fail_null("[diagonal] an array of %d dimensions has no diagonal", a->ndim);
    if (!nx_axis_fix("diagonal", &axis1, a->ndim) || !nx_axis_fix("diagonal", &axis2, a->ndim))
        return NULL;
    if (axis1 == axis2)
        return nx_fail_null("[diagonal] axis %d is given twice", axis1);
    int64_t row = offset < 0 ? -(int64_t)offset : 0, col = offset > 0 ? offset : 0;
    int64_t rows = a->shape[axis1] - row, cols = a->shape[axis2] - col;
    int64_t n = rows < cols ? rows : cols;
    if (n < 0)
        n = 0;
    int sizes[NX_MAX_NDIM], axes[2] = {axis1, axis2};
    memcpy(sizes, a->shape, (size_t)a->ndim * sizeof *sizes);
    if (n == 0) { /* nothing to gather, and maybe no row to say so with */
        int shape[NX_MAX_NDIM], ndim = 0;
        for (int i = 0; i < a->ndim; i++)
            if (i != axis1 && i != axis2)
                shape[ndim++] = a->shape[i];
        shape[ndim++] = 0;
        return nx_array_new(shape, ndim, (nx_dtype)a->dtype);
    }
    sizes[axis1] = sizes[axis2] = 1;
    nx_array *indices[2] = {counting((int)row, (int)n), counting((int)col, (int)n)};
    nx_array *out = nx_gather(a, indices, 2, axes, 2, sizes, a->ndim, s);
    out = nx_squeeze_axes(out, (int[]){axis1 + 1, axis2 + 1}, 2, s);
    return nx_moveaxis(out, 0, -1, s);
}

/* The sum of the diagonal as `dtype`, in the type sums of that have. */
nx_array *nx_trace(nx_array *a, int offset, int axis1, int axis2, nx_dtype dtype, nx_stream *s)
{
    nx_array *diagonal = nx_diagonal(a, offset, axis1, axis2, s);
    return diagonal ? nx_sum(nx_astype(diagonal, dtype, s), (int[]){-1}, 1, false, s) : NULL;
}

nx_array *nx_diag(nx_array *a, int k, nx_stream *s)
{
    if (!a)
        return NULL;
    if (a->ndim == 2)
        return nx_diagonal(a, k, 0, 1, s);
    if (a->ndim != 1)
        return nx_fail_null("[diag] the array must have 1 or 2 dimensions, not %d", a->ndim);
    int64_t n = a->shape[0] + (k < 0 ? -(int64_t)k : k);
    int shape[2] = {(int)n, (int)n};
    if (n > INT32_MAX || !nx_shape_fits("diag", shape, 2))
        return n > INT32_MAX ? nx_fail_null("[diag] the result is too large") : NULL;
    nx_array *zeros = nx_broadcast_to(nx_scalar(0, (nx_dtype)a->dtype), shape, 2, s);
    nx_array *indices[2] = {counting(k < 0 ? -k : 0, a->shape[0]),
                            counting(k > 0 ? k : 0, a->shape[0])};
    nx_array *updates = nx_reshape(a, (int[]){a->shape[0], 1, 1}, 3, s);
    return nx_scatter(NX_UPDATE_NONE, zeros, indices, 2, updates, (int[]){0, 1}, 2, s);
}

bool nx_meshgrid(nx_array *const *arrays, int n, bool sparse, const char *indexing, nx_stream *s,
                 nx_array **out)
{
    bool xy = strcmp(indexing, "xy") == 0;
    if (!xy && strcmp(indexing, "ij") != 0)
        return nx_fail("[meshgrid] indexing '%s' is neither xy nor ij", indexing);
    if (n > NX_MAX_NDIM)
        return nx_fail("[meshgrid] %d dimensions are too many, the limit is %d", n, NX_MAX_NDIM);
    for (int i = 0; i < n; i++) {
        int shape[NX_MAX_NDIM], at = xy && n > 1 && i < 2 ? 1 - i : i;
        if (!arrays[i])
            return false;
        for (int d = 0; d < n; d++)
            shape[d] = d == at ? (int)arrays[i]->size : 1;
        if (!(out[i] = nx_reshape(arrays[i], shape, n, s)))
            return false;
    }
    return sparse || nx_broadcast_arrays(out, n, s);
}
