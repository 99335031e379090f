/* The float functions of every instruction-set level against the C library's in double: errors in
 * units of the last place over all magnitudes, and the values at the edges. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "engine/core/half.h"
#include "engine/cpu/isa.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"

enum { N = 1 << 17 };

typedef double (*one_fn)(double);
typedef double (*two_fn)(double, double);

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}
static double rsqrt(double x)
{
    return 1 / sqrt(x);
}

/* Where inputs lie: any bits; within -1..1; of 0 or more; 1 or more; moderate angles; angles that a
 * reduction in float is enough for. */
typedef enum { ANY, UNIT, POSITIVE, FROM_ONE, ANGLE, NEAR } domain;

static const struct {
    nx_prim_id prim;
    int log_base; /* of Log */
    one_fn exact;
    domain in;
    double limit; /* units in the last place, with fused multiply-add */
} ones[] = {
    {NX_PRIM_Exp, 0, exp, ANY, 1.5},          {NX_PRIM_Expm1, 0, expm1, ANY, 2},
    {NX_PRIM_Log, NX_LOG_E, log, POSITIVE, 1.5}, {NX_PRIM_Log, NX_LOG_2, log2, POSITIVE, 2},
    {NX_PRIM_Log, NX_LOG_10, log10, POSITIVE, 2}, {NX_PRIM_Log1p, 0, log1p, POSITIVE, 2},
    {NX_PRIM_Sin, 0, sin, ANGLE, 2},          {NX_PRIM_Cos, 0, cos, ANGLE, 2},
    {NX_PRIM_Sin, 0, sin, NEAR, 2},         {NX_PRIM_Cos, 0, cos, NEAR, 2},
    {NX_PRIM_Tan, 0, tan, ANGLE, 2.5},          {NX_PRIM_ArcSin, 0, asin, UNIT, 2},
    {NX_PRIM_ArcCos, 0, acos, UNIT, 2},       {NX_PRIM_ArcTan, 0, atan, ANY, 2},
    {NX_PRIM_Sinh, 0, sinh, ANY, 2},          {NX_PRIM_Cosh, 0, cosh, ANY, 2},
    {NX_PRIM_Tanh, 0, tanh, ANY, 2.5},          {NX_PRIM_ArcSinh, 0, asinh, ANY, 2},
    {NX_PRIM_ArcCosh, 0, acosh, FROM_ONE, 2.5}, {NX_PRIM_ArcTanh, 0, atanh, UNIT, 2},
    {NX_PRIM_Erf, 0, erf, ANY, 2},            {NX_PRIM_Sigmoid, 0, sigmoid, ANY, 2.5},
    {NX_PRIM_Sqrt, 0, sqrt, POSITIVE, 0.5},   {NX_PRIM_Rsqrt, 0, rsqrt, POSITIVE, 1.5},
};

static const struct {
    nx_prim_id prim;
    two_fn exact;
    double limit;
} twos[] = {{NX_PRIM_Power, pow, 1}, {NX_PRIM_ArcTan2, atan2, 2}};

static uint32_t state = 1;

static uint32_t random_bits(void)
{
    state = state * 1664525u + 1013904223u;
    return state;
}

static float input(domain d)
{
    uint32_t u = random_bits() ^ random_bits() >> 16;
    float x = nx_float_of_bits(u);
    float unit = (float)(u >> 8) * 0x1p-24f;
    switch (d) {
    case UNIT:
        return fabsf(x) <= 1 ? x : copysignf(unit, x);
    case POSITIVE:
        return fabsf(x);
    case FROM_ONE:
        return 1 + (fabsf(x) < 1e30f ? fabsf(x) : unit);
    case ANGLE:
        return u & 1 ? (unit - 0.5f) * 2e6f : u & 2 ? (unit - 0.5f) * 10 : fabsf(x) < 1e6f ? x : unit;
    case NEAR:
        return u & 1 ? (unit - 0.5f) * 65536 : u & 2 ? (unit - 0.5f) * 10 : fabsf(x) < 32768 ? x : unit;
    default:
        return u & 1 ? (unit - 0.5f) * 40 : x; /* half of them where functions are not flat */
    }
}

/* |got - exact| in units of the last place of exact; infinities and NaN count as 0 or huge. */
static double ulps(float got, double exact)
{
    float rounded = (float)exact;
    if (isnan(exact))
        return isnan(got) ? 0 : 1e9;
    if (isinf(rounded) || isinf(got))
        return got == rounded ? 0 : fabs(exact) > 0x1.fffffcp127 && isinf(rounded) == isinf(got) ? 0 : 1e9;
    int e;
    frexp(exact, &e);
    double unit = ldexp(1, (e < -125 ? -125 : e) - 24);
    return fabs((double)got - exact) / unit;
}

static void call(const nx_kernel_entry *table, nx_prim_id prim, int n, void *params, float *const *in,
                 int n_in, float *out)
{
    int shape[1] = {n};
    int64_t strides[1] = {1};
    nx_view views[2], to = {out, NX_FLOAT32, 1, shape, strides};
    for (int i = 0; i < n_in; i++)
        views[i] = (nx_view){in[i], NX_FLOAT32, 1, shape, strides};
    nx_call c = {.params = params, .n_in = n_in, .n_out = 1, .in = views, .out = &to};
    table[prim].run(&c);
}

/* Levels without a fused multiply-add get half a unit more. */
static double allowance(int level)
{
    const char *name = nx_cpu_isa_name_at(level);
    return strcmp(name, "base") == 0 ? 0.75 : 0;
}

static void errors_of_one(void **unused)
{
    (void)unused;
    float *x = malloc(N * sizeof *x), *y = malloc(N * sizeof *y);
    assert_true(x && y);
    int failures = 0;
    for (size_t f = 0; f < sizeof ones / sizeof *ones; f++)
        for (int level = 0; level < nx_cpu_isa_count(); level++) {
            nx_log_params p = {.base = ones[f].log_base};
            for (int i = 0; i < N; i++)
                x[i] = input(ones[f].in);
            call(nx_cpu_isa_kernels_at(level), ones[f].prim, N, &p, &x, 1, y);
            double worst = 0;
            float at = 0;
            for (int i = 0; i < N; i++) {
                double e = ulps(y[i], ones[f].exact(x[i]));
                if (e > worst)
                    worst = e, at = x[i];
            }
            bool good = worst <= ones[f].limit + allowance(level);
            failures += !good;
            if (!good || getenv("NEXUS_TEST_VERBOSE"))
                print_message("function %zu (primitive %d), %s: %.3f ulp at %a\n", f, ones[f].prim,
                              nx_cpu_isa_name_at(level), worst, (double)at);
        }
    free(x);
    free(y);
    assert_int_equal(failures, 0);
}

static void errors_of_two(void **unused)
{
    (void)unused;
    float *x[2] = {malloc(N * sizeof **x), malloc(N * sizeof **x)}, *y = malloc(N * sizeof *y);
    assert_true(x[0] && x[1] && y);
    int failures = 0;
    for (size_t f = 0; f < sizeof twos / sizeof *twos; f++)
        for (int level = 0; level < nx_cpu_isa_count(); level++) {
            for (int i = 0; i < N; i++)
                x[0][i] = input(ANY), x[1][i] = i % 5 ? input(ANY) : (float)(i % 9 - 4);
            call(nx_cpu_isa_kernels_at(level), twos[f].prim, N, NULL, x, 2, y);
            double worst = 0;
            int at = 0;
            for (int i = 0; i < N; i++) {
                double e = ulps(y[i], twos[f].exact(x[0][i], x[1][i]));
                if (e > worst)
                    worst = e, at = i;
            }
            bool good = worst <= twos[f].limit + allowance(level);
            failures += !good;
            if (!good || getenv("NEXUS_TEST_VERBOSE"))
                print_message("function of two %zu, %s: %.3f ulp at %a, %a\n", f,
                              nx_cpu_isa_name_at(level), worst, (double)x[0][at], (double)x[1][at]);
        }
    free(x[0]);
    free(x[1]);
    free(y);
    assert_int_equal(failures, 0);
}

/* Signs of zero, infinities and NaN as the C library has them, for every pair of special values. */
static void edges(void **unused)
{
    (void)unused;
    static const float special[] = {0,    -0.0f, 1,   -1,   INFINITY, -INFINITY, NAN,     0.5f, -0.5f, 2,
                                    -2,   3,     -3,  1e10f, -1e10f,  0x1p-149f, -0x1p-149f, 0x1.fffffep127f,
                                    -0x1.fffffep127f, 4097.5f, -4097.5f};
    enum { M = sizeof special / sizeof *special };
    float a[M * M], b[M * M], y[M * M];
    float *in[2] = {a, b};
    for (int i = 0; i < M * M; i++)
        a[i] = special[i / M], b[i] = special[i % M];
    for (int level = 0; level < nx_cpu_isa_count(); level++) {
        const nx_kernel_entry *table = nx_cpu_isa_kernels_at(level);
        for (size_t f = 0; f < sizeof ones / sizeof *ones; f++) {
            nx_log_params p = {.base = ones[f].log_base};
            call(table, ones[f].prim, M, &p, (float *[]){b}, 1, y);
            for (int i = 0; i < M; i++) {
                double exact = ones[f].exact(b[i]);
                bool zero = exact == 0 && ones[f].prim != NX_PRIM_Sigmoid;
                if (ulps(y[i], exact) > 4 || (zero && !signbit(exact) != !signbit(y[i])))
                    fail_msg("function %zu of %a at %s: %a, not %a", f, (double)b[i],
                             nx_cpu_isa_name_at(level), (double)y[i], exact);
            }
        }
        for (size_t f = 0; f < sizeof twos / sizeof *twos; f++) {
            call(table, twos[f].prim, M * M, NULL, in, 2, y);
            for (int i = 0; i < M * M; i++) {
                double exact = twos[f].exact(a[i], b[i]);
                if (ulps(y[i], exact) > 4 || (exact == 0 && !signbit(exact) != !signbit(y[i])))
                    fail_msg("function of two %zu of %a, %a at %s: %a, not %a", f, (double)a[i],
                             (double)b[i], nx_cpu_isa_name_at(level), (double)y[i], exact);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_of_one),
        cmocka_unit_test(errors_of_two),
        cmocka_unit_test(edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
