/*
 * example.h: what the examples share, so that formulas read like formulas.
 *
 * A function of mlx-c puts its result into a handle, which the caller frees. OP(add, a, b) calls
 * mlx_add(&result, a, b, stream) and remembers the result; release() frees all that is remembered.
 * An error prints its message and ends the program: that is mlx-c's default.
 */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "mlx/c/mlx.h"

/* Where all operations run, unless they say otherwise: set by example_begin. */
static mlx_stream stream;

static mlx_array remembered[4096];
static size_t n_remembered;

static inline mlx_array remember(mlx_array a)
{
    if (n_remembered == sizeof remembered / sizeof *remembered) {
        fprintf(stderr, "example: release() is never called\n");
        exit(1);
    }
    return remembered[n_remembered++] = a;
}

static inline void release(void)
{
    while (n_remembered)
        mlx_array_free(remembered[--n_remembered]);
}

/* The result of mlx_NAME(&result, ..., stream). (The counter gives each result a name of its own.) */
#define OP(name, ...) OP_NUMBERED(__COUNTER__, name, __VA_ARGS__)
#define OP_NUMBERED(n, name, ...) OP_NAMED(RESULT(n), name, __VA_ARGS__)
#define RESULT(n) result_##n
#define OP_NAMED(result, name, ...)                                                                \
    ({                                                                                             \
        mlx_array result = mlx_array_new();                                                        \
        mlx_##name(&result, __VA_ARGS__, stream);                                                  \
        remember(result);                                                                          \
    })

/* A shape, as the two arguments it is: pointer and count. */
#define SHAPE(...) (int[]){__VA_ARGS__}, sizeof((int[]){__VA_ARGS__}) / sizeof(int)

static inline mlx_array number(float x)
{
    return remember(mlx_array_new_float(x));
}

/* Array i of a list. */
static inline mlx_array item(mlx_vector_array list, size_t i)
{
    mlx_array a = mlx_array_new();
    mlx_vector_array_get(&a, list, i);
    return remember(a);
}

/* Standard normal numbers. */
#define NORMAL(...) OP(random_normal, SHAPE(__VA_ARGS__), MLX_FLOAT32, 0, 1, (mlx_array){NULL})

/* The value of an array of one element, of any type: here the work is done. */
static inline float value(mlx_array a)
{
    float x = 0;
    mlx_array_item_float32(&x, OP(astype, a, MLX_FLOAT32));
    return x;
}

static inline void print_array(const char *name, mlx_array a)
{
    mlx_string text = mlx_string_new();
    mlx_array_tostring(&text, a);
    printf("%s = %s\n", name, mlx_string_data(text));
    mlx_string_free(text);
}

static inline double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline void example_begin(void)
{
    stream = mlx_default_cpu_stream_new();
    mlx_random_seed(0);
}

/* The exit code: 0 if what the example claims is so. */
static inline int example_end(int claim)
{
    release();
    mlx_stream_free(stream);
    puts(claim ? "It works." : "That is not what it should be.");
    return claim ? 0 : 1;
}

#endif
