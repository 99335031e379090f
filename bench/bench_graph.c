/*
 * bench_graph.c: what the lazy graph costs, through the public interface: a chain of additions of
 * one number, built, evaluated and freed; and a decoder-like graph evaluated again and again.
 *     cmake --build build --target bench_graph && build/bench/bench_graph [NODES]
 */
#include <mlx/c/mlx.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void chain(int n, mlx_stream s)
{
    mlx_array x = mlx_array_new_float(0), one = mlx_array_new_float(1);
    double t0 = now();
    for (int i = 0; i < n; i++)
        mlx_add(&x, x, one, s);
    double t1 = now();
    mlx_array_eval(x);
    double t2 = now();
    float v = 0;
    mlx_array_item_float32(&v, x);
    mlx_array_free(x);
    mlx_array_free(one);
    double t3 = now();
    printf("chain of %d adds = %.0f: build %.3f s, evaluate %.3f s, free %.3f s; %.0f ns a node\n", n, v,
           t1 - t0, t2 - t1, t3 - t2, (t3 - t0) / n * 1e9);
}

/* Built and dropped without evaluation: a deep graph is freed without recursion. */
static void unevaluated(int n, mlx_stream s)
{
    mlx_array x = mlx_array_new_float(0), one = mlx_array_new_float(1);
    double t0 = now();
    for (int i = 0; i < n; i++)
        mlx_add(&x, x, one, s);
    mlx_array_free(x);
    mlx_array_free(one);
    printf("the same, freed unevaluated: %.0f ns a node\n", (now() - t0) / n * 1e9);
}

/* A thousand small operations a step, as a decoded token has. */
static void steps(int rounds, mlx_stream s)
{
    mlx_array x = mlx_array_new(), y = mlx_array_new();
    mlx_zeros(&x, (int[]){1, 64}, 2, MLX_FLOAT32, s);
    mlx_array_eval(x);
    double t0 = now();
    for (int r = 0; r < rounds; r++) {
        for (int i = 0; i < 250; i++) {
            mlx_multiply(&y, x, x, s);
            mlx_add(&y, y, x, s);
            mlx_reshape(&y, y, (int[]){64, 1}, 2, s);
            mlx_transpose(&x, y, s);
        }
        mlx_array_eval(x);
    }
    printf("steps of 1000 small operations: %.0f ns a node\n", (now() - t0) / rounds / 1000 * 1e9);
    mlx_array_free(x);
    mlx_array_free(y);
}

int main(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : 1000000;
    mlx_stream s = mlx_default_cpu_stream_new();
    for (int i = 0; i < 3; i++)
        chain(n, s);
    unevaluated(n, s);
    steps(200, s);
    mlx_stream_free(s);
    return 0;
}
