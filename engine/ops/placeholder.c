/*
 * placeholder.c: Placeholder: an array with shape and type and no value: what a function is run on to
 * see what it builds (vmap, compile). Nothing that depends on one can be evaluated.
 */
#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/ops/creation.h"
#include "engine/ops/prims.h"

static bool infer(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    return nx_fail("[Placeholder] a placeholder is made with its shape");
}

static bool refuse(nx_node *n, nx_array **out)
{
    return nx_fail("[eval] Attempting to eval an array during function transformations like compile "
                   "or vmap is not allowed.");
}

const nx_prim nx_prim_Placeholder = {
    .name = "Placeholder",
    .id = NX_PRIM_Placeholder,
    .infer = infer,
    .decompose = refuse,
};

nx_array *nx_placeholder(const int *shape, int ndim, nx_dtype dtype, nx_stream *s)
{
    nx_spec spec;
    nx_spec_set(&spec, shape, ndim, dtype);
    nx_array *a = nx_op_spec(&nx_prim_Placeholder, NULL, NULL, 0, s, &spec);
    a->node->traced = 1;
    return a;
}
