/*
 * sort.h: builders of orders along an axis, ascending, NaN last. Sorts are stable. A partition has at
 * kth what a sort would have there, smaller or equal ones before, greater or equal ones after. kth
 * and axis may be negative. Places are uint32.
 */
#ifndef NX_OPS_SORT_H
#define NX_OPS_SORT_H

#include "engine/core/array.h"

nx_array *nx_sort(nx_array *a, int axis, nx_stream *s);
nx_array *nx_argsort(nx_array *a, int axis, nx_stream *s);
nx_array *nx_partition(nx_array *a, int kth, int axis, nx_stream *s);
nx_array *nx_argpartition(nx_array *a, int kth, int axis, nx_stream *s);
/* The k largest, in any order. */
nx_array *nx_topk(nx_array *a, int k, int axis, nx_stream *s);

#endif
