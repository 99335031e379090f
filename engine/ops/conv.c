/* conv.c: Convolution, in any number of dimensions up to three, also transposed. */
#include "engine/ops/conv.h"

#include "engine/core/prim.h"
#include "engine/ops/axes.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/rules.h"
#include "engine/ops/slice.h"

static bool check_shapes(const nx_array *x, const nx_array *w, int groups)
{
    if (x->ndim < 3 || x->ndim > 5)
        return nx_fail("[conv] an input of shape %s is not [N, 1 to 3 spatial dimensions, C]",
                       nx_shape_text(x->shape, x->ndim));
    if (w->ndim != x->ndim)
        return nx_fail("[conv] a weight of shape %s does not fit an input of %d dimensions",
                       nx_shape_text(w->shape, w->ndim), x->ndim);
    int64_t channels = (int64_t)w->shape[w->ndim - 1] * groups;
    if (groups < 1 || w->shape[0] % groups || channels != x->shape[x->ndim - 1])
        return nx_fail("[conv] %d groups, a weight of shape %s and an input of shape %s do not fit",
                       groups, nx_shape_text(w->shape, w->ndim), nx_shape_text(x->shape, x->ndim));
    return true;
}

/* Places the kernel can take along one spatial dimension. */
static bool out_length(const nx_conv_params *p, int d, int input, int kernel, int *out)
{
    int64_t wide = 1 + (int64_t)p->input_dilation.v[d] * (input - 1);
    int64_t reach = 1 + (int64_t)p->kernel_dilation.v[d] * (kernel - 1);
    if (kernel < 1)
        return nx_fail("[conv] the kernel is empty");
    wide += (int64_t)p->padding_low.v[d] + p->padding_high.v[d];
    if (wide < reach)
        return nx_fail("[conv] spatial dimension %d has %lld elements with padding, fewer than the "
                       "kernel's %lld",
                       d, (long long)wide, (long long)reach);
    int64_t n = (wide - reach) / p->stride.v[d] + 1;
    *out = (int)n;
    return n <= INT32_MAX ||
           nx_fail("[conv] a dimension of %lld elements is too large", (long long)n);
}

static bool infer_conv(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_conv_params *p = params;
    const nx_array *x = in[0], *w = in[1];
    nx_spec_like(out, x, (nx_dtype)x->dtype);
    for (int d = 0; d < x->ndim - 2; d++)
        if (!out_length(p, d, x->shape[d + 1], w->shape[d + 1], &out->shape[d + 1]))
            return false;
    out->shape[out->ndim - 1] = w->shape[0];
    return nx_shape_fits("conv", out->shape, out->ndim);
}

static const nx_field conv_fields[] = {
    {"kernel_strides", NX_FIELD_DIMS, offsetof(nx_conv_params, stride)},
    {"padding_lo", NX_FIELD_DIMS, offsetof(nx_conv_params, padding_low)},
    {"padding_hi", NX_FIELD_DIMS, offsetof(nx_conv_params, padding_high)},
    {"kernel_dilation", NX_FIELD_DIMS, offsetof(nx_conv_params, kernel_dilation)},
    {"input_dilation", NX_FIELD_DIMS, offsetof(nx_conv_params, input_dilation)},
    {"groups", NX_FIELD_INT, offsetof(nx_conv_params, groups)},
    {"flip", NX_FIELD_BOOL, offsetof(nx_conv_params, flip)},
};

/* Sizes of one spatial dimension: of the input and of the result, each spread by its dilation. */
typedef struct {
    int input, result, kernel;
} extent;

static extent extent_of(const nx_conv_params *p, const nx_array *x, const nx_array *w,
                        const nx_array *g, int i)
{
    return (extent){p->input_dilation.v[i] * (x->shape[i + 1] - 1) + 1,
                    p->stride.v[i] * (g->shape[i + 1] - 1) + 1,
                    p->kernel_dilation.v[i] * (w->shape[i + 1] - 1)};
}

/* The cotangent of x: the kernel turned round goes over the cotangent, spread by the stride. */
static nx_array *input_gradient(const nx_conv_params *p, nx_array *x, nx_array *w, nx_array *g,
                                nx_stream *s)
{
    nx_dims low = {.n = p->stride.n}, high = low;
    for (int i = 0; i < low.n; i++) {
        extent d = extent_of(p, x, w, g, i);
        low.v[i] = d.kernel - p->padding_low.v[i];
        high.v[i] = d.input - d.result + p->padding_low.v[i];
    }
    nx_conv_options o = {.stride = p->input_dilation.v, .n_stride = low.n,
                         .padding_low = low.v, .n_low = low.n, .padding_high = high.v,
                         .n_high = low.n, .kernel_dilation = p->kernel_dilation.v,
                         .n_kernel = low.n, .input_dilation = p->stride.v, .n_input = low.n,
                         .groups = 1, .flip = !p->flip};
    return nx_conv(g, nx_swapaxes(w, 0, -1, s), &o, s);
}

/* The cotangent of w: the cotangent goes over the input, with channels in the place of the batch. */
static nx_array *weight_gradient(const nx_conv_params *p, nx_array *x, nx_array *w, nx_array *g,
                                 nx_stream *s)
{
    nx_dims high = {.n = p->stride.n}, start = {.n = w->ndim}, stop = start, step = start;
    for (int i = 0; i < high.n; i++) {
        extent d = extent_of(p, x, w, g, i);
        high.v[i] = d.kernel + d.result - d.input - p->padding_low.v[i];
    }
    nx_conv_options o = {.stride = p->kernel_dilation.v, .n_stride = high.n,
                         .padding_low = p->padding_low.v, .n_low = high.n, .padding_high = high.v,
                         .n_high = high.n, .kernel_dilation = p->stride.v, .n_kernel = high.n,
                         .input_dilation = p->input_dilation.v, .n_input = high.n, .groups = 1};
    nx_array *d = nx_conv(nx_swapaxes(x, 0, -1, s), nx_swapaxes(g, 0, -1, s), &o, s);
    d = nx_swapaxes(d, 0, -1, s);
    if (!p->flip || !d)
        return d;
    for (int i = 0; i < d->ndim; i++) {
        bool turned = i > 0 && i < d->ndim - 1;
        start.v[i] = turned ? d->shape[i] - 1 : 0;
        stop.v[i] = turned ? -d->shape[i] - 1 : d->shape[i];
        step.v[i] = turned ? -1 : 1;
    }
    return nx_slice(d, start.v, start.n, stop.v, stop.n, step.v, step.n, s);
}

/* Group by group, each a convolution of its own. */
static bool vjp(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_conv_params *p = n->params;
    nx_stream *s = n->stream;
    size_t groups = (size_t)p->groups;
    nx_array **parts = nx_calloc(groups * 5, sizeof *parts);
    nx_array **x = parts, **w = x + groups, **c = w + groups, **dx = c + groups, **dw = dx + groups;
    bool ok = nx_split(n->in[0], p->groups, -1, s, x) && nx_split(n->in[1], p->groups, 0, s, w) &&
              nx_split(g[0], p->groups, -1, s, c);
    for (size_t i = 0; ok && i < groups; i++) {
        dx[i] = wanted[0] ? input_gradient(p, x[i], w[i], c[i], s) : NULL;
        dw[i] = wanted[1] ? weight_gradient(p, x[i], w[i], c[i], s) : NULL;
        ok = (!wanted[0] || dx[i]) && (!wanted[1] || dw[i]);
    }
    if (ok && wanted[0])
        out[0] = nx_concatenate(dx, p->groups, -1, s);
    if (ok && wanted[1])
        out[1] = nx_concatenate(dw, p->groups, 0, s);
    free(parts);
    return ok;
}

/* [B, O, ...] as [O, ...] in which each of the groups of O has the batch inside. */
static nx_array *into_groups(nx_array *w, int groups, nx_stream *s)
{
    if (!w)
        return NULL;
    w = nx_unflatten(w, 1, (int[]){groups, w->shape[1] / groups}, 2, s);
    return nx_flatten(nx_moveaxis(w, 0, 1, s), 0, 2, s);
}

/* Inputs that differ are more images; weights that differ are more outputs of each group; where both
 * do, each item is a set of groups of its own. */
static bool vmap_conv(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes)
{
    nx_conv_params p = *(const nx_conv_params *)n->params;
    nx_stream *s = n->stream;
    int size = nx_batch_size(in, axes, 2), last = n->in[0]->ndim - 1, outputs = n->in[1]->shape[0];
    nx_array *x = nx_batch_front(in[0], axes[0], s), *w = nx_batch_front(in[1], axes[1], s);
    out_axes[0] = 0;
    if (size == 0)
        return nx_batch_by_slices(out);
    if (axes[1] < 0) {
        x = nx_batch_merge(x, s);
    } else if (axes[0] < 0) {
        w = into_groups(w, p.groups, s);
    } else {
        x = nx_flatten(nx_moveaxis(x, 0, last, s), last, last + 1, s);
        w = nx_batch_merge(w, s);
        p.groups *= size;
    }
    nx_array *made = nx_op(&nx_prim_Convolution, &p, (nx_array *[]){x, w}, 2, s);
    if (axes[1] < 0) {
        out[0] = nx_batch_part(made, size, s);
    } else if (axes[0] >= 0) {
        out[0] = nx_unflatten(made, last, (int[]){size, outputs}, 2, s);
        out_axes[0] = last;
    } else {
        made = nx_unflatten(made, last, (int[]){p.groups, size, outputs / p.groups}, 3, s);
        out[0] = nx_flatten(nx_moveaxis(made, last + 1, 0, s), last + 1, last + 2, s);
    }
    return true;
}

static bool rebuild_convolution(const nx_rebuild *r, nx_array **out)
{
    const nx_conv_params *p = r->params;
    nx_conv_options o = {.stride = p->stride.v, .n_stride = p->stride.n,
                         .padding_low = p->padding_low.v, .n_low = p->padding_low.n,
                         .padding_high = p->padding_high.v, .n_high = p->padding_high.n,
                         .kernel_dilation = p->kernel_dilation.v, .n_kernel = p->kernel_dilation.n,
                         .input_dilation = p->input_dilation.v, .n_input = p->input_dilation.n,
                         .groups = p->groups, .flip = p->flip};
    out[0] = nx_conv(r->in[0], r->in[1], &o, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Convolution = {
    .name = "Convolution",
    .id = NX_PRIM_Convolution,
    .flags = NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_conv_params),
    .fields = conv_fields,
    .n_fields = 7,
    .row_inputs = 1 << 1,
    .infer = infer_conv,
    .vjp = vjp,
    .vmap = vmap_conv,
    .rebuild = rebuild_convolution,
    .least_in = 2,
    .most_in = 2,
};

/* `given` for all spatial dimensions, each at least `least`. */
static bool spread(const char *what, const int *given, int n, int otherwise, int least, int ndim,
                   nx_dims *out)
{
    if (n > 1 && n != ndim)
        return nx_fail("[conv] %d numbers of %s do not fit %d spatial dimensions", n, what, ndim);
    out->n = ndim;
    for (int i = 0; i < ndim; i++) {
        out->v[i] = n == 0 ? otherwise : given[n == 1 ? 0 : i];
        if (out->v[i] < least)
            return nx_fail("[conv] a %s of %d is not possible", what, out->v[i]);
    }
    return true;
}

nx_array *nx_conv(nx_array *input, nx_array *weight, const nx_conv_options *o, nx_stream *s)
{
    nx_conv_params p = {.groups = o->groups, .flip = o->flip};
    if (!input || !weight || !check_shapes(input, weight, o->groups))
        return NULL;
    int ndim = input->ndim - 2;
    nx_dtype dtype = nx_promote((nx_dtype)input->dtype, (nx_dtype)weight->dtype);
    if (!nx_dtype_in((nx_dtype)input->dtype, NX_FLOATS) || !nx_dtype_in(dtype, NX_FLOATS))
        return nx_fail_null("[conv] only floating types are possible, not %s and %s",
                            nx_dtype_name((nx_dtype)input->dtype),
                            nx_dtype_name((nx_dtype)weight->dtype));
    if (!spread("stride", o->stride, o->n_stride, 1, 1, ndim, &p.stride) ||
        !spread("padding", o->padding_low, o->n_low, 0, INT32_MIN, ndim, &p.padding_low) ||
        !spread("padding", o->padding_high, o->n_high, 0, INT32_MIN, ndim, &p.padding_high) ||
        !spread("kernel dilation", o->kernel_dilation, o->n_kernel, 1, 1, ndim,
                &p.kernel_dilation) ||
        !spread("input dilation", o->input_dilation, o->n_input, 1, 1, ndim, &p.input_dilation))
        return NULL;
    nx_array *in[2] = {nx_astype(input, dtype, s), nx_astype(weight, dtype, s)};
    return nx_op(&nx_prim_Convolution, &p, in, 2, s);
}

static bool check_ndim(const nx_array *input, int ndim)
{
    return input->ndim == ndim + 2 ||
           nx_fail("[conv%dd] an input of shape %s is not [N, %d spatial "
                   "dimensions, C]",
                   ndim, nx_shape_text(input->shape, input->ndim), ndim);
}

nx_array *nx_conv_nd(nx_array *input, nx_array *weight, int ndim, const int *stride,
                     const int *padding, const int *dilation, int groups, nx_stream *s)
{
    nx_conv_options o = {.stride = stride,
                         .padding_low = padding,
                         .padding_high = padding,
                         .kernel_dilation = dilation,
                         .n_stride = ndim,
                         .n_low = ndim,
                         .n_high = ndim,
                         .n_kernel = ndim,
                         .groups = groups};
    return input && check_ndim(input, ndim) ? nx_conv(input, weight, &o, s) : NULL;
}

nx_array *nx_conv_transpose(nx_array *input, nx_array *weight, int ndim, const int *stride,
                            const int *padding, const int *dilation, const int *output_padding,
                            int groups, nx_stream *s)
{
    int low[3], high[3];
    if (!input || !weight || !check_ndim(input, ndim) || !check_shapes(input, weight, groups))
        return NULL;
    for (int i = 0; i < ndim; i++) {
        int64_t reach = (int64_t)dilation[i] * (weight->shape[i + 1] - 1);
        int64_t before = reach - padding[i], after = before + output_padding[i];
        low[i] = (int)before;
        high[i] = (int)after;
        if (low[i] != before || high[i] != after)
            return nx_fail_null("[conv_transpose] a padding of %d is too large", padding[i]);
    }
    nx_conv_options o = {.padding_low = low,
                         .padding_high = high,
                         .kernel_dilation = dilation,
                         .input_dilation = stride,
                         .n_low = ndim,
                         .n_high = ndim,
                         .n_kernel = ndim,
                         .n_input = ndim,
                         .groups = groups,
                         .flip = true};
    return nx_conv(input, weight, &o, s);
}
