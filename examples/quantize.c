/*
 * quantize.c: a matrix in 4 bits a number, and what the size of a group costs and gains.
 *
 * Each group of numbers along a row shares a scale and a bias: small groups fit better and take more
 * memory. The product is computed from the packed numbers as they are.
 */
#include <math.h>

#include "example.h"

static mlx_optional_int some(int x)
{
    return (mlx_optional_int){x, true};
}

/* The root of the mean square. */
static double size_of(mlx_array a)
{
    return sqrt((double)value(OP(mean, OP(square, OP(astype, a, MLX_FLOAT32)), false)));
}

typedef struct {
    double bits_per_number, error, product_error;
} cost;

static cost quantize(mlx_array w, mlx_array x, int group, int bits)
{
    mlx_vector_array parts = mlx_vector_array_new();
    const mlx_array none = {NULL};
    mlx_quantize(&parts, w, some(group), some(bits), "affine", none, stream);
    mlx_array packed = item(parts, 0), scales = item(parts, 1), biases = item(parts, 2);
    mlx_vector_array_free(parts);

    mlx_array back = OP(dequantize, packed, scales, biases, some(group), some(bits), "affine", none,
                        (mlx_optional_dtype){0});
    mlx_array product = OP(quantized_matmul, x, packed, scales, biases, true, some(group), some(bits),
                           "affine");
    mlx_array exact = OP(matmul, x, OP(transpose, w));

    size_t bytes = mlx_array_nbytes(packed) + mlx_array_nbytes(scales) + mlx_array_nbytes(biases);
    return (cost){8.0 * (double)bytes / (double)mlx_array_size(w),
                  size_of(OP(subtract, back, w)) / size_of(w),
                  size_of(OP(subtract, product, exact)) / size_of(exact)};
}

int main(void)
{
    example_begin();
    /* Scales and biases have the type of the matrix: half precision is what models have. */
    mlx_array w = OP(astype, NORMAL(1024, 1024), MLX_FLOAT16);
    mlx_array x = OP(astype, NORMAL(8, 1024), MLX_FLOAT16);

    puts("4 bits:  group   bits a number   error of the matrix   error of a product");
    cost costs[3];
    for (int i = 0; i < 3; i++) {
        int group = 32 << i;
        costs[i] = quantize(w, x, group, 4);
        printf("         %5d   %13.2f   %18.1f%%   %17.1f%%\n", group, costs[i].bits_per_number,
               100 * costs[i].error, 100 * costs[i].product_error);
    }
    /* A group of 64 has 16 bits of scale and 16 of bias: half a bit a number. */
    bool expected = costs[1].bits_per_number == 4.5 && costs[0].error < costs[1].error &&
                    costs[1].error < costs[2].error && costs[2].error < 0.15;
    return example_end(expected);
}
