/* copy.c: Copy and AsType: the same elements in new memory, or as another type. */
#include "engine/core/prim.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"

static bool infer_same(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    nx_spec_like(&out[0], in[0], (nx_dtype)in[0]->dtype);
    return true;
}

const nx_prim nx_prim_Copy = {
    .name = "Copy",
    .id = NX_PRIM_Copy,
    .flags = NX_PRIM_ELEMENTWISE,
    .infer = infer_same,
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

static const nx_field astype_fields[] = {
    {"dtype", NX_FIELD_DTYPE, offsetof(nx_astype_params, dtype)},
};

const nx_prim nx_prim_AsType = {
    .name = "AsType",
    .id = NX_PRIM_AsType,
    .flags = NX_PRIM_ELEMENTWISE,
    .params_size = sizeof(nx_astype_params),
    .fields = astype_fields,
    .n_fields = 1,
    .infer = infer_astype,
};

nx_array *nx_astype(nx_array *a, nx_dtype dtype, nx_stream *s)
{
    if (!a || a->dtype == dtype)
        return a;
    nx_astype_params p = {dtype};
    return nx_op(&nx_prim_AsType, &p, &a, 1, s);
}
