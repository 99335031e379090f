/* random_choice.c: random choices made of random numbers and sorting: categorical, permutations. */
#include <string.h>

#include "base/error.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/index.h"
#include "engine/ops/reduce.h"
#include "engine/ops/sort.h"
#include "engine/ops/random.h"
#include "engine/ops/shape.h"

static bool axis_fix(int *axis, const nx_array *logits)
{
    int a = *axis < 0 ? *axis + logits->ndim : *axis;
    if (a < 0 || a >= logits->ndim)
        return nx_fail("[categorical] Invalid axis %d for logits with %d dimensions.", *axis,
                       logits->ndim);
    *axis = a;
    return true;
}

/* argmax of logits + Gumbel noise: `shape` is that of the result, the axis is put back into it. */
static nx_array *choose(nx_array *logits, int axis, const nx_dims *shape, nx_array *key, nx_stream *s)
{
    nx_dims noise = {.n = shape->n + 1};
    int at = axis + noise.n - logits->ndim;
    if (at < 0 || noise.n > NX_MAX_NDIM)
        return nx_fail_null("[categorical] %d dimensions do not fit logits with %d.", shape->n,
                            logits->ndim);
    memcpy(noise.v, shape->v, (size_t)at * sizeof *noise.v);
    noise.v[at] = logits->shape[axis];
    memcpy(noise.v + at + 1, shape->v + at, (size_t)(shape->n - at) * sizeof *noise.v);
    nx_array *g = nx_random_gumbel(noise.v, noise.n, NX_FLOAT32, key, s);
    return nx_argmax(nx_add(g, logits, s), at, false, s);
}

/* The shape of the other positions. */
static nx_dims others(const nx_array *logits, int axis)
{
    nx_dims d = {0};
    for (int i = 0; i < logits->ndim; i++)
        if (i != axis)
            d.v[d.n++] = logits->shape[i];
    return d;
}

nx_array *nx_random_categorical(nx_array *logits, int axis, nx_array *key, nx_stream *s)
{
    if (!logits || !axis_fix(&axis, logits))
        return NULL;
    nx_dims shape = others(logits, axis);
    return choose(logits, axis, &shape, key, s);
}

nx_array *nx_random_categorical_shape(nx_array *logits, int axis, const int *shape, int ndim,
                                      nx_array *key, nx_stream *s)
{
    if (!logits || !axis_fix(&axis, logits))
        return NULL;
    nx_dims rest = others(logits, axis), all;
    if (!nx_broadcast_dims(shape, ndim, rest.v, rest.n, &all))
        return NULL;
    if (!nx_shape_equal(all.v, all.n, shape, ndim))
        return nx_fail_null("[categorical] Requested shape %s is not broadcast compatible with reduced "
                            "logits shape %s.",
                            nx_shape_text(shape, ndim), nx_shape_text(rest.v, rest.n));
    return choose(logits, axis, &all, key, s);
}

nx_array *nx_random_categorical_num(nx_array *logits, int axis, int num, nx_array *key, nx_stream *s)
{
    if (!logits || !axis_fix(&axis, logits))
        return NULL;
    nx_dims shape = others(logits, axis);
    shape.v[shape.n++] = num;
    nx_array *wide = nx_expand_dims(logits, -1, s);
    return wide ? choose(wide, axis, &shape, key, s) : NULL;
}

nx_array *nx_random_permutation_arange(int n, nx_array *key, nx_stream *s)
{
    return nx_argsort(nx_random_bits(&n, 1, 4, key, s), -1, s);
}

nx_array *nx_random_permutation(nx_array *a, int axis, nx_array *key, nx_stream *s)
{
    if (!a)
        return NULL;
    int at = axis < 0 ? axis + a->ndim : axis;
    if (at < 0 || at >= a->ndim)
        return nx_fail_null("[permutation] axis %d is out of range for %d dimensions", axis, a->ndim);
    return nx_take_axis(a, nx_random_permutation_arange(a->shape[at], key, s), at, s);
}
