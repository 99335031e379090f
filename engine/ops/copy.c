/*
 * copy.c: Copy and AsType: the same elements under another name, or as another type. Arrays never
 * change, so a Copy shares its input's memory; its kernel serves the evaluator, which wants the
 * elements in another layout.
 */
#include "engine/core/prim.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"

static bool infer_same(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    nx_spec_like(&out[0], in[0], (nx_dtype)in[0]->dtype);
    return true;
}

static bool vjp_copy(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    out[0] = g[0];
    return true;
}

static bool view_same(nx_node *n)
{
    nx_array_set_view(&n->out[0], n->in[0], n->in[0]->strides, 0);
    return true;
}

static bool rebuild_copy(const nx_rebuild *r, nx_array **out)
{
    out[0] = nx_copy(r->in[0], r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Copy = {
    .name = "Copy",
    .id = NX_PRIM_Copy,
    .flags = NX_PRIM_VIEW | NX_PRIM_ELEMENTWISE,
    .infer = infer_same,
    .view = view_same,
    .vjp = vjp_copy,
    .rebuild = rebuild_copy,
    .least_in = 1,
    .most_in = 1,
};

nx_array *nx_copy(nx_array *a, nx_stream *s)
{
    return nx_op(&nx_prim_Copy, NULL, &a, 1, s);
}

static bool infer_astype(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    nx_spec_like(&out[0], in[0], ((const nx_astype_params *)params)->dtype);
    return true;
}

static bool vjp_astype(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    out[0] = nx_astype(g[0], (nx_dtype)n->in[0]->dtype, n->stream);
    return true;
}

static const nx_field astype_fields[] = {
    {"dtype", NX_FIELD_DTYPE, offsetof(nx_astype_params, dtype)},
};

static bool rebuild_as_type(const nx_rebuild *r, nx_array **out)
{
    const nx_astype_params *p = r->params;
    out[0] = nx_astype(r->in[0], p->dtype, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_AsType = {
    .name = "AsType",
    .id = NX_PRIM_AsType,
    .flags = NX_PRIM_ELEMENTWISE,
    .params_size = sizeof(nx_astype_params),
    .fields = astype_fields,
    .n_fields = 1,
    .infer = infer_astype,
    .vjp = vjp_astype,
    .rebuild = rebuild_as_type,
    .least_in = 1,
    .most_in = 1,
};

nx_array *nx_astype(nx_array *a, nx_dtype dtype, nx_stream *s)
{
    if (!a || a->dtype == dtype)
        return a;
    nx_astype_params p = {dtype};
    return nx_op(&nx_prim_AsType, &p, &a, 1, s);
}
