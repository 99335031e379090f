/* ops.h: reductions, places of extremes, running reductions, softmax. */
#include "engine/capi/capi.h"
#include "engine/ops/reduce.h"
#include "engine/ops/scan.h"
#include "engine/ops/shape.h"
#include "engine/ops/softmax.h"

/* Over all axes, over one, over several. */
#define REDUCTION(name)                                                                            \
    int mlx_##name(mlx_array *res, const mlx_array a, bool keepdims, const mlx_stream s)           \
    {                                                                                              \
        nx_array *x = NX_ARRAY(a);                                                                 \
        NX_GIVE(nx_##name(x, nx_all_axes(), x->ndim, keepdims, NX_STREAM(s)));                     \
    }                                                                                              \
    int mlx_##name##_axis(mlx_array *res, const mlx_array a, int axis, bool keepdims,              \
                          const mlx_stream s)                                                      \
    {                                                                                              \
        NX_GIVE(nx_##name(NX_ARRAY(a), &axis, 1, keepdims, NX_STREAM(s)));                         \
    }                                                                                              \
    int mlx_##name##_axes(mlx_array *res, const mlx_array a, const int *axes, size_t axes_num,     \
                          bool keepdims, const mlx_stream s)                                       \
    {                                                                                              \
        NX_GIVE(nx_##name(NX_ARRAY(a), NX_INTS(axes), keepdims, NX_STREAM(s)));                    \
    }

REDUCTION(all)
REDUCTION(any)
REDUCTION(sum)
REDUCTION(prod)
REDUCTION(max)
REDUCTION(min)
REDUCTION(mean)
REDUCTION(logsumexp)

#define SPREAD(name)                                                                               \
    int mlx_##name(mlx_array *res, const mlx_array a, bool keepdims, int ddof, const mlx_stream s) \
    {                                                                                              \
        nx_array *x = NX_ARRAY(a);                                                                 \
        NX_GIVE(nx_##name(x, nx_all_axes(), x->ndim, keepdims, ddof, NX_STREAM(s)));               \
    }                                                                                              \
    int mlx_##name##_axis(mlx_array *res, const mlx_array a, int axis, bool keepdims, int ddof,    \
                          const mlx_stream s)                                                      \
    {                                                                                              \
        NX_GIVE(nx_##name(NX_ARRAY(a), &axis, 1, keepdims, ddof, NX_STREAM(s)));                   \
    }                                                                                              \
    int mlx_##name##_axes(mlx_array *res, const mlx_array a, const int *axes, size_t axes_num,     \
                          bool keepdims, int ddof, const mlx_stream s)                             \
    {                                                                                              \
        NX_GIVE(nx_##name(NX_ARRAY(a), NX_INTS(axes), keepdims, ddof, NX_STREAM(s)));              \
    }

SPREAD(var)
SPREAD(std)

int mlx_median(mlx_array *res, const mlx_array a, const int *axes, size_t axes_num, bool keepdims,
               const mlx_stream s)
{
    nx_array *x = NX_ARRAY(a);
    if (!axes)
        NX_GIVE(nx_median(x, nx_all_axes(), x->ndim, keepdims, NX_STREAM(s)));
    NX_GIVE(nx_median(x, NX_INTS(axes), keepdims, NX_STREAM(s)));
}

int mlx_softmax(mlx_array *res, const mlx_array a, bool precise, const mlx_stream s)
{
    nx_array *x = NX_ARRAY(a);
    NX_GIVE(nx_softmax(x, nx_all_axes(), x->ndim, precise, NX_STREAM(s)));
}

int mlx_softmax_axis(mlx_array *res, const mlx_array a, int axis, bool precise, const mlx_stream s)
{
    NX_GIVE(nx_softmax(NX_ARRAY(a), &axis, 1, precise, NX_STREAM(s)));
}

int mlx_softmax_axes(mlx_array *res, const mlx_array a, const int *axes, size_t axes_num,
                     bool precise, const mlx_stream s)
{
    NX_GIVE(nx_softmax(NX_ARRAY(a), NX_INTS(axes), precise, NX_STREAM(s)));
}

#define PLACE(name)                                                                                \
    int mlx_##name(mlx_array *res, const mlx_array a, bool keepdims, const mlx_stream s)           \
    {                                                                                              \
        NX_GIVE(nx_##name##_flat(NX_ARRAY(a), keepdims, NX_STREAM(s)));                            \
    }                                                                                              \
    int mlx_##name##_axis(mlx_array *res, const mlx_array a, int axis, bool keepdims,              \
                          const mlx_stream s)                                                      \
    {                                                                                              \
        NX_GIVE(nx_##name(NX_ARRAY(a), axis, keepdims, NX_STREAM(s)));                             \
    }

PLACE(argmax)
PLACE(argmin)

#define SCAN(name)                                                                                 \
    int mlx_##name(mlx_array *res, const mlx_array a, int axis, bool reverse, bool inclusive,      \
                   const mlx_stream s)                                                             \
    {                                                                                              \
        NX_GIVE(nx_##name(NX_ARRAY(a), axis, reverse, inclusive, NX_STREAM(s)));                   \
    }

SCAN(cumsum)
SCAN(cumprod)
SCAN(cummax)
SCAN(cummin)
SCAN(logcumsumexp)
