/*
 * nn.h: the scope a forward pass is written in.
 *
 * An `nn` carries the stream, owns every temporary, and keeps the first failure: after one, all
 * further calls do nothing and return empty arrays, so that a forward pass reads like the formula
 * and checks once, at its end. Arrays returned here belong to the scope and live until nn_reset.
 */
#ifndef NX_RUNTIME_NN_NN_H
#define NX_RUNTIME_NN_NN_H

#include <mlx/c/mlx.h>
#include <stdbool.h>

#include "base/vec.h"

typedef enum { NN_SILU, NN_GELU, NN_GELU_TANH, NN_RELU, NN_RELU2, NN_ACTS } nn_act;

enum { NN_CALL_DEPTH = 16 };
typedef struct {
    mlx_stream s;
    mlx_closure gated[NN_ACTS]; /* of nn_gated; empty until it is asked for */
    NX_VEC(mlx_array) temps;
    bool failed;
    char message[512]; /* of the first failure; and nx_error_message() says it */
    mlx_array out[NN_CALL_DEPTH]; /* being filled, of calls within calls */
    int depth;
} nn;

void nn_init(nn *c); /* on the default CPU or GPU stream */
void nn_reset(nn *c); /* frees all temporaries; clears the failure */
void nn_clear(nn *c);
/* Lets go of the temporaries made since nn_mark, but `kept` (which may be older): a graph holds what it
 * needs by itself, so only arrays that are evaluated on the way gain by it. */
static inline size_t nn_mark(const nn *c)
{
    return c->temps.n;
}
void nn_release(nn *c, size_t mark, mlx_array kept);

/* Hands an array over to the scope; `status` is that of the call which made it. */
mlx_array nn_own(nn *c, int status, mlx_array a);
/* The same with array i of a vector that the call filled. */
mlx_array nn_own_item(nn *c, int status, mlx_vector_array from, size_t i);
/* A call of the engine, whose arguments may be calls themselves. */
#define NN_CALL(c, fn, ...)                                                                        \
    nn_call_end_((c), nn_call_begin_(c) ? fn(nn_call_out_(c), __VA_ARGS__, (c)->s) : 1)
bool nn_call_begin_(nn *c);
static inline mlx_array *nn_call_out_(nn *c)
{
    return &c->out[c->depth - 1];
}
mlx_array nn_call_end_(nn *c, int status);
/* The failure whose message was just recorded is the scope's, if it is the first. */
void nn_fail(nn *c);

/* ---- elementwise and shapes ---- */
mlx_array nn_add(nn *c, mlx_array a, mlx_array b);
mlx_array nn_mul(nn *c, mlx_array a, mlx_array b);
mlx_array nn_silu(nn *c, mlx_array x); /* x * sigmoid(x) */
mlx_array nn_astype(nn *c, mlx_array x, mlx_dtype dtype);
mlx_array nn_reshape(nn *c, mlx_array x, const int *shape, int ndim);
mlx_array nn_transpose(nn *c, mlx_array x, const int *axes, int ndim);
/* Rows begin..end-1 of the first axis; x itself where that is all of it. */
mlx_array nn_rows(nn *c, mlx_array x, int begin, int end);
mlx_array nn_concat_rows(nn *c, const mlx_array *parts, int n);
/* begin..end-1 along one axis (negative: from the last), every step-th. */
mlx_array nn_slice(nn *c, mlx_array x, int axis, int begin, int end);
mlx_array nn_slice_step(nn *c, mlx_array x, int axis, int begin, int end, int step);
mlx_array nn_concat(nn *c, const mlx_array *parts, int n, int axis);
/* With a number in x's type; scale 1 is x itself. */
mlx_array nn_scale(nn *c, mlx_array x, float factor);
mlx_array nn_shift(nn *c, mlx_array x, float summand);
mlx_array nn_number(nn *c, float value, mlx_dtype dtype);
mlx_array nn_softplus(nn *c, mlx_array x); /* log(1 + e^x) */
/* tanh(x / cap) * cap; cap 0: x itself */
mlx_array nn_softcap(nn *c, mlx_array x, float cap);

/* weight may be empty: none. */
mlx_array nn_rms_norm(nn *c, mlx_array x, mlx_array weight, float eps);
mlx_array nn_layer_norm(nn *c, mlx_array x, mlx_array weight, mlx_array bias, float eps);

/* ---- activations ---- */
/* config.json's name of it ("silu", "gelu_pytorch_tanh"); false with a message if unknown. */
bool nn_act_named(const char *name, nn_act *out);
mlx_array nn_activate(nn *c, nn_act act, mlx_array x);
/* act(gate) * up, of one shape: compiled to one operation where the engine is ours. (Apple's compiles for a CPU
 * by calling a C compiler.) */
mlx_array nn_gated(nn *c, nn_act act, mlx_array gate, mlx_array up);

#endif
