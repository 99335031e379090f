/*
 * slice.h: parts of an array, and arrays with a part changed. start, stop and strides are lists
 * with one number a dimension, as in Python's a[start:stop:stride]: negative numbers count from the
 * end, numbers beyond it are cut; a stride may be negative (then stop -n-1 says "through element
 * 0").
 */
#ifndef NX_OPS_SLICE_H
#define NX_OPS_SLICE_H

#include "engine/core/array.h"
#include "engine/ops/params.h"

/* A view. */
nx_array *nx_slice(nx_array *a, const int *start, int n_start, const int *stop, int n_stop,
                   const int *strides, int n_strides, nx_stream *s);
/* src with `update` (broadcast to the slice) put into the slice, or combined with what is there. If
 * nobody else holds src, its memory is changed in place. */
nx_array *nx_slice_update(nx_reduce_mode mode, nx_array *src, nx_array *update, const int *start,
                          int n_start, const int *stop, int n_stop, const int *strides,
                          int n_strides, nx_stream *s);

/* The same from a place known only when evaluated: start is a list of integers, one for each of
 * axes. A start so low or high that the slice would reach outside the array is moved to the nearest
 * that does not. */
nx_array *nx_slice_dynamic(nx_array *a, nx_array *start, const int *axes, int n_axes,
                           const int *size, int n_size, nx_stream *s);
nx_array *nx_slice_update_dynamic(nx_array *src, nx_array *update, nx_array *start, const int *axes,
                                  int n_axes, nx_stream *s);

#endif
