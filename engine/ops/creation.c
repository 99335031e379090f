/* creation.c: Full (a value in memory of its own) and Arange; constants and windows made of them. */
#include "engine/ops/creation.h"

#include <limits.h>
#include <math.h>

#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/rules.h"
#include "engine/ops/shape.h"

/* ---- Full: the input is already broadcast ------------------------------------------------------- */

static bool infer_full(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    nx_spec_like(&out[0], in[0], (nx_dtype)in[0]->dtype);
    return true;
}

static bool vjp_full(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    out[0] = g[0];
    return true;
}

static bool rebuild_full(const nx_rebuild *r, nx_array **out)
{
    out[0] = nx_full(r->in[0]->shape, r->in[0]->ndim, r->in[0], (nx_dtype)r->in[0]->dtype, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Full = {
    .name = "Full",
    .id = NX_PRIM_Full,
    .flags = NX_PRIM_ANY_SHAPE,
    .infer = infer_full,
    .vjp = vjp_full,
    .vmap = nx_vmap_front,
    .rebuild = rebuild_full,
    .least_in = 1,
    .most_in = 1,
};

nx_array *nx_full(const int *shape, int ndim, nx_array *value, nx_dtype dtype, nx_stream *s)
{
    for (int i = 0; i < ndim; i++)
        if (shape[i] < 0)
            return nx_fail_null("[full] Negative dimensions not allowed, in %s.",
                                nx_shape_text(shape, ndim));
    nx_array *a = nx_broadcast_to(nx_astype(value, dtype, s), shape, ndim, s);
    return nx_op(&nx_prim_Full, NULL, &a, 1, s);
}

nx_array *nx_full_like(nx_array *a, nx_array *value, nx_dtype dtype, nx_stream *s)
{
    if (!a || !value)
        return NULL;
    if (!nx_tracing_any_size || !a->node->traced)
        return nx_full(a->shape, a->ndim, value, dtype, s);
    nx_array *in[2] = {nx_astype(value, dtype, s), a};
    return nx_broadcast_arrays(in, 2, s) ? nx_op(&nx_prim_Full, NULL, in, 1, s) : NULL;
}

nx_array *nx_zeros(const int *shape, int ndim, nx_dtype dtype, nx_stream *s)
{
    return nx_full(shape, ndim, nx_scalar(0, dtype), dtype, s);
}

nx_array *nx_zeros_of(nx_array *a, nx_dtype dtype, nx_stream *s)
{
    return nx_full_like(a, nx_scalar(0, dtype), dtype, s);
}

nx_array *nx_zeros_like(nx_array *a, nx_stream *s)
{
    return a ? nx_zeros_of(a, (nx_dtype)a->dtype, s) : NULL;
}

nx_array *nx_ones(const int *shape, int ndim, nx_dtype dtype, nx_stream *s)
{
    return nx_full(shape, ndim, nx_scalar(1, dtype), dtype, s);
}

nx_array *nx_ones_like(nx_array *a, nx_stream *s)
{
    return a ? nx_full_like(a, nx_scalar(1, (nx_dtype)a->dtype), (nx_dtype)a->dtype, s) : NULL;
}

/* ---- Arange ------------------------------------------------------------------------------------- */

/* How many numbers; -1 after nx_fail. */
static int arange_length(const nx_arange_params *p)
{
    if (isnan(p->start) || isnan(p->step) || isnan(p->stop) || isinf(p->start) || isinf(p->stop)) {
        nx_fail("[arange] Cannot compute length of %g to %g by %g.", p->start, p->stop, p->step);
        return -1;
    }
    double n = ceil((p->stop - p->start) / p->step);
    if (isnan(n) || n > INT_MAX) {
        nx_fail("[arange] Maximum size exceeded by %g to %g by %g.", p->start, p->stop, p->step);
        return -1;
    }
    return n > 0 ? (int)n : 0;
}

static bool infer_arange(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_arange_params *p = params;
    int n = arange_length(p);
    if (n < 0)
        return false;
    nx_spec_set(&out[0], &n, 1, p->dtype);
    return true;
}

static const nx_field arange_fields[] = {
    {"start", NX_FIELD_DOUBLE, offsetof(nx_arange_params, start)},
    {"stop", NX_FIELD_DOUBLE, offsetof(nx_arange_params, stop)},
    {"step", NX_FIELD_DOUBLE, offsetof(nx_arange_params, step)},
};

static bool rebuild_arange(const nx_rebuild *r, nx_array **out)
{
    const nx_arange_params *p = r->params;
    out[0] = nx_arange(p->start, p->stop, p->step, r->told ? r->told[0].dtype : p->dtype, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Arange = {
    .name = "Arange",
    .id = NX_PRIM_Arange,
    .flags = NX_PRIM_NO_GRAD,
    .params_size = sizeof(nx_arange_params),
    .fields = arange_fields,
    .n_fields = 3,
    .infer = infer_arange,
    .rebuild = rebuild_arange,
    .least_in = 0,
    .most_in = 0,
};

nx_array *nx_arange(double start, double stop, double step, nx_dtype dtype, nx_stream *s)
{
    if (dtype == NX_BOOL)
        return nx_fail_null("[arange] bool not supported for arange.");
    if (isinf(step) && isfinite(start) && isfinite(stop)) { /* the first number, where there is one */
        int n = step > 0 ? start < stop : start > stop;
        return nx_full(&n, 1, nx_scalar(start, dtype), dtype, s);
    }
    nx_arange_params p = {.start = start, .stop = stop, .step = step, .dtype = dtype};
    return nx_op(&nx_prim_Arange, &p, NULL, 0, s);
}

/* (1 - t) start + t stop with t = i / (num - 1), in float32. */
nx_array *nx_linspace(double start, double stop, int num, nx_dtype dtype, nx_stream *s)
{
    if (num < 0)
        return nx_fail_null("[linspace] number of samples, %d, must be non-negative.", num);
    if (num == 1)
        return nx_astype(nx_full((int[]){1}, 1, nx_scalar(start, NX_FLOAT32), NX_FLOAT32, s), dtype, s);
    nx_array *t = nx_divide(nx_arange(0, num, 1, NX_FLOAT32, s), nx_scalar_float((float)(num - 1)), s);
    nx_array *rest = nx_subtract(nx_scalar_float(1), t, s);
    nx_array *r = nx_add(nx_multiply(rest, nx_scalar_float((float)start), s),
                         nx_multiply(t, nx_scalar_float((float)stop), s), s);
    return nx_astype(r, dtype, s);
}

/* ---- matrices ----------------------------------------------------------------------------------- */

/* Rows and columns of an [n, m] matrix by number: [n, 1] less k, and [1, m]. */
static bool numbered(const char *op, int n, int m, int k, nx_array **rows, nx_array **columns,
                     nx_stream *s)
{
    if (n < 0 || m < 0)
        return nx_fail("[%s] N and M must be non-negative, not %d and %d.", op, n, m);
    *rows = nx_expand_dims(nx_arange(0, n, 1, NX_INT64, s), 1, s);
    *rows = nx_add(*rows, nx_scalar(k, NX_INT64), s);
    *columns = nx_expand_dims(nx_arange(0, m, 1, NX_INT64, s), 0, s);
    return *rows && *columns;
}

nx_array *nx_eye(int n, int m, int k, nx_dtype dtype, nx_stream *s)
{
    nx_array *rows, *columns;
    if (n < 1 || m < 1)
        return nx_fail_null("[eye] N and M must be positive integers.");
    if (!numbered("eye", n, m, k, &rows, &columns, s))
        return NULL;
    return nx_astype(nx_equal(rows, columns, s), dtype, s);
}

nx_array *nx_identity(int n, nx_dtype dtype, nx_stream *s)
{
    return nx_eye(n, n, 0, dtype, s);
}

static nx_array *on_or_below(const char *op, int n, int m, int k, nx_stream *s)
{
    nx_array *rows, *columns;
    return numbered(op, n, m, k, &rows, &columns, s) ? nx_greater_equal(rows, columns, s) : NULL;
}

nx_array *nx_tri(int n, int m, int k, nx_dtype dtype, nx_stream *s)
{
    return nx_astype(on_or_below("tri", n, m, k, s), dtype, s);
}

static bool are_matrices(const char *op, const nx_array *a)
{
    return a->ndim >= 2 || nx_fail("[%s] array must be at least 2-D", op);
}

nx_array *nx_tril(nx_array *a, int k, nx_stream *s)
{
    if (!a || !are_matrices("tril", a))
        return NULL;
    nx_array *keep = on_or_below("tril", a->shape[a->ndim - 2], a->shape[a->ndim - 1], k, s);
    return nx_where(keep, a, nx_scalar(0, (nx_dtype)a->dtype), s);
}

nx_array *nx_triu(nx_array *a, int k, nx_stream *s)
{
    if (!a || !are_matrices("triu", a))
        return NULL;
    nx_array *below = on_or_below("triu", a->shape[a->ndim - 2], a->shape[a->ndim - 1], k - 1, s);
    return nx_where(below, nx_scalar(0, (nx_dtype)a->dtype), a, s);
}

/* ---- windows ------------------------------------------------------------------------------------ */

/* 0, step, 2 step …: n of them. */
static nx_array *angles(int n, double step, nx_stream *s)
{
    return nx_multiply(nx_arange(0, n, 1, NX_FLOAT32, s), nx_scalar_float((float)step), s);
}

/* c * a + b */
static nx_array *scaled(nx_array *a, double c, double b, nx_stream *s)
{
    return nx_add(nx_multiply(a, nx_scalar_float((float)c), s), nx_scalar_float((float)b), s);
}

nx_array *nx_bartlett(int n, nx_stream *s)
{
    if (n <= 1)
        return nx_ones((int[]){n < 1 ? 0 : 1}, 1, NX_FLOAT32, s);
    nx_array *ramp = scaled(angles(n, 2.0 / (n - 1), s), 1, -1, s); /* -1 … 1 */
    return nx_subtract(nx_scalar_float(1), nx_abs(ramp, s), s);
}

nx_array *nx_hanning(int n, nx_stream *s)
{
    if (n <= 1)
        return nx_ones((int[]){n < 1 ? 0 : 1}, 1, NX_FLOAT32, s);
    return nx_square(nx_sin(angles(n, M_PI / (n - 1), s), s), s);
}

nx_array *nx_hamming(int n, nx_stream *s)
{
    if (n <= 1)
        return nx_ones((int[]){n < 1 ? 0 : 1}, 1, NX_FLOAT32, s);
    return scaled(nx_cos(angles(n, 2 * M_PI / (n - 1), s), s), -0.46, 0.54, s);
}

/* 0.42 - 0.5 cos(t) + 0.08 cos(2 t), with cos(2 t) = 2 cos²(t) - 1 */
nx_array *nx_blackman(int n, nx_stream *s)
{
    if (n <= 1)
        return nx_ones((int[]){n < 1 ? 0 : 1}, 1, NX_FLOAT32, s);
    nx_array *c = nx_cos(angles(n, 2 * M_PI / (n - 1), s), s);
    return nx_add(scaled(c, -0.5, 0.34, s), nx_multiply(nx_scalar_float(0.16f), nx_square(c, s), s), s);
}
