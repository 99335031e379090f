/* ops.h: products of arrays other than of matrices. */
#include <math.h>

#include "engine/capi/capi.h"
#include "engine/ops/product.h"

int mlx_hadamard_transform(mlx_array *res, const mlx_array a, mlx_optional_float scale,
                           const mlx_stream s)
{
    NX_GIVE(nx_hadamard_transform(NX_ARRAY(a), scale.has_value ? scale.value : NAN, NX_STREAM(s)));
}
