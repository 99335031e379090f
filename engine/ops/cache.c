/*
 * cache.c: CachePack: an extension of ours: rows of keys or values as blocks of 8- or 4-bit codes, which
 * attention reads where they lie.
 */
#include "engine/ops/cache.h"

#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"

static const nx_field fields[] = {{"bits", NX_FIELD_INT, offsetof(nx_cache_pack_params, bits)}};

static bool infer(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_cache_pack_params *p = params;
    int last = in[0]->ndim - 1;
    int64_t bytes = nx_cache_row_bytes(p->bits, in[0]->shape[last]);
    if (bytes > INT32_MAX)
        return nx_fail("[cache_pack] rows of %d numbers are too long", in[0]->shape[last]);
    nx_spec_like(&out[0], in[0], NX_UINT8);
    out[0].shape[last] = (int)bytes;
    return true;
}

const nx_prim nx_prim_CachePack = {
    .name = "CachePack",
    .id = NX_PRIM_CachePack,
    .flags = NX_PRIM_NO_GRAD | NX_PRIM_VMAP_SLICES,
    .row_inputs = 1 << 0,
    .params_size = sizeof(nx_cache_pack_params),
    .fields = fields,
    .n_fields = 1,
    .infer = infer,
};

nx_array *nx_cache_pack(nx_array *x, int bits, nx_stream *s)
{
    if (!x)
        return NULL;
    if (bits != 8 && bits != 4)
        return nx_fail_null("[cache_pack] %d bits are not possible: 8 or 4 are", bits);
    if (x->ndim < 1 || (x->dtype != NX_FLOAT32 && x->dtype != NX_FLOAT16 && x->dtype != NX_BFLOAT16))
        return nx_fail_null("[cache_pack] rows of float32, float16 or bfloat16 are packed, not %s %s",
                            nx_dtype_name((nx_dtype)x->dtype), nx_shape_text(x->shape, x->ndim));
    nx_cache_pack_params p = {.bits = bits};
    return nx_op(&nx_prim_CachePack, &p, &x, 1, s);
}
