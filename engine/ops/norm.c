/*
 * norm.c: RMSNorm and LayerNorm, each one pass over the rows of the last axis.
 */
#include "engine/ops/norm.h"

#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"

static bool infer_norm(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    nx_spec_like(&out[0], in[0], (nx_dtype)in[0]->dtype);
    return true;
}

static const nx_field norm_fields[] = {
    {"eps", NX_FIELD_FLOAT, offsetof(nx_norm_params, eps)},
};

/* Inputs: x, weight or none. */
const nx_prim nx_prim_RMSNorm = {
    .name = "RMSNorm",
    .id = NX_PRIM_RMSNorm,
    .flags = NX_PRIM_DONATES_FIRST,
    .params_size = sizeof(nx_norm_params),
    .fields = norm_fields,
    .n_fields = 1,
    .infer = infer_norm,
};

/* Inputs: x, weight or none, bias or none. */
const nx_prim nx_prim_LayerNorm = {
    .name = "LayerNorm",
    .id = NX_PRIM_LayerNorm,
    .flags = NX_PRIM_DONATES_FIRST,
    .params_size = sizeof(nx_norm_params),
    .fields = norm_fields,
    .n_fields = 1,
    .infer = infer_norm,
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
