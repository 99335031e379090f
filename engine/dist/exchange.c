/*
 * exchange.c: AllReduce, AllGather, ReduceScatter, Send and Recv: arrays between processes. Their
 * kernels are the host's on every device (prim.h: host) and hand the work to the group's transport.
 *
 * Derivatives are MLX's: each process has its own copy of the loss, so the cotangent of a sum over
 * all is the cotangent itself, that of a gathering its own part.
 */
#include "engine/dist/exchange.h"

#include <string.h>

#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/ops/prims.h"
#include "engine/ops/rules.h"
#include "engine/ops/slice.h"

typedef struct {
    nx_group *group;
    nx_combine combine;
    int peer;
    nx_dims shape;  /* of Recv */
    nx_dtype dtype; /* of Recv */
} exchange_params;

/* ---- kernels ------------------------------------------------------------------------------- */

static void run(const nx_call *c, nx_exchange_kind kind)
{
    const exchange_params *p = c->params;
    const nx_view *counted = kind == NX_RECV ? &c->out[0] : &c->in[0];
    nx_exchange x = {.kind = kind, .combine = p->combine, .dtype = counted->dtype, .peer = p->peer,
                     .in = c->n_in ? c->in[0].data : NULL, .out = c->out[0].data,
                     .n = nx_view_size(counted)};
    size_t out_size = (size_t)nx_view_size(&c->out[0]) * nx_dtype_size(c->out[0].dtype);
    if (kind == NX_SEND && x.in != x.out)
        memcpy(x.out, x.in, out_size);
    if (nx_group_run(p->group, &x))
        return;
    memset(x.out, 0, out_size); /* not what happened to lie there */
    nx_task_fail("%s", nx_error_message());
}

#define KERNEL(name, kind)                                                                         \
    static void name##_run(const nx_call *c)                                                       \
    {                                                                                              \
        run(c, kind);                                                                              \
    }                                                                                              \
    static const nx_kernel_entry name##_kernel = {.run = name##_run};
KERNEL(all_reduce, NX_ALL_REDUCE)
KERNEL(all_gather, NX_ALL_GATHER)
KERNEL(reduce_scatter, NX_REDUCE_SCATTER)
KERNEL(send, NX_SEND)
KERNEL(recv, NX_RECV)

static nx_group *group_of(const nx_node *n)
{
    return ((const exchange_params *)n->params)->group;
}

static bool infer_same(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    nx_spec_like(&out[0], in[0], (nx_dtype)in[0]->dtype);
    return true;
}

/* The same operation on one other array; the batch, wherever it is, stays there. */
static nx_array *again(nx_node *n, nx_array *a)
{
    return nx_op(n->prim, n->params, &a, 1, n->stream);
}

static bool jvp_again(nx_node *n, nx_array *const *t, nx_array **out)
{
    return (out[0] = again(n, t[0])) != NULL;
}

static bool vmap_again(nx_node *n, nx_array *const *in, const int *axes, nx_array **out,
                       int *out_axes)
{
    out_axes[0] = axes[0];
    return (out[0] = again(n, in[0])) != NULL;
}

/* Of what works along the first axis: the batch goes second. An item without dimensions gets one. */
static bool vmap_along_first(nx_node *n, nx_array *const *in, const int *axes, nx_array **out,
                             int *out_axes)
{
    nx_array *a = in[0];
    if (axes[0] >= 0)
        a = a->ndim == 1 ? nx_expand_dims(a, 0, n->stream) : nx_moveaxis(a, axes[0], 1, n->stream);
    out_axes[0] = axes[0] >= 0 ? 1 : -1;
    return a && (out[0] = again(n, a)) != NULL;
}

/* ---- AllReduce ----------------------------------------------------------------------------- */

static bool vjp_all_reduce(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    out[0] = g[0];
    return true;
}

const nx_prim nx_prim_AllReduce = {
    .name = "AllReduce",
    .id = NX_PRIM_AllReduce,
    .flags = NX_PRIM_WAITS | NX_PRIM_DONATES_FIRST,
    .row_inputs = 1,
    .params_size = sizeof(exchange_params),
    .infer = infer_same,
    .host = &all_reduce_kernel,
    .vjp = vjp_all_reduce,
    .jvp = jvp_again,
    .vmap = vmap_again,
};

nx_array *nx_all_reduce(nx_array *a, nx_combine combine, nx_group *group, nx_stream *s)
{
    if (!a || !(group = nx_group_or_all(group)))
        return NULL;
    if (nx_group_size(group) == 1)
        return a;
    exchange_params p = {.group = group, .combine = combine};
    return nx_op(&nx_prim_AllReduce, &p, &a, 1, s);
}

/* ---- AllGather ----------------------------------------------------------------------------- */

static bool infer_all_gather(nx_array *const *in, int n_in, const void *params, nx_spec *out,
                             int n_out)
{
    int size = nx_group_size(((const exchange_params *)params)->group);
    nx_spec_like(&out[0], in[0], (nx_dtype)in[0]->dtype);
    if (out[0].ndim == 0) {
        out[0].ndim = 1;
        out[0].shape[0] = size;
    } else if (__builtin_mul_overflow(out[0].shape[0], size, &out[0].shape[0])) {
        return nx_fail("[all_gather] %d arrays of shape %s are too many for one", size,
                       nx_shape_text(in[0]->shape, in[0]->ndim));
    }
    return true;
}

static bool vjp_all_gather(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_array *in = n->in[0];
    int rank = nx_group_rank(group_of(n)), rows = in->ndim ? in->shape[0] : 1;
    int start[NX_MAX_NDIM] = {rank * rows}, stop[NX_MAX_NDIM], strides[NX_MAX_NDIM];
    int ndim = g[0]->ndim;
    for (int i = 0; i < ndim; i++) {
        stop[i] = i ? g[0]->shape[i] : start[0] + rows;
        strides[i] = 1;
    }
    nx_array *part = nx_slice(g[0], start, ndim, stop, ndim, strides, ndim, n->stream);
    out[0] = part ? nx_reshape(part, in->shape, in->ndim, n->stream) : NULL;
    return out[0] != NULL;
}

const nx_prim nx_prim_AllGather = {
    .name = "AllGather",
    .id = NX_PRIM_AllGather,
    .flags = NX_PRIM_WAITS,
    .row_inputs = 1,
    .params_size = sizeof(exchange_params),
    .infer = infer_all_gather,
    .host = &all_gather_kernel,
    .vjp = vjp_all_gather,
    .jvp = jvp_again,
    .vmap = vmap_along_first,
};

nx_array *nx_all_gather(nx_array *a, nx_group *group, nx_stream *s)
{
    if (!a || !(group = nx_group_or_all(group)))
        return NULL;
    if (nx_group_size(group) == 1)
        return a;
    exchange_params p = {.group = group};
    return nx_op(&nx_prim_AllGather, &p, &a, 1, s);
}

/* ---- ReduceScatter ------------------------------------------------------------------------- */

static bool infer_reduce_scatter(nx_array *const *in, int n_in, const void *params, nx_spec *out,
                                 int n_out)
{
    int size = nx_group_size(((const exchange_params *)params)->group);
    if (in[0]->ndim == 0 || in[0]->shape[0] % size)
        return nx_fail("[sum_scatter] Invalid shape=%s for a group of size %d. The first dimension "
                       "(axis 0) must be divisible by the group size.",
                       nx_shape_text(in[0]->shape, in[0]->ndim), size);
    nx_spec_like(&out[0], in[0], (nx_dtype)in[0]->dtype);
    out[0].shape[0] /= size;
    return true;
}

static bool vjp_reduce_scatter(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    return (out[0] = nx_all_gather(g[0], group_of(n), n->stream)) != NULL;
}

const nx_prim nx_prim_ReduceScatter = {
    .name = "ReduceScatter",
    .id = NX_PRIM_ReduceScatter,
    .flags = NX_PRIM_WAITS,
    .row_inputs = 1,
    .params_size = sizeof(exchange_params),
    .infer = infer_reduce_scatter,
    .host = &reduce_scatter_kernel,
    .vjp = vjp_reduce_scatter,
    .jvp = jvp_again,
    .vmap = vmap_along_first,
};

nx_array *nx_sum_scatter(nx_array *a, nx_group *group, nx_stream *s)
{
    if (!a || !(group = nx_group_or_all(group)))
        return NULL;
    if (nx_group_size(group) == 1)
        return a;
    exchange_params p = {.group = group, .combine = NX_COMBINE_SUM};
    return nx_op(&nx_prim_ReduceScatter, &p, &a, 1, s);
}

/* ---- Send, Recv ---------------------------------------------------------------------------- */

const nx_prim nx_prim_Send = {
    .name = "Send",
    .id = NX_PRIM_Send,
    .flags = NX_PRIM_WAITS | NX_PRIM_DONATES_FIRST,
    .row_inputs = 1,
    .params_size = sizeof(exchange_params),
    .infer = infer_same,
    .host = &send_kernel,
    .vmap = vmap_again,
};

/* Of a group of more than one, and inside it. */
static bool peer_check(const char *name, int peer, const nx_group *group, const char *does,
                       const char *is)
{
    int size = nx_group_size(group);
    if (size == 1)
        return nx_fail("[%s] Cannot %s a singleton group", name, does);
    if (peer < 0 || peer >= size)
        return nx_fail("[%s] Invalid %s=%d for a group of size %d", name, is, peer, size);
    return true;
}

nx_array *nx_send(nx_array *a, int to, nx_group *group, nx_stream *s)
{
    if (!a || !(group = nx_group_or_all(group)) ||
        !peer_check("send", to, group, "send to", "destination"))
        return NULL;
    exchange_params p = {.group = group, .peer = to};
    return nx_op(&nx_prim_Send, &p, &a, 1, s);
}

static bool infer_recv(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const exchange_params *p = params;
    for (int i = 0; i < p->shape.n; i++)
        if (p->shape.v[i] < 0)
            return nx_fail("[recv] shape %s has a negative dimension",
                           nx_shape_text(p->shape.v, p->shape.n));
    nx_spec_set(&out[0], p->shape.v, p->shape.n, p->dtype);
    return true;
}

const nx_prim nx_prim_Recv = {
    .name = "Recv",
    .id = NX_PRIM_Recv,
    .flags = NX_PRIM_WAITS,
    .params_size = sizeof(exchange_params),
    .infer = infer_recv,
    .host = &recv_kernel,
};

nx_array *nx_recv(const int *shape, int ndim, nx_dtype dtype, int from, nx_group *group,
                  nx_stream *s)
{
    if (!(group = nx_group_or_all(group)) ||
        !peer_check("recv", from, group, "recv from", "source"))
        return NULL;
    exchange_params p = {.group = group, .peer = from, .dtype = dtype, .shape = {.n = ndim}};
    for (int i = 0; i < ndim; i++)
        p.shape.v[i] = shape[i];
    return nx_op(&nx_prim_Recv, &p, NULL, 0, s);
}
