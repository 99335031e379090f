/*
 * export.c: a function goes into a file, and comes back without the code that made it: here, in
 * Python's MLX (mx.import_function), or in any other program.
 */
#include <unistd.h>

#include "example.h"

/* The rows of x, each with mean 0 and deviation 1, times a matrix that the file will contain. */
static int layer(mlx_vector_array *res, const mlx_vector_array in)
{
    mlx_array x = item(in, 0);
    mlx_array centred = OP(subtract, x, OP(mean_axis, x, -1, true));
    mlx_array normal = OP(divide, centred, OP(std_axis, x, -1, true, 0));
    mlx_array y = OP(matmul, normal, OP(tri, 4, 3, 0, MLX_FLOAT32));
    return mlx_vector_array_set_data(res, &y, 1);
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "layer.mlxfn";
    example_begin();
    mlx_array x = NORMAL(2, 4);
    mlx_vector_array arguments = mlx_vector_array_new_value(x);
    mlx_closure function = mlx_closure_new_func(layer);

    /* Traced with these arguments; shapeless would make it serve other sizes too. */
    mlx_export_function(path, function, arguments, false);
    mlx_imported_function imported = mlx_imported_function_new(path);

    mlx_vector_array here = mlx_vector_array_new(), there = mlx_vector_array_new();
    mlx_closure_apply(&here, function, arguments);
    mlx_imported_function_apply(&there, imported, arguments);
    print_array("from the code", item(here, 0));
    print_array("from the file", item(there, 0));
    float off = value(OP(max, OP(abs, OP(subtract, item(here, 0), item(there, 0))), false));

    unlink(path);
    mlx_vector_array_free(there);
    mlx_vector_array_free(here);
    mlx_imported_function_free(imported);
    mlx_closure_free(function);
    mlx_vector_array_free(arguments);
    return example_end(off == 0);
}
