/*
 * broadcast.c: Broadcast: a view whose new and repeated dimensions have stride 0. In traces that serve
 * other sizes it has the arrays it is to meet as further inputs, whose shapes count and not the
 * parameter; BroadcastAxes leaves some dimensions out of that.
 */
#include "engine/ops/broadcast.h"

#include <string.h>

#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/reduce.h"
#include "engine/ops/rules.h"
#include "engine/ops/shape.h"

bool nx_broadcast_dims(const int *a, int a_ndim, const int *b, int b_ndim, nx_dims *out)
{
    out->n = a_ndim > b_ndim ? a_ndim : b_ndim;
    for (int i = 0; i < out->n; i++) {
        int from_a = i - (out->n - a_ndim), from_b = i - (out->n - b_ndim);
        int x = from_a < 0 ? 1 : a[from_a], y = from_b < 0 ? 1 : b[from_b];
        if (x != y && x != 1 && y != 1)
            return nx_fail("[broadcast_shapes] Shapes %s and %s cannot be broadcast.",
                           nx_shape_text(a, a_ndim), nx_shape_text(b, b_ndim));
        out->v[i] = x == 1 ? y : x;
    }
    return true;
}

bool nx_broadcast_shapes(const nx_array *a, const nx_array *b, nx_dims *out)
{
    return nx_broadcast_dims(a->shape, a->ndim, b->shape, b->ndim, out);
}

/* The shape that all of them broadcast to. */
static bool meet(nx_array *const *in, int n, nx_dims *out)
{
    *out = (nx_dims){0};
    for (int i = 0; i < n; i++) {
        nx_dims before = *out;
        if (!nx_broadcast_dims(before.v, before.n, in[i]->shape, in[i]->ndim, out))
            return false;
    }
    return true;
}

static bool infer(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_broadcast_params *p = params;
    nx_dims met = {0};
    if (n_in > 1 && !meet(in, n_in, &met))
        return false;
    const nx_dims *shape = n_in > 1 ? &met : &p->shape;
    nx_spec_set(&out[0], shape->v, shape->n, (nx_dtype)in[0]->dtype);
    return true;
}

static bool view(nx_node *n)
{
    const nx_array *in = n->in[0];
    nx_array *out = &n->out[0];
    int64_t strides[NX_MAX_NDIM];
    int added = out->ndim - in->ndim;
    for (int i = 0; i < out->ndim; i++) {
        int j = i - added;
        strides[i] = j < 0 || (in->shape[j] == 1 && out->shape[i] != 1) ? 0 : in->strides[j];
    }
    nx_array_set_view(out, in, strides, 0);
    return true;
}

/* What one element was repeated to is added up. Nothing here says a size: traces for other ones hold. */
static bool vjp(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_array *in = n->in[0];
    int axes[NX_MAX_NDIM], n_axes = 0, added = g[0]->ndim - in->ndim;
    for (int i = 0; i < g[0]->ndim; i++)
        if (i < added || (in->shape[i - added] == 1 && g[0]->shape[i] != 1))
            axes[n_axes++] = i;
    nx_array *sum = n_axes ? nx_sum(g[0], axes, n_axes, true, n->stream) : g[0];
    if (wanted[0])
        out[0] = added ? nx_squeeze_axes(sum, axes, added, n->stream) : sum;
    for (int i = 1; i < n->n_in; i++)
        if (wanted[i])
            out[i] = nx_array_none();
    return true;
}

static const nx_field fields[] = {
    {"shape", NX_FIELD_DIMS, offsetof(nx_broadcast_params, shape)},
};

static bool vmap(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes)
{
    out_axes[0] = axes[0] < 0 ? -1 : 0;
    if (axes[0] < 0) { /* only what it meets is batched */
        out[0] = nx_broadcast_to(in[0], n->out[0].shape, n->out[0].ndim, n->stream);
        return out[0] != NULL;
    }
    nx_array *a = nx_batch_front(in[0], axes[0], n->stream);
    int shape[NX_MAX_NDIM + 1] = {in[0]->shape[axes[0]]}, ndim = n->out[0].ndim;
    for (int i = 0; i < ndim; i++) /* first with as many dimensions as it gets */
        shape[i + 1] = i < ndim - n->in[0]->ndim ? 1 : n->in[0]->shape[i - ndim + n->in[0]->ndim];
    a = nx_reshape(a, shape, ndim + 1, n->stream);
    for (int i = 0; i < ndim; i++)
        shape[i + 1] = n->out[0].shape[i];
    out[0] = a ? nx_broadcast_to(a, shape, ndim + 1, n->stream) : NULL;
    return true;
}

/* A trace for other sizes keeps what decides the shape, anything else the shape alone. */
static bool rebuild(const nx_rebuild *r, nx_array **out)
{
    const nx_broadcast_params *p = r->params;
    nx_dims met;
    if (nx_tracing_any_size && r->n_in > 1)
        return nx_op_n(r->prim, r->params, r->in, r->n_in, r->s, out, r->n_out);
    if (r->n_in > 1 && !meet(r->in, r->n_in, &met))
        return false;
    const nx_dims *shape = r->n_in > 1 ? &met : &p->shape;
    out[0] = nx_broadcast_to(r->in[0], shape->v, shape->n, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Broadcast = {
    .name = "Broadcast",
    .id = NX_PRIM_Broadcast,
    .flags = NX_PRIM_VIEW,
    .params_size = sizeof(nx_broadcast_params),
    .fields = fields,
    .n_fields = 1,
    .infer = infer,
    .view = view,
    .vjp = vjp,
    .vmap = vmap,
    .rebuild = rebuild,
    .least_in = 1,
};

/* ---- BroadcastAxes: the axes (negative: from the end) keep what each array has there ------------- */

/* The dimensions that are left out: bit k is dimension k from the end. */
static bool left_out(const nx_dims *axes, int ndim, uint64_t *mask)
{
    *mask = 0;
    for (int i = 0; i < axes->n; i++) {
        int from_end = axes->v[i] < 0 ? -1 - axes->v[i] : ndim - 1 - axes->v[i];
        if (from_end < 0 || from_end >= ndim)
            return nx_fail("[broadcast] axis %d is out of range for %d dimensions", axes->v[i], ndim);
        *mask |= UINT64_C(1) << from_end;
    }
    return true;
}

static bool infer_axes(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_dims *axes = &((const nx_axes_params *)params)->axes;
    nx_dims met = {0};
    for (int i = 0; i < n_in; i++) {
        nx_dims before = met, own = {.n = in[i]->ndim};
        uint64_t mask;
        if (!left_out(axes, own.n, &mask))
            return false;
        for (int k = 0; k < own.n; k++)
            own.v[k] = mask >> (own.n - 1 - k) & 1 ? 1 : in[i]->shape[k];
        if (!nx_broadcast_dims(before.v, before.n, own.v, own.n, &met))
            return false;
    }
    uint64_t mask;
    if (!left_out(axes, in[0]->ndim, &mask))
        return false;
    for (int k = 0; k < in[0]->ndim; k++)
        if (mask >> k & 1)
            met.v[met.n - 1 - k] = in[0]->shape[in[0]->ndim - 1 - k];
    nx_spec_set(&out[0], met.v, met.n, (nx_dtype)in[0]->dtype);
    return true;
}

static const nx_field axes_fields[] = {
    {"ignore_axes", NX_FIELD_DIMS, offsetof(nx_axes_params, axes)},
};

static bool rebuild_axes(const nx_rebuild *r, nx_array **out)
{
    nx_spec spec;
    if (nx_tracing_any_size)
        return nx_op_n(r->prim, r->params, r->in, r->n_in, r->s, out, r->n_out);
    if (!infer_axes(r->in, r->n_in, r->params, &spec, 1))
        return false;
    out[0] = nx_broadcast_to(r->in[0], spec.shape, spec.ndim, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_BroadcastAxes = {
    .name = "BroadcastAxes",
    .id = NX_PRIM_BroadcastAxes,
    .flags = NX_PRIM_VIEW | NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_axes_params),
    .fields = axes_fields,
    .n_fields = 1,
    .infer = infer_axes,
    .view = view,
    .vjp = vjp,
    .vmap = vmap,
    .rebuild = rebuild_axes,
    .least_in = 1,
};

/* The shape is known to fit. */
static nx_array *broadcast(nx_array *a, const nx_dims *shape, nx_stream *s)
{
    if (nx_shape_equal(a->shape, a->ndim, shape->v, shape->n))
        return a;
    nx_broadcast_params p = {.shape = {.n = shape->n}};
    memcpy(p.shape.v, shape->v, (size_t)shape->n * sizeof *shape->v);
    return nx_op(&nx_prim_Broadcast, &p, &a, 1, s);
}

nx_array *nx_broadcast_to(nx_array *a, const int *shape, int ndim, nx_stream *s)
{
    if (!a || nx_shape_equal(a->shape, a->ndim, shape, ndim))
        return a;
    if (ndim < 0 || ndim > NX_MAX_NDIM)
        return nx_fail_null("[broadcast_to] %d dimensions are too many, the limit is %d", ndim,
                            NX_MAX_NDIM);
    for (int i = 0; i < ndim; i++)
        if (shape[i] < 0)
            return nx_fail_null("[broadcast_to] shape %s has a negative dimension",
                                nx_shape_text(shape, ndim));
    nx_dims dims;
    if (!nx_broadcast_dims(a->shape, a->ndim, shape, ndim, &dims))
        return NULL;
    if (!nx_shape_equal(dims.v, dims.n, shape, ndim))
        return nx_fail_null("[broadcast_to] Cannot broadcast array of shape %s into shape %s.",
                            nx_shape_text(a->shape, a->ndim), nx_shape_text(shape, ndim));
    return broadcast(a, &dims, s);
}

/* In a trace for other sizes: each to the shape that all of them meet in, whatever that will be. */
static bool broadcast_later(nx_array **arrays, int n, int ignore, nx_stream *s)
{
    nx_axes_params axes = {.axes = {.n = ignore}};
    nx_broadcast_params p = {0};
    for (int i = 0; i < ignore; i++)
        axes.axes.v[i] = i - ignore;
    if (!ignore && !meet(arrays, n, &p.shape))
        return false;
    nx_array **given = nx_malloc((size_t)n * 2 * sizeof *given), **in = given + n;
    memcpy(given, arrays, (size_t)n * sizeof *given);
    bool ok = true;
    for (int i = 0; ok && i < n; i++) {
        int at = 0;
        in[at++] = given[i];
        for (int k = 0; k < n; k++)
            if (k != i)
                in[at++] = given[k];
        arrays[i] = nx_op(ignore ? &nx_prim_BroadcastAxes : &nx_prim_Broadcast,
                          ignore ? (void *)&axes : &p, in, n, s);
        ok = arrays[i] != NULL;
    }
    free(given);
    return ok;
}

static bool any_traced(nx_array *const *arrays, int n)
{
    for (int i = 0; i < n; i++)
        if (arrays[i]->node->traced)
            return true;
    return false;
}

static bool all_alike(nx_array *const *arrays, int n)
{
    for (int i = 1; i < n; i++)
        if (!nx_shape_equal(arrays[0]->shape, arrays[0]->ndim, arrays[i]->shape, arrays[i]->ndim))
            return false;
    return true;
}

bool nx_broadcast_leading(nx_array **arrays, int n, int ignore, nx_stream *s)
{
    nx_dims all = {0};
    for (int i = 0; i < n; i++) {
        nx_dims next;
        if (!arrays[i])
            return false;
        if (arrays[i]->ndim < ignore)
            return nx_fail("[broadcast] an array of shape %s needs at least %d dimensions",
                           nx_shape_text(arrays[i]->shape, arrays[i]->ndim), ignore);
        if (!nx_broadcast_dims(all.v, all.n, arrays[i]->shape, arrays[i]->ndim - ignore, &next))
            return false;
        all = next;
    }
    if (nx_tracing_any_size && n > 1 && any_traced(arrays, n) && (ignore || !all_alike(arrays, n)))
        return broadcast_later(arrays, n, ignore, s);
    for (int i = 0; i < n; i++) {
        nx_dims dims = {.n = all.n + ignore};
        if (dims.n > NX_MAX_NDIM)
            return nx_fail("[broadcast] more than %d dimensions", NX_MAX_NDIM);
        memcpy(dims.v, all.v, (size_t)all.n * sizeof *all.v);
        const int *own = arrays[i]->shape + arrays[i]->ndim - ignore;
        memcpy(dims.v + all.n, own, (size_t)ignore * sizeof *own);
        arrays[i] = broadcast(arrays[i], &dims, s);
        if (!arrays[i])
            return false;
    }
    return true;
}

nx_array *nx_broadcast_like(nx_array *a, nx_array *like, nx_stream *s)
{
    if (!a || !like)
        return NULL;
    if (!nx_tracing_any_size || !(a->node->traced || like->node->traced))
        return nx_broadcast_to(a, like->shape, like->ndim, s);
    nx_array *in[2] = {a, like};
    return nx_broadcast_arrays(in, 2, s) ? in[0] : NULL;
}

bool nx_broadcast_arrays(nx_array **arrays, int n, nx_stream *s)
{
    return nx_broadcast_leading(arrays, n, 0, s);
}

bool nx_vmap_front(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes)
{
    nx_array *a = nx_batch_front(in[0], axes[0], n->stream);
    out_axes[0] = 0;
    return a && nx_op_like(n, &a, n->stream, true, out);
}
