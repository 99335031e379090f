/* ops.h: products of arrays other than of matrices. */
#include <math.h>

#include "engine/capi/capi.h"
#include "engine/ops/product.h"

NX_BINARY(mlx_inner, nx_inner)
NX_BINARY(mlx_outer, nx_outer)
NX_BINARY(mlx_kron, nx_kron)

int mlx_tensordot(mlx_array *res, const mlx_array a, const mlx_array b, const int *axes_a,
                  size_t axes_a_num, const int *axes_b, size_t axes_b_num, const mlx_stream s)
{
    NX_GIVE(nx_tensordot(NX_ARRAY(a), NX_ARRAY(b), NX_INTS(axes_a), NX_INTS(axes_b), NX_STREAM(s)));
}

int mlx_tensordot_axis(mlx_array *res, const mlx_array a, const mlx_array b, int axis,
                       const mlx_stream s)
{
    NX_GIVE(nx_tensordot_axis(NX_ARRAY(a), NX_ARRAY(b), axis, NX_STREAM(s)));
}

int mlx_einsum(mlx_array *res, const char *subscripts, const mlx_vector_array operands,
               const mlx_stream s)
{
    NX_GIVE(nx_einsum(NX_POINTER(subscripts), NX_ARRAY_LIST(operands), NX_STREAM(s)));
}

int mlx_hadamard_transform(mlx_array *res, const mlx_array a, mlx_optional_float scale,
                           const mlx_stream s)
{
    NX_GIVE(nx_hadamard_transform(NX_ARRAY(a), scale.has_value ? scale.value : NAN, NX_STREAM(s)));
}
