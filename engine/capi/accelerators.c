/* cuda.h, metal.h: which kinds of GPU there are. Metal is Apple's engine's alone. */
#include <string.h>

#include "engine/capi/capi.h"

int mlx_cuda_is_available(bool *res)
{
    const nx_backend *gpu = nx_device_backend((nx_device){NX_GPU, 0});
    *NX_POINTER(res) = gpu && strcmp(gpu->name, "cuda") == 0;
    return 0;
}

int mlx_metal_is_available(bool *res)
{
    *NX_POINTER(res) = false;
    return 0;
}

int mlx_metal_start_capture(const char *path)
{
    return 0;
}

int mlx_metal_stop_capture(void)
{
    return 0;
}
