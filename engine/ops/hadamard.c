/*
 * hadamard.c: Hadamard: rows of n = m 2^k elements times the Hadamard matrix of that order, for m
 * of 1, 12, 20 and 28. The matrix is the Kronecker product of the one of order m and Sylvester's.
 */
#include <math.h>

#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/product.h"
#include "engine/ops/rules.h"

static bool infer_hadamard(nx_array *const *in, int n_in, const void *params, nx_spec *out,
                           int n_out)
{
    nx_spec_like(out, in[0], (nx_dtype)in[0]->dtype);
    return true;
}

static const nx_field hadamard_fields[] = {
    {"scale", NX_FIELD_FLOAT, offsetof(nx_hadamard_params, scale)},
};

/* By the transposed matrix, which for a power of two is the matrix itself. */
static bool vjp_hadamard(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    int size = n->out[0].shape[n->out[0].ndim - 1];
    if (size & (size - 1))
        return nx_fail("[vjp] Hadamard has no derivative for %d elements, only for powers of two",
                       size);
    out[0] = nx_op(&nx_prim_Hadamard, n->params, g, 1, n->stream);
    return true;
}

static bool rebuild_hadamard(const nx_rebuild *r, nx_array **out)
{
    const nx_hadamard_params *p = r->params;
    out[0] = nx_hadamard_transform(r->in[0], p->scale, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Hadamard = {
    .name = "Hadamard",
    .id = NX_PRIM_Hadamard,
    .flags = NX_PRIM_DONATES_FIRST | NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_hadamard_params),
    .fields = hadamard_fields,
    .n_fields = 1,
    .row_inputs = 1,
    .infer = infer_hadamard,
    .vjp = vjp_hadamard,
    .vmap = nx_vmap_front,
    .rebuild = rebuild_hadamard,
    .least_in = 1,
    .most_in = 1,
};

static bool has_matrix(int n)
{
    int odd = n;
    while (odd % 2 == 0)
        odd /= 2;
    return odd == 1 || (n % 4 == 0 && (odd == 3 || odd == 5 || odd == 7));
}

nx_array *nx_hadamard_transform(nx_array *a, float scale, nx_stream *s)
{
    nx_hadamard_params p = {scale};
    if (!a)
        return NULL;
    int n = a->ndim ? a->shape[a->ndim - 1] : 1;
    if (a->size == 0)
        return nx_fail_null("[hadamard_transform] an empty array has no transform");
    if (!has_matrix(n))
        return nx_fail_null(
            "[hadamard_transform] %d elements are not m 2^k with m of 1, 12, 20, 28", n);
    if (a->dtype == NX_FLOAT64)
        return nx_fail_null("[hadamard_transform] float64 has no transform: use float32");
    if (n == 1 && isnan(scale))
        return a;
    if (isnan(scale))
        p.scale = 1.0f / sqrtf((float)n);
    if (!nx_dtype_in((nx_dtype)a->dtype, NX_FLOATS))
        a = nx_astype(a, NX_FLOAT32, s);
    return nx_op(&nx_prim_Hadamard, &p, &a, 1, s);
}
