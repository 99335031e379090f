/* scatter.c: Scatter and ScatterAxis: an array with elements changed at places given by indices. */
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
#include "engine/ops/scan.h"
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

static nx_array *masked(nx_array *g, nx_array *a, nx_array *b, nx_stream *s)
{
    nx_array *same = nx_equal(a, b, s);
    return same ? nx_multiply(g, nx_astype(same, (nx_dtype)g->dtype, s), s) : NULL;
}

/* Of products: each factor's share is the product of all others. Zeros are left out of it: where there
 * is one, it alone has a share; where there are more, none has. */
static bool vjp_scatter_prod(nx_node *n, nx_array *g, const bool *wanted, nx_array **out)
{
    const nx_scatter_params *p = n->params;
    int n_index = n->n_in - 2, lead = n_index ? n->in[1]->ndim : 0;
    nx_array *a = n->in[0], *const *index = n->in + 1, *update = n->in[n->n_in - 1];
    nx_stream *s = n->stream;
    nx_array *one = nx_scalar(1, (nx_dtype)a->dtype), *zero = nx_scalar(0, (nx_dtype)a->dtype);
    const int *axes = p->axes.v;
    if (wanted[0]) {
        nx_array *all = nx_scatter(NX_UPDATE_PROD, nx_ones_like(a, s), index, n_index, update, axes,
                                   p->axes.n, s);
        out[0] = nx_multiply(g, all, s);
    }
    if (!wanted[n->n_in - 1])
        return true;
    nx_array *is_zero = nx_equal(update, zero, s), *filled = nx_where(is_zero, one, update, s);
    nx_array *rest = nx_scatter(NX_UPDATE_PROD, a, index, n_index, filled, axes, p->axes.n, s);
    nx_array *zeros = nx_scatter(NX_UPDATE_ADD, nx_zeros_like(a, s), index, n_index,
                                 nx_astype(is_zero, (nx_dtype)a->dtype, s), axes, p->axes.n, s);
    const int *sizes = update->shape + lead;
    rest = nx_gather(nx_multiply(g, rest, s), index, n_index, axes, p->axes.n, sizes, a->ndim, s);
    zeros = nx_gather(zeros, index, n_index, axes, p->axes.n, sizes, a->ndim, s);
    nx_array *others = nx_subtract(zeros, nx_astype(is_zero, (nx_dtype)a->dtype, s), s);
    out[n->n_in - 1] = nx_where(nx_equal(others, zero, s), nx_divide(rest, filled, s), zero, s);
    return true;
}

/* What a source element that was replaced had is lost; what an update brought comes from where it
 * was put. Of a largest or smallest, whatever is equal to the result has its part. */
static bool vjp_scatter(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_scatter_params *p = n->params;
    int n_index = n->n_in - 2, lead = n_index ? n->in[1]->ndim : 0;
    nx_array *const *index = n->in + 1, *update = n->in[n->n_in - 1], *got = NULL;
    nx_array **to_update = &out[n->n_in - 1];
    nx_stream *s = n->stream;
    for (int i = 0; i < n_index; i++)
        if (wanted[i + 1])
            out[i + 1] = nx_array_none();
    if (p->mode == NX_UPDATE_PROD)
        return vjp_scatter_prod(n, g[0], wanted, out);
    if (wanted[n->n_in - 1])
        got = *to_update = nx_gather(g[0], index, n_index, p->axes.v, p->axes.n,
                                     update->shape + lead, update->ndim - lead, s);
    if (p->mode == NX_UPDATE_MAX || p->mode == NX_UPDATE_MIN) {
        if (wanted[0])
            out[0] = masked(g[0], n->in[0], &n->out[0], s);
        if (got)
            *to_update = masked(got, update,
                                nx_gather(&n->out[0], index, n_index, p->axes.v, p->axes.n,
                                          update->shape + lead, update->ndim - lead, s), s);
    } else if (wanted[0]) {
        nx_array *zeros = nx_zeros(update->shape, update->ndim, (nx_dtype)g[0]->dtype, s);
        out[0] = p->mode == NX_UPDATE_ADD
                     ? g[0]
                     : nx_scatter(NX_UPDATE_NONE, g[0], index, n_index, zeros, p->axes.v,
                                  p->axes.n, s);
    }
    return true;
}

static bool vmap_scatter(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes)
{
    nx_scatter_params p = *(const nx_scatter_params *)n->params;
    nx_stream *s = n->stream;
    int n_index = n->n_in - 2, lead = n_index ? n->in[1]->ndim : 0;
    int size = nx_batch_size(in, axes, n->n_in), shape[NX_MAX_NDIM + 1] = {size};
    nx_array *index[NX_MAX_NDIM + 1];
    for (int i = 0; i < n_index; i++)
        index[i + 1] = nx_batch_all(in[i + 1], axes[i + 1], size, s);
    for (int i = 1; i <= lead; i++)
        shape[i] = 1;
    index[0] = nx_reshape(nx_arange(0, size, 1, NX_INT32, s), shape, lead + 1, s);
    nx_array *a = nx_batch_all(in[0], axes[0], size, s);
    nx_array *updates = nx_batch_all(in[n->n_in - 1], axes[n->n_in - 1], size, s);
    nx_axes_shift(&p.axes);
    nx_dims_prepend(&p.axes, 0);
    out[0] = nx_scatter((nx_reduce_mode)p.mode, a, index, n_index + 1,
                        nx_expand_dims(updates, lead + 1, s), p.axes.v, p.axes.n, s);
    out_axes[0] = 0;
    return true;
}

static bool rebuild_scatter(const nx_rebuild *r, nx_array **out)
{
    const nx_scatter_params *p = r->params;
    if (p->mode < NX_UPDATE_MAX || p->mode > NX_UPDATE_NONE)
        return nx_fail("[scatter] mode %d is none", p->mode);
    out[0] = nx_scatter((nx_reduce_mode)p->mode, r->in[0], r->in + 1, r->n_in - 2, r->in[r->n_in - 1],
                        p->axes.v, p->axes.n, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Scatter = {
    .name = "Scatter",
    .id = NX_PRIM_Scatter,
    .flags = NX_PRIM_UPDATES_FIRST,
    .params_size = sizeof(nx_scatter_params),
    .fields = scatter_fields,
    .n_fields = 2,
    .infer = infer_scatter,
    .vjp = vjp_scatter,
    .vmap = vmap_scatter,
    .rebuild = rebuild_scatter,
    .least_in = 2,
    .most_in = 0,
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

static bool vjp_scatter_axis(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_scatter_axis_params *p = n->params;
    nx_array *zero = nx_scalar(0, (nx_dtype)g[0]->dtype);
    if (wanted[0])
        out[0] = p->mode == NX_SCATTER_ADD
                     ? g[0]
                     : nx_put_along_axis(g[0], n->in[1], zero, p->axis, n->stream);
    if (wanted[1])
        out[1] = nx_array_none();
    if (wanted[2])
        out[2] = nx_take_along_axis(g[0], n->in[1], p->axis, n->stream);
    return true;
}

static bool vmap_scatter_axis(nx_node *n, nx_array *const *in, const int *axes,
                              nx_array **out, int *out_axes)
{
    nx_scatter_axis_params p = *(const nx_scatter_axis_params *)n->params;
    int size = nx_batch_size(in, axes, 3);
    nx_array *all[3];
    for (int i = 0; i < 3; i++)
        all[i] = nx_batch_all(in[i], axes[i], size, n->stream);
    p.axis++;
    out[0] = nx_op(&nx_prim_ScatterAxis, &p, all, 3, n->stream);
    out_axes[0] = 0;
    return true;
}

static bool rebuild_scatter_axis(const nx_rebuild *r, nx_array **out)
{
    const nx_scatter_axis_params *p = r->params;
    if (p->mode != NX_SCATTER_ADD && p->mode != NX_SCATTER_NONE)
        return nx_fail("[scatter_axis] mode %d is none", p->mode);
    out[0] = (p->mode == NX_SCATTER_ADD ? nx_scatter_add_axis : nx_put_along_axis)(
        r->in[0], r->in[1], r->in[2], p->axis, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_ScatterAxis = {
    .name = "ScatterAxis",
    .id = NX_PRIM_ScatterAxis,
    .flags = NX_PRIM_UPDATES_FIRST | NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_scatter_axis_params),
    .fields = scatter_axis_fields,
    .n_fields = 2,
    .infer = infer_scatter_axis,
    .vjp = vjp_scatter_axis,
    .vmap = vmap_scatter_axis,
    .rebuild = rebuild_scatter_axis,
    .least_in = 3,
    .most_in = 3,
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

/* Which value each place of a flat mask [B, size] takes, and whether there is one for it. */
typedef struct {
    nx_array *which, *placed;
} placing;

static placing place_values(nx_array *mask, int n_values, nx_stream *s)
{
    nx_array *rank = nx_cumsum(nx_astype(mask, NX_INT32, s), 1, false, false, s);
    nx_array *there = nx_less(rank, nx_scalar_int(n_values), s);
    return (placing){nx_minimum(rank, nx_scalar_int(n_values > 0 ? n_values - 1 : 0), s),
                     nx_logical_and(mask, there, s)};
}

static nx_array *in_rows(nx_array *a, int rows, nx_stream *s)
{
    return nx_reshape(a, (int[]){rows, (int)(a->size / (rows ? rows : 1))}, 2, s);
}

/* What was replaced is lost; each value gets what stands where it went. */
static bool vjp_masked_scatter(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    nx_array *a = n->in[0], *values = n->in[2], *zero = nx_scalar(0, (nx_dtype)g[0]->dtype);
    nx_stream *s = n->stream;
    if (a->size > INT32_MAX)
        return nx_fail("[vjp] MaskedScatter of more than 2^31 elements");
    placing p = place_values(in_rows(n->in[1], 1, s), (int)values->size, s);
    nx_array *flat = in_rows(g[0], 1, s);
    if (wanted[0])
        out[0] = nx_reshape(nx_where(p.placed, zero, flat, s), a->shape, a->ndim, s);
    if (wanted[1])
        out[1] = nx_array_none();
    if (wanted[2] && values->size) {
        nx_array *sum = nx_zeros((int[]){1, (int)values->size}, 2, (nx_dtype)g[0]->dtype, s);
        sum = nx_scatter_add_axis(sum, p.which, nx_where(p.placed, flat, zero, s), 1, s);
        out[2] = nx_reshape(sum, values->shape, values->ndim, s);
    } else if (wanted[2]) {
        out[2] = nx_zeros_like(values, s);
    }
    return true;
}

static bool vmap_masked_scatter(nx_node *n, nx_array *const *in, const int *axes, nx_array **out,
                                int *out_axes)
{
    nx_stream *s = n->stream;
    int size = nx_batch_size(in, axes, 3);
    nx_array *all[3];
    for (int i = 0; i < 3; i++)
        if (!(all[i] = nx_batch_all(in[i], axes[i], size, s)))
            return false;
    out[0] = all[0];
    out_axes[0] = 0;
    if (all[0]->size == 0 || all[2]->size == 0)
        return true;
    placing p = place_values(in_rows(all[1], size, s), all[2]->shape[1], s);
    nx_array *taken = nx_take_along_axis(all[2], p.which, 1, s);
    taken = nx_where(p.placed, taken, in_rows(all[0], size, s), s);
    out[0] = nx_reshape(taken, all[0]->shape, all[0]->ndim, s);
    return true;
}

/* MLX has a batch dimension in front of everything; there is one batch. */
static bool is_batched(const nx_array *a, const nx_array *values)
{
    return a->ndim > 1 && a->shape[0] == 1 && values->ndim == 2 && values->shape[0] == 1;
}

static bool rebuild_masked_scatter(const nx_rebuild *r, nx_array **out)
{
    nx_array *in[3];
    bool batched = is_batched(r->in[0], r->in[2]);
    for (int i = 0; i < 3; i++)
        in[i] = batched ? nx_squeeze_axis(r->in[i], 0, r->s) : r->in[i];
    out[0] = nx_masked_scatter(in[0], in[1], in[2], r->s);
    if (batched && out[0])
        out[0] = nx_expand_dims(out[0], 0, r->s);
    return out[0] != NULL;
}

static bool masked_scatter_as(nx_node *n, nx_array **out)
{
    nx_array *in[3];
    out[0] = &n->out[0];
    if (is_batched(n->in[0], n->in[2]))
        return true;
    for (int i = 0; i < 3; i++)
        in[i] = nx_expand_dims(n->in[i], 0, n->stream);
    out[0] = nx_op(&nx_prim_MaskedScatter, NULL, in, 3, n->stream);
    out[0] = out[0] ? nx_squeeze_axis(out[0], 0, n->stream) : NULL;
    return out[0] != NULL;
}

const nx_prim nx_prim_MaskedScatter = {
    .name = "MaskedScatter",
    .id = NX_PRIM_MaskedScatter,
    .flags = NX_PRIM_UPDATES_FIRST | NX_PRIM_ANY_SHAPE,
    .row_inputs = 1 << 2,
    .infer = infer_scatter_axis,
    .vjp = vjp_masked_scatter,
    .vmap = vmap_masked_scatter,
    .rebuild = rebuild_masked_scatter,
    .least_in = 3,
    .most_in = 3,
    .file_as = masked_scatter_as,
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
