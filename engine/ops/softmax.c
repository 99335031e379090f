/*
 * softmax.c: Softmax and LogSumExp. Both primitives go along the last axis; other axes
 * are brought there, as one.
 */
#include "engine/ops/softmax.h"

#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/ops/axes.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/reduce.h"
#include "engine/ops/rules.h"
#include "engine/ops/shape.h"

static bool infer_softmax(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    nx_spec_like(&out[0], in[0], (nx_dtype)in[0]->dtype);
    return true;
}

static const nx_field softmax_fields[] = {
    {"precise", NX_FIELD_BOOL, offsetof(nx_softmax_params, precise)},
};

/* r (g - sum(r g)) */
static bool vjp_softmax(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    nx_stream *s = n->stream;
    nx_array *weighted = nx_multiply(g[0], &n->out[0], s);
    nx_array *total = nx_sum(weighted, (int[]){-1}, 1, true, s);
    out[0] = nx_subtract(weighted, nx_multiply(&n->out[0], total, s), s);
    return true;
}

static bool rebuild_softmax(const nx_rebuild *r, nx_array **out)
{
    const nx_softmax_params *p = r->params;
    out[0] = nx_softmax(r->in[0], (int[]){-1}, 1, p->precise, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Softmax = {
    .name = "Softmax",
    .id = NX_PRIM_Softmax,
    .flags = NX_PRIM_DONATES_FIRST | NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_softmax_params),
    .fields = softmax_fields,
    .n_fields = 1,
    .infer = infer_softmax,
    .vjp = vjp_softmax,
    .vmap = nx_vmap_front,
    .rebuild = rebuild_softmax,
    .least_in = 1,
    .most_in = 1,
};

static bool infer_logsumexp(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    nx_spec_like(&out[0], in[0], (nx_dtype)in[0]->dtype);
    out[0].shape[out[0].ndim - 1] = 1;
    return true;
}

static bool vjp_logsumexp(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    nx_stream *s = n->stream;
    out[0] = nx_multiply(g[0], nx_softmax(n->in[0], (int[]){-1}, 1, true, s), s);
    return true;
}

static bool rebuild_log_sum_exp(const nx_rebuild *r, nx_array **out)
{
    out[0] = nx_logsumexp(r->in[0], (int[]){-1}, 1, true, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_LogSumExp = {
    .name = "LogSumExp",
    .id = NX_PRIM_LogSumExp,
    .flags = NX_PRIM_ANY_SHAPE,
    .infer = infer_logsumexp,
    .vjp = vjp_logsumexp,
    .vmap = nx_vmap_front,
    .rebuild = rebuild_log_sum_exp,
    .least_in = 1,
    .most_in = 1,
};

/* The axes of a reduction at the end of the shape, as one dimension. */
typedef struct {
    nx_dims axes;  /* as given, ascending */
    nx_dims order; /* the transposition that brings them to the end */
    nx_dims back;
    int n_kept;
} to_end;

static void plan_order(to_end *t, const nx_array *a)
{
    bool chosen[NX_MAX_NDIM] = {0};
    for (int i = 0; i < t->axes.n; i++)
        chosen[t->axes.v[i]] = true;
    t->order.n = t->back.n = a->ndim;
    int n = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < a->ndim; i++)
            if (chosen[i] == (pass == 1))
                t->order.v[n++] = i;
        if (pass == 0)
            t->n_kept = n;
    }
    t->axes.n = 0;
    for (int i = 0; i < a->ndim; i++) {
        t->back.v[t->order.v[i]] = i;
        if (chosen[i])
            t->axes.v[t->axes.n++] = i;
    }
}

/* Nothing moves if the axes are the last ones already. */
static bool in_place(const to_end *t)
{
    return t->axes.n == 0 || t->axes.v[0] == t->n_kept;
}

static nx_array *axes_to_end(const to_end *t, nx_array *a, nx_stream *s)
{
    nx_array *moved = in_place(t) ? a : nx_transpose_axes(a, t->order.v, t->order.n, s);
    return t->axes.n == 1 ? moved : nx_flatten(moved, t->n_kept, a->ndim - 1, s);
}

static nx_array *axes_from_end(const to_end *t, nx_array *a, const nx_array *like, nx_stream *s)
{
    nx_dims last = {.n = t->axes.n};
    for (int i = 0; i < last.n; i++)
        last.v[i] = like->shape[t->axes.v[i]];
    nx_array *parts = last.n == 1 ? a : nx_unflatten(a, t->n_kept, last.v, last.n, s);
    return in_place(t) ? parts : nx_transpose_axes(parts, t->back.v, t->back.n, s);
}

static nx_array *ones_like(nx_array *a, nx_dtype dtype, nx_stream *s)
{
    return nx_broadcast_to(nx_scalar(1, dtype), a->shape, a->ndim, s);
}

nx_array *nx_softmax(nx_array *a, const int *axes, int n_axes, bool precise, nx_stream *s)
{
    to_end t = {0};
    if (!a || !nx_axes_fix("softmax", axes, n_axes, a->ndim, &t.axes))
        return NULL;
    if (!a->size)
        return a;
    if (!n_axes)
        return ones_like(a, (nx_dtype)a->dtype, s); /* each element is a row of its own */
    plan_order(&t, a);
    nx_softmax_params p = {precise};
    nx_array *in = axes_to_end(&t, nx_astype(a, nx_at_least_float((nx_dtype)a->dtype), s), s);
    nx_array *out = axes_from_end(&t, nx_op(&nx_prim_Softmax, &p, &in, 1, s), a, s);
    /* Along other axes than the last, MLX gives integers back their type, and so do we. */
    return n_axes == 1 && in_place(&t) ? out : nx_astype(out, (nx_dtype)a->dtype, s);
}

nx_array *nx_logsumexp(nx_array *a, const int *axes, int n_axes, bool keepdims, nx_stream *s)
{
    to_end t = {0};
    if (!a || !nx_axes_fix("logsumexp", axes, n_axes, a->ndim, &t.axes))
        return NULL;
    if (!a->size)
        return nx_fail_null("[logsumexp] the array of shape %s is empty",
                            nx_shape_text(a->shape, a->ndim));
    nx_array *x = nx_astype(a, nx_at_least_float((nx_dtype)a->dtype), s);
    if (!n_axes)
        return x;
    plan_order(&t, a);
    nx_array *in = axes_to_end(&t, x, s);
    nx_array *out = nx_op(&nx_prim_LogSumExp, NULL, &in, 1, s);
    if (keepdims && t.axes.n == 1 && in_place(&t))
        return out;
    out = nx_squeeze_axis(out, -1, s);
    return keepdims ? nx_expand_dims_axes(out, t.axes.v, t.axes.n, s) : out;
}
