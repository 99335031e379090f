/* broadcast.c: Broadcast: a view whose new and repeated dimensions have stride 0. */
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

static bool infer(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_broadcast_params *p = params;
    nx_spec_set(&out[0], p->shape.v, p->shape.n, (nx_dtype)in[0]->dtype);
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

/* What one element was repeated to is added up. */
static bool vjp(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_array *in = n->in[0];
    int axes[NX_MAX_NDIM], n_axes = 0, added = g[0]->ndim - in->ndim;
    for (int i = 0; i < g[0]->ndim; i++)
        if (i < added || (in->shape[i - added] == 1 && g[0]->shape[i] != 1))
            axes[n_axes++] = i;
    nx_array *sum = n_axes ? nx_sum(g[0], axes, n_axes, true, n->stream) : g[0];
    out[0] = nx_reshape(sum, in->shape, in->ndim, n->stream);
    return true;
}

static const nx_field fields[] = {
    {"shape", NX_FIELD_DIMS, offsetof(nx_broadcast_params, shape)},
};

static bool vmap(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes)
{
    nx_array *a = nx_batch_front(in[0], axes[0], n->stream);
    int shape[NX_MAX_NDIM + 1] = {in[0]->shape[axes[0]]}, ndim = n->out[0].ndim;
    for (int i = 0; i < ndim; i++) /* first with as many dimensions as it gets */
        shape[i + 1] = i < ndim - n->in[0]->ndim ? 1 : n->in[0]->shape[i - ndim + n->in[0]->ndim];
    a = nx_reshape(a, shape, ndim + 1, n->stream);
    for (int i = 0; i < ndim; i++)
        shape[i + 1] = n->out[0].shape[i];
    out[0] = a ? nx_broadcast_to(a, shape, ndim + 1, n->stream) : NULL;
    out_axes[0] = 0;
    return true;
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
