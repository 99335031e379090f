/* transpose.c: Transpose, and the builders that are one. Always a view. */
#include "engine/core/prim.h"
#include "engine/ops/axes.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/rules.h"
#include "engine/ops/shape.h"

static bool infer_transpose(nx_array *const *in, int n_in, const void *params, nx_spec *out,
                            int n_out)
{
    const nx_dims *axes = &((const nx_axes_params *)params)->axes;
    if (axes->n != in[0]->ndim)
        return nx_fail("[transpose] %d axes do not name the %d dimensions of the array", axes->n,
                       in[0]->ndim);
    nx_spec_set(out, NULL, 0, (nx_dtype)in[0]->dtype);
    for (int i = 0; i < axes->n; i++)
        out->shape[out->ndim++] = in[0]->shape[axes->v[i]];
    return true;
}

static bool view_transpose(nx_node *n)
{
    const nx_dims *axes = &((const nx_axes_params *)n->params)->axes;
    int64_t strides[NX_MAX_NDIM];
    for (int i = 0; i < axes->n; i++)
        strides[i] = n->in[0]->strides[axes->v[i]];
    nx_array_set_view(&n->out[0], n->in[0], strides, 0);
    return true;
}

static const nx_field transpose_fields[] = {
    {"axes", NX_FIELD_DIMS, offsetof(nx_axes_params, axes)},
};

static bool vjp_transpose(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_dims *axes = &((const nx_axes_params *)n->params)->axes;
    int back[NX_MAX_NDIM];
    for (int i = 0; i < axes->n; i++)
        back[axes->v[i]] = i;
    out[0] = nx_transpose_axes(g[0], back, axes->n, n->stream);
    return true;
}

static bool vmap_transpose(nx_node *n, nx_array *const *in, const int *axes, nx_array **out,
                           int *out_axes)
{
    nx_axes_params p = *(const nx_axes_params *)n->params;
    nx_axes_shift(&p.axes);
    nx_dims_prepend(&p.axes, 0);
    out[0] = nx_transpose_axes(nx_batch_front(in[0], axes[0], n->stream), p.axes.v, p.axes.n,
                               n->stream);
    out_axes[0] = 0;
    return true;
}

static bool rebuild_transpose(const nx_rebuild *r, nx_array **out)
{
    const nx_axes_params *p = r->params;
    out[0] = nx_transpose_axes(r->in[0], p->axes.v, p->axes.n, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Transpose = {
    .name = "Transpose",
    .id = NX_PRIM_Transpose,
    .flags = NX_PRIM_VIEW | NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_axes_params),
    .fields = transpose_fields,
    .n_fields = 1,
    .infer = infer_transpose,
    .view = view_transpose,
    .vjp = vjp_transpose,
    .vmap = vmap_transpose,
    .rebuild = rebuild_transpose,
    .least_in = 1,
    .most_in = 1,
};

nx_array *nx_transpose_axes(nx_array *a, const int *axes, int n, nx_stream *s)
{
    nx_axes_params p;
    if (!a || !nx_axes_fix("transpose", axes, n, a->ndim, &p.axes))
        return NULL;
    bool same = n == a->ndim;
    for (int i = 0; same && i < n; i++)
        same = p.axes.v[i] == i;
    return same ? a : nx_op(&nx_prim_Transpose, &p, &a, 1, s);
}

nx_array *nx_transpose(nx_array *a, nx_stream *s)
{
    int axes[NX_MAX_NDIM];
    for (int i = 0; a && i < a->ndim; i++)
        axes[i] = a->ndim - 1 - i;
    return a ? nx_transpose_axes(a, axes, a->ndim, s) : NULL;
}

nx_array *nx_swapaxes(nx_array *a, int axis1, int axis2, nx_stream *s)
{
    int axes[NX_MAX_NDIM];
    if (!a || !nx_axis_fix("swapaxes", &axis1, a->ndim) ||
        !nx_axis_fix("swapaxes", &axis2, a->ndim))
        return NULL;
    for (int i = 0; i < a->ndim; i++)
        axes[i] = i == axis1 ? axis2 : i == axis2 ? axis1 : i;
    return nx_transpose_axes(a, axes, a->ndim, s);
}

nx_array *nx_moveaxis(nx_array *a, int source, int destination, nx_stream *s)
{
    int axes[NX_MAX_NDIM];
    if (!a || !nx_axis_fix("moveaxis", &source, a->ndim) ||
        !nx_axis_fix("moveaxis", &destination, a->ndim))
        return NULL;
    for (int i = 0, from = 0; i < a->ndim; i++) {
        from += from == source;
        axes[i] = i == destination ? source : from++;
    }
    return nx_transpose_axes(a, axes, a->ndim, s);
}
