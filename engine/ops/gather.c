/* gather.c: Gather and GatherAxis, and the takes made of them. */
#include <stdlib.h>
#include <string.h>

#include "engine/core/prim.h"
#include "engine/ops/axes.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/creation.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/index.h"
#include "engine/ops/indices.h"
#include "engine/ops/prims.h"
#include "engine/ops/rules.h"
#include "engine/ops/shape.h"

/* ---- Gather --------------------------------------------------------------------------------- */

static bool infer_gather(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_gather_params *p = params;
    const nx_array *a = in[0];
    int lead = n_in > 1 ? in[1]->ndim : 0;
    if (p->slice_sizes.n != a->ndim || lead + a->ndim > NX_MAX_NDIM)
        return nx_fail(
            "[gather] %d slice sizes and indices of %d dimensions do not fit %d dimensions",
            p->slice_sizes.n, lead, a->ndim);
    nx_spec_set(out, lead ? in[1]->shape : NULL, lead, (nx_dtype)a->dtype);
    for (int i = 0; i < a->ndim; i++) {
        int size = p->slice_sizes.v[i];
        if (size < 0 || size > a->shape[i])
            return nx_fail("[gather] a slice of shape %s does not fit into shape %s",
                           nx_shape_text(p->slice_sizes.v, p->slice_sizes.n),
                           nx_shape_text(a->shape, a->ndim));
        out->shape[out->ndim++] = size;
    }
    return nx_shape_fits("gather", out->shape, out->ndim);
}

static const nx_field gather_fields[] = {
    {"axes", NX_FIELD_DIMS, offsetof(nx_gather_params, axes)},
    {"slice_sizes", NX_FIELD_DIMS, offsetof(nx_gather_params, slice_sizes)},
};

static bool vjp_gather(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_gather_params *p = n->params;
    nx_array *a = n->in[0];
    for (int i = 1; i < n->n_in; i++)
        if (wanted[i])
            out[i] = nx_array_none();
    if (!wanted[0])
        return true;
    nx_array *zeros = nx_zeros_of(a, (nx_dtype)g[0]->dtype, n->stream);
    out[0] = nx_scatter(NX_UPDATE_ADD, zeros, n->in + 1, n->n_in - 1, g[0], p->axes.v, p->axes.n,
                        n->stream);
    return true;
}

/* A batch of arrays is one array more to index: item i of the batch by i itself. */
static bool vmap_gather(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes)
{
    nx_gather_params p = *(const nx_gather_params *)n->params;
    nx_stream *s = n->stream;
    int n_index = n->n_in - 1, lead = n_index ? n->in[1]->ndim : 0;
    int size = nx_batch_size(in, axes, n->n_in);
    bool by_index = false;
    nx_array *all[NX_MAX_NDIM + 2];
    for (int i = 0; i < n_index; i++)
        by_index |= axes[i + 1] >= 0;
    for (int i = 0; i < n_index; i++)
        all[i + 1] = by_index ? nx_batch_all(in[i + 1], axes[i + 1], size, s) : in[i + 1];
    out_axes[0] = 0;
    if (axes[0] < 0) {
        out[0] = nx_gather(in[0], all + 1, n_index, p.axes.v, p.axes.n, p.slice_sizes.v,
                           p.slice_sizes.n, s);
        return true;
    }
    nx_array *a = nx_batch_front(in[0], axes[0], s);
    nx_axes_shift(&p.axes);
    nx_dims_prepend(&p.slice_sizes, by_index ? 1 : size);
    if (!by_index) {
        out[0] = nx_gather(a, all + 1, n_index, p.axes.v, p.axes.n, p.slice_sizes.v,
                           p.slice_sizes.n, s);
        out_axes[0] = lead;
        return true;
    }
    int shape[NX_MAX_NDIM + 1] = {size};
    for (int i = 1; i <= lead; i++)
        shape[i] = 1;
    all[0] = nx_reshape(nx_arange(0, size, 1, NX_INT32, s), shape, lead + 1, s);
    nx_dims_prepend(&p.axes, 0);
    nx_array *got = nx_gather(a, all, n_index + 1, p.axes.v, p.axes.n, p.slice_sizes.v,
                              p.slice_sizes.n, s);
    out[0] = nx_squeeze_axis(got, lead + 1, s);
    return true;
}

static bool rebuild_gather(const nx_rebuild *r, nx_array **out)
{
    const nx_gather_params *p = r->params;
    out[0] = nx_gather(r->in[0], r->in + 1, r->n_in - 1, p->axes.v, p->axes.n, p->slice_sizes.v,
                       p->slice_sizes.n, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Gather = {
    .name = "Gather",
    .id = NX_PRIM_Gather,
    .flags = NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_gather_params),
    .fields = gather_fields,
    .n_fields = 2,
    .infer = infer_gather,
    .vjp = vjp_gather,
    .vmap = vmap_gather,
    .rebuild = rebuild_gather,
    .least_in = 1,
    .most_in = 0,
};

nx_array *nx_gather(nx_array *a, nx_array *const *indices, int n, const int *axes, int n_axes,
                    const int *slice_sizes, int n_sizes, nx_stream *s)
{
    nx_gather_params p;
    nx_array *in[NX_MAX_NDIM + 1] = {a};
    if (!a || !nx_indices_check("gather", a, indices, n, axes, n_axes, &p.axes, s, in + 1) ||
        !nx_dims_set("gather", &p.slice_sizes, slice_sizes, n_sizes))
        return NULL;
    return nx_op(&nx_prim_Gather, &p, in, n + 1, s);
}

/* The gathered slices stand behind the indices: those move to where the axis was. */
static nx_array *indices_to_axis(nx_array *gathered, int n, int axis, nx_stream *s)
{
    int axes[NX_MAX_NDIM];
    for (int i = 0; gathered && i < gathered->ndim; i++)
        axes[i] = i < axis ? n + i : i < axis + n ? i - axis : i;
    return gathered ? nx_transpose_axes(gathered, axes, gathered->ndim, s) : NULL;
}

nx_array *nx_take_axis(nx_array *a, nx_array *indices, int axis, nx_stream *s)
{
    int sizes[NX_MAX_NDIM];
    if (!a || !indices || !nx_axis_fix("take", &axis, a->ndim))
        return NULL;
    if (a->shape[axis] == 0 && indices->size != 0)
        return nx_fail_null("[take] there is nothing to take along axis %d of an array of shape %s with "
                            "indices of shape %s", axis, nx_shape_text(a->shape, a->ndim),
                            nx_shape_text(indices->shape, indices->ndim));
    memcpy(sizes, a->shape, (size_t)a->ndim * sizeof *sizes);
    sizes[axis] = a->shape[axis] ? 1 : 0;
    nx_array *out = nx_gather(a, &indices, 1, &axis, 1, sizes, a->ndim, s);
    if (!out)
        return NULL;
    if (sizes[axis]) {
        out = nx_squeeze_axis(out, indices->ndim + axis, s);
    } else { /* no index and nothing to index: the dimension goes without an element */
        int shape[NX_MAX_NDIM], n = 0;
        for (int i = 0; i < out->ndim; i++)
            if (i != indices->ndim + axis)
                shape[n++] = out->shape[i];
        out = nx_reshape(out, shape, n, s);
    }
    return indices_to_axis(out, indices->ndim, axis, s);
}

nx_array *nx_take(nx_array *a, nx_array *indices, nx_stream *s)
{
    return nx_take_axis(nx_flatten_all(a, s), indices, 0, s);
}

/* ---- GatherAxis ----------------------------------------------------------------------------- */

static bool infer_gather_axis(nx_array *const *in, int n_in, const void *params, nx_spec *out,
                              int n_out)
{
    nx_spec_like(out, in[1], (nx_dtype)in[0]->dtype);
    return true;
}

static const nx_field gather_axis_fields[] = {
    {"axis", NX_FIELD_INT, offsetof(nx_axis_params, axis)},
};

static bool vjp_gather_axis(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    int axis = ((const nx_axis_params *)n->params)->axis;
    nx_array *a = n->in[0];
    nx_array *zeros = nx_zeros_of(a, (nx_dtype)g[0]->dtype, n->stream);
    if (wanted[0])
        out[0] = nx_scatter_add_axis(zeros, n->in[1], g[0], axis, n->stream);
    if (wanted[1])
        out[1] = nx_array_none();
    return true;
}

static bool vmap_gather_axis(nx_node *n, nx_array *const *in, const int *axes,
                             nx_array **out, int *out_axes)
{
    int axis = ((const nx_axis_params *)n->params)->axis, size = nx_batch_size(in, axes, 2);
    nx_array *a = nx_batch_all(in[0], axes[0], size, n->stream);
    nx_array *index = nx_batch_all(in[1], axes[1], size, n->stream);
    out[0] = nx_take_along_axis(a, index, axis + 1, n->stream);
    out_axes[0] = 0;
    return true;
}

static bool rebuild_gather_axis(const nx_rebuild *r, nx_array **out)
{
    const nx_axis_params *p = r->params;
    out[0] = nx_take_along_axis(r->in[0], r->in[1], p->axis, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_GatherAxis = {
    .name = "GatherAxis",
    .id = NX_PRIM_GatherAxis,
    .flags = NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_axis_params),
    .fields = gather_axis_fields,
    .n_fields = 1,
    .infer = infer_gather_axis,
    .vjp = vjp_gather_axis,
    .vmap = vmap_gather_axis,
    .rebuild = rebuild_gather_axis,
    .least_in = 2,
    .most_in = 2,
};

nx_array *nx_take_along_axis(nx_array *a, nx_array *indices, int axis, nx_stream *s)
{
    nx_axis_params p = {axis};
    if (!a || !indices || !nx_axis_fix("take_along_axis", &p.axis, a->ndim) ||
        !nx_indices_along("take_along_axis", &a, &indices, NULL, p.axis, s))
        return NULL;
    if (indices->size && a->shape[p.axis] == 0)
        return nx_fail_null("[take_along_axis] axis %d is empty: there is nothing to take", axis);
    return nx_op(&nx_prim_GatherAxis, &p, (nx_array *[]){a, indices}, 2, s);
}
