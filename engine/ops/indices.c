/* indices.c: see indices.h. */
#include "engine/ops/indices.h"

#include <string.h>

#include "engine/ops/axes.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/elementwise.h"

static bool check_type(const char *op, const nx_array *indices)
{
    return nx_dtype_in((nx_dtype)indices->dtype, NX_INTEGERS) ||
           nx_fail("[%s] indices must be integers, not %s", op,
                   nx_dtype_name((nx_dtype)indices->dtype));
}

bool nx_indices_check(const char *op, const nx_array *a, nx_array *const *indices, int n,
                      const int *axes, int n_axes, nx_dims *plain, nx_stream *s, nx_array **out)
{
    if (n > a->ndim)
        return nx_fail("[%s] %d index arrays are too many for %d dimensions", op, n, a->ndim);
    if (n != n_axes)
        return nx_fail("[%s] %d index arrays do not fit %d axes", op, n, n_axes);
    for (int i = 0; i < n; i++) {
        if (!indices[i] || !check_type(op, indices[i]))
            return false;
        out[i] = indices[i];
    }
    return nx_axes_fix(op, axes, n_axes, a->ndim, plain) &&
           (n < 2 || nx_broadcast_arrays(out, n, s));
}

/* The shape a and b broadcast to, the axis aside, with `length` there. */
static bool shape_along(const nx_array *a, const nx_array *b, int axis, int length, nx_dims *shape)
{
    int one[NX_MAX_NDIM], other[NX_MAX_NDIM];
    memcpy(one, a->shape, (size_t)a->ndim * sizeof *one);
    memcpy(other, b->shape, (size_t)b->ndim * sizeof *other);
    one[axis] = other[axis] = length;
    return nx_broadcast_dims(one, a->ndim, other, b->ndim, shape);
}

static nx_array *broadcast_along(nx_array *a, const nx_dims *shape, int axis, nx_stream *s)
{
    nx_dims own = *shape;
    own.v[axis] = a->shape[axis];
    return nx_broadcast_to(a, own.v, own.n, s);
}

bool nx_indices_along(const char *op, nx_array **a, nx_array **indices, nx_array **values, int axis,
                      nx_stream *s)
{
    nx_dims shape;
    if (!check_type(op, *indices))
        return false;
    if ((*a)->ndim != (*indices)->ndim)
        return nx_fail("[%s] indices of %d dimensions do not fit an array of %d", op,
                       (*indices)->ndim, (*a)->ndim);
    if (!shape_along(*a, *indices, axis, (*indices)->shape[axis], &shape))
        return false;
    *indices = broadcast_along(*indices, &shape, axis, s);
    if (!values) {
        *a = broadcast_along(*a, &shape, axis, s);
    } else {
        *values = nx_astype(*values, (nx_dtype)(*a)->dtype, s);
        *values = nx_broadcast_to(*values, shape.v, shape.n, s);
        shape.v[axis] = (*a)->shape[axis];
        if (!nx_shape_equal(shape.v, shape.n, (*a)->shape, (*a)->ndim))
            return nx_fail("[%s] indices of shape %s do not fit an array of shape %s", op,
                           nx_shape_text((*indices)->shape, (*indices)->ndim),
                           nx_shape_text((*a)->shape, (*a)->ndim));
    }
    return *a && *indices && (!values || *values);
}
