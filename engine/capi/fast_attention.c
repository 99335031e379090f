/* fast.h: attention. */
#include "engine/capi/capi.h"
#include "engine/ops/attention.h"

int mlx_fast_scaled_dot_product_attention(mlx_array *res, const mlx_array queries,
                                          const mlx_array keys, const mlx_array values, float scale,
                                          const char *mask_mode, const mlx_array mask_arr,
                                          const mlx_array sinks, const mlx_stream s)
{
    NX_GIVE(nx_scaled_dot_product_attention(NX_ARRAY(queries), NX_ARRAY(keys), NX_ARRAY(values),
                                            scale, mask_mode, NX_ARRAY_OR_NULL(mask_arr),
                                            NX_ARRAY_OR_NULL(sinks), NX_STREAM(s)));
}
