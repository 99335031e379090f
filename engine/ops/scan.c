/*
 * scan.c: Scan: cumsum, cumprod, cummax, cummin and logcumsumexp along one axis.
 */
#include "engine/ops/scan.h"

#include "engine/core/prim.h"
#include "engine/ops/axes.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/rules.h"

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

static bool vjp_scan(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_scan_params *p = n->params;
    nx_array *x = n->in[0], *r = &n->out[0];
    nx_stream *s = n->stream;
    bool back = !p->reverse;
    if (p->kind == NX_SCAN_SUM) {
        out[0] = nx_astype(nx_cumsum(g[0], p->axis, back, p->inclusive, s), (nx_dtype)x->dtype, s);
    } else if (p->kind == NX_SCAN_PROD) {
        nx_array *sum = nx_cumsum(nx_multiply(g[0], r, s), p->axis, back, p->inclusive, s);
        out[0] = nx_divide(sum, x, s);
    } else if (p->kind == NX_SCAN_LOGADDEXP) {
        nx_array *sum = nx_cumsum(nx_multiply(g[0], nx_exp(nx_negative(r, s), s), s), p->axis, back,
                                  p->inclusive, s);
        out[0] = nx_multiply(nx_exp(x, s), sum, s);
    } else {
        return nx_fail("[vjp] Scan has no derivative for a cumulative min or max");
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
