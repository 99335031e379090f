/*
 * index.h: elements by index. Index arrays are of any integer type; a negative index counts from
 * the end. An index out of range after that stands for the nearest element there is (MLX leaves it
 * undefined). Where two updates meet at one place, they apply in the order of their indices.
 */
#ifndef NX_OPS_INDEX_H
#define NX_OPS_INDEX_H

#include "engine/core/array.h"
#include "engine/ops/params.h"

/* gather.c. The index arrays, broadcast to a shape I, name places on `axes`; at each begins a slice
 * of slice_sizes (one a dimension of a): the result has shape I + slice_sizes. */
nx_array *nx_gather(nx_array *a, nx_array *const *indices, int n, const int *axes, int n_axes,
                    const int *slice_sizes, int n_sizes, nx_stream *s);
nx_array *nx_take(nx_array *a, nx_array *indices, nx_stream *s); /* of a flattened */
/* The axis is replaced by the dimensions of indices. */
nx_array *nx_take_axis(nx_array *a, nx_array *indices, int axis, nx_stream *s);
/* out[.., j, ..] = a[.., indices[.., j, ..], ..]; other dimensions are broadcast together. */
nx_array *nx_take_along_axis(nx_array *a, nx_array *indices, int axis, nx_stream *s);

/* scatter.c. updates has the shape I + slice, as nx_gather's result. */
nx_array *nx_scatter(nx_reduce_mode mode, nx_array *a, nx_array *const *indices, int n,
                     nx_array *updates, const int *axes, int n_axes, nx_stream *s);
/* a with values at the places nx_take_along_axis reads. */
nx_array *nx_put_along_axis(nx_array *a, nx_array *indices, nx_array *values, int axis,
                            nx_stream *s);
nx_array *nx_scatter_add_axis(nx_array *a, nx_array *indices, nx_array *values, int axis,
                              nx_stream *s);

/* a with the elements where mask is true replaced by values, in order. mask has the shape of a's
 * leading dimensions; values has one dimension for the places and then those of a that mask lacks,
 * or only the latter (or is a scalar): then each place gets the same. If there are fewer values
 * than places, the last places stay as they are. */
nx_array *nx_masked_scatter(nx_array *a, nx_array *mask, nx_array *values, nx_stream *s);

#endif
