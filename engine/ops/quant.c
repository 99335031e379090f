/* quant.c: Quantize, Dequantize, QuantizedMatmul, GatherQMM (the format: quant.h). */
#include "engine/ops/quant.h"

#include <string.h>

#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/creation.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/shape.h"

static const nx_field fields[] = {
    {"group_size", NX_FIELD_INT, offsetof(nx_quant_params, group_size)},
    {"bits", NX_FIELD_INT, offsetof(nx_quant_params, bits)},
    {"transpose", NX_FIELD_BOOL, offsetof(nx_quant_params, transpose)},
};

/* ---- primitives -------------------------------------------------------------------------------- */

static bool infer_quantize(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_quant_params *p = params;
    const nx_array *w = in[0];
    int last = w->ndim - 1;
    nx_spec_like(&out[0], w, NX_UINT32);
    out[0].shape[last] = (int)((int64_t)w->shape[last] * p->bits / 32);
    for (int i = 1; i < 3; i++) {
        nx_spec_like(&out[i], w, (nx_dtype)w->dtype);
        out[i].shape[last] = w->shape[last] / p->group_size;
    }
    return true;
}

const nx_prim nx_prim_Quantize = {
    .name = "Quantize",
    .id = NX_PRIM_Quantize,
    .flags = NX_PRIM_NO_GRAD,
    .params_size = sizeof(nx_quant_params),
    .fields = fields,
    .n_fields = 2,
    .row_inputs = 1,
    .infer = infer_quantize,
};

static bool infer_dequantize(nx_array *const *in, int n_in, const void *params, nx_spec *out,
                             int n_out)
{
    const nx_quant_params *p = params;
    const nx_array *scales = in[1];
    nx_spec_like(&out[0], scales, (nx_dtype)scales->dtype);
    out[0].shape[scales->ndim - 1] *= p->group_size;
    return true;
}

const nx_prim nx_prim_Dequantize = {
    .name = "Dequantize",
    .id = NX_PRIM_Dequantize,
    .params_size = sizeof(nx_quant_params),
    .fields = fields,
    .n_fields = 2,
    .row_inputs = 1 | 2 | 4,
    .infer = infer_dequantize,
};

/* Columns of the matrix that w stands for in a product. */
static int columns(const nx_array *w, const nx_array *scales, const nx_quant_params *p)
{
    return p->transpose ? w->shape[w->ndim - 2] : scales->shape[scales->ndim - 1] * p->group_size;
}

/* Inputs x, w, scales, biases; for GatherQMM the two index arrays as well. */
static bool infer_product(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_array *x = in[0], *batch = n_in == 6 ? in[4] : x;
    int leading = n_in == 6 ? batch->ndim : x->ndim - 2;
    nx_spec_set(&out[0], batch->shape, leading, NX_FLOAT32);
    out[0].ndim = leading + 2;
    out[0].shape[leading] = x->shape[x->ndim - 2];
    out[0].shape[leading + 1] = columns(in[1], in[2], params);
    return true;
}

const nx_prim nx_prim_QuantizedMatmul = {
    .name = "QuantizedMatmul",
    .id = NX_PRIM_QuantizedMatmul,
    .params_size = sizeof(nx_quant_params),
    .fields = fields,
    .n_fields = 3,
    .infer = infer_product,
};

const nx_prim nx_prim_GatherQMM = {
    .name = "GatherQMM",
    .id = NX_PRIM_GatherQMM,
    .params_size = sizeof(nx_quant_params),
    .fields = fields,
    .n_fields = 3,
    .row_inputs = 1 << 4 | 1 << 5,
    .infer = infer_product,
};

/* ---- builders ---------------------------------------------------------------------------------- */

static bool quantization_check(const char *op, const nx_quantization *q, nx_quant_params *p)
{
    if (strcmp(q->mode, "affine") != 0)
        return nx_fail("[%s] quantization mode '%s' is unknown, there is 'affine'", op, q->mode);
    if (q->group_size != 32 && q->group_size != 64 && q->group_size != 128)
        return nx_fail("[%s] groups have 32, 64 or 128 elements, not %d", op, q->group_size);
    if (q->bits < 2 || q->bits > 8 || q->bits == 7)
        return nx_fail("[%s] elements have 2, 3, 4, 5, 6 or 8 bits, not %d", op, q->bits);
    *p = (nx_quant_params){.group_size = q->group_size, .bits = q->bits};
    return true;
}

static bool small_float(nx_dtype t)
{
    return t == NX_FLOAT32 || t == NX_FLOAT16 || t == NX_BFLOAT16;
}

/* Do words, scales and biases fit each other? */
static bool matrix_check(const char *op, const nx_array *w, const nx_array *scales,
                         const nx_array *biases, const nx_quant_params *p)
{
    if (w->dtype != NX_UINT32)
        return nx_fail("[%s] quantized elements are packed in uint32, not %s", op,
                       nx_dtype_name((nx_dtype)w->dtype));
    if (!biases)
        return nx_fail("[%s] affine quantization has biases, give them", op);
    if (!small_float((nx_dtype)scales->dtype) || !small_float((nx_dtype)biases->dtype))
        return nx_fail("[%s] scales and biases are float32, float16 or bfloat16, not %s and %s", op,
                       nx_dtype_name((nx_dtype)scales->dtype), nx_dtype_name((nx_dtype)biases->dtype));
    int last = w->ndim - 1;
    if (w->ndim < 2 || !nx_shape_equal(scales->shape, scales->ndim, biases->shape, biases->ndim) ||
        scales->ndim != w->ndim || !nx_shape_equal(w->shape, last, scales->shape, last) ||
        (int64_t)w->shape[last] * 32 !=
            (int64_t)scales->shape[last] * p->group_size * p->bits)
        return nx_fail("[%s] words of shape %s, scales %s and biases %s are no matrix in groups of %d "
                       "with %d bits", op, nx_shape_text(w->shape, w->ndim),
                       nx_shape_text(scales->shape, scales->ndim),
                       nx_shape_text(biases->shape, biases->ndim), p->group_size, p->bits);
    return true;
}

bool nx_quantize(nx_array *w, const nx_quantization *q, nx_stream *s, nx_array **out)
{
    nx_quant_params p;
    if (!w || !quantization_check("quantize", q, &p))
        return false;
    if (!small_float((nx_dtype)w->dtype))
        return nx_fail("[quantize] a matrix is float32, float16 or bfloat16, not %s",
                       nx_dtype_name((nx_dtype)w->dtype));
    if (w->ndim < 2)
        return nx_fail("[quantize] a matrix has two dimensions or more, not %d", w->ndim);
    if (w->shape[w->ndim - 1] % p.group_size)
        return nx_fail("[quantize] the last dimension of shape %s is no multiple of the group size %d",
                       nx_shape_text(w->shape, w->ndim), p.group_size);
    return nx_op_n(&nx_prim_Quantize, &p, &w, 1, s, out, 3);
}

nx_array *nx_dequantize(nx_array *w, nx_array *scales, nx_array *biases, const nx_quantization *q,
                        nx_stream *s)
{
    nx_quant_params p;
    if (!w || !scales || !quantization_check("dequantize", q, &p) ||
        !matrix_check("dequantize", w, scales, biases, &p))
        return NULL;
    nx_array *in[3] = {w, scales, nx_astype(biases, (nx_dtype)scales->dtype, s)};
    return nx_op(&nx_prim_Dequantize, &p, in, 3, s);
}

/* Checks of a product; the type of its result into *type. */
static bool product_check(const char *op, const nx_array *x, const nx_array *w,
                          const nx_array *scales, const nx_array *biases, const nx_quantization *q,
                          bool transpose, nx_quant_params *p, nx_dtype *type)
{
    if (!quantization_check(op, q, p) || !matrix_check(op, w, scales, biases, p))
        return false;
    p->transpose = transpose;
    int depth = transpose ? scales->shape[scales->ndim - 1] * p->group_size : w->shape[w->ndim - 2];
    if (x->ndim < 1 || x->shape[x->ndim - 1] != depth)
        return nx_fail("[%s] the last dimension of shape %s does not meet a quantized matrix of depth "
                       "%d", op, nx_shape_text(x->shape, x->ndim), depth);
    *type = nx_promote((nx_dtype)x->dtype, (nx_dtype)scales->dtype);
    return small_float(*type) || nx_fail("[%s] products are float32, float16 or bfloat16, not %s", op,
                                         nx_dtype_name(*type));
}

/* x [..., M, K] as one matrix, for a single w. */
static nx_array *fold_rows(nx_array *x, nx_stream *s)
{
    return x->ndim == 2 ? x : nx_reshape(x, (int[2]){-1, x->shape[x->ndim - 1]}, 2, s);
}

nx_array *nx_quantized_matmul(nx_array *x, nx_array *w, nx_array *scales, nx_array *biases,
                              bool transpose, const nx_quantization *q, nx_stream *s)
{
    nx_quant_params p;
    nx_dtype type;
    if (!x || !w || !scales ||
        !product_check("quantized_matmul", x, w, scales, biases, q, transpose, &p, &type))
        return NULL;
    nx_dims shape;
    nx_array *in[4] = {nx_astype(x, NX_FLOAT32, s), w, scales, biases};
    if (w->ndim == 2 && x->size) {
        shape.n = x->ndim;
        memcpy(shape.v, x->shape, (size_t)x->ndim * sizeof *x->shape);
        shape.v[shape.n - 1] = columns(w, scales, &p);
        in[0] = fold_rows(in[0], s);
        nx_array *y = nx_op(&nx_prim_QuantizedMatmul, &p, in, 4, s);
        return y ? nx_astype(nx_reshape(y, shape.v, shape.n, s), type, s) : NULL;
    }
    bool row = x->ndim == 1;
    if (row)
        in[0] = nx_expand_dims(in[0], 0, s);
    if (!nx_broadcast_leading(in, 4, 2, s))
        return NULL;
    nx_array *y = nx_astype(nx_op(&nx_prim_QuantizedMatmul, &p, in, 4, s), type, s);
    return row ? nx_squeeze_axis(y, -2, s) : y;
}

/* Each matrix in turn, by number, in the shape of a's leading dimensions. */
static nx_array *in_turn(const nx_array *a, nx_stream *s)
{
    int64_t n = nx_shape_size(a->shape, a->ndim - 2);
    return nx_reshape(nx_arange(0, (double)n, 1, NX_UINT32, s), a->shape, a->ndim - 2, s);
}

nx_array *nx_gather_qmm(nx_array *x, nx_array *w, nx_array *scales, nx_array *biases,
                        nx_array *lhs_indices, nx_array *rhs_indices, bool transpose,
                        const nx_quantization *q, nx_stream *s)
{
    nx_quant_params p;
    nx_dtype type;
    if (!x || !w || !scales ||
        !product_check("gather_qmm", x, w, scales, biases, q, transpose, &p, &type))
        return NULL;
    if (x->ndim < 2)
        return nx_fail_null("[gather_qmm] x has two dimensions or more, not %d", x->ndim);
    nx_array *index[2] = {lhs_indices ? lhs_indices : in_turn(x, s),
                          rhs_indices ? rhs_indices : in_turn(w, s)};
    for (int i = 0; i < 2; i++) {
        if (!index[i])
            return NULL;
        if (!nx_dtype_in((nx_dtype)index[i]->dtype, NX_INTEGERS))
            return nx_fail_null("[gather_qmm] indices are integers, not %s",
                                nx_dtype_name((nx_dtype)index[i]->dtype));
        index[i] = nx_astype(index[i], NX_UINT32, s);
    }
    if (!nx_broadcast_arrays(index, 2, s))
        return NULL;
    if (index[0]->ndim + 2 > NX_MAX_NDIM)
        return nx_fail_null("[gather_qmm] %d dimensions are too many", index[0]->ndim + 2);
    nx_array *in[6] = {nx_astype(x, NX_FLOAT32, s), w, scales, biases, index[0], index[1]};
    return nx_astype(nx_op(&nx_prim_GatherQMM, &p, in, 6, s), type, s);
}
