/*
 * quant.c: Quantize (both ways), QuantizedMatmul, GatherQMM, and qqmm made of them: matrices of 2 to
 * 8 bit codes in groups along the last dimension, with a scale (and a bias) a group.
 */
#include "engine/ops/quant.h"

#include <string.h>

#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/creation.h"
#include "engine/ops/index.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/matmul.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/reduce.h"
#include "engine/ops/rules.h"
#include "engine/ops/shape.h"

#define SHAPE(a) nx_shape_text((a)->shape, (a)->ndim)

/* ---- modes -------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int group_size, bits;
} modes[] = {
    [NX_QUANT_AFFINE] = {"affine", 64, 4},
    [NX_QUANT_MXFP4] = {"mxfp4", 32, 4},
    [NX_QUANT_MXFP8] = {"mxfp8", 32, 8},
    [NX_QUANT_NVFP4] = {"nvfp4", 16, 4},
};
enum { MODES = sizeof modes / sizeof *modes };

typedef struct {
    nx_quant_mode mode;
    int group_size, bits;
} coding;

static bool coding_check_affine(const char *op, const coding *c)
{
    if (c->group_size != 32 && c->group_size != 64 && c->group_size != 128)
        return nx_fail("[%s] The requested group size %d is not supported. The supported group sizes "
                       "are 32, 64, and 128.", op, c->group_size);
    if (c->bits < 2 || c->bits > 8 || c->bits == 7)
        return nx_fail("[%s] The requested number of bits %d is not supported. The supported bits are "
                       "2, 3, 4, 5, 6 and 8.", op, c->bits);
    return true;
}

static bool coding_of(const char *op, const char *mode, int group_size, int bits, coding *c)
{
    int m = 0;
    while (m < MODES && (!mode || strcmp(modes[m].name, mode) != 0))
        m++;
    if (m == MODES)
        return nx_fail("[%s] Invalid quantization mode '%s'.", op, mode ? mode : "");
    *c = (coding){(nx_quant_mode)m, group_size ? group_size : modes[m].group_size,
                  bits ? bits : modes[m].bits};
    if (m == NX_QUANT_AFFINE)
        return coding_check_affine(op, c);
    if (c->group_size != modes[m].group_size)
        return nx_fail("[%s] %s quantization requires group size %d but got %d.", op, mode,
                       modes[m].group_size, c->group_size);
    if (c->bits != modes[m].bits)
        return nx_fail("[%s] %s quantization requires bits to be %d but got %d.", op, mode,
                       modes[m].bits, c->bits);
    return true;
}

static bool is_number_type(nx_dtype t)
{
    return t == NX_FLOAT32 || t == NX_FLOAT16 || t == NX_BFLOAT16;
}

/* A scale of the whole matrix, by which those of its groups use all of their range. */
static bool global_scale_check(const char *op, const coding *c, const nx_array *global_scale)
{
    if (!global_scale)
        return true;
    if (c->mode != NX_QUANT_NVFP4)
        return nx_fail("[%s] Global scale is only supported for 'nvfp4' quantization mode.", op);
    if (global_scale->ndim)
        return nx_fail("[%s] Global scale must be a scalar but got shape %s.", op, SHAPE(global_scale));
    if (global_scale->dtype != NX_FLOAT32)
        return nx_fail("[%s] Global scale must have dtype float32 but got %s.", op,
                       nx_dtype_name((nx_dtype)global_scale->dtype));
    return true;
}

/* ---- Quantize ----------------------------------------------------------------------------------- */

static bool infer_quantize(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_quantize_params *p = params;
    const nx_array *a = in[0];
    int last = a->ndim - 1;
    if (p->dequantize) {
        nx_spec_like(&out[0], a, p->dtype);
        out[0].shape[last] = (int)((int64_t)a->shape[last] * 32 / p->bits);
        return true;
    }
    for (int i = 0; i < n_out; i++) {
        bool codes = i == 0, affine = p->mode == NX_QUANT_AFFINE;
        nx_spec_like(&out[i], a, codes ? NX_UINT32 : affine ? (nx_dtype)a->dtype : NX_UINT8);
        out[i].shape[last] = codes ? (int)((int64_t)a->shape[last] * p->bits / 32)
                                   : a->shape[last] / p->group_size;
    }
    return true;
}

static const nx_field quantize_fields[] = {
    {"group_size", NX_FIELD_INT, offsetof(nx_quantize_params, group_size)},
    {"bits", NX_FIELD_INT, offsetof(nx_quantize_params, bits)},
    {"mode", NX_FIELD_ENUM, offsetof(nx_quantize_params, mode)},
    {"dequantize", NX_FIELD_BOOL, offsetof(nx_quantize_params, dequantize)},
    {"dtype", NX_FIELD_DTYPE, offsetof(nx_quantize_params, dtype)},
};

/* Scales and biases of groups of numbers `code * scale + bias`, from d, the cotangent of the numbers
 * [..., R, K]. NULL where it is not wanted. */
static bool parts_gradient(nx_array *d, nx_array *w, nx_array *scales, int group_size, int bits,
                           bool scales_too, bool biases_too, nx_array **to_scales,
                           nx_array **to_biases, nx_stream *s)
{
    nx_dtype t = (nx_dtype)scales->dtype;
    int last = scales->ndim - 1, parts[2] = {scales->shape[last], group_size};
    d = nx_unflatten(d, -1, parts, 2, s);
    if (scales_too) {
        nx_array *codes = nx_dequantize(w, nx_ones_like(scales, s), nx_zeros_like(scales, s),
                                        group_size, bits, "affine", NULL, NULL, s);
        codes = nx_unflatten(codes, -1, parts, 2, s);
        *to_scales = nx_astype(nx_sum(nx_multiply(d, codes, s), (int[]){-1}, 1, false, s), t, s);
    }
    if (biases_too)
        *to_biases = nx_astype(nx_sum(d, (int[]){-1}, 1, false, s), t, s);
    return d;
}

static bool vjp_quantize(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_quantize_params *p = n->params;
    if (!p->dequantize)
        return nx_fail("[Quantize::vjp] no gradient through quantization.");
    if (wanted[0])
        return nx_fail("[Quantize::vjp] no gradient wrt the quantized weights.");
    if (p->mode != NX_QUANT_AFFINE)
        return nx_fail("[Quantize::vjp] no gradient wrt the scales of mode %s.", modes[p->mode].name);
    return parts_gradient(g[0], n->in[0], n->in[1], p->group_size, p->bits, wanted[1], wanted[2],
                          &out[1], &out[2], n->stream);
}

static bool vmap_quantize(nx_node *n, nx_array *const *in, const int *axes, nx_array **out,
                          int *out_axes)
{
    const nx_quantize_params *p = n->params;
    nx_array *all[3];
    int size = nx_batch_size(in, axes, n->n_in);
    int scale = nx_quantize_global(p, n->n_in);
    for (int i = 0; i < n->n_in; i++) {
        bool global = i == scale;
        if (global && axes[i] >= 0)
            return nx_fail("[Quantize::vmap] the global scale is one for all of a batch.");
        if (!(all[i] = global ? in[i] : nx_batch_all(in[i], axes[i], size, n->stream)))
            return false;
    }
    for (int i = 0; i < n->n_out; i++)
        out_axes[i] = 0;
    return nx_op_like(n, all, n->stream, true, out);
}

static bool mode_check(const char *op, nx_quant_mode m)
{
    return (unsigned)m < MODES || nx_fail("[%s] quantization mode %d is none", op, (int)m);
}

static bool rebuild_quantize(const nx_rebuild *r, nx_array **out)
{
    const nx_quantize_params *p = r->params;
    if (!mode_check("quantize", p->mode))
        return false;
    const char *mode = modes[p->mode].name;
    nx_array *parts[3];
    int scale = nx_quantize_global(p, r->n_in);
    nx_array *global = scale < 0 ? NULL : r->in[scale];
    if (r->n_in > (p->dequantize ? 3 : global ? 2 : 1))
        return nx_fail("[quantize] %d inputs are too many in mode %s", r->n_in, mode);
    if (p->dequantize && r->n_in > 1) {
        const nx_dtype *t = r->told ? &r->told[0].dtype : &p->dtype;
        nx_array *biases = r->n_in > 2 && !global ? r->in[2] : NULL;
        out[0] = nx_dequantize(r->in[0], r->in[1], biases, p->group_size, p->bits, mode, global, t, r->s);
        return out[0] != NULL;
    }
    int n = nx_quantize(r->in[0], p->group_size, p->bits, mode, global, r->s, parts);
    if (n != r->n_out)
        return n && nx_fail("[quantize] %d results, there are %d", r->n_out, n);
    memcpy(out, parts, (size_t)n * sizeof *out);
    return true;
}

/* Numbers of a bits-wide stream in words [..., W], least significant bits first: [..., 32 W / bits]. */
static nx_array *unpacked(nx_array *w, int bits, nx_stream *s)
{
    int n = (int)((int64_t)w->shape[w->ndim - 1] * 32 / bits), last = w->ndim - 1;
    nx_array *at = nx_multiply(nx_arange(0, n, 1, NX_UINT32, s), nx_scalar(bits, NX_UINT32), s);
    nx_array *word = nx_right_shift(at, nx_scalar(5, NX_UINT32), s);
    nx_array *shift = nx_bitwise_and(at, nx_scalar(31, NX_UINT32), s);
    nx_array *low = nx_right_shift(nx_take_axis(w, word, last, s), shift, s);
    if (32 % bits) { /* some have their end in the next word */
        nx_array *next = nx_minimum(nx_add(word, nx_scalar(1, NX_UINT32), s),
                                    nx_scalar(w->shape[last] - 1, NX_UINT32), s);
        nx_array *kept = nx_subtract(nx_scalar(32, NX_UINT32), shift, s);
        nx_array *over = nx_less(kept, nx_scalar(bits, NX_UINT32), s);
        kept = nx_minimum(kept, nx_scalar(31, NX_UINT32), s);
        nx_array *high = nx_left_shift(nx_take_axis(w, next, last, s), kept, s);
        low = nx_bitwise_or(low, nx_where(over, high, nx_scalar(0, NX_UINT32), s), s);
    }
    return nx_bitwise_and(low, nx_scalar((1 << bits) - 1, NX_UINT32), s);
}

/* The dequantization of affine codes in other operations: MLX has none of its own for it. */
static nx_array *dequantized(nx_node *n)
{
    const nx_quantize_params *p = n->params;
    nx_stream *s = n->stream;
    nx_array *scales = nx_astype(nx_expand_dims(n->in[1], -1, s), NX_FLOAT32, s);
    nx_array *biases = nx_astype(nx_expand_dims(n->in[2], -1, s), NX_FLOAT32, s);
    nx_array *codes = nx_unflatten(unpacked(n->in[0], p->bits, s), -1, (int[]){-1, p->group_size}, 2, s);
    nx_array *x = nx_add(nx_multiply(nx_astype(codes, NX_FLOAT32, s), scales, s), biases, s);
    return nx_astype(nx_flatten(x, -2, -1, s), p->dtype, s);
}

static bool quantize_as(nx_node *n, nx_array **out)
{
    const nx_quantize_params *p = n->params;
    if (p->mode != NX_QUANT_AFFINE) /* composed by MLX where there is no GPU */
        return nx_fail("[export_function] Unable to serialize primitive Quantize of mode %s",
                       modes[p->mode].name);
    out[0] = p->dequantize ? dequantized(n) : &n->out[0];
    return out[0] != NULL;
}

static const nx_file_form quantize_form = {"Quantize", quantize_fields, 4};

const nx_prim nx_prim_Quantize = {
    .name = "Quantize",
    .id = NX_PRIM_Quantize,
    .flags = NX_PRIM_ANY_SHAPE,
    .row_inputs = 7,
    .params_size = sizeof(nx_quantize_params),
    .fields = quantize_fields,
    .n_fields = 5,
    .infer = infer_quantize,
    .vjp = vjp_quantize,
    .vmap = vmap_quantize,
    .rebuild = rebuild_quantize,
    .least_in = 1,
    .most_in = 3,
    .file = &quantize_form,
    .file_as = quantize_as,
};

int nx_quantize(nx_array *w, int group_size, int bits, const char *mode, nx_array *global_scale,
                nx_stream *s, nx_array *out[3])
{
    const char *op = "quantize";
    coding c;
    if (!w || !coding_of(op, mode, group_size, bits, &c) || !global_scale_check(op, &c, global_scale))
        return 0;
    if (!is_number_type((nx_dtype)w->dtype))
        return nx_fail("[%s] Only real floating types can be quantized but w has type %s.", op,
                       nx_dtype_name((nx_dtype)w->dtype));
    if (w->ndim < 2)
        return nx_fail("[%s] The matrix to be quantized must have at least 2 dimension but it has "
                       "only %d.", op, w->ndim);
    if (w->shape[w->ndim - 1] % c.group_size)
        return nx_fail("[%s] The last dimension of the matrix needs to be divisible by the "
                       "quantization group size %d. However the provided  matrix has shape %s", op,
                       c.group_size, SHAPE(w));
    nx_quantize_params p = {c.group_size, c.bits, c.mode, false, (nx_dtype)w->dtype};
    int n = c.mode == NX_QUANT_AFFINE ? 3 : 2;
    nx_array *in[2] = {w, global_scale};
    return nx_op_n(&nx_prim_Quantize, &p, in, global_scale ? 2 : 1, s, out, n) ? n : 0;
}

/* Codes, scales and biases belong together. `values` gets the length of a row of numbers. */
static bool parts_check(const char *op, const coding *c, const nx_array *w, const nx_array *scales,
                        const nx_array *biases, int64_t *values)
{
    bool affine = c->mode == NX_QUANT_AFFINE;
    if (affine && !biases)
        return nx_fail("[%s] Biases must be provided for affine quantization.", op);
    if (!affine && biases)
        return nx_fail("[%s] Biases must be null for quantization mode '%s'.", op,
                       modes[c->mode].name);
    if (w->dtype != NX_UINT32)
        return nx_fail("[%s] The weight matrix should be uint32 but received %s", op,
                       nx_dtype_name((nx_dtype)w->dtype));
    if (!affine && scales->dtype != NX_UINT8)
        return nx_fail("[%s] Scale type must be uint8 but received type %s.", op,
                       nx_dtype_name((nx_dtype)scales->dtype));
    if (affine && (!is_number_type((nx_dtype)scales->dtype) || !is_number_type((nx_dtype)biases->dtype)))
        return nx_fail("[%s] Scales and biases must be floating, not %s and %s.", op,
                       nx_dtype_name((nx_dtype)scales->dtype), nx_dtype_name((nx_dtype)biases->dtype));
    if (biases && !nx_shape_equal(scales->shape, scales->ndim, biases->shape, biases->ndim))
        return nx_fail("[%s] Scales and biases should have the same shape. Received scales with shape "
                       "%s and biases with %s", op, SHAPE(scales), SHAPE(biases));
    int last = w->ndim - 1;
    bool fits = w->ndim >= 2 && w->ndim == scales->ndim;
    for (int i = 0; fits && i < last; i++)
        fits = w->shape[i] == scales->shape[i];
    *values = fits ? (int64_t)w->shape[last] * 32 / c->bits : 0;
    if (!fits || *values != (int64_t)scales->shape[last] * c->group_size || *values > INT32_MAX)
        return nx_fail("[%s] The shapes of the weight and scales are incompatible based on bits and "
                       "group_size. w.shape() == %s and scales.shape() == %s with group_size=%d and "
                       "bits=%d", op, SHAPE(w), SHAPE(scales), c->group_size, c->bits);
    return true;
}

nx_array *nx_dequantize(nx_array *w, nx_array *scales, nx_array *biases, int group_size, int bits,
                        const char *mode, nx_array *global_scale, const nx_dtype *dtype, nx_stream *s)
{
    const char *op = "dequantize";
    coding c;
    int64_t values;
    if (!w || !scales || !coding_of(op, mode, group_size, bits, &c) ||
        !global_scale_check(op, &c, global_scale) || !parts_check(op, &c, w, scales, biases, &values))
        return NULL;
    nx_dtype t = global_scale                ? NX_FLOAT32 /* whatever is asked for, as MLX has it */
                 : dtype                     ? *dtype
                 : c.mode == NX_QUANT_AFFINE ? (nx_dtype)scales->dtype
                                             : NX_BFLOAT16;
    if (!nx_dtype_in(t, NX_FLOATS))
        return nx_fail_null("[%s] Only real floating types are supported but output dtype == %s.", op,
                            nx_dtype_name(t));
    nx_quantize_params p = {c.group_size, c.bits, c.mode, true, t == NX_FLOAT64 ? NX_FLOAT32 : t};
    nx_array *in[3] = {w, scales, biases ? biases : global_scale};
    return nx_astype(nx_op(&nx_prim_Quantize, &p, in, in[2] ? 3 : 2, s), t, s);
}

/* ---- products ----------------------------------------------------------------------------------- */

static int64_t columns_of(const nx_qmm_params *p, const nx_array *w)
{
    return p->transpose ? w->shape[w->ndim - 2] : (int64_t)w->shape[w->ndim - 1] * 32 / p->bits;
}

static bool infer_product(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_qmm_params *p = params;
    const nx_array *x = in[0], *w = in[1];
    nx_dims lead;
    if (!nx_broadcast_dims(x->shape, x->ndim - 2, w->shape, w->ndim - 2, &lead))
        return false;
    nx_spec_set(&out[0], lead.v, lead.n, p->dtype);
    out[0].shape[out[0].ndim++] = x->shape[x->ndim - 2];
    out[0].shape[out[0].ndim++] = (int)columns_of(p, w);
    return true;
}

static bool infer_gather(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_qmm_params *p = params;
    nx_spec_like(&out[0], in[n_in - 1], p->dtype);
    out[0].shape[out[0].ndim++] = in[0]->shape[in[0]->ndim - 2];
    out[0].shape[out[0].ndim++] = (int)columns_of(p, in[1]);
    return true;
}

static const nx_field product_fields[] = {
    {"group_size", NX_FIELD_INT, offsetof(nx_qmm_params, group_size)},
    {"bits", NX_FIELD_INT, offsetof(nx_qmm_params, bits)},
    {"mode", NX_FIELD_ENUM, offsetof(nx_qmm_params, mode)},
    {"transpose", NX_FIELD_BOOL, offsetof(nx_qmm_params, transpose)},
    {"left_sorted", NX_FIELD_BOOL, offsetof(nx_qmm_params, left_sorted)},
    {"right_sorted", NX_FIELD_BOOL, offsetof(nx_qmm_params, right_sorted)},
};

/* a, summed over the dimensions it was broadcast along from `like`'s shape. */
static nx_array *summed_to(nx_array *a, const int *shape, int ndim, nx_stream *s)
{
    int axes[NX_MAX_NDIM], n = 0, added = a ? a->ndim - ndim : 0;
    for (int i = 0; a && i < a->ndim; i++)
        if (i < added || (shape[i - added] == 1 && a->shape[i] != 1))
            axes[n++] = i;
    if (n)
        a = nx_sum(a, axes, n, true, s);
    return a ? nx_reshape(a, shape, ndim, s) : NULL;
}

/* The shape of the numbers of a matrix of codes: the scales', with groups at full length. */
static void numbers_shape(const nx_array *scales, int group_size, int *shape)
{
    for (int i = 0; i < scales->ndim; i++)
        shape[i] = scales->shape[i];
    shape[scales->ndim - 1] *= group_size;
}

static bool can_derive_parts(const nx_node *n)
{
    const nx_qmm_params *p = n->params;
    return p->mode == NX_QUANT_AFFINE ||
           nx_fail("[%s::vjp] no gradient wrt the scales of mode %s.", n->prim->name,
                   modes[p->mode].name);
}

/* By scales and biases, through the gradient of the matrix. */
static bool vjp_parts(nx_node *n, nx_array *g, const bool *wanted, nx_array **out)
{
    const nx_qmm_params *p = n->params;
    nx_array *x = n->in[0], *w = n->in[1];
    nx_stream *s = n->stream;
    int shape[NX_MAX_NDIM];
    if (!can_derive_parts(n))
        return false;
    if (w->ndim == 2) { /* one matrix: all rows at once */
        x = nx_flatten(x, 0, -2, s);
        g = nx_flatten(g, 0, -2, s);
    }
    nx_array *d = p->transpose ? nx_matmul(nx_swapaxes(g, -1, -2, s), x, s)
                               : nx_matmul(nx_swapaxes(x, -1, -2, s), g, s);
    numbers_shape(n->in[2], p->group_size, shape);
    d = summed_to(d, shape, w->ndim, s);
    return parts_gradient(d, w, n->in[2], p->group_size, p->bits, wanted[2], wanted[3], &out[2],
                          &out[3], s);
}

static bool vjp_product(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    nx_qmm_params p = *(const nx_qmm_params *)n->params;
    nx_array *in[4] = {g[0], n->in[1], n->in[2], n->n_in > 3 ? n->in[3] : NULL};
    if (wanted[1])
        return nx_fail("[QuantizedMatmul::vjp] no gradient wrt the quantized weights.");
    p.transpose = !p.transpose;
    if (wanted[0]) {
        nx_array *x = n->in[0], *back = nx_op(&nx_prim_QuantizedMatmul, &p, in, n->n_in, n->stream);
        out[0] = summed_to(back, x->shape, x->ndim, n->stream);
    }
    if (wanted[2] || (n->n_in > 3 && wanted[3]))
        return vjp_parts(n, g[0], wanted, out);
    return true;
}

/* Ones between the batch in front and the rest, until it has `leading` dimensions before the matrix. */
static nx_array *aligned(nx_array *a, int leading, nx_stream *s)
{
    while (a && a->ndim - 3 < leading)
        a = nx_expand_dims(a, 1, s);
    return a;
}

static bool vmap_product(nx_node *n, nx_array *const *in, const int *axes, nx_array **out,
                         int *out_axes)
{
    nx_stream *s = n->stream;
    nx_array *all[4];
    int size = nx_batch_size(in, axes, n->n_in), leading = n->in[0]->ndim - 2;
    bool matrices = false;
    for (int i = 1; i < n->n_in; i++)
        matrices |= axes[i] >= 0;
    if (n->in[1]->ndim - 2 > leading)
        leading = n->in[1]->ndim - 2;
    for (int i = 0; i < n->n_in; i++)
        all[i] = i == 0 || matrices ? aligned(nx_batch_all(in[i], axes[i], size, s), leading, s) : in[i];
    out[0] = nx_op(&nx_prim_QuantizedMatmul, n->params, all, n->n_in, s);
    out_axes[0] = 0;
    return true;
}

static bool rebuild_product(const nx_rebuild *r, nx_array **out)
{
    const nx_qmm_params *p = r->params;
    if (!mode_check("quantized_matmul", p->mode))
        return false;
    out[0] = nx_quantized_matmul(r->in[0], r->in[1], r->in[2], r->n_in > 3 ? r->in[3] : NULL,
                                 p->transpose, p->group_size, p->bits, modes[p->mode].name, r->s);
    return out[0] != NULL;
}

static bool rebuild_gather(const nx_rebuild *r, nx_array **out)
{
    const nx_qmm_params *p = r->params;
    if (!mode_check("gather_qmm", p->mode))
        return false;
    out[0] = nx_gather_qmm(r->in[0], r->in[1], r->in[2], r->n_in > 5 ? r->in[3] : NULL,
                           r->in[r->n_in - 2], r->in[r->n_in - 1], p->transpose, p->group_size, p->bits,
                           modes[p->mode].name, p->left_sorted && p->right_sorted, r->s);
    return out[0] != NULL;
}

/* MLX multiplies by scales and biases of the result's type alone. */
static bool product_as(nx_node *n, nx_array **out)
{
    const nx_qmm_params *p = n->params;
    nx_array *in[6];
    bool same = true;
    out[0] = &n->out[0];
    for (int i = 0; i < n->n_in; i++) {
        bool part = p->mode == NX_QUANT_AFFINE && (i == 2 || i == 3);
        in[i] = part ? nx_astype(n->in[i], p->dtype, n->stream) : n->in[i];
        same &= in[i] == n->in[i];
    }
    return same || nx_op_like(n, in, n->stream, false, out);
}

static const nx_file_form product_form = {"QuantizedMatmul", product_fields, 4};

const nx_prim nx_prim_QuantizedMatmul = {
    .name = "QuantizedMatmul",
    .id = NX_PRIM_QuantizedMatmul,
    .flags = NX_PRIM_ANY_SHAPE,
    .row_inputs = 15,
    .params_size = sizeof(nx_qmm_params),
    .fields = product_fields,
    .n_fields = 4,
    .infer = infer_product,
    .vjp = vjp_product,
    .vmap = vmap_product,
    .rebuild = rebuild_product,
    .least_in = 3,
    .most_in = 4,
    .file = &product_form,
    .file_as = product_as,
};

static bool vjp_gather_qmm(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    nx_qmm_params p = *(const nx_qmm_params *)n->params;
    nx_array *x = n->in[0], *w = n->in[1], *in[6];
    nx_array *left = n->in[n->n_in - 2], *right = n->in[n->n_in - 1];
    nx_stream *s = n->stream;
    bool biases = n->n_in > 5, by_parts = wanted[2] || (biases && wanted[3]);
    nx_array *each = nx_each_product(left, s);
    if (wanted[1])
        return nx_fail("[GatherQMM::vjp] no gradient wrt the quantized weights.");
    for (int i = 0; i < n->n_in; i++)
        in[i] = n->in[i];
    for (int i = n->n_in - 2; i < n->n_in; i++)
        if (wanted[i])
            out[i] = nx_array_none();
    if (wanted[0]) {
        p.transpose = !p.transpose;
        p.left_sorted = p.right_sorted = false;
        in[0] = g[0];
        in[n->n_in - 2] = each;
        nx_array *back = nx_op(&nx_prim_GatherQMM, &p, in, n->n_in, s);
        out[0] = nx_add_products(back, left, x, (nx_dtype)x->dtype, s);
        p.transpose = !p.transpose;
    }
    if (!by_parts)
        return true;
    if (!can_derive_parts(n))
        return false;
    nx_array *turned = nx_swapaxes(p.transpose ? g[0] : x, -1, -2, s);
    nx_array *d = p.transpose ? nx_gather_mm(turned, x, each, left, false, s)
                              : nx_gather_mm(turned, g[0], left, each, false, s);
    int shape[NX_MAX_NDIM];
    numbers_shape(n->in[2], p.group_size, shape);
    nx_array *like = nx_zeros(shape, w->ndim, (nx_dtype)x->dtype, s);
    d = like ? nx_add_products(d, right, like, (nx_dtype)x->dtype, s) : NULL;
    return parts_gradient(d, w, n->in[2], p.group_size, p.bits, wanted[2], biases && wanted[3], &out[2],
                          &out[3], s);
}

static bool vmap_gather_qmm(nx_node *n, nx_array *const *in, const int *axes, nx_array **out,
                            int *out_axes)
{
    nx_qmm_params p = *(const nx_qmm_params *)n->params;
    nx_stream *s = n->stream;
    nx_array *all[6];
    int size = nx_batch_size(in, axes, n->n_in), parts = n->n_in - 2;
    bool each[2] = {axes[0] >= 0, false};
    for (int i = 1; i < parts; i++)
        each[1] |= axes[i] >= 0;
    for (int i = 0; i < parts; i++)
        all[i] = each[i > 0] ? nx_batch_all(in[i], axes[i], size, s) : in[i];
    for (int i = 0; i < 2; i++) {
        const nx_array *of = n->in[i];
        all[parts + i] = nx_batch_indices(in[parts + i], axes[parts + i], size, each[i],
                                          nx_shape_size(of->shape, of->ndim - 2), s);
    }
    p.left_sorted = p.left_sorted && each[0];
    p.right_sorted = p.right_sorted && each[1];
    out[0] = nx_op(&nx_prim_GatherQMM, &p, all, n->n_in, s);
    out_axes[0] = 0;
    return true;
}

const nx_prim nx_prim_GatherQMM = {
    .name = "GatherQMM",
    .id = NX_PRIM_GatherQMM,
    .row_inputs = 63,
    .params_size = sizeof(nx_qmm_params),
    .fields = product_fields,
    .n_fields = 6,
    .infer = infer_gather,
    .vjp = vjp_gather_qmm,
    .vmap = vmap_gather_qmm,
    .rebuild = rebuild_gather,
    .least_in = 5,
    .most_in = 6,
    .file_as = product_as,
};

/* Checks all, fills the parameters in, and casts *x. */
static bool product_check(const char *op, nx_array **x, const nx_array *w, const nx_array *scales,
                          const nx_array *biases, const coding *c, bool transpose, nx_qmm_params *p,
                          nx_stream *s)
{
    int64_t values;
    if (!parts_check(op, c, w, scales, biases, &values))
        return false;
    *p = (nx_qmm_params){.group_size = c->group_size, .bits = c->bits, .mode = c->mode,
                         .transpose = transpose};
    if ((*x)->ndim < 1)
        return nx_fail("[%s] Got 0 dimension input. Inputs must have at least one dimension.", op);
    int64_t inner = transpose ? values : w->shape[w->ndim - 2];
    if ((*x)->shape[(*x)->ndim - 1] != inner)
        return nx_fail("[%s] Last dimension of first input with shape (..., %d) does not match the "
                       "expanded quantized matrix (%lld, %lld) computed from shape %s with "
                       "group_size=%d, bits=%d and transpose=%s", op, (*x)->shape[(*x)->ndim - 1],
                       (long long)inner, (long long)columns_of(p, w), SHAPE(w), c->group_size, c->bits,
                       transpose ? "true" : "false");
    p->dtype = (nx_dtype)(*x)->dtype;
    if (c->mode == NX_QUANT_AFFINE)
        p->dtype = nx_promote(nx_promote(p->dtype, (nx_dtype)scales->dtype), (nx_dtype)biases->dtype);
    if (!is_number_type(p->dtype))
        return nx_fail("[%s] Only real floating types are supported but x has type %s.", op,
                       nx_dtype_name((nx_dtype)(*x)->dtype));
    *x = nx_astype(*x, p->dtype, s);
    return *x;
}

nx_array *nx_quantized_matmul(nx_array *x, nx_array *w, nx_array *scales, nx_array *biases,
                              bool transpose, int group_size, int bits, const char *mode, nx_stream *s)
{
    const char *op = "quantized_matmul";
    coding c;
    nx_qmm_params p;
    if (!x || !w || !scales || !coding_of(op, mode, group_size, bits, &c) ||
        !product_check(op, &x, w, scales, biases, &c, transpose, &p, s))
        return NULL;
    bool row = x->ndim == 1;
    if (row)
        x = nx_expand_dims(x, 0, s);
    nx_array *in[4] = {x, w, scales, biases};
    nx_array *out = nx_op(&nx_prim_QuantizedMatmul, &p, in, biases ? 4 : 3, s);
    return row && out ? nx_squeeze_axis(out, -2, s) : out;
}

nx_array *nx_gather_qmm(nx_array *x, nx_array *w, nx_array *scales, nx_array *biases,
                        nx_array *lhs_indices, nx_array *rhs_indices, bool transpose, int group_size,
                        int bits, const char *mode, bool sorted, nx_stream *s)
{
    const char *op = "gather_qmm";
    coding c;
    nx_qmm_params p;
    if (!lhs_indices && !rhs_indices)
        return nx_quantized_matmul(x, w, scales, biases, transpose, group_size, bits, mode, s);
    if (!x || !w || !scales || !coding_of(op, mode, group_size, bits, &c) ||
        !product_check(op, &x, w, scales, biases, &c, transpose, &p, s))
        return NULL;
    if (x->ndim == 1)
        x = nx_expand_dims(x, 0, s);
    p.left_sorted = sorted && !rhs_indices;
    p.right_sorted = sorted && !lhs_indices;
    if (!x || !nx_matrix_indices(op, x, w, &lhs_indices, &rhs_indices, s))
        return NULL;
    nx_array *in[6] = {x, w, scales};
    int n = 3;
    if (biases)
        in[n++] = biases;
    in[n++] = lhs_indices;
    in[n++] = rhs_indices;
    return nx_op(&nx_prim_GatherQMM, &p, in, n, s);
}

nx_array *nx_qqmm(nx_array *x, nx_array *w, nx_array *w_scales, int group_size, int bits,
                  const char *mode, nx_array *global_scale_x, nx_array *global_scale_w, nx_stream *s)
{
    const char *op = "qqmm";
    coding c;
    nx_array *xq[3], *wq[3] = {w, w_scales};
    if (!x || !w || !coding_of(op, mode, group_size, bits, &c) ||
        !global_scale_check(op, &c, global_scale_x) || !global_scale_check(op, &c, global_scale_w))
        return NULL;
    if (!global_scale_x != !global_scale_w)
        return nx_fail_null("[%s] For nvfp4 mode, either both global_scale_x and global_scale_w must be "
                            "provided, or neither.", op);
    if (c.mode != NX_QUANT_NVFP4 && c.mode != NX_QUANT_MXFP8)
        return nx_fail_null("[%s] Only 'nvfp4' and 'mxfp8' quantization modes are supported but '%s' "
                            "was provided.", op, modes[c.mode].name);
    if (!w_scales && !nx_quantize(w, group_size, bits, mode, global_scale_w, s, wq))
        return NULL;
    bool row = x->ndim == 1;
    nx_dtype t = (nx_dtype)x->dtype;
    if (row)
        x = nx_expand_dims(x, 0, s);
    if (!x || !nx_quantize(x, group_size, bits, mode, global_scale_x, s, xq))
        return NULL;
    x = nx_dequantize(xq[0], xq[1], NULL, group_size, bits, mode, global_scale_x, &t, s);
    nx_array *out = nx_quantized_matmul(x, wq[0], wq[1], NULL, true, group_size, bits, mode, s);
    if (global_scale_w) /* the product knows the groups' scales alone */
        out = nx_astype(nx_multiply(out, nx_divide(global_scale_w, nx_scalar(NX_NVFP4_RANGE, NX_FLOAT32), s), s), t, s);
    return row && out ? nx_squeeze_axis(out, -2, s) : out;
}
