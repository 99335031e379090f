/*
 * dtype.h: the fourteen element types, their order (that of mlx_dtype) and MLX's promotion rules.
 */
#ifndef NX_CORE_DTYPE_H
#define NX_CORE_DTYPE_H

#include <stdbool.h>
#include <stddef.h>

typedef enum {
    NX_BOOL,
    NX_UINT8,
    NX_UINT16,
    NX_UINT32,
    NX_UINT64,
    NX_INT8,
    NX_INT16,
    NX_INT32,
    NX_INT64,
    NX_FLOAT16,
    NX_FLOAT32,
    NX_FLOAT64,
    NX_BFLOAT16,
    NX_COMPLEX64,
    NX_DTYPE_COUNT
} nx_dtype;

/* Kinds are sets: nx_dtype_in(t, NX_FLOATS | NX_BOOLS). */
enum {
    NX_BOOLS = 1 << NX_BOOL,
    NX_UNSIGNED = 1 << NX_UINT8 | 1 << NX_UINT16 | 1 << NX_UINT32 | 1 << NX_UINT64,
    NX_SIGNED = 1 << NX_INT8 | 1 << NX_INT16 | 1 << NX_INT32 | 1 << NX_INT64,
    NX_INTEGERS = NX_UNSIGNED | NX_SIGNED,
    NX_HALVES = 1 << NX_FLOAT16 | 1 << NX_BFLOAT16,
    NX_FLOATS = NX_HALVES | 1 << NX_FLOAT32 | 1 << NX_FLOAT64,
    NX_COMPLEXES = 1 << NX_COMPLEX64,
    NX_INEXACT = NX_FLOATS | NX_COMPLEXES,
    NX_ALL_DTYPES = (1 << NX_DTYPE_COUNT) - 1,
};

static inline bool nx_dtype_in(nx_dtype t, unsigned set)
{
    return set >> t & 1;
}

size_t nx_dtype_size(nx_dtype t);      /* bytes an element */
const char *nx_dtype_name(nx_dtype t); /* "float32" */

/* The type both promote to: bool < unsigned < signed < floating < complex, as MLX has it. */
nx_dtype nx_promote(nx_dtype a, nx_dtype b);

/* The type itself if inexact, else float32: what exp, mean and division compute in. */
nx_dtype nx_at_least_float(nx_dtype t);

#endif
