/*
 * block_masked.c: products of matrices of which whole blocks count or not: masks with an element a
 * block. A boolean mask leaves out, another one multiplies. Composed, so that derivatives follow.
 */
#include "base/error.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/matmul.h"
#include "engine/ops/shape.h"
#include "engine/ops/slice.h"

static int blocks(int n, int size)
{
    return n / size + (n % size != 0);
}

/* The mask with an element for each of `a`, whose matrices it covers. */
static nx_array *spread(nx_array *mask, const nx_array *a, int size, nx_stream *s)
{
    int shape[NX_MAX_NDIM], start[NX_MAX_NDIM] = {0}, ones[NX_MAX_NDIM], n = a->ndim;
    for (int i = 0; i < n; i++) {
        shape[i] = i < n - 2 ? a->shape[i] : blocks(a->shape[i], size);
        ones[i] = 1;
    }
    mask = nx_broadcast_to(mask, shape, n, s);
    mask = mask ? nx_repeat(nx_repeat(mask, size, n - 2, s), size, n - 1, s) : NULL;
    return mask ? nx_slice(mask, start, n, a->shape, n, ones, n, s) : NULL;
}

static nx_array *masked(nx_array *a, nx_array *mask, int size, nx_stream *s)
{
    if (!a || !mask || !a->size)
        return a;
    nx_dtype dtype = (nx_dtype)a->dtype;
    mask = spread(mask, a, size, s);
    if (mask && mask->dtype == NX_BOOL)
        return nx_where(mask, a, nx_scalar(0, dtype), s);
    return mask ? nx_multiply(a, nx_astype(mask, dtype, s), s) : NULL;
}

nx_array *nx_block_masked_mm(nx_array *a, nx_array *b, int size, nx_array *mask_out, nx_array *mask_lhs,
                             nx_array *mask_rhs, nx_stream *s)
{
    if (!a || !b)
        return NULL;
    nx_dtype dtype = nx_promote((nx_dtype)a->dtype, (nx_dtype)b->dtype);
    if (!nx_dtype_in(dtype, NX_FLOATS))
        return nx_fail_null("[block_masked_mm] Only real floating point types are supported but %s and "
                            "%s were provided.", nx_dtype_name((nx_dtype)a->dtype),
                            nx_dtype_name((nx_dtype)b->dtype));
    if (!mask_out && !mask_lhs && !mask_rhs)
        return nx_matmul(a, b, s);
    if (size != 32 && size != 64)
        return nx_fail_null("[block_masked_mm] Only block_sizes 32, 64 are supported. Got block size %d.",
                            size);
    if (a->ndim < 1 || b->ndim < 1)
        return nx_fail_null("[block_masked_mm] Got 0 dimension input. Inputs must have at least one "
                            "dimension.");
    bool row = a->ndim == 1, column = b->ndim == 1;
    a = masked(row ? nx_expand_dims(a, 0, s) : a, mask_lhs, size, s);
    b = masked(column ? nx_expand_dims(b, 1, s) : b, mask_rhs, size, s);
    nx_array *c = masked(nx_matmul(a, b, s), mask_out, size, s);
    if (c && column)
        c = nx_squeeze_axis(c, -1, s);
    return c && row ? nx_squeeze_axis(c, column ? -1 : -2, s) : c;
}
