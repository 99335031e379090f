/*
 * random.c: RandomBits, the keys, and the distributions made of bits. The order of operations is
 * MLX's, so that equal keys give equal numbers.
 */
#include "engine/ops/random.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/error.h"
#include "base/os.h"
#include "engine/core/prim.h"
#include "engine/core/threefry.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/rules.h"
#include "engine/ops/shape.h"

/* ---- RandomBits --------------------------------------------------------------------------------- */

static bool infer(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_random_bits_params *p = params;
    static const nx_dtype types[5] = {[1] = NX_UINT8, [2] = NX_UINT16, [4] = NX_UINT32};
    int lead = in[0]->ndim - 1;
    nx_spec_set(&out[0], in[0]->shape, lead, types[p->width]);
    if (lead + p->shape.n > NX_MAX_NDIM)
        return nx_fail("[bits] more than %d dimensions", NX_MAX_NDIM);
    memcpy(out[0].shape + lead, p->shape.v, (size_t)p->shape.n * sizeof *p->shape.v);
    out[0].ndim = lead + p->shape.n;
    return true;
}

static const nx_field fields[] = {
    {"shape", NX_FIELD_DIMS, offsetof(nx_random_bits_params, shape)},
    {"width", NX_FIELD_INT, offsetof(nx_random_bits_params, width)},
};

static bool rebuild_random_bits(const nx_rebuild *r, nx_array **out)
{
    const nx_random_bits_params *p = r->params;
    out[0] = nx_random_bits(p->shape.v, p->shape.n, p->width, r->in[0], r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_RandomBits = {
    .name = "RandomBits",
    .id = NX_PRIM_RandomBits,
    .flags = NX_PRIM_NO_GRAD,
    .params_size = sizeof(nx_random_bits_params),
    .fields = fields,
    .n_fields = 2,
    .row_inputs = 1,
    .infer = infer,
    .vmap = nx_vmap_front,
    .rebuild = rebuild_random_bits,
    .least_in = 1,
    .most_in = 1,
};

/* ---- keys --------------------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    bool seeded;
    uint32_t key[2];
} state = {.lock = PTHREAD_MUTEX_INITIALIZER};

static nx_array *key_of(const uint32_t key[2])
{
    return nx_array_from_data(key, (int[]){2}, 1, NX_UINT32);
}

static void seed_split(uint64_t seed, uint32_t key[2])
{
    key[0] = (uint32_t)(seed >> 32);
    key[1] = (uint32_t)seed;
}

nx_array *nx_random_key(uint64_t seed)
{
    uint32_t key[2];
    seed_split(seed, key);
    return key_of(key);
}

void nx_random_seed(uint64_t seed)
{
    pthread_mutex_lock(&state.lock);
    seed_split(seed, state.key);
    state.seeded = true;
    pthread_mutex_unlock(&state.lock);
}

/* The second half of a split of the process's key, which becomes the first; on the host, so that no
 * graph of keys grows. */
static nx_array *key_next(void)
{
    pthread_mutex_lock(&state.lock);
    if (!state.seeded) {
        seed_split(nx_os_monotonic_ns() ^ (uint64_t)(uintptr_t)&state << 20, state.key);
        state.seeded = true;
    }
    nx_pair a = nx_threefry(state.key[0], state.key[1], 0, 2);
    nx_pair b = nx_threefry(state.key[0], state.key[1], 1, 3);
    state.key[0] = a.first;
    state.key[1] = b.first;
    pthread_mutex_unlock(&state.lock);
    return key_of((uint32_t[]){a.second, b.second});
}

nx_array *nx_random_bits(const int *shape, int ndim, int width, nx_array *key, nx_stream *s)
{
    if (width != 1 && width != 2 && width != 4)
        return nx_fail_null("[bits] Bit width must be in {1, 2, 4} but got %d.", width);
    if (!key)
        key = key_next();
    if (!key)
        return NULL;
    if (key->dtype != NX_UINT32)
        return nx_fail_null("[bits] Expected key type uint32 but received %s.",
                            nx_dtype_name((nx_dtype)key->dtype));
    if (key->ndim < 1 || key->shape[key->ndim - 1] != 2)
        return nx_fail_null("[bits] Expected key shape (2) but received %s.",
                            nx_shape_text(key->shape, key->ndim));
    nx_random_bits_params p = {.width = width, .shape = {.n = ndim}};
    for (int i = 0; i < ndim; i++) {
        if (shape[i] < 0)
            return nx_fail_null("[bits] shape %s has a negative dimension",
                                nx_shape_text(shape, ndim));
        p.shape.v[i] = shape[i];
    }
    return nx_op(&nx_prim_RandomBits, &p, &key, 1, s);
}

nx_array *nx_random_split_num(nx_array *key, int num, nx_stream *s)
{
    return key ? nx_random_bits((int[]){num, 2}, 2, 4, key, s) : NULL;
}

bool nx_random_split(nx_array *key, nx_stream *s, nx_array **first, nx_array **second)
{
    nx_array *both = nx_random_split_num(key, 2, s), *half[2];
    if (!both || !nx_split(both, 2, 0, s, half))
        return false;
    *first = nx_reshape(half[0], (int[]){2}, 1, s);
    *second = nx_reshape(half[1], (int[]){2}, 1, s);
    return *first && *second;
}

/* ---- distributions ------------------------------------------------------------------------------ */

/* The largest number under 1. */
static double below_one(nx_dtype dtype)
{
    return dtype == NX_FLOAT16 ? 0x1.ffcp-1 : dtype == NX_BFLOAT16 ? 0x1.fep-1 : 0x1.fffffep-1;
}

/* The bits of each element over 2^32 - 1, below 1: in [0, 1), as float32. */
static nx_array *unit(const int *shape, int ndim, nx_dtype dtype, nx_array *key, nx_stream *s)
{
    nx_array *bits = nx_astype(nx_random_bits(shape, ndim, 4, key, s), NX_FLOAT32, s);
    nx_array *u = nx_divide(bits, nx_scalar(4294967295.0, NX_FLOAT32), s);
    return nx_minimum(u, nx_scalar(below_one(dtype), NX_FLOAT32), s);
}

nx_array *nx_random_uniform(nx_array *low, nx_array *high, const int *shape, int ndim, nx_dtype dtype,
                            nx_array *key, nx_stream *s)
{
    if (!nx_dtype_in(dtype, NX_FLOATS))
        return nx_fail_null("[uniform] Can only generate uniform numbers with real floating point "
                            "type.");
    if (dtype == NX_FLOAT64)
        return nx_fail_null("[uniform] Unsupported type float64.");
    low = nx_astype(low, dtype, s);
    nx_array *range = nx_subtract(nx_astype(high, dtype, s), low, s);
    nx_dims all;
    if (!range || !nx_broadcast_dims(shape, ndim, range->shape, range->ndim, &all))
        return NULL;
    if (!nx_shape_equal(all.v, all.n, shape, ndim))
        return nx_fail_null("[uniform] Cannot generate random values of shape %s from broadcasted "
                            "shape %s.",
                            nx_shape_text(shape, ndim), nx_shape_text(range->shape, range->ndim));
    nx_array *u = nx_astype(unit(shape, ndim, dtype, key, s), dtype, s);
    return nx_add(nx_multiply(range, u, s), low, s);
}

/* In (-1, 1), as float32. */
static nx_array *symmetric(const int *shape, int ndim, nx_array *key, nx_stream *s)
{
    nx_array *low = nx_scalar(-below_one(NX_FLOAT32), NX_FLOAT32);
    return nx_random_uniform(low, nx_scalar(1, NX_FLOAT32), shape, ndim, NX_FLOAT32, key, s);
}

static nx_array *shifted(nx_array *a, nx_dtype dtype, nx_array *loc, nx_stream *s)
{
    return loc ? nx_add(nx_astype(loc, dtype, s), a, s) : a;
}

/* Real and imaginary part, with half of the variance each. */
static nx_array *normal_complex(const int *shape, int ndim, nx_array *loc, nx_array *scale,
                                nx_array *key, nx_stream *s)
{
    int pairs[NX_MAX_NDIM];
    if (ndim >= NX_MAX_NDIM)
        return nx_fail_null("[normal] more than %d dimensions", NX_MAX_NDIM - 1);
    if (ndim > 0)
        memcpy(pairs, shape, (size_t)ndim * sizeof *shape);
    pairs[ndim] = 2;
    nx_array *parts = nx_random_normal(pairs, ndim + 1, NX_FLOAT32, NULL, NULL, key, s);
    nx_array *a = nx_squeeze_axis(nx_view_as(parts, NX_COMPLEX64, s), -1, s);
    nx_array *factor = nx_scalar(0.70710678118654752, NX_COMPLEX64);
    if (scale)
        factor = nx_multiply(factor, nx_astype(scale, NX_COMPLEX64, s), s);
    return shifted(nx_multiply(factor, a, s), NX_COMPLEX64, loc, s);
}

nx_array *nx_random_normal(const int *shape, int ndim, nx_dtype dtype, nx_array *loc, nx_array *scale,
                           nx_array *key, nx_stream *s)
{
    if (dtype == NX_COMPLEX64)
        return normal_complex(shape, ndim, loc, scale, key, s);
    if (!nx_dtype_in(dtype, NX_FLOATS))
        return nx_fail_null("[normal] Can only generate uniform numbers with floating point type.");
    nx_array *u = symmetric(shape, ndim, key, s);
    nx_array *factor = nx_scalar(1.4142135623730951, dtype);
    if (scale)
        factor = nx_multiply(factor, nx_astype(scale, dtype, s), s);
    nx_array *a = nx_multiply(factor, nx_astype(nx_erfinv(u, s), dtype, s), s);
    return shifted(a, dtype, loc, s);
}

nx_array *nx_random_truncated_normal(nx_array *low, nx_array *high, const int *shape, int ndim,
                                     nx_dtype dtype, nx_array *key, nx_stream *s)
{
    if (!nx_dtype_in(dtype, NX_FLOATS))
        return nx_fail_null("[trunc_normal] trunc_normal only accepts floating point dtypes.");
    nx_array *root = nx_scalar(1.4142135623730951, dtype);
    low = nx_astype(low, dtype, s);
    high = nx_astype(high, dtype, s);
    nx_array *from = nx_erf(nx_divide(low, root, s), s), *to = nx_erf(nx_divide(high, root, s), s);
    nx_array *u = nx_random_uniform(from, to, shape, ndim, dtype, key, s);
    nx_array *a = nx_multiply(root, nx_erfinv(u, s), s);
    return nx_maximum(nx_minimum(high, a, s), low, s); /* the tails may round past the limits */
}

nx_array *nx_random_gumbel(const int *shape, int ndim, nx_dtype dtype, nx_array *key, nx_stream *s)
{
    nx_array *zero = nx_scalar(0, NX_FLOAT32), *one = nx_scalar(1, NX_FLOAT32);
    nx_array *u = nx_random_uniform(zero, one, shape, ndim, dtype, key, s);
    return nx_negative(nx_ln(nx_negative(nx_ln(u, s), s), s), s);
}

nx_array *nx_random_laplace(const int *shape, int ndim, nx_dtype dtype, float loc, float scale,
                            nx_array *key, nx_stream *s)
{
    if (!nx_dtype_in(dtype, NX_FLOATS))
        return nx_fail_null("[laplace] Can only generate uniform numbers with real floating point "
                            "type.");
    nx_array *u = symmetric(shape, ndim, key, s);
    if (!u)
        return NULL;
    nx_array *size = nx_log1p(nx_multiply(nx_scalar_float(-1), nx_abs(u, s), s), s);
    nx_array *a = nx_astype(nx_multiply(nx_sign(u, s), size, s), dtype, s);
    if (scale != 1)
        a = nx_multiply(nx_scalar(scale, dtype), a, s);
    return loc != 0 ? nx_add(nx_scalar(loc, dtype), a, s) : a;
}

nx_array *nx_random_bernoulli(nx_array *p, const int *shape, int ndim, nx_array *key, nx_stream *s)
{
    if (!p)
        return NULL;
    if (!nx_dtype_in((nx_dtype)p->dtype, NX_FLOATS))
        return nx_fail_null("[bernoulli] bernoulli probability `p` must be a float type.");
    nx_dims all;
    if (!nx_broadcast_dims(shape, ndim, p->shape, p->ndim, &all))
        return NULL;
    if (!nx_shape_equal(all.v, all.n, shape, ndim))
        return nx_fail_null("[bernoulli] shape %s of p does not broadcast to %s.",
                            nx_shape_text(p->shape, p->ndim), nx_shape_text(shape, ndim));
    nx_array *bits = nx_astype(nx_random_bits(shape, ndim, 4, key, s), NX_FLOAT32, s);
    nx_array *limit = nx_multiply(p, nx_scalar(4294967295.0, NX_FLOAT32), s);
    return nx_less(bits, nx_broadcast_to(limit, shape, ndim, s), s);
}

nx_array *nx_random_randint(nx_array *low, nx_array *high, const int *shape, int ndim, nx_dtype dtype,
                            nx_array *key, nx_stream *s)
{
    if (nx_dtype_in(dtype, NX_INEXACT))
        return nx_fail_null("[randint] randint only accepts integer dtypes and bool.");
    nx_array *u = nx_random_uniform(low, high, shape, ndim, NX_FLOAT32, key, s);
    return nx_astype(nx_maximum(u, low, s), dtype, s);
}
