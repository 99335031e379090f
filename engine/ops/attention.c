/*
 * attention.c: ScaledDotProductAttention: softmax(scale q k^T + mask) v in one pass over the keys.
 */
#include "engine/ops/attention.h"

#include <float.h>
#include <string.h>

#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/creation.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/matmul.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/reduce.h"
#include "engine/ops/rules.h"
#include "engine/ops/softmax.h"

#define SHAPE(a) nx_shape_text((a)->shape, (a)->ndim)

static bool infer(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_attention_params *p = params;
    nx_spec_like(&out[0], in[0], (nx_dtype)in[0]->dtype);
    out[0].shape[3] = p->packed ? p->v_dim : in[2]->shape[3];
    return true;
}

static const nx_field fields[] = {
    {"scale", NX_FIELD_FLOAT, offsetof(nx_attention_params, scale)},
    {"causal", NX_FIELD_BOOL, offsetof(nx_attention_params, causal)},
    {"has_sinks", NX_FIELD_BOOL, offsetof(nx_attention_params, has_sinks)},
    {"has_mask", NX_FIELD_BOOL, offsetof(nx_attention_params, has_mask)},
    {"has_lengths", NX_FIELD_BOOL, offsetof(nx_attention_params, has_lengths)},
    {"window", NX_FIELD_INT, offsetof(nx_attention_params, window)},
    {"packed", NX_FIELD_INT, offsetof(nx_attention_params, packed)},
    {"v_dim", NX_FIELD_INT, offsetof(nx_attention_params, v_dim)},
};

/* One head of keys serves several of queries: [B, H, L, D] as [B, Hk, H / Hk, L, D]. */
static nx_array *by_key_head(nx_array *a, int key_heads, nx_stream *s)
{
    if (!a || key_heads == 0)
        return nx_fail_null("[vjp] ScaledDotProductAttention without heads has no derivative");
    a = nx_astype(a, NX_FLOAT32, s);
    int shape[2] = {key_heads, a->shape[1] / key_heads};
    return nx_unflatten(a, 1, shape, 2, s);
}

/* Which keys a query sees: those up to its own place, counted from the end. [L, S] */
static nx_array *causal_mask(int queries, int keys, nx_stream *s)
{
    nx_array *i = nx_arange(keys - queries, keys, 1, NX_INT32, s);
    return nx_greater_equal(nx_expand_dims(i, 1, s), nx_arange(0, keys, 1, NX_INT32, s), s);
}

/* Scores [B, Hk, R, L, S] as the softmax sees them. */
static nx_array *masked_scores(nx_array *scores, const nx_node *n, nx_stream *s)
{
    const nx_attention_params *p = n->params;
    nx_array *never = nx_scalar(-FLT_MAX, NX_FLOAT32);
    if (p->causal)
        scores = nx_where(causal_mask(n->in[0]->shape[2], n->in[1]->shape[2], s), scores, never, s);
    if (!p->has_mask)
        return scores;
    nx_array *mask = nx_unflatten(
        n->in[3], 1, (int[]){n->in[1]->shape[1], n->in[0]->shape[1] / n->in[1]->shape[1]}, 2, s);
    return mask->dtype == NX_BOOL ? nx_where(mask, scores, never, s) : nx_add(scores, mask, s);
}

/* The cotangent of the scores, which is none where a mask replaced them: in a row that sees nothing
 * the weights are not zero there. */
static nx_array *where_seen(nx_array *d, const nx_node *n, nx_stream *s)
{
    const nx_attention_params *p = n->params;
    nx_array *zero = nx_scalar_float(0), *mask = p->has_mask ? n->in[3] : NULL;
    int heads = n->in[1]->shape[1], queries = n->in[0]->shape[2], keys = n->in[1]->shape[2];
    if (p->causal && queries > keys)
        d = nx_where(causal_mask(queries, keys, s), d, zero, s);
    if (!mask || mask->dtype != NX_BOOL)
        return d;
    mask = nx_unflatten(mask, 1, (int[]){heads, n->in[0]->shape[1] / heads}, 2, s);
    return nx_where(mask, d, zero, s);
}

/* Their softmax, to which a sink of its head's adds a column that is dropped. [B, Hk, R, L, S] */
static nx_array *weights_of(nx_array *scores, nx_array *sinks, nx_stream *s)
{
    if (!sinks)
        return nx_softmax(scores, (int[]){-1}, 1, true, s);
    nx_array *total = nx_logaddexp(nx_logsumexp(scores, (int[]){-1}, 1, true, s), sinks, s);
    return nx_exp(nx_subtract(scores, total, s), s);
}

static nx_array *back_to(nx_array *a, const nx_array *like, nx_stream *s)
{
    return nx_astype(nx_reshape(a, like->shape, like->ndim, s), (nx_dtype)like->dtype, s);
}

static bool vjp(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_attention_params *p = n->params;
    nx_stream *s = n->stream;
    if (p->has_lengths || p->window || p->packed)
        return nx_fail("[vjp] ScaledDotProductAttention over a cache has no derivative");
    int heads = n->in[1]->shape[1];
    nx_array *q = by_key_head(n->in[0], heads, s), *k = by_key_head(n->in[1], heads, s);
    nx_array *v = by_key_head(n->in[2], heads, s), *c = by_key_head(g[0], heads, s);
    if (!q || !k || !v || !c)
        return false;
    nx_array *scale = nx_scalar_float(p->scale), *sinks = NULL;
    if (p->has_sinks)
        sinks = nx_reshape(n->in[n->n_in - 1], (int[]){heads, q->shape[2], 1, 1}, 4, s);
    nx_array *scores = nx_multiply(nx_matmul(q, nx_swapaxes(k, -1, -2, s), s), scale, s);
    nx_array *weights = weights_of(masked_scores(scores, n, s), sinks, s);
    nx_array *d = nx_matmul(c, nx_swapaxes(v, -1, -2, s), s);
    nx_array *mean = nx_sum(nx_multiply(d, weights, s), (int[]){-1}, 1, true, s);
    d = nx_multiply(weights, nx_subtract(d, mean, s), s);
    d = where_seen(d, n, s);
    nx_array *moved = nx_multiply(d, scale, s);
    if (wanted[0])
        out[0] = back_to(nx_matmul(moved, k, s), n->in[0], s);
    if (wanted[1])
        out[1] = back_to(nx_sum(nx_matmul(nx_swapaxes(moved, -1, -2, s), q, s), (int[]){2}, 1, false, s),
                         n->in[1], s);
    if (wanted[2])
        out[2] = back_to(nx_sum(nx_matmul(nx_swapaxes(weights, -1, -2, s), c, s), (int[]){2}, 1, false, s),
                         n->in[2], s);
    if (p->has_mask && wanted[3])
        out[3] = n->in[3]->dtype == NX_BOOL ? nx_array_none() : back_to(d, n->in[3], s);
    if (p->has_sinks && wanted[n->n_in - 1]) {
        nx_array *rest = nx_subtract(nx_scalar_float(1), nx_sum(weights, (int[]){-1}, 1, true, s), s);
        nx_array *lost = nx_sum(nx_multiply(rest, mean, s), (int[]){0, 3, 4}, 3, false, s);
        out[n->n_in - 1] = back_to(nx_negative(lost, s), n->in[n->n_in - 1], s);
    }
    return true;
}

/* The batch joins the dimension that is one already. Sinks that differ from item to item would have
 * to be a head's own. */
static bool vmap(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes)
{
    const nx_attention_params *p = n->params;
    nx_stream *s = n->stream;
    int size = nx_batch_size(in, axes, n->n_in), n_merged = n->n_in - p->has_sinks;
    nx_array *all[6] = {0};
    if (p->has_sinks && axes[n->n_in - 1] >= 0)
        return nx_batch_by_slices(out);
    for (int i = 0; i < n->n_in; i++)
        all[i] = i < n_merged ? nx_batch_merge(nx_batch_all(in[i], axes[i], size, s), s) : in[i];
    nx_array *merged = nx_op(&nx_prim_ScaledDotProductAttention, p, all, n->n_in, s);
    out[0] = nx_batch_part(merged, size, s);
    out_axes[0] = 0;
    return true;
}

static bool compose(nx_node *n, nx_array **out)
{
    const nx_attention_params *p = n->params;
    nx_stream *s = n->stream;
    if (p->has_lengths || p->window || p->packed)
        return nx_fail("[export_function] attention over a cache cannot be written as MLX's");
    int heads = n->in[1]->shape[1];
    nx_array *q = by_key_head(n->in[0], heads, s), *k = by_key_head(n->in[1], heads, s);
    nx_array *v = by_key_head(n->in[2], heads, s), *sinks = NULL;
    if (!q || !k || !v)
        return false;
    if (p->has_sinks)
        sinks = nx_reshape(n->in[n->n_in - 1], (int[]){heads, q->shape[2], 1, 1}, 4, s);
    q = nx_multiply(q, nx_scalar_float(p->scale), s);
    nx_array *scores = nx_matmul(q, nx_swapaxes(k, -1, -2, s), s);
    nx_array *weights = weights_of(masked_scores(scores, n, s), sinks, s);
    out[0] = back_to(nx_matmul(weights, v, s), &n->out[0], s);
    return out[0] != NULL;
}

/* As MLX has them: q, k, v, a mask, sinks. The mask is there if there is an input more than said. */
static bool rebuild(const nx_rebuild *r, nx_array **out)
{
    const nx_attention_params *p = r->params;
    int extra = 3 + p->has_sinks;
    if (r->n_in < extra)
        return nx_fail("[scaled_dot_product_attention] %d inputs, %d are missing", r->n_in, extra - r->n_in);
    if (!r->told && (p->has_lengths || p->window || p->packed))
        return nx_op_n(r->prim, r->params, r->in, r->n_in, r->s, out, r->n_out);
    nx_array *mask = r->n_in > extra ? r->in[3] : NULL;
    out[0] = nx_scaled_dot_product_attention(r->in[0], r->in[1], r->in[2], p->scale,
                                             p->causal ? "causal" : mask ? "array" : "", mask,
                                             p->has_sinks ? r->in[r->n_in - 1] : NULL, r->s);
    return out[0] != NULL;
}

static const nx_field file_fields[] = {
    {"scale", NX_FIELD_FLOAT, offsetof(nx_attention_params, scale)},
    {"do_causal", NX_FIELD_BOOL, offsetof(nx_attention_params, causal)},
    {"has_sinks", NX_FIELD_BOOL, offsetof(nx_attention_params, has_sinks)},
    {"output_logsumexp", NX_FIELD_FALSE, 0},
};
static const nx_file_form file_form = {"ScaledDotProductAttention", file_fields, 4};

const nx_prim nx_prim_ScaledDotProductAttention = {
    .name = "ScaledDotProductAttention",
    .id = NX_PRIM_ScaledDotProductAttention,
    .flags = NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_attention_params),
    .fields = fields,
    .n_fields = 8,
    .infer = infer,
    .vjp = vjp,
    .vmap = vmap,
    .decompose = compose,
    .rebuild = rebuild,
    .least_in = 3,
    .most_in = 5,
    .file = &file_form,
};

static bool check_shapes(const nx_array *q, const nx_array *k, const nx_array *v)
{
    const char *op = "scaled_dot_product_attention";
    const nx_array *all[3] = {q, k, v};
    for (int i = 0; i < 3; i++)
        if (all[i]->ndim != 4)
            return nx_fail("[%s] input with shape %s expected to be rank 4", op, SHAPE(all[i]));
    for (int i = 1; i < 3; i++)
        if (all[i]->shape[0] != q->shape[0])
            return nx_fail("[%s] mismatching batch dimension for input with shape %s.", op,
                           SHAPE(all[i]));
    if (q->shape[3] != k->shape[3])
        return nx_fail("[%s] query, keys expected to have matching last dimension; found query shape "
                       "%s for keys shape %s.", op, SHAPE(q), SHAPE(k));
    int heads = q->shape[1], kv_heads = k->shape[1];
    if (kv_heads != v->shape[1])
        return nx_fail("[%s] keys, values expected to have matching n_kv_heads; found keys with "
                       "n_heads %d for values with n_heads %d.", op, kv_heads, v->shape[1]);
    if (kv_heads == 0 ? heads != 0 : heads % kv_heads)
        return nx_fail("[%s] n_heads must be a multiple of n_kv_heads, found n_heads %d for "
                       "n_kv_heads %d.", op, heads, kv_heads);
    if (k->shape[2] != v->shape[2])
        return nx_fail("[%s] keys with shape %s and values with shape %s differ in length.", op,
                       SHAPE(k), SHAPE(v));
    return true;
}

static bool check_sinks(const nx_array *sinks, const nx_array *q, nx_dtype dtype)
{
    const char *op = "scaled_dot_product_attention";
    if (sinks->ndim != 1 || sinks->shape[0] != q->shape[1])
        return nx_fail("[%s] Received invalid shape for sinks %s.", op, SHAPE(sinks));
    if (nx_promote((nx_dtype)sinks->dtype, dtype) != dtype)
        return nx_fail("[%s] Type of sinks must promote to output type %s.", op,
                       nx_dtype_name(dtype));
    return true;
}

/* The mask in the shape [B, H, L, S], a view; boolean or of the result's type. */
static nx_array *full_mask(nx_array *mask, const nx_array *q, const nx_array *k, nx_dtype dtype,
                           nx_stream *s)
{
    const char *op = "scaled_dot_product_attention";
    int shape[4] = {q->shape[0], q->shape[1], q->shape[2], k->shape[2]};
    if (mask->ndim > 4)
        return nx_fail_null("[%s] the mask with shape %s expected to have at most rank 4.", op,
                            SHAPE(mask));
    if (mask->dtype != NX_BOOL && nx_promote((nx_dtype)mask->dtype, dtype) != dtype)
        return nx_fail_null("[%s] Mask type must promote to output type %s.", op,
                            nx_dtype_name(dtype));
    if (mask->dtype != NX_BOOL)
        mask = nx_astype(mask, dtype, s);
    return nx_broadcast_to(mask, shape, 4, s);
}

/* Collects the inputs that are there behind q, k, v. */
static nx_array *build(nx_attention_params *p, nx_array *q, nx_array *k, nx_array *v, nx_array *mask,
                       nx_array *lengths, nx_array *sinks, nx_stream *s)
{
    nx_array *in[6] = {q, k, v};
    int n = 3;
    p->has_mask = mask;
    p->has_lengths = lengths;
    p->has_sinks = sinks;
    if (mask)
        in[n++] = mask;
    if (lengths)
        in[n++] = lengths;
    if (sinks)
        in[n++] = sinks;
    return nx_op(&nx_prim_ScaledDotProductAttention, p, in, n, s);
}

nx_array *nx_scaled_dot_product_attention(nx_array *q, nx_array *k, nx_array *v, float scale,
                                          const char *mask_mode, nx_array *mask, nx_array *sinks,
                                          nx_stream *s)
{
    const char *op = "scaled_dot_product_attention";
    if (!q || !k || !v || !check_shapes(q, k, v))
        return NULL;
    if (!mask_mode)
        mask_mode = "";
    bool causal = strcmp(mask_mode, "causal") == 0, array = strcmp(mask_mode, "array") == 0;
    if (!causal && !array && *mask_mode)
        return nx_fail_null("[%s] Invalid mask_mode %s. mask_mode must be 'causal', 'array' or ''.",
                            op, mask_mode);
    if (causal && mask)
        return nx_fail_null("[%s] An array mask cannot be combined with mask_mode 'causal'.", op);
    if (array && !mask)
        return nx_fail_null("[%s] mask_mode 'array' needs a mask.", op);
    nx_dtype dtype = nx_promote(nx_promote((nx_dtype)q->dtype, (nx_dtype)k->dtype),
                                (nx_dtype)v->dtype);
    if (!nx_dtype_in(dtype, NX_FLOATS))
        return nx_fail_null("[%s] Received unsupported type %s.", op, nx_dtype_name(dtype));
    if (sinks && !check_sinks(sinks, q, dtype))
        return NULL;
    if (mask && !(mask = full_mask(mask, q, k, dtype, s)))
        return NULL;
    if (sinks)
        sinks = nx_astype(sinks, NX_FLOAT32, s);
    nx_attention_params p = {.scale = scale, .causal = causal};
    /* Keys and values stay as they are: the kernel reads each in its own type. */
    return build(&p, nx_astype(q, dtype, s), k, v, mask, NULL, sinks, s);
}

/* What the attentions over a cache have in common, once q, k and v are known to be right. */
static nx_array *over_cache(nx_attention_params *p, nx_array *q, nx_array *k, nx_array *v, nx_array *lengths,
                            nx_array *sinks, nx_stream *s)
{
    const char *op = "attention";
    if (p->window < 0)
        return nx_fail_null("[%s] a window of %d keys is not possible", op, p->window);
    if (lengths && (lengths->ndim != 1 || lengths->shape[0] != q->shape[0] ||
                    !nx_dtype_in((nx_dtype)lengths->dtype, NX_INTEGERS)))
        return nx_fail_null("[%s] lengths must be integers of shape (%d), not %s %s", op, q->shape[0],
                            nx_dtype_name((nx_dtype)lengths->dtype), SHAPE(lengths));
    if (sinks && !check_sinks(sinks, q, NX_FLOAT32))
        return NULL;
    if (lengths)
        lengths = nx_astype(lengths, NX_INT32, s);
    if (sinks)
        sinks = nx_astype(sinks, NX_FLOAT32, s);
    return build(p, q, k, v, NULL, lengths, sinks, s);
}

nx_array *nx_cache_attention(nx_array *q, nx_array *k, nx_array *v, float scale, nx_array *lengths,
                             bool causal, int window, nx_array *sinks, nx_stream *s)
{
    if (!q || !k || !v || !check_shapes(q, k, v))
        return NULL;
    const nx_array *all[3] = {q, k, v};
    for (int i = 0; i < 3; i++)
        if (!nx_dtype_in((nx_dtype)all[i]->dtype, NX_FLOATS))
            return nx_fail_null("[attention] Received unsupported type %s.",
                                nx_dtype_name((nx_dtype)all[i]->dtype));
    nx_attention_params p = {.scale = scale, .causal = causal, .window = window};
    return over_cache(&p, q, k, v, lengths, sinks, s);
}

/* Packed keys or values [B, Hkv, S, bytes]: do their rows hold n numbers each? */
static bool check_packed(const nx_array *a, const nx_array *like, int bits, int n)
{
    if (a->dtype != NX_UINT8 || a->ndim != 4 || a->shape[0] != like->shape[0] || a->shape[2] != like->shape[2] ||
        a->shape[1] != like->shape[1] || n < 1 || a->shape[3] != nx_cache_row_bytes(bits, n))
        return nx_fail("[packed_attention] %s %s are no keys or values of %d numbers in %d bits",
                       nx_dtype_name((nx_dtype)a->dtype), SHAPE(a), n, bits);
    return true;
}

nx_array *nx_packed_attention(nx_array *q, nx_array *k, nx_array *v, int bits, int v_dim, float scale,
                              nx_array *lengths, bool causal, int window, nx_array *sinks, nx_stream *s)
{
    const char *op = "packed_attention";
    if (!q || !k || !v)
        return NULL;
    if (bits != 8 && bits != 4)
        return nx_fail_null("[%s] %d bits are not possible: 8 or 4 are", op, bits);
    if (q->ndim != 4 || !nx_dtype_in((nx_dtype)q->dtype, NX_FLOATS) || k->ndim != 4)
        return nx_fail_null("[%s] queries %s %s over keys %s", op, nx_dtype_name((nx_dtype)q->dtype), SHAPE(q),
                            SHAPE(k));
    if (k->shape[0] != q->shape[0] || k->shape[1] == 0 || q->shape[1] % k->shape[1])
        return nx_fail_null("[%s] keys %s do not serve queries %s", op, SHAPE(k), SHAPE(q));
    if (!check_packed(k, k, bits, q->shape[3]) || !check_packed(v, k, bits, v_dim))
        return NULL;
    nx_attention_params p = {.scale = scale, .causal = causal, .window = window, .packed = bits, .v_dim = v_dim};
    return over_cache(&p, q, k, v, lengths, sinks, s);
}
