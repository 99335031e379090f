/*
 * step_attention.c: StepAttention: an extension of ours: what a step of decoding does in a layer, for
 * many texts at once: a key and a value go into each text's cache, and its query looks over it.
 */
#include "engine/ops/step_attention.h"

#include "base/error.h"
#include "base/vec.h"
#include "engine/core/prim.h"
#include "engine/ops/cache.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"

enum { Q, K, V, PLACES, FIXED }; /* inputs; then the sinks, if any, and the caches */

static const nx_field fields[] = {
    {"scale", NX_FIELD_FLOAT, offsetof(nx_step_attention_params, scale)},
    {"window", NX_FIELD_INT, offsetof(nx_step_attention_params, window)},
    {"has_sinks", NX_FIELD_BOOL, offsetof(nx_step_attention_params, has_sinks)},
    {"packed", NX_FIELD_INT, offsetof(nx_step_attention_params, packed)},
    {"v_dim", NX_FIELD_INT, offsetof(nx_step_attention_params, v_dim)},
};

static bool infer(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_step_attention_params *p = params;
    nx_spec_like(&out[0], in[Q], (nx_dtype)in[Q]->dtype);
    out[0].shape[3] = p->v_dim;
    for (int i = 1; i < n_out; i++) {
        const nx_array *cache = in[FIXED + p->has_sinks + i - 1];
        nx_spec_like(&out[i], cache, (nx_dtype)cache->dtype);
    }
    return true;
}

const nx_prim nx_prim_StepAttention = {
    .name = "StepAttention",
    .id = NX_PRIM_StepAttention,
    .flags = NX_PRIM_NO_GRAD | NX_PRIM_VMAP_SLICES | NX_PRIM_UPDATES_LAST,
    .row_inputs = 1 << K | 1 << V | 1 << PLACES,
    .params_size = sizeof(nx_step_attention_params),
    .fields = fields,
    .n_fields = sizeof fields / sizeof *fields,
    .infer = infer,
};

#define SHAPE(x) nx_shape_text((x)->shape, (x)->ndim)

static bool check_rows(const nx_array *x, const char *what, int n, bool packed)
{
    if (x->ndim != 4 || x->shape[0] != n || x->shape[1] < 1 || x->shape[2] != 1 || x->shape[3] < 1 ||
        !(packed ? x->dtype == NX_UINT8 : nx_dtype_in((nx_dtype)x->dtype, NX_FLOATS)))
        return nx_fail("[step_attention] %s %s are no %s of %d texts", nx_dtype_name((nx_dtype)x->dtype),
                       SHAPE(x), what, n);
    return true;
}

/* A cache for rows [N, Hkv, 1, D] like these. */
static bool check_cache(const nx_array *cache, const nx_array *rows, const nx_array *first)
{
    bool known = cache->dtype == NX_FLOAT32 || cache->dtype == NX_FLOAT16 || cache->dtype == NX_BFLOAT16 ||
                 cache->dtype == NX_UINT8;
    if (cache->ndim != 4 || cache->shape[0] != 1 || cache->shape[1] != rows->shape[1] || cache->shape[2] < 1 ||
        cache->shape[3] != rows->shape[3] || cache->dtype != first->dtype || !known ||
        (cache->dtype == NX_UINT8) != (rows->dtype == NX_UINT8))
        return nx_fail("[step_attention] a cache %s %s takes no rows %s %s",
                       nx_dtype_name((nx_dtype)cache->dtype), SHAPE(cache),
                       nx_dtype_name((nx_dtype)rows->dtype), SHAPE(rows));
    return true;
}

static bool serve(const nx_step_attention *in)
{
    const nx_array *q = in->q, *k = in->k, *v = in->v;
    if (v->shape[1] != k->shape[1] || q->shape[1] % k->shape[1])
        return false;
    if (!in->bits)
        return k->shape[3] == q->shape[3];
    return in->v_dim >= 1 && k->shape[3] == nx_cache_row_bytes(in->bits, q->shape[3]) &&
           v->shape[3] == nx_cache_row_bytes(in->bits, in->v_dim);
}

static bool check(const nx_step_attention *in)
{
    int n = in->n_caches / 2;
    bool packed = in->bits != 0;
    if (packed && in->bits != 8 && in->bits != 4)
        return nx_fail("[step_attention] %d bits are not possible: 8 or 4 are, or 0 for numbers", in->bits);
    if (!check_rows(in->q, "queries", n, false) || !check_rows(in->k, "keys", n, packed) ||
        !check_rows(in->v, "values", n, packed))
        return false;
    if (!serve(in))
        return nx_fail("[step_attention] keys %s and values %s do not serve queries %s", SHAPE(in->k),
                       SHAPE(in->v), SHAPE(in->q));
    if (in->places->ndim != 1 || in->places->shape[0] != n ||
        !nx_dtype_in((nx_dtype)in->places->dtype, NX_INTEGERS))
        return nx_fail("[step_attention] places must be integers of shape (%d), not %s %s", n,
                       nx_dtype_name((nx_dtype)in->places->dtype), SHAPE(in->places));
    if (in->sinks && (in->sinks->ndim != 1 || in->sinks->shape[0] != in->q->shape[1]))
        return nx_fail("[step_attention] sinks %s are not one for each of %d heads", SHAPE(in->sinks),
                       in->q->shape[1]);
    for (int i = 0; i < in->n_caches; i++)
        if (!check_cache(in->caches[i], i % 2 ? in->v : in->k, in->caches[0]))
            return false;
    return in->window >= 0 || nx_fail("[step_attention] a window of %d keys is not possible", in->window);
}

bool nx_step_attention_of(const nx_step_attention *in, nx_stream *s, nx_array **out)
{
    if (!in->q || !in->k || !in->v || !in->places)
        return false;
    for (int i = 0; i < in->n_caches; i++)
        if (!in->caches[i])
            return false;
    if (in->n_caches < 2 || in->n_caches % 2)
        return nx_fail("[step_attention] %d arrays are no keys and values by turns", in->n_caches);
    if (!check(in))
        return false;
    nx_dtype kept = (nx_dtype)in->caches[0]->dtype;
    nx_step_attention_params p = {.scale = in->scale, .window = in->window, .has_sinks = in->sinks != NULL,
                                  .packed = in->bits, .v_dim = in->bits ? in->v_dim : in->v->shape[3]};
    NX_VEC(nx_array *) all = {0};
    nx_vec_push(&all, in->q);
    nx_vec_push(&all, nx_astype(in->k, kept, s));
    nx_vec_push(&all, nx_astype(in->v, kept, s));
    nx_vec_push(&all, nx_astype(in->places, NX_INT32, s));
    if (in->sinks)
        nx_vec_push(&all, nx_astype(in->sinks, NX_FLOAT32, s));
    for (int i = 0; i < in->n_caches; i++)
        nx_vec_push(&all, in->caches[i]);
    bool ok = nx_op_n(&nx_prim_StepAttention, &p, all.at, (int)all.n, s, out, in->n_caches + 1);
    nx_vec_clear(&all);
    return ok;
}
