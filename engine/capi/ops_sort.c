/* ops.h: orders along an axis; without one, of the flattened array. */
#include "engine/capi/capi.h"
#include "engine/ops/shape.h"
#include "engine/ops/sort.h"

#define ORDER(name)                                                                                \
    int mlx_##name(mlx_array *res, const mlx_array a, const mlx_stream s)                          \
    {                                                                                              \
        NX_GIVE(nx_##name(nx_flatten_all(NX_ARRAY(a), NX_STREAM(s)), 0, NX_STREAM(s)));            \
    }                                                                                              \
    int mlx_##name##_axis(mlx_array *res, const mlx_array a, int axis, const mlx_stream s)         \
    {                                                                                              \
        NX_GIVE(nx_##name(NX_ARRAY(a), axis, NX_STREAM(s)));                                       \
    }

ORDER(sort)
ORDER(argsort)

#define SELECTION(name, number)                                                                    \
    int mlx_##name(mlx_array *res, const mlx_array a, int number, const mlx_stream s)              \
    {                                                                                              \
        NX_GIVE(nx_##name(nx_flatten_all(NX_ARRAY(a), NX_STREAM(s)), number, 0, NX_STREAM(s)));    \
    }                                                                                              \
    int mlx_##name##_axis(mlx_array *res, const mlx_array a, int number, int axis,                 \
                          const mlx_stream s)                                                      \
    {                                                                                              \
        NX_GIVE(nx_##name(NX_ARRAY(a), number, axis, NX_STREAM(s)));                               \
    }

SELECTION(partition, kth)
SELECTION(argpartition, kth)
SELECTION(topk, k)
