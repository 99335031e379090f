/*
 * reduce.c: Reduce (all, any, sum, prod, min, max over any axes) and ArgReduce.
 *
 * Reduce leaves 1 where it reduced; builders squeeze that away. A reduction over dimensions of size 1
 * alone is a cast.
 */
#include "engine/ops/reduce.h"

#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/ops/axes.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/rules.h"
#include "engine/ops/scan.h"
#include "engine/ops/shape.h"

const int *nx_all_axes(void)
{
    static const int axes[NX_MAX_NDIM] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                          11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                          22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
    return axes;
}

/* bool and integers under 32 bits are added up in 32; And and Or make bool. */
static nx_dtype reduced_type(int kind, nx_dtype t)
{
    if (kind == NX_REDUCE_AND || kind == NX_REDUCE_OR)
        return NX_BOOL;
    if (kind == NX_REDUCE_MIN || kind == NX_REDUCE_MAX || nx_dtype_size(t) >= 4)
        return t;
    if (t == NX_BOOL || nx_dtype_in(t, NX_SIGNED))
        return NX_INT32;
    return nx_dtype_in(t, NX_UNSIGNED) ? NX_UINT32 : t;
}

static bool infer_reduce(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_reduce_params *p = params;
    nx_spec_like(&out[0], in[0], reduced_type(p->kind, (nx_dtype)in[0]->dtype));
    for (int i = 0; i < p->axes.n; i++)
        out[0].shape[p->axes.v[i]] = 1;
    return true;
}

static const nx_field reduce_fields[] = {
    {"reduce_type", NX_FIELD_ENUM, offsetof(nx_reduce_params, kind)},
    {"axes", NX_FIELD_DIMS, offsetof(nx_reduce_params, axes)},
};

/* For each element the product of all others of its group: of those before and those after it, so
 * that zeros do no harm. */
static nx_array *product_of_others(nx_array *a, const nx_dims *axes, nx_stream *s)
{
    nx_dims order = {.n = a->ndim}, back = order, shape = order;
    uint64_t chosen = 0;
    int at = 0;
    for (int i = 0; i < axes->n; i++)
        chosen |= (uint64_t)1 << axes->v[i];
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < a->ndim; i++)
            if ((chosen >> i & 1) == (uint64_t)pass)
                order.v[at++] = i;
    for (int i = 0; i < a->ndim; i++) {
        back.v[order.v[i]] = i;
        shape.v[i] = a->shape[order.v[i]];
    }
    nx_array *rows = nx_transpose_axes(a, order.v, order.n, s);
    rows = nx_flatten(rows, a->ndim - axes->n, -1, s);
    nx_array *others = nx_multiply(nx_cumprod(rows, -1, false, false, s),
                                   nx_cumprod(rows, -1, true, false, s), s);
    return nx_transpose_axes(nx_reshape(others, shape.v, shape.n, s), back.v, back.n, s);
}

static bool vjp_reduce(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_reduce_params *p = n->params;
    nx_array *a = n->in[0];
    nx_stream *s = n->stream;
    if (p->kind == NX_REDUCE_AND || p->kind == NX_REDUCE_OR) {
        out[0] = nx_array_none();
    } else if (p->kind == NX_REDUCE_SUM) {
        nx_array *back = nx_astype(g[0], (nx_dtype)a->dtype, s);
        out[0] = nx_broadcast_like(back, a, s);
    } else if (p->kind == NX_REDUCE_PROD) {
        out[0] = nx_multiply(g[0], nx_conjugate(product_of_others(a, &p->axes, s), s), s);
    } else { /* the largest, or smallest, ones share it */
        nx_array *mask = nx_astype(nx_equal(a, &n->out[0], s), (nx_dtype)g[0]->dtype, s);
        nx_array *count = nx_sum(mask, p->axes.v, p->axes.n, true, s);
        out[0] = nx_multiply(nx_divide(g[0], count, s), mask, s);
    }
    return true;
}

static bool vmap_reduce(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes)
{
    nx_reduce_params p = *(const nx_reduce_params *)n->params;
    nx_array *a = nx_batch_front(in[0], axes[0], n->stream);
    nx_axes_shift(&p.axes);
    out[0] = nx_op(&nx_prim_Reduce, &p, &a, 1, n->stream);
    out_axes[0] = 0;
    return true;
}

static bool rebuild_reduce(const nx_rebuild *r, nx_array **out)
{
    const nx_reduce_params *p = r->params;
    nx_array *(*const builders[])(nx_array *, const int *, int, bool, nx_stream *) = {
        [NX_REDUCE_AND] = nx_all, [NX_REDUCE_OR] = nx_any,  [NX_REDUCE_SUM] = nx_sum,
        [NX_REDUCE_PROD] = nx_prod, [NX_REDUCE_MIN] = nx_min, [NX_REDUCE_MAX] = nx_max,
    };
    if (p->kind < NX_REDUCE_AND || p->kind > NX_REDUCE_MAX)
        return nx_fail("[reduce] kind %d is none", p->kind);
    out[0] = builders[p->kind](r->in[0], p->axes.v, p->axes.n, true, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Reduce = {
    .name = "Reduce",
    .id = NX_PRIM_Reduce,
    .params_size = sizeof(nx_reduce_params),
    .fields = reduce_fields,
    .n_fields = 2,
    .infer = infer_reduce,
    .vjp = vjp_reduce,
    .vmap = vmap_reduce,
    .flags = NX_PRIM_ANY_SHAPE,
    .rebuild = rebuild_reduce,
    .least_in = 1,
    .most_in = 1,
};

static void sort_axes(nx_dims *axes)
{
    for (int i = 1; i < axes->n; i++)
        for (int j = i; j > 0 && axes->v[j - 1] > axes->v[j]; j--) {
            int v = axes->v[j];
            axes->v[j] = axes->v[j - 1];
            axes->v[j - 1] = v;
        }
}

static nx_array *reduce(const char *op, int kind, nx_array *a, const int *axes, int n_axes,
                        bool keepdims, nx_stream *s)
{
    nx_reduce_params p = {.kind = kind};
    if (!a || !nx_axes_fix(op, axes, n_axes, a->ndim, &p.axes))
        return NULL;
    sort_axes(&p.axes);
    bool changes = false;
    for (int i = 0; i < p.axes.n; i++)
        changes |= a->shape[p.axes.v[i]] != 1;
    /* Where nothing changes, MLX leaves a sum over no axes, and any product, in its type. */
    bool same = kind == NX_REDUCE_PROD || (kind == NX_REDUCE_SUM && !p.axes.n);
    nx_array *out = a;
    if (changes)
        out = nx_op(&nx_prim_Reduce, &p, &a, 1, s);
    else if (!same)
        out = nx_astype(a, reduced_type(kind, (nx_dtype)a->dtype), s);
    return keepdims || !p.axes.n ? out : nx_squeeze_axes(out, p.axes.v, p.axes.n, s);
}

nx_array *nx_all(nx_array *a, const int *axes, int n_axes, bool keepdims, nx_stream *s)
{
    return reduce("all", NX_REDUCE_AND, a, axes, n_axes, keepdims, s);
}

nx_array *nx_any(nx_array *a, const int *axes, int n_axes, bool keepdims, nx_stream *s)
{
    return reduce("any", NX_REDUCE_OR, a, axes, n_axes, keepdims, s);
}

nx_array *nx_sum(nx_array *a, const int *axes, int n_axes, bool keepdims, nx_stream *s)
{
    return reduce("sum", NX_REDUCE_SUM, a, axes, n_axes, keepdims, s);
}

nx_array *nx_prod(nx_array *a, const int *axes, int n_axes, bool keepdims, nx_stream *s)
{
    return reduce("prod", NX_REDUCE_PROD, a, axes, n_axes, keepdims, s);
}

nx_array *nx_max(nx_array *a, const int *axes, int n_axes, bool keepdims, nx_stream *s)
{
    if (a && !a->size)
        return nx_fail_null("[max] an empty array of shape %s has no largest element",
                            nx_shape_text(a->shape, a->ndim));
    return reduce("max", NX_REDUCE_MAX, a, axes, n_axes, keepdims, s);
}

nx_array *nx_min(nx_array *a, const int *axes, int n_axes, bool keepdims, nx_stream *s)
{
    if (a && !a->size)
        return nx_fail_null("[min] an empty array of shape %s has no smallest element",
                            nx_shape_text(a->shape, a->ndim));
    return reduce("min", NX_REDUCE_MIN, a, axes, n_axes, keepdims, s);
}

/* ---- places ------------------------------------------------------------------------------------ */

static bool infer_arg(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    nx_spec_like(&out[0], in[0], NX_UINT32);
    out[0].shape[((const nx_arg_reduce_params *)params)->axis] = 1;
    return true;
}

static const nx_field arg_fields[] = {
    {"reduce_type", NX_FIELD_ENUM, offsetof(nx_arg_reduce_params, kind)},
    {"axis", NX_FIELD_INT, offsetof(nx_arg_reduce_params, axis)},
};

static bool vmap_arg(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes)
{
    nx_arg_reduce_params p = *(const nx_arg_reduce_params *)n->params;
    nx_array *a = nx_batch_front(in[0], axes[0], n->stream);
    p.axis++;
    out[0] = nx_op(&nx_prim_ArgReduce, &p, &a, 1, n->stream);
    out_axes[0] = 0;
    return true;
}

static bool rebuild_arg_reduce(const nx_rebuild *r, nx_array **out)
{
    const nx_arg_reduce_params *p = r->params;
    if (p->kind != NX_ARG_MIN && p->kind != NX_ARG_MAX)
        return nx_fail("[arg_reduce] kind %d is none", p->kind);
    out[0] = (p->kind == NX_ARG_MAX ? nx_argmax : nx_argmin)(r->in[0], p->axis, true, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_ArgReduce = {
    .name = "ArgReduce",
    .id = NX_PRIM_ArgReduce,
    .flags = NX_PRIM_NO_GRAD | NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_arg_reduce_params),
    .fields = arg_fields,
    .n_fields = 2,
    .infer = infer_arg,
    .vmap = vmap_arg,
    .rebuild = rebuild_arg_reduce,
    .least_in = 1,
    .most_in = 1,
};

static nx_array *arg_reduce(const char *op, int kind, nx_array *a, int axis, bool keepdims, nx_stream *s)
{
    if (!a)
        return NULL;
    if (!a->size)
        return nx_fail_null("[%s] an empty array of shape %s has no such element", op,
                            nx_shape_text(a->shape, a->ndim));
    nx_arg_reduce_params p = {kind, axis};
    if (!nx_axis_fix(op, &p.axis, a->ndim))
        return NULL;
    nx_array *out = nx_op(&nx_prim_ArgReduce, &p, &a, 1, s);
    return keepdims ? out : nx_squeeze_axis(out, p.axis, s);
}

nx_array *nx_argmax(nx_array *a, int axis, bool keepdims, nx_stream *s)
{
    return arg_reduce("argmax", NX_ARG_MAX, a, axis, keepdims, s);
}

nx_array *nx_argmin(nx_array *a, int axis, bool keepdims, nx_stream *s)
{
    return arg_reduce("argmin", NX_ARG_MIN, a, axis, keepdims, s);
}

static nx_array *arg_flat(const char *op, int kind, nx_array *a, bool keepdims, nx_stream *s)
{
    nx_array *out = a ? arg_reduce(op, kind, nx_flatten_all(a, s), 0, keepdims, s) : NULL;
    if (!out || !keepdims)
        return out;
    nx_dims ones = {.n = a->ndim};
    for (int i = 0; i < a->ndim; i++)
        ones.v[i] = 1;
    return nx_reshape(out, ones.v, ones.n, s);
}

nx_array *nx_argmax_flat(nx_array *a, bool keepdims, nx_stream *s)
{
    return arg_flat("argmax", NX_ARG_MAX, a, keepdims, s);
}

nx_array *nx_argmin_flat(nx_array *a, bool keepdims, nx_stream *s)
{
    return arg_flat("argmin", NX_ARG_MIN, a, keepdims, s);
}
