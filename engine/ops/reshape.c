/*
 * reshape.c: Reshape, Flatten, Unflatten, Squeeze, ExpandDims: the same elements in the same order
 * under another shape. A view wherever strides can say it; else one copy.
 */
#include "engine/core/prim.h"
#include "engine/ops/axes.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/rules.h"
#include "engine/ops/shape.h"

/*
 * Strides that show the elements of `in` as `shape`. The walk's merged dimensions are what is
 * uninterrupted in memory; a new dimension must lie inside one of them.
 */
static bool strides_for(const nx_array *in, const int *shape, int ndim, int64_t *strides)
{
    if (in->size == 0 || in->flags & NX_ROW_CONTIGUOUS) {
        nx_strides_row(shape, ndim, strides);
        return true;
    }
    nx_walk w;
    nx_walk_init(&w, in->shape, in->ndim, (const int64_t *const[]){in->strides}, 1);
    int run = w.ndim - 1;
    int64_t left = w.shape[run], step = w.strides[0][run];
    for (int i = ndim - 1; i >= 0; i--) {
        if (left == 1 && shape[i] != 1) {
            run--;
            left = w.shape[run];
            step = w.strides[0][run];
        }
        if (left % shape[i])
            return false;
        strides[i] = step;
        step *= shape[i];
        left /= shape[i];
    }
    return true;
}

/* Of all primitives here: the output's shape says everything. */
static bool view_reshaped(nx_node *n)
{
    int64_t strides[NX_MAX_NDIM];
    nx_array *out = &n->out[0];
    if (!strides_for(n->in[0], out->shape, out->ndim, strides))
        return false;
    nx_array_set_view(out, n->in[0], strides, 0);
    return true;
}

/* Replaces a -1 among shape[n] so that the whole has `size` elements. */
static bool fill_shape(const char *op, int *shape, int n, int64_t size)
{
    int64_t known = 1;
    int unknown = -1;
    for (int i = 0; i < n; i++) {
        if (shape[i] == -1) {
            if (unknown >= 0)
                return nx_fail("[%s] only one dimension of %s can be inferred", op,
                               nx_shape_text(shape, n));
            unknown = i;
        } else if (shape[i] < 0 || __builtin_mul_overflow(known, (int64_t)shape[i], &known)) {
            return nx_fail("[%s] cannot reshape %lld elements into shape %s", op, (long long)size,
                           nx_shape_text(shape, n));
        }
    }
    if (unknown >= 0) {
        if (known == 0)
            return nx_fail("[%s] cannot infer a dimension of an empty array", op);
        if (size / known <= INT32_MAX)
            shape[unknown] = (int)(size / known);
        known *= size / known;
    }
    return known == size || nx_fail("[%s] cannot reshape %lld elements into shape %s", op,
                                    (long long)size, nx_shape_text(shape, n));
}

/* ---- Reshape -------------------------------------------------------------------------------- */

static bool infer_reshape(nx_array *const *in, int n_in, const void *params, nx_spec *out,
                          int n_out)
{
    const nx_dims *shape = &((const nx_reshape_params *)params)->shape;
    nx_spec_set(out, shape->v, shape->n, (nx_dtype)in[0]->dtype);
    return fill_shape("reshape", out->shape, out->ndim, in[0]->size);
}

static const nx_field reshape_fields[] = {
    {"shape", NX_FIELD_DIMS, offsetof(nx_reshape_params, shape)},
};

/* Of all primitives here: cotangents keep their order as the elements did. */
static bool vjp_reshaped(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    out[0] = nx_reshape(g[0], n->in[0]->shape, n->in[0]->ndim, n->stream);
    return true;
}

static bool vmap_reshaped(nx_node *n, nx_array *const *in, const int *axes, nx_array **out,
                          int *out_axes)
{
    nx_array *a = nx_batch_front(in[0], axes[0], n->stream);
    int shape[NX_MAX_NDIM + 1] = {a ? a->shape[0] : 0};
    for (int i = 0; i < n->out[0].ndim; i++)
        shape[i + 1] = n->out[0].shape[i];
    out[0] = nx_reshape(a, shape, n->out[0].ndim + 1, n->stream);
    out_axes[0] = 0;
    return true;
}

static bool rebuild_reshape(const nx_rebuild *r, nx_array **out)
{
    const nx_reshape_params *p = r->params;
    out[0] = nx_reshape(r->in[0], p->shape.v, p->shape.n, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Reshape = {
    .name = "Reshape",
    .id = NX_PRIM_Reshape,
    .flags = NX_PRIM_VIEW | NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_reshape_params),
    .fields = reshape_fields,
    .n_fields = 1,
    .infer = infer_reshape,
    .view = view_reshaped,
    .vjp = vjp_reshaped,
    .vmap = vmap_reshaped,
    .rebuild = rebuild_reshape,
    .least_in = 1,
    .most_in = 1,
};

nx_array *nx_reshape(nx_array *a, const int *shape, int ndim, nx_stream *s)
{
    if (!a || nx_shape_equal(a->shape, a->ndim, shape, ndim))
        return a;
    nx_reshape_params p;
    return nx_dims_set("reshape", &p.shape, shape, ndim) ? nx_op(&nx_prim_Reshape, &p, &a, 1, s)
                                                         : NULL;
}

/* ---- Flatten -------------------------------------------------------------------------------- */

static bool infer_flatten(nx_array *const *in, int n_in, const void *params, nx_spec *out,
                          int n_out)
{
    const nx_flatten_params *p = params;
    const nx_array *a = in[0];
    int64_t size = nx_shape_size(a->shape + p->start_axis, p->end_axis - p->start_axis + 1);
    if (size > INT32_MAX)
        return nx_fail("[flatten] a dimension of %lld elements is too large", (long long)size);
    nx_spec_set(out, a->shape, p->start_axis, (nx_dtype)a->dtype);
    out->shape[out->ndim++] = (int)size;
    for (int i = p->end_axis + 1; i < a->ndim; i++)
        out->shape[out->ndim++] = a->shape[i];
    return true;
}

static const nx_field flatten_fields[] = {
    {"start_axis", NX_FIELD_INT, offsetof(nx_flatten_params, start_axis)},
    {"end_axis", NX_FIELD_INT, offsetof(nx_flatten_params, end_axis)},
};

static bool rebuild_flatten(const nx_rebuild *r, nx_array **out)
{
    const nx_flatten_params *p = r->params;
    out[0] = nx_flatten(r->in[0], p->start_axis, p->end_axis, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Flatten = {
    .name = "Flatten",
    .id = NX_PRIM_Flatten,
    .flags = NX_PRIM_VIEW | NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_flatten_params),
    .fields = flatten_fields,
    .n_fields = 2,
    .infer = infer_flatten,
    .view = view_reshaped,
    .vjp = vjp_reshaped,
    .vmap = vmap_reshaped,
    .rebuild = rebuild_flatten,
    .least_in = 1,
    .most_in = 1,
};

/* Axes beyond either end stand for that end. */
nx_array *nx_flatten(nx_array *a, int start_axis, int end_axis, nx_stream *s)
{
    if (!a)
        return NULL;
    if (a->ndim == 0)
        return nx_reshape(a, (int[]){1}, 1, s);
    nx_flatten_params p = {start_axis < 0 ? start_axis + a->ndim : start_axis,
                           end_axis < 0 ? end_axis + a->ndim : end_axis};
    if (p.start_axis < 0)
        p.start_axis = 0;
    if (p.end_axis > a->ndim - 1)
        p.end_axis = a->ndim - 1;
    if (p.start_axis >= a->ndim || p.end_axis < p.start_axis)
        return nx_fail_null("[flatten] there is nothing from axis %d to axis %d of %d dimensions",
                            start_axis, end_axis, a->ndim);
    return p.start_axis == p.end_axis ? a : nx_op(&nx_prim_Flatten, &p, &a, 1, s);
}

nx_array *nx_flatten_all(nx_array *a, nx_stream *s)
{
    return nx_flatten(a, 0, -1, s);
}

/* ---- Unflatten ------------------------------------------------------------------------------ */

static bool infer_unflatten(nx_array *const *in, int n_in, const void *params, nx_spec *out,
                            int n_out)
{
    const nx_unflatten_params *p = params;
    const nx_array *a = in[0];
    if (a->ndim - 1 + p->shape.n > NX_MAX_NDIM)
        return nx_fail("[unflatten] %d dimensions are too many, the limit is %d",
                       a->ndim - 1 + p->shape.n, NX_MAX_NDIM);
    nx_spec_set(out, a->shape, p->axis, (nx_dtype)a->dtype);
    for (int i = 0; i < p->shape.n; i++)
        out->shape[out->ndim++] = p->shape.v[i];
    for (int i = p->axis + 1; i < a->ndim; i++)
        out->shape[out->ndim++] = a->shape[i];
    return fill_shape("unflatten", out->shape + p->axis, p->shape.n, a->shape[p->axis]);
}

static const nx_field unflatten_fields[] = {
    {"axis", NX_FIELD_INT, offsetof(nx_unflatten_params, axis)},
    {"shape", NX_FIELD_DIMS, offsetof(nx_unflatten_params, shape)},
};

static bool vjp_unflatten(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_unflatten_params *p = n->params;
    out[0] = p->shape.n ? nx_flatten(g[0], p->axis, p->axis + p->shape.n - 1, n->stream)
                        : nx_reshape(g[0], n->in[0]->shape, n->in[0]->ndim, n->stream);
    return true;
}

static bool rebuild_unflatten(const nx_rebuild *r, nx_array **out)
{
    const nx_unflatten_params *p = r->params;
    out[0] = nx_unflatten(r->in[0], p->axis, p->shape.v, p->shape.n, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Unflatten = {
    .name = "Unflatten",
    .id = NX_PRIM_Unflatten,
    .flags = NX_PRIM_VIEW | NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_unflatten_params),
    .fields = unflatten_fields,
    .n_fields = 2,
    .infer = infer_unflatten,
    .view = view_reshaped,
    .vjp = vjp_unflatten,
    .vmap = vmap_reshaped,
    .rebuild = rebuild_unflatten,
    .least_in = 1,
    .most_in = 1,
};

nx_array *nx_unflatten(nx_array *a, int axis, const int *shape, int ndim, nx_stream *s)
{
    nx_unflatten_params p;
    p.axis = axis;
    if (!a || !nx_axis_fix("unflatten", &p.axis, a->ndim) ||
        !nx_dims_set("unflatten", &p.shape, shape, ndim))
        return NULL;
    if (ndim == 0)
        return nx_fail_null("[unflatten] the shape to unflatten to is empty");
    return nx_op(&nx_prim_Unflatten, &p, &a, 1, s);
}

/* ---- Squeeze and ExpandDims ----------------------------------------------------------------- */

static uint64_t axes_mask(const nx_dims *axes)
{
    uint64_t mask = 0;
    for (int i = 0; i < axes->n; i++)
        mask |= (uint64_t)1 << axes->v[i];
    return mask;
}

static bool infer_squeeze(nx_array *const *in, int n_in, const void *params, nx_spec *out,
                          int n_out)
{
    const nx_array *a = in[0];
    uint64_t gone = axes_mask(&((const nx_axes_params *)params)->axes);
    nx_spec_set(out, NULL, 0, (nx_dtype)a->dtype);
    for (int i = 0; i < a->ndim; i++)
        if (!(gone >> i & 1))
            out->shape[out->ndim++] = a->shape[i];
        else if (a->shape[i] != 1)
            return nx_fail("[squeeze] axis %d of shape %s does not have size 1", i,
                           nx_shape_text(a->shape, a->ndim));
    return true;
}

static bool infer_expand(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_dims *axes = &((const nx_axes_params *)params)->axes;
    uint64_t added = axes_mask(axes);
    nx_spec_set(out, NULL, 0, (nx_dtype)in[0]->dtype);
    out->ndim = in[0]->ndim + axes->n;
    for (int i = 0, from = 0; i < out->ndim; i++)
        out->shape[i] = added >> i & 1 ? 1 : in[0]->shape[from++];
    return true;
}

static const nx_field axes_fields[] = {
    {"axes", NX_FIELD_DIMS, offsetof(nx_axes_params, axes)},
};

/* Each the other's way back, which says no size: traces for other ones hold. */
static bool vjp_squeeze(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_dims *axes = &((const nx_axes_params *)n->params)->axes;
    out[0] = nx_expand_dims_axes(g[0], axes->v, axes->n, n->stream);
    return true;
}

static bool vjp_expand_dims(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_dims *axes = &((const nx_axes_params *)n->params)->axes;
    out[0] = nx_squeeze_axes(g[0], axes->v, axes->n, n->stream);
    return true;
}

static bool rebuild_squeeze(const nx_rebuild *r, nx_array **out)
{
    const nx_axes_params *p = r->params;
    out[0] = nx_squeeze_axes(r->in[0], p->axes.v, p->axes.n, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Squeeze = {
    .name = "Squeeze",
    .id = NX_PRIM_Squeeze,
    .flags = NX_PRIM_VIEW | NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_axes_params),
    .fields = axes_fields,
    .n_fields = 1,
    .infer = infer_squeeze,
    .view = view_reshaped,
    .vjp = vjp_squeeze,
    .vmap = vmap_reshaped,
    .rebuild = rebuild_squeeze,
    .least_in = 1,
    .most_in = 1,
};

static bool rebuild_expand_dims(const nx_rebuild *r, nx_array **out)
{
    const nx_axes_params *p = r->params;
    out[0] = nx_expand_dims_axes(r->in[0], p->axes.v, p->axes.n, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_ExpandDims = {
    .name = "ExpandDims",
    .id = NX_PRIM_ExpandDims,
    .flags = NX_PRIM_VIEW | NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_axes_params),
    .fields = axes_fields,
    .n_fields = 1,
    .infer = infer_expand,
    .view = view_reshaped,
    .vjp = vjp_expand_dims,
    .vmap = vmap_reshaped,
    .rebuild = rebuild_expand_dims,
    .least_in = 1,
    .most_in = 1,
};

/* MLX keeps both lists in ascending order. */
static void sort_axes(nx_dims *axes)
{
    for (int i = 1; i < axes->n; i++)
        for (int j = i; j > 0 && axes->v[j - 1] > axes->v[j]; j--) {
            int t = axes->v[j];
            axes->v[j] = axes->v[j - 1];
            axes->v[j - 1] = t;
        }
}

nx_array *nx_squeeze_axes(nx_array *a, const int *axes, int n, nx_stream *s)
{
    nx_axes_params p;
    if (!a || !nx_axes_fix("squeeze", axes, n, a->ndim, &p.axes))
        return NULL;
    sort_axes(&p.axes);
    return n ? nx_op(&nx_prim_Squeeze, &p, &a, 1, s) : a;
}

nx_array *nx_squeeze_axis(nx_array *a, int axis, nx_stream *s)
{
    return nx_squeeze_axes(a, &axis, 1, s);
}

nx_array *nx_squeeze(nx_array *a, nx_stream *s)
{
    int axes[NX_MAX_NDIM], n = 0;
    for (int i = 0; a && i < a->ndim; i++)
        if (a->shape[i] == 1)
            axes[n++] = i;
    return nx_squeeze_axes(a, axes, n, s);
}

nx_array *nx_expand_dims_axes(nx_array *a, const int *axes, int n, nx_stream *s)
{
    nx_axes_params p;
    if (!a)
        return NULL;
    if (n < 0 || n > NX_MAX_NDIM - a->ndim)
        return nx_fail_null("[expand_dims] %d dimensions are too many, the limit is %d",
                            a->ndim + n, NX_MAX_NDIM);
    if (!nx_axes_fix("expand_dims", axes, n, a->ndim + n, &p.axes))
        return NULL;
    sort_axes(&p.axes);
    return n ? nx_op(&nx_prim_ExpandDims, &p, &a, 1, s) : a;
}

nx_array *nx_expand_dims(nx_array *a, int axis, nx_stream *s)
{
    return nx_expand_dims_axes(a, &axis, 1, s);
}

nx_array *nx_atleast_1d(nx_array *a, nx_stream *s)
{
    return a && a->ndim == 0 ? nx_reshape(a, (int[]){1}, 1, s) : a;
}

nx_array *nx_atleast_2d(nx_array *a, nx_stream *s)
{
    if (!a || a->ndim > 1)
        return a;
    return nx_reshape(a, (int[]){1, (int)a->size}, 2, s);
}

nx_array *nx_atleast_3d(nx_array *a, nx_stream *s)
{
    if (!a || a->ndim > 2)
        return a;
    if (a->ndim == 2)
        return nx_expand_dims(a, 2, s);
    return nx_reshape(a, (int[]){1, (int)a->size, 1}, 3, s);
}
