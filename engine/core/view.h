/*
 * view.h: plain tensors as kernels see them, and the arithmetic of shapes and strides.
 *
 * A view owns nothing: shape and strides point into the node or task it was made for. Strides count
 * elements and may be zero (broadcast) or negative.
 */
#ifndef NX_CORE_VIEW_H
#define NX_CORE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/core/dtype.h"

enum { NX_MAX_NDIM = 32 };

typedef struct {
    void *data; /* the first element */
    nx_dtype dtype;
    int ndim;
    const int *shape;
    const int64_t *strides;
} nx_view;

/* A list of dimensions by value: parameters of operations are made of these. */
typedef struct {
    int n;
    int v[NX_MAX_NDIM];
} nx_dims;
typedef struct {
    int n;
    int64_t v[NX_MAX_NDIM];
} nx_dims64;

int64_t nx_shape_size(const int *shape, int ndim);
bool nx_shape_equal(const int *a, int a_ndim, const int *b, int b_ndim);
/* "(2,3)" as messages print it, into a small ring of thread-local buffers. */
const char *nx_shape_text(const int *shape, int ndim);

void nx_strides_row(const int *shape, int ndim, int64_t *strides); /* row-major, dense */
bool nx_strides_are_row(const int *shape, const int64_t *strides, int ndim);
bool nx_strides_are_col(const int *shape, const int64_t *strides, int ndim);
/* Dense: some order of the dimensions is row-major without gaps or repeats. */
bool nx_strides_are_dense(const int *shape, const int64_t *strides, int ndim);

static inline int64_t nx_view_size(const nx_view *v)
{
    return nx_shape_size(v->shape, v->ndim);
}
static inline bool nx_view_is_row(const nx_view *v)
{
    return nx_strides_are_row(v->shape, v->strides, v->ndim);
}

/*
 * The common walk of several views of one shape: dimensions of size 1 dropped, neighbours that are
 * contiguous in all views merged, so that most calls end with one or two dimensions.
 */
enum { NX_WALK_MAX = 16 }; /* views in one walk */
typedef struct {
    int n_views;
    int ndim; /* ≥ 1; shape[ndim - 1] is the innermost */
    int64_t size;
    int64_t shape[NX_MAX_NDIM];
    int64_t strides[NX_WALK_MAX][NX_MAX_NDIM];
} nx_walk;

void nx_walk_init(nx_walk *w, const int *shape, int ndim, const int64_t *const *strides, int n_views);
/* Offsets (in elements, one a view) of the row-major position `index` of the merged shape. */
void nx_walk_seek(const nx_walk *w, int64_t index, int64_t *offsets);
/* The same for `begin`, and how many positions from there, before `end`, lie in one run of the
 * innermost dimension. */
int64_t nx_walk_run(const nx_walk *w, int64_t begin, int64_t end, int64_t *offsets);

#endif
