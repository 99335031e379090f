/*
 * compare.h: builders that compare whole arrays: one bool.
 */
#ifndef NX_OPS_COMPARE_H
#define NX_OPS_COMPARE_H

#include "engine/core/array.h"

/* Are shapes the same and all elements equal? equal_nan: NaN equals NaN. */
nx_array *nx_array_equal(nx_array *a, nx_array *b, bool equal_nan, nx_stream *s);
/* |a - b| <= atol + rtol |b| everywhere, broadcast; infinities of one sign are close. */
nx_array *nx_allclose(nx_array *a, nx_array *b, double rtol, double atol, bool equal_nan,
                      nx_stream *s);

#endif
