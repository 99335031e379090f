/* ops.h: elements by index: take, gather, scatter. */
#include "engine/capi/capi.h"
#include "engine/ops/index.h"

int mlx_take(mlx_array *res, const mlx_array a, const mlx_array indices, const mlx_stream s)
{
    NX_GIVE(nx_take(NX_ARRAY(a), NX_ARRAY(indices), NX_STREAM(s)));
}

int mlx_take_axis(mlx_array *res, const mlx_array a, const mlx_array indices, int axis,
                  const mlx_stream s)
{
    NX_GIVE(nx_take_axis(NX_ARRAY(a), NX_ARRAY(indices), axis, NX_STREAM(s)));
}

int mlx_take_along_axis(mlx_array *res, const mlx_array a, const mlx_array indices, int axis,
                        const mlx_stream s)
{
    NX_GIVE(nx_take_along_axis(NX_ARRAY(a), NX_ARRAY(indices), axis, NX_STREAM(s)));
}

int mlx_put_along_axis(mlx_array *res, const mlx_array a, const mlx_array indices,
                       const mlx_array values, int axis, const mlx_stream s)
{
    NX_GIVE(
        nx_put_along_axis(NX_ARRAY(a), NX_ARRAY(indices), NX_ARRAY(values), axis, NX_STREAM(s)));
}

int mlx_scatter_add_axis(mlx_array *res, const mlx_array a, const mlx_array indices,
                         const mlx_array values, int axis, const mlx_stream s)
{
    NX_GIVE(
        nx_scatter_add_axis(NX_ARRAY(a), NX_ARRAY(indices), NX_ARRAY(values), axis, NX_STREAM(s)));
}

int mlx_gather(mlx_array *res, const mlx_array a, const mlx_vector_array indices, const int *axes,
               size_t axes_num, const int *slice_sizes, size_t slice_sizes_num, const mlx_stream s)
{
    NX_GIVE(nx_gather(NX_ARRAY(a), NX_ARRAY_LIST(indices), NX_INTS(axes), NX_INTS(slice_sizes),
                      NX_STREAM(s)));
}

int mlx_gather_single(mlx_array *res, const mlx_array a, const mlx_array indices, int axis,
                      const int *slice_sizes, size_t slice_sizes_num, const mlx_stream s)
{
    nx_array *index = NX_ARRAY(indices);
    NX_GIVE(nx_gather(NX_ARRAY(a), &index, 1, &axis, 1, NX_INTS(slice_sizes), NX_STREAM(s)));
}

#define SCATTER(function, mode)                                                                    \
    int function(mlx_array *res, const mlx_array a, const mlx_vector_array indices,                \
                 const mlx_array updates, const int *axes, size_t axes_num, const mlx_stream s)    \
    {                                                                                              \
        NX_GIVE(nx_scatter(mode, NX_ARRAY(a), NX_ARRAY_LIST(indices), NX_ARRAY(updates),           \
                           NX_INTS(axes), NX_STREAM(s)));                                          \
    }                                                                                              \
    int function##_single(mlx_array *res, const mlx_array a, const mlx_array indices,              \
                          const mlx_array updates, int axis, const mlx_stream s)                   \
    {                                                                                              \
        nx_array *index = NX_ARRAY(indices);                                                       \
        NX_GIVE(                                                                                   \
            nx_scatter(mode, NX_ARRAY(a), &index, 1, NX_ARRAY(updates), &axis, 1, NX_STREAM(s)));  \
    }
SCATTER(mlx_scatter, NX_UPDATE_NONE)
SCATTER(mlx_scatter_add, NX_UPDATE_ADD)
SCATTER(mlx_scatter_max, NX_UPDATE_MAX)
SCATTER(mlx_scatter_min, NX_UPDATE_MIN)
SCATTER(mlx_scatter_prod, NX_UPDATE_PROD)

int mlx_masked_scatter(mlx_array *res, const mlx_array a, const mlx_array mask, const mlx_array src,
                       const mlx_stream s)
{
    NX_GIVE(nx_masked_scatter(NX_ARRAY(a), NX_ARRAY(mask), NX_ARRAY(src), NX_STREAM(s)));
}
