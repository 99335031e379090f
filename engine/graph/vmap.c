#include "engine/graph/vmap.h"

#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/core/scope.h"
#include "engine/graph/walk.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/creation.h"
#include "engine/ops/shape.h"
#include "engine/ops/slice.h"

static nx_stream *stream_of(const nx_array *a)
{
    return a->node->stream ? a->node->stream : nx_stream_default(nx_device_default());
}

/* ---- tracing -------------------------------------------------------------------------------- */

static nx_array *one_slice(nx_array *a, int axis)
{
    int shape[NX_MAX_NDIM], n = 0;
    for (int i = 0; i < a->ndim; i++)
        if (i != axis)
            shape[n++] = a->shape[i];
    return nx_placeholder(shape, n, (nx_dtype)a->dtype, stream_of(a));
}

/* Axes are there, and all as long as the first; false after nx_fail. */
static bool batch_check(nx_array *const *in, const int *axes, size_t n, int *size)
{
    *size = -1;
    for (size_t i = 0; i < n; i++) {
        if (axes[i] == -1)
            continue;
        if (axes[i] < -1 || axes[i] >= in[i]->ndim)
            return nx_fail("[vmap] Invalid vectorization axis %d for array with shape %s", axes[i],
                           nx_shape_text(in[i]->shape, in[i]->ndim));
        int length = in[i]->shape[axes[i]];
        if (*size >= 0 && *size != length)
            return nx_fail("[vmap] Inconsistent axis sizes: %d and %d.", *size, length);
        *size = length;
    }
    return *size >= 0 || nx_fail("[vmap] At least one of in_axes must be non-None.");
}

bool nx_vmap_trace(nx_function f, nx_array *const *in, const int *axes, size_t n, nx_array **s_in,
                   nx_array_vec *s_out)
{
    int size;
    if (!batch_check(in, axes, n, &size))
        return false;
    for (size_t i = 0; i < n; i++)
        s_in[i] = axes[i] == -1 ? in[i] : one_slice(in[i], axes[i]);
    nx_tracing++;
    bool ok = nx_function_call(f, s_in, n, s_out);
    nx_tracing--;
    return ok;
}

/* ---- rules ---------------------------------------------------------------------------------- */

/* An array and where its batch dimension is; -1: it has none. */
typedef struct {
    nx_array *array;
    int axis;
} batched;

typedef struct {
    nx_graph_walk walk;
    batched *values; /* one a number of the walk */
    int size;        /* of the batch */
} replay;

/* Elementwise, whatever it computes: all inputs in one layout of dimensions. */
static bool vmap_elementwise(nx_node *n, nx_array *const *in, const int *axes, int size,
                             nx_array **out, int *out_axes)
{
    int axis = axes[0];
    for (int i = 1; i < n->n_in; i++)
        if (axes[i] != axis)
            axis = -1;
    nx_array *aligned[8];
    if (n->n_in > 8)
        return nx_fail("[vmap] %s has too many inputs", n->prim->name);
    for (int i = 0; i < n->n_in; i++) {
        aligned[i] = in[i];
        if (axis >= 0)
            continue;
        if (axes[i] >= 0) {
            aligned[i] = nx_moveaxis(in[i], axes[i], 0, n->stream);
            continue;
        }
        int shape[NX_MAX_NDIM + 1] = {size};
        for (int k = 0; k < in[i]->ndim; k++)
            shape[k + 1] = in[i]->shape[k];
        aligned[i] = nx_broadcast_to(in[i], shape, in[i]->ndim + 1, n->stream);
    }
    for (int i = 0; i < n->n_out; i++)
        out_axes[i] = axis >= 0 ? axis : 0;
    return nx_op_like(n, aligned, n->stream, true, out);
}

static nx_array *slice_at(nx_array *a, int axis, int index, nx_stream *s)
{
    int start[NX_MAX_NDIM], stop[NX_MAX_NDIM], step[NX_MAX_NDIM];
    for (int i = 0; i < a->ndim; i++) {
        start[i] = i == axis ? index : 0;
        stop[i] = i == axis ? index + 1 : a->shape[i];
        step[i] = 1;
    }
    nx_array *part = nx_slice(a, start, a->ndim, stop, a->ndim, step, a->ndim, s);
    return nx_squeeze_axis(part, axis, s);
}

/* Without a rule: the operation once a slice, and the results put together. */
static bool vmap_loop(nx_node *n, nx_array *const *in, const int *axes, int size, nx_array **out,
                      int *out_axes)
{
    size_t n_in = (size_t)n->n_in, n_out = n->n_out, batch = (size_t)size;
    nx_array **room = nx_malloc((n_in + n_out + batch * (n_out + 1) + 1) * sizeof *room);
    nx_array **one = room, **made = room + n_in, **all = made + n_out, **column = all + batch * n_out;
    bool ok = true;
    for (size_t b = 0; ok && b < batch; b++) {
        for (size_t i = 0; ok && i < n_in; i++) {
            one[i] = axes[i] < 0 ? in[i] : slice_at(in[i], axes[i], (int)b, n->stream);
            ok = one[i] != NULL;
        }
        ok = ok && nx_op_like(n, one, n->stream, false, made);
        for (size_t k = 0; ok && k < n_out; k++)
            all[b * n_out + k] = made[k];
    }
    for (size_t k = 0; ok && k < n_out; k++) {
        nx_array *like = &n->out[k];
        int shape[NX_MAX_NDIM + 1] = {0};
        for (int i = 0; i < like->ndim; i++)
            shape[i + 1] = like->shape[i];
        for (size_t b = 0; b < batch; b++)
            column[b] = all[b * n_out + k];
        out[k] = size ? nx_stack(column, size, 0, n->stream)
                      : nx_zeros(shape, like->ndim + 1, (nx_dtype)like->dtype, n->stream);
        out_axes[k] = 0;
        ok = out[k] != NULL;
    }
    free(room);
    return ok;
}

static bool apply_rule(nx_node *n, nx_array *const *in, const int *axes, int size, nx_array **out,
                       int *out_axes)
{
    if (n->prim->vmap) {
        if (!n->prim->vmap(n, in, axes, out, out_axes))
            return false;
        if (n->n_out == 0 || out[0] != nx_array_none())
            return true;
        return vmap_loop(n, in, axes, size, out, out_axes);
    }
    if (n->prim->flags & NX_PRIM_ELEMENTWISE)
        return vmap_elementwise(n, in, axes, size, out, out_axes);
    return vmap_loop(n, in, axes, size, out, out_axes);
}

/* ---- replaying ------------------------------------------------------------------------------ */

static batched value_of(const replay *r, nx_array *a)
{
    size_t at = nx_graph_walk_find(&r->walk, a);
    return at == SIZE_MAX ? (batched){a, -1} : r->values[at];
}

static bool visit(replay *r, const nx_walked *at)
{
    nx_node *n = at->node;
    size_t most = (size_t)(n->n_in + n->n_out) + 1;
    nx_array **arrays = nx_calloc(most, sizeof *arrays), **out = arrays + n->n_in;
    int *axes = nx_calloc(most, sizeof *axes), *out_axes = axes + n->n_in;
    bool any = false, ok = true;
    for (int i = 0; i < n->n_in; i++) {
        batched b = value_of(r, n->in[i]);
        arrays[i] = b.array;
        axes[i] = b.axis;
        any |= b.axis >= 0;
    }
    for (int i = 0; i < n->n_out; i++)
        out_axes[i] = -1;
    ok = any ? apply_rule(n, arrays, axes, r->size, out, out_axes)
             : nx_op_like(n, arrays, n->stream, false, out);
    for (int i = 0; ok && i < n->n_out; i++) {
        r->values[at->first + (size_t)i] = (batched){out[i], out_axes[i]};
        ok = out[i] != NULL;
    }
    free(arrays);
    free(axes);
    return ok;
}

/* The batch dimension where the caller wants it. */
static nx_array *place(batched b, int axis, int size)
{
    nx_stream *s = stream_of(b.array);
    if (axis == -1) {
        if (b.axis >= 0)
            return nx_fail_null("[vmap] an output that depends on the batch needs an axis for it");
        return b.array;
    }
    if (axis < 0 || axis > b.array->ndim - (b.axis >= 0))
        return nx_fail_null("[vmap] Invalid output vectorization axis %d for array with shape %s",
                            axis, nx_shape_text(b.array->shape, b.array->ndim));
    if (b.axis >= 0)
        return b.axis == axis ? b.array : nx_moveaxis(b.array, b.axis, axis, s);
    nx_array *a = nx_expand_dims(b.array, axis, s);
    int shape[NX_MAX_NDIM];
    if (!a)
        return NULL;
    for (int i = 0; i < a->ndim; i++)
        shape[i] = i == axis ? size : a->shape[i];
    return nx_broadcast_to(a, shape, a->ndim, s);
}

bool nx_vmap_replace(nx_array *const *in, nx_array *const *s_in, const int *axes, size_t n_in,
                     nx_array *const *s_out, const int *out_axes, size_t n_out, nx_array **out)
{
    replay r = {0};
    if (!batch_check(in, axes, n_in, &r.size))
        return false;
    nx_array **sources = nx_malloc((n_in + 1) * sizeof *sources);
    size_t n_sources = 0;
    for (size_t i = 0; i < n_in; i++)
        if (axes[i] >= 0)
            sources[n_sources++] = s_in[i];
    nx_graph_walk_init(&r.walk, sources, n_sources, s_out, n_out, false, NULL);
    r.values = nx_calloc(r.walk.n_outputs + 1, sizeof *r.values);
    for (size_t i = 0; i < n_in; i++)
        if (axes[i] >= 0)
            r.values[nx_graph_walk_find(&r.walk, s_in[i])] = (batched){in[i], axes[i]};
    bool ok = true;
    for (size_t i = r.walk.n_sources; ok && i < r.walk.order.n; i++)
        ok = visit(&r, &r.walk.order.at[i]);
    for (size_t i = 0; ok && i < n_out; i++)
        ok = (out[i] = place(value_of(&r, s_out[i]), out_axes[i], r.size)) != NULL;
    free(r.values);
    free(sources);
    nx_graph_walk_clear(&r.walk);
    return ok;
}

bool nx_vmap(nx_function f, nx_array *const *in, const int *axes, size_t n, nx_array_vec *out)
{
    nx_array **s_in = nx_malloc((n + 1) * sizeof *s_in), **made = NULL;
    nx_array_vec s_out = {0};
    int *front = NULL;
    bool ok = nx_vmap_trace(f, in, axes, n, s_in, &s_out);
    if (ok) {
        made = nx_malloc((s_out.n + 1) * sizeof *made);
        front = nx_calloc(s_out.n + 1, sizeof *front);
        ok = nx_vmap_replace(in, s_in, axes, n, s_out.at, front, s_out.n, made);
    }
    for (size_t i = 0; ok && i < s_out.n; i++)
        nx_vec_push(out, made[i]);
    free(front);
    free(made);
    free(s_in);
    nx_vec_clear(&s_out);
    return ok;
}
