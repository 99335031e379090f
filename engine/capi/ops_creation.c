/* ops.h: arrays from nothing: constants, ranges, identities, triangles, windows. */
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

int mlx_eye(mlx_array *res, int n, int m, int k, mlx_dtype dtype, const mlx_stream s)
{
    NX_GIVE(nx_eye(n, m, k, NX_DTYPE(dtype), NX_STREAM(s)));
}

int mlx_identity(mlx_array *res, int n, mlx_dtype dtype, const mlx_stream s)
{
    NX_GIVE(nx_identity(n, NX_DTYPE(dtype), NX_STREAM(s)));
}

int mlx_tri(mlx_array *res, int n, int m, int k, mlx_dtype type, const mlx_stream s)
{
    NX_GIVE(nx_tri(n, m, k, NX_DTYPE(type), NX_STREAM(s)));
}

int mlx_tril(mlx_array *res, const mlx_array x, int k, const mlx_stream s)
{
    NX_GIVE(nx_tril(NX_ARRAY(x), k, NX_STREAM(s)));
}

int mlx_triu(mlx_array *res, const mlx_array x, int k, const mlx_stream s)
{
    NX_GIVE(nx_triu(NX_ARRAY(x), k, NX_STREAM(s)));
}

#define WINDOW(function, builder)                               \
    int function(mlx_array *res, int M, const mlx_stream s)     \
    {                                                           \
        NX_GIVE(builder(M, NX_STREAM(s)));                      \
    }
WINDOW(mlx_bartlett, nx_bartlett)
WINDOW(mlx_blackman, nx_blackman)
WINDOW(mlx_hamming, nx_hamming)
WINDOW(mlx_hanning, nx_hanning)
