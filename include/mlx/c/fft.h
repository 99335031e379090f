/*
 * fft.h: discrete Fourier transforms.
 *
 * Complex results are complex64. n is the number of points along an axis: the input is cut or
 * filled with zeros to it. axes and n run together; norm says where the factor 1/n goes.
 */
#ifndef MLX_C_FFT_H
#define MLX_C_FFT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "mlx/c/array.h"
#include "mlx/c/closure.h"
#include "mlx/c/distributed_group.h"
#include "mlx/c/io_types.h"
#include "mlx/c/map.h"
#include "mlx/c/stream.h"
#include "mlx/c/string.h"
#include "mlx/c/vector.h"

#ifdef __cplusplus
extern "C" {
#endif

/* On the inverse transform, half of it on both, or on the forward transform. */
typedef enum mlx_fft_norm_ {
    MLX_FFT_NORM_BACKWARD = 0,
    MLX_FFT_NORM_ORTHO = 1,
    MLX_FFT_NORM_FORWARD = 2,
} mlx_fft_norm;

int mlx_fft_fft(mlx_array *res, const mlx_array a, int n, int axis, mlx_fft_norm norm,
                const mlx_stream s);
int mlx_fft_fft2(mlx_array *res, const mlx_array a, const int *n, size_t n_num, const int *axes,
                 size_t axes_num, mlx_fft_norm norm, const mlx_stream s);
int mlx_fft_fftn(mlx_array *res, const mlx_array a, const int *n, size_t n_num, const int *axes,
                 size_t axes_num, mlx_fft_norm norm, const mlx_stream s);
int mlx_fft_ifft(mlx_array *res, const mlx_array a, int n, int axis, mlx_fft_norm norm,
                 const mlx_stream s);
int mlx_fft_ifft2(mlx_array *res, const mlx_array a, const int *n, size_t n_num, const int *axes,
                  size_t axes_num, mlx_fft_norm norm, const mlx_stream s);
int mlx_fft_ifftn(mlx_array *res, const mlx_array a, const int *n, size_t n_num, const int *axes,
                  size_t axes_num, mlx_fft_norm norm, const mlx_stream s);

/* Of real numbers: the result has n / 2 + 1 points along the last axis. */
int mlx_fft_rfft(mlx_array *res, const mlx_array a, int n, int axis, mlx_fft_norm norm,
                 const mlx_stream s);
int mlx_fft_rfft2(mlx_array *res, const mlx_array a, const int *n, size_t n_num, const int *axes,
                  size_t axes_num, mlx_fft_norm norm, const mlx_stream s);
int mlx_fft_rfftn(mlx_array *res, const mlx_array a, const int *n, size_t n_num, const int *axes,
                  size_t axes_num, mlx_fft_norm norm, const mlx_stream s);

/* Back to real numbers: n is the number of points of the result. */
int mlx_fft_irfft(mlx_array *res, const mlx_array a, int n, int axis, mlx_fft_norm norm,
                  const mlx_stream s);
int mlx_fft_irfft2(mlx_array *res, const mlx_array a, const int *n, size_t n_num, const int *axes,
                   size_t axes_num, mlx_fft_norm norm, const mlx_stream s);
int mlx_fft_irfftn(mlx_array *res, const mlx_array a, const int *n, size_t n_num, const int *axes,
                   size_t axes_num, mlx_fft_norm norm, const mlx_stream s);

/* Frequencies of the points, for samples d apart. */
int mlx_fft_fftfreq(mlx_array *res, int n, double d, const mlx_stream s);
int mlx_fft_rfftfreq(mlx_array *res, int n, double d, const mlx_stream s);

/* Moves frequency 0 to the middle, and back. */
int mlx_fft_fftshift(mlx_array *res, const mlx_array a, const int *axes, size_t axes_num,
                     const mlx_stream s);
int mlx_fft_ifftshift(mlx_array *res, const mlx_array a, const int *axes, size_t axes_num,
                      const mlx_stream s);

#ifdef __cplusplus
}
#endif

#endif
