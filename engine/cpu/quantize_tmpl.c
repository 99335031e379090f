/*
 * quantize_tmpl.c: Quantize, both ways: numbers to packed codes with scales (and biases), and back.
 * The arithmetic is MLX's step for step, so that packed bytes, scales and biases are equal to its.
 */
#include <math.h>
#include <string.h>

#include "engine/cpu/fp_codes.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/pool.h"
#include "engine/cpu/simd.h"
#include "engine/ops/params.h"

static float number_at(const nx_view *v, int64_t i)
{
    return v->dtype == NX_FLOAT32   ? ((const float *)v->data)[i]
           : v->dtype == NX_FLOAT16 ? nx_half_to_float(((const uint16_t *)v->data)[i])
                                    : nx_bf16_to_float(((const uint16_t *)v->data)[i]);
}

/* x as the type would hold it. */
static float rounded(nx_dtype t, float x)
{
    return t == NX_FLOAT16    ? nx_half_to_float(nx_half_from_float(x))
           : t == NX_BFLOAT16 ? nx_bf16_to_float(nx_bf16_from_float(x))
                              : x;
}

static void number_put(const nx_view *v, int64_t i, float x)
{
    if (v->dtype == NX_FLOAT32)
        ((float *)v->data)[i] = x;
    else if (v->dtype == NX_FLOAT16)
        ((uint16_t *)v->data)[i] = nx_half_from_float(x);
    else
        ((uint16_t *)v->data)[i] = nx_bf16_from_float(x);
}

typedef struct {
    const nx_quantize_params *p;
    const float *global; /* of nvfp4, or NULL */
    const nx_view *in, *scales, *biases, *out;
} job;

/* One end of the range becomes a code exactly: the end of larger magnitude, so that zero stays zero. */
static void affine_group(const job *j, int64_t g, const float *x, uint8_t *to)
{
    int n = j->p->group_size, bits = j->p->bits;
    float low = INFINITY, high = -INFINITY, steps = (float)((1 << bits) - 1);
    for (int i = 0; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    bool negative = fabsf(low) > fabsf(high);
    float scale = (high - low) / steps, bias = 0, edge = negative ? low : high;
    scale = scale > 1e-7f ? scale : 1e-7f;
    scale = negative ? scale : -scale;
    float code = rintf(edge / scale);
    if (code != 0) {
        scale = edge / code;
        bias = edge;
    }
    for (int i = 0; i < n; i++) {
        float c = rintf((x[i] - bias) / scale);
        c = c > 0 ? c : 0;
        c = c < steps ? c : steps;
        nx_code_put(to, i, bits, (unsigned)c);
    }
    number_put(j->scales, g, scale);
    number_put(j->biases, g, bias);
}

static void fp_group(const job *j, int64_t g, const float *x, uint8_t *to)
{
    int n = j->p->group_size, bits = j->p->bits;
    nx_dtype t = j->in->dtype;
    float top = 0, by;
    for (int i = 0; i < n; i++)
        top = fabsf(x[i]) > top ? fabsf(x[i]) : top;
    float scale = rounded(t, top / (bits == 8 ? 448.0f : 6.0f));
    uint8_t code;
    if (j->p->mode == NX_QUANT_NVFP4) {
        code = nx_e4m3_from_float(j->global ? scale * (NX_NVFP4_RANGE / *j->global) : scale);
        by = nx_e4m3_to_float(code);
    } else {
        float power = scale == 0 ? 0 : rintf(rounded(t, log2f(scale)));
        power = power > 128 || power != power ? 128 : power < -149 ? -149 : power;
        code = (uint8_t)((int)power + 127);
        by = exp2f(power);
    }
    ((uint8_t *)j->scales->data)[g] = code;
    for (int i = 0; i < n; i++) {
        float v = by == 0 ? 0 : x[i] / by;
        if (j->global)
            v = rounded(t, v) / (*j->global / NX_NVFP4_RANGE);
        nx_code_put(to, i, bits, bits == 8 ? nx_e4m3_from_float(v) : nx_e2m1_from_float(v));
    }
}

static void quantize_piece(void *ctx, int64_t begin, int64_t end)
{
    const job *j = ctx;
    int n = j->p->group_size;
    float x[128];
    for (int64_t g = begin; g < end; g++) {
        for (int i = 0; i < n; i++)
            x[i] = number_at(j->in, g * n + i);
        uint8_t *to = (uint8_t *)j->out->data + g * n * j->p->bits / 8;
        memset(to, 0, (size_t)(n * j->p->bits / 8));
        if (j->p->mode == NX_QUANT_AFFINE)
            affine_group(j, g, x, to);
        else
            fp_group(j, g, x, to);
    }
}

/* Affine steps are rounded to the scales' type, as separate operations would. */
static void dequantize_piece(void *ctx, int64_t begin, int64_t end)
{
    const job *j = ctx;
    int n = j->p->group_size, bits = j->p->bits;
    nx_dtype t = j->biases ? j->scales->dtype : NX_FLOAT32;
    for (int64_t g = begin; g < end; g++) {
        const uint8_t *from = (const uint8_t *)j->in->data + g * n * bits / 8;
        uint8_t code = j->biases ? 0 : ((const uint8_t *)j->scales->data)[g];
        float scale = j->biases                      ? number_at(j->scales, g)
                      : j->p->mode == NX_QUANT_NVFP4 ? nx_e4m3_to_float(code)
                                                     : nx_e8m0_to_float(code);
        if (j->global)
            scale *= *j->global / NX_NVFP4_RANGE;
        float bias = j->biases ? number_at(j->biases, g) : 0;
        for (int i = 0; i < n; i++) {
            unsigned c = nx_code_get(from, i, bits);
            float v = j->biases   ? rounded(t, rounded(t, (float)c * scale) + bias)
                      : bits == 8 ? nx_e4m3_to_float((uint8_t)c) * scale
                                  : nx_e2m1_values[c] * scale;
            number_put(j->out, g * n + i, v);
        }
    }
}

void NX_FN(quantize)(const nx_call *c)
{
    const nx_quantize_params *p = c->params;
    bool affine = p->mode == NX_QUANT_AFFINE;
    job j = {.p = p, .in = &c->in[0]};
    int global = nx_quantize_global(p, c->n_in);
    j.global = global < 0 ? NULL : c->in[global].data;
    if (p->dequantize) {
        j.scales = &c->in[1];
        j.biases = affine ? &c->in[2] : NULL;
        j.out = &c->out[0];
    } else {
        j.out = &c->out[0];
        j.scales = &c->out[1];
        j.biases = affine ? &c->out[2] : NULL;
    }
    int64_t groups = nx_view_size(p->dequantize ? j.out : j.in) / p->group_size;
    nx_parallel(groups, nx_grain(p->group_size * 4, NX_PIECE_BYTES),
                p->dequantize ? dequantize_piece : quantize_piece, &j);
}
