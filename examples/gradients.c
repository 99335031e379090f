/*
 * gradients.c: the gradient of a function is a function.
 *
 * The loss is the mean squared error of a linear model, mean((X w - y)^2); its gradient is known:
 * 2 / n X^T (X w - y).
 */
#include "example.h"

/* (w, X, y) -> loss */
static int loss(mlx_vector_array *res, const mlx_vector_array in)
{
    mlx_array w = item(in, 0), x = item(in, 1), y = item(in, 2);
    mlx_array error = OP(subtract, OP(matmul, x, w), y);
    mlx_array mean = OP(mean, OP(square, error), false);
    return mlx_vector_array_set_data(res, &mean, 1);
}

int main(void)
{
    example_begin();
    mlx_array x = NORMAL(100, 3), w = NORMAL(3), y = NORMAL(100);

    /* Value and gradient for argument 0, w. */
    mlx_closure function = mlx_closure_new_func(loss);
    mlx_closure_value_and_grad both = mlx_closure_value_and_grad_new();
    mlx_value_and_grad(&both, function, (int[]){0}, 1);

    mlx_vector_array values = mlx_vector_array_new(), gradients = mlx_vector_array_new();
    mlx_vector_array arguments = mlx_vector_array_new_data((mlx_array[]){w, x, y}, 3);
    mlx_closure_value_and_grad_apply(&values, &gradients, both, arguments);
    print_array("loss", item(values, 0));
    print_array("gradient", item(gradients, 0));

    /* By hand. */
    mlx_array error = OP(subtract, OP(matmul, x, w), y);
    mlx_array known = OP(multiply, number(2.0f / 100), OP(matmul, OP(transpose, x), error));
    print_array("by hand ", known);
    mlx_array off = OP(max, OP(abs, OP(subtract, item(gradients, 0), known)), false);
    bool equal = value(off) < 1e-5f;

    mlx_vector_array_free(arguments);
    mlx_vector_array_free(gradients);
    mlx_vector_array_free(values);
    mlx_closure_value_and_grad_free(both);
    mlx_closure_free(function);
    return example_end(equal);
}
