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

typedef struct {
    mlx_stream s;
    NX_VEC(mlx_array) temps;
    bool failed; /* the reason is nx_error_message() */
} nn;

void nn_init(nn *c); /* on the default CPU or GPU stream */
void nn_reset(nn *c); /* frees all temporaries; clears the failure */
void nn_clear(nn *c);

/* Hands an array over to the scope; `status` is that of the call which made it. */
mlx_array nn_own(nn *c, int status, mlx_array a);
/* An empty array for a call to fill; see NN_CALL. */
#define NN_CALL(c, fn, ...) nn_call_end_((c), nn_call_begin_(c) ? fn(&(c)->temps.at[(c)->temps.n - 1], __VA_ARGS__, (c)->s) : 1)
bool nn_call_begin_(nn *c);
mlx_array nn_call_end_(nn *c, int status);

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

/* weight may be empty: none. */
mlx_array nn_rms_norm(nn *c, mlx_array x, mlx_array weight, float eps);

#endif
