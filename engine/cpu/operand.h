/*
 * operand.h: what elementwise kernels do with an array: find out how it lies under the walk, gather a
 * tile of it that is not dense, and put one back.
 */
#ifndef NX_CPU_OPERAND_H
#define NX_CPU_OPERAND_H

#include <stdlib.h>
#include <string.h>

#include "engine/core/view.h"
#include "engine/cpu/half_tile.h"
#include "engine/cpu/tile.h"

enum { ROW = 256 }; /* innermost dimensions from ROW on are walked a row at a time */

typedef struct {
    char *data;
    int64_t size; /* bytes an element */
    nx_dtype widen; /* the half type that goes through float, else NX_BOOL */
    bool dense;  /* its elements follow each other in the order of the walk */
    bool scalar; /* one element, repeated */
} operand;

static inline void row_gather(int64_t n, const char *from, int64_t step, char *to, int64_t size)
{
#define GATHER(T)                                            \
    {                                                        \
        const T *x = (const T *)from;                        \
        T *restrict y = (T *)to;                             \
        if (step == 1)                                       \
            for (int64_t i = 0; i < n; i++)                  \
                y[i] = x[i];                                 \
        else                                                 \
            for (int64_t i = 0; i < n; i++)                  \
                y[i] = x[i * step];                          \
        break;                                               \
    }
    switch (size) {
    case 1: GATHER(uint8_t)
    case 2: GATHER(uint16_t)
    case 4: GATHER(uint32_t)
    default: GATHER(uint64_t)
    }
#undef GATHER
}

static inline void row_scatter(int64_t n, const char *from, char *to, int64_t step, int64_t size)
{
    for (int64_t i = 0; i < n; i++)
        memcpy(to + i * step * size, from + i * size, (size_t)size);
}

/* Goes over n positions from `begin` of one view, in runs of its innermost dimension. */
static inline void runs(const nx_walk *w, int view, int64_t begin, int64_t n, const operand *o, char *dense,
                 bool into_dense)
{
    int last = w->ndim - 1;
    const int64_t *strides = w->strides[view];
    while (n > 0) {
        int64_t index = begin, at = 0;
        for (int d = last; d >= 0; d--) {
            at += index % w->shape[d] * strides[d];
            index /= w->shape[d];
        }
        int64_t run = w->shape[last] - begin % w->shape[last];
        run = run < n ? run : n;
        if (into_dense)
            row_gather(run, o->data + at * o->size, strides[last], dense, o->size);
        else
            row_scatter(run, dense, o->data + at * o->size, strides[last], o->size);
        dense += run * o->size;
        begin += run;
        n -= run;
    }
}

/* Dimensions by falling stride of the output, so that the walk writes forward in memory. */
static inline void order_dimensions(const nx_view *out, int *order)
{
    for (int i = 0; i < out->ndim; i++) {
        int k = i;
        for (; k > 0 && llabs(out->strides[order[k - 1]]) < llabs(out->strides[i]) &&
               out->shape[i] != 1;
             k--)
            order[k] = order[k - 1];
        order[k] = i;
    }
}

static inline operand operand_of(const nx_walk *w, int view, const nx_view *v, bool bits)
{
    operand o = {.data = v->data, .size = (int64_t)nx_dtype_size(v->dtype)};
    if (!bits && nx_dtype_in(v->dtype, NX_HALVES))
        o.widen = v->dtype;
    const int64_t *strides = w->strides[view];
    int64_t step = 1;
    o.dense = o.scalar = true;
    for (int d = w->ndim - 1; d >= 0; d--) {
        o.dense &= strides[d] == step;
        o.scalar &= strides[d] == 0;
        step *= w->shape[d];
    }
    return o;
}

static inline void narrow_tile(nx_dtype t, int64_t n, const void *from, void *to)
{
    if (t == NX_FLOAT16)
        nx_tile_to_f16(n, from, to);
    else
        nx_tile_to_bf16(n, from, to);
}

/* Half numbers as floats. */
static inline void widen_tile(nx_dtype t, int64_t n, const void *from, void *to)
{
    if (t == NX_FLOAT16)
        nx_tile_from_f16(n, from, to);
    else
        nx_tile_from_bf16(n, from, to);
}

#endif
