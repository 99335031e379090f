/*
 * lazy.c: operations build a graph, and nothing is computed before a value is asked for.
 */
#include "example.h"

int main(void)
{
    example_begin();

    mlx_array x = NORMAL(1024, 1024);
    mlx_array_eval(x);

    /* Products of large matrices are written down in no time. */
    double start = seconds();
    mlx_array y = OP(matmul, x, x);
    mlx_array z = OP(matmul, y, x);
    mlx_array never = OP(matmul, z, z); /* nobody asks for this one: it is never computed */
    mlx_array result = OP(sum, z, false);
    double built = seconds() - start;

    /* The graph is there to be looked at. */
    mlx_node_namer namer = mlx_node_namer_new();
    mlx_vector_array outputs = mlx_vector_array_new_value(result);
    puts("The graph of the result:");
    mlx_print_graph(stdout, namer, outputs);

    /* mlx_eval computes what its outputs need. */
    start = seconds();
    mlx_eval(outputs);
    double computed = seconds() - start;
    printf("built in %.3f ms, computed in %.3f ms\n", 1e3 * built, 1e3 * computed);

    /* What was computed stays: asking again costs nothing. */
    start = seconds();
    float sum = value(result);
    double asked = seconds() - start;
    printf("the sum is %g; asking for it took %.3f ms\n", (double)sum, 1e3 * asked);

    bool available;
    _mlx_array_is_available(&available, never);
    printf("the product that nobody asked for is %scomputed\n", available ? "" : "not ");
    mlx_vector_array_free(outputs);
    mlx_node_namer_free(namer);
    return example_end(built < computed && asked < computed && !available);
}
