/*
 * bench_fuse.c: a chain of 12 elementwise operations on 16 M floats, one by one and compiled: processor
 * time of all threads, the best of fifteen runs.
 *     cmake --build build --target bench_fuse && build/bench/bench_fuse [MILLIONS]
 */
#include <mlx/c/mlx.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static mlx_stream s;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* what other programs take does not count */
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Twelve operations: half of them with a number, the rest of one array. */
static int chain(mlx_vector_array *res, const mlx_vector_array in)
{
    mlx_array x = mlx_array_new(), y = mlx_array_new(), half = mlx_array_new_float(0.5f),
              two = mlx_array_new_float(2), third = mlx_array_new_float(0.3f);
    mlx_vector_array_get(&x, in, 0);
    mlx_multiply(&y, x, two, s);
    mlx_add(&y, y, half, s);
    mlx_square(&y, y, s);
    mlx_subtract(&y, y, x, s);
    mlx_abs(&y, y, s);
    mlx_sqrt(&y, y, s);
    mlx_multiply(&y, y, third, s);
    mlx_maximum(&y, y, half, s);
    mlx_negative(&y, y, s);
    mlx_add(&y, y, x, s);
    mlx_minimum(&y, y, two, s);
    mlx_divide(&y, y, two, s);
    int status = mlx_vector_array_set_value(res, y);
    mlx_array_free(x);
    mlx_array_free(y);
    mlx_array_free(half);
    mlx_array_free(two);
    mlx_array_free(third);
    return status;
}

static double run(mlx_closure f, mlx_vector_array in, mlx_array *out)
{
    mlx_vector_array made = mlx_vector_array_new();
    double t0 = now();
    mlx_closure_apply(&made, f, in);
    mlx_vector_array_get(out, made, 0);
    mlx_vector_array_free(made);
    mlx_array_eval(*out);
    return now() - t0;
}

static double least(double a, double b)
{
    return a < b ? a : b;
}

int main(int argc, char **argv)
{
    int n = (argc > 1 ? atoi(argv[1]) : 16) << 20;
    s = mlx_default_cpu_stream_new();
    mlx_array x = mlx_array_new(), a = mlx_array_new(), b = mlx_array_new();
    mlx_array key = mlx_array_new();
    mlx_random_normal(&x, &n, 1, MLX_FLOAT32, 0, 1, key, s);
    mlx_array_eval(x);
    mlx_vector_array in = mlx_vector_array_new_value(x);
    mlx_closure plain = mlx_closure_new_func(chain), compiled = mlx_closure_new();
    mlx_compile(&compiled, plain, false);
    double apart = 1e9, fused = 1e9;
    for (int i = 0; i < 15; i++) { /* by turns, so that other work disturbs both alike */
        apart = least(apart, run(plain, in, &a));
        fused = least(fused, run(compiled, in, &b));
    }
    size_t bytes = mlx_array_nbytes(a);
    int same = !memcmp(mlx_array_data_float32(a), mlx_array_data_float32(b), bytes);
    printf("12 operations on %d M floats: %.1f ms one by one, %.1f ms compiled: %.1f times as fast; %s bits\n",
           n >> 20, apart * 1e3, fused * 1e3, apart / fused, same ? "the same" : "OTHER");
    mlx_closure_free(plain);
    mlx_closure_free(compiled);
    mlx_vector_array_free(in);
    mlx_array_free(x);
    mlx_array_free(a);
    mlx_array_free(b);
    mlx_array_free(key);
    mlx_stream_free(s);
    return same ? 0 : 1;
}
