/* ternary.c: Select, and what is made of it and of comparisons: clip, isnan, nan_to_num … */
#include <float.h>
#include <math.h>

#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/prims.h"

static bool infer(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    nx_spec_like(&out[0], in[1], (nx_dtype)in[1]->dtype);
    return true;
}

/* The cotangent goes to the input each element came from. */
static bool vjp(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    nx_array *zero = nx_scalar(0, (nx_dtype)g[0]->dtype);
    if (wanted[0])
        out[0] = nx_array_none();
    if (wanted[1])
        out[1] = nx_where(n->in[0], g[0], zero, n->stream);
    if (wanted[2])
        out[2] = nx_where(n->in[0], zero, g[0], n->stream);
    return true;
}

static bool rebuild_select(const nx_rebuild *r, nx_array **out)
{
    const nx_array *a = r->in[0];
    for (int i = 1; i < 3; i++)
        if (!nx_shape_equal(a->shape, a->ndim, r->in[i]->shape, r->in[i]->ndim))
            return nx_fail("[select] shapes differ");
    out[0] = nx_where(r->in[0], r->in[1], r->in[2], r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Select = {
    .name = "Select",
    .id = NX_PRIM_Select,
    .flags = NX_PRIM_ELEMENTWISE,
    .infer = infer,
    .vjp = vjp,
    .rebuild = rebuild_select,
    .least_in = 3,
    .most_in = 3,
};

nx_array *nx_where(nx_array *when, nx_array *a, nx_array *b, nx_stream *s)
{
    if (!when || !a || !b)
        return NULL;
    nx_dtype t = nx_promote((nx_dtype)a->dtype, (nx_dtype)b->dtype);
    nx_array *in[3] = {nx_astype(when, NX_BOOL, s), nx_astype(a, t, s), nx_astype(b, t, s)};
    return nx_broadcast_arrays(in, 3, s) ? nx_op(&nx_prim_Select, NULL, in, 3, s) : NULL;
}

nx_array *nx_clip(nx_array *a, nx_array *min, nx_array *max, nx_stream *s)
{
    if (!min && !max)
        return nx_fail_null("[clip] At most one of a_min and a_max may be None.");
    if (min)
        a = nx_maximum(a, min, s);
    return max ? nx_minimum(a, max, s) : a;
}

/* ---- kinds of numbers --------------------------------------------------------------------------- */

static nx_array *all_false(const nx_array *a, nx_stream *s)
{
    return nx_broadcast_to(nx_scalar_bool(false), a->shape, a->ndim, s);
}

static bool exact(const nx_array *a)
{
    return !nx_dtype_in((nx_dtype)a->dtype, NX_INEXACT);
}

static nx_array *is_number(nx_array *a, double value, nx_stream *s)
{
    if (!a)
        return NULL;
    return exact(a) ? all_false(a, s) : nx_equal(a, nx_scalar(value, (nx_dtype)a->dtype), s);
}

nx_array *nx_isnan(nx_array *a, nx_stream *s)
{
    return a && exact(a) ? all_false(a, s) : nx_not_equal(a, a, s);
}

nx_array *nx_isposinf(nx_array *a, nx_stream *s)
{
    return is_number(a, INFINITY, s);
}

nx_array *nx_isneginf(nx_array *a, nx_stream *s)
{
    return is_number(a, -INFINITY, s);
}

nx_array *nx_isinf(nx_array *a, nx_stream *s)
{
    if (a && exact(a))
        return all_false(a, s);
    return nx_logical_or(nx_isposinf(a, s), nx_isneginf(a, s), s);
}

nx_array *nx_isfinite(nx_array *a, nx_stream *s)
{
    return nx_logical_not(nx_logical_or(nx_isinf(a, s), nx_isnan(a, s), s), s);
}

/* |a - b| <= atol + rtol |b|, or the same infinity, or (equal_nan) both NaN. */
nx_array *nx_isclose(nx_array *a, nx_array *b, double rtol, double atol, bool equal_nan, nx_stream *s)
{
    if (!a || !b)
        return NULL;
    nx_dtype t = nx_promote((nx_dtype)a->dtype, (nx_dtype)b->dtype);
    nx_array *size = nx_multiply(nx_scalar_float((float)rtol), nx_abs(b, s), s);
    nx_array *close = nx_less_equal(nx_abs(nx_subtract(a, b, s), s),
                                    nx_add(nx_scalar_float((float)atol), size, s), s);
    if (!nx_dtype_in(t, NX_INEXACT))
        return close;
    nx_array *any = nx_logical_or(nx_isinf(a, s), nx_isinf(b, s), s);
    nx_array *same = nx_logical_or(nx_logical_and(nx_isposinf(a, s), nx_isposinf(b, s), s),
                                   nx_logical_and(nx_isneginf(a, s), nx_isneginf(b, s), s), s);
    close = nx_logical_or(nx_logical_and(close, nx_logical_not(any, s), s), same, s);
    if (!equal_nan)
        return close;
    return nx_logical_or(close, nx_logical_and(nx_isnan(a, s), nx_isnan(b, s), s), s);
}

nx_array *nx_nan_to_num(nx_array *a, float nan, const float *posinf, const float *neginf,
                        nx_stream *s)
{
    if (!a || exact(a))
        return a;
    nx_dtype t = (nx_dtype)a->dtype;
    if (t == NX_COMPLEX64)
        return nx_fail_null("[nan_to_num] Does not yet support given type: complex64.");
    static const double largest[NX_DTYPE_COUNT] = {[NX_FLOAT16] = 65504, [NX_FLOAT32] = FLT_MAX,
                                                   [NX_FLOAT64] = DBL_MAX,
                                                   [NX_BFLOAT16] = 0x1.fep127};
    nx_array *high = nx_scalar(posinf ? *posinf : largest[t], t);
    nx_array *low = nx_scalar(neginf ? *neginf : -largest[t], t);
    nx_array *r = nx_where(nx_isnan(a, s), nx_scalar(nan, t), a, s);
    r = nx_where(nx_isposinf(a, s), high, r, s);
    return nx_where(nx_isneginf(a, s), low, r, s);
}
