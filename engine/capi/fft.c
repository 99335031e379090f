/* fft.h: discrete Fourier transforms. */
#include "engine/capi/capi.h"
#include "engine/ops/fft.h"

/* Along one axis, the last two, any: of complex numbers, or from or to real ones. */
#define TRANSFORM(name, kind, inverse)                                                             \
    int mlx_fft_##name(mlx_array *res, const mlx_array a, int n, int axis, mlx_fft_norm norm,      \
                       const mlx_stream s)                                                         \
    {                                                                                              \
        NX_GIVE(nx_fftn(NX_ARRAY(a), &n, 1, &axis, 1, kind, inverse, (nx_fft_norm)norm,            \
                        NX_STREAM(s)));                                                            \
    }                                                                                              \
    TRANSFORM_AXES(name##2, kind, inverse)                                                         \
    TRANSFORM_AXES(name##n, kind, inverse)
#define TRANSFORM_AXES(name, kind, inverse)                                                        \
    int mlx_fft_##name(mlx_array *res, const mlx_array a, const int *n, size_t n_num,              \
                       const int *axes, size_t axes_num, mlx_fft_norm norm, const mlx_stream s)    \
    {                                                                                              \
        NX_GIVE(nx_fftn(NX_ARRAY(a), NX_INTS(n), NX_INTS(axes), kind, inverse, (nx_fft_norm)norm,  \
                        NX_STREAM(s)));                                                            \
    }

TRANSFORM(fft, NX_FFT_COMPLEX, false)
TRANSFORM(ifft, NX_FFT_COMPLEX, true)
TRANSFORM(rfft, NX_FFT_REAL, false)
TRANSFORM(irfft, NX_FFT_REAL, true)

int mlx_fft_fftfreq(mlx_array *res, int n, double d, const mlx_stream s)
{
    NX_GIVE(nx_fftfreq(n, d, NX_STREAM(s)));
}
int mlx_fft_rfftfreq(mlx_array *res, int n, double d, const mlx_stream s)
{
    NX_GIVE(nx_rfftfreq(n, d, NX_STREAM(s)));
}
int mlx_fft_fftshift(mlx_array *res, const mlx_array a, const int *axes, size_t axes_num,
                     const mlx_stream s)
{
    NX_GIVE(nx_fftshift(NX_ARRAY(a), NX_INTS(axes), NX_STREAM(s)));
}
int mlx_fft_ifftshift(mlx_array *res, const mlx_array a, const int *axes, size_t axes_num,
                      const mlx_stream s)
{
    NX_GIVE(nx_ifftshift(NX_ARRAY(a), NX_INTS(axes), NX_STREAM(s)));
}
