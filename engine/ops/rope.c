/*
 * rope.c: RoPE. Inputs: x, offsets (int32 or int64, one or one a sequence), frequencies (float32) or
 * none. All angles are computed in float or better, whatever the type of x.
 */
#include "engine/ops/rope.h"

#include <math.h>

#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/ops/creation.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/creation.h"
#include "engine/ops/shape.h"
#include "engine/ops/slice.h"
#include "engine/ops/reduce.h"
#include "engine/ops/rules.h"
#include "engine/ops/slice.h"

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

/* The two halves [..., dims / 2] of what is turned. */
static bool halves(nx_array *a, const nx_rope_params *p, nx_stream *s, nx_array **first,
                   nx_array **second)
{
    int start[NX_MAX_NDIM] = {0}, stop[NX_MAX_NDIM], step[NX_MAX_NDIM], last = a ? a->ndim - 1 : 0;
    nx_array **half[2] = {first, second};
    for (int h = 0; a && h < 2; h++) {
        for (int i = 0; i <= last; i++) {
            stop[i] = a->shape[i];
            step[i] = 1;
        }
        start[last] = p->traditional ? h : h * (p->dims / 2);
        stop[last] = p->traditional ? p->dims : (h + 1) * (p->dims / 2);
        step[last] = p->traditional ? 2 : 1;
        *half[h] = nx_slice(a, start, a->ndim, stop, a->ndim, step, a->ndim, s);
    }
    return a && *first && *second;
}

/* By the frequencies f: the angle of place t is scale * t / f, and a turn of the result (a, b) by d
 * moves it by (-b, a) d. */
static nx_array *by_frequencies(nx_node *n, nx_array *g, nx_stream *s)
{
    const nx_rope_params *p = n->params;
    nx_array *a, *b, *c, *d, *f = n->in[2], *offset = nx_astype(n->in[1], NX_FLOAT32, s);
    int rows = n->in[0]->shape[n->in[0]->ndim - 2], shape[NX_MAX_NDIM];
    if (!halves(nx_astype(&n->out[0], NX_FLOAT32, s), p, s, &a, &b) ||
        !halves(nx_astype(g, NX_FLOAT32, s), p, s, &c, &d))
        return NULL;
    nx_array *turn = nx_subtract(nx_multiply(d, a, s), nx_multiply(c, b, s), s);
    for (int i = 0; i < n->in[0]->ndim; i++)
        shape[i] = i == 0 ? (int)offset->size : 1;
    nx_array *place = nx_reshape(nx_arange(0, rows, 1, NX_FLOAT32, s), (int[]){rows, 1}, 2, s);
    place = nx_add(place, nx_reshape(offset, shape, n->in[0]->ndim, s), s);
    float sign = p->forward ? -p->scale : p->scale;
    nx_array *by = nx_divide(nx_multiply(place, nx_scalar_float(sign), s), nx_square(f, s), s);
    return nx_sum(nx_multiply(turn, by, s), nx_all_axes(), turn ? turn->ndim - 1 : 0, false, s);
}

/* Turned back. */
static bool vjp_rope(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    nx_rope_params p = *(const nx_rope_params *)n->params;
    if (wanted[1])
        out[1] = nx_array_none();
    if (wanted[2] && !(out[2] = by_frequencies(n, g[0], n->stream)))
        return false;
    p.forward = !p.forward;
    if (wanted[0])
        out[0] = nx_op(&nx_prim_RoPE, &p, (nx_array *[]){g[0], n->in[1], n->in[2]}, 3, n->stream);
    return true;
}

/* The batch joins the first dimension, whose items have an offset each if they do not share one. */
static bool vmap_rope(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes)
{
    nx_stream *s = n->stream;
    int size = nx_batch_size(in, axes, 3), items = n->in[0]->shape[0];
    if (axes[2] >= 0)
        return nx_batch_by_slices(out);
    nx_array *x = nx_batch_merge(nx_batch_all(in[0], axes[0], size, s), s), *offset = in[1];
    if (axes[1] >= 0 || offset->size != 1) {
        offset = nx_reshape(nx_batch_all(offset, axes[1], size, s), (int[]){size, -1}, 2, s);
        offset = nx_flatten_all(nx_broadcast_to(offset, (int[]){size, items}, 2, s), s);
    }
    nx_array *turned = nx_op(&nx_prim_RoPE, n->params, (nx_array *[]){x, offset, in[2]}, 3, s);
    out[0] = nx_batch_part(turned, size, s);
    out_axes[0] = 0;
    return true;
}

/* Angles of places and frequencies, [1 or B, 1…, L, dims / 2], in float32. */
static nx_array *angles_of(nx_node *n, const nx_array *x, nx_array **sine)
{
    const nx_rope_params *p = n->params;
    nx_stream *s = n->stream;
    int half = p->dims / 2, length = x->shape[x->ndim - 2], shape[NX_MAX_NDIM];
    nx_array *place = nx_arange(0, length, 1, NX_FLOAT32, s);
    for (int i = 0; i < x->ndim; i++)
        shape[i] = i == 0 ? (int)n->in[1]->size : 1;
    nx_array *from = nx_reshape(nx_astype(n->in[1], NX_FLOAT32, s), shape, x->ndim, s);
    place = nx_multiply(nx_add(nx_reshape(place, (int[]){length, 1}, 2, s), from, s),
                        nx_scalar_float(p->scale), s);
    nx_array *speed = nx_array_is_none(n->in[2])
                          ? nx_exp(nx_multiply(nx_arange(0, half, 1, NX_FLOAT32, s),
                                               nx_scalar_float(-logf(p->base) / (float)half), s), s)
                          : nx_reciprocal(n->in[2], s);
    nx_array *angle = nx_multiply(place, speed, s);
    *sine = nx_sin(angle, s);
    if (!p->forward)
        *sine = nx_negative(*sine, s);
    return nx_cos(angle, s);
}

/* Of the first dims elements of each row the pair number i: every `step`-th from `from`. */
static nx_array *pairs(nx_array *x, int from, int to, int step, nx_stream *s)
{
    int start[NX_MAX_NDIM] = {0}, strides[NX_MAX_NDIM];
    int stop[NX_MAX_NDIM];
    for (int i = 0; i < x->ndim; i++) {
        stop[i] = x->shape[i];
        strides[i] = 1;
    }
    start[x->ndim - 1] = from;
    stop[x->ndim - 1] = to;
    strides[x->ndim - 1] = step;
    return nx_slice(x, start, x->ndim, stop, x->ndim, strides, x->ndim, s);
}

static bool compose_rope(nx_node *n, nx_array **out)
{
    const nx_rope_params *p = n->params;
    nx_stream *s = n->stream;
    nx_array *x = n->in[0], *sine, *cosine = angles_of(n, x, &sine);
    int half = p->dims / 2, last = x->ndim - 1, step = p->traditional ? 2 : 1;
    nx_array *wide = nx_astype(x, NX_FLOAT32, s);
    nx_array *a = pairs(wide, 0, p->traditional ? p->dims : half, step, s);
    nx_array *b = pairs(wide, p->traditional ? 1 : half, p->dims, step, s);
    nx_array *turned[3] = {nx_subtract(nx_multiply(a, cosine, s), nx_multiply(b, sine, s), s),
                           nx_add(nx_multiply(a, sine, s), nx_multiply(b, cosine, s), s)};
    if (!turned[0] || !turned[1])
        return false;
    nx_array *both = p->traditional ? nx_flatten(nx_stack(turned, 2, -1, s), last, last + 1, s)
                                    : nx_concatenate(turned, 2, last, s);
    both = nx_astype(both, (nx_dtype)x->dtype, s);
    if (p->dims < x->shape[last])
        both = nx_concatenate((nx_array *[]){both, pairs(x, p->dims, x->shape[last], 1, s)}, 2, last, s);
    out[0] = both;
    return both != NULL;
}

/* Inputs as MLX has them: x, offset, and perhaps frequencies. */
static bool rebuild_rope(const nx_rebuild *r, nx_array **out)
{
    const nx_rope_params *p = r->params;
    bool has_freqs = r->n_in > 2 && !nx_array_is_none(r->in[2]);
    nx_rope_options o = {.dims = p->dims, .traditional = p->traditional, .has_base = !has_freqs,
                         .base = p->base, .scale = p->scale, .freqs = has_freqs ? r->in[2] : NULL};
    if (!p->forward)
        return nx_fail("[rope] a rotation backwards is no operation of its own");
    out[0] = nx_rope(r->in[0], &o, r->in[1], r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_RoPE = {
    .name = "RoPE",
    .id = NX_PRIM_RoPE,
    .flags = NX_PRIM_DONATES_FIRST | NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_rope_params),
    .fields = rope_fields,
    .n_fields = 5,
    .infer = infer_rope,
    .vjp = vjp_rope,
    .vmap = vmap_rope,
    .decompose = compose_rope,
    .rebuild = rebuild_rope,
    .least_in = 2,
    .most_in = 3,
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
