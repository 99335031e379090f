/*
 * random.h: random numbers, reproducible from a key.
 *
 * A key is a uint32 array of 2 elements; the same key gives the same numbers. An empty key handle
 * takes the next one from the process's own sequence, which mlx_random_seed starts anew.
 */
#ifndef MLX_C_RANDOM_H
#define MLX_C_RANDOM_H

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

/* Keys. */
/* The key of a seed. */
int mlx_random_key(mlx_array *res, uint64_t seed);
/* Seeds the sequence used where no key is given. */
int mlx_random_seed(uint64_t seed);
/* Two new keys. */
int mlx_random_split(mlx_array *res_0, mlx_array *res_1, const mlx_array key, const mlx_stream s);
/* num new keys, an array [num, 2]. */
int mlx_random_split_num(mlx_array *res, const mlx_array key, int num, const mlx_stream s);

/* Numbers of a given shape and type. */
/* Unsigned integers of width bytes (1, 2 or 4). */
int mlx_random_bits(mlx_array *res, const int *shape, size_t shape_num, int width,
                    const mlx_array key, const mlx_stream s);
/* From low to high, without high; both broadcast to shape. */
int mlx_random_uniform(mlx_array *res, const mlx_array low, const mlx_array high, const int *shape,
                       size_t shape_num, mlx_dtype dtype, const mlx_array key, const mlx_stream s);
/* Integers from low to high, without high. */
int mlx_random_randint(mlx_array *res, const mlx_array low, const mlx_array high, const int *shape,
                       size_t shape_num, mlx_dtype dtype, const mlx_array key, const mlx_stream s);
/* With mean loc and standard deviation scale. */
int mlx_random_normal(mlx_array *res, const int *shape, size_t shape_num, mlx_dtype dtype,
                      float loc, float scale, const mlx_array key, const mlx_stream s);
/* The same with arrays, which broadcast to shape; empty: 0 and 1. */
int mlx_random_normal_broadcast(mlx_array *res, const int *shape, size_t shape_num, mlx_dtype dtype,
                                const mlx_array loc, const mlx_array scale, const mlx_array key,
                                const mlx_stream s);
/* Standard normal, limited to lower .. upper. */
int mlx_random_truncated_normal(mlx_array *res, const mlx_array lower, const mlx_array upper,
                                const int *shape, size_t shape_num, mlx_dtype dtype,
                                const mlx_array key, const mlx_stream s);
/* Vectors with mean [..., n] and covariance [..., n, n]. */
int mlx_random_multivariate_normal(mlx_array *res, const mlx_array mean, const mlx_array cov,
                                   const int *shape, size_t shape_num, mlx_dtype dtype,
                                   const mlx_array key, const mlx_stream s);
int mlx_random_gumbel(mlx_array *res, const int *shape, size_t shape_num, mlx_dtype dtype,
                      const mlx_array key, const mlx_stream s);
int mlx_random_laplace(mlx_array *res, const int *shape, size_t shape_num, mlx_dtype dtype,
                       float loc, float scale, const mlx_array key, const mlx_stream s);
/* true with probability p. */
int mlx_random_bernoulli(mlx_array *res, const mlx_array p, const int *shape, size_t shape_num,
                         const mlx_array key, const mlx_stream s);

/* Indices along axis with probabilities softmax(logits). */
/* One for each of the other axes' elements. */
int mlx_random_categorical(mlx_array *res, const mlx_array logits, int axis, const mlx_array key,
                           const mlx_stream s);
/* Of a shape that the other axes broadcast to. */
int mlx_random_categorical_shape(mlx_array *res, const mlx_array logits, int axis, const int *shape,
                                 size_t shape_num, const mlx_array key, const mlx_stream s);
/* num_samples of them, as a new last axis. */
int mlx_random_categorical_num_samples(mlx_array *res, const mlx_array logits_, int axis,
                                       int num_samples, const mlx_array key, const mlx_stream s);

/* Random orders. */
/* x with its parts along axis in random order. */
int mlx_random_permutation(mlx_array *res, const mlx_array x, int axis, const mlx_array key,
                           const mlx_stream s);
/* 0 .. x - 1 in random order. */
int mlx_random_permutation_arange(mlx_array *res, int x, const mlx_array key, const mlx_stream s);

#ifdef __cplusplus
}
#endif

#endif
