/*
 * reinterpret.c: View (the same bytes as another type), fp8 and the number of elements.
 */
#include <string.h>

#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/ops/axes.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/rules.h"
#include "engine/ops/shape.h"

/* ---- View: the last axis grows or shrinks with the type ------------------------------------------- */

static bool infer_view(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    nx_dtype t = ((const nx_view_params *)params)->dtype;
    size_t from = nx_dtype_size((nx_dtype)in[0]->dtype), to = nx_dtype_size(t);
    nx_spec_like(&out[0], in[0], t);
    if (from == to)
        return true;
    if (in[0]->ndim == 0)
        return nx_fail("[view] Changing the type of a scalar is only allowed for types with the same "
                       "size, not from %zu to %zu bytes.", from, to);
    int64_t bytes = in[0]->shape[in[0]->ndim - 1] * (int64_t)from;
    if (bytes % (int64_t)to)
        return nx_fail("[view] When viewing as a larger dtype, the size in bytes of the last axis must "
                       "be a multiple of the requested type size, %lld is not one of %zu.",
                       (long long)bytes, to);
    if (bytes / (int64_t)to > INT32_MAX)
        return nx_fail("[view] the last axis would be longer than %d", INT32_MAX);
    out[0].shape[in[0]->ndim - 1] = (int)(bytes / (int64_t)to);
    return true;
}

/* A view where the last axis is dense; else the kernel copies. */
static bool view(nx_node *n)
{
    const nx_array *in = n->in[0];
    nx_array *out = &n->out[0];
    int64_t from = (int64_t)nx_dtype_size((nx_dtype)in->dtype);
    int64_t to = (int64_t)nx_dtype_size((nx_dtype)out->dtype), strides[NX_MAX_NDIM];
    int last = in->ndim - 1;
    memcpy(strides, in->strides, (size_t)in->ndim * sizeof *strides);
    if (from != to) {
        if (in->shape[last] != 1 && strides[last] != 1)
            return false;
        for (int i = 0; i < last; i++) {
            if (strides[i] * from % to && in->shape[i] != 1)
                return false;
            strides[i] = strides[i] * from / to;
        }
        strides[last] = 1;
    }
    if ((uintptr_t)in->data % (uintptr_t)to)
        return false;
    nx_array_set_view(out, in, strides, 0);
    return true;
}

static const nx_field view_fields[] = {{"dtype", NX_FIELD_DTYPE, offsetof(nx_view_params, dtype)}};

/* As MLX has it, bytes for bytes: the cotangent's bytes are those of the input's. */
static bool vjp_view(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    out[0] = nx_view_as(g[0], (nx_dtype)n->in[0]->dtype, n->stream);
    return true;
}

static bool rebuild_view(const nx_rebuild *r, nx_array **out)
{
    const nx_view_params *p = r->params;
    out[0] = nx_view_as(r->in[0], p->dtype, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_View = {
    .name = "View",
    .id = NX_PRIM_View,
    .flags = NX_PRIM_VIEW,
    .params_size = sizeof(nx_view_params),
    .fields = view_fields,
    .n_fields = 1,
    .row_inputs = 1,
    .infer = infer_view,
    .view = view,
    .vjp = vjp_view,
    .vmap = nx_vmap_front,
    .rebuild = rebuild_view,
    .least_in = 1,
    .most_in = 1,
};

nx_array *nx_view_as(nx_array *a, nx_dtype dtype, nx_stream *s)
{
    nx_view_params p = {dtype};
    return !a || a->dtype == dtype ? a : nx_op(&nx_prim_View, &p, &a, 1, s);
}

/* ---- fp8: one byte, sign, four bits of exponent, three of fraction --------------------------------- */

static bool infer_to_fp8(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    nx_spec_like(&out[0], in[0], NX_UINT8);
    return true;
}

static bool infer_from_fp8(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    nx_spec_like(&out[0], in[0], ((const nx_from_fp8_params *)params)->dtype);
    return true;
}

static const nx_field fp8_fields[] = {{"dtype", NX_FIELD_DTYPE, offsetof(nx_from_fp8_params, dtype)}};

static bool rebuild_to_fp8(const nx_rebuild *r, nx_array **out)
{
    out[0] = nx_to_fp8(r->in[0], r->s);
    return out[0] != NULL;
}

static bool rebuild_from_fp8(const nx_rebuild *r, nx_array **out)
{
    const nx_from_fp8_params *p = r->params;
    out[0] = nx_from_fp8(r->in[0], p->dtype, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_ToFP8 = {
    .name = "ToFP8",
    .id = NX_PRIM_ToFP8,
    .flags = NX_PRIM_ELEMENTWISE | NX_PRIM_NO_GRAD,
    .infer = infer_to_fp8,
    .rebuild = rebuild_to_fp8,
    .least_in = 1,
    .most_in = 1,
};
const nx_prim nx_prim_FromFP8 = {
    .name = "FromFP8",
    .id = NX_PRIM_FromFP8,
    .flags = NX_PRIM_ELEMENTWISE | NX_PRIM_NO_GRAD,
    .params_size = sizeof(nx_from_fp8_params),
    .fields = fp8_fields,
    .n_fields = 1,
    .infer = infer_from_fp8,
    .rebuild = rebuild_from_fp8,
    .least_in = 1,
    .most_in = 1,
};

nx_array *nx_to_fp8(nx_array *a, nx_stream *s)
{
    if (a && !nx_dtype_in((nx_dtype)a->dtype, NX_FLOATS))
        return nx_fail_null("[to_fp8] Only real floating types are supported but the type is %s.",
                            nx_dtype_name((nx_dtype)a->dtype));
    return nx_op(&nx_prim_ToFP8, NULL, &a, 1, s);
}

nx_array *nx_from_fp8(nx_array *a, nx_dtype dtype, nx_stream *s)
{
    if (a && a->dtype != NX_UINT8)
        return nx_fail_null("[from_fp8] Input must have type uint8 but the type is %s.",
                            nx_dtype_name((nx_dtype)a->dtype));
    if (!nx_dtype_in(dtype, NX_FLOATS))
        return nx_fail_null("[from_fp8] Only real floating types are supported but the type is %s.",
                            nx_dtype_name(dtype));
    nx_from_fp8_params p = {dtype == NX_FLOAT64 ? NX_FLOAT32 : dtype};
    return nx_astype(nx_op(&nx_prim_FromFP8, &p, &a, 1, s), dtype, s);
}

/* ---- StopGradient --------------------------------------------------------------------------------- */

static bool infer_same(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    nx_spec_like(&out[0], in[0], (nx_dtype)in[0]->dtype);
    return true;
}

static bool view_same(nx_node *n)
{
    nx_array_set_view(&n->out[0], n->in[0], n->in[0]->strides, 0);
    return true;
}

static bool rebuild_stop_gradient(const nx_rebuild *r, nx_array **out)
{
    out[0] = nx_stop_gradient(r->in[0], r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_StopGradient = {
    .name = "StopGradient",
    .id = NX_PRIM_StopGradient,
    .flags = NX_PRIM_VIEW | NX_PRIM_ELEMENTWISE | NX_PRIM_NO_GRAD,
    .infer = infer_same,
    .view = view_same,
    .rebuild = rebuild_stop_gradient,
    .least_in = 1,
    .most_in = 1,
};

nx_array *nx_stop_gradient(nx_array *a, nx_stream *s)
{
    return nx_op(&nx_prim_StopGradient, NULL, &a, 1, s);
}

/* ---- number of elements ---------------------------------------------------------------------------- */

static bool infer_number(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    nx_spec_set(&out[0], NULL, 0, ((const nx_number_of_elements_params *)params)->dtype);
    return true;
}

static bool vjp_number(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    out[0] = nx_array_none();
    return true;
}

/* A slice has as many as it had in the trace. */
static bool vmap_number(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes)
{
    const nx_number_of_elements_params *p = n->params;
    nx_array *a = n->in[0];
    double count = 1;
    for (int i = 0; i < p->axes.n; i++)
        count *= a->shape[p->axes.v[i]];
    out[0] = nx_scalar(p->inverted ? 1 / count : count, p->dtype);
    out_axes[0] = -1;
    return out[0] != NULL;
}

static bool rebuild_number(const nx_rebuild *r, nx_array **out)
{
    const nx_number_of_elements_params *p = r->params;
    out[0] = nx_number_of_elements(r->in[0], p->axes.v, p->axes.n, p->inverted, p->dtype, r->s);
    return out[0] != NULL;
}

static const nx_field number_fields[] = {
    {"axes", NX_FIELD_DIMS, offsetof(nx_number_of_elements_params, axes)},
    {"inverted", NX_FIELD_BOOL, offsetof(nx_number_of_elements_params, inverted)},
    {"dtype", NX_FIELD_DTYPE, offsetof(nx_number_of_elements_params, dtype)},
};

const nx_prim nx_prim_NumberOfElements = {
    .name = "NumberOfElements",
    .id = NX_PRIM_NumberOfElements,
    .flags = NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_number_of_elements_params),
    .fields = number_fields,
    .n_fields = 3,
    .infer = infer_number,
    .vjp = vjp_number,
    .vmap = vmap_number,
    .rebuild = rebuild_number,
    .least_in = 1,
    .most_in = 1,
};

nx_array *nx_number_of_elements(nx_array *a, const int *axes, int n, bool inverted, nx_dtype dtype,
                                nx_stream *s)
{
    nx_dims fixed;
    if (!a || !nx_axes_fix("number_of_elements", axes, n, a->ndim, &fixed))
        return NULL;
    double count = 1;
    for (int i = 0; i < n; i++)
        count *= a->shape[fixed.v[i]];
    if (!nx_tracing_any_size || !a->node->traced)
        return nx_scalar(inverted ? 1 / count : count, dtype);
    nx_number_of_elements_params p = {fixed, inverted, dtype};
    return nx_op(&nx_prim_NumberOfElements, &p, &a, 1, s);
}
