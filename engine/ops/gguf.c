/*
 * gguf.c: GgufMatmul, GgufTake, GgufRepack, AffineRepack: extensions of ours, for GGUF tensors as they lie
 * in the file, and for these and MLX's affine matrices in an order that the kernels read faster.
 */
#include "engine/ops/gguf.h"

#include "base/error.h"
#include "base/ggml_types.h"
#include "engine/core/prim.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/matmul.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/rules.h"

static const nx_field fields[] = {
    {"type", NX_FIELD_INT, offsetof(nx_gguf_params, type)},
    {"columns", NX_FIELD_INT, offsetof(nx_gguf_params, columns)},
    {"dtype", NX_FIELD_DTYPE, offsetof(nx_gguf_params, dtype)},
    {"type 2", NX_FIELD_INT, offsetof(nx_gguf_params, further[0])},
    {"type 3", NX_FIELD_INT, offsetof(nx_gguf_params, further[1])},
    {"type 4", NX_FIELD_INT, offsetof(nx_gguf_params, further[2])},
};
enum { N_FIELDS = sizeof fields / sizeof *fields };

/* in: x, and matrices, as many as outputs */
static bool infer_matmul(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    for (int i = 0; i < n_out; i++) {
        nx_spec_like(&out[i], in[0], (nx_dtype)in[0]->dtype);
        out[i].shape[out[i].ndim - 1] = in[1 + i]->shape[0];
    }
    return true;
}

static bool vjp_matmul(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_gguf_params *p = n->params;
    for (int i = 0; i < n->n_out; i++) {
        if (wanted[1 + i])
            return nx_fail("[GgufMatmul::vjp] no gradient wrt the blocks of a GGUF tensor.");
        if (!wanted[0])
            continue;
        nx_array *w = nx_gguf_take(n->in[1 + i], nx_gguf_type_of(p, i), NULL, p->dtype, n->stream);
        nx_array *part = nx_matmul(g[i], w, n->stream);
        out[0] = i ? nx_add(out[0], part, n->stream) : part;
    }
    return true;
}

/* A matrix serves any number of rows, */
static bool vmap_matmul(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes)
{
    nx_array *all[1 + NX_GGUF_MATRICES] = {nx_batch_front(in[0], axes[0], n->stream)};
    for (int i = 0; i < n->n_out; i++) {
        if (axes[1 + i] >= 0)
            return nx_batch_by_slices(out);
        all[1 + i] = in[1 + i];
        out_axes[i] = 0;
    }
    return nx_op_like(n, all, n->stream, true, out);
}

/* or any number of indices. */
static bool vmap_take(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes)
{
    if (axes[0] >= 0)
        return nx_batch_by_slices(out);
    out_axes[0] = 0;
    return nx_op_like(n, (nx_array *[]){in[0], nx_batch_front(in[1], axes[1], n->stream)}, n->stream, true, out);
}

const nx_prim nx_prim_GgufMatmul = {
    .name = "GgufMatmul",
    .id = NX_PRIM_GgufMatmul,
    .row_inputs = (1 << (1 + NX_GGUF_MATRICES)) - 1,
    .params_size = sizeof(nx_gguf_params),
    .fields = fields,
    .n_fields = N_FIELDS,
    .infer = infer_matmul,
    .vjp = vjp_matmul,
    .vmap = vmap_matmul,
};

static bool infer_take(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_gguf_params *p = params;
    if (n_in > 1)
        nx_spec_like(&out[0], in[1], p->dtype);
    else
        nx_spec_set(&out[0], in[0]->shape, 1, p->dtype);
    out[0].shape[out[0].ndim++] = p->columns;
    return true;
}

const nx_prim nx_prim_GgufTake = {
    .name = "GgufTake",
    .id = NX_PRIM_GgufTake,
    .flags = NX_PRIM_NO_GRAD,
    .row_inputs = 1 << 0 | 1 << 1,
    .params_size = sizeof(nx_gguf_params),
    .fields = fields,
    .n_fields = N_FIELDS,
    .infer = infer_take,
    .vmap = vmap_take,
};

static bool infer_same(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    nx_spec_like(&out[0], in[0], (nx_dtype)in[0]->dtype);
    return true;
}

const nx_prim nx_prim_GgufRepack = {
    .name = "GgufRepack",
    .id = NX_PRIM_GgufRepack,
    .flags = NX_PRIM_NO_GRAD | NX_PRIM_VMAP_SLICES | NX_PRIM_KEPT,
    .row_inputs = 1 << 0,
    .params_size = sizeof(nx_gguf_params),
    .fields = fields,
    .n_fields = N_FIELDS,
    .infer = infer_same,
};

/* in: packed words [N, words], scales and biases [N, groups]; out: uint8 [N, row bytes] */
static bool infer_affine(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    int64_t bytes = (int64_t)in[0]->shape[1] * 4 +
                    2 * (int64_t)in[1]->shape[1] * (int64_t)nx_dtype_size((nx_dtype)in[1]->dtype);
    if (bytes > INT32_MAX)
        return nx_fail("[affine_repack] rows of %lld bytes are too long", (long long)bytes);
    nx_spec_set(&out[0], (int[]){in[0]->shape[0], (int)bytes}, 2, NX_UINT8);
    return true;
}

const nx_prim nx_prim_AffineRepack = {
    .name = "AffineRepack",
    .id = NX_PRIM_AffineRepack,
    .flags = NX_PRIM_NO_GRAD | NX_PRIM_VMAP_SLICES | NX_PRIM_KEPT,
    .row_inputs = 1 << 0 | 1 << 1 | 1 << 2,
    .params_size = sizeof(nx_gguf_params),
    .fields = fields,
    .n_fields = N_FIELDS,
    .infer = infer_affine,
};

/* ---- builders ------------------------------------------------------------------------------- */

static bool is_affine(int type)
{
    int bits = type & 15;
    return (type & ~0x3FF) == (NX_GGUF_AFFINE | NX_GGUF_REPACKED) && bits >= 2 && bits <= 8 && bits != 7 &&
           (type >> 4 & 3) < 3 && !(type & 0xC0) && (type >> 8 & 3) < 3;
}

static bool repacks(int type)
{
    return type == NX_GGML_Q4_0 || type == NX_GGML_Q4_1 || type == NX_GGML_Q5_0 ||
           type == NX_GGML_Q5_1 || type == NX_GGML_Q8_0 || (type >= NX_GGML_Q2_K && type <= NX_GGML_Q6_K);
}

/* Read as in the file: books, ternary ones, four-bit floats. */
static bool is_book(int type)
{
    return (type >= NX_GGML_IQ2_XXS && type <= NX_GGML_IQ4_XS) || type == NX_GGML_IQ1_M ||
           type == NX_GGML_TQ1_0 || type == NX_GGML_TQ2_0 || (type >= NX_GGML_MXFP4 && type <= NX_GGML_Q2_0);
}

bool nx_gguf_supports(int type)
{
    if (type & NX_GGUF_REPACKED)
        return repacks(type & ~NX_GGUF_REPACKED) || is_affine(type);
    return repacks(type) || is_book(type) || type == NX_GGML_F32 || type == NX_GGML_F16 || type == NX_GGML_BF16;
}

bool nx_gguf_should_repack(int type, int64_t rows, int64_t columns)
{
    return repacks(type) && rows >= 16 && columns >= 32;
}

/* Values and bytes of a block; false for a type that is not supported. */
static bool block_of(int type, int *values, int *bytes)
{
    if (type < 0 || !nx_gguf_supports(type))
        return false;
    if (is_affine(type)) {
        *values = 32 << (type >> 4 & 3);
        *bytes = *values * (type & 15) / 8 + ((type >> 8 & 3) == 2 ? 8 : 4);
        return true;
    }
    const nx_ggml_type *t = nx_ggml_type_find((uint32_t)(type & ~NX_GGUF_REPACKED));
    *values = (int)t->block_elements;
    *bytes = (int)t->block_bytes;
    return true;
}

/* Fills in the values a row from its bytes. */
static bool matrix_check(const char *op, const nx_array *w, int type, nx_gguf_params *p)
{
    int values, bytes;
    if (!block_of(type, &values, &bytes)) {
        const nx_ggml_type *t = type < 0 ? NULL : nx_ggml_type_find((uint32_t)(type & ~NX_GGUF_REPACKED));
        return nx_fail("[%s] tensors of type %s (%d) are not supported", op, t ? t->name : "unknown",
                       type);
    }
    if (w->dtype != NX_UINT8 || w->ndim != 2)
        return nx_fail("[%s] the matrix must be uint8 [rows, bytes a row], not %s %s", op,
                       nx_dtype_name((nx_dtype)w->dtype), nx_shape_text(w->shape, w->ndim));
    if (w->shape[1] % bytes)
        return nx_fail("[%s] rows of %d bytes are no whole blocks of %d bytes each", op, w->shape[1],
                       bytes);
    int64_t columns = (int64_t)(w->shape[1] / bytes) * values;
    if (columns > INT32_MAX)
        return nx_fail("[%s] rows of %lld values are too long", op, (long long)columns);
    *p = (nx_gguf_params){.type = type, .columns = (int)columns};
    return true;
}

static bool is_result_type(nx_dtype t)
{
    return t == NX_FLOAT32 || t == NX_FLOAT16 || t == NX_BFLOAT16;
}

bool nx_gguf_products(nx_array *x, nx_array *const *w, const int *types, int n, nx_stream *s, nx_array **out)
{
    nx_gguf_params p, all = {0};
    nx_array *in[1 + NX_GGUF_MATRICES] = {x};
    if (n < 1 || n > NX_GGUF_MATRICES)
        return nx_fail("[gguf_matmul] %d matrices are not possible, but 1 to %d", n, NX_GGUF_MATRICES);
    for (int i = 0; i < n; i++) {
        if (!x || !w[i] || !matrix_check("gguf_matmul", w[i], types[i], &p))
            return false;
        if (x->ndim < 1 || x->shape[x->ndim - 1] != p.columns)
            return nx_fail("[gguf_matmul] x of shape %s does not match rows of %d values",
                           nx_shape_text(x->shape, x->ndim), p.columns);
        *(i ? &all.further[i - 1] : &all.type) = types[i];
        in[1 + i] = w[i];
    }
    if (!is_result_type((nx_dtype)x->dtype))
        return nx_fail("[gguf_matmul] x must be float32, float16 or bfloat16, not %s",
                       nx_dtype_name((nx_dtype)x->dtype));
    all.columns = p.columns;
    all.dtype = (nx_dtype)x->dtype;
    return nx_op_n(&nx_prim_GgufMatmul, &all, in, 1 + n, s, out, n);
}

nx_array *nx_gguf_matmul(nx_array *x, nx_array *w, int type, nx_stream *s)
{
    nx_array *y;
    return nx_gguf_products(x, &w, &type, 1, s, &y) ? y : NULL;
}

nx_array *nx_gguf_take(nx_array *w, int type, nx_array *indices, nx_dtype dtype, nx_stream *s)
{
    nx_gguf_params p;
    if (!w || !matrix_check("gguf_take", w, type, &p))
        return NULL;
    if (!is_result_type(dtype))
        return nx_fail_null("[gguf_take] the result may be float32, float16 or bfloat16, not %s",
                            nx_dtype_name(dtype));
    p.dtype = dtype;
    if (!indices)
        return nx_op(&nx_prim_GgufTake, &p, &w, 1, s);
    if (!nx_dtype_in((nx_dtype)indices->dtype, NX_INTEGERS) || indices->ndim >= NX_MAX_NDIM)
        return nx_fail_null("[gguf_take] indices must be integers, not %s %s",
                            nx_dtype_name((nx_dtype)indices->dtype),
                            nx_shape_text(indices->shape, indices->ndim));
    if (indices->dtype != NX_INT32)
        indices = nx_astype(indices, NX_INT64, s);
    return nx_op(&nx_prim_GgufTake, &p, (nx_array *[]){w, indices}, 2, s);
}

nx_array *nx_gguf_repack(nx_array *w, int type, nx_stream *s)
{
    nx_gguf_params p;
    if (!w || !matrix_check("gguf_repack", w, type, &p))
        return NULL;
    if (!repacks(type))
        return nx_fail_null("[gguf_repack] type %d has no other order", type);
    return nx_op(&nx_prim_GgufRepack, &p, &w, 1, s);
}

int nx_affine_type(int bits, int group_size, nx_dtype scales)
{
    int group = group_size == 32 ? 0 : group_size == 64 ? 1 : group_size == 128 ? 2 : -1;
    int number = scales == NX_FLOAT16 ? 0 : scales == NX_BFLOAT16 ? 1 : scales == NX_FLOAT32 ? 2 : -1;
    if (group < 0 || number < 0 || bits < 2 || bits > 8 || bits == 7)
        return 0;
    return NX_GGUF_AFFINE | NX_GGUF_REPACKED | bits | group << 4 | number << 8;
}

nx_array *nx_affine_repack(nx_array *w, nx_array *scales, nx_array *biases, int group_size, int bits,
                           nx_stream *s)
{
    const char *op = "affine_repack";
    if (!w || !scales || !biases)
        return NULL;
    nx_gguf_params p = {.type = nx_affine_type(bits, group_size, (nx_dtype)scales->dtype)};
    if (!p.type)
        return nx_fail_null("[%s] %d bits in groups of %d with scales of %s have no other order", op, bits,
                            group_size, nx_dtype_name((nx_dtype)scales->dtype));
    if (w->dtype != NX_UINT32 || w->ndim != 2 || scales->ndim != 2 || biases->dtype != scales->dtype ||
        !nx_shape_equal(scales->shape, 2, biases->shape, biases->ndim) || scales->shape[0] != w->shape[0] ||
        (int64_t)w->shape[1] * 32 != (int64_t)scales->shape[1] * group_size * bits)
        return nx_fail_null("[%s] words %s and scales %s do not make a matrix of %d bits in groups of %d", op,
                            nx_shape_text(w->shape, w->ndim), nx_shape_text(scales->shape, scales->ndim), bits,
                            group_size);
    return nx_op(&nx_prim_AffineRepack, &p, (nx_array *[]){w, scales, biases}, 3, s);
}
