/* memory.h. */
#include "engine/capi/capi.h"

int mlx_clear_cache(void)
{
    nx_memory_clear_cache();
    return 0;
}

int mlx_reset_peak_memory(void)
{
    nx_memory_reset_peak();
    return 0;
}

static int give_size(size_t *res, size_t size)
{
    *NX_POINTER(res) = size;
    return 0;
}

int mlx_get_active_memory(size_t *res)
{
    return give_size(res, nx_memory_active());
}

int mlx_get_cache_memory(size_t *res)
{
    return give_size(res, nx_memory_cached());
}

int mlx_get_memory_limit(size_t *res)
{
    return give_size(res, nx_memory_limit());
}

int mlx_get_peak_memory(size_t *res)
{
    return give_size(res, nx_memory_peak());
}

int mlx_set_cache_limit(size_t *res, size_t limit)
{
    return give_size(NX_POINTER(res), nx_memory_set_cache_limit(limit));
}

int mlx_set_memory_limit(size_t *res, size_t limit)
{
    return give_size(NX_POINTER(res), nx_memory_set_limit(limit));
}

int mlx_set_wired_limit(size_t *res, size_t limit)
{
    return give_size(NX_POINTER(res), nx_memory_set_wired_limit(limit));
}
