/*
 * rules.h: small words for derivatives and batching rules, which every operation's file uses.
 */
#ifndef NX_OPS_RULES_H
#define NX_OPS_RULES_H

#include "engine/core/prim.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/params.h"
#include "engine/ops/shape.h"

/* The array with its batch dimension in front. */
static inline nx_array *nx_batch_front(nx_array *a, int axis, nx_stream *s)
{
    return axis > 0 ? nx_moveaxis(a, axis, 0, s) : a;
}

/* How long the batch is. */
static inline int nx_batch_size(nx_array *const *in, const int *axes, int n)
{
    for (int i = 0; i < n; i++)
        if (axes[i] >= 0)
            return in[i]->shape[axes[i]];
    return 1;
}

/* The same for an array that may not be batched (axis -1): it is repeated for the whole batch. */
static inline nx_array *nx_batch_all(nx_array *a, int axis, int size, nx_stream *s)
{
    int shape[NX_MAX_NDIM + 1] = {size};
    if (axis >= 0)
        return nx_batch_front(a, axis, s);
    for (int i = 0; i < a->ndim; i++)
        shape[i + 1] = a->shape[i];
    return nx_broadcast_to(a, shape, a->ndim + 1, s);
}

/* What a rule of vmap answers for axes it has no rule for. */
static inline bool nx_batch_by_slices(nx_array **out)
{
    out[0] = nx_array_none();
    return true;
}

/* The same array with its two first dimensions, batch and item, as one. */
static inline nx_array *nx_batch_merge(nx_array *a, nx_stream *s)
{
    return nx_flatten(a, 0, 1, s);
}

/* And back: the first dimension as `size` times the rest of it. */
static inline nx_array *nx_batch_part(nx_array *a, int size, nx_stream *s)
{
    if (!a)
        return NULL;
    int parts[2] = {size, size ? a->shape[0] / size : 0};
    return nx_unflatten(a, 0, parts, 2, s);
}

/* vmap of an operation on one array that only looks at its last dimensions. */
bool nx_vmap_front(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes);

/* The axes of a single item as those of a batch whose dimension is in front. */
static inline void nx_axes_shift(nx_dims *axes)
{
    for (int i = 0; i < axes->n; i++)
        axes->v[i]++;
}

/* A list with one number more, in front. */
static inline void nx_dims_prepend(nx_dims *d, int v)
{
    for (int i = d->n < NX_MAX_NDIM ? d->n : NX_MAX_NDIM - 1; i > 0; i--)
        d->v[i] = d->v[i - 1];
    d->v[0] = v;
    if (d->n < NX_MAX_NDIM)
        d->n++;
}

#endif
