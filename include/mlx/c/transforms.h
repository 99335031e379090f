/*
 * transforms.h: evaluation and automatic differentiation.
 */
#ifndef MLX_C_TRANSFORMS_H
#define MLX_C_TRANSFORMS_H

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

/* Evaluation. */
/* Computes the arrays and waits for them. The error of any of the work is reported here. */
int mlx_eval(const mlx_vector_array outputs);
/* Starts computing them and returns. */
int mlx_async_eval(const mlx_vector_array outputs);

/* Derivatives at given points. */
/* *res_0 becomes fun(primals), *res_1 the cotangents times the Jacobian: one gradient a primal. */
int mlx_vjp(mlx_vector_array *res_0, mlx_vector_array *res_1, const mlx_closure fun,
            const mlx_vector_array primals, const mlx_vector_array cotangents);
/* *res_0 becomes fun(primals), *res_1 the Jacobian times the tangents. */
int mlx_jvp(mlx_vector_array *res_0, mlx_vector_array *res_1, const mlx_closure fun,
            const mlx_vector_array primals, const mlx_vector_array tangents);
/* A function that returns fun's values and the gradients of the first one (a scalar) by the
 * arguments argnums. */
int mlx_value_and_grad(mlx_closure_value_and_grad *res, const mlx_closure fun, const int *argnums,
                       size_t argnums_num);

/* Functions with other derivatives. */
/* Computes its inner values again for the gradient, rather than keeping them. */
int mlx_checkpoint(mlx_closure *res, const mlx_closure fun);
/* With the derivatives given; an empty one means the usual. */
int mlx_custom_function(mlx_closure *res, const mlx_closure fun, const mlx_closure_custom fun_vjp,
                        const mlx_closure_custom_jvp fun_jvp,
                        const mlx_closure_custom_vmap fun_vmap);
int mlx_custom_vjp(mlx_closure *res, const mlx_closure fun, const mlx_closure_custom fun_vjp);

#ifdef __cplusplus
}
#endif

#endif
