/*
 * scan.h: builders of running reductions along an axis (which may be negative). reverse: from the
 * end; inclusive: element i takes part in result i, else the first result is the identity.
 */
#ifndef NX_OPS_SCAN_H
#define NX_OPS_SCAN_H

#include "engine/core/array.h"

nx_array *nx_cumsum(nx_array *a, int axis, bool reverse, bool inclusive, nx_stream *s);
nx_array *nx_cumprod(nx_array *a, int axis, bool reverse, bool inclusive, nx_stream *s);
nx_array *nx_cummax(nx_array *a, int axis, bool reverse, bool inclusive, nx_stream *s);
nx_array *nx_cummin(nx_array *a, int axis, bool reverse, bool inclusive, nx_stream *s);
nx_array *nx_logcumsumexp(nx_array *a, int axis, bool reverse, bool inclusive, nx_stream *s);

#endif
