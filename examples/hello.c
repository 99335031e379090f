/*
 * hello.c: is everything there? Version, device, and a product of two 1000 x 1000 matrices.
 *
 * Plain mlx-c, without example.h: handles are made, filled and freed one by one.
 */
#include <math.h>
#include <stdio.h>

#include "mlx/c/mlx.h"

static void print_version(void)
{
    mlx_string version = mlx_string_new();
    mlx_version(&version);
    printf("MLX %s\n", mlx_string_data(version));
    mlx_string_free(version);
}

static void print_device(void)
{
    mlx_device device = mlx_device_new();
    mlx_get_default_device(&device);
    mlx_device_info info = mlx_device_info_new();
    mlx_device_info_get(&info, device);

    const char *name = "unknown";
    mlx_device_info_get_string(&name, info, "device_name");
    mlx_string text = mlx_string_new();
    mlx_device_tostring(&text, device);
    printf("%s: %s\n", mlx_string_data(text), name);

    mlx_string_free(text);
    mlx_device_info_free(info);
    mlx_device_free(device);
}

int main(void)
{
    print_version();
    print_device();

    mlx_stream stream = mlx_default_cpu_stream_new();
    mlx_array no_key = mlx_array_new(); /* an empty handle: the library's own sequence of keys */
    mlx_array a = mlx_array_new(), b = mlx_array_new(), c = mlx_array_new(), spread = mlx_array_new();
    const int shape[] = {1000, 1000};

    mlx_random_normal(&a, shape, 2, MLX_FLOAT32, 0, 1, no_key, stream);
    mlx_random_normal(&b, shape, 2, MLX_FLOAT32, 0, 1, no_key, stream);
    mlx_matmul(&c, a, b, stream);
    mlx_std(&spread, c, false, 0, stream);

    float deviation = 0;
    mlx_array_item_float32(&deviation, spread); /* here it is computed */
    printf("An element of the product deviates by %.2f; a sum of 1000 products should by %.2f.\n",
           (double)deviation, sqrt(1000));

    mlx_array_free(spread);
    mlx_array_free(c);
    mlx_array_free(b);
    mlx_array_free(a);
    mlx_stream_free(stream);

    bool works = fabs((double)deviation - sqrt(1000)) < 0.5;
    puts(works ? "It works." : "That is not what it should be.");
    return works ? 0 : 1;
}
