/* Kernels in source form: the settings are kept as given, and a call says what is missing here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "engine/capi/fast_kernel.h"

static char last_error[512];
static int errors;

static void on_error(const char *message, void *data)
{
    errors++;
    snprintf(last_error, sizeof last_error, "%s", message);
}

static int start(void **state)
{
    errors = 0;
    mlx_set_error_handler(on_error, NULL, NULL);
    return 0;
}

static void assert_one_error(const char *part)
{
    assert_int_equal(errors, 1);
    if (!strstr(last_error, part))
        fail_msg("\"%s\" is not in \"%s\"", part, last_error);
    errors = 0;
}

static void settings_are_kept(void **state)
{
    mlx_fast_cuda_kernel_config cfg = mlx_fast_cuda_kernel_config_new();
    nx_kernel_config *c = cfg.ctx;
    assert_true(c->grid[0] == 1 && c->group[2] == 1 && !c->has_init && !c->verbose);
    assert_int_equal(mlx_fast_cuda_kernel_config_add_output_arg(cfg, (int[]){2, 3}, 2, MLX_FLOAT16), 0);
    assert_int_equal(mlx_fast_cuda_kernel_config_add_output_arg(cfg, NULL, 0, MLX_INT8), 0);
    assert_int_equal(mlx_fast_cuda_kernel_config_set_grid(cfg, 4, 5, 6), 0);
    assert_int_equal(mlx_fast_cuda_kernel_config_set_thread_group(cfg, 7, 8, 9), 0);
    assert_int_equal(mlx_fast_cuda_kernel_config_set_init_value(cfg, 2.5f), 0);
    assert_int_equal(mlx_fast_cuda_kernel_config_set_verbose(cfg, true), 0);
    char name[] = "T";
    assert_int_equal(mlx_fast_cuda_kernel_config_add_template_arg_dtype(cfg, name, MLX_BFLOAT16), 0);
    name[0] = '?'; /* names are copied */
    assert_int_equal(mlx_fast_cuda_kernel_config_add_template_arg_int(cfg, "N", 3), 0);
    assert_int_equal(mlx_fast_cuda_kernel_config_add_template_arg_bool(cfg, "fast", true), 0);
    assert_int_equal(mlx_fast_cuda_kernel_config_add_template_arg_int(cfg, "N", -8), 0);

    assert_int_equal(c->outputs.n, 2);
    assert_int_equal(c->outputs.at[0].shape.n, 2);
    assert_int_equal(c->outputs.at[0].shape.v[1], 3);
    assert_int_equal(c->outputs.at[0].dtype, NX_FLOAT16);
    assert_int_equal(c->outputs.at[1].shape.n, 0);
    assert_true(c->grid[0] == 4 && c->grid[1] == 5 && c->grid[2] == 6);
    assert_true(c->group[0] == 7 && c->group[1] == 8 && c->group[2] == 9);
    assert_true(c->has_init && c->init == 2.5f && c->verbose);
    assert_int_equal(c->templates.n, 3); /* the second N replaced the first */
    assert_string_equal(c->templates.at[0].name, "T");
    assert_int_equal(c->templates.at[0].kind, NX_TEMPLATE_DTYPE);
    assert_int_equal(c->templates.at[0].value, NX_BFLOAT16);
    assert_int_equal(c->templates.at[1].value, -8);
    assert_int_equal(c->templates.at[2].kind, NX_TEMPLATE_BOOL);
    mlx_fast_cuda_kernel_config_free(cfg);
}

static void bad_settings_are_refused(void **state)
{
    mlx_fast_metal_kernel_config cfg = mlx_fast_metal_kernel_config_new();
    assert_int_equal(mlx_fast_metal_kernel_config_set_grid(cfg, 1, 0, 1), 1);
    assert_one_error("1 x 0 x 1");
    assert_int_equal(mlx_fast_metal_kernel_config_add_output_arg(cfg, (int[]){-2}, 1, MLX_INT8), 1);
    assert_one_error("negative dimension");
    assert_int_equal(mlx_fast_metal_kernel_config_add_output_arg(cfg, (int[]){2}, 99, MLX_INT8), 1);
    assert_one_error("99");
    assert_int_equal(
        mlx_fast_metal_kernel_config_add_template_arg_dtype(cfg, "T", (mlx_dtype)99), 1);
    assert_one_error("no element type");
    assert_int_equal(mlx_fast_metal_kernel_config_add_template_arg_int(cfg, NULL, 1), 1);
    assert_one_error("name");
    mlx_fast_metal_kernel_config_free(cfg);
    assert_int_equal(mlx_fast_metal_kernel_config_set_verbose((mlx_fast_metal_kernel_config){0}, 1),
                     1);
    assert_one_error("cls is empty");
}

static mlx_vector_string one_name(const char *name)
{
    return mlx_vector_string_new_data(&name, 1);
}

static void a_call_says_what_is_missing(void **state)
{
    mlx_vector_string x = one_name("x"), y = one_name("y");
    mlx_fast_metal_kernel k = mlx_fast_metal_kernel_new("twice", x, y, "y[0] = x[0];", "", true, true);
    mlx_fast_metal_kernel_config cfg = mlx_fast_metal_kernel_config_new();
    mlx_array a = mlx_array_new_float(1);
    mlx_vector_array in = mlx_vector_array_new_value(a), out = {0};
    mlx_stream s = mlx_default_cpu_stream_new();
    nx_source_kernel *kernel = k.ctx;
    assert_string_equal(kernel->source, "y[0] = x[0];");
    assert_string_equal(kernel->inputs.at[0], "x");
    assert_true(kernel->row_inputs && kernel->option == 1);

    assert_int_equal(mlx_fast_metal_kernel_apply(&out, k, in, cfg, s), 1);
    assert_one_error("1 outputs");
    mlx_fast_metal_kernel_config_add_output_arg(cfg, NULL, 0, MLX_FLOAT32);
    assert_int_equal(mlx_fast_metal_kernel_apply(&out, k, in, cfg, s), 1);
    assert_one_error("twice cannot run: this library has no Metal");
    assert_null(out.ctx);
    mlx_vector_array_append_value(in, a);
    assert_int_equal(mlx_fast_metal_kernel_apply(&out, k, in, cfg, s), 1);
    assert_one_error("1 inputs, 2 arrays");

    mlx_fast_cuda_kernel none = mlx_fast_cuda_kernel_new(NULL, x, y, "", "", true, 0);
    assert_null(none.ctx);
    assert_one_error("name");
    mlx_fast_cuda_kernel_free(none);
    mlx_vector_array_free(in);
    mlx_array_free(a);
    mlx_fast_metal_kernel_config_free(cfg);
    mlx_fast_metal_kernel_free(k);
    mlx_vector_string_free(x);
    mlx_vector_string_free(y);
}

static void accelerators_are_answered_truthfully(void **state)
{
    bool there = true;
    assert_int_equal(mlx_metal_is_available(&there), 0);
    assert_false(there);
    there = true;
    assert_int_equal(mlx_cuda_is_available(&there), 0);
    assert_false(there);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(settings_are_kept, start),
        cmocka_unit_test_setup(bad_settings_are_refused, start),
        cmocka_unit_test_setup(a_call_says_what_is_missing, start),
        cmocka_unit_test_setup(accelerators_are_answered_truthfully, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
