/*
 * axes.h: axes as callers give them (negative ones count from the end) made plain.
 */
#ifndef NX_OPS_AXES_H
#define NX_OPS_AXES_H

#include <stdint.h>

#include "base/error.h"
#include "engine/core/view.h"

/* One axis into 0..ndim-1; false after nx_fail in the name of `op`. */
static inline bool nx_axis_fix(const char *op, int *axis, int ndim)
{
    int64_t a = *axis < 0 ? (int64_t)*axis + ndim : *axis;
    if (a < 0 || a >= ndim)
        return nx_fail("[%s] axis %d is out of range for %d dimensions", op, *axis, ndim);
    *axis = (int)a;
    return true;
}

/* n different axes, in the order given. */
static inline bool nx_axes_fix(const char *op, const int *axes, int n, int ndim, nx_dims *out)
{
    uint64_t seen = 0;
    if (n > ndim)
        return nx_fail("[%s] %d axes are too many for %d dimensions", op, n, ndim);
    for (int i = 0; i < n; i++) {
        int axis = axes[i];
        if (!nx_axis_fix(op, &axis, ndim))
            return false;
        if (seen >> axis & 1)
            return nx_fail("[%s] axis %d is given twice", op, axes[i]);
        seen |= (uint64_t)1 << axis;
        out->v[i] = axis;
    }
    out->n = n;
    return true;
}

/* A list as long as an array can have dimensions. */
static inline bool nx_dims_set(const char *op, nx_dims *d, const int *v, int n)
{
    if (n < 0 || n > NX_MAX_NDIM)
        return nx_fail("[%s] %d dimensions are too many, the limit is %d", op, n, NX_MAX_NDIM);
    d->n = n;
    for (int i = 0; i < n; i++)
        d->v[i] = v[i];
    return true;
}

/* Do so many elements of such a shape fit into the address space? */
static inline bool nx_shape_fits(const char *op, const int *shape, int ndim)
{
    int64_t size = 8;
    for (int i = 0; i < ndim; i++)
        if (shape[i] < 0 || (size && __builtin_mul_overflow(size, (int64_t)shape[i], &size)))
            return nx_fail("[%s] a result of shape %s is too large", op,
                           nx_shape_text(shape, ndim));
    return true;
}

#endif
