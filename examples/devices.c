/*
 * devices.c: arrays live in memory that all devices share; each operation says where it runs.
 *
 * A stream is a queue of a device. Without a GPU both streams here are the CPU's, and still run side
 * by side; where one needs a result of the other, it waits for it.
 */
#include "example.h"

static void print_stream(const char *what, mlx_stream s)
{
    mlx_string text = mlx_string_new();
    mlx_stream_tostring(&text, s);
    printf("%s: %s\n", what, mlx_string_data(text));
    mlx_string_free(text);
}

/* The first GPU's queue if there is one, else a second queue of the CPU. */
static mlx_stream other_stream(void)
{
    bool available = false;
    mlx_device gpu = mlx_device_new_type(MLX_GPU, 0), cpu = mlx_device_new_type(MLX_CPU, 0);
    mlx_device_is_available(&available, gpu);
    mlx_stream s = mlx_stream_new_device(available ? gpu : cpu);
    mlx_device_free(gpu);
    mlx_device_free(cpu);
    return s;
}

int main(void)
{
    example_begin();
    mlx_stream other = other_stream();
    print_stream("large products run on", other);
    print_stream("small steps run on", stream);

    mlx_array a = NORMAL(512, 512), b = NORMAL(512);
    mlx_array product = mlx_array_new();
    mlx_matmul(&product, a, a, other); /* dense work: the fast device */
    mlx_array x = b;
    for (int i = 0; i < 100; i++) /* many small operations: not worth a launch each */
        x = OP(sin, OP(add, x, number(0.5f)));
    mlx_array both = OP(matmul, remember(product), x); /* waits for the other stream */
    float sum = value(OP(sum, both, false));

    mlx_array again = OP(matmul, OP(matmul, a, a), x);
    float same = value(OP(sum, again, false));
    printf("on two streams %.4f, on one %.4f\n", (double)sum, (double)same);
    mlx_stream_free(other);
    return example_end(sum - same < 0.5f && same - sum < 0.5f);
}
