/* compare.c: comparisons of whole arrays, from those of elements. */
#include "engine/ops/compare.h"

#include "engine/ops/elementwise.h"
#include "engine/ops/reduce.h"

static nx_array *everywhere(nx_array *a, nx_stream *s)
{
    return a ? nx_all(a, nx_all_axes(), a->ndim, false, s) : NULL;
}

nx_array *nx_array_equal(nx_array *a, nx_array *b, bool equal_nan, nx_stream *s)
{
    if (!a || !b)
        return NULL;
    if (!nx_shape_equal(a->shape, a->ndim, b->shape, b->ndim))
        return nx_scalar_bool(false);
    return everywhere(equal_nan ? nx_equal_nan(a, b, s) : nx_equal(a, b, s), s);
}

nx_array *nx_allclose(nx_array *a, nx_array *b, double rtol, double atol, bool equal_nan,
                      nx_stream *s)
{
    return everywhere(nx_isclose(a, b, rtol, atol, equal_nan, s), s);
}
