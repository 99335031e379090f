/* ops.h: comparisons of whole arrays. */
#include "engine/capi/capi.h"
#include "engine/ops/compare.h"

int mlx_array_equal(mlx_array *res, const mlx_array a, const mlx_array b, bool equal_nan,
                    const mlx_stream s)
{
    NX_GIVE(nx_array_equal(NX_ARRAY(a), NX_ARRAY(b), equal_nan, NX_STREAM(s)));
}

int mlx_allclose(mlx_array *res, const mlx_array a, const mlx_array b, double rtol, double atol,
                 bool equal_nan, const mlx_stream s)
{
    NX_GIVE(nx_allclose(NX_ARRAY(a), NX_ARRAY(b), rtol, atol, equal_nan, NX_STREAM(s)));
}
