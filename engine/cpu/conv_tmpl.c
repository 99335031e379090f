/*
 * conv_tmpl.c: Convolution as a matrix product whose left side is gathered a few rows at a time
 * (conv_body.h), or, where each channel is a group of its own, channel beside channel
 * (conv_depth.h); in float, or in double for float64.
 *
 * A spread input is a set of phases: output places a period apart meet the same taps, and those at
 * places that hold elements. Each phase is a convolution of an input that is not spread.
 */
#include <string.h>

#include "engine/cpu/kernels.h"
#include "engine/cpu/pool.h"
#include "engine/cpu/simd.h"
#include "engine/cpu/types.h"
#include "engine/ops/params.h"

enum { CHUNK = 512 }; /* of k, gathered at once */
enum { DEPTH_TAPS = 256, DEPTH_PLACES = 4 }; /* most taps of conv_depth.h, places at once */
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
    int64_t in[3], step[3]; /* of the input; step: in elements */
    int64_t batch_step, channel_step;
    int64_t all_out[3], all_kernel[3], spread[3];
    int64_t features, channels, groups; /* channels: input channels of one group */
    bool flip;
    char *packed, *sums;
    /* One phase: output places first_place + i place_step, taps first_tap + i tap_step. */
    int64_t out[3], first_place[3], place_step[3];
    int64_t kernel[3], first_tap[3], tap_step[3];
    int64_t stride[3], low[3], reach[3]; /* of input elements */
    int64_t places, taps, k, group_packed; /* k = taps * channels */
    bool line; /* taps along the last dimension lie end to end in the input, all channels */
} conv_job;

/* Output place number `at` of the phase: where its tap 0 lies in the input, [3] the batch. Returns its
 * number among all output places. */
static int64_t place_of(const conv_job *j, int64_t at, int64_t *place)
{
    int64_t number = 0, size = 1;
    for (int d = 2; d >= 0; d--) {
        int64_t i = at % j->out[d];
        at /= j->out[d];
        place[d] = i * j->stride[d] - j->low[d];
        number += (j->first_place[d] + i * j->place_step[d]) * size;
        size *= j->all_out[d];
    }
    place[3] = at;
    return number + at * size;
}

/* Where the weights of a feature have tap number `tap` of the phase, before channels. */
static int64_t weight_tap(const conv_job *j, int64_t tap)
{
    int64_t number = 0, size = 1;
    for (int d = 2; d >= 0; d--) {
        number += (j->first_tap[d] + tap % j->kernel[d] * j->tap_step[d]) * size;
        tap /= j->kernel[d];
        size *= j->all_kernel[d];
    }
    return j->flip ? size - 1 - number : number;
}

/* Where in the input tap `tap` of a kernel placed at `place` looks, before channels: 3, or the first
 * dimension along which nothing lies there, and so nothing for the taps that share it. */
static int tap_offset(const conv_job *j, const int64_t *place, const int64_t *tap, int64_t *offset)
{
    *offset = place[3] * j->batch_step;
    for (int d = 0; d < 3; d++) {
        int64_t at = place[d] + tap[d] * j->reach[d];
        if (at < 0 || at >= j->in[d])
            return d;
        *offset += at * j->step[d];
    }
    return 3;
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

/* How many taps from `tap` on, which lies in the input, lie there end to end. */
static int64_t tap_line(const conv_job *j, const int64_t *place, const int64_t *tap)
{
    if (!j->line)
        return 1;
    int64_t taps = j->kernel[2] - tap[2];
    int64_t inside = (j->in[2] - 1 - place[2]) / j->reach[2] + 1 - tap[2];
    return taps < inside ? taps : inside;
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
#define X         float
#define X_LOAD(p) vf_load(p)
#define D(name)   name##_f32
#include "engine/cpu/conv_depth.h"
#define X         uint16_t
#define X_LOAD(p) vf_load_f16(p)
#define D(name)   name##_f16
#include "engine/cpu/conv_depth.h"
#define X         uint16_t
#define X_LOAD(p) vf_load_bf16(p)
#define D(name)   name##_bf16
#include "engine/cpu/conv_depth.h"
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
#define X         double
#define X_LOAD(p) vd_load(p)
#define D(name)   name##_f64
#include "engine/cpu/conv_depth.h"
#undef ACC
#undef VEC
#undef V
#undef LANES
#undef F

static bool is_half(nx_dtype t)
{
    return t == NX_FLOAT16 || t == NX_BFLOAT16;
}

static int64_t lanes_of(const conv_job *j)
{
    return 2 * (j->x->dtype == NX_FLOAT64 ? VD_N : VF_N);
}

static int64_t gcd(int64_t a, int64_t b)
{
    return b ? gcd(b, a % b) : a;
}

/* Output places meet the same taps again after so many. */
static int64_t phases_of(const conv_job *j, const nx_conv_params *p, int d)
{
    int i = d - (3 - p->stride.n);
    int64_t n = i < 0 ? 1 : j->spread[d] / gcd(p->stride.v[i], j->spread[d]);
    return n < j->all_out[d] ? n : j->all_out[d];
}

/* Dimension d of the phase that begins at output place `first`. */
static void phase_dimension(conv_job *j, const nx_conv_params *p, int d, int64_t first)
{
    int i = d - (3 - p->stride.n);
    bool real = i >= 0;
    int64_t spread = j->spread[d], stride = real ? p->stride.v[i] : 1;
    int64_t reach = real ? p->kernel_dilation.v[i] : 1;
    int64_t start = first * stride - (real ? p->padding_low.v[i] : 0), tap = 0;
    j->first_place[d] = first;
    j->place_step[d] = spread / gcd(stride, spread);
    j->tap_step[d] = spread / gcd(reach, spread);
    while (tap < j->tap_step[d] && tap < j->all_kernel[d] && (start + tap * reach) % spread)
        tap++;
    bool any = tap < j->tap_step[d] && tap < j->all_kernel[d];
    j->first_tap[d] = tap;
    j->out[d] = (j->all_out[d] - first + j->place_step[d] - 1) / j->place_step[d];
    j->kernel[d] = any ? (j->all_kernel[d] - tap + j->tap_step[d] - 1) / j->tap_step[d] : 0;
    j->stride[d] = j->place_step[d] * stride / spread;
    j->reach[d] = j->tap_step[d] * reach / spread;
    j->low[d] = any ? -(start + tap * reach) / spread : 0;
}

static void phase_set(conv_job *j, const nx_conv_params *p, const int64_t *first)
{
    j->places = j->y->shape[0];
    j->taps = 1;
    for (int d = 0; d < 3; d++) {
        phase_dimension(j, p, d, first[d]);
        j->places *= j->out[d];
        j->taps *= j->kernel[d];
    }
    j->k = j->taps * j->channels;
    int64_t lanes = lanes_of(j);
    j->group_packed = (j->features / j->groups + lanes - 1) / lanes * lanes * j->k;
    j->line = j->groups == 1 && j->channel_step == 1 && j->step[2] * j->reach[2] == j->channels;
}

static void job_set(conv_job *j, const nx_call *c)
{
    const nx_conv_params *p = c->params;
    const nx_view *x = &c->in[0], *w = &c->in[1], *y = &c->out[0];
    *j = (conv_job){.x = x,
                    .w = w,
                    .y = y,
                    .batch_step = x->strides[0],
                    .channel_step = x->strides[x->ndim - 1],
                    .features = w->shape[0],
                    .channels = w->shape[w->ndim - 1],
                    .groups = p->groups,
                    .flip = p->flip};
    for (int d = 0; d < 3; d++) {
        int i = d - (3 - p->stride.n);
        bool real = i >= 0;
        j->in[d] = real ? x->shape[i + 1] : 1;
        j->step[d] = real ? x->strides[i + 1] : 0;
        j->all_kernel[d] = real ? w->shape[i + 1] : 1;
        j->all_out[d] = real ? y->shape[i + 1] : 1;
        j->spread[d] = real ? p->input_dilation.v[i] : 1;
    }
}

/* Weights of a phase: those of the whole kernel are enough. */
static int64_t packed_most(const conv_job *j)
{
    int64_t lanes = lanes_of(j), columns = (j->features / j->groups + lanes - 1) / lanes;
    int64_t taps = j->all_kernel[0] * j->all_kernel[1] * j->all_kernel[2];
    return columns * lanes * taps * j->channels * j->groups;
}

/* The packed weights, and, for half types, the sums. */
size_t NX_FN(conv_workspace)(const nx_call *c)
{
    conv_job j;
    job_set(&j, c);
    const nx_view *y = &c->out[0];
    size_t size = y->dtype == NX_FLOAT64 ? sizeof(double) : sizeof(float), sums = size;
    for (int d = 0; d < y->ndim; d++)
        sums *= (size_t)y->shape[d];
    return (size_t)packed_most(&j) * size + (is_half(y->dtype) ? sums : 0) + 64;
}

/* A channel a group, and enough of them for vectors. */
static bool is_depthwise(const conv_job *j)
{
    return j->channels == 1 && j->features == j->groups && j->groups >= lanes_of(j) &&
           j->channel_step == 1 && j->taps > 0 && j->taps <= DEPTH_TAPS;
}

static void run_phase(conv_job *j)
{
    bool depthwise = is_depthwise(j);
    switch (j->y->dtype) {
    case NX_FLOAT64: depthwise ? depth_f64(j) : run_double(j); break;
    case NX_FLOAT16: depthwise ? depth_f16(j) : run_float(j); break;
    case NX_BFLOAT16: depthwise ? depth_bf16(j) : run_float(j); break;
    default: depthwise ? depth_f32(j) : run_float(j); break;
    }
}

void NX_FN(conv)(const nx_call *c)
{
    const nx_conv_params *p = c->params;
    conv_job j;
    job_set(&j, c);
    j.packed = c->workspace;
    j.sums = c->out[0].data;
    if (is_half(c->out[0].dtype))
        j.sums = j.packed + packed_most(&j) * (int64_t)sizeof(float);
    int64_t n[3], first[3];
    for (int d = 0; d < 3; d++)
        n[d] = phases_of(&j, p, d);
    for (first[0] = 0; first[0] < n[0]; first[0]++)
        for (first[1] = 0; first[1] < n[1]; first[1]++)
            for (first[2] = 0; first[2] < n[2]; first[2]++) {
                phase_set(&j, p, first);
                run_phase(&j);
            }
}
