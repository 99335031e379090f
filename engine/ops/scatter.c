/* scatter.c: Scatter and ScatterAxis: an array with elements changed at places given by indices. */
#include <string.h>

#include "engine/core/prim.h"
#include "engine/ops/axes.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/index.h"
#include "engine/ops/indices.h"
#include "engine/ops/prims.h"
#include "engine/ops/shape.h"

/* ---- Scatter -------------------------------------------------------------------------------- */

/* The trailing dimensions of the updates are a slice of a, the leading ones those of the indices.
 */
static bool check_updates(const nx_array *a, const nx_array *updates, const nx_array *index)
{
    int lead = index ? index->ndim : 0;
    bool fits = updates->ndim == lead + a->ndim;
    for (int i = 0; fits && i < lead; i++)
        fits = updates->shape[i] == index->shape[i];
    for (int i = 0; fits && i < a->ndim; i++)
        fits = updates->shape[lead + i] <= a->shape[i];
    return fits ||
           nx_fail("[scatter] updates of shape %s do not fit an array of shape %s and "
                   "indices of shape %s",
                   nx_shape_text(updates->shape, updates->ndim), nx_shape_text(a->shape, a->ndim),
                   nx_shape_text(index ? index->shape : NULL, lead));
}

static bool infer_scatter(nx_array *const *in, int n_in, const void *params, nx_spec *out,
                          int n_out)
{
    nx_spec_like(out, in[0], (nx_dtype)in[0]->dtype);
    return check_updates(in[0], in[n_in - 1], n_in > 2 ? in[1] : NULL);
}

static const nx_field scatter_fields[] = {
    {"reduce_type", NX_FIELD_ENUM, offsetof(nx_scatter_params, mode)},
    {"axes", NX_FIELD_DIMS, offsetof(nx_scatter_params, axes)},
};

const nx_prim nx_prim_Scatter = {
    .name = "Scatter",
    .id = NX_PRIM_Scatter,
    .flags = NX_PRIM_UPDATES_FIRST,
    .params_size = sizeof(nx_scatter_params),
    .fields = scatter_fields,
    .n_fields = 2,
    .infer = infer_scatter,
};

nx_array *nx_scatter(nx_reduce_mode mode, nx_array *a, nx_array *const *indices, int n,
                     nx_array *updates, const int *axes, int n_axes, nx_stream *s)
{
    nx_scatter_params p = {.mode = mode};
    nx_array *in[NX_MAX_NDIM + 2] = {a};
    if (!a || !updates ||
        !nx_indices_check("scatter", a, indices, n, axes, n_axes, &p.axes, s, in + 1))
        return NULL;
    in[n + 1] = nx_astype(updates, (nx_dtype)a->dtype, s);
    return nx_op(&nx_prim_Scatter, &p, in, n + 2, s);
}

/* ---- ScatterAxis ---------------------------------------------------------------------------- */

static bool infer_scatter_axis(nx_array *const *in, int n_in, const void *params, nx_spec *out,
                               int n_out)
{
    nx_spec_like(out, in[0], (nx_dtype)in[0]->dtype);
    return true;
}

static const nx_field scatter_axis_fields[] = {
    {"reduce_type", NX_FIELD_ENUM, offsetof(nx_scatter_axis_params, mode)},
    {"axis", NX_FIELD_INT, offsetof(nx_scatter_axis_params, axis)},
};

const nx_prim nx_prim_ScatterAxis = {
    .name = "ScatterAxis",
    .id = NX_PRIM_ScatterAxis,
    .flags = NX_PRIM_UPDATES_FIRST,
    .params_size = sizeof(nx_scatter_axis_params),
    .fields = scatter_axis_fields,
    .n_fields = 2,
    .infer = infer_scatter_axis,
};

static nx_array *scatter_axis(const char *op, int mode, nx_array *a, nx_array *indices,
                              nx_array *values, int axis, nx_stream *s)
{
    nx_scatter_axis_params p = {mode, axis};
    if (!a || !indices || !values || !nx_axis_fix(op, &p.axis, a->ndim) ||
        !nx_indices_along(op, &a, &indices, &values, p.axis, s))
        return NULL;
    if (indices->size == 0)
        return a;
    if (a->size == 0)
        return nx_fail_null("[%s] axis %d is empty: there is no place for values", op, axis);
    return nx_op(&nx_prim_ScatterAxis, &p, (nx_array *[]){a, indices, values}, 3, s);
}

nx_array *nx_put_along_axis(nx_array *a, nx_array *indices, nx_array *values, int axis,
                            nx_stream *s)
{
    return scatter_axis("put_along_axis", NX_SCATTER_NONE, a, indices, values, axis, s);
}

nx_array *nx_scatter_add_axis(nx_array *a, nx_array *indices, nx_array *values, int axis,
                              nx_stream *s)
{
    return scatter_axis("scatter_add_axis", NX_SCATTER_ADD, a, indices, values, axis, s);
}

/* ---- MaskedScatter -------------------------------------------------------------------------- */

const nx_prim nx_prim_MaskedScatter = {
    .name = "MaskedScatter",
    .id = NX_PRIM_MaskedScatter,
    .flags = NX_PRIM_UPDATES_FIRST,
    .row_inputs = 1 << 2,
    .infer = infer_scatter_axis,
};

static bool check_mask(const nx_array *a, const nx_array *mask)
{
    if (mask->dtype != NX_BOOL)
        return nx_fail("[masked_scatter] the mask must be bool, not %s",
                       nx_dtype_name((nx_dtype)mask->dtype));
    return (mask->ndim <= a->ndim &&
            nx_shape_equal(mask->shape, mask->ndim, a->shape, mask->ndim)) ||
           nx_fail("[masked_scatter] a mask of shape %s is not the beginning of shape %s",
                   nx_shape_text(mask->shape, mask->ndim), nx_shape_text(a->shape, a->ndim));
}

/* One row of values a place: for as many places as they are given for, else for all. */
static nx_array *values_by_place(const nx_array *a, const nx_array *mask, nx_array *values,
                                 nx_stream *s)
{
    int tail = a->ndim - mask->ndim, shape[NX_MAX_NDIM + 1];
    if (values->ndim > tail + 1)
        return nx_fail_null(
            "[masked_scatter] values of shape %s do not fit a mask of shape %s and an "
            "array of shape %s",
            nx_shape_text(values->shape, values->ndim), nx_shape_text(mask->shape, mask->ndim),
            nx_shape_text(a->shape, a->ndim));
    if (tail + 1 > NX_MAX_NDIM || mask->size > INT32_MAX)
        return nx_fail_null("[masked_scatter] the mask is too large");
    shape[0] = values->ndim == tail + 1 ? values->shape[0] : (int)mask->size;
    memcpy(shape + 1, a->shape + mask->ndim, (size_t)tail * sizeof *shape);
    values = nx_broadcast_to(nx_astype(values, (nx_dtype)a->dtype, s), shape, tail + 1, s);
    return nx_flatten_all(values, s);
}

nx_array *nx_masked_scatter(nx_array *a, nx_array *mask, nx_array *values, nx_stream *s)
{
    if (!a || !mask || !values || !check_mask(a, mask) ||
        !(values = values_by_place(a, mask, values, s)))
        return NULL;
    if (a->size == 0)
        return a;
    int axes[NX_MAX_NDIM];
    for (int i = mask->ndim; i < a->ndim; i++)
        axes[i - mask->ndim] = i;
    mask = nx_expand_dims_axes(mask, axes, a->ndim - mask->ndim, s);
    mask = nx_broadcast_to(mask, a->shape, a->ndim, s);
    return nx_op(&nx_prim_MaskedScatter, NULL, (nx_array *[]){a, mask, values}, 3, s);
}
