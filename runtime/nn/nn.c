#include "runtime/nn/nn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/nn/engine.h"

/* What the engine may keep of freed arrays: the temporaries of a layer, for the next one. A prompt's of a large model are
 * this many; without them each layer asks Linux for new pages. */
enum { KEPT_BYTES = 128 << 20 };

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

void nn_release(nn *c, size_t mark, mlx_array kept)
{
    bool found = false;
    for (size_t i = mark; i < c->temps.n; i++) {
        if (c->temps.at[i].ctx == kept.ctx && !found)
            found = true;
        else
            mlx_array_free(c->temps.at[i]);
    }
    c->temps.n = mark;
    if (found)
        nx_vec_push(&c->temps, kept);
}

void nn_clear(nn *c)
{
    nn_reset(c);
    nx_vec_clear(&c->temps);
    for (int i = 0; i < NN_ACTS; i++)
        mlx_closure_free(c->gated[i]);
    memset(c->gated, 0, sizeof c->gated);
    mlx_stream_free(c->s);
    c->s = (mlx_stream){0};
}

bool nn_call_begin_(nn *c)
{
    NX_BUG_IF(c->depth == NN_CALL_DEPTH);
    c->out[c->depth++] = mlx_array_new();
    return !c->failed;
}

void nn_fail(nn *c)
{
    if (c->failed) /* what follows a failure fails too; the first one is the reason */
        nx_fail("%s", c->message);
    else
        snprintf(c->message, sizeof c->message, "%s", nx_error_message());
    c->failed = true;
}

mlx_array nn_call_end_(nn *c, int status)
{
    return nn_own(c, status, c->out[--c->depth]);
}

mlx_array nn_own(nn *c, int status, mlx_array a)
{
    nx_vec_push(&c->temps, a);
    if (status)
        nn_fail(c);
    return a;
}

mlx_array nn_own_item(nn *c, int status, mlx_vector_array from, size_t i)
{
    mlx_array a = mlx_array_new();
    status = status || mlx_vector_array_get(&a, from, i);
    return nn_own(c, status, a);
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

mlx_array nn_layer_norm(nn *c, mlx_array x, mlx_array weight, mlx_array bias, float eps)
{
    return NN_CALL(c, mlx_fast_layer_norm, x, weight, bias, eps);
}

mlx_array nn_slice_step(nn *c, mlx_array x, int axis, int begin, int end, int stride)
{
    enum { MOST = 8 };
    int start[MOST] = {0}, stop[MOST], step[MOST];
    if (c->failed)
        return x;
    int ndim = (int)mlx_array_ndim(x);
    axis += axis < 0 ? ndim : 0;
    NX_BUG_IF(ndim > MOST || axis < 0 || axis >= ndim);
    for (int i = 0; i < ndim; i++) {
        stop[i] = mlx_array_dim(x, i);
        step[i] = 1;
    }
    if (begin == 0 && end == stop[axis] && stride == 1)
        return x;
    start[axis] = begin;
    stop[axis] = end;
    step[axis] = stride;
    size_t n = (size_t)ndim;
    return NN_CALL(c, mlx_slice, x, start, n, stop, n, step, n);
}

mlx_array nn_slice(nn *c, mlx_array x, int axis, int begin, int end)
{
    return nn_slice_step(c, x, axis, begin, end, 1);
}

mlx_array nn_concat(nn *c, const mlx_array *parts, int n, int axis)
{
    if (c->failed || n == 1)
        return parts[0];
    mlx_vector_array v = mlx_vector_array_new_data(parts, (size_t)n);
    mlx_array r = NN_CALL(c, mlx_concatenate_axis, v, axis);
    mlx_vector_array_free(v);
    return r;
}

mlx_array nn_number(nn *c, float value, mlx_dtype dtype)
{
    mlx_array a = mlx_array_new_float(value);
    return nn_astype(c, nn_own(c, a.ctx == NULL, a), dtype);
}

mlx_array nn_scale(nn *c, mlx_array x, float factor)
{
    if (c->failed || factor == 1)
        return x;
    return nn_mul(c, x, nn_number(c, factor, mlx_array_dtype(x)));
}

mlx_array nn_shift(nn *c, mlx_array x, float summand)
{
    if (c->failed)
        return x;
    return nn_add(c, x, nn_number(c, summand, mlx_array_dtype(x)));
}

mlx_array nn_softplus(nn *c, mlx_array x)
{
    return NN_CALL(c, mlx_logaddexp, x, nn_number(c, 0, MLX_FLOAT32));
}

mlx_array nn_softcap(nn *c, mlx_array x, float cap)
{
    if (cap == 0)
        return x;
    mlx_array bent = NN_CALL(c, mlx_tanh, nn_scale(c, x, 1 / cap));
    return nn_scale(c, bent, cap);
}

/* ---- activations ------------------------------------------------------------------------------ */

bool nn_act_named(const char *name, nn_act *out)
{
    static const struct {
        const char *name;
        nn_act act;
    } known[] = {
        {"silu", NN_SILU}, {"swish", NN_SILU}, {"swiglu", NN_SILU}, {"gelu", NN_GELU},
        {"gelu_new", NN_GELU_TANH}, {"gelu_fast", NN_GELU_TANH}, {"gelu_pytorch_tanh", NN_GELU_TANH},
        {"relu", NN_RELU}, {"relu2", NN_RELU2},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].name, name) == 0) {
            *out = known[i].act;
            return true;
        }
    return nx_fail("the activation '%s' is not supported; supported are: silu, gelu, gelu_new, "
                   "gelu_pytorch_tanh, relu, relu2", name);
}

/* x / 2 * (1 + erf(x / sqrt 2)) */
static mlx_array gelu(nn *c, mlx_array x)
{
    mlx_array e = NN_CALL(c, mlx_erf, nn_scale(c, x, 0.70710678118654752f));
    return nn_mul(c, nn_scale(c, x, 0.5f), nn_shift(c, e, 1));
}

/* x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) */
static mlx_array gelu_tanh(nn *c, mlx_array x)
{
    mlx_array square = nn_mul(c, x, x);
    mlx_array inner = nn_mul(c, x, nn_shift(c, nn_scale(c, square, 0.044715f), 1));
    mlx_array t = NN_CALL(c, mlx_tanh, nn_scale(c, inner, 0.79788456080286536f));
    return nn_mul(c, nn_scale(c, x, 0.5f), nn_shift(c, t, 1));
}

mlx_array nn_activate(nn *c, nn_act act, mlx_array x)
{
    mlx_array y;
    switch (act) {
    case NN_GELU: return gelu(c, x);
    case NN_GELU_TANH: return gelu_tanh(c, x);
    case NN_RELU:
    case NN_RELU2:
        y = NN_CALL(c, mlx_maximum, x, nn_number(c, 0, MLX_FLOAT32));
        return act == NN_RELU ? y : nn_mul(c, y, y);
    default: return nn_silu(c, x);
    }
}

typedef struct {
    nn_act act;
    mlx_stream s;
} gated_kind;

/* in: gate, up */
static int gated_trace(mlx_vector_array *res, const mlx_vector_array in, void *payload)
{
    const gated_kind *kind = payload;
    nn c = {.s = kind->s};
    mlx_array gate = nn_own_item(&c, 0, in, 0), up = nn_own_item(&c, 0, in, 1);
    mlx_array y = nn_mul(&c, nn_activate(&c, kind->act, gate), up);
    int status = c.failed || mlx_vector_array_set_value(res, y);
    nn_reset(&c);
    nx_vec_clear(&c.temps);
    return status;
}

static bool gated_compile(nn *c, nn_act act)
{
    gated_kind *kind = nx_malloc(sizeof *kind);
    *kind = (gated_kind){act, c->s}; /* the stream lives as long as the scope */
    mlx_closure plain = mlx_closure_new_func_payload(gated_trace, kind, free);
    int status = mlx_compile(&c->gated[act], plain, true);
    mlx_closure_free(plain);
    if (status)
        nn_fail(c);
    return !status;
}

mlx_array nn_gated(nn *c, nn_act act, mlx_array gate, mlx_array up)
{
    if (c->failed || !engine_extensions())
        return nn_mul(c, nn_activate(c, act, gate), up);
    if (!c->gated[act].ctx && !gated_compile(c, act))
        return gate;
    mlx_vector_array in = mlx_vector_array_new_data((mlx_array[]){gate, up}, 2), out = mlx_vector_array_new();
    int status = mlx_closure_apply(&out, c->gated[act], in);
    mlx_array y = nn_own_item(c, status, out, 0);
    mlx_vector_array_free(in);
    mlx_vector_array_free(out);
    return y;
}
