/* ops.h: element by element: copies, types, arithmetic, comparisons, logic, choosing. */
#include "engine/capi/capi.h"
#include "engine/ops/elementwise.h"

int mlx_astype(mlx_array *res, const mlx_array a, mlx_dtype dtype, const mlx_stream s)
{
    NX_GIVE(nx_astype(NX_ARRAY(a), NX_DTYPE(dtype), NX_STREAM(s)));
}

NX_UNARY(mlx_copy, nx_copy)
