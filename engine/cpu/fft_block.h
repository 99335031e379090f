/*
 * fft_block.h: VF_N lines (or fewer) between memory and the buffers of fft_stage.h, and what joins a
 * complex transform of n / 2 points to a real one of n.
 */
#ifndef NX_CPU_FFT_BLOCK_H
#define NX_CPU_FFT_BLOCK_H

#include "engine/cpu/fft_stage.h"

/* A line in memory: point j has its real part at at[j * step] and its imaginary part im floats
 * further. An inverse transform is a forward one with the parts exchanged on both sides. */
typedef struct {
    float *at;
    int64_t step, im;
    bool has_im; /* false: reads as zero, is not written */
} fft_line;

static inline fft_line fft_line_swapped(fft_line l)
{
    return (fft_line){l.at + l.im, l.step, -l.im, true};
}

/* A set of up to VF_N lines: where each begins; all else they share. */
typedef struct {
    float *at[VF_N]; /* those beyond n repeat line 0 */
    int n;
    fft_line line;
    bool dense;  /* complete, and their numbers lie side by side */
    bool rows;   /* complete, and each line's numbers lie side by side */
} fft_block;

static void block_init(fft_block *b, int n, fft_line line)
{
    bool pair = line.has_im && (line.im == 1 || line.im == -1);
    bool dense = n == VF_N && pair;
    for (int l = n; l < VF_N; l++)
        b->at[l] = b->at[0];
    for (int l = 1; dense && l < VF_N; l++)
        dense = b->at[l] == b->at[l - 1] + 2;
    b->n = n;
    b->line = line;
    b->dense = dense;
    b->rows = n == VF_N && pair && line.step == 2;
}

/* n lines from `first` that are `apart` floats from one another. */
static void block_of(fft_block *b, fft_line line, int64_t first, int64_t apart, int n)
{
    for (int l = 0; l < n; l++)
        b->at[l] = line.at + (first + l) * apart;
    block_init(b, n, line);
}

NX_INLINE vc vc_order(vc v, bool swapped)
{
    return swapped ? (vc){v.im, v.re} : v;
}

/* Interleaved numbers begin at the real part, or before it where the parts are exchanged. */
NX_INLINE int64_t pair_offset(const fft_block *b)
{
    return b->line.im < 0 ? -1 : 0;
}

static void load_points(const fft_block *b, int64_t begin, int64_t end, vc *x)
{
    for (int64_t j = begin; j < end; j++) {
        float re[VF_N], im[VF_N] = {0};
        int64_t at = j * b->line.step;
        for (int l = 0; l < VF_N; l++)
            re[l] = b->at[l][at];
        for (int l = 0; l < VF_N && b->line.has_im; l++)
            im[l] = b->at[l][at + b->line.im];
        x[j] = (vc){vf_load(re), vf_load(im)};
    }
}

static void load_rows(const fft_block *b, int64_t n, vc *x)
{
    bool swapped = b->line.im < 0;
    int64_t offset = pair_offset(b), j = 0;
    for (; j + VF_N <= n; j += VF_N) {
        vf re[VF_N], im[VF_N];
        for (int l = 0; l < VF_N; l++) {
            vc v = vc_order(vc_load(b->at[l] + 2 * j + offset), swapped);
            re[l] = v.re;
            im[l] = v.im;
        }
        vf_transpose(re);
        vf_transpose(im);
        for (int l = 0; l < VF_N; l++)
            x[j + l] = (vc){re[l], im[l]};
    }
    load_points(b, j, n, x);
}

static void block_load(const fft_block *b, int64_t n, vc *x)
{
    if (b->dense)
        for (int64_t j = 0; j < n; j++)
            x[j] = vc_order(vc_load(b->at[0] + j * b->line.step + pair_offset(b)), b->line.im < 0);
    else if (b->rows)
        load_rows(b, n, x);
    else
        load_points(b, 0, n, x);
}

static void store_points(const fft_block *b, int64_t begin, int64_t end, const vc *x, float scale)
{
    for (int64_t j = begin; j < end; j++) {
        float re[VF_N], im[VF_N];
        int64_t at = j * b->line.step;
        vf_store(re, vf_mul(x[j].re, vf_set(scale)));
        vf_store(im, vf_mul(x[j].im, vf_set(scale)));
        for (int l = 0; l < b->n; l++)
            b->at[l][at] = re[l];
        for (int l = 0; l < b->n && b->line.has_im; l++)
            b->at[l][at + b->line.im] = im[l];
    }
}

static void store_rows(const fft_block *b, int64_t n, const vc *x, float scale)
{
    bool swapped = b->line.im < 0;
    int64_t offset = pair_offset(b), j = 0;
    for (; j + VF_N <= n; j += VF_N) {
        vf re[VF_N], im[VF_N];
        for (int l = 0; l < VF_N; l++) {
            re[l] = vf_mul(x[j + l].re, vf_set(scale));
            im[l] = vf_mul(x[j + l].im, vf_set(scale));
        }
        vf_transpose(re);
        vf_transpose(im);
        for (int l = 0; l < VF_N; l++)
            vc_store(b->at[l] + 2 * j + offset, vc_order((vc){re[l], im[l]}, swapped));
    }
    store_points(b, j, n, x, scale);
}

static void block_store(const fft_block *b, int64_t n, const vc *x, float scale)
{
    if (b->dense)
        for (int64_t j = 0; j < n; j++)
            vc_store(b->at[0] + j * b->line.step + pair_offset(b),
                     vc_order(vc_scale(x[j], vf_set(scale)), b->line.im < 0));
    else if (b->rows)
        store_rows(b, n, x, scale);
    else
        store_points(b, 0, n, x, scale);
}

/*
 * A real line of n = 2 h points is transformed as h complex ones, point j being x[2 j] + i x[2 j + 1].
 * From Z follows X[k] = E + w^k O for even and odd points, where E and -i O are half the sum and
 * difference of Z[k] and the conjugate of Z[h - k], and w is the root of order n (in `roots`).
 */
static void real_from_packed(int64_t h, const vc *z, vc *x, const fft_c *roots)
{
    vf half = vf_set(0.5f), zero = vf_set(0);
    x[0] = (vc){vf_add(z[0].re, z[0].im), zero};
    x[h] = (vc){vf_sub(z[0].re, z[0].im), zero};
    for (int64_t k = 1; 2 * k <= h; k++) {
        vc a = vc_scale(z[k], half), b = vc_conj(vc_scale(z[h - k], half));
        vc even = vc_add(a, b), odd = vc_turn(vc_sub(a, b));
        fft_c w = roots[k];
        vc t = vc_mul(odd, vf_set(w.re), vf_set(w.im), vf_set(-w.im));
        x[k] = vc_add(even, t);
        x[h - k] = vc_conj(vc_sub(even, t));
    }
}

/* The way back, for an inverse transform of h points without its factor; twice as large as it could
 * be, which makes the factor 1 / n. The parts of z are exchanged, as inverse transforms want them. */
static void packed_from_real(int64_t h, const vc *x, vc *z, const fft_c *roots)
{
    z[0] = (vc){vf_sub(x[0].re, x[h].re), vf_add(x[0].re, x[h].re)};
    for (int64_t k = 1; 2 * k <= h; k++) {
        vc a = x[k], b = vc_conj(x[h - k]);
        vc even = vc_add(a, b), odd = vc_sub(a, b);
        fft_c w = roots[k]; /* i conj(w) odd */
        vc t = vc_mul(odd, vf_set(w.im), vf_set(w.re), vf_set(-w.re));
        vc p = vc_add(even, t), q = vc_conj(vc_sub(even, t));
        z[k] = (vc){p.im, p.re};
        z[h - k] = (vc){q.im, q.re};
    }
}

#endif
