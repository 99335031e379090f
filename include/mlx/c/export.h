/*
 * export.h: traced functions in files (.mlxfn), to be called without the code that made them.
 *
 * The file holds the graphs of all argument shapes that were exported into it.
 */
#ifndef MLX_C_EXPORT_H
#define MLX_C_EXPORT_H

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

/* Traces fun with args and writes it to file; shapeless: for all shapes of the same ranks. */
int mlx_export_function(const char *file, const mlx_closure fun, const mlx_vector_array args,
                        bool shapeless);
/* With arguments by name. */
int mlx_export_function_kwargs(const char *file, const mlx_closure_kwargs fun,
                               const mlx_vector_array args, const mlx_map_string_to_array kwargs,
                               bool shapeless);

/* Several traces in one file: each apply adds one, for its arguments' shapes. The file is
 * complete when the exporter is freed. */
typedef struct mlx_function_exporter_ {
    void *ctx;
} mlx_function_exporter;

mlx_function_exporter mlx_function_exporter_new(const char *file, const mlx_closure fun,
                                                bool shapeless);
int mlx_function_exporter_free(mlx_function_exporter xfunc);
int mlx_function_exporter_apply(const mlx_function_exporter xfunc, const mlx_vector_array args);
int mlx_function_exporter_apply_kwargs(const mlx_function_exporter xfunc,
                                       const mlx_vector_array args,
                                       const mlx_map_string_to_array kwargs);

/* Functions from files. Applying one to arguments it has no trace for is an error. */
typedef struct mlx_imported_function_ {
    void *ctx;
} mlx_imported_function;

mlx_imported_function mlx_imported_function_new(const char *file);
int mlx_imported_function_free(mlx_imported_function xfunc);
int mlx_imported_function_apply(mlx_vector_array *res, const mlx_imported_function xfunc,
                                const mlx_vector_array args);
int mlx_imported_function_apply_kwargs(mlx_vector_array *res, const mlx_imported_function xfunc,
                                       const mlx_vector_array args,
                                       const mlx_map_string_to_array kwargs);

#ifdef __cplusplus
}
#endif

#endif
