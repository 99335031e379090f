/*
 * data_parallel.c: several processes train one model, each on data of its own.
 *
 *     mpirun -n 4 build/examples/data_parallel
 *
 * Each computes the gradient of its part; the mean over all processes is what they step by, so their
 * weights stay equal. Alone it is a group of one, and the same program.
 */
#include "example.h"

enum { FEATURES = 20, EXAMPLES = 256, STEPS = 300 };
static const float rate = 0.1f;

/* (w, X, y) -> mean((X w - y)^2) / 2 */
static int loss(mlx_vector_array *res, const mlx_vector_array in)
{
    mlx_array w = item(in, 0), x = item(in, 1), y = item(in, 2);
    mlx_array error = OP(subtract, OP(matmul, x, w), y);
    mlx_array half = OP(multiply, number(0.5f), OP(mean, OP(square, error), false));
    return mlx_vector_array_set_data(res, &half, 1);
}

/* The mean of x over the processes. */
static mlx_array average(mlx_array x, mlx_distributed_group group)
{
    float size = (float)mlx_distributed_group_size(group);
    return OP(divide, OP(distributed_all_sum, x, group), number(size));
}

static void step(mlx_array *w, mlx_array x, mlx_array y, mlx_closure_value_and_grad loss_and_gradient,
                 mlx_distributed_group group)
{
    mlx_vector_array values = mlx_vector_array_new(), gradients = mlx_vector_array_new();
    mlx_vector_array arguments = mlx_vector_array_new_data((mlx_array[]){*w, x, y}, 3);
    mlx_closure_value_and_grad_apply(&values, &gradients, loss_and_gradient, arguments);
    mlx_array gradient = average(item(gradients, 0), group);
    mlx_array_set(w, OP(subtract, *w, OP(multiply, number(rate), gradient)));
    mlx_array_eval(*w);
    mlx_vector_array_free(arguments);
    mlx_vector_array_free(gradients);
    mlx_vector_array_free(values);
    release();
}

int main(void)
{
    example_begin();
    mlx_distributed_group group = mlx_distributed_group_new();
    mlx_distributed_init(&group, false, "any");
    int rank = mlx_distributed_group_rank(group), size = mlx_distributed_group_size(group);

    /* The same truth and the same beginning for all; observations of one's own. */
    mlx_array truth = mlx_array_new(), x = mlx_array_new(), y = mlx_array_new(), w = mlx_array_new();
    mlx_array_set(&truth, NORMAL(FEATURES));
    mlx_array_set(&w, OP(zeros, SHAPE(FEATURES), MLX_FLOAT32));
    mlx_random_seed(100 + (uint64_t)rank);
    mlx_array_set(&x, NORMAL(EXAMPLES, FEATURES));
    mlx_array_set(&y, OP(matmul, x, truth));
    release();

    mlx_closure function = mlx_closure_new_func(loss);
    mlx_closure_value_and_grad loss_and_gradient = mlx_closure_value_and_grad_new();
    mlx_value_and_grad(&loss_and_gradient, function, (int[]){0}, 1);
    for (int i = 0; i < STEPS; i++)
        step(&w, x, y, loss_and_gradient, group);

    float error = value(OP(linalg_norm_l2, OP(subtract, w, truth), NULL, 0, false));
    mlx_array apart = OP(subtract, OP(distributed_all_max, w, group), OP(distributed_all_min, w, group));
    float spread = value(OP(max, apart, false));
    printf("process %d of %d: |w - truth| = %.6f, weights differ by %g between processes\n", rank, size,
           (double)error, (double)spread);

    mlx_closure_value_and_grad_free(loss_and_gradient);
    mlx_closure_free(function);
    mlx_array_free(w);
    mlx_array_free(y);
    mlx_array_free(x);
    mlx_array_free(truth);
    mlx_distributed_group_free(group);
    return example_end(error < 1e-3f && spread == 0);
}
