/*
 * quant_tmpl.c: Quantize, Dequantize, QuantizedMatmul, GatherQMM (ops/quant.h has the format).
 * Products go through gemm.h: a panel of the matrix is unpacked to floats, then multiplied, so the
 * sums have the order of every other product, however many rows there are.
 */
#include <math.h>
#include <string.h>

#include "engine/cpu/gemm.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/pool.h"
#include "engine/cpu/types.h"
#include "engine/ops/params.h"

enum { GROUP_MAX = 128, PIECE = 256 }; /* elements unpacked at a time */

static float value_at(const void *p, int64_t i, nx_dtype t)
{
    switch (t) {
    case NX_FLOAT16:
        return nx_half_to_float(((const uint16_t *)p)[i]);
    case NX_BFLOAT16:
        return nx_bf16_to_float(((const uint16_t *)p)[i]);
    default:
        return ((const float *)p)[i];
    }
}

/* As the type holds the value. */
static float rounded(float v, nx_dtype t)
{
    return t == NX_FLOAT16    ? nx_half_to_float(nx_half_from_float(v))
           : t == NX_BFLOAT16 ? nx_bf16_to_float(nx_bf16_from_float(v))
                              : v;
}

static void value_put(void *p, int64_t i, nx_dtype t, float v)
{
    if (t == NX_FLOAT16)
        ((uint16_t *)p)[i] = nx_half_from_float(v);
    else if (t == NX_BFLOAT16)
        ((uint16_t *)p)[i] = nx_bf16_from_float(v);
    else
        ((float *)p)[i] = v;
}

/* ---- quantize ---------------------------------------------------------------------------------- */

typedef struct {
    const nx_call *c;
    int group, bits;
} quantize_job;

/* The end of the group that is farther from zero is met exactly, and zero where it can be. */
static void group_fit(const float *w, int n, float top, float *scale, float *bias)
{
    float low = w[0], high = w[0];
    for (int i = 1; i < n; i++) {
        low = w[i] < low ? w[i] : low;
        high = w[i] > high ? w[i] : high;
    }
    bool low_is_far = fabsf(low) > fabsf(high);
    float edge = low_is_far ? low : high, step = (high - low) / top;
    step = step > 1e-7f ? step : 1e-7f;
    step = low_is_far ? step : -step;
    float at_edge = rintf(edge / step);
    *scale = at_edge != 0 ? edge / at_edge : step;
    *bias = at_edge != 0 ? edge : 0;
}

static void quantize_piece(void *ctx, int64_t begin, int64_t end)
{
    const quantize_job *j = ctx;
    const nx_view *in = j->c->in, *out = j->c->out;
    int words = j->group * j->bits / 32;
    float top = (float)((1 << j->bits) - 1);
    for (int64_t g = begin; g < end; g++) {
        float w[GROUP_MAX] = {0}, scale, bias;
        for (int i = 0; i < j->group; i++)
            w[i] = value_at(in->data, g * j->group + i, in->dtype);
        group_fit(w, j->group, top, &scale, &bias);
        uint32_t *to = (uint32_t *)out[0].data + g * words;
        uint64_t pending = 0;
        int have = 0;
        for (int i = 0; i < j->group; i++) {
            float q = rintf((w[i] - bias) / scale);
            q = q > 0 ? q : 0; /* NaN too */
            q = q < top ? q : top;
            pending |= (uint64_t)q << have;
            have += j->bits;
            if (have >= 32) {
                *to++ = (uint32_t)pending;
                pending >>= 32;
                have -= 32;
            }
        }
        value_put(out[1].data, g, out[1].dtype, scale);
        value_put(out[2].data, g, out[2].dtype, bias);
    }
}

void NX_FN(quantize)(const nx_call *c)
{
    const nx_quant_params *p = c->params;
    quantize_job j = {c, p->group_size, p->bits};
    nx_parallel(nx_view_size(&c->in[0]) / p->group_size, nx_grain(p->group_size * 16, NX_PIECE_BYTES),
                quantize_piece, &j);
}

/* ---- unpacking --------------------------------------------------------------------------------- */

/* Elements first..first+n of packed words as floats; n at most PIECE, first + n within the words.
 * The words have `step` between them. */
static void unpack(const uint32_t *words, int64_t step, int bits, int64_t first, int n, float *to)
{
    uint32_t near[PIECE * 8 / 32 + 3];
    int64_t from = first * bits / 32, until = ((first + n) * bits + 31) / 32;
    for (int64_t i = from; i < until; i++)
        near[i - from] = words[i * step];
    near[until - from] = 0;
    int at = (int)(first * bits % 32);
    uint32_t mask = (1u << bits) - 1;
    if (bits == 8 && at == 0) {
        for (int i = 0; i < n; i++)
            to[i] = (float)(near[i / 4] >> i % 4 * 8 & 0xFF);
    } else if (bits == 4 && at == 0) {
        for (int i = 0; i < n; i++)
            to[i] = (float)(near[i / 8] >> i % 8 * 4 & 0xF);
    } else {
        for (int i = 0; i < n; i++, at += bits) {
            uint64_t two = near[at / 32] | (uint64_t)near[at / 32 + 1] << 32;
            to[i] = (float)((uint32_t)(two >> at % 32) & mask);
        }
    }
}

typedef struct {
    const nx_call *c;
    int group, bits;
} dequantize_job;

static void dequantize_piece(void *ctx, int64_t begin, int64_t end)
{
    const dequantize_job *j = ctx;
    const nx_view *in = j->c->in, *out = &j->c->out[0];
    int words = j->group * j->bits / 32;
    for (int64_t g = begin; g < end; g++) {
        float q[GROUP_MAX];
        float scale = value_at(in[1].data, g, in[1].dtype), bias = value_at(in[2].data, g, in[2].dtype);
        unpack((const uint32_t *)in[0].data + g * words, 1, j->bits, 0, j->group, q);
        for (int i = 0; i < j->group; i++) /* each step in the result's type */
            value_put(out->data, g * j->group + i, out->dtype,
                      rounded(q[i] * scale, out->dtype) + bias);
    }
}

void NX_FN(dequantize)(const nx_call *c)
{
    const nx_quant_params *p = c->params;
    dequantize_job j = {c, p->group_size, p->bits};
    nx_parallel(nx_view_size(&c->out[0]) / p->group_size,
                nx_grain(p->group_size * 8, NX_PIECE_BYTES), dequantize_piece, &j);
}

/* ---- products ---------------------------------------------------------------------------------- */

typedef struct {
    const nx_call *c;
    const nx_quant_params *p;
} product;

/* Where matrix number i of a view begins, in elements. */
static int64_t matrix_at(const nx_view *v, int64_t i)
{
    int64_t at = 0;
    for (int d = v->ndim - 3; d >= 0; d--) {
        at += i % v->shape[d] * v->strides[d];
        i /= v->shape[d];
    }
    return at;
}

/* Which matrix of in[operand] a batch takes: itself, or what its index says, kept inside. */
static int64_t matrix_of(const nx_call *c, int operand, int64_t batch)
{
    if (c->n_in < 6)
        return batch;
    const nx_view *v = &c->in[operand];
    int64_t i = ((const uint32_t *)c->in[4 + operand].data)[batch];
    int64_t n = nx_shape_size(v->shape, v->ndim - 2);
    return i < n ? i : n - 1;
}

static int64_t x_offset(const nx_gemm *g, int64_t batch)
{
    const product *p = g->user;
    return matrix_at(&p->c->in[0], matrix_of(p->c, 0, batch));
}

/* Elements first..first+n of row `row` of matrix i, `apart` floats between them. */
static void row_load(const product *p, int64_t i, int64_t row, int64_t first, int64_t n, float *to,
                     int64_t apart)
{
    const nx_view *w = &p->c->in[1], *scales = &p->c->in[2], *biases = &p->c->in[3];
    int last = w->ndim - 1, group = p->p->group_size;
    const uint32_t *words = (const uint32_t *)w->data + matrix_at(w, i) + row * w->strides[last - 1];
    int64_t scale0 = matrix_at(scales, i) + row * scales->strides[last - 1];
    int64_t bias0 = matrix_at(biases, i) + row * biases->strides[last - 1];
    while (n) {
        float q[GROUP_MAX];
        int64_t g = first / group, left = group - first % group;
        int k = (int)(left < n ? left : n);
        float scale = value_at(scales->data, scale0 + g * scales->strides[last], scales->dtype);
        float bias = value_at(biases->data, bias0 + g * biases->strides[last], biases->dtype);
        unpack(words, w->strides[last], p->p->bits, first, k, q);
        for (int e = 0; e < k; e++)
            to[e * apart] = scale * q[e] + bias;
        to += k * apart;
        first += k;
        n -= k;
    }
}

static void load_panel(const nx_gemm *g, int64_t batch, int64_t k0, int64_t kc, int64_t n0, int nb,
                       void *panel)
{
    const product *p = g->user;
    int64_t i = matrix_of(p->c, 1, batch);
    float *to = panel;
    if (nb < NX_GEMM_NB)
        memset(to, 0, (size_t)(kc * NX_GEMM_NB) * sizeof *to);
    if (p->p->transpose)
        for (int j = 0; j < nb; j++)
            row_load(p, i, n0 + j, k0, kc, to + j, NX_GEMM_NB);
    else
        for (int64_t k = 0; k < kc; k++)
            row_load(p, i, k0 + k, n0, nb, to + k * NX_GEMM_NB, 1);
}

static void store_block(const nx_gemm *g, int64_t batch, int64_t m0, int64_t m, int64_t n0, int nb,
                        const void *acc)
{
    const product *p = g->user;
    float *to = (float *)p->c->out[0].data + (batch * g->m + m0) * g->n + n0;
    for (int64_t i = 0; i < m; i++)
        memcpy(to + i * g->n, (const float *)acc + i * NX_GEMM_NB, (size_t)nb * sizeof *to);
}

void NX_FN(quantized_matmul)(const nx_call *c)
{
    const nx_view *x = &c->in[0], *out = &c->out[0];
    product p = {c, c->params};
    nx_gemm g = {
        .batches = nx_shape_size(out->shape, out->ndim - 2),
        .m = out->shape[out->ndim - 2],
        .n = out->shape[out->ndim - 1],
        .k = x->shape[x->ndim - 1],
        .a = x->data,
        .a_row = x->strides[x->ndim - 2],
        .a_col = x->strides[x->ndim - 1],
        .a_offset = x_offset,
        .load_b = load_panel,
        .store = store_block,
        .user = &p,
    };
    if (nx_view_size(out))
        NX_FN(nx_gemm_f32)(&g);
}
