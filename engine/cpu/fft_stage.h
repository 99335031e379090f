/*
 * fft_stage.h: the transform of VF_N lines of n points at once, vector l of a point being line l's:
 * Stockham's algorithm, a stage a factor of n, from one buffer to the other and back. No order of
 * digits has to be undone, and every operation is on whole vectors.
 */
#ifndef NX_CPU_FFT_STAGE_H
#define NX_CPU_FFT_STAGE_H

#include "engine/cpu/fft_plan.h"
#include "engine/cpu/fft_simd.h"

/* -i a */
NX_INLINE vc vc_turn(vc a)
{
    return (vc){a.im, vf_sub(vf_set(0), a.re)};
}

NX_INLINE void butterfly2(vc *a)
{
    vc t = a[0];
    a[0] = vc_add(t, a[1]);
    a[1] = vc_sub(t, a[1]);
}

NX_INLINE void butterfly4(vc *a)
{
    vc s0 = vc_add(a[0], a[2]), d0 = vc_sub(a[0], a[2]);
    vc s1 = vc_add(a[1], a[3]), d1 = vc_sub(a[1], a[3]);
    a[0] = vc_add(s0, s1);
    a[2] = vc_sub(s0, s1);
    a[1] = (vc){vf_add(d0.re, d1.im), vf_sub(d0.im, d1.re)};
    a[3] = (vc){vf_sub(d0.re, d1.im), vf_add(d0.im, d1.re)};
}

NX_INLINE void butterfly8(vc *a)
{
    vf r = vf_set(0.70710678118654752440f);
    vc even[4] = {a[0], a[2], a[4], a[6]}, odd[4] = {a[1], a[3], a[5], a[7]};
    butterfly4(even);
    butterfly4(odd);
    odd[1] = vc_scale((vc){vf_add(odd[1].re, odd[1].im), vf_sub(odd[1].im, odd[1].re)}, r);
    odd[2] = vc_turn(odd[2]);
    odd[3] = vc_scale((vc){vf_sub(odd[3].im, odd[3].re),
                           vf_sub(vf_set(0), vf_add(odd[3].re, odd[3].im))}, r);
    for (int i = 0; i < 4; i++) {
        a[i] = vc_add(even[i], odd[i]);
        a[i + 4] = vc_sub(even[i], odd[i]);
    }
}

/* An odd radix: inputs i and r - i meet as sum and difference, which cosines and sines multiply;
 * outputs k and r - k then differ in one sign. wave[j] = exp(-2 pi i j / r). */
NX_INLINE void butterfly_odd(vc *a, int r, const fft_c *wave)
{
    vc sum[FFT_MAX_PRIME / 2], diff[FFT_MAX_PRIME / 2], first = a[0];
    int half = r / 2;
    for (int i = 0; i < half; i++) {
        sum[i] = vc_add(a[i + 1], a[r - 1 - i]);
        diff[i] = vc_sub(a[i + 1], a[r - 1 - i]);
        a[0] = vc_add(a[0], sum[i]);
    }
    for (int k = 1; k <= half; k++) {
        vc c = first, s = {vf_set(0), vf_set(0)};
        for (int i = 0, at = k; i < half; i++, at = at + k >= r ? at + k - r : at + k) {
            c = vc_fma(c, vf_set(wave[at].re), sum[i]);
            s = vc_fma(s, vf_set(wave[at].im), diff[i]);
        }
        a[k] = (vc){vf_sub(c.re, s.im), vf_add(c.im, s.re)};
        a[r - k] = (vc){vf_add(c.re, s.im), vf_sub(c.im, s.re)};
    }
}

NX_INLINE void butterfly(vc *a, int r, const fft_c *wave)
{
    if (r == 2)
        butterfly2(a);
    else if (r == 4)
        butterfly4(a);
    else if (r == 8)
        butterfly8(a);
    else
        butterfly_odd(a, r, wave);
}

/* One stage: radix r, m groups of points, runs of s points that share their twiddles. Input i of
 * group p is run p + m i, output i is run r p + i, turned by the root of order r m to the p i. */
NX_INLINE void stage(int r, int64_t m, int64_t s, const vc *x, vc *y, const fft_c *roots,
                     int64_t step, const fft_c *wave)
{
    vc a[FFT_MAX_PRIME];
    for (int64_t q = 0; q < s; q++) { /* p = 0: nothing turns */
        for (int i = 0; i < r; i++)
            a[i] = x[q + s * m * i];
        butterfly(a, r, wave);
        for (int i = 0; i < r; i++)
            y[q + s * i] = a[i];
    }
    for (int64_t p = 1; p < m; p++) {
        const fft_c *w = roots + p * s * step;
        for (int64_t q = 0; q < s; q++) {
            for (int i = 0; i < r; i++)
                a[i] = x[q + s * (p + m * i)];
            butterfly(a, r, wave);
            y[q + s * r * p] = a[0];
            for (int i = 1; i < r; i++) {
                fft_c t = w[(i - 1) * p * s * step];
                y[q + s * (r * p + i)] = vc_mul(a[i], vf_set(t.re), vf_set(t.im), vf_set(-t.im));
            }
        }
    }
}

/* The transform of x, which is lost; the result is in the buffer returned, x or y. roots are those
 * of order n step. */
static const vc *fft_lines(int64_t n, vc *x, vc *y, const fft_c *roots, int64_t step)
{
    int radix[64], stages = fft_factor(n, radix);
    int64_t s = 1, left = n;
    for (int i = 0; i < stages; i++) {
        int r = radix[i];
        int64_t m = left / r;
        fft_c wave[FFT_MAX_PRIME];
        for (int k = 0; k < r && r % 2; k++)
            wave[k] = roots[n / r * k * step];
        switch (r) {
        case 2: stage(2, m, s, x, y, roots, step, wave); break;
        case 3: stage(3, m, s, x, y, roots, step, wave); break;
        case 4: stage(4, m, s, x, y, roots, step, wave); break;
        case 5: stage(5, m, s, x, y, roots, step, wave); break;
        case 7: stage(7, m, s, x, y, roots, step, wave); break;
        case 8: stage(8, m, s, x, y, roots, step, wave); break;
        default: stage(r, m, s, x, y, roots, step, wave); break;
        }
        vc *t = x;
        x = y;
        y = t;
        s *= r;
        left = m;
    }
    return x;
}

#endif
