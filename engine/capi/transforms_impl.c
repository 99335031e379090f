/* transforms_impl.h: the two halves of vmap. */
#include "engine/capi/closure.h"
#include "engine/graph/vmap.h"

int mlx_detail_vmap_trace(mlx_vector_array *res_0, mlx_vector_array *res_1, const mlx_closure fun,
                          const mlx_vector_array inputs, const int *in_axes, size_t in_axes_num)
{
    nx_closure *c = NX_OBJECT(nx_closure_cell, fun)->closure;
    const nx_array_vec *in = NX_ARRAYS(inputs);
    nx_array_vec s_out = {0};
    NX_POINTER(res_0);
    NX_POINTER(res_1);
    NX_LIST(in_axes, in_axes_num, INT32_MAX);
    NX_SCOPE;
    if (in_axes_num != in->n) {
        nx_fail("[vmap] %zu axes were given for %zu inputs", in_axes_num, in->n);
        return nx_report();
    }
    NX_OUTPUTS(s_in, (int64_t)in->n);
    bool ok = nx_vmap_trace(nx_closure_function(c), in->at, in_axes, in->n, s_in, &s_out);
    if (ok) {
        nx_vector_set(res_0, s_in, in->n);
        nx_vector_set(res_1, s_out.at, s_out.n);
    }
    nx_vec_clear(&s_out);
    return nx_status(ok);
}

int mlx_detail_vmap_replace(mlx_vector_array *res, const mlx_vector_array inputs,
                            const mlx_vector_array s_inputs, const mlx_vector_array s_outputs,
                            const int *in_axes, size_t in_axes_num, const int *out_axes,
                            size_t out_axes_num)
{
    const nx_array_vec *in = NX_ARRAYS(inputs), *s_in = NX_ARRAYS(s_inputs);
    const nx_array_vec *s_out = NX_ARRAYS(s_outputs);
    NX_POINTER(res);
    NX_LIST(in_axes, in_axes_num, INT32_MAX);
    NX_LIST(out_axes, out_axes_num, INT32_MAX);
    if (in_axes_num != in->n || s_in->n != in->n || out_axes_num != s_out->n) {
        nx_fail("[vmap] %zu inputs, %zu traced ones and %zu axes; %zu outputs and %zu axes", in->n,
                s_in->n, in_axes_num, s_out->n, out_axes_num);
        return nx_report();
    }
    NX_OUTPUTS(out, (int64_t)s_out->n);
    NX_GIVE_VECTOR(out, s_out->n,
                   nx_vmap_replace(in->at, s_in->at, in_axes, in->n, s_out->at, out_axes,
                                   s_out->n, out));
}
