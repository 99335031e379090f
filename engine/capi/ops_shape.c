/* ops.h: shapes, orders of axes, joining, splitting, repeating, padding, diagonals. */
#include "engine/capi/capi.h"
#include "engine/ops/broadcast.h"

int mlx_broadcast_to(mlx_array *res, const mlx_array a, const int *shape, size_t shape_num,
                     const mlx_stream s)
{
    NX_GIVE(nx_broadcast_to(NX_ARRAY(a), NX_INTS(shape), NX_STREAM(s)));
}

int mlx_broadcast_arrays(mlx_vector_array *res, const mlx_vector_array inputs, const mlx_stream s)
{
    const nx_array_vec *in = NX_ARRAYS(inputs);
    NX_OUTPUTS(out, in->n);
    for (size_t i = 0; i < in->n; i++)
        out[i] = in->at[i];
    NX_GIVE_VECTOR(out, in->n, nx_broadcast_arrays(out, (int)in->n, NX_STREAM(s)));
}
