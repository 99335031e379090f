/* Transforms from C: long chains, closures and their payloads, errors inside functions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/error.h"
#include "engine/core/eval.h"
#include "engine/core/scope.h"
#include "engine/graph/grad.h"
#include "engine/ops/elementwise.h"
#include "mlx/c/mlx.h"

static nx_stream *cpu(void)
{
    return nx_stream_default((nx_device){NX_CPU, 0});
}

/* ---- the engine's own functions ------------------------------------------------------------- */

enum { LONG = 100000 };

static bool chain(void *self, nx_array *const *in, size_t n, nx_array_vec *out)
{
    nx_array *y = in[0];
    for (int i = 0; i < LONG; i++)
        y = nx_negative(y, cpu());
    nx_vec_push(out, y);
    return y != NULL;
}

/* Neither the walk nor what it builds recurses, and neither is quadratic. */
static void long_chains_differentiate(void **state)
{
    size_t before = nx_memory_active();
    nx_scope scope = nx_scope_open();
    nx_array *x = nx_scalar_float(2), *one = nx_scalar_float(1);
    nx_array_vec values = {0}, grads = {0};
    assert_true(nx_vjp((nx_function){chain, NULL}, &x, 1, &one, 1, &values, &grads));
    assert_true(nx_eval(grads.at, 1, true));
    assert_true(*(float *)grads.at[0]->data == 1);
    values.n = grads.n = 0;
    assert_true(nx_jvp((nx_function){chain, NULL}, &x, 1, &one, 1, &values, &grads));
    assert_true(nx_eval(grads.at, 1, true));
    assert_true(*(float *)grads.at[0]->data == 1);
    nx_vec_clear(&values);
    nx_vec_clear(&grads);
    nx_scope_close(scope);
    assert_int_equal(nx_memory_active(), before);
}

static bool shared(void *self, nx_array *const *in, size_t n, nx_array_vec *out)
{
    nx_array *y = in[0];
    for (int i = 0; i < 200; i++) /* 2^200 paths, 200 nodes */
        y = nx_multiply(nx_add(y, y, cpu()), nx_scalar_float(0.5f), cpu());
    nx_vec_push(out, y);
    return y != NULL;
}

static void shared_nodes_are_visited_once(void **state)
{
    nx_scope scope = nx_scope_open();
    nx_array *x = nx_scalar_float(2), *one = nx_scalar_float(1);
    nx_array_vec values = {0}, grads = {0};
    assert_true(nx_vjp((nx_function){shared, NULL}, &x, 1, &one, 1, &values, &grads));
    assert_true(nx_eval(grads.at, 1, true));
    assert_true(*(float *)grads.at[0]->data == 1);
    nx_vec_clear(&values);
    nx_vec_clear(&grads);
    nx_scope_close(scope);
}

/* ---- closures ------------------------------------------------------------------------------- */

static int n_errors;
static void count_error(const char *message, void *data)
{
    n_errors++;
}

static void drop(void *payload)
{
    ++*(int *)payload;
}

static int square(mlx_vector_array *res, const mlx_vector_array in, void *payload)
{
    mlx_array x = mlx_array_new(), y = mlx_array_new();
    mlx_stream s = mlx_default_cpu_stream_new();
    mlx_vector_array_get(&x, in, 0);
    int status = mlx_square(&y, x, s);
    mlx_vector_array_set_value(res, y);
    mlx_array_free(x);
    mlx_array_free(y);
    mlx_stream_free(s);
    return status;
}

static int refuse(mlx_vector_array *res, const mlx_vector_array in, void *payload)
{
    return 1;
}

static mlx_vector_array number(float v)
{
    mlx_array x = mlx_array_new_float(v);
    mlx_vector_array vec = mlx_vector_array_new_value(x);
    mlx_array_free(x);
    return vec;
}

static float first(const mlx_vector_array v)
{
    mlx_array x = mlx_array_new();
    float value = 0;
    mlx_vector_array_get(&x, v, 0);
    assert_int_equal(mlx_array_item_float32(&value, x), 0);
    mlx_array_free(x);
    return value;
}

static void payloads_are_dropped_once(void **state)
{
    int dropped = 0;
    mlx_closure f = mlx_closure_new_func_payload(square, &dropped, drop);
    mlx_closure compiled = mlx_closure_new(), again = mlx_closure_new();
    mlx_closure_value_and_grad both = mlx_closure_value_and_grad_new();
    assert_int_equal(mlx_compile(&compiled, f, false), 0);
    assert_int_equal(mlx_checkpoint(&again, compiled), 0);
    assert_int_equal(mlx_value_and_grad(&both, again, (int[]){0}, 1), 0);
    mlx_closure_free(f);
    mlx_closure_free(compiled);
    mlx_closure_free(again);
    assert_int_equal(dropped, 0);
    for (int i = 1; i < 4; i++) {
        mlx_vector_array in = number((float)i), values = {NULL}, grads = {NULL};
        assert_int_equal(mlx_closure_value_and_grad_apply(&values, &grads, both, in), 0);
        assert_true(first(values) == (float)(i * i) && first(grads) == (float)(2 * i));
        mlx_vector_array_free(in);
        mlx_vector_array_free(values);
        mlx_vector_array_free(grads);
    }
    assert_int_equal(dropped, 0);
    mlx_closure_value_and_grad_free(both);
    assert_int_equal(dropped, 1);
}

static void errors_inside_functions_come_out(void **state)
{
    int dropped = 0;
    mlx_set_error_handler(count_error, NULL, NULL);
    mlx_closure f = mlx_closure_new_func_payload(refuse, &dropped, drop);
    mlx_closure compiled = mlx_closure_new();
    mlx_vector_array in = number(1), out = {NULL}, grads = {NULL};
    assert_int_equal(mlx_compile(&compiled, f, false), 0);
    n_errors = 0;
    assert_int_equal(mlx_vjp(&out, &grads, f, in, in), 1);
    assert_int_equal(mlx_jvp(&out, &grads, f, in, in), 1);
    assert_int_equal(mlx_closure_apply(&out, compiled, in), 1);
    assert_int_equal(mlx_detail_vmap_trace(&out, &grads, f, in, (int[]){-1}, 1), 1);
    assert_int_equal(n_errors, 4);
    assert_null(out.ctx);
    assert_null(grads.ctx);
    assert_int_equal(nx_tracing, 0); /* no transform runs any more */
    mlx_closure_free(compiled);
    mlx_closure_free(f);
    assert_int_equal(dropped, 1);
    mlx_vector_array_free(in);
    mlx_set_error_handler(NULL, NULL, NULL);
}

static void compile_can_be_switched_off(void **state)
{
    mlx_closure f = mlx_closure_new_func_payload(square, NULL, NULL), compiled = mlx_closure_new();
    mlx_vector_array in = number(3), out = {NULL};
    assert_int_equal(mlx_detail_compile(&compiled, f, 7, false, NULL, 0), 0);
    mlx_disable_compile();
    assert_int_equal(mlx_closure_apply(&out, compiled, in), 0);
    assert_true(first(out) == 9);
    mlx_enable_compile();
    assert_int_equal(mlx_closure_apply(&out, compiled, in), 0);
    assert_true(first(out) == 9);
    assert_int_equal(mlx_detail_compile_erase(7), 0);
    assert_int_equal(mlx_closure_apply(&out, compiled, in), 0);
    assert_int_equal(mlx_detail_compile_clear_cache(), 0);
    mlx_closure_free(f);
    mlx_closure_free(compiled);
    mlx_vector_array_free(in);
    mlx_vector_array_free(out);
}

static void graphs_are_printed(void **state)
{
    char *text = NULL;
    size_t size = 0;
    const char *name = NULL;
    mlx_stream s = mlx_default_cpu_stream_new();
    mlx_array x = mlx_array_new_float(2), y = mlx_array_new();
    mlx_node_namer names = mlx_node_namer_new();
    mlx_vector_array out = mlx_vector_array_new();
    mlx_exp(&y, x, s);
    mlx_vector_array_append_value(out, y);
    mlx_node_namer_set_name(names, x, "an \"x\"");
    FILE *f = open_memstream(&text, &size);
    assert_int_equal(mlx_export_to_dot(f, names, out), 0);
    assert_int_equal(mlx_print_graph(f, names, out), 0);
    fclose(f);
    assert_non_null(strstr(text, "{ rank=source; \"an \\\"x\\\"\"; }\n"));
    assert_non_null(strstr(text, "[label =\"Exp\", shape=rectangle]"));
    assert_non_null(strstr(text, "{ rank=sink; \"B\"; }\n"));
    assert_non_null(strstr(text, "Exp an \"x\" [(), float32] -> B [(), float32]\n"));
    assert_int_equal(mlx_node_namer_get_name(&name, names, y), 0);
    assert_string_equal(name, "B");
    free(text);
    mlx_node_namer_free(names);
    mlx_vector_array_free(out);
    mlx_array_free(x);
    mlx_array_free(y);
    mlx_stream_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_chains_differentiate),
        cmocka_unit_test(shared_nodes_are_visited_once),
        cmocka_unit_test(payloads_are_dropped_once),
        cmocka_unit_test(errors_inside_functions_come_out),
        cmocka_unit_test(compile_can_be_switched_off),
        cmocka_unit_test(graphs_are_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
