/*
 * fft_plan.h: what a Fourier transform needs besides its numbers: the factors of its length, roots
 * of unity, and the way it is carried out. Everything is computed for each call, into its workspace:
 * roots come from two tables of about sqrt(n) in double precision, whose products are exact to far
 * more than a float.
 */
#ifndef NX_CPU_FFT_PLAN_H
#define NX_CPU_FFT_PLAN_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FFT_MAX_PRIME = 61, FFT_MAX_STAGES = 32 };

typedef struct {
    float re, im;
} fft_c;
typedef struct {
    double re, im;
} fft_d;

static inline fft_d fft_d_mul(fft_d a, fft_d b)
{
    return (fft_d){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

/* exp(-2 pi i k / n) for 0 <= k < n */
typedef struct {
    int64_t n;
    int bits; /* fine has 2^bits entries: k modulo that; coarse the rest */
    fft_d *fine, *coarse;
} fft_roots;

static inline int fft_root_bits(int64_t n)
{
    int bits = 0;
    while ((int64_t)1 << 2 * bits < n)
        bits++;
    return bits;
}

/* Entries of both tables. */
static inline int64_t fft_roots_size(int64_t n)
{
    int bits = fft_root_bits(n);
    return ((int64_t)1 << bits) + (n >> bits) + 1;
}

static inline void fft_roots_init(fft_roots *r, int64_t n, fft_d *space)
{
    double unit = -2 * 3.14159265358979323846 / (double)n;
    r->n = n;
    r->bits = fft_root_bits(n);
    r->fine = space;
    r->coarse = space + ((int64_t)1 << r->bits);
    for (int64_t k = 0; k < (int64_t)1 << r->bits; k++)
        r->fine[k] = (fft_d){cos(unit * (double)k), sin(unit * (double)k)};
    for (int64_t k = 0; k <= n >> r->bits; k++) {
        double angle = unit * (double)(k << r->bits);
        r->coarse[k] = (fft_d){cos(angle), sin(angle)};
    }
}

static inline fft_d fft_root(const fft_roots *r, int64_t k)
{
    int64_t mask = ((int64_t)1 << r->bits) - 1;
    return fft_d_mul(r->fine[k & mask], r->coarse[k >> r->bits]);
}

/* Writes roots of order n, every one of the first `count`. */
static inline void fft_table(const fft_roots *r, int64_t count, fft_c *table)
{
    for (int64_t k = 0; k < count; k++) {
        fft_d w = fft_root(r, k);
        table[k] = (fft_c){(float)w.re, (float)w.im};
    }
}

/* The radices of a length, in the order of the stages; 0 where a prime factor is too large. */
static inline int fft_factor(int64_t n, int *radix)
{
    int count = 0;
    while (n % 8 == 0 && n != 16) { /* 16 is 4 x 4 */
        radix[count++] = 8;
        n /= 8;
    }
    for (; n % 4 == 0; n /= 4)
        radix[count++] = 4;
    for (int p = 2; p <= FFT_MAX_PRIME && n > 1; p++)
        for (; n % p == 0; n /= p)
            radix[count++] = p;
    return n == 1 ? count : 0;
}

static inline bool fft_is_smooth(int64_t n)
{
    int radix[64];
    return n == 1 || fft_factor(n, radix) > 0;
}

/* The divisor of n next below its root: n1 n2 = n, n1 <= n2. */
static inline int64_t fft_divisor(int64_t n)
{
    int64_t d = (int64_t)sqrt((double)n) + 1;
    while (d > 1 && (d * d > n || n % d))
        d--;
    return d;
}

/* A length of small factors, at least n, for convolutions. */
static inline int64_t fft_good_size(int64_t n)
{
    static const int odd[] = {1, 3, 5, 7, 9, 15, 21, 25, 27, 35, 45};
    int64_t best = INT64_MAX;
    for (int i = 0; i < 11; i++) {
        int64_t size = 16 * odd[i];
        while (size < n)
            size *= 2;
        best = size < best ? size : best;
    }
    return best;
}

#endif
