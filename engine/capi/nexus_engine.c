/* nexus_engine.c: nexus/engine.h: our table of extensions. */
#include "engine/capi/capi.h"
#include "engine/core/stream.h"
#include "engine/ops/attention.h"
#include "engine/ops/cache.h"
#include "engine/ops/gguf.h"
#include "engine/ops/state_scan.h"
#include "engine/ops/step_attention.h"

#pragma GCC visibility push(default)
#include "nexus/engine.h"
#pragma GCC visibility pop

static const nx_backend *cpu(void)
{
    return nx_device_backend((nx_device){NX_CPU, 0});
}

static const char *isa(void)
{
    return cpu()->level();
}

static int threads(void)
{
    return cpu()->threads();
}

static void set_threads(int n)
{
    cpu()->set_threads(n);
}

static int gguf_matmul(mlx_array *res, const mlx_array x, const mlx_array w, int ggml_type,
                       const mlx_stream s)
{
    NX_GIVE(nx_gguf_matmul(NX_ARRAY(x), NX_ARRAY(w), ggml_type, NX_STREAM(s)));
}

static int gguf_take(mlx_array *res, const mlx_array w, int ggml_type, const mlx_array indices,
                     mlx_dtype dtype, const mlx_stream s)
{
    NX_GIVE(nx_gguf_take(NX_ARRAY(w), ggml_type, NX_ARRAY(indices), NX_DTYPE(dtype), NX_STREAM(s)));
}

static int gguf_dequantize(mlx_array *res, const mlx_array w, int ggml_type, mlx_dtype dtype,
                           const mlx_stream s)
{
    NX_GIVE(nx_gguf_take(NX_ARRAY(w), ggml_type, NULL, NX_DTYPE(dtype), NX_STREAM(s)));
}

static int gguf_repack(mlx_array *res, const mlx_array w, int ggml_type, const mlx_stream s)
{
    NX_GIVE(nx_gguf_repack(NX_ARRAY(w), ggml_type, NX_STREAM(s)));
}

static int attention(mlx_array *res, const mlx_array q, const mlx_array k, const mlx_array v,
                     float scale, const mlx_array lengths, bool causal, int window,
                     const mlx_array sinks, const mlx_stream s)
{
    NX_GIVE(nx_cache_attention(NX_ARRAY(q), NX_ARRAY(k), NX_ARRAY(v), scale,
                               NX_ARRAY_OR_NULL(lengths), causal, window, NX_ARRAY_OR_NULL(sinks),
                               NX_STREAM(s)));
}

static int cache_pack(mlx_array *res, const mlx_array x, int bits, const mlx_stream s)
{
    NX_GIVE(nx_cache_pack(NX_ARRAY(x), bits, NX_STREAM(s)));
}

static int packed_attention(mlx_array *res, const mlx_array q, const mlx_array k, const mlx_array v, int bits,
                            int v_dim, float scale, const mlx_array lengths, bool causal, int window,
                            const mlx_array sinks, const mlx_stream s)
{
    NX_GIVE(nx_packed_attention(NX_ARRAY(q), NX_ARRAY(k), NX_ARRAY(v), bits, v_dim, scale,
                                NX_ARRAY_OR_NULL(lengths), causal, window, NX_ARRAY_OR_NULL(sinks),
                                NX_STREAM(s)));
}

static int state_scan(mlx_array *last, mlx_array *y, const mlx_array state, const mlx_array decay,
                      const mlx_array k, const mlx_array v, const mlx_array q, const mlx_array a,
                      const mlx_array b, const mlx_stream s)
{
    NX_SCOPE;
    nx_array *out[2] = {NULL, NULL};
    const nx_state_scan in = {NX_ARRAY(state), NX_ARRAY(decay), NX_ARRAY(k), NX_ARRAY(v), NX_ARRAY(q),
                              NX_ARRAY_OR_NULL(a), NX_ARRAY_OR_NULL(b)};
    if (!nx_state_scan_of(&in, NX_STREAM(s), out))
        return nx_report();
    nx_handle_set_take(last, nx_array_ref(out[0]));
    nx_handle_set_take(y, nx_array_ref(out[1]));
    return 0;
}

static int step_attention(mlx_array *res, mlx_vector_array *updated, const mlx_array q, const mlx_array k,
                          const mlx_array v, const mlx_vector_array caches, const mlx_array places, int bits,
                          int v_dim, float scale, int window, const mlx_array sinks, const mlx_stream s)
{
    NX_SCOPE;
    int n = (int)NX_ARRAYS(caches)->n;
    NX_OUTPUTS(out, n + 1);
    const nx_step_attention in = {NX_ARRAY(q), NX_ARRAY(k), NX_ARRAY(v), NX_ARRAY(places), NX_ARRAY_OR_NULL(sinks),
                                  NX_ARRAYS(caches)->at, n, scale, window, bits, v_dim};
    if (!nx_step_attention_of(&in, NX_STREAM(s), out))
        return nx_report();
    nx_handle_set_take(res, nx_array_ref(out[0]));
    return nx_give_vector(updated, true, out + 1, (size_t)n, __func__);
}

static int gguf_products(mlx_vector_array *res, const mlx_array x, const mlx_vector_array w, const int *ggml_types,
                         const mlx_stream s)
{
    int n = (int)NX_ARRAYS(w)->n;
    NX_OUTPUTS(out, n);
    NX_GIVE_VECTOR(out, n, nx_gguf_products(NX_ARRAY(x), NX_ARRAYS(w)->at, ggml_types, n, NX_STREAM(s), out));
}

static int affine_type(int bits, int group_size, mlx_dtype scales)
{
    return nx_affine_type(bits, group_size, NX_DTYPE(scales));
}

static int affine_repack(mlx_array *res, const mlx_array w, const mlx_array scales,
                         const mlx_array biases, int group_size, int bits, const mlx_stream s)
{
    NX_GIVE(nx_affine_repack(NX_ARRAY(w), NX_ARRAY(scales), NX_ARRAY(biases), group_size, bits,
                             NX_STREAM(s)));
}

static const nexus_engine engine = {
    .version = 7,
    .isa = isa,
    .threads = threads,
    .set_threads = set_threads,
    .gguf_supports = nx_gguf_supports,
    .gguf_matmul = gguf_matmul,
    .gguf_take = gguf_take,
    .gguf_dequantize = gguf_dequantize,
    .gguf_should_repack = nx_gguf_should_repack,
    .gguf_repack = gguf_repack,
    .attention = attention,
    .set_hard_memory_limit = nx_memory_set_hard_limit,
    .affine_type = affine_type,
    .affine_repack = affine_repack,
    .cache_pack = cache_pack,
    .packed_attention = packed_attention,
    .state_scan = state_scan,
    .step_attention = step_attention,
    .gguf_products = gguf_products,
};

const nexus_engine *nexus_engine_get(void)
{
    return &engine;
}
