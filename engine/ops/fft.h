/*
 * fft.h: builders of discrete Fourier transforms. Results belong to the build scope; a NULL input
 * gives NULL. n[i] is the number of points along axes[i] (of the result, for transforms back to
 * real numbers): the input is cut, or filled with zeros, to it.
 */
#ifndef NX_OPS_FFT_H
#define NX_OPS_FFT_H

#include "engine/core/array.h"

/* Where the factor 1 / n goes, as mlx_fft_norm. */
typedef enum { NX_FFT_BACKWARD, NX_FFT_ORTHO, NX_FFT_FORWARD } nx_fft_norm;
/* Complex to complex; between real numbers and the first half of a symmetric spectrum. */
typedef enum { NX_FFT_COMPLEX, NX_FFT_REAL } nx_fft_kind;

nx_array *nx_fftn(nx_array *a, const int *n, int n_n, const int *axes, int n_axes, nx_fft_kind kind,
                  bool inverse, nx_fft_norm norm, nx_stream *s);

/* Frequencies of n points that are d apart; rfft: of the first half. float32. */
nx_array *nx_fftfreq(int n, double d, nx_stream *s);
nx_array *nx_rfftfreq(int n, double d, nx_stream *s);

/* Frequency 0 to the middle of each axis, and back. */
nx_array *nx_fftshift(nx_array *a, const int *axes, int n_axes, nx_stream *s);
nx_array *nx_ifftshift(nx_array *a, const int *axes, int n_axes, nx_stream *s);

#endif
