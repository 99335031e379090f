/* graph_utils.h: graphs printed, and names for their arrays. */
#include "engine/capi/capi.h"
#include "engine/graph/print.h"

mlx_node_namer mlx_node_namer_new(void)
{
    return (mlx_node_namer){nx_calloc(1, sizeof(nx_namer))};
}

int mlx_node_namer_free(mlx_node_namer namer)
{
    if (namer.ctx)
        nx_namer_clear(namer.ctx);
    free(namer.ctx);
    return 0;
}

int mlx_node_namer_set_name(mlx_node_namer namer, const mlx_array arr, const char *name)
{
    nx_namer_set(NX_OBJECT(nx_namer, namer), NX_ARRAY(arr), NX_POINTER(name));
    return 0;
}

int mlx_node_namer_get_name(const char **name, mlx_node_namer namer, const mlx_array arr)
{
    *NX_POINTER(name) = nx_namer_get(NX_OBJECT(nx_namer, namer), NX_ARRAY(arr));
    return 0;
}

/* With the names of `namer`, or (an empty handle) with names for this time. */
static int print(void (*how)(FILE *, nx_namer *, nx_array *const *, size_t), FILE *os,
                 const mlx_node_namer namer, const mlx_vector_array outputs)
{
    const nx_array_vec *out = NX_ARRAYS(outputs);
    nx_namer own = {0};
    how(NX_POINTER(os), namer.ctx ? namer.ctx : &own, out->at, out->n);
    nx_namer_clear(&own);
    if (!ferror(os))
        return 0;
    nx_fail("[graph] the graph cannot be written to this stream");
    return nx_report();
}

int mlx_export_to_dot(FILE *os, const mlx_node_namer namer, const mlx_vector_array outputs)
{
    return print(nx_graph_dot, os, namer, outputs);
}

int mlx_print_graph(FILE *os, const mlx_node_namer namer, const mlx_vector_array outputs)
{
    return print(nx_graph_print, os, namer, outputs);
}
