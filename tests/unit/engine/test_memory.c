/* Memory: counters, results that nobody holds, the soft limits of mlx/c/memory.h, the hard one, and
 * allocations that fail one after the other through training steps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "engine/core/buffer.h"
#include "mlx/c/mlx.h"
#include "nexus/engine.h"

static mlx_stream cpu;
static int errors;
static char first_error[512];

static void on_error(const char *message, void *data)
{
    if (errors++ == 0) /* what follows may be about the failure of the function that failed */
        snprintf(first_error, sizeof first_error, "%s", message);
}

static int start(void **state)
{
    mlx_set_error_handler(on_error, NULL, NULL);
    cpu = mlx_default_cpu_stream_new();
    errors = 0;
    return 0;
}

static size_t active(void)
{
    size_t v = 0;
    assert_int_equal(mlx_get_active_memory(&v), 0);
    return v;
}

static size_t peak(void)
{
    size_t v = 0;
    assert_int_equal(mlx_get_peak_memory(&v), 0);
    return v;
}

static size_t cached(void)
{
    size_t v = 0;
    assert_int_equal(mlx_get_cache_memory(&v), 0);
    return v;
}

static mlx_array zeros(int n)
{
    mlx_array a = mlx_array_new();
    assert_int_equal(mlx_zeros(&a, &n, 1, MLX_FLOAT32, cpu), 0);
    mlx_array flat = mlx_array_new();
    assert_int_equal(mlx_contiguous(&flat, a, false, cpu), 0);
    mlx_array_free(a);
    return flat;
}

static void counters_count(void **state)
{
    enum { N = 1 << 20 };
    mlx_clear_cache();
    size_t base = active();
    mlx_array a = zeros(N);
    assert_int_equal(mlx_array_eval(a), 0);
    size_t with = active();
    assert_in_range(with - base, 4 * N, 4 * N + 1024);
    mlx_reset_peak_memory();
    assert_int_equal(peak(), 0);
    mlx_array b = zeros(N);
    assert_int_equal(mlx_array_eval(b), 0);
    assert_true(peak() >= with + 4 * N);
    mlx_array_free(b);
    assert_true(cached() >= 4 * N);
    assert_in_range(active() - base, 4 * N, 4 * N + 1024);
    mlx_array_free(a);
    assert_true(peak() >= with + 4 * N); /* what was, stays */
    mlx_clear_cache();
    assert_int_equal(cached(), 0);
}

/* One of several results is evaluated, the others were dropped before: kernels and views. */
static void results_nobody_holds_are_let_go(void **state)
{
    enum { N = 40000 };
    size_t before = active();
    for (int which = 0; which < 4; which++) {
        mlx_array a = zeros(N), one = mlx_array_new_float(1), part = mlx_array_new();
        mlx_vector_array parts = mlx_vector_array_new();
        if (which & 1)
            assert_int_equal(mlx_split(&parts, a, 4, 0, cpu), 0);
        else
            assert_int_equal(mlx_divmod(&parts, a, one, cpu), 0);
        assert_int_equal(mlx_vector_array_get(&part, parts, which / 2), 0);
        mlx_vector_array_free(parts);
        mlx_array_free(a);
        assert_int_equal(mlx_array_eval(part), 0);
        assert_true(active() > before);
        mlx_array_free(part);
        mlx_array_free(one);
        assert_int_equal(active(), before);
    }
}

static void the_cache_has_a_limit(void **state)
{
    size_t old = 0, former = 0;
    assert_int_equal(mlx_set_cache_limit(&old, 0), 0);
    assert_true(old > 0);
    mlx_array a = zeros(1 << 16);
    assert_int_equal(mlx_array_eval(a), 0);
    mlx_array_free(a);
    assert_int_equal(cached(), 0);
    assert_int_equal(mlx_set_cache_limit(&former, old), 0);
    assert_int_equal(former, 0);
}

/* Over it nothing is cached, and everything works. */
static void the_memory_limit_is_a_guide(void **state)
{
    size_t old = 0, now = 0;
    assert_int_equal(mlx_set_memory_limit(&old, 10), 0);
    assert_int_equal(mlx_get_memory_limit(&now), 0);
    assert_int_equal(now, 10);
    mlx_array a = zeros(1 << 16), b = zeros(1 << 16), c = mlx_array_new();
    assert_int_equal(mlx_add(&c, a, b, cpu), 0);
    assert_int_equal(mlx_array_eval(c), 0);
    mlx_array_free(a);
    mlx_array_free(b);
    mlx_array d = zeros(1 << 17);
    assert_int_equal(mlx_array_eval(d), 0);
    assert_true(cached() < 1 << 16); /* numbers, but no big array */
    mlx_array_free(c);
    mlx_array_free(d);
    assert_int_equal(mlx_set_memory_limit(&now, old), 0);
    assert_int_equal(now, 10);
    assert_int_equal(errors, 0);
    assert_int_equal(mlx_set_wired_limit(&now, 1 << 20), 0);
    assert_int_equal(mlx_set_wired_limit(&now, now), 0);
    assert_int_equal(now, 1 << 20);
}

static void the_hard_limit_is_an_error(void **state)
{
    const nexus_engine *engine = nexus_engine_get();
    mlx_array a = zeros(1000), big = zeros(1 << 20), sum = mlx_array_new();
    assert_int_equal(mlx_array_eval(a), 0);
    size_t held = active();
    assert_int_equal(engine->set_hard_memory_limit(held + (1 << 20)), 0);
    assert_int_equal(mlx_array_eval(big), 1);
    assert_int_equal(errors, 1);
    assert_non_null(strstr(first_error, "would pass the memory limit"));
    assert_int_equal(active(), held);
    errors = 0;
    float one = 1;
    mlx_array direct = mlx_array_new_data(&one, NULL, 0, MLX_FLOAT32);
    assert_non_null(direct.ctx); /* what fits is had */
    assert_int_equal(mlx_add(&sum, a, direct, cpu), 0);
    assert_int_equal(mlx_array_eval(sum), 0);
    assert_true(mlx_array_data_float32(sum)[999] == 1);
    assert_int_equal(engine->set_hard_memory_limit(0), held + (1 << 20));
    assert_int_equal(mlx_array_eval(big), 0); /* nothing was lost */
    assert_int_equal(errors, 0);
    mlx_array_free(direct);
    mlx_array_free(a);
    mlx_array_free(big);
    mlx_array_free(sum);
}

/* ---- a training step under failing allocations --------------------------------------------- */

/* a op b into *a; nothing where something failed before. */
typedef int (*binary)(mlx_array *, const mlx_array, const mlx_array, const mlx_stream);
static int apply(binary f, mlx_array *a, const mlx_array b)
{
    return f(a, *a, b, cpu);
}

static int number(mlx_array *res, float v)
{
    mlx_array a = mlx_array_new_data(&v, NULL, 0, MLX_FLOAT32);
    if (!a.ctx)
        return 1;
    mlx_array_set(res, a);
    return mlx_array_free(a);
}

/* The mean-squared loss of relu(x w1 + b1) w2 with x, y as the last two inputs. */
static int loss(mlx_vector_array *res, const mlx_vector_array in)
{
    mlx_array v[5], h = mlx_array_new(), zero = mlx_array_new();
    int status = 0;
    for (size_t i = 0; i < 5; i++) {
        v[i] = mlx_array_new();
        status |= mlx_vector_array_get(&v[i], in, i);
    }
    status = status || mlx_matmul(&h, v[3], v[0], cpu) || apply(mlx_add, &h, v[1]) ||
             number(&zero, 0) || apply(mlx_maximum, &h, zero) || apply(mlx_matmul, &h, v[2]) ||
             apply(mlx_subtract, &h, v[4]) || mlx_square(&h, h, cpu) || mlx_mean(&h, h, false, cpu) ||
             mlx_vector_array_set_value(res, h);
    for (size_t i = 0; i < 5; i++)
        mlx_array_free(v[i]);
    mlx_array_free(h);
    mlx_array_free(zero);
    return status;
}

static int values_of(mlx_array *res, int rows, int columns, int salt)
{
    float v[256];
    for (int i = 0; i < rows * columns; i++)
        v[i] = (float)((i * 37 + salt) % 19 - 9) / 16;
    mlx_array a = mlx_array_new_data(v, (int[]){rows, columns}, 2, MLX_FLOAT32);
    if (!a.ctx)
        return 1;
    mlx_array_set(res, a);
    return mlx_array_free(a);
}

/* Derivatives of the loss, and w - rate * dw, evaluated together. */
static int step(const mlx_closure_value_and_grad grad, mlx_array *w)
{
    mlx_vector_array in = mlx_vector_array_new_data(w, 5), all = mlx_vector_array_new();
    mlx_vector_array values = mlx_vector_array_new(), grads = mlx_vector_array_new();
    mlx_array rate = mlx_array_new(), g = mlx_array_new(), next[3];
    int status = mlx_closure_value_and_grad_apply(&values, &grads, grad, in) || number(&rate, 0.1f);
    for (size_t i = 0; i < 3; i++) {
        next[i] = mlx_array_new();
        status = status || mlx_vector_array_get(&g, grads, i) || apply(mlx_multiply, &g, rate) ||
                 mlx_subtract(&next[i], w[i], g, cpu) || mlx_vector_array_append_value(all, next[i]);
    }
    status = status || mlx_eval(all);
    for (size_t i = 0; i < 3; i++) {
        if (!status)
            mlx_array_set(&w[i], next[i]);
        mlx_array_free(next[i]);
    }
    mlx_array_free(g);
    mlx_array_free(rate);
    mlx_vector_array_free(in);
    mlx_vector_array_free(all);
    mlx_vector_array_free(values);
    mlx_vector_array_free(grads);
    return status;
}

/* Two steps from fixed weights; the loss function compiled or not. The first weight, or an error. */
static int train(bool compiled, float *first)
{
    mlx_closure f = mlx_closure_new_func(loss), c = mlx_closure_new();
    mlx_closure_value_and_grad grad = mlx_closure_value_and_grad_new();
    mlx_array w[5];
    int status = compiled ? mlx_compile(&c, f, false) : mlx_closure_set(&c, f);
    for (int i = 0; i < 5; i++)
        w[i] = mlx_array_new();
    status = status || values_of(&w[0], 6, 8, 1) || values_of(&w[1], 1, 8, 2) ||
             values_of(&w[2], 8, 2, 3) || values_of(&w[3], 4, 6, 4) || values_of(&w[4], 4, 2, 5) ||
             mlx_value_and_grad(&grad, c, (int[]){0, 1, 2}, 3) || step(grad, w) || step(grad, w);
    if (!status) {
        const float *data = mlx_array_data_float32(w[0]);
        memcpy(first, data, 48 * sizeof *first);
    }
    for (int i = 0; i < 5; i++)
        mlx_array_free(w[i]);
    mlx_closure_value_and_grad_free(grad);
    mlx_closure_free(c);
    mlx_closure_free(f);
    return status;
}

static void every_allocation_may_fail(bool compiled)
{
    float expected[48], result[48];
    assert_int_equal(train(compiled, expected), 0);
    mlx_detail_compile_clear_cache();
    mlx_synchronize(cpu);
    size_t held = active();
    int failures = 0;
    for (long n = 1;; n++, failures++) {
        errors = 0;
        nx_memory_fail_at(n);
        int status = train(compiled, result);
        bool reached = nx_memory_fail_at(0) == 0;
        mlx_detail_compile_clear_cache();
        mlx_synchronize(cpu);
        assert_int_equal(active(), held); /* nothing leaks */
        if (!reached) {
            assert_int_equal(status, 0);
            assert_int_equal(errors, 0);
            break;
        }
        assert_int_equal(status, 1);
        assert_true(errors >= 1);
        assert_non_null(strstr(first_error, "no memory"));
    }
    assert_true(failures > 20);
    assert_memory_equal(result, expected, sizeof expected);
}

static void every_allocation_of_a_step_may_fail(void **state)
{
    every_allocation_may_fail(false);
}

static void every_allocation_of_a_compiled_step_may_fail(void **state)
{
    every_allocation_may_fail(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(counters_count, start),
        cmocka_unit_test_setup(results_nobody_holds_are_let_go, start),
        cmocka_unit_test_setup(the_cache_has_a_limit, start),
        cmocka_unit_test_setup(the_memory_limit_is_a_guide, start),
        cmocka_unit_test_setup(the_hard_limit_is_an_error, start),
        cmocka_unit_test_setup(every_allocation_of_a_step_may_fail, start),
        cmocka_unit_test_setup(every_allocation_of_a_compiled_step_may_fail, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
