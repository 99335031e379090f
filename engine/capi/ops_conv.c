/* ops.h: convolutions. */
#include "engine/capi/capi.h"
#include "engine/ops/conv.h"

int mlx_conv1d(mlx_array *res, const mlx_array input, const mlx_array weight, int stride,
               int padding, int dilation, int groups, const mlx_stream s)
{
    NX_GIVE(nx_conv_nd(NX_ARRAY(input), NX_ARRAY(weight), 1, &stride, &padding, &dilation, groups,
                       NX_STREAM(s)));
}

int mlx_conv2d(mlx_array *res, const mlx_array input, const mlx_array weight, int stride_0,
               int stride_1, int padding_0, int padding_1, int dilation_0, int dilation_1,
               int groups, const mlx_stream s)
{
    const int stride[] = {stride_0, stride_1}, padding[] = {padding_0, padding_1};
    const int dilation[] = {dilation_0, dilation_1};
    NX_GIVE(nx_conv_nd(NX_ARRAY(input), NX_ARRAY(weight), 2, stride, padding, dilation, groups,
                       NX_STREAM(s)));
}

int mlx_conv3d(mlx_array *res, const mlx_array input, const mlx_array weight, int stride_0,
               int stride_1, int stride_2, int padding_0, int padding_1, int padding_2,
               int dilation_0, int dilation_1, int dilation_2, int groups, const mlx_stream s)
{
    const int stride[] = {stride_0, stride_1, stride_2};
    const int padding[] = {padding_0, padding_1, padding_2};
    const int dilation[] = {dilation_0, dilation_1, dilation_2};
    NX_GIVE(nx_conv_nd(NX_ARRAY(input), NX_ARRAY(weight), 3, stride, padding, dilation, groups,
                       NX_STREAM(s)));
}

int mlx_conv_general(mlx_array *res, const mlx_array input, const mlx_array weight,
                     const int *stride, size_t stride_num, const int *padding_lo,
                     size_t padding_lo_num, const int *padding_hi, size_t padding_hi_num,
                     const int *kernel_dilation, size_t kernel_dilation_num,
                     const int *input_dilation, size_t input_dilation_num, int groups, bool flip,
                     const mlx_stream s)
{
    nx_conv_options o = {.stride = NX_LIST(stride, stride_num, NX_MAX_NDIM),
                         .padding_low = NX_LIST(padding_lo, padding_lo_num, NX_MAX_NDIM),
                         .padding_high = NX_LIST(padding_hi, padding_hi_num, NX_MAX_NDIM),
                         .kernel_dilation =
                             NX_LIST(kernel_dilation, kernel_dilation_num, NX_MAX_NDIM),
                         .input_dilation = NX_LIST(input_dilation, input_dilation_num, NX_MAX_NDIM),
                         .n_stride = (int)stride_num,
                         .n_low = (int)padding_lo_num,
                         .n_high = (int)padding_hi_num,
                         .n_kernel = (int)kernel_dilation_num,
                         .n_input = (int)input_dilation_num,
                         .groups = groups,
                         .flip = flip};
    NX_GIVE(nx_conv(NX_ARRAY(input), NX_ARRAY(weight), &o, NX_STREAM(s)));
}

int mlx_conv_transpose1d(mlx_array *res, const mlx_array input, const mlx_array weight, int stride,
                         int padding, int dilation, int output_padding, int groups,
                         const mlx_stream s)
{
    NX_GIVE(nx_conv_transpose(NX_ARRAY(input), NX_ARRAY(weight), 1, &stride, &padding, &dilation,
                              &output_padding, groups, NX_STREAM(s)));
}

int mlx_conv_transpose2d(mlx_array *res, const mlx_array input, const mlx_array weight,
                         int stride_0, int stride_1, int padding_0, int padding_1, int dilation_0,
                         int dilation_1, int output_padding_0, int output_padding_1, int groups,
                         const mlx_stream s)
{
    const int stride[] = {stride_0, stride_1}, padding[] = {padding_0, padding_1};
    const int dilation[] = {dilation_0, dilation_1};
    const int output_padding[] = {output_padding_0, output_padding_1};
    NX_GIVE(nx_conv_transpose(NX_ARRAY(input), NX_ARRAY(weight), 2, stride, padding, dilation,
                              output_padding, groups, NX_STREAM(s)));
}

int mlx_conv_transpose3d(mlx_array *res, const mlx_array input, const mlx_array weight,
                         int stride_0, int stride_1, int stride_2, int padding_0, int padding_1,
                         int padding_2, int dilation_0, int dilation_1, int dilation_2,
                         int output_padding_0, int output_padding_1, int output_padding_2,
                         int groups, const mlx_stream s)
{
    const int stride[] = {stride_0, stride_1, stride_2};
    const int padding[] = {padding_0, padding_1, padding_2};
    const int dilation[] = {dilation_0, dilation_1, dilation_2};
    const int output_padding[] = {output_padding_0, output_padding_1, output_padding_2};
    NX_GIVE(nx_conv_transpose(NX_ARRAY(input), NX_ARRAY(weight), 3, stride, padding, dilation,
                              output_padding, groups, NX_STREAM(s)));
}
