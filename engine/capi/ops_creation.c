/* ops.h: arrays from nothing: constants and ranges. */
#include "engine/capi/capi.h"
#include "engine/ops/creation.h"

int mlx_full(mlx_array *res, const int *shape, size_t shape_num, const mlx_array vals,
             mlx_dtype dtype, const mlx_stream s)
{
    NX_GIVE(nx_full(NX_INTS(shape), NX_ARRAY(vals), NX_DTYPE(dtype), NX_STREAM(s)));
}

int mlx_full_like(mlx_array *res, const mlx_array a, const mlx_array vals, mlx_dtype dtype,
                  const mlx_stream s)
{
    NX_GIVE(nx_full_like(NX_ARRAY(a), NX_ARRAY(vals), NX_DTYPE(dtype), NX_STREAM(s)));
}

int mlx_zeros(mlx_array *res, const int *shape, size_t shape_num, mlx_dtype dtype,
              const mlx_stream s)
{
    NX_GIVE(nx_zeros(NX_INTS(shape), NX_DTYPE(dtype), NX_STREAM(s)));
}

int mlx_ones(mlx_array *res, const int *shape, size_t shape_num, mlx_dtype dtype,
             const mlx_stream s)
{
    NX_GIVE(nx_ones(NX_INTS(shape), NX_DTYPE(dtype), NX_STREAM(s)));
}

NX_UNARY(mlx_zeros_like, nx_zeros_like)
NX_UNARY(mlx_ones_like, nx_ones_like)

int mlx_arange(mlx_array *res, double start, double stop, double step, mlx_dtype dtype,
               const mlx_stream s)
{
    NX_GIVE(nx_arange(start, stop, step, NX_DTYPE(dtype), NX_STREAM(s)));
}

int mlx_linspace(mlx_array *res, double start, double stop, int num, mlx_dtype dtype,
                 const mlx_stream s)
{
    NX_GIVE(nx_linspace(start, stop, num, NX_DTYPE(dtype), NX_STREAM(s)));
}
