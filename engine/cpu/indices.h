/*
 * indices.h: arrays of indices of any integer type.
 *
 * A negative index counts from the end. What is out of range after that is moved to the nearest
 * element there is (MLX leaves it undefined): nothing outside an array is read or written.
 */
#ifndef NX_CPU_INDICES_H
#define NX_CPU_INDICES_H

#include "engine/core/view.h"

static inline int64_t nx_clamp(int64_t v, int64_t low, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

static inline int64_t nx_read_index(const void *data, nx_dtype dtype, int64_t at)
{
    switch (dtype) {
    case NX_BOOL:
    case NX_UINT8:
        return ((const uint8_t *)data)[at];
    case NX_UINT16:
        return ((const uint16_t *)data)[at];
    case NX_UINT32:
        return ((const uint32_t *)data)[at];
    case NX_INT8:
        return ((const int8_t *)data)[at];
    case NX_INT16:
        return ((const int16_t *)data)[at];
    case NX_INT32:
        return ((const int32_t *)data)[at];
    case NX_INT64:
        return ((const int64_t *)data)[at];
    case NX_UINT64: {
        uint64_t v = ((const uint64_t *)data)[at];
        return v > INT64_MAX ? INT64_MAX : (int64_t)v;
    }
    default:
        return 0;
    }
}

/* The index at `at`, for a dimension of n elements of which 0..last may be named. */
static inline int64_t nx_index_in(const void *data, nx_dtype dtype, int64_t at, int64_t n,
                                  int64_t last)
{
    int64_t i = nx_read_index(data, dtype, at);
    return nx_clamp(i < 0 ? i + n : i, 0, last);
}

/*
 * A walk over several index arrays of one shape at once: offsets[k] is where array k stands.
 */
typedef struct {
    int n, ndim;
    const int *shape;
    const nx_view *views;
    int at[NX_MAX_NDIM];
    int64_t offsets[NX_MAX_NDIM + 1];
} nx_indices;

static inline void nx_indices_seek(nx_indices *x, int64_t position)
{
    for (int k = 0; k < x->n; k++)
        x->offsets[k] = 0;
    for (int d = x->ndim - 1; d >= 0; d--) {
        x->at[d] = (int)(position % x->shape[d]);
        position /= x->shape[d];
        for (int k = 0; k < x->n; k++)
            x->offsets[k] += x->at[d] * x->views[k].strides[d];
    }
}

static inline void nx_indices_next(nx_indices *x)
{
    for (int d = x->ndim - 1; d >= 0; d--) {
        bool wraps = ++x->at[d] == x->shape[d];
        for (int k = 0; k < x->n; k++)
            x->offsets[k] += x->views[k].strides[d] * (wraps ? 1 - x->shape[d] : 1);
        if (!wraps)
            return;
        x->at[d] = 0;
    }
}

/* Where in `a` (in elements) the slice of the present position begins: axes->v[k] at index k. */
static inline int64_t nx_indices_offset(const nx_indices *x, const nx_view *a, const nx_dims *axes,
                                        const int *slice)
{
    int64_t offset = 0;
    for (int k = 0; k < axes->n; k++) {
        int d = axes->v[k];
        offset += a->strides[d] * nx_index_in(x->views[k].data, x->views[k].dtype, x->offsets[k],
                                              a->shape[d], a->shape[d] - slice[d]);
    }
    return offset;
}

#endif
