/*
 * fit.h: the best scale, or scale and minimum, for a few numbers that are to be whole codes: the
 * search that all block encoders share. The error is the weighted sum of squares.
 */
#ifndef NX_RUNTIME_CONVERT_FIT_H
#define NX_RUNTIME_CONVERT_FIT_H

#include <stdbool.h>

enum { FIT_MOST = 32 }; /* numbers at once */

/* The scale s for which codes c of -zero to zero - 1 give the least error of x ~ s c; its sign is that
 * which suits. w: weights, NULL for ones. */
float fit_scale(const float *x, const float *w, int n, int zero);

/* x ~ scale c + minimum with codes 0 to top; with `below` the minimum is at most 0. */
void fit_affine(const float *x, const float *w, int n, int top, bool below, float *scale,
                float *minimum);

/* round(x / scale - minimum / scale) within low to high, where scale may be 0. */
void fit_codes(const float *x, int n, float scale, float minimum, int low, int high, int *codes);
/* The error of those codes. */
float fit_error(const float *x, const float *w, int n, float scale, float minimum, int low, int high);

#endif
