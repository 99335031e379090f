/*
 * creation_tmpl.c: Arange. Integers count in steps of (T)(start + step) - (T)start; floats are
 * start + i * step in double, so that long ranges do not drift.
 */
#include "engine/cpu/kernels.h"
#include "engine/cpu/pool.h"
#include "engine/cpu/types.h"
#include "engine/ops/params.h"

typedef struct {
    nx_dtype dtype;
    double start, step;
    int64_t first, each; /* of integers */
    void *out;
} job;

static void piece(void *ctx, int64_t begin, int64_t end)
{
    const job *j = ctx;
#define COUNT(T)                                      \
    {                                                 \
        T *o = j->out;                                \
        for (int64_t i = begin; i < end; i++)         \
            o[i] = (T)(j->first + i * j->each);       \
        break;                                        \
    }
#define SPREAD(T, store)                              \
    {                                                 \
        T *o = j->out;                                \
        for (int64_t i = begin; i < end; i++) {       \
            double v = j->start + (double)i * j->step; \
            o[i] = store;                             \
        }                                             \
        break;                                        \
    }
    switch (j->dtype) {
    case NX_UINT8: case NX_INT8: COUNT(uint8_t)
    case NX_UINT16: case NX_INT16: COUNT(uint16_t)
    case NX_UINT32: case NX_INT32: COUNT(uint32_t)
    case NX_UINT64: case NX_INT64: COUNT(uint64_t)
    case NX_FLOAT16: SPREAD(nx_f16, (nx_f16){nx_half_from_float((float)v)})
    case NX_BFLOAT16: SPREAD(nx_bf16, (nx_bf16){nx_bf16_from_float((float)v)})
    case NX_FLOAT32: SPREAD(float, (float)v)
    case NX_FLOAT64: SPREAD(double, v)
    case NX_COMPLEX64: SPREAD(nx_c64, (float)v)
    default: break;
    }
}

/* A double as the integer type holds it; out of range as the processor converts. */
static int64_t to_integer(double v, nx_dtype t)
{
    int64_t i = v >= 0x1p63 ? (int64_t)(uint64_t)v : (int64_t)v;
    switch (t) {
    case NX_UINT8: return (uint8_t)i;
    case NX_UINT16: return (uint16_t)i;
    case NX_UINT32: return (uint32_t)i;
    case NX_INT8: return (int8_t)i;
    case NX_INT16: return (int16_t)i;
    case NX_INT32: return (int32_t)i;
    default: return i;
    }
}

void NX_FN(arange)(const nx_call *c)
{
    const nx_arange_params *p = c->params;
    job j = {.dtype = p->dtype, .start = p->start, .step = p->step, .out = c->out[0].data};
    if (nx_dtype_in(p->dtype, NX_INTEGERS)) {
        j.first = to_integer(p->start, p->dtype);
        j.each = to_integer(p->start + p->step, p->dtype) - j.first;
    }
    int64_t each = (int64_t)nx_dtype_size(p->dtype);
    nx_parallel(nx_view_size(&c->out[0]), nx_grain(each, NX_PIECE_BYTES), piece, &j);
}
