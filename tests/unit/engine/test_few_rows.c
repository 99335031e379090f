/*
 * test_few_rows.c: products of a few rows by turned matrices (few_rows.h) at every level of this machine: near the exact
 * ones, and the bits of the same rows among many, which go another way.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/core/half.h"
#include "engine/cpu/isa.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"

enum { ROWS = 150, FEW = 9 }; /* which are packed, where the matrix is large enough; more than go alone */

static uint32_t seed = 1;
static float any_float(void)
{
    seed = seed * 1664525 + 1013904223;
    return (float)((int)(seed >> 16) - 0x8000) * 0x1p-15f;
}

static double number(nx_dtype type, const void *x, int64_t i)
{
    return type == NX_FLOAT32   ? (double)((const float *)x)[i]
           : type == NX_FLOAT16 ? (double)nx_half_to_float(((const uint16_t *)x)[i])
                                : (double)nx_bf16_to_float(((const uint16_t *)x)[i]);
}

/* n numbers of the type and, as doubles, what they are. */
static void fill(nx_dtype type, int64_t n, void *to, double *values)
{
    for (int64_t i = 0; i < n; i++) {
        float x = any_float();
        if (type == NX_FLOAT32)
            ((float *)to)[i] = x;
        else
            ((uint16_t *)to)[i] = type == NX_FLOAT16 ? nx_half_from_float(x) : nx_bf16_from_float(x);
        values[i] = number(type, to, i);
    }
}

/* out[m, n] = a[m, k] b of columns `gap` more than k apart, through the level's kernel. */
static void multiply(const nx_kernel_entry *table, nx_dtype type, int m, int n, int k, int gap, const void *a,
                     const void *b, void *out)
{
    int a_shape[2] = {m, k}, b_shape[2] = {k, n}, out_shape[2] = {m, n};
    int64_t a_strides[2] = {k, 1}, b_strides[2] = {1, k + gap}, out_strides[2] = {n, 1};
    nx_view in[2] = {{(void *)(uintptr_t)a, type, 2, a_shape, a_strides}, {(void *)(uintptr_t)b, type, 2, b_shape, b_strides}};
    nx_view to = {out, type, 2, out_shape, out_strides};
    nx_call c = {.n_in = 2, .n_out = 1, .in = in, .out = &to};
    size_t need = table[NX_PRIM_Matmul].workspace ? table[NX_PRIM_Matmul].workspace(&c) : 0;
    c.workspace = malloc(need + 1);
    assert_non_null(c.workspace);
    table[NX_PRIM_Matmul].run(&c);
    free(c.workspace);
}

static void *room(size_t bytes)
{
    void *p = malloc(bytes);
    assert_non_null(p);
    return p;
}

static void compare(const nx_kernel_entry *table, const char *level, nx_dtype type, int n, int k, int gap)
{
    size_t size = nx_dtype_size(type), row = (size_t)n * size;
    /* As many bytes as b has and no more, so that sanitizers see who reads behind them. */
    int64_t b_size = (int64_t)(n - 1) * (k + gap) + k;
    void *a = room(ROWS * (size_t)k * size), *b = room((size_t)b_size * size);
    double *x = room(ROWS * (size_t)k * sizeof *x), *y = room((size_t)b_size * sizeof *y);
    char *all = room(ROWS * row), *some = room(ROWS * row);
    fill(type, ROWS * (int64_t)k, a, x);
    fill(type, b_size, b, y);
    multiply(table, type, ROWS, n, k, gap, a, b, all);
    for (int m = 1; m <= FEW; m++) {
        multiply(table, type, m, n, k, gap, a, b, some);
        if (memcmp(all, some, (size_t)m * row))
            fail_msg("%s, %s, %d x %d x %d, columns %d apart: not the bits of %d rows", level, nx_dtype_name(type), m, n, k,
                     k + gap, ROWS);
    }
    for (int r = 0; r < FEW; r++)
        for (int c = 0; c < n; c++) {
            double exact = 0, magnitude = 0;
            for (int i = 0; i < k; i++) {
                double product = x[(int64_t)r * k + i] * y[(int64_t)c * (k + gap) + i];
                exact += product, magnitude += fabs(product);
            }
            double last = type == NX_FLOAT32 ? 0 : type == NX_FLOAT16 ? 0x1p-11 : 0x1p-8; /* the result's own rounding */
            double far = fabs(number(type, some, (int64_t)r * n + c) - exact);
            if (!(far <= magnitude * k * 0x1p-24 + fabs(exact) * last * 1.01 + 0x1p-25))
                fail_msg("%s, %s, %d x %d: result %d %d is %g away", level, nx_dtype_name(type), n, k, r, c, far);
        }
    free(a), free(b), free(x), free(y), free(all), free(some);
}

static void rows_are_the_same_alone(void **state)
{
    static const nx_dtype types[] = {NX_FLOAT32, NX_FLOAT16, NX_BFLOAT16};
    static const int columns[] = {1, 5, 47, 48, 49, 150}, depths[] = {1, 3, 4, 63, 64, 65, 200};
    (void)state;
    for (int l = 0; l < nx_cpu_isa_count(); l++)
        for (size_t t = 0; t < sizeof types / sizeof *types; t++)
            for (size_t n = 0; n < sizeof columns / sizeof *columns; n++)
                for (size_t k = 0; k < sizeof depths / sizeof *depths; k++)
                    compare(nx_cpu_isa_kernels_at(l), nx_cpu_isa_name_at(l), types[t], columns[n], depths[k],
                            (n + k) % 2 ? 0 : 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_are_the_same_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
