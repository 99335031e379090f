/*
 * fast_kernel_impl.h: the functions of one kind of kernel. Included once a kind by fast_kernel.c,
 * which defines before:
 *
 *   PUBLIC(f)   the public name of function f        CONFIG, KERNEL   the handles
 *   OPTION, OPTION_NAME   the last parameter of new  NO_DEVICE   why a call fails, with the name
 */

CONFIG PUBLIC(config_new)(void)
{
    return (CONFIG){config_new()};
}

void PUBLIC(config_free)(CONFIG cls)
{
    config_free(cls.ctx);
}

int PUBLIC(config_add_output_arg)(CONFIG cls, const int *shape, size_t size, mlx_dtype dtype)
{
    nx_kernel_config *c = NX_OBJECT(nx_kernel_config, cls);
    return nx_status(
        config_add_output(c, NX_LIST(shape, size, NX_MAX_NDIM), size, NX_DTYPE(dtype)));
}

int PUBLIC(config_set_grid)(CONFIG cls, int grid1, int grid2, int grid3)
{
    int *grid = NX_OBJECT(nx_kernel_config, cls)->grid;
    return nx_status(config_set_size(grid, "grid", grid1, grid2, grid3));
}

int PUBLIC(config_set_thread_group)(CONFIG cls, int thread1, int thread2, int thread3)
{
    int *group = NX_OBJECT(nx_kernel_config, cls)->group;
    return nx_status(config_set_size(group, "thread group", thread1, thread2, thread3));
}

int PUBLIC(config_set_init_value)(CONFIG cls, float value)
{
    nx_kernel_config *c = NX_OBJECT(nx_kernel_config, cls);
    c->has_init = true;
    c->init = value;
    return 0;
}

int PUBLIC(config_set_verbose)(CONFIG cls, bool verbose)
{
    NX_OBJECT(nx_kernel_config, cls)->verbose = verbose;
    return 0;
}

int PUBLIC(config_add_template_arg_dtype)(CONFIG cls, const char *name, mlx_dtype dtype)
{
    config_add_template(NX_OBJECT(nx_kernel_config, cls), NX_POINTER(name), NX_TEMPLATE_DTYPE,
                        (int)NX_DTYPE(dtype));
    return 0;
}

int PUBLIC(config_add_template_arg_int)(CONFIG cls, const char *name, int value)
{
    config_add_template(NX_OBJECT(nx_kernel_config, cls), NX_POINTER(name), NX_TEMPLATE_INT, value);
    return 0;
}

int PUBLIC(config_add_template_arg_bool)(CONFIG cls, const char *name, bool value)
{
    config_add_template(NX_OBJECT(nx_kernel_config, cls), NX_POINTER(name), NX_TEMPLATE_BOOL, value);
    return 0;
}

KERNEL PUBLIC(new)(const char *name, const mlx_vector_string input_names,
                   const mlx_vector_string output_names, const char *source, const char *header,
                   bool ensure_row_contiguous, OPTION)
{
    if (!name || !source) {
        nx_report_empty(__func__, name ? "source" : "name");
        return (KERNEL){NULL};
    }
    return (KERNEL){kernel_new(name, input_names, output_names, source, header,
                               ensure_row_contiguous, OPTION_NAME)};
}

void PUBLIC(free)(KERNEL cls)
{
    kernel_free(cls.ctx);
}

int PUBLIC(apply)(mlx_vector_array *outputs, KERNEL cls, const mlx_vector_array inputs,
                  const CONFIG config, const mlx_stream stream)
{
    nx_source_kernel *k = NX_OBJECT(nx_source_kernel, cls);
    NX_POINTER(outputs);
    NX_STREAM(stream);
    if (call_check(k, NX_ARRAYS(inputs), NX_OBJECT(nx_kernel_config, config)))
        nx_fail(NO_DEVICE, k->name);
    return nx_report();
}

#undef PUBLIC
#undef CONFIG
#undef KERNEL
#undef OPTION
#undef OPTION_NAME
#undef NO_DEVICE
