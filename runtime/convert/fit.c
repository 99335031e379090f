#include "runtime/convert/fit.h"

#include <math.h>

/* Adding it and taking it away again rounds to the nearest whole number, ties to even. */
static const float ROUND = 12582912.0f; /* 1.5 * 2^23 */

static inline float clamp(float v, float low, float high)
{
    v = v < low ? low : v;
    return v > high ? high : v;
}

static inline float weight(const float *w, int i)
{
    return w ? w[i] : 1;
}

void fit_codes(const float *x, int n, float scale, float minimum, int low, int high, int *codes)
{
    float inverse = scale != 0 ? 1 / scale : 0;
    for (int i = 0; i < n; i++) {
        float c = clamp((x[i] - minimum) * inverse, (float)low, (float)high);
        codes[i] = (int)(c + ROUND - ROUND);
    }
}

float fit_error(const float *x, const float *w, int n, float scale, float minimum, int low, int high)
{
    float inverse = scale != 0 ? 1 / scale : 0, sum = 0;
    for (int i = 0; i < n; i++) {
        float c = clamp((x[i] - minimum) * inverse, (float)low, (float)high) + ROUND - ROUND;
        float e = x[i] - minimum - scale * c;
        sum += weight(w, i) * e * e;
    }
    return sum;
}

/* Of the codes that 1 / inverse gives: the best scale for them, and how much error it takes away. */
static float gain_of(const float *x, const float *w, int n, int zero, float inverse, float *scale)
{
    float xc = 0, cc = 0;
    for (int i = 0; i < n; i++) {
        float c = clamp(x[i] * inverse, (float)-zero, (float)(zero - 1)) + ROUND - ROUND;
        xc += weight(w, i) * x[i] * c;
        cc += weight(w, i) * c * c;
    }
    *scale = cc > 0 ? xc / cc : 0;
    return *scale * xc;
}

float fit_scale(const float *x, const float *w, int n, int zero)
{
    float most = 0, best = 0, gain = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(most))
            most = x[i];
    if (!(fabsf(most) > 1e-30f))
        return 0;
    /* The largest becomes the lowest code or nearly so, or the highest. */
    for (int step = -12; step <= 12; step++)
        for (int side = 0; side < 2; side++) {
            float top = side ? (float)(zero - 1) : (float)-zero, scale;
            float inverse = (top + (side ? 0.08f : -0.08f) * (float)step) / most;
            if (zero < 3 && side && step < -8)
                continue;
            float g = gain_of(x, w, n, zero, inverse, &scale);
            if (g > gain) {
                gain = g;
                best = scale;
            }
        }
    return best;
}

typedef struct {
    float scale, minimum, error;
} line;

/* The best line through the codes that l gives. */
static line refit(const float *x, const float *w, int n, int top, bool below, line l)
{
    float inverse = 1 / l.scale, sw = 0, sc = 0, scc = 0, sx = 0, sxc = 0;
    for (int i = 0; i < n; i++) {
        float c = clamp((x[i] - l.minimum) * inverse, 0, (float)top) + ROUND - ROUND;
        float k = weight(w, i);
        sw += k;
        sc += k * c;
        scc += k * c * c;
        sx += k * x[i];
        sxc += k * x[i] * c;
    }
    float det = sw * scc - sc * sc;
    if (!(det > 1e-12f * sw * scc))
        return l;
    line r = {.scale = (sw * sxc - sc * sx) / det, .minimum = (scc * sx - sc * sxc) / det};
    if (below && r.minimum > 0) {
        r.minimum = 0;
        r.scale = sxc / scc;
    }
    if (!(r.scale > 0))
        return l;
    r.error = fit_error(x, w, n, r.scale, r.minimum, 0, top);
    return r;
}

void fit_affine(const float *x, const float *w, int n, int top, bool below, float *scale,
                float *minimum)
{
    float low = x[0], high = x[0];
    for (int i = 1; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    if (below && low > 0)
        low = 0;
    *scale = 0;
    *minimum = below && low > 0 ? 0 : low;
    if (!(high - low > 1e-30f))
        return;
    line best = {.scale = (high - low) / (float)top, .minimum = low};
    best.error = fit_error(x, w, n, best.scale, best.minimum, 0, top);
    for (int step = -6; step <= 12; step++) { /* codes beyond the ends are cut */
        line l = {.scale = (high - low) / ((float)top + 0.1f * (float)step * (top > 3 ? 1 : 0.5f)),
                  .minimum = low};
        l.minimum += 0.5f * ((high - low) - l.scale * (float)top);
        if (below && l.minimum > 0)
            l.minimum = 0;
        l = refit(x, w, n, top, below, l);
        if (l.error > 0 && l.error < best.error)
            best = l;
        l = refit(x, w, n, top, below, l);
        if (l.error > 0 && l.error < best.error)
            best = l;
    }
    *scale = best.scale;
    *minimum = best.minimum;
}
