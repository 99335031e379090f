/*
 * random.h: random numbers that depend on a key alone: the same key gives the same bits everywhere
 * (Threefry 2x32, 20 rounds, counted as MLX does). A key is uint32 [2]; where `key` is NULL the next
 * key of this process is taken. Results belong to the build scope.
 */
#ifndef NX_OPS_RANDOM_H
#define NX_OPS_RANDOM_H

#include "engine/core/array.h"

nx_array *nx_random_key(uint64_t seed);
/* Starts the keys of this process anew. */
void nx_random_seed(uint64_t seed);
/* Two keys of one; num keys [num, 2]. */
bool nx_random_split(nx_array *key, nx_stream *s, nx_array **first, nx_array **second);
nx_array *nx_random_split_num(nx_array *key, int num, nx_stream *s);

/* Unsigned integers of `width` bytes: 1, 2 or 4. Several keys [..., 2] give [..., shape]. */
nx_array *nx_random_bits(const int *shape, int ndim, int width, nx_array *key, nx_stream *s);

/* In [low, high); low and high broadcast to the shape. */
nx_array *nx_random_uniform(nx_array *low, nx_array *high, const int *shape, int ndim, nx_dtype dtype,
                            nx_array *key, nx_stream *s);
/* mean loc (NULL: 0) and deviation scale (NULL: 1); also complex64. */
nx_array *nx_random_normal(const int *shape, int ndim, nx_dtype dtype, nx_array *loc, nx_array *scale,
                           nx_array *key, nx_stream *s);
nx_array *nx_random_truncated_normal(nx_array *low, nx_array *high, const int *shape, int ndim,
                                     nx_dtype dtype, nx_array *key, nx_stream *s);
nx_array *nx_random_gumbel(const int *shape, int ndim, nx_dtype dtype, nx_array *key, nx_stream *s);
nx_array *nx_random_laplace(const int *shape, int ndim, nx_dtype dtype, float loc, float scale,
                            nx_array *key, nx_stream *s);
/* multivariate.c. Vectors with means [..., n] and covariances [..., n, n]; float32 alone. */
nx_array *nx_random_multivariate_normal(nx_array *mean, nx_array *cov, const int *shape, int ndim,
                                        nx_dtype dtype, nx_array *key, nx_stream *s);
/* true with probability p */
nx_array *nx_random_bernoulli(nx_array *p, const int *shape, int ndim, nx_array *key, nx_stream *s);
/* Whole numbers in [low, high). */
nx_array *nx_random_randint(nx_array *low, nx_array *high, const int *shape, int ndim, nx_dtype dtype,
                            nx_array *key, nx_stream *s);

/* Indices along `axis` of unnormalised log-probabilities: one for each of the other positions; as
 * many as `shape` says, whose end is the shape of the other positions (or broadcasts to it); num for
 * each, in a new last dimension. */
nx_array *nx_random_categorical(nx_array *logits, int axis, nx_array *key, nx_stream *s);
nx_array *nx_random_categorical_shape(nx_array *logits, int axis, const int *shape, int ndim,
                                      nx_array *key, nx_stream *s);
nx_array *nx_random_categorical_num(nx_array *logits, int axis, int num, nx_array *key, nx_stream *s);

/* 0..n-1 in random order; a with its slices along `axis` so. */
nx_array *nx_random_permutation_arange(int n, nx_array *key, nx_stream *s);
nx_array *nx_random_permutation(nx_array *a, int axis, nx_array *key, nx_stream *s);

#endif
