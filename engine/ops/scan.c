/*
 * scan.c: Scan: cumsum, cumprod, cummax, cummin and logcumsumexp along one axis.
 */
#include "engine/ops/scan.h"

#include "engine/core/prim.h"
#include "engine/ops/axes.h"
#include "engine/ops/creation.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/index.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/rules.h"
#include "engine/ops/shape.h"
#include "engine/ops/slice.h"

static bool infer_scan(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_scan_params *p = params;
    bool counts = p->kind == NX_SCAN_SUM && in[0]->dtype == NX_BOOL;
    nx_spec_like(&out[0], in[0], counts ? NX_INT32 : (nx_dtype)in[0]->dtype);
    return true;
}

static const nx_field scan_fields[] = {
    {"reduce_type", NX_FIELD_ENUM, offsetof(nx_scan_params, kind)},
    {"axis", NX_FIELD_INT, offsetof(nx_scan_params, axis)},
    {"reverse", NX_FIELD_BOOL, offsetof(nx_scan_params, reverse)},
    {"inclusive", NX_FIELD_BOOL, offsetof(nx_scan_params, inclusive)},
};

/* g one place on (back: to the front), with a zero where it came from: an exclusive scan gave each
 * result to the element before. */
static nx_array *shifted(nx_array *g, int axis, bool back, nx_stream *s)
{
    int start[NX_MAX_NDIM] = {0}, stop[NX_MAX_NDIM], step[NX_MAX_NDIM], low = back ? 0 : 1;
    if (!g || g->shape[axis] == 0)
        return g;
    for (int i = 0; i < g->ndim; i++) {
        stop[i] = g->shape[i];
        step[i] = 1;
    }
    start[axis] = back;
    stop[axis] -= !back;
    int high = 1 - low;
    nx_array *part = nx_slice(g, start, g->ndim, stop, g->ndim, step, g->ndim, s);
    return nx_pad(part, &axis, 1, &low, 1, &high, 1, nx_scalar(0, (nx_dtype)g->dtype), "constant", s);
}

/* Elements from .. to of the axis. */
static nx_array *part(nx_array *a, int axis, int from, int to, nx_stream *s)
{
    int start[NX_MAX_NDIM] = {0}, stop[NX_MAX_NDIM], step[NX_MAX_NDIM];
    if (!a)
        return NULL;
    for (int i = 0; i < a->ndim; i++) {
        stop[i] = a->shape[i];
        step[i] = 1;
    }
    start[axis] = from;
    stop[axis] = to;
    return nx_slice(a, start, a->ndim, stop, a->ndim, step, a->ndim, s);
}

/* Of a product along the axis: what stands before x[k] times sum[k], the later cotangents each with
 * what stands between, sum[k] = g[k] + x[k+1] sum[k+1]. The sums reach twice as far with each step,
 * and nothing is divided: zeros need no care, here or in the derivatives of this. */
static nx_array *vjp_cumprod(nx_node *n, nx_array *g, nx_stream *s)
{
    const nx_scan_params *p = n->params;
    nx_array *x = n->in[0], *sum = p->inclusive ? g : shifted(g, p->axis, !p->reverse, s);
    int length = x->shape[p->axis], axis = p->axis;
    bool back = p->reverse; /* later is to the left */
    nx_array *between = back ? part(x, axis, 0, length - 1, s) : part(x, axis, 1, length, s);
    for (int64_t d = 1; d < length; d *= 2) {
        int k = (int)d, m = length - k; /* m sums go on, k are whole; between has m */
        nx_array *whole = back ? part(sum, axis, 0, k, s) : part(sum, axis, m, length, s);
        nx_array *on = back ? part(sum, axis, k, length, s) : part(sum, axis, 0, m, s);
        nx_array *far = back ? part(sum, axis, 0, m, s) : part(sum, axis, k, length, s);
        on = nx_add(on, nx_multiply(between, far, s), s);
        sum = nx_concatenate((nx_array *[]){back ? whole : on, back ? on : whole}, 2, axis, s);
        if (2 * d < length)
            between = nx_multiply(part(between, axis, 0, m - k, s), part(between, axis, k, m, s), s);
    }
    return nx_multiply(nx_cumprod(x, axis, p->reverse, false, s), sum, s);
}

/* Of a largest or smallest so far: each cotangent goes to the latest element that has the value. */
static nx_array *vjp_extreme(nx_node *n, nx_array *g, nx_stream *s)
{
    const nx_scan_params *p = n->params;
    nx_array *x = n->in[0], *r = &n->out[0];
    int length = x->shape[p->axis], shape[NX_MAX_NDIM];
    if (!p->inclusive) {
        r = nx_op(&nx_prim_Scan, &(nx_scan_params){p->kind, p->axis, p->reverse, true}, &x, 1, s);
        g = shifted(g, p->axis, !p->reverse, s);
    }
    for (int i = 0; i < x->ndim; i++)
        shape[i] = i == p->axis ? length : 1;
    nx_array *places = nx_reshape(nx_arange(0, length, 1, NX_INT32, s), shape, x->ndim, s);
    nx_array *none = nx_scalar_int(p->reverse ? length - 1 : 0);
    places = nx_where(nx_equal_nan(x, r, s), places, none, s);
    places = p->reverse ? nx_cummin(places, p->axis, true, true, s)
                        : nx_cummax(places, p->axis, false, true, s);
    return nx_scatter_add_axis(nx_zeros_like(x, s), places, g, p->axis, s);
}

static bool vjp_scan(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_scan_params *p = n->params;
    nx_array *x = n->in[0], *r = &n->out[0];
    nx_stream *s = n->stream;
    bool back = !p->reverse;
    if (p->kind == NX_SCAN_SUM) {
        out[0] = nx_astype(nx_cumsum(g[0], p->axis, back, p->inclusive, s), (nx_dtype)x->dtype, s);
    } else if (p->kind == NX_SCAN_PROD) {
        out[0] = vjp_cumprod(n, g[0], s);
    } else if (p->kind == NX_SCAN_LOGADDEXP) {
        nx_array *sum = nx_cumsum(nx_multiply(g[0], nx_exp(nx_negative(r, s), s), s), p->axis, back,
                                  p->inclusive, s);
        out[0] = nx_multiply(nx_exp(x, s), sum, s);
    } else {
        out[0] = vjp_extreme(n, g[0], s);
    }
    return true;
}

static bool vmap_scan(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes)
{
    nx_scan_params p = *(const nx_scan_params *)n->params;
    nx_array *a = nx_batch_front(in[0], axes[0], n->stream);
    p.axis++;
    out[0] = nx_op(&nx_prim_Scan, &p, &a, 1, n->stream);
    out_axes[0] = 0;
    return true;
}

static bool rebuild_scan(const nx_rebuild *r, nx_array **out)
{
    const nx_scan_params *p = r->params;
    nx_array *(*const builders[])(nx_array *, int, bool, bool, nx_stream *) = {
        [NX_SCAN_MAX] = nx_cummax,   [NX_SCAN_MIN] = nx_cummin,
        [NX_SCAN_SUM] = nx_cumsum,   [NX_SCAN_PROD] = nx_cumprod,
        [NX_SCAN_LOGADDEXP] = nx_logcumsumexp,
    };
    if (p->kind < NX_SCAN_MAX || p->kind > NX_SCAN_LOGADDEXP)
        return nx_fail("[scan] kind %d is none", p->kind);
    out[0] = builders[p->kind](r->in[0], p->axis, p->reverse, p->inclusive, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Scan = {
    .name = "Scan",
    .id = NX_PRIM_Scan,
    .flags = NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_scan_params),
    .fields = scan_fields,
    .n_fields = 4,
    .infer = infer_scan,
    .vjp = vjp_scan,
    .vmap = vmap_scan,
    .rebuild = rebuild_scan,
    .least_in = 1,
    .most_in = 1,
};

static nx_array *scan(const char *op, int kind, nx_array *a, int axis, bool reverse, bool inclusive,
                      nx_stream *s)
{
    nx_scan_params p = {kind, axis, reverse, inclusive};
    if (!a || !nx_axis_fix(op, &p.axis, a->ndim))
        return NULL;
    return nx_op(&nx_prim_Scan, &p, &a, 1, s);
}

nx_array *nx_cumsum(nx_array *a, int axis, bool reverse, bool inclusive, nx_stream *s)
{
    return scan("cumsum", NX_SCAN_SUM, a, axis, reverse, inclusive, s);
}

nx_array *nx_cumprod(nx_array *a, int axis, bool reverse, bool inclusive, nx_stream *s)
{
    return scan("cumprod", NX_SCAN_PROD, a, axis, reverse, inclusive, s);
}

nx_array *nx_cummax(nx_array *a, int axis, bool reverse, bool inclusive, nx_stream *s)
{
    return scan("cummax", NX_SCAN_MAX, a, axis, reverse, inclusive, s);
}

nx_array *nx_cummin(nx_array *a, int axis, bool reverse, bool inclusive, nx_stream *s)
{
    return scan("cummin", NX_SCAN_MIN, a, axis, reverse, inclusive, s);
}

nx_array *nx_logcumsumexp(nx_array *a, int axis, bool reverse, bool inclusive, nx_stream *s)
{
    return scan("logcumsumexp", NX_SCAN_LOGADDEXP, a, axis, reverse, inclusive, s);
}
