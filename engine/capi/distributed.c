/* distributed.h, distributed_group.h. A group lives as long as the process, so its handle is the
 * nx_group itself; an empty one stands for the group of all processes. */
#include "engine/capi/capi.h"
#include "engine/dist/exchange.h"

mlx_distributed_group mlx_distributed_group_new(void)
{
    return (mlx_distributed_group){NULL};
}

int mlx_distributed_group_free(mlx_distributed_group group)
{
    return 0;
}

int mlx_distributed_init(mlx_distributed_group *res, bool strict, const char *bk)
{
    nx_group *g = nx_group_init(strict, bk ? bk : "any");
    if (!g)
        return nx_report();
    NX_POINTER(res)->ctx = g;
    return 0;
}

int mlx_distributed_group_rank(mlx_distributed_group group)
{
    return nx_group_rank(nx_group_or_all(group.ctx));
}

int mlx_distributed_group_size(mlx_distributed_group group)
{
    return nx_group_size(nx_group_or_all(group.ctx));
}

int mlx_distributed_group_split(mlx_distributed_group *res, mlx_distributed_group group, int color,
                                int key)
{
    nx_group *g = nx_group_split(nx_group_or_all(group.ctx), color, key);
    if (!g)
        return nx_report();
    NX_POINTER(res)->ctx = g;
    return 0;
}

bool mlx_distributed_is_available(const char *bk)
{
    return nx_group_is_available(bk ? bk : "any");
}

int mlx_distributed_all_gather(mlx_array *res, const mlx_array x, const mlx_distributed_group group,
                               const mlx_stream S)
{
    NX_GIVE(nx_all_gather(NX_ARRAY(x), group.ctx, NX_STREAM(S)));
}

#define ALL_REDUCE(name, combine)                                                                  \
    int mlx_distributed_##name(mlx_array *res, const mlx_array x,                                  \
                               const mlx_distributed_group group, const mlx_stream s)              \
    {                                                                                              \
        NX_GIVE(nx_all_reduce(NX_ARRAY(x), combine, group.ctx, NX_STREAM(s)));                     \
    }
ALL_REDUCE(all_sum, NX_COMBINE_SUM)
ALL_REDUCE(all_max, NX_COMBINE_MAX)
ALL_REDUCE(all_min, NX_COMBINE_MIN)

int mlx_distributed_sum_scatter(mlx_array *res, const mlx_array x,
                                const mlx_distributed_group group, const mlx_stream s)
{
    NX_GIVE(nx_sum_scatter(NX_ARRAY(x), group.ctx, NX_STREAM(s)));
}

int mlx_distributed_send(mlx_array *res, const mlx_array x, int dst,
                         const mlx_distributed_group group, const mlx_stream s)
{
    NX_GIVE(nx_send(NX_ARRAY(x), dst, group.ctx, NX_STREAM(s)));
}

int mlx_distributed_recv(mlx_array *res, const int *shape, size_t shape_num, mlx_dtype dtype,
                         int src, const mlx_distributed_group group, const mlx_stream s)
{
    NX_GIVE(nx_recv(NX_INTS(shape), NX_DTYPE(dtype), src, group.ctx, NX_STREAM(s)));
}

int mlx_distributed_recv_like(mlx_array *res, const mlx_array x, int src,
                              const mlx_distributed_group group, const mlx_stream s)
{
    const nx_array *like = NX_ARRAY(x);
    NX_GIVE(nx_recv(like->shape, like->ndim, (nx_dtype)like->dtype, src, group.ctx, NX_STREAM(s)));
}
