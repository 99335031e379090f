/*
 * rope.c: RoPE. Inputs: x, offsets (int32 or int64, one or one a sequence), frequencies (float32) or
 * none. All angles are computed in float or better, whatever the type of x.
 */
#include "engine/ops/rope.h"

#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"

static bool infer_rope(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    nx_spec_like(&out[0], in[0], (nx_dtype)in[0]->dtype);
    return true;
}

static const nx_field rope_fields[] = {
    {"dims", NX_FIELD_INT, offsetof(nx_rope_params, dims)},
    {"traditional", NX_FIELD_BOOL, offsetof(nx_rope_params, traditional)},
    {"base", NX_FIELD_FLOAT, offsetof(nx_rope_params, base)},
    {"scale", NX_FIELD_FLOAT, offsetof(nx_rope_params, scale)},
    {"forward", NX_FIELD_BOOL, offsetof(nx_rope_params, forward)},
};

/* Turned back. */
static bool vjp_rope(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    nx_rope_params p = *(const nx_rope_params *)n->params;
    if (wanted[1])
        out[1] = nx_array_none();
    if (wanted[2])
        return nx_fail("[vjp] RoPE has no derivative by its frequencies");
    p.forward = !p.forward;
    if (wanted[0])
        out[0] = nx_op(&nx_prim_RoPE, &p, (nx_array *[]){g[0], n->in[1], n->in[2]}, 3, n->stream);
    return true;
}

const nx_prim nx_prim_RoPE = {
    .name = "RoPE",
    .id = NX_PRIM_RoPE,
    .flags = NX_PRIM_DONATES_FIRST,
    .params_size = sizeof(nx_rope_params),
    .fields = rope_fields,
    .n_fields = 5,
    .infer = infer_rope,
    .vjp = vjp_rope,
};

static bool check_input(const nx_array *x, const nx_rope_options *o)
{
    if (x->ndim < 3)
        return nx_fail("[rope] the input must have at least 3 dimensions, but its shape is %s",
                       nx_shape_text(x->shape, x->ndim));
    if (!nx_dtype_in((nx_dtype)x->dtype, NX_FLOATS))
        return nx_fail("[rope] the input must be of a floating type, not %s",
                       nx_dtype_name((nx_dtype)x->dtype));
    if (o->dims <= 0 || o->dims % 2)
        return nx_fail("[rope] dims must be positive and even, not %d", o->dims);
    if (o->dims > x->shape[x->ndim - 1])
        return nx_fail("[rope] dims is %d, but the last dimension has %d elements", o->dims,
                       x->shape[x->ndim - 1]);
    return true;
}

static bool check_frequencies(const nx_rope_options *o)
{
    if (o->has_base == (o->freqs != NULL))
        return nx_fail("[rope] exactly one of base and freqs must be given, not %s",
                       o->has_base ? "both" : "none");
    if (o->freqs && (o->freqs->ndim != 1 || o->freqs->size != o->dims / 2))
        return nx_fail("[rope] freqs must be one dimension of %d elements, but its shape is %s",
                       o->dims / 2, nx_shape_text(o->freqs->shape, o->freqs->ndim));
    return true;
}

static bool check_offset(const nx_array *x, const nx_array *offset)
{
    if (!nx_dtype_in((nx_dtype)offset->dtype, NX_INTEGERS))
        return nx_fail("[rope] the offset must be of an integer type, not %s",
                       nx_dtype_name((nx_dtype)offset->dtype));
    if (offset->ndim > 1 || (offset->size != 1 && offset->size != x->shape[0]))
        return nx_fail("[rope] the offset must be one number or %d of them, but its shape is %s",
                       x->shape[0], nx_shape_text(offset->shape, offset->ndim));
    return true;
}

nx_array *nx_rope(nx_array *x, const nx_rope_options *o, nx_array *offset, nx_stream *s)
{
    if (!x || !offset || !check_input(x, o) || !check_frequencies(o) || !check_offset(x, offset))
        return NULL;
    nx_rope_params p = {.dims = o->dims, .traditional = o->traditional,
                        .base = o->has_base ? o->base : 1.0f, .scale = o->scale, .forward = true};
    nx_array *offsets = offset->dtype == NX_INT32 ? offset : nx_astype(offset, NX_INT64, s);
    nx_array *freqs = o->freqs ? nx_astype(o->freqs, NX_FLOAT32, s) : nx_array_none();
    return nx_op(&nx_prim_RoPE, &p, (nx_array *[]){x, offsets, freqs}, 3, s);
}

nx_array *nx_rope_at(nx_array *x, const nx_rope_options *o, int offset, nx_stream *s)
{
    return nx_rope(x, o, nx_scalar_int(offset), s);
}
