/* fast.h: kernels in source form. They are kept as given; this engine has nothing to run them on. */
#include "engine/capi/fast_kernel.h"

#include <string.h>

/* ---- settings ------------------------------------------------------------------------------ */

static nx_kernel_config *config_new(void)
{
    nx_kernel_config *c = nx_calloc(1, sizeof *c);
    for (int i = 0; i < 3; i++)
        c->grid[i] = c->group[i] = 1;
    return c;
}

static void config_free(nx_kernel_config *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->templates.n; i++)
        free(c->templates.at[i].name);
    nx_vec_clear(&c->templates);
    nx_vec_clear(&c->outputs);
    free(c);
}

static bool config_add_output(nx_kernel_config *c, const int *shape, size_t size, nx_dtype dtype)
{
    nx_kernel_output o = {.dtype = dtype};
    for (size_t i = 0; i < size; i++) {
        if (shape[i] < 0)
            return nx_fail("[fast_kernel] an output of shape %s has a negative dimension",
                           nx_shape_text(shape, (int)size));
        o.shape.v[o.shape.n++] = shape[i];
    }
    nx_vec_push(&c->outputs, o);
    return true;
}

/* Threads are counted in three dimensions, each at least one. */
static bool config_set_size(int *size, const char *what, int x, int y, int z)
{
    if (x < 1 || y < 1 || z < 1)
        return nx_fail("[fast_kernel] a %s of %d x %d x %d has no threads", what, x, y, z);
    size[0] = x;
    size[1] = y;
    size[2] = z;
    return true;
}

/* A name that was given before gets the new value. */
static void config_add_template(nx_kernel_config *c, const char *name, int kind, int value)
{
    nx_kernel_template *t = NULL;
    for (size_t i = 0; i < c->templates.n && !t; i++)
        if (strcmp(c->templates.at[i].name, name) == 0)
            t = &c->templates.at[i];
    if (!t) {
        nx_vec_push(&c->templates, (nx_kernel_template){.name = nx_strdup(name)});
        t = &nx_vec_last(&c->templates);
    }
    t->kind = kind;
    t->value = value;
}

/* ---- kernels ------------------------------------------------------------------------------- */

static void names_copy(nx_string_vec *to, mlx_vector_string from)
{
    const nx_string_vec *names = from.ctx;
    for (size_t i = 0; names && i < names->n; i++)
        nx_vec_push(to, nx_strdup(names->at[i]));
}

static void names_clear(nx_string_vec *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->at[i]);
    nx_vec_clear(names);
}

static void *kernel_new(const char *name, mlx_vector_string inputs, mlx_vector_string outputs,
                        const char *source, const char *header, bool row_inputs, int option)
{
    nx_source_kernel *k = nx_calloc(1, sizeof *k);
    k->name = nx_strdup(name);
    k->source = nx_strdup(source);
    k->header = nx_strdup(header ? header : "");
    names_copy(&k->inputs, inputs);
    names_copy(&k->outputs, outputs);
    k->row_inputs = row_inputs;
    k->option = option;
    return k;
}

static void kernel_free(nx_source_kernel *k)
{
    if (!k)
        return;
    names_clear(&k->inputs);
    names_clear(&k->outputs);
    free(k->name);
    free(k->source);
    free(k->header);
    free(k);
}

/* What a call says before it says that there is nothing to run it on. */
static bool call_check(const nx_source_kernel *k, const nx_array_vec *inputs,
                       const nx_kernel_config *c)
{
    if (inputs->n != k->inputs.n)
        return nx_fail("[fast_kernel] %s has %zu inputs, %zu arrays were given", k->name,
                       k->inputs.n, inputs->n);
    if (c->outputs.n != k->outputs.n)
        return nx_fail("[fast_kernel] %s has %zu outputs, shapes were given for %zu", k->name,
                       k->outputs.n, c->outputs.n);
    return true;
}

#define PUBLIC(f)   mlx_fast_cuda_kernel_##f
#define CONFIG      mlx_fast_cuda_kernel_config
#define KERNEL      mlx_fast_cuda_kernel
#define OPTION      int shared_memory
#define OPTION_NAME shared_memory
#define NO_DEVICE   "[cuda_kernel] %s cannot run: this library has no CUDA back end"
#include "engine/capi/fast_kernel_impl.h"

#define PUBLIC(f)   mlx_fast_metal_kernel_##f
#define CONFIG      mlx_fast_metal_kernel_config
#define KERNEL      mlx_fast_metal_kernel
#define OPTION      bool atomic_outputs
#define OPTION_NAME atomic_outputs
#define NO_DEVICE   "[metal_kernel] %s cannot run: this library has no Metal back end"
#include "engine/capi/fast_kernel_impl.h"
