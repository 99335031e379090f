/*
 * conv.h: convolutions. Arrays are [N, spatial..., C_in], weights [C_out, spatial..., C_in /
 * groups], with 1 to 3 spatial dimensions; results are [N, spatial..., C_out]. Floating types only.
 */
#ifndef NX_OPS_CONV_H
#define NX_OPS_CONV_H

#include "engine/core/array.h"

/* Lists with one number a spatial dimension, or with one for all of them, or none: the default. */
typedef struct {
    const int *stride, *padding_low, *padding_high; /* 1, 0, 0; padding may be negative: it cuts */
    const int *kernel_dilation, *input_dilation;    /* 1, 1 */
    int n_stride, n_low, n_high, n_kernel, n_input;
    int groups;
    bool flip; /* the kernel, back to front */
} nx_conv_options;

nx_array *nx_conv(nx_array *input, nx_array *weight, const nx_conv_options *o, nx_stream *s);
/* Over `ndim` spatial dimensions; each list has one number for each. */
nx_array *nx_conv_nd(nx_array *input, nx_array *weight, int ndim, const int *stride,
                     const int *padding, const int *dilation, int groups, nx_stream *s);
/* The transposed convolution: inputs are spread `stride` apart. */
nx_array *nx_conv_transpose(nx_array *input, nx_array *weight, int ndim, const int *stride,
                            const int *padding, const int *dilation, const int *output_padding,
                            int groups, nx_stream *s);

#endif
