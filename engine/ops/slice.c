/* slice.c: Slice, SliceUpdate, DynamicSlice, DynamicSliceUpdate. */
#include "engine/ops/slice.h"

#include "engine/core/prim.h"
#include "engine/ops/axes.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/creation.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/index.h"
#include "engine/ops/prims.h"
#include "engine/ops/rules.h"

static int clamp(int64_t v, int64_t low, int64_t high)
{
    return (int)(v < low ? low : v > high ? high : v);
}

/* One dimension of n elements: plain start and stop for it; how many elements there are. */
static int slice_dim(int n, int *start, int *stop, int stride)
{
    int64_t from = *start < 0 ? (int64_t)*start + n : *start;
    int64_t to = *stop < 0 ? (int64_t)*stop + n : *stop;
    int64_t count, step = stride;
    if (step > 0) {
        *start = clamp(from, 0, n);
        *stop = clamp(to, 0, n);
        count = ((int64_t)*stop - *start + step - 1) / step;
    } else {
        *start = clamp(from, -1, n - 1);
        *stop = clamp(to, -1, n - 1);
        count = ((int64_t)*start - *stop - step - 1) / -step;
    }
    return count > 0 ? (int)count : 0;
}

/* Plain parameters and the slice's shape; false after nx_fail. */
static bool slice_set(const char *op, const nx_array *a, const int *start, int n_start,
                      const int *stop, int n_stop, const int *strides, int n_strides,
                      nx_slice_params *p, int *shape)
{
    if (n_start != a->ndim || n_stop != a->ndim || n_strides != a->ndim)
        return nx_fail("[%s] %d starts, %d stops and %d strides do not fit %d dimensions", op,
                       n_start, n_stop, n_strides, a->ndim);
    p->start.n = p->stop.n = p->strides.n = a->ndim;
    for (int i = 0; i < a->ndim; i++) {
        p->start.v[i] = start[i];
        p->stop.v[i] = stop[i];
        p->strides.v[i] = strides[i];
        if (strides[i] == 0)
            return nx_fail("[%s] the stride of axis %d is zero", op, i);
        shape[i] = slice_dim(a->shape[i], &p->start.v[i], &p->stop.v[i], strides[i]);
    }
    return true;
}

static bool is_whole(const nx_array *a, const nx_slice_params *p, const int *shape)
{
    for (int i = 0; i < a->ndim; i++)
        if (shape[i] != a->shape[i] || p->strides.v[i] < 0)
            return false;
    return true;
}

/* ---- Slice ---------------------------------------------------------------------------------- */

static bool infer_slice(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_slice_params *p = params;
    nx_spec_like(out, in[0], (nx_dtype)in[0]->dtype);
    for (int i = 0; i < out->ndim; i++) {
        int start = p->start.v[i], stop = p->stop.v[i];
        if (p->strides.v[i] < 0 && stop == -1)
            stop = -in[0]->shape[i] - 1;
        out->shape[i] = slice_dim(in[0]->shape[i], &start, &stop, p->strides.v[i]);
    }
    return true;
}

static bool view_slice(nx_node *n)
{
    const nx_slice_params *p = n->params;
    const nx_array *a = n->in[0];
    int64_t strides[NX_MAX_NDIM], offset = 0;
    for (int i = 0; i < a->ndim; i++) {
        strides[i] = a->strides[i] * p->strides.v[i];
        offset += a->strides[i] * p->start.v[i];
    }
    nx_array_set_view(&n->out[0], a, strides, n->out[0].size ? offset : 0);
    return true;
}

static const nx_field slice_fields[] = {
    {"start_indices", NX_FIELD_DIMS, offsetof(nx_slice_params, start)},
    {"end_indices", NX_FIELD_DIMS, offsetof(nx_slice_params, stop)},
    {"strides", NX_FIELD_DIMS, offsetof(nx_slice_params, strides)},
};

/* As the builders want it: "through element 0" is not -1, which counts from the end. */
static nx_dims builder_stops(const nx_slice_params *p, const nx_array *a)
{
    nx_dims stop = p->stop;
    for (int i = 0; i < stop.n; i++)
        if (p->strides.v[i] < 0 && stop.v[i] == -1)
            stop.v[i] = -a->shape[i] - 1;
    return stop;
}

/* b[slice], and b with u put into the slice. */
static nx_array *part(nx_array *b, const nx_slice_params *p, nx_stream *s)
{
    nx_dims stop = builder_stops(p, b);
    return nx_slice(b, p->start.v, p->start.n, stop.v, stop.n, p->strides.v, p->strides.n, s);
}

static nx_array *put(int mode, nx_array *b, nx_array *u, const nx_slice_params *p, nx_stream *s)
{
    if (!b)
        return NULL;
    nx_dims stop = builder_stops(p, b);
    return nx_slice_update((nx_reduce_mode)mode, b, u, p->start.v, p->start.n, stop.v, stop.n,
                           p->strides.v, p->strides.n, s);
}

static nx_slice_params batched(const nx_slice_params *p, int size)
{
    nx_slice_params q = *p;
    nx_dims_prepend(&q.start, 0);
    nx_dims_prepend(&q.stop, size);
    nx_dims_prepend(&q.strides, 1);
    return q;
}

static bool vjp_slice(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    nx_array *zeros = nx_zeros_of(n->in[0], (nx_dtype)g[0]->dtype, n->stream);
    out[0] = put(NX_UPDATE_NONE, zeros, g[0], n->params, n->stream);
    return true;
}

static bool vmap_slice(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes)
{
    nx_slice_params p = batched(n->params, in[0]->shape[axes[0]]);
    nx_array *a = nx_batch_front(in[0], axes[0], n->stream);
    out[0] = a ? part(a, &p, n->stream) : NULL;
    out_axes[0] = 0;
    return true;
}

static bool lists_fit(const nx_slice_params *p, const nx_array *a)
{
    int n = a->ndim;
    return (p->start.n == n && p->stop.n == n && p->strides.n == n) ||
           nx_fail("[slice] lists of %d, %d and %d numbers for %d dimensions", p->start.n, p->stop.n,
                   p->strides.n, n);
}

/* Of a slice with one element MLX forgets the stride, but does not move the stop. */
static void stop_after_one(nx_slice_params *p, const int *shape, int ndim)
{
    for (int i = 0; i < ndim && i < p->stop.n; i++)
        if (shape[i] == 1 && p->strides.v[i] == 1 && p->start.v[i] < INT32_MAX)
            p->stop.v[i] = p->start.v[i] + 1;
}

static bool rebuild_slice(const nx_rebuild *r, nx_array **out)
{
    const nx_slice_params *p = r->params;
    if (!lists_fit(p, r->in[0]))
        return false;
    nx_slice_params q = *p;
    if (r->told)
        stop_after_one(&q, r->told[0].shape, r->told[0].ndim);
    out[0] = part(r->in[0], &q, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Slice = {
    .name = "Slice",
    .id = NX_PRIM_Slice,
    .flags = NX_PRIM_VIEW,
    .params_size = sizeof(nx_slice_params),
    .fields = slice_fields,
    .n_fields = 3,
    .infer = infer_slice,
    .view = view_slice,
    .vjp = vjp_slice,
    .vmap = vmap_slice,
    .rebuild = rebuild_slice,
    .least_in = 1,
    .most_in = 1,
};

nx_array *nx_slice(nx_array *a, const int *start, int n_start, const int *stop, int n_stop,
                   const int *strides, int n_strides, nx_stream *s)
{
    nx_slice_params p;
    nx_spec spec;
    if (!a ||
        !slice_set("slice", a, start, n_start, stop, n_stop, strides, n_strides, &p, spec.shape))
        return NULL;
    if (is_whole(a, &p, spec.shape))
        return a;
    if (!s)
        return nx_fail_null("[slice] no stream to run on");
    spec.ndim = a->ndim;
    spec.dtype = (nx_dtype)a->dtype;
    return nx_op_spec(&nx_prim_Slice, &p, &a, 1, s, &spec);
}

/* ---- SliceUpdate ---------------------------------------------------------------------------- */

static bool infer_like_first(nx_array *const *in, int n_in, const void *params, nx_spec *out,
                             int n_out)
{
    nx_spec_like(out, in[0], (nx_dtype)in[0]->dtype);
    return true;
}

static const nx_field slice_update_fields[] = {
    {"reduce_type", NX_FIELD_ENUM, offsetof(nx_slice_update_params, mode)},
    {"start_indices", NX_FIELD_DIMS, offsetof(nx_slice_update_params, slice.start)},
    {"end_indices", NX_FIELD_DIMS, offsetof(nx_slice_update_params, slice.stop)},
    {"strides", NX_FIELD_DIMS, offsetof(nx_slice_update_params, slice.strides)},
};

static bool vjp_slice_update(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_slice_update_params *p = n->params;
    const nx_slice_params *slice = &p->slice;
    nx_array *src = n->in[0], *update = n->in[1], *r = &n->out[0];
    nx_stream *s = n->stream;
    nx_array *inside = wanted[1] ? part(g[0], slice, s) : NULL;
    nx_dtype t = (nx_dtype)g[0]->dtype;
    switch (p->mode) {
    case NX_UPDATE_ADD:
        out[0] = wanted[0] ? g[0] : NULL;
        out[1] = inside;
        break;
    case NX_UPDATE_PROD:
        out[0] = wanted[0] ? put(NX_UPDATE_PROD, g[0], update, slice, s) : NULL;
        out[1] = wanted[1] ? nx_multiply(inside, part(src, slice, s), s) : NULL;
        break;
    case NX_UPDATE_MAX:
    case NX_UPDATE_MIN: /* to each that the result equals: to both where they tie */
        out[0] = wanted[0] ? nx_multiply(g[0], nx_astype(nx_equal(src, r, s), t, s), s) : NULL;
        out[1] = wanted[1] ? nx_multiply(inside, nx_astype(nx_equal(update, part(r, slice, s), s),
                                                           t, s), s)
                           : NULL;
        break;
    default:
        out[0] = wanted[0] ? put(NX_UPDATE_NONE, g[0], nx_scalar(0, t), slice, s) : NULL;
        out[1] = inside;
    }
    return true;
}

static bool vmap_slice_update(nx_node *n, nx_array *const *in, const int *axes,
                              nx_array **out, int *out_axes)
{
    const nx_slice_update_params *p = n->params;
    int size = nx_batch_size(in, axes, 2);
    nx_slice_params slice = batched(&p->slice, size);
    nx_array *src = nx_batch_all(in[0], axes[0], size, n->stream);
    nx_array *update = nx_batch_all(in[1], axes[1], size, n->stream);
    out[0] = put(p->mode, src, update, &slice, n->stream);
    out_axes[0] = 0;
    return true;
}

static bool rebuild_slice_update(const nx_rebuild *r, nx_array **out)
{
    const nx_slice_update_params *p = r->params;
    nx_slice_params q = p->slice;
    if (p->mode < NX_UPDATE_MAX || p->mode > NX_UPDATE_NONE)
        return nx_fail("[slice_update] mode %d is none", p->mode);
    if (!lists_fit(&q, r->in[0]))
        return false;
    if (r->told)
        stop_after_one(&q, r->in[1]->shape, r->in[1]->ndim);
    out[0] = put(p->mode, r->in[0], r->in[1], &q, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_SliceUpdate = {
    .name = "SliceUpdate",
    .id = NX_PRIM_SliceUpdate,
    .flags = NX_PRIM_UPDATES_FIRST | NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_slice_update_params),
    .fields = slice_update_fields,
    .n_fields = 4,
    .infer = infer_like_first,
    .vjp = vjp_slice_update,
    .vmap = vmap_slice_update,
    .rebuild = rebuild_slice_update,
    .least_in = 2,
    .most_in = 2,
};

nx_array *nx_slice_update(nx_reduce_mode mode, nx_array *src, nx_array *update, const int *start,
                          int n_start, const int *stop, int n_stop, const int *strides,
                          int n_strides, nx_stream *s)
{
    nx_slice_update_params p = {.mode = mode};
    int shape[NX_MAX_NDIM];
    if (!src || !update ||
        !slice_set("slice_update", src, start, n_start, stop, n_stop, strides, n_strides, &p.slice,
                   shape))
        return NULL;
    update = nx_broadcast_to(nx_astype(update, (nx_dtype)src->dtype, s), shape, src->ndim, s);
    if (!update || update->size == 0)
        return update ? src : NULL;
    if (mode == NX_UPDATE_NONE && is_whole(src, &p.slice, shape))
        return update;
    return nx_op(&nx_prim_SliceUpdate, &p, (nx_array *[]){src, update}, 2, s);
}

/* ---- DynamicSlice and DynamicSliceUpdate ---------------------------------------------------- */

static bool check_start(const char *op, const nx_array *start, const nx_dims *axes)
{
    if (!nx_dtype_in((nx_dtype)start->dtype, NX_INTEGERS))
        return nx_fail("[%s] the start must be integers, not %s", op,
                       nx_dtype_name((nx_dtype)start->dtype));
    if (start->ndim > 1 || start->size != axes->n)
        return nx_fail("[%s] a start of shape %s does not fit %d axes", op,
                       nx_shape_text(start->shape, start->ndim), axes->n);
    return true;
}

static bool check_size(const char *op, const nx_array *a, const int *size, int n)
{
    bool fits = n == a->ndim;
    for (int i = 0; fits && i < n; i++)
        fits = size[i] >= 0 && size[i] <= a->shape[i];
    return fits || nx_fail("[%s] a slice of shape %s does not fit into shape %s", op,
                           nx_shape_text(size, n), nx_shape_text(a->shape, a->ndim));
}

static bool infer_dynamic(nx_array *const *in, int n_in, const void *params, nx_spec *out,
                          int n_out)
{
    const nx_slice_dynamic_params *p = params;
    nx_spec_set(out, p->size.v, p->size.n, (nx_dtype)in[0]->dtype);
    return check_size("slice", in[0], p->size.v, p->size.n);
}

static const nx_field dynamic_fields[] = {
    {"axes", NX_FIELD_DIMS, offsetof(nx_slice_dynamic_params, axes)},
    {"slice_size", NX_FIELD_DIMS, offsetof(nx_slice_dynamic_params, size)},
};

static bool vjp_dynamic(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_slice_dynamic_params *p = n->params;
    nx_array *a = n->in[0];
    nx_array *zeros = nx_zeros_of(a, (nx_dtype)g[0]->dtype, n->stream);
    if (wanted[0])
        out[0] = nx_slice_update_dynamic(zeros, g[0], n->in[1], p->axes.v, p->axes.n, n->stream);
    if (wanted[1])
        out[1] = nx_array_none();
    return true;
}

/* Starts that differ from item to item, as index arrays [B]: one of the items, then one an axis, held
 * where the slice fits. */
static int start_indices(nx_array *start, const nx_dims *axes, const int *shape, const int *size,
                         nx_stream *s, nx_array **index)
{
    int batch = start->shape[0];
    index[0] = nx_arange(0, batch, 1, NX_INT32, s);
    start = nx_astype(nx_reshape(start, (int[]){batch, axes->n}, 2, s), NX_INT64, s);
    for (int i = 0; i < axes->n; i++) {
        int from[2] = {0, i}, to[2] = {batch, i + 1}, step[2] = {1, 1};
        int most = shape[axes->v[i]] - size[axes->v[i]];
        nx_array *column = nx_squeeze_axis(nx_slice(start, from, 2, to, 2, step, 2, s), 1, s);
        index[i + 1] = nx_clip(column, nx_scalar_int(0), nx_scalar_int(most), s);
    }
    return axes->n + 1;
}

static bool vmap_dynamic(nx_node *n, nx_array *const *in, const int *axes, nx_array **out,
                         int *out_axes)
{
    nx_slice_dynamic_params p = *(const nx_slice_dynamic_params *)n->params;
    nx_stream *s = n->stream;
    int batch = nx_batch_size(in, axes, 2);
    nx_array *a = nx_batch_all(in[0], axes[0], batch, s), *index[NX_MAX_NDIM + 1];
    out_axes[0] = 0;
    nx_dims size = p.size, places = p.axes;
    nx_axes_shift(&places);
    if (axes[1] < 0) {
        nx_dims_prepend(&size, batch);
        out[0] = nx_slice_dynamic(a, in[1], places.v, places.n, size.v, size.n, s);
        return true;
    }
    nx_array *start = nx_batch_front(in[1], axes[1], s);
    int n_index = start ? start_indices(start, &p.axes, n->in[0]->shape, p.size.v, s, index) : 0;
    nx_dims_prepend(&size, 1);
    nx_dims_prepend(&places, 0);
    out[0] = nx_gather(a, index, n_index, places.v, places.n, size.v, size.n, s);
    out[0] = out[0] ? nx_squeeze_axis(out[0], 1, s) : NULL;
    return true;
}

static bool rebuild_dynamic_slice(const nx_rebuild *r, nx_array **out)
{
    const nx_slice_dynamic_params *p = r->params;
    out[0] = nx_slice_dynamic(r->in[0], r->in[1], p->axes.v, p->axes.n, p->size.v, p->size.n, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_DynamicSlice = {
    .name = "DynamicSlice",
    .id = NX_PRIM_DynamicSlice,
    .flags = NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_slice_dynamic_params),
    .fields = dynamic_fields,
    .n_fields = 2,
    .infer = infer_dynamic,
    .vjp = vjp_dynamic,
    .vmap = vmap_dynamic,
    .rebuild = rebuild_dynamic_slice,
    .least_in = 2,
    .most_in = 2,
};

static const nx_field dynamic_update_fields[] = {
    {"axes", NX_FIELD_DIMS, offsetof(nx_axes_params, axes)},
};

static bool vjp_dynamic_update(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_dims *axes = &((const nx_axes_params *)n->params)->axes;
    nx_array *update = n->in[1], *start = n->in[2];
    nx_stream *s = n->stream;
    if (wanted[0]) {
        nx_array *zeros = nx_zeros(update->shape, update->ndim, (nx_dtype)g[0]->dtype, s);
        out[0] = nx_slice_update_dynamic(g[0], zeros, start, axes->v, axes->n, s);
    }
    if (wanted[1])
        out[1] = nx_slice_dynamic(g[0], start, axes->v, axes->n, update->shape, update->ndim, s);
    if (wanted[2])
        out[2] = nx_array_none();
    return true;
}

static bool vmap_dynamic_update(nx_node *n, nx_array *const *in, const int *axes, nx_array **out,
                                int *out_axes)
{
    nx_axes_params p = *(const nx_axes_params *)n->params;
    nx_stream *s = n->stream;
    int batch = nx_batch_size(in, axes, 3);
    nx_array *a = nx_batch_all(in[0], axes[0], batch, s), *index[NX_MAX_NDIM + 1];
    nx_array *update = nx_batch_all(in[1], axes[1], batch, s);
    nx_dims places = p.axes;
    nx_axes_shift(&places);
    out_axes[0] = 0;
    if (axes[2] < 0) {
        out[0] = nx_slice_update_dynamic(a, update, in[2], places.v, places.n, s);
        return true;
    }
    nx_array *start = nx_batch_front(in[2], axes[2], s);
    int n_index = start ? start_indices(start, &p.axes, n->in[0]->shape, n->in[1]->shape, s, index)
                        : 0;
    nx_dims_prepend(&places, 0);
    out[0] = nx_scatter(NX_UPDATE_NONE, a, index, n_index, nx_expand_dims(update, 1, s), places.v,
                        places.n, s);
    return true;
}

static bool rebuild_dynamic_slice_update(const nx_rebuild *r, nx_array **out)
{
    const nx_axes_params *p = r->params;
    out[0] = nx_slice_update_dynamic(r->in[0], r->in[1], r->in[2], p->axes.v, p->axes.n, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_DynamicSliceUpdate = {
    .name = "DynamicSliceUpdate",
    .id = NX_PRIM_DynamicSliceUpdate,
    .flags = NX_PRIM_UPDATES_FIRST | NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_axes_params),
    .fields = dynamic_update_fields,
    .n_fields = 1,
    .infer = infer_like_first,
    .vjp = vjp_dynamic_update,
    .vmap = vmap_dynamic_update,
    .rebuild = rebuild_dynamic_slice_update,
    .least_in = 3,
    .most_in = 3,
};

nx_array *nx_slice_dynamic(nx_array *a, nx_array *start, const int *axes, int n_axes,
                           const int *size, int n_size, nx_stream *s)
{
    nx_slice_dynamic_params p;
    if (!a || !start || !nx_axes_fix("slice", axes, n_axes, a->ndim, &p.axes) ||
        !check_start("slice", start, &p.axes) || !nx_dims_set("slice", &p.size, size, n_size))
        return NULL;
    return nx_op(&nx_prim_DynamicSlice, &p, (nx_array *[]){a, start}, 2, s);
}

nx_array *nx_slice_update_dynamic(nx_array *src, nx_array *update, nx_array *start, const int *axes,
                                  int n_axes, nx_stream *s)
{
    nx_axes_params p;
    int shape[NX_MAX_NDIM];
    if (!src || !update || !start ||
        !nx_axes_fix("slice_update", axes, n_axes, src->ndim, &p.axes) ||
        !check_start("slice_update", start, &p.axes))
        return NULL;
    /* A dimension that the update lacks at the front is one of size 1. */
    int missing = src->ndim - update->ndim;
    for (int i = 0; i < src->ndim; i++)
        shape[i] = i < missing ? 1 : missing < 0 ? 0 : update->shape[i - missing];
    if (missing < 0 || !check_size("slice_update", src, shape, src->ndim))
        return missing < 0
                   ? nx_fail_null("[slice_update] an update of %d dimensions does not fit %d",
                                  update->ndim, src->ndim)
                   : NULL;
    update = nx_broadcast_to(nx_astype(update, (nx_dtype)src->dtype, s), shape, src->ndim, s);
    return nx_op(&nx_prim_DynamicSliceUpdate, &p, (nx_array *[]){src, update, start}, 3, s);
}
