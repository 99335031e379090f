/*
 * compile.h: functions compiled into simplified and fused graphs.
 *
 * The first call with inputs of certain shapes and types traces the function; later calls with the
 * same run the traced graph. The function must have no other effects than its results.
 */
#ifndef MLX_C_COMPILE_H
#define MLX_C_COMPILE_H

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

/* What compiled functions do: nothing special, or with parts of the work left out. */
typedef enum mlx_compile_mode_ {
    MLX_COMPILE_MODE_DISABLED = 0,
    MLX_COMPILE_MODE_NO_SIMPLIFY = 1,
    MLX_COMPILE_MODE_NO_FUSE = 2,
    MLX_COMPILE_MODE_ENABLED = 3,
} mlx_compile_mode;

/* shapeless: one trace serves all shapes of the same number of dimensions. */
int mlx_compile(mlx_closure *res, const mlx_closure fun, bool shapeless);
/* The same under a name of the caller's: traces are kept for fun_id and the constants until
 * erased. */
int mlx_detail_compile(mlx_closure *res, const mlx_closure fun, uintptr_t fun_id, bool shapeless,
                       const uint64_t *constants, size_t constants_num);
/* Forgets all traces. */
int mlx_detail_compile_clear_cache(void);
/* Forgets those of fun_id. */
int mlx_detail_compile_erase(uintptr_t fun_id);
/* From now on compiled functions are simply called. */
int mlx_disable_compile(void);
int mlx_enable_compile(void);
int mlx_set_compile_mode(mlx_compile_mode mode);

#ifdef __cplusplus
}
#endif

#endif
