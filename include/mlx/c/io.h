/*
 * io.h: arrays from files and into files. Saving evaluates.
 */
#ifndef MLX_C_IO_H
#define MLX_C_IO_H

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

/* One array in a .npy file. */
int mlx_load(mlx_array *res, const char *file, const mlx_stream s);
int mlx_load_reader(mlx_array *res, mlx_io_reader in_stream, const mlx_stream s);
int mlx_save(const char *file, const mlx_array a);
int mlx_save_writer(mlx_io_writer out_stream, const mlx_array a);

/* Named arrays and metadata in a .safetensors file. */
/* *res_0 becomes the arrays, *res_1 the metadata. */
int mlx_load_safetensors(mlx_map_string_to_array *res_0, mlx_map_string_to_string *res_1,
                         const char *file, const mlx_stream s);
int mlx_load_safetensors_reader(mlx_map_string_to_array *res_0, mlx_map_string_to_string *res_1,
                                mlx_io_reader in_stream, const mlx_stream s);
int mlx_save_safetensors(const char *file, const mlx_map_string_to_array param,
                         const mlx_map_string_to_string metadata);
int mlx_save_safetensors_writer(mlx_io_writer in_stream, const mlx_map_string_to_array param,
                                const mlx_map_string_to_string metadata);

/* Named arrays and metadata in a .gguf file.
 *
 * Loading: Q4_0, Q4_1 and Q8_0 tensors stay packed as affine codes of groups of 32: "x.weight" gives
 * x.weight (uint32), x.scales and x.biases (float16). (MLX 0.31 misplaces the codes of Q4_1.) Other
 * blocks and BF16 become float16; F32, F16, F64 and integers stay as they are, in the mapped file.
 *
 * Saving: float32, float16, int8, int16 and int32 arrays; metadata of at most one dimension, of all
 * types but float16, bfloat16, float64 and complex64. The ending .gguf is added where it is not there. */
int mlx_load_gguf(mlx_io_gguf *gguf, const char *file, const mlx_stream s);
int mlx_save_gguf(const char *file, mlx_io_gguf gguf);

#ifdef __cplusplus
}
#endif

#endif
