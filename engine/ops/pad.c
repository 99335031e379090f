/* pad.c: Pad: an array inside a larger one filled with a constant; edge padding by repeated edges.
 */
#include <string.h>

#include "engine/core/prim.h"
#include "engine/ops/axes.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/reduce.h"
#include "engine/ops/rules.h"
#include "engine/ops/shape.h"
#include "engine/ops/slice.h"

static bool infer_pad(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_pad_params *p = params;
    nx_spec_like(out, in[0], (nx_dtype)in[0]->dtype);
    for (int i = 0; i < p->axes.n; i++) {
        int64_t n = (int64_t)out->shape[p->axes.v[i]] + p->low.v[i] + p->high.v[i];
        if (n > INT32_MAX)
            return nx_fail("[pad] a dimension of %lld elements is too large", (long long)n);
        out->shape[p->axes.v[i]] = (int)n;
    }
    return nx_shape_fits("pad", out->shape, out->ndim);
}

static const nx_field pad_fields[] = {
    {"axes", NX_FIELD_DIMS, offsetof(nx_pad_params, axes)},
    {"low_pad_size", NX_FIELD_DIMS, offsetof(nx_pad_params, low)},
    {"high_pad_size", NX_FIELD_DIMS, offsetof(nx_pad_params, high)},
};

/* What went inside comes from inside; the value gets the rest. */
static bool vjp_pad(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_pad_params *p = n->params;
    nx_stream *s = n->stream;
    nx_dims start = {.n = g[0]->ndim}, stop = start, step = start;
    for (int i = 0; i < start.n; i++)
        step.v[i] = 1;
    for (int i = 0; i < p->axes.n; i++)
        start.v[p->axes.v[i]] = p->low.v[i];
    for (int i = 0; i < stop.n; i++)
        stop.v[i] = start.v[i] + n->in[0]->shape[i];
    nx_array *inside = nx_slice(g[0], start.v, start.n, stop.v, stop.n, step.v, step.n, s);
    if (wanted[0])
        out[0] = inside;
    if (wanted[1] && inside) {
        nx_array *all = nx_sum(g[0], nx_all_axes(), g[0]->ndim, false, s);
        nx_array *rest = nx_subtract(all, nx_sum(inside, nx_all_axes(), g[0]->ndim, false, s), s);
        out[1] = nx_reshape(rest, n->in[1]->shape, n->in[1]->ndim, s);
    }
    return true;
}

static bool vmap_pad(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes)
{
    nx_pad_params p = *(const nx_pad_params *)n->params;
    if (axes[1] >= 0)
        return nx_fail("[vmap] Pad cannot pad every item of a batch with a value of its own");
    nx_axes_shift(&p.axes);
    nx_array *both[2] = {nx_batch_front(in[0], axes[0], n->stream), in[1]};
    out[0] = nx_op(&nx_prim_Pad, &p, both, 2, n->stream);
    out_axes[0] = 0;
    return true;
}

static bool rebuild_pad(const nx_rebuild *r, nx_array **out)
{
    const nx_pad_params *p = r->params;
    out[0] = nx_pad(r->in[0], p->axes.v, p->axes.n, p->low.v, p->low.n, p->high.v, p->high.n, r->in[1],
                    "constant", r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Pad = {
    .name = "Pad",
    .id = NX_PRIM_Pad,
    .params_size = sizeof(nx_pad_params),
    .fields = pad_fields,
    .n_fields = 3,
    .infer = infer_pad,
    .vjp = vjp_pad,
    .vmap = vmap_pad,
    .rebuild = rebuild_pad,
    .least_in = 2,
    .most_in = 2,
};

/* n copies of the slice at `index` of the axis. */
static nx_array *edge(nx_array *a, int axis, int index, int n, nx_stream *s)
{
    int start[NX_MAX_NDIM] = {0}, stop[NX_MAX_NDIM], strides[NX_MAX_NDIM];
    for (int i = 0; i < a->ndim; i++)
        strides[i] = 1;
    memcpy(stop, a->shape, (size_t)a->ndim * sizeof *stop);
    start[axis] = index;
    stop[axis] = index + 1;
    nx_array *one = nx_slice(a, start, a->ndim, stop, a->ndim, strides, a->ndim, s);
    memcpy(stop, a->shape, (size_t)a->ndim * sizeof *stop);
    stop[axis] = n;
    return nx_broadcast_to(one, stop, a->ndim, s);
}

static nx_array *pad_edges(nx_array *a, const nx_pad_params *p, nx_stream *s)
{
    for (int i = 0; a && i < p->axes.n; i++) {
        int axis = p->axes.v[i], n = 0;
        if (!p->low.v[i] && !p->high.v[i])
            continue;
        if (a->shape[axis] == 0)
            return nx_fail_null("[pad] axis %d is empty and has no edge", axis);
        nx_array *part[3];
        if (p->low.v[i])
            part[n++] = edge(a, axis, 0, p->low.v[i], s);
        part[n++] = a;
        if (p->high.v[i])
            part[n++] = edge(a, axis, a->shape[axis] - 1, p->high.v[i], s);
        a = nx_concatenate(part, n, axis, s);
    }
    return a;
}

static bool check_widths(const nx_pad_params *p)
{
    for (int i = 0; i < p->axes.n; i++)
        if (p->low.v[i] < 0 || p->high.v[i] < 0)
            return nx_fail("[pad] axis %d cannot be padded by %d and %d elements", p->axes.v[i],
                           p->low.v[i], p->high.v[i]);
    return true;
}

nx_array *nx_pad(nx_array *a, const int *axes, int n_axes, const int *low, int n_low,
                 const int *high, int n_high, nx_array *value, const char *mode, nx_stream *s)
{
    nx_pad_params p;
    if (!a || !value)
        return NULL;
    if (n_low != n_axes || n_high != n_axes)
        return nx_fail_null("[pad] %d low and %d high sizes do not fit %d axes", n_low, n_high,
                            n_axes);
    if (!nx_axes_fix("pad", axes, n_axes, a->ndim, &p.axes) ||
        !nx_dims_set("pad", &p.low, low, n_low) || !nx_dims_set("pad", &p.high, high, n_high) ||
        !check_widths(&p))
        return NULL;
    if (strcmp(mode, "edge") == 0)
        return pad_edges(a, &p, s);
    if (strcmp(mode, "constant") != 0)
        return nx_fail_null("[pad] mode '%s' is neither constant nor edge", mode);
    if (value->ndim)
        return nx_fail_null("[pad] the value must be a scalar, not of shape %s",
                            nx_shape_text(value->shape, value->ndim));
    return nx_op(&nx_prim_Pad, &p, (nx_array *[]){a, nx_astype(value, (nx_dtype)a->dtype, s)}, 2,
                 s);
}

nx_array *nx_pad_symmetric(nx_array *a, int width, nx_array *value, const char *mode, nx_stream *s)
{
    int axes[NX_MAX_NDIM], widths[NX_MAX_NDIM], n = a ? a->ndim : 0;
    for (int i = 0; i < n; i++) {
        axes[i] = i;
        widths[i] = width;
    }
    return nx_pad(a, axes, n, widths, n, widths, n, value, mode, s);
}
