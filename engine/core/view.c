#include "engine/core/view.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"

int64_t nx_shape_size(const int *shape, int ndim)
{
    int64_t n = 1;
    for (int i = 0; i < ndim; i++)
        n *= shape[i];
    return n;
}

bool nx_shape_equal(const int *a, int a_ndim, const int *b, int b_ndim)
{
    return a_ndim == b_ndim && memcmp(a, b, (size_t)a_ndim * sizeof *a) == 0;
}

const char *nx_shape_text(const int *shape, int ndim)
{
    static _Thread_local char ring[4][256];
    static _Thread_local unsigned turn;
    char *text = ring[turn++ % 4];
    size_t n = 0, max = sizeof ring[0];
    text[n++] = '(';
    for (int i = 0; i < ndim && n < max - 16; i++)
        n += (size_t)snprintf(text + n, max - n, i ? ",%d" : "%d", shape[i]);
    snprintf(text + n, max - n, ndim == 1 ? ",)" : ")");
    return text;
}

void nx_strides_row(const int *shape, int ndim, int64_t *strides)
{
    int64_t step = 1;
    for (int i = ndim - 1; i >= 0; i--) {
        strides[i] = step;
        step *= shape[i];
    }
}

bool nx_strides_are_row(const int *shape, const int64_t *strides, int ndim)
{
    int64_t step = 1;
    for (int i = ndim - 1; i >= 0; i--) {
        if (shape[i] == 0)
            return true;
        if (shape[i] != 1 && strides[i] != step)
            return false;
        step *= shape[i];
    }
    return true;
}

bool nx_strides_are_col(const int *shape, const int64_t *strides, int ndim)
{
    int64_t step = 1;
    for (int i = 0; i < ndim; i++) {
        if (shape[i] == 0)
            return true;
        if (shape[i] != 1 && strides[i] != step)
            return false;
        step *= shape[i];
    }
    return true;
}

bool nx_strides_are_dense(const int *shape, const int64_t *strides, int ndim)
{
    int order[NX_MAX_NDIM];
    int n = 0;
    for (int i = 0; i < ndim; i++) { /* insertion sort of the real dimensions by stride */
        if (shape[i] == 0)
            return true;
        if (shape[i] == 1)
            continue;
        int j = n++;
        for (; j > 0 && strides[order[j - 1]] > strides[i]; j--)
            order[j] = order[j - 1];
        order[j] = i;
    }
    int64_t step = 1;
    for (int k = 0; k < n; k++) {
        if (strides[order[k]] != step)
            return false;
        step *= shape[order[k]];
    }
    return true;
}

/* True when dimension d (outer) continues dimension `last` of the walk (inner's outer neighbour). */
static bool merges(const nx_walk *w, const int64_t *const *strides, int outer, int64_t inner_size,
                   int d)
{
    for (int v = 0; v < w->n_views; v++)
        if (strides[v][outer] != w->strides[v][d] * inner_size)
            return false;
    return true;
}

void nx_walk_init(nx_walk *w, const int *shape, int ndim, const int64_t *const *strides, int n_views)
{
    NX_BUG_IF(n_views > NX_WALK_MAX);
    w->n_views = n_views;
    w->size = nx_shape_size(shape, ndim);
    /* Built from the innermost outwards, into the tail; shifted to the front at the end. */
    int top = NX_MAX_NDIM;
    for (int i = ndim - 1; i >= 0; i--) {
        if (shape[i] == 1)
            continue;
        if (top < NX_MAX_NDIM && merges(w, strides, i, w->shape[top], top)) {
            w->shape[top] *= shape[i];
            continue;
        }
        top--;
        w->shape[top] = shape[i];
        for (int v = 0; v < n_views; v++)
            w->strides[v][top] = strides[v][i];
    }
    w->ndim = NX_MAX_NDIM - top;
    if (w->ndim == 0) {
        w->ndim = 1;
        w->shape[0] = 1;
        for (int v = 0; v < n_views; v++)
            w->strides[v][0] = 1;
        return;
    }
    memmove(w->shape, w->shape + top, (size_t)w->ndim * sizeof *w->shape);
    for (int v = 0; v < n_views; v++)
        memmove(w->strides[v], w->strides[v] + top, (size_t)w->ndim * sizeof **w->strides);
}

void nx_walk_seek(const nx_walk *w, int64_t index, int64_t *offsets)
{
    for (int v = 0; v < w->n_views; v++)
        offsets[v] = 0;
    for (int d = w->ndim - 1; d >= 0; d--) {
        int64_t at = index % w->shape[d];
        index /= w->shape[d];
        for (int v = 0; v < w->n_views; v++)
            offsets[v] += at * w->strides[v][d];
    }
}

int64_t nx_walk_run(const nx_walk *w, int64_t begin, int64_t end, int64_t *offsets)
{
    int64_t inner = w->shape[w->ndim - 1], run = inner - begin % inner;
    nx_walk_seek(w, begin, offsets);
    return run < end - begin ? run : end - begin;
}
