/*
 * conv_tmpl.c: Convolution as a matrix product whose left side is gathered a few rows at a time
 * (conv_body.h), in float, or in double for float64.
 */
#include <string.h>

#include "engine/cpu/kernels.h"
#include "engine/cpu/pool.h"
#include "engine/cpu/simd.h"
#include "engine/cpu/types.h"
#include "engine/ops/params.h"

enum { CHUNK = 512 }; /* of k, gathered at once */
/* Rows of two vectors that the registers hold: 32 registers, or 16. */
#if defined(NX_ISA_avx512)
enum { ROWS = 12 };
#elif defined(__aarch64__)
enum { ROWS = 8 };
#else
enum { ROWS = 6 };
#endif

/* Spatial dimensions are three: missing ones come first, of size 1. */
typedef struct {
    const nx_view *x, *w, *y;
    int64_t in[3], kernel[3], out[3], step[3]; /* step: of the input, in elements */
    int64_t batch_step, channel_step;
    int64_t stride[3], low[3], spread[3], reach[3]; /* of input elements; of kernel elements */
    int64_t places, features, channels, groups;     /* channels: input channels of one group */
    int64_t taps, k, group_packed;                  /* k = taps * channels */
    bool flip;
    char *packed, *sums;
} conv_job;

/* Along dimension d: the offset of what lies `at` places into the input, spread; false: nothing, it
 * is beside the input or between two elements. */
static bool lies_at(const conv_job *j, int d, int64_t at, int64_t *offset)
{
    if (at < 0)
        return false;
    if (j->spread[d] > 1) {
        if (at % j->spread[d])
            return false;
        at /= j->spread[d];
    }
    *offset = at * j->step[d];
    return at < j->in[d];
}

/* Where in the input tap `tap` of a kernel placed at `place` looks, before channels: 3, or the first
 * dimension along which nothing lies there, and so nothing for the taps that share it. */
static int tap_offset(const conv_job *j, const int64_t *place, const int64_t *tap, int64_t *offset)
{
    int d = 0;
    *offset = place[3] * j->batch_step;
    for (int64_t part; d < 3 && lies_at(j, d, place[d] + tap[d] * j->reach[d], &part); d++)
        *offset += part;
    return d;
}

/* Moves `tap` behind the taps that share its first d + 1 coordinates: how many those were. */
static int64_t tap_next(const conv_job *j, int d, int64_t *tap)
{
    int64_t passed = 0, size = 1;
    for (int e = 2; e > d; e--) {
        passed += tap[e] * size;
        size *= j->kernel[e];
        tap[e] = 0;
    }
    tap[d]++;
    for (; d > 0 && tap[d] == j->kernel[d]; d--) {
        tap[d] = 0;
        tap[d - 1]++;
    }
    return size - passed;
}

#define LOAD(ACC, name)                                                                            \
    static void name(const nx_view *v, int64_t at, int64_t step, int64_t n, ACC *to)               \
    {                                                                                              \
        const nx_f16 *f16 = (const nx_f16 *)v->data + at;                                          \
        const nx_bf16 *bf16 = (const nx_bf16 *)v->data + at;                                       \
        const ACC *same = (const ACC *)v->data + at;                                               \
        if (v->dtype == NX_FLOAT16)                                                                \
            for (int64_t i = 0; i < n; i++)                                                        \
                to[i] = nx_half_to_float(f16[i * step].bits);                                      \
        else if (v->dtype == NX_BFLOAT16)                                                          \
            for (int64_t i = 0; i < n; i++)                                                        \
                to[i] = nx_bf16_to_float(bf16[i * step].bits);                                     \
        else if (step == 1)                                                                        \
            memcpy(to, same, (size_t)n * sizeof *to);                                              \
        else                                                                                       \
            for (int64_t i = 0; i < n; i++)                                                        \
                to[i] = same[i * step];                                                            \
    }
LOAD(float, load_float)
LOAD(double, load_double)

static void store_float(const nx_view *v, int64_t at, int64_t n, const float *from)
{
    uint16_t *to = (uint16_t *)v->data + at;
    if (v->dtype == NX_FLOAT16)
        for (int64_t i = 0; i < n; i++)
            to[i] = nx_half_from_float(from[i]);
    else
        for (int64_t i = 0; i < n; i++)
            to[i] = nx_bf16_from_float(from[i]);
}

static void store_double(const nx_view *v, int64_t at, int64_t n, const double *from)
{
    memcpy((double *)v->data + at, from, (size_t)n * sizeof *from);
}

#define ACC     float
#define VEC     vf
#define V(name) vf_##name
#define LANES   (2 * VF_N)
#define F(name) name##_float
#include "engine/cpu/conv_body.h"
#undef ACC
#undef VEC
#undef V
#undef LANES
#undef F

#define ACC     double
#define VEC     vd
#define V(name) vd_##name
#define LANES   (2 * VD_N)
#define F(name) name##_double
#include "engine/cpu/conv_body.h"
#undef ACC
#undef VEC
#undef V
#undef LANES
#undef F

static bool is_half(nx_dtype t)
{
    return t == NX_FLOAT16 || t == NX_BFLOAT16;
}

static void job_set(conv_job *j, const nx_call *c)
{
    const nx_conv_params *p = c->params;
    const nx_view *x = &c->in[0], *w = &c->in[1], *y = &c->out[0];
    int n = x->ndim - 2, first = 3 - n;
    *j = (conv_job){.x = x,
                    .w = w,
                    .y = y,
                    .batch_step = x->strides[0],
                    .channel_step = x->strides[x->ndim - 1],
                    .features = w->shape[0],
                    .channels = w->shape[w->ndim - 1],
                    .groups = p->groups,
                    .taps = 1,
                    .flip = p->flip};
    j->places = y->shape[0];
    for (int d = 0; d < 3; d++) {
        bool real = d >= first;
        int i = d - first;
        j->in[d] = real ? x->shape[i + 1] : 1;
        j->kernel[d] = real ? w->shape[i + 1] : 1;
        j->out[d] = real ? y->shape[i + 1] : 1;
        j->step[d] = real ? x->strides[i + 1] : 0;
        j->stride[d] = real ? p->stride.v[i] : 1;
        j->low[d] = real ? p->padding_low.v[i] : 0;
        j->reach[d] = real ? p->kernel_dilation.v[i] : 1;
        j->spread[d] = real ? p->input_dilation.v[i] : 1;
        j->taps *= j->kernel[d];
        j->places *= j->out[d];
    }
    j->k = j->taps * j->channels;
    int64_t lanes = 2 * (x->dtype == NX_FLOAT64 ? VD_N : VF_N);
    j->group_packed = (j->features / j->groups + lanes - 1) / lanes * lanes * j->k;
}

/* The packed weights, and, for half types, the sums. */
size_t NX_FN(conv_workspace)(const nx_call *c)
{
    conv_job j;
    job_set(&j, c);
    size_t size = c->in[0].dtype == NX_FLOAT64 ? sizeof(double) : sizeof(float);
    size_t packed = (size_t)(j.group_packed * j.groups) * size;
    return packed + (is_half(c->in[0].dtype) ? (size_t)(j.places * j.features) * size : 0) + 64;
}

void NX_FN(conv)(const nx_call *c)
{
    conv_job j;
    job_set(&j, c);
    j.packed = c->workspace;
    j.sums = c->out[0].data;
    if (is_half(c->out[0].dtype))
        j.sums = j.packed + j.group_packed * j.groups * (int64_t)sizeof(float);
    if (c->out[0].dtype == NX_FLOAT64)
        run_double(&j);
    else
        run_float(&j);
}
