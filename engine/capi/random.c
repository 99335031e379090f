/* random.h: keys, bits and distributions. An empty key takes the next one of this process. */
#include "engine/capi/capi.h"
#include "engine/ops/random.h"

#define SHAPE NX_INTS(shape)
#define KEY   NX_ARRAY_OR_NULL(key)

int mlx_random_key(mlx_array *res, uint64_t seed)
{
    NX_GIVE(nx_random_key(seed));
}

int mlx_random_seed(uint64_t seed)
{
    nx_random_seed(seed);
    return 0;
}

int mlx_random_split_num(mlx_array *res, const mlx_array key, int num, const mlx_stream s)
{
    NX_GIVE(nx_random_split_num(NX_ARRAY(key), num, NX_STREAM(s)));
}

int mlx_random_split(mlx_array *res_0, mlx_array *res_1, const mlx_array key, const mlx_stream s)
{
    NX_SCOPE;
    nx_array *first, *second;
    if (!nx_random_split(NX_ARRAY(key), NX_STREAM(s), &first, &second))
        return nx_report();
    int status = nx_give(res_0, first, __func__);
    return status ? status : nx_give(res_1, second, __func__);
}

int mlx_random_bits(mlx_array *res, const int *shape, size_t shape_num, int width,
                    const mlx_array key, const mlx_stream s)
{
    NX_GIVE(nx_random_bits(SHAPE, width, KEY, NX_STREAM(s)));
}

int mlx_random_uniform(mlx_array *res, const mlx_array low, const mlx_array high, const int *shape,
                       size_t shape_num, mlx_dtype dtype, const mlx_array key, const mlx_stream s)
{
    NX_GIVE(nx_random_uniform(NX_ARRAY(low), NX_ARRAY(high), SHAPE, NX_DTYPE(dtype), KEY,
                              NX_STREAM(s)));
}

int mlx_random_normal(mlx_array *res, const int *shape, size_t shape_num, mlx_dtype dtype, float loc,
                      float scale, const mlx_array key, const mlx_stream s)
{
    NX_GIVE(nx_random_normal(SHAPE, NX_DTYPE(dtype), loc == 0 ? NULL : nx_scalar_float(loc),
                             scale == 1 ? NULL : nx_scalar_float(scale), KEY, NX_STREAM(s)));
}

int mlx_random_normal_broadcast(mlx_array *res, const int *shape, size_t shape_num, mlx_dtype dtype,
                                const mlx_array loc, const mlx_array scale, const mlx_array key,
                                const mlx_stream s)
{
    NX_GIVE(nx_random_normal(SHAPE, NX_DTYPE(dtype), NX_ARRAY_OR_NULL(loc), NX_ARRAY_OR_NULL(scale),
                             KEY, NX_STREAM(s)));
}

int mlx_random_truncated_normal(mlx_array *res, const mlx_array lower, const mlx_array upper,
                                const int *shape, size_t shape_num, mlx_dtype dtype,
                                const mlx_array key, const mlx_stream s)
{
    NX_GIVE(nx_random_truncated_normal(NX_ARRAY(lower), NX_ARRAY(upper), SHAPE, NX_DTYPE(dtype), KEY,
                                       NX_STREAM(s)));
}

int mlx_random_gumbel(mlx_array *res, const int *shape, size_t shape_num, mlx_dtype dtype,
                      const mlx_array key, const mlx_stream s)
{
    NX_GIVE(nx_random_gumbel(SHAPE, NX_DTYPE(dtype), KEY, NX_STREAM(s)));
}

int mlx_random_laplace(mlx_array *res, const int *shape, size_t shape_num, mlx_dtype dtype, float loc,
                       float scale, const mlx_array key, const mlx_stream s)
{
    NX_GIVE(nx_random_laplace(SHAPE, NX_DTYPE(dtype), loc, scale, KEY, NX_STREAM(s)));
}

int mlx_random_bernoulli(mlx_array *res, const mlx_array p, const int *shape, size_t shape_num,
                         const mlx_array key, const mlx_stream s)
{
    NX_GIVE(nx_random_bernoulli(NX_ARRAY(p), SHAPE, KEY, NX_STREAM(s)));
}

int mlx_random_randint(mlx_array *res, const mlx_array low, const mlx_array high, const int *shape,
                       size_t shape_num, mlx_dtype dtype, const mlx_array key, const mlx_stream s)
{
    NX_GIVE(nx_random_randint(NX_ARRAY(low), NX_ARRAY(high), SHAPE, NX_DTYPE(dtype), KEY,
                              NX_STREAM(s)));
}

int mlx_random_categorical(mlx_array *res, const mlx_array logits, int axis, const mlx_array key,
                           const mlx_stream s)
{
    NX_GIVE(nx_random_categorical(NX_ARRAY(logits), axis, KEY, NX_STREAM(s)));
}

int mlx_random_categorical_shape(mlx_array *res, const mlx_array logits, int axis, const int *shape,
                                 size_t shape_num, const mlx_array key, const mlx_stream s)
{
    NX_GIVE(nx_random_categorical_shape(NX_ARRAY(logits), axis, SHAPE, KEY, NX_STREAM(s)));
}

int mlx_random_categorical_num_samples(mlx_array *res, const mlx_array logits_, int axis,
                                       int num_samples, const mlx_array key, const mlx_stream s)
{
    NX_GIVE(nx_random_categorical_num(NX_ARRAY(logits_), axis, num_samples, KEY, NX_STREAM(s)));
}

int mlx_random_permutation(mlx_array *res, const mlx_array x, int axis, const mlx_array key,
                           const mlx_stream s)
{
    NX_GIVE(nx_random_permutation(NX_ARRAY(x), axis, KEY, NX_STREAM(s)));
}

int mlx_random_permutation_arange(mlx_array *res, int x, const mlx_array key, const mlx_stream s)
{
    NX_GIVE(nx_random_permutation_arange(x, KEY, NX_STREAM(s)));
}

int mlx_random_multivariate_normal(mlx_array *res, const mlx_array mean, const mlx_array cov,
                                   const int *shape, size_t shape_num, mlx_dtype dtype,
                                   const mlx_array key, const mlx_stream s)
{
    NX_GIVE(nx_random_multivariate_normal(NX_ARRAY(mean), NX_ARRAY(cov), SHAPE, NX_DTYPE(dtype), KEY,
                                          NX_STREAM(s)));
}
