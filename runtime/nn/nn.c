#include "runtime/nn/nn.h"

#include <string.h>

#include "base/error.h"

/* What the engine may keep of freed arrays. A pass reuses a few temporaries; more would be room that
 * a grown KV cache left behind, of a size nobody asks for again. */
enum { KEPT_BYTES = 32 << 20 };

void nn_init(nn *c)
{
    *c = (nn){0};
    mlx_device d = mlx_device_new();
    mlx_device_type type = MLX_CPU;
    mlx_get_default_device(&d);
    mlx_device_get_type(&type, d);
    c->s = type == MLX_GPU ? mlx_default_gpu_stream_new() : mlx_default_cpu_stream_new();
    mlx_device_free(d);
    size_t before;
    if (type == MLX_CPU)
        mlx_set_cache_limit(&before, KEPT_BYTES);
}

void nn_reset(nn *c)
{
    for (size_t i = 0; i < c->temps.n; i++)
        mlx_array_free(c->temps.at[i]);
    c->temps.n = 0;
    c->failed = false;
}

void nn_clear(nn *c)
{
    nn_reset(c);
    nx_vec_clear(&c->temps);
    mlx_stream_free(c->s);
    c->s = (mlx_stream){0};
}

bool nn_call_begin_(nn *c)
{
    nx_vec_push(&c->temps, mlx_array_new());
    return !c->failed;
}

mlx_array nn_call_end_(nn *c, int status)
{
    if (status)
        c->failed = true;
    return nx_vec_last(&c->temps);
}

mlx_array nn_own(nn *c, int status, mlx_array a)
{
    nx_vec_push(&c->temps, a);
    return nn_call_end_(c, status);
}

mlx_array nn_add(nn *c, mlx_array a, mlx_array b)
{
    return NN_CALL(c, mlx_add, a, b);
}

mlx_array nn_mul(nn *c, mlx_array a, mlx_array b)
{
    return NN_CALL(c, mlx_multiply, a, b);
}

mlx_array nn_silu(nn *c, mlx_array x)
{
    mlx_array gate = NN_CALL(c, mlx_sigmoid, x);
    return nn_mul(c, x, gate);
}

mlx_array nn_astype(nn *c, mlx_array x, mlx_dtype dtype)
{
    if (c->failed || mlx_array_dtype(x) == dtype)
        return x;
    return NN_CALL(c, mlx_astype, x, dtype);
}

mlx_array nn_reshape(nn *c, mlx_array x, const int *shape, int ndim)
{
    return NN_CALL(c, mlx_reshape, x, shape, (size_t)ndim);
}

mlx_array nn_transpose(nn *c, mlx_array x, const int *axes, int ndim)
{
    return NN_CALL(c, mlx_transpose_axes, x, axes, (size_t)ndim);
}

mlx_array nn_rows(nn *c, mlx_array x, int begin, int end)
{
    enum { MOST = 8 };
    int start[MOST] = {begin}, stop[MOST] = {end}, step[MOST];
    if (c->failed || (begin == 0 && end == mlx_array_dim(x, 0)))
        return x;
    size_t ndim = mlx_array_ndim(x);
    NX_BUG_IF(ndim > MOST);
    for (size_t i = 0; i < ndim; i++) {
        step[i] = 1;
        if (i > 0)
            stop[i] = mlx_array_dim(x, (int)i);
    }
    return NN_CALL(c, mlx_slice, x, start, ndim, stop, ndim, step, ndim);
}

mlx_array nn_concat_rows(nn *c, const mlx_array *parts, int n)
{
    if (c->failed || n == 1)
        return parts[0];
    mlx_vector_array v = mlx_vector_array_new_data(parts, (size_t)n);
    mlx_array r = NN_CALL(c, mlx_concatenate_axis, v, 0);
    mlx_vector_array_free(v);
    return r;
}

mlx_array nn_rms_norm(nn *c, mlx_array x, mlx_array weight, float eps)
{
    return NN_CALL(c, mlx_fast_rms_norm, x, weight, eps);
}
