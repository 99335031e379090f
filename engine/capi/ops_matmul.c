/* ops.h: products of matrices. */
#include "engine/capi/capi.h"
#include "engine/ops/matmul.h"

NX_BINARY(mlx_matmul, nx_matmul)

int mlx_addmm(mlx_array *res, const mlx_array c, const mlx_array a, const mlx_array b, float alpha,
              float beta, const mlx_stream s)
{
    NX_GIVE(nx_addmm(NX_ARRAY(c), NX_ARRAY(a), NX_ARRAY(b), alpha, beta, NX_STREAM(s)));
}

int mlx_gather_mm(mlx_array *res, const mlx_array a, const mlx_array b, const mlx_array lhs_indices,
                  const mlx_array rhs_indices, bool sorted_indices, const mlx_stream s)
{
    NX_GIVE(nx_gather_mm(NX_ARRAY(a), NX_ARRAY(b), NX_ARRAY_OR_NULL(lhs_indices),
                         NX_ARRAY_OR_NULL(rhs_indices), sorted_indices, NX_STREAM(s)));
}

int mlx_block_masked_mm(mlx_array *res, const mlx_array a, const mlx_array b, int block_size,
                        const mlx_array mask_out, const mlx_array mask_lhs,
                        const mlx_array mask_rhs, const mlx_stream s)
{
    NX_GIVE(nx_block_masked_mm(NX_ARRAY(a), NX_ARRAY(b), block_size, NX_ARRAY_OR_NULL(mask_out),
                               NX_ARRAY_OR_NULL(mask_lhs), NX_ARRAY_OR_NULL(mask_rhs), NX_STREAM(s)));
}

int mlx_segmented_mm(mlx_array *res, const mlx_array a, const mlx_array b, const mlx_array segments,
                     const mlx_stream s)
{
    NX_GIVE(nx_segmented_mm(NX_ARRAY(a), NX_ARRAY(b), NX_ARRAY(segments), NX_STREAM(s)));
}
