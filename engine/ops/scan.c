/*
 * scan.c: Scan: cumsum, cumprod, cummax, cummin and logcumsumexp along one axis.
 */
#include "engine/ops/scan.h"

#include "engine/core/prim.h"
#include "engine/ops/axes.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"

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

const nx_prim nx_prim_Scan = {
    .name = "Scan",
    .id = NX_PRIM_Scan,
    .params_size = sizeof(nx_scan_params),
    .fields = scan_fields,
    .n_fields = 4,
    .infer = infer_scan,
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
