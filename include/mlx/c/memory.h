/*
 * memory.h: the memory that arrays take, in bytes.
 *
 * Freed memory is kept in a cache for reuse. Setters put the former limit into *res.
 */
#ifndef MLX_C_MEMORY_H
#define MLX_C_MEMORY_H

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

/* Held by arrays now. */
int mlx_get_active_memory(size_t *res);
/* The most that was ever held since the start or the last reset. */
int mlx_get_peak_memory(size_t *res);
int mlx_reset_peak_memory(void);
/* Held by the cache. */
int mlx_get_cache_memory(size_t *res);
/* Gives the cached memory back to the system. */
int mlx_clear_cache(void);
int mlx_get_memory_limit(size_t *res);
/* A guide: over it, the cache is emptied before more is asked for. */
int mlx_set_memory_limit(size_t *res, size_t limit);
/* The most the cache may keep; 0 switches it off. */
int mlx_set_cache_limit(size_t *res, size_t limit);
/* Memory kept resident for a GPU; has an effect on Metal alone. */
int mlx_set_wired_limit(size_t *res, size_t limit);

#ifdef __cplusplus
}
#endif

#endif
