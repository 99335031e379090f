/*
 * metal.h: whether the library can use an Apple GPU, and captures of its work.
 */
#ifndef MLX_C_METAL_H
#define MLX_C_METAL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "mlx/c/array.h"
#include "mlx/c/closure.h"
#include "mlx/c/distributed_group.h"
#include "mlx/c/io_types.h"
#include "mlx/c/map.h"
#include "mlx/c/stream.h"
#include "mlx/c/string.h"
#include "mlx/c/vector.h"

#ifdef __cplusplus
extern "C" {
#endif

int mlx_metal_is_available(bool *res);
/* Records the GPU's work to the file at path; where there is no Metal, nothing happens. */
int mlx_metal_start_capture(const char *path);
int mlx_metal_stop_capture(void);

#ifdef __cplusplus
}
#endif

#endif
