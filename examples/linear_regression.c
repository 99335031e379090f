/*
 * linear_regression.c: finds the weights behind noisy observations by gradient descent.
 */
#include "example.h"

enum { FEATURES = 100, EXAMPLES = 1000, STEPS = 1000 };
static const float rate = 0.02f;

/* (w, X, y) -> mean((X w - y)^2) / 2 */
static int loss(mlx_vector_array *res, const mlx_vector_array in)
{
    mlx_array w = item(in, 0), x = item(in, 1), y = item(in, 2);
    mlx_array error = OP(subtract, OP(matmul, x, w), y);
    mlx_array half = OP(multiply, number(0.5f), OP(mean, OP(square, error), false));
    return mlx_vector_array_set_data(res, &half, 1);
}

/* w - rate * gradient */
static void step(mlx_array *w, mlx_array x, mlx_array y, mlx_closure_value_and_grad loss_and_gradient)
{
    mlx_vector_array values = mlx_vector_array_new(), gradients = mlx_vector_array_new();
    mlx_vector_array arguments = mlx_vector_array_new_data((mlx_array[]){*w, x, y}, 3);
    mlx_closure_value_and_grad_apply(&values, &gradients, loss_and_gradient, arguments);

    mlx_array moved = OP(subtract, *w, OP(multiply, number(rate), item(gradients, 0)));
    mlx_array_set(w, moved);
    mlx_array_eval(*w);

    mlx_vector_array_free(arguments);
    mlx_vector_array_free(gradients);
    mlx_vector_array_free(values);
    release();
}

int main(void)
{
    example_begin();

    /* What is to be found, and observations of it. These live longer than a step. */
    mlx_array truth = mlx_array_new(), x = mlx_array_new(), y = mlx_array_new(), w = mlx_array_new();
    mlx_array_set(&truth, NORMAL(FEATURES));
    mlx_array_set(&x, NORMAL(EXAMPLES, FEATURES));
    mlx_array noise = OP(multiply, number(0.01f), NORMAL(EXAMPLES));
    mlx_array_set(&y, OP(add, OP(matmul, x, truth), noise));
    mlx_array_set(&w, OP(multiply, number(0.01f), NORMAL(FEATURES)));
    release();

    mlx_closure function = mlx_closure_new_func(loss);
    mlx_closure_value_and_grad loss_and_gradient = mlx_closure_value_and_grad_new();
    mlx_value_and_grad(&loss_and_gradient, function, (int[]){0}, 1);

    double start = seconds();
    for (int i = 0; i < STEPS; i++)
        step(&w, x, y, loss_and_gradient);
    double took = seconds() - start;

    float error = value(OP(linalg_norm_l2, OP(subtract, w, truth), NULL, 0, false));
    printf("|w - truth| = %.5f after %d steps, %.0f steps a second\n", (double)error, STEPS,
           STEPS / took);

    mlx_closure_value_and_grad_free(loss_and_gradient);
    mlx_closure_free(function);
    mlx_array_free(w);
    mlx_array_free(y);
    mlx_array_free(x);
    mlx_array_free(truth);
    return example_end(error < 0.05f);
}
