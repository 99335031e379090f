/*
 * sort.c: Sort, ArgSort, Partition, ArgPartition: rows along one axis put in order, and topk, which is
 * the end of a partition.
 */
#include "engine/ops/sort.h"

#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/ops/axes.h"
#include "engine/ops/creation.h"
#include "engine/ops/index.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/rules.h"
#include "engine/ops/slice.h"

static bool infer_values(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    nx_spec_like(&out[0], in[0], (nx_dtype)in[0]->dtype);
    return true;
}

static bool infer_places(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    nx_spec_like(&out[0], in[0], NX_UINT32);
    return true;
}

static const nx_field sort_fields[] = {
    {"axis", NX_FIELD_INT, offsetof(nx_sort_params, axis)},
};
static const nx_field partition_fields[] = {
    {"kth", NX_FIELD_INT, offsetof(nx_partition_params, kth)},
    {"axis", NX_FIELD_INT, offsetof(nx_partition_params, axis)},
};

/* Cotangents go back to where the values were. */
static nx_array *unsorted(nx_array *g, nx_array *places, int axis, const nx_node *n)
{
    nx_array *zeros = nx_zeros_of(n->in[0], (nx_dtype)g->dtype, n->stream);
    return nx_scatter_add_axis(zeros, places, g, axis, n->stream);
}

static bool vjp_sort(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    int axis = ((const nx_sort_params *)n->params)->axis;
    out[0] = unsorted(g[0], nx_argsort(n->in[0], axis, n->stream), axis, n);
    return true;
}

static bool vjp_partition(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_partition_params *p = n->params;
    nx_array *places = nx_argpartition(n->in[0], p->kth, p->axis, n->stream);
    out[0] = unsorted(g[0], places, p->axis, n);
    return true;
}

static bool vmap_sort(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes)
{
    nx_sort_params p = {((const nx_sort_params *)n->params)->axis + 1};
    nx_array *a = nx_batch_front(in[0], axes[0], n->stream);
    out[0] = nx_op(n->prim, &p, &a, 1, n->stream);
    out_axes[0] = 0;
    return true;
}

static bool vmap_partition(nx_node *n, nx_array *const *in, const int *axes, nx_array **out,
                           int *out_axes)
{
    nx_partition_params p = *(const nx_partition_params *)n->params;
    nx_array *a = nx_batch_front(in[0], axes[0], n->stream);
    p.axis++;
    out[0] = nx_op(n->prim, &p, &a, 1, n->stream);
    out_axes[0] = 0;
    return true;
}

static bool rebuild_sort(const nx_rebuild *r, nx_array **out)
{
    const nx_sort_params *p = r->params;
    out[0] = nx_sort(r->in[0], p->axis, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Sort = {
    .name = "Sort",
    .id = NX_PRIM_Sort,
    .flags = NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_sort_params),
    .fields = sort_fields,
    .n_fields = 1,
    .infer = infer_values,
    .vjp = vjp_sort,
    .vmap = vmap_sort,
    .rebuild = rebuild_sort,
    .least_in = 1,
    .most_in = 1,
};

static bool rebuild_arg_sort(const nx_rebuild *r, nx_array **out)
{
    const nx_sort_params *p = r->params;
    out[0] = nx_argsort(r->in[0], p->axis, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_ArgSort = {
    .name = "ArgSort",
    .id = NX_PRIM_ArgSort,
    .flags = NX_PRIM_NO_GRAD | NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_sort_params),
    .fields = sort_fields,
    .n_fields = 1,
    .infer = infer_places,
    .vmap = vmap_sort,
    .rebuild = rebuild_arg_sort,
    .least_in = 1,
    .most_in = 1,
};

static bool rebuild_partition(const nx_rebuild *r, nx_array **out)
{
    const nx_partition_params *p = r->params;
    out[0] = nx_partition(r->in[0], p->kth, p->axis, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Partition = {
    .name = "Partition",
    .id = NX_PRIM_Partition,
    .flags = NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_partition_params),
    .fields = partition_fields,
    .n_fields = 2,
    .infer = infer_values,
    .vjp = vjp_partition,
    .vmap = vmap_partition,
    .rebuild = rebuild_partition,
    .least_in = 1,
    .most_in = 1,
};

static bool rebuild_arg_partition(const nx_rebuild *r, nx_array **out)
{
    const nx_partition_params *p = r->params;
    out[0] = nx_argpartition(r->in[0], p->kth, p->axis, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_ArgPartition = {
    .name = "ArgPartition",
    .id = NX_PRIM_ArgPartition,
    .flags = NX_PRIM_NO_GRAD | NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_partition_params),
    .fields = partition_fields,
    .n_fields = 2,
    .infer = infer_places,
    .vmap = vmap_partition,
    .rebuild = rebuild_arg_partition,
    .least_in = 1,
    .most_in = 1,
};

static nx_array *sort_along(const nx_prim *prim, const char *op, nx_array *a, int axis, nx_stream *s)
{
    nx_sort_params p = {axis};
    if (!a || !nx_axis_fix(op, &p.axis, a->ndim))
        return NULL;
    return nx_op(prim, &p, &a, 1, s);
}

nx_array *nx_sort(nx_array *a, int axis, nx_stream *s)
{
    return sort_along(&nx_prim_Sort, "sort", a, axis, s);
}

nx_array *nx_argsort(nx_array *a, int axis, nx_stream *s)
{
    return sort_along(&nx_prim_ArgSort, "argsort", a, axis, s);
}

static nx_array *partition_along(const nx_prim *prim, const char *op, nx_array *a, int kth, int axis,
                                 nx_stream *s)
{
    nx_partition_params p = {kth, axis};
    if (!a || !nx_axis_fix(op, &p.axis, a->ndim))
        return NULL;
    int n = a->shape[p.axis];
    p.kth = kth < 0 ? kth + n : kth;
    if (p.kth < 0 || p.kth >= n)
        return nx_fail_null("[%s] element %d does not exist along axis %d of shape %s", op, kth, axis,
                            nx_shape_text(a->shape, a->ndim));
    return nx_op(prim, &p, &a, 1, s);
}

nx_array *nx_partition(nx_array *a, int kth, int axis, nx_stream *s)
{
    return partition_along(&nx_prim_Partition, "partition", a, kth, axis, s);
}

nx_array *nx_argpartition(nx_array *a, int kth, int axis, nx_stream *s)
{
    return partition_along(&nx_prim_ArgPartition, "argpartition", a, kth, axis, s);
}

nx_array *nx_topk(nx_array *a, int k, int axis, nx_stream *s)
{
    if (!a || !nx_axis_fix("topk", &axis, a->ndim))
        return NULL;
    int n = a->shape[axis];
    if (k < 0 || k > n)
        return nx_fail_null("[topk] k is %d, but axis %d of shape %s has %d elements", k, axis,
                            nx_shape_text(a->shape, a->ndim), n);
    if (k == n)
        return a;
    nx_dims start = {.n = a->ndim}, stop = {.n = a->ndim}, step = {.n = a->ndim};
    for (int i = 0; i < a->ndim; i++) {
        stop.v[i] = a->shape[i];
        step.v[i] = 1;
    }
    start.v[axis] = n - k;
    nx_array *parted = k ? nx_partition(a, n - k, axis, s) : a;
    return nx_slice(parted, start.v, start.n, stop.v, stop.n, step.v, step.n, s);
}
