/* fast.h: operations of neural networks in one piece. */
#include "engine/capi/capi.h"
#include "engine/ops/norm.h"
#include "engine/ops/rope.h"

int mlx_fast_rms_norm(mlx_array *res, const mlx_array x, const mlx_array weight, float eps,
                      const mlx_stream s)
{
    NX_GIVE(nx_rms_norm(NX_ARRAY(x), NX_ARRAY_OR_NULL(weight), eps, NX_STREAM(s)));
}

int mlx_fast_layer_norm(mlx_array *res, const mlx_array x, const mlx_array weight,
                        const mlx_array bias, float eps, const mlx_stream s)
{
    NX_GIVE(nx_layer_norm(NX_ARRAY(x), NX_ARRAY_OR_NULL(weight), NX_ARRAY_OR_NULL(bias), eps,
                          NX_STREAM(s)));
}

static nx_rope_options rope_options(int dims, bool traditional, mlx_optional_float base,
                                    float scale, nx_array *freqs)
{
    return (nx_rope_options){.dims = dims,
                             .traditional = traditional,
                             .has_base = base.has_value,
                             .base = base.value,
                             .scale = scale,
                             .freqs = freqs};
}

int mlx_fast_rope(mlx_array *res, const mlx_array x, int dims, bool traditional,
                  mlx_optional_float base, float scale, int offset, const mlx_array freqs,
                  const mlx_stream s)
{
    nx_rope_options o = rope_options(dims, traditional, base, scale, NX_ARRAY_OR_NULL(freqs));
    NX_GIVE(nx_rope_at(NX_ARRAY(x), &o, offset, NX_STREAM(s)));
}

int mlx_fast_rope_dynamic(mlx_array *res, const mlx_array x, int dims, bool traditional,
                          mlx_optional_float base, float scale, const mlx_array offset,
                          const mlx_array freqs, const mlx_stream s)
{
    nx_rope_options o = rope_options(dims, traditional, base, scale, NX_ARRAY_OR_NULL(freqs));
    NX_GIVE(nx_rope(NX_ARRAY(x), &o, NX_ARRAY(offset), NX_STREAM(s)));
}
