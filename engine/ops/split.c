/* split.c: Split: consecutive parts of an array along one axis, all of them views. */
#include <stdlib.h>
#include <string.h>

#include "engine/core/prim.h"
#include "engine/ops/axes.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/rules.h"
#include "engine/ops/shape.h"
#include "engine/ops/slice.h"

/* indices ascend within 0..length of the axis: nx_split_at sees to it. */
static bool infer_split(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_split_params *p = params;
    for (int i = 0, from = 0; i < n_out; i++) {
        int to = i < p->indices.n ? p->indices.v[i] : in[0]->shape[p->axis];
        if (to < from)
            return nx_fail("[split] index %d is not in order, or beyond shape %s", from,
                           nx_shape_text(in[0]->shape, in[0]->ndim));
        nx_spec_like(&out[i], in[0], (nx_dtype)in[0]->dtype);
        out[i].shape[p->axis] = to - from;
        from = to;
    }
    return true;
}

static bool view_split(nx_node *n)
{
    const nx_split_params *p = n->params;
    const nx_array *a = n->in[0];
    for (int i = 0; i < n->n_out; i++) {
        int64_t from = i ? p->indices.v[i - 1] : 0;
        nx_array_set_view(&n->out[i], a, a->strides,
                          n->out[i].size ? from * a->strides[p->axis] : 0);
    }
    return true;
}

static const nx_field split_fields[] = {
    {"indices", NX_FIELD_DIMS, offsetof(nx_split_params, indices)},
    {"axis", NX_FIELD_INT, offsetof(nx_split_params, axis)},
};

static bool vjp_split(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    out[0] = nx_concatenate(g, n->n_out, ((const nx_split_params *)n->params)->axis, n->stream);
    return true;
}

static bool vmap_split(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes)
{
    nx_split_params p = *(const nx_split_params *)n->params;
    nx_array *a = nx_batch_front(in[0], axes[0], n->stream);
    p.axis++;
    for (int i = 0; i < n->n_out; i++)
        out_axes[i] = 0;
    return nx_op_n(&nx_prim_Split, &p, &a, 1, n->stream, out, n->n_out);
}

static bool rebuild_split(const nx_rebuild *r, nx_array **out)
{
    const nx_split_params *p = r->params;
    if (r->n_out != p->indices.n + 1)
        return nx_fail("[split] %d indices do not make %d parts", p->indices.n, r->n_out);
    return nx_split_at(r->in[0], p->indices.v, p->indices.n, p->axis, r->s, out);
}

const nx_prim nx_prim_Split = {
    .name = "Split",
    .id = NX_PRIM_Split,
    .flags = NX_PRIM_VIEW,
    .params_size = sizeof(nx_split_params),
    .fields = split_fields,
    .n_fields = 2,
    .infer = infer_split,
    .view = view_split,
    .vjp = vjp_split,
    .vmap = vmap_split,
    .rebuild = rebuild_split,
    .least_in = 1,
    .most_in = 1,
};

static bool in_order(const int *indices, int n, int length)
{
    for (int i = 0; i < n; i++)
        if (indices[i] < (i ? indices[i - 1] : 0) || indices[i] > length)
            return false;
    return true;
}

/* As Python slices a list: negative indices count from the end, too large ones are cut. */
static bool split_by_slices(nx_array *a, const int *indices, int n, int axis, nx_stream *s,
                            nx_array **out)
{
    int start[NX_MAX_NDIM] = {0}, stop[NX_MAX_NDIM], strides[NX_MAX_NDIM];
    for (int i = 0; i < a->ndim; i++)
        strides[i] = 1;
    memcpy(stop, a->shape, (size_t)a->ndim * sizeof *stop);
    for (int i = 0; i <= n; i++) {
        start[axis] = i ? indices[i - 1] : 0;
        stop[axis] = i < n ? indices[i] : a->shape[axis];
        out[i] = nx_slice(a, start, a->ndim, stop, a->ndim, strides, a->ndim, s);
        if (!out[i])
            return false;
    }
    return true;
}

bool nx_split_at(nx_array *a, const int *indices, int n, int axis, nx_stream *s, nx_array **out)
{
    nx_split_params p;
    p.axis = axis;
    if (!a || !nx_axis_fix("split", &p.axis, a->ndim))
        return false;
    if (n == 0) {
        out[0] = a;
        return true;
    }
    if (n > NX_MAX_NDIM || !in_order(indices, n, a->shape[p.axis]))
        return split_by_slices(a, indices, n, p.axis, s, out);
    return nx_dims_set("split", &p.indices, indices, n) &&
           nx_op_n(&nx_prim_Split, &p, &a, 1, s, out, n + 1);
}

bool nx_split(nx_array *a, int n, int axis, nx_stream *s, nx_array **out)
{
    if (!a || !nx_axis_fix("split", &axis, a->ndim))
        return false;
    int length = a->shape[axis];
    if (n < 1 || length % n)
        return nx_fail("[split] an axis of %d elements does not split into %d equal parts", length,
                       n);
    int *indices = nx_malloc((size_t)n * sizeof *indices);
    for (int i = 1; i < n; i++)
        indices[i - 1] = length / n * i;
    bool ok = nx_split_at(a, indices, n - 1, axis, s, out);
    free(indices);
    return ok;
}
