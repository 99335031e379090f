/* scatter.c: Scatter and ScatterAxis: an array with elements changed at places given by indices. */
#include <string.h>

#include "engine/core/prim.h"
#include "engine/ops/axes.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/index.h"
#include "engine/ops/indices.h"
#include "engine/ops/prims.h"

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
