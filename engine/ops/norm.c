/*
 * norm.c: RMSNorm and LayerNorm, each one pass over the rows of the last axis.
 */
#include "engine/ops/norm.h"

#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/reduce.h"
#include "engine/ops/rules.h"

static bool infer_norm(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    nx_spec_like(&out[0], in[0], (nx_dtype)in[0]->dtype);
    return true;
}

static const nx_field norm_fields[] = {
    {"eps", NX_FIELD_FLOAT, offsetof(nx_norm_params, eps)},
};

/* A factor's gradient: the sum over all rows. */
static nx_array *over_rows(nx_array *a, nx_dtype t, nx_stream *s)
{
    return nx_astype(nx_sum(a, nx_all_axes(), a ? a->ndim - 1 : 0, false, s), t, s);
}

static nx_array *row_mean(nx_array *a, nx_stream *s)
{
    return nx_mean(a, (int[]){-1}, 1, true, s);
}

static nx_array *wide(nx_array *a, nx_stream *s)
{
    return a->dtype == NX_FLOAT64 ? a : nx_astype(a, NX_FLOAT32, s);
}

/* h: the normalized rows; d: the cotangent of h; q: what the rows were multiplied by. */
static bool vjp_norm(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out, bool centred)
{
    nx_stream *s = n->stream;
    nx_dtype t = (nx_dtype)n->in[0]->dtype;
    nx_array *x = wide(n->in[0], s), *c = wide(g[0], s), *d = c;
    float eps = ((const nx_norm_params *)n->params)->eps;
    if (centred)
        x = nx_subtract(x, row_mean(x, s), s);
    nx_array *q = nx_rsqrt(nx_add(row_mean(nx_square(x, s), s), nx_scalar(eps, NX_FLOAT32), s), s);
    nx_array *h = nx_multiply(x, q, s);
    if (!nx_array_is_none(n->in[1]))
        d = nx_multiply(c, wide(n->in[1], s), s);
    if (wanted[0]) {
        nx_array *back = nx_subtract(d, nx_multiply(h, row_mean(nx_multiply(d, h, s), s), s), s);
        if (centred)
            back = nx_subtract(back, row_mean(d, s), s);
        out[0] = nx_astype(nx_multiply(q, back, s), t, s);
    }
    if (wanted[1])
        out[1] = over_rows(nx_multiply(c, h, s), t, s);
    if (centred && wanted[2])
        out[2] = over_rows(c, t, s);
    return true;
}

/* A factor or addend for the batch [B, D] goes over the rows of an item of `ndim` dimensions. */
static nx_array *by_item(nx_array *v, int axis, int ndim, nx_stream *s)
{
    int axes[NX_MAX_NDIM];
    for (int i = 1; i < ndim; i++)
        axes[i - 1] = i;
    v = wide(nx_batch_front(v, axis, s), s);
    return axis < 0 ? v : nx_expand_dims_axes(v, axes, ndim - 1, s);
}

/* Rows are normalized each for itself. Weights that differ from item to item come after, on wide
 * numbers, so that there is one rounding. */
static bool vmap_norm(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes)
{
    nx_stream *s = n->stream;
    nx_array *x = nx_batch_front(in[0], axes[0], s), *plain[3] = {x, in[1]};
    bool separate = axes[1] >= 0 || (n->n_in > 2 && axes[2] >= 0);
    out_axes[0] = 0;
    if (n->n_in > 2)
        plain[2] = in[2];
    if (!separate)
        return nx_op_like(n, plain, s, true, out);
    plain[0] = wide(nx_batch_all(in[0], axes[0], nx_batch_size(in, axes, n->n_in), s), s);
    plain[1] = plain[2] = nx_array_none();
    if (!plain[0] || !nx_op_like(n, plain, s, true, out))
        return false;
    if (!nx_array_is_none(in[1]))
        out[0] = nx_multiply(out[0], by_item(in[1], axes[1], n->in[0]->ndim, s), s);
    if (n->n_in > 2 && !nx_array_is_none(in[2]))
        out[0] = nx_add(out[0], by_item(in[2], axes[2], n->in[0]->ndim, s), s);
    out[0] = nx_astype(out[0], (nx_dtype)n->out[0].dtype, s);
    return true;
}

/* Inputs: x, weight or none. */
static bool vjp_rms_norm(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    return vjp_norm(n, g, wanted, out, false);
}

/* h = x / rms(x), or of x less its mean, times weight, plus bias: in float32 at least. */
static bool composed(nx_node *n, nx_array **out, bool centred)
{
    nx_stream *s = n->stream;
    nx_dtype t = (nx_dtype)n->in[0]->dtype;
    float eps = ((const nx_norm_params *)n->params)->eps;
    nx_array *x = wide(n->in[0], s);
    if (centred)
        x = nx_subtract(x, row_mean(x, s), s);
    nx_array *mean = row_mean(nx_square(x, s), s);
    nx_array *h = nx_multiply(x, nx_rsqrt(nx_add(mean, nx_scalar(eps, NX_FLOAT32), s), s), s);
    h = nx_astype(h, t, s);
    if (!nx_array_is_none(n->in[1]))
        h = nx_multiply(h, n->in[1], s);
    if (centred && !nx_array_is_none(n->in[2]))
        h = nx_add(h, n->in[2], s);
    out[0] = h;
    return h != NULL;
}

static bool compose_rms_norm(nx_node *n, nx_array **out)
{
    return composed(n, out, false);
}

static bool rebuild_rms_norm(const nx_rebuild *r, nx_array **out)
{
    const nx_norm_params *p = r->params;
    nx_array *weight = r->n_in > 1 && !nx_array_is_none(r->in[1]) ? r->in[1] : NULL;
    out[0] = nx_rms_norm(r->in[0], weight, p->eps, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_RMSNorm = {
    .name = "RMSNorm",
    .id = NX_PRIM_RMSNorm,
    .flags = NX_PRIM_DONATES_FIRST | NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_norm_params),
    .fields = norm_fields,
    .n_fields = 1,
    .infer = infer_norm,
    .vjp = vjp_rms_norm,
    .vmap = vmap_norm,
    .decompose = compose_rms_norm,
    .rebuild = rebuild_rms_norm,
    .least_in = 1,
    .most_in = 2,
};

/* Inputs: x, weight or none, bias or none. */
static bool vjp_layer_norm(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    return vjp_norm(n, g, wanted, out, true);
}

static bool compose_layer_norm(nx_node *n, nx_array **out)
{
    return composed(n, out, true);
}

static bool rebuild_layer_norm(const nx_rebuild *r, nx_array **out)
{
    const nx_norm_params *p = r->params;
    nx_array *v[2] = {NULL, NULL};
    for (int i = 1; i < r->n_in; i++)
        v[i - 1] = nx_array_is_none(r->in[i]) ? NULL : r->in[i];
    out[0] = nx_layer_norm(r->in[0], v[0], v[1], p->eps, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_LayerNorm = {
    .name = "LayerNorm",
    .id = NX_PRIM_LayerNorm,
    .flags = NX_PRIM_DONATES_FIRST | NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_norm_params),
    .fields = norm_fields,
    .n_fields = 1,
    .infer = infer_norm,
    .vjp = vjp_layer_norm,
    .vmap = vmap_norm,
    .decompose = compose_layer_norm,
    .rebuild = rebuild_layer_norm,
    .least_in = 1,
    .most_in = 3,
};

static bool check_vector(const char *op, const char *name, const nx_array *x, const nx_array *v)
{
    if (!v)
        return true;
    if (v->ndim != 1)
        return nx_fail("[%s] %s must have 1 dimension, but its shape is %s", op, name,
                       nx_shape_text(v->shape, v->ndim));
    if (v->size != x->shape[x->ndim - 1])
        return nx_fail("[%s] %s has %lld elements, but the last dimension of the input is %d", op, name,
                       (long long)v->size, x->shape[x->ndim - 1]);
    return true;
}

/* in: x and the optional vectors, NULL where absent; replaced by what the primitive takes. */
static bool prepare(const char *op, nx_array **in, int n, nx_stream *s)
{
    nx_array *x = in[0];
    if (x->ndim == 0)
        return nx_fail("[%s] the input must have at least 1 dimension", op);
    nx_dtype dtype = (nx_dtype)x->dtype;
    for (int i = 1; i < n; i++) {
        if (!check_vector(op, i == 1 ? "weight" : "bias", x, in[i]))
            return false;
        if (in[i])
            dtype = nx_promote(dtype, (nx_dtype)in[i]->dtype);
    }
    if (!nx_dtype_in(dtype, NX_FLOATS))
        return nx_fail("[%s] type %s is not a floating one", op, nx_dtype_name(dtype));
    for (int i = 0; i < n; i++)
        in[i] = in[i] ? nx_astype(in[i], dtype, s) : nx_array_none();
    return true;
}

nx_array *nx_rms_norm(nx_array *x, nx_array *weight, float eps, nx_stream *s)
{
    nx_array *in[2] = {x, weight};
    nx_norm_params p = {eps};
    if (!x || !prepare("rms_norm", in, 2, s))
        return NULL;
    return nx_op(&nx_prim_RMSNorm, &p, in, 2, s);
}

nx_array *nx_layer_norm(nx_array *x, nx_array *weight, nx_array *bias, float eps, nx_stream *s)
{
    nx_array *in[3] = {x, weight, bias};
    nx_norm_params p = {eps};
    if (!x || !prepare("layer_norm", in, 3, s))
        return NULL;
    return nx_op(&nx_prim_LayerNorm, &p, in, 3, s);
}
