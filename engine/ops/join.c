/* join.c: Concatenate, and what is made of it and of broadcasts: stack, repeat, tile, roll. */
#include <stdlib.h>

#include "engine/core/prim.h"
#include "engine/ops/axes.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/rules.h"
#include "engine/ops/shape.h"
#include "engine/ops/slice.h"

/* ---- Concatenate ---------------------------------------------------------------------------- */

/* Same shape but for the axis. */
static bool fits_beside(const nx_array *a, const nx_array *b, int axis)
{
    if (a->ndim != b->ndim)
        return false;
    for (int i = 0; i < a->ndim; i++)
        if (i != axis && a->shape[i] != b->shape[i])
            return false;
    return true;
}

static bool infer_concatenate(nx_array *const *in, int n_in, const void *params, nx_spec *out,
                              int n_out)
{
    int axis = ((const nx_axis_params *)params)->axis;
    int64_t length = 0;
    for (int i = 0; i < n_in; i++) {
        if (!fits_beside(in[0], in[i], axis))
            return nx_fail("[concatenate] shapes %s and %s differ outside axis %d",
                           nx_shape_text(in[0]->shape, in[0]->ndim),
                           nx_shape_text(in[i]->shape, in[i]->ndim), axis);
        length += in[i]->shape[axis];
    }
    if (length > INT32_MAX)
        return nx_fail("[concatenate] a dimension of %lld elements is too large",
                       (long long)length);
    nx_spec_like(out, in[0], (nx_dtype)in[0]->dtype);
    out->shape[axis] = (int)length;
    return true;
}

static const nx_field axis_fields[] = {
    {"axis", NX_FIELD_INT, offsetof(nx_axis_params, axis)},
};

static bool vjp_concatenate(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    int axis = ((const nx_axis_params *)n->params)->axis;
    nx_dims start = {.n = g[0]->ndim}, stop = start, step = start;
    for (int i = 0; i < g[0]->ndim; i++) {
        stop.v[i] = g[0]->shape[i];
        step.v[i] = 1;
    }
    stop.v[axis] = 0;
    for (int i = 0; i < n->n_in; i++) {
        start.v[axis] = stop.v[axis];
        stop.v[axis] += n->in[i]->shape[axis];
        if (wanted[i])
            out[i] = nx_slice(g[0], start.v, start.n, stop.v, stop.n, step.v, step.n, n->stream);
    }
    return true;
}

static bool vmap_concatenate(nx_node *n, nx_array *const *in, const int *axes,
                             nx_array **out, int *out_axes)
{
    int size = nx_batch_size(in, axes, n->n_in);
    nx_array **all = nx_malloc((size_t)n->n_in * sizeof *all);
    for (int i = 0; i < n->n_in; i++)
        all[i] = nx_batch_all(in[i], axes[i], size, n->stream);
    nx_axis_params p = {((const nx_axis_params *)n->params)->axis + 1};
    out[0] = nx_op(&nx_prim_Concatenate, &p, all, n->n_in, n->stream);
    out_axes[0] = 0;
    free(all);
    return true;
}

static bool rebuild_concatenate(const nx_rebuild *r, nx_array **out)
{
    const nx_axis_params *p = r->params;
    out[0] = nx_concatenate(r->in, r->n_in, p->axis, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Concatenate = {
    .name = "Concatenate",
    .id = NX_PRIM_Concatenate,
    .flags = NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_axis_params),
    .fields = axis_fields,
    .n_fields = 1,
    .infer = infer_concatenate,
    .vjp = vjp_concatenate,
    .vmap = vmap_concatenate,
    .rebuild = rebuild_concatenate,
    .least_in = 1,
    .most_in = 0,
};

/* The arrays as one type, into a list to be freed. */
static nx_array **promoted(nx_array *const *arrays, int n, nx_stream *s)
{
    nx_dtype dtype = (nx_dtype)arrays[0]->dtype;
    for (int i = 1; i < n; i++)
        dtype = nx_promote(dtype, (nx_dtype)arrays[i]->dtype);
    nx_array **cast = nx_malloc((size_t)n * sizeof *cast);
    for (int i = 0; i < n; i++)
        cast[i] = nx_astype(arrays[i], dtype, s);
    return cast;
}

static bool have_all(nx_array *const *arrays, int n)
{
    for (int i = 0; i < n; i++)
        if (!arrays[i])
            return false;
    return true;
}

nx_array *nx_concatenate(nx_array *const *arrays, int n, int axis, nx_stream *s)
{
    nx_axis_params p = {axis};
    if (n < 1)
        return nx_fail_null("[concatenate] there are no arrays");
    if (n == 1) /* whatever the axis, as MLX has it */
        return arrays[0];
    if (!have_all(arrays, n) || !nx_axis_fix("concatenate", &p.axis, arrays[0]->ndim))
        return NULL;
    nx_array **cast = promoted(arrays, n, s);
    nx_array *out = nx_op(&nx_prim_Concatenate, &p, cast, n, s);
    free(cast);
    return out;
}

/* fn of each array, then all of them along the axis. */
static nx_array *concatenate_each(nx_array *const *arrays, int n, int axis,
                                  nx_array *(*fn)(nx_array *, int, nx_stream *), nx_stream *s)
{
    nx_array **each = nx_malloc((size_t)n * sizeof *each);
    for (int i = 0; i < n; i++)
        each[i] = fn(arrays[i], axis, s);
    nx_array *out = nx_concatenate(each, n, axis, s);
    free(each);
    return out;
}

static nx_array *flat(nx_array *a, int axis, nx_stream *s)
{
    return nx_flatten_all(a, s);
}

nx_array *nx_concatenate_all(nx_array *const *arrays, int n, nx_stream *s)
{
    return concatenate_each(arrays, n, 0, flat, s);
}

nx_array *nx_stack(nx_array *const *arrays, int n, int axis, nx_stream *s)
{
    if (n < 1)
        return nx_fail_null("[stack] there are no arrays");
    if (!have_all(arrays, n) || !nx_axis_fix("stack", &axis, arrays[0]->ndim + 1))
        return NULL;
    for (int i = 1; i < n; i++)
        if (!nx_shape_equal(arrays[0]->shape, arrays[0]->ndim, arrays[i]->shape, arrays[i]->ndim))
            return nx_fail_null("[stack] all arrays must have one shape, not %s and %s",
                                nx_shape_text(arrays[0]->shape, arrays[0]->ndim),
                                nx_shape_text(arrays[i]->shape, arrays[i]->ndim));
    return concatenate_each(arrays, n, axis, nx_expand_dims, s);
}

/* ---- repeat and tile ------------------------------------------------------------------------ */

/* What a dimension becomes when it is taken `times` over. */
static bool times_dim(const char *op, int *dim, int times)
{
    if (times < 0)
        return nx_fail("[%s] %d repetitions are not possible", op, times);
    return !__builtin_mul_overflow(*dim, times, dim) ||
           nx_fail("[%s] the result has too many elements, %d times as many", op, times);
}

nx_array *nx_repeat(nx_array *a, int repeats, int axis, nx_stream *s)
{
    int shape[NX_MAX_NDIM + 1];
    if (!a || !nx_axis_fix("repeat", &axis, a->ndim))
        return NULL;
    if (repeats == 0) /* as MLX has it: an empty list, whatever the shape */
        return nx_array_new((int[]){0}, 1, (nx_dtype)a->dtype);
    if (repeats == 1)
        return a;
    for (int i = 0; i < a->ndim + 1; i++)
        shape[i] = i <= axis ? a->shape[i] : i == axis + 1 ? repeats : a->shape[i - 1];
    int length = a->shape[axis];
    if (!times_dim("repeat", &length, repeats))
        return NULL;
    nx_array *wide = nx_broadcast_to(nx_expand_dims(a, axis + 1, s), shape, a->ndim + 1, s);
    return nx_flatten(wide, axis, axis + 1, s);
}

nx_array *nx_repeat_all(nx_array *a, int repeats, nx_stream *s)
{
    return nx_repeat(nx_flatten_all(a, s), repeats, 0, s);
}

/*
 * Each dimension that is repeated gets one of size `reps` before it, by which the array is
 * broadcast; then each pair becomes one dimension.
 */
nx_array *nx_tile(nx_array *a, const int *reps, int n, nx_stream *s)
{
    if (!a)
        return NULL;
    int ndim = n > a->ndim ? n : a->ndim, wide_ndim = 0;
    if (ndim > NX_MAX_NDIM)
        return nx_fail_null("[tile] %d dimensions are too many, the limit is %d", ndim,
                            NX_MAX_NDIM);
    int split[2 * NX_MAX_NDIM], wide[2 * NX_MAX_NDIM], out[NX_MAX_NDIM];
    for (int i = 0; i < ndim; i++) {
        int rep = i < ndim - n ? 1 : reps[i - (ndim - n)];
        out[i] = i < ndim - a->ndim ? 1 : a->shape[i - (ndim - a->ndim)];
        if (rep != 1) {
            split[wide_ndim] = 1;
            wide[wide_ndim++] = rep;
        }
        split[wide_ndim] = out[i];
        wide[wide_ndim++] = out[i];
        if (!times_dim("tile", &out[i], rep))
            return NULL;
    }
    if (!nx_shape_fits("tile", out, ndim))
        return NULL;
    nx_array *apart = nx_reshape(a, split, wide_ndim, s);
    return nx_reshape(nx_broadcast_to(apart, wide, wide_ndim, s), out, ndim, s);
}

/* ---- roll ----------------------------------------------------------------------------------- */

static nx_array *roll_one(nx_array *a, int64_t shift, int axis, nx_stream *s)
{
    if (!a || !nx_axis_fix("roll", &axis, a->ndim))
        return NULL;
    int n = a->shape[axis];
    if (n == 0 || shift % n == 0)
        return a;
    int at = (int)((n - shift % n) % n);
    nx_array *part[2];
    if (!nx_split_at(a, &at, 1, axis, s, part))
        return NULL;
    return nx_concatenate((nx_array *[]){part[1], part[0]}, 2, axis, s);
}

static int64_t sum(const int *v, int n)
{
    int64_t total = 0;
    for (int i = 0; i < n; i++)
        total += v[i];
    return total;
}

nx_array *nx_roll(nx_array *a, const int *shift, int n, nx_stream *s)
{
    nx_array *rolled = a ? roll_one(nx_flatten_all(a, s), sum(shift, n), 0, s) : NULL;
    return rolled ? nx_reshape(rolled, a->shape, a->ndim, s) : NULL;
}

nx_array *nx_roll_axis(nx_array *a, const int *shift, int n, int axis, nx_stream *s)
{
    return roll_one(a, sum(shift, n), axis, s);
}

nx_array *nx_roll_axes(nx_array *a, const int *shift, int n, const int *axes, int n_axes,
                       nx_stream *s)
{
    if (n < n_axes)
        return nx_fail_null("[roll] %d shifts are too few for %d axes", n, n_axes);
    for (int i = 0; i < n_axes; i++)
        a = roll_one(a, shift[i], axes[i], s);
    return a;
}
