/* ops.h: shapes, orders of axes, joining, splitting, repeating, padding, diagonals. */
#include "engine/capi/capi.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/shape.h"
#include "engine/ops/slice.h"

int mlx_broadcast_to(mlx_array *res, const mlx_array a, const int *shape, size_t shape_num,
                     const mlx_stream s)
{
    NX_GIVE(nx_broadcast_to(NX_ARRAY(a), NX_INTS(shape), NX_STREAM(s)));
}

int mlx_broadcast_arrays(mlx_vector_array *res, const mlx_vector_array inputs, const mlx_stream s)
{
    const nx_array_vec *in = NX_ARRAYS_NOTED(inputs);
    NX_OUTPUTS(out, in->n);
    for (size_t i = 0; i < in->n; i++)
        out[i] = in->at[i];
    NX_GIVE_VECTOR(out, in->n, nx_broadcast_arrays(out, (int)in->n, NX_STREAM(s)));
}
/* ---- the same elements under another shape --------------------------------------------------- */

int mlx_reshape(mlx_array *res, const mlx_array a, const int *shape, size_t shape_num,
                const mlx_stream s)
{
    NX_GIVE(nx_reshape(NX_ARRAY(a), NX_INTS(shape), NX_STREAM(s)));
}

int mlx_flatten(mlx_array *res, const mlx_array a, int start_axis, int end_axis, const mlx_stream s)
{
    NX_GIVE(nx_flatten(NX_ARRAY(a), start_axis, end_axis, NX_STREAM(s)));
}

int mlx_unflatten(mlx_array *res, const mlx_array a, int axis, const int *shape, size_t shape_num,
                  const mlx_stream s)
{
    NX_GIVE(nx_unflatten(NX_ARRAY(a), axis, NX_INTS(shape), NX_STREAM(s)));
}

NX_UNARY(mlx_squeeze, nx_squeeze)

int mlx_squeeze_axis(mlx_array *res, const mlx_array a, int axis, const mlx_stream s)
{
    NX_GIVE(nx_squeeze_axis(NX_ARRAY(a), axis, NX_STREAM(s)));
}

int mlx_squeeze_axes(mlx_array *res, const mlx_array a, const int *axes, size_t axes_num,
                     const mlx_stream s)
{
    NX_GIVE(nx_squeeze_axes(NX_ARRAY(a), NX_INTS(axes), NX_STREAM(s)));
}

int mlx_expand_dims(mlx_array *res, const mlx_array a, int axis, const mlx_stream s)
{
    NX_GIVE(nx_expand_dims(NX_ARRAY(a), axis, NX_STREAM(s)));
}

int mlx_expand_dims_axes(mlx_array *res, const mlx_array a, const int *axes, size_t axes_num,
                         const mlx_stream s)
{
    NX_GIVE(nx_expand_dims_axes(NX_ARRAY(a), NX_INTS(axes), NX_STREAM(s)));
}

NX_UNARY(mlx_atleast_1d, nx_atleast_1d)
NX_UNARY(mlx_atleast_2d, nx_atleast_2d)
NX_UNARY(mlx_atleast_3d, nx_atleast_3d)

/* ---- transposes and memory ------------------------------------------------------------------- */

NX_UNARY(mlx_transpose, nx_transpose)

int mlx_transpose_axes(mlx_array *res, const mlx_array a, const int *axes, size_t axes_num,
                       const mlx_stream s)
{
    NX_GIVE(nx_transpose_axes(NX_ARRAY(a), NX_INTS(axes), NX_STREAM(s)));
}

int mlx_swapaxes(mlx_array *res, const mlx_array a, int axis1, int axis2, const mlx_stream s)
{
    NX_GIVE(nx_swapaxes(NX_ARRAY(a), axis1, axis2, NX_STREAM(s)));
}

int mlx_moveaxis(mlx_array *res, const mlx_array a, int source, int destination, const mlx_stream s)
{
    NX_GIVE(nx_moveaxis(NX_ARRAY(a), source, destination, NX_STREAM(s)));
}

int mlx_as_strided(mlx_array *res, const mlx_array a, const int *shape, size_t shape_num,
                   const int64_t *strides, size_t strides_num, size_t offset, const mlx_stream s)
{
    NX_GIVE(nx_as_strided(NX_ARRAY(a), NX_INTS(shape), NX_INTS(strides), offset, NX_STREAM(s)));
}

int mlx_contiguous(mlx_array *res, const mlx_array a, bool allow_col_major, const mlx_stream s)
{
    NX_GIVE(nx_contiguous(NX_ARRAY(a), allow_col_major, NX_STREAM(s)));
}

int mlx_depends(mlx_vector_array *res, const mlx_vector_array inputs,
                const mlx_vector_array dependencies)
{
    nx_stream *s = nx_stream_default(nx_device_default());
    size_t n = NX_ARRAYS(inputs)->n;
    NX_OUTPUTS(out, n);
    NX_GIVE_VECTOR(out, n, nx_depends(NX_ARRAY_LIST(inputs), NX_ARRAY_LIST(dependencies), s, out));
}

/* ---- joining and splitting ------------------------------------------------------------------- */

int mlx_concatenate(mlx_array *res, const mlx_vector_array arrays, const mlx_stream s)
{
    NX_GIVE(nx_concatenate_all(NX_ARRAY_LIST(arrays), NX_STREAM(s)));
}

int mlx_concatenate_axis(mlx_array *res, const mlx_vector_array arrays, int axis,
                         const mlx_stream s)
{
    NX_GIVE(nx_concatenate(NX_ARRAY_LIST(arrays), axis, NX_STREAM(s)));
}

int mlx_stack(mlx_array *res, const mlx_vector_array arrays, const mlx_stream s)
{
    NX_GIVE(nx_stack(NX_ARRAY_LIST(arrays), 0, NX_STREAM(s)));
}

int mlx_stack_axis(mlx_array *res, const mlx_vector_array arrays, int axis, const mlx_stream s)
{
    NX_GIVE(nx_stack(NX_ARRAY_LIST(arrays), axis, NX_STREAM(s)));
}

int mlx_split(mlx_vector_array *res, const mlx_array a, int num_splits, int axis,
              const mlx_stream s)
{
    int n = num_splits > 0 ? num_splits : 0;
    NX_OUTPUTS(out, n);
    NX_GIVE_VECTOR(out, n, nx_split(NX_ARRAY(a), num_splits, axis, NX_STREAM(s), out));
}

int mlx_split_sections(mlx_vector_array *res, const mlx_array a, const int *indices,
                       size_t indices_num, int axis, const mlx_stream s)
{
    NX_OUTPUTS(out, (int64_t)indices_num + 1);
    NX_GIVE_VECTOR(out, indices_num + 1,
                   nx_split_at(NX_ARRAY(a), NX_LONG_INTS(indices), axis, NX_STREAM(s), out));
}

int mlx_repeat(mlx_array *res, const mlx_array arr, int repeats, const mlx_stream s)
{
    NX_GIVE(nx_repeat_all(NX_ARRAY(arr), repeats, NX_STREAM(s)));
}

int mlx_repeat_axis(mlx_array *res, const mlx_array arr, int repeats, int axis, const mlx_stream s)
{
    NX_GIVE(nx_repeat(NX_ARRAY(arr), repeats, axis, NX_STREAM(s)));
}

int mlx_tile(mlx_array *res, const mlx_array arr, const int *reps, size_t reps_num,
             const mlx_stream s)
{
    NX_GIVE(nx_tile(NX_ARRAY(arr), NX_INTS(reps), NX_STREAM(s)));
}

int mlx_roll(mlx_array *res, const mlx_array a, const int *shift, size_t shift_num,
             const mlx_stream s)
{
    NX_GIVE(nx_roll(NX_ARRAY(a), NX_INTS(shift), NX_STREAM(s)));
}

int mlx_roll_axis(mlx_array *res, const mlx_array a, const int *shift, size_t shift_num, int axis,
                  const mlx_stream s)
{
    NX_GIVE(nx_roll_axis(NX_ARRAY(a), NX_INTS(shift), axis, NX_STREAM(s)));
}

int mlx_roll_axes(mlx_array *res, const mlx_array a, const int *shift, size_t shift_num,
                  const int *axes, size_t axes_num, const mlx_stream s)
{
    NX_GIVE(nx_roll_axes(NX_ARRAY(a), NX_INTS(shift), NX_INTS(axes), NX_STREAM(s)));
}

int mlx_pad(mlx_array *res, const mlx_array a, const int *axes, size_t axes_num,
            const int *low_pad_size, size_t low_pad_size_num, const int *high_pad_size,
            size_t high_pad_size_num, const mlx_array pad_value, const char *mode,
            const mlx_stream s)
{
    NX_GIVE(nx_pad(NX_ARRAY(a), NX_INTS(axes), NX_INTS(low_pad_size), NX_INTS(high_pad_size),
                   NX_ARRAY(pad_value), NX_POINTER(mode), NX_STREAM(s)));
}

int mlx_pad_symmetric(mlx_array *res, const mlx_array a, int pad_width, const mlx_array pad_value,
                      const char *mode, const mlx_stream s)
{
    NX_GIVE(nx_pad_symmetric(NX_ARRAY(a), pad_width, NX_ARRAY(pad_value), NX_POINTER(mode),
                             NX_STREAM(s)));
}

/* ---- diagonals and grids --------------------------------------------------------------------- */

int mlx_meshgrid(mlx_vector_array *res, const mlx_vector_array arrays, bool sparse,
                 const char *indexing, const mlx_stream s)
{
    size_t n = NX_ARRAYS(arrays)->n;
    NX_OUTPUTS(out, n);
    NX_GIVE_VECTOR(
        out, n,
        nx_meshgrid(NX_ARRAY_LIST(arrays), sparse, NX_POINTER(indexing), NX_STREAM(s), out));
}

int mlx_diag(mlx_array *res, const mlx_array a, int k, const mlx_stream s)
{
    NX_GIVE(nx_diag(NX_ARRAY(a), k, NX_STREAM(s)));
}

int mlx_diagonal(mlx_array *res, const mlx_array a, int offset, int axis1, int axis2,
                 const mlx_stream s)
{
    NX_GIVE(nx_diagonal(NX_ARRAY(a), offset, axis1, axis2, NX_STREAM(s)));
}

int mlx_trace(mlx_array *res, const mlx_array a, int offset, int axis1, int axis2, mlx_dtype dtype,
              const mlx_stream s)
{
    NX_GIVE(nx_trace(NX_ARRAY(a), offset, axis1, axis2, NX_DTYPE(dtype), NX_STREAM(s)));
}

/* ---- slices ---------------------------------------------------------------------------------- */

int mlx_slice(mlx_array *res, const mlx_array a, const int *start, size_t start_num,
              const int *stop, size_t stop_num, const int *strides, size_t strides_num,
              const mlx_stream s)
{
    NX_GIVE(nx_slice(NX_ARRAY(a), NX_INTS(start), NX_INTS(stop), NX_INTS(strides), NX_STREAM(s)));
}

int mlx_slice_dynamic(mlx_array *res, const mlx_array a, const mlx_array start, const int *axes,
                      size_t axes_num, const int *slice_size, size_t slice_size_num,
                      const mlx_stream s)
{
    NX_GIVE(nx_slice_dynamic(NX_ARRAY(a), NX_ARRAY(start), NX_INTS(axes), NX_INTS(slice_size),
                             NX_STREAM(s)));
}

int mlx_slice_update_dynamic(mlx_array *res, const mlx_array src, const mlx_array update,
                             const mlx_array start, const int *axes, size_t axes_num,
                             const mlx_stream s)
{
    NX_GIVE(nx_slice_update_dynamic(NX_ARRAY(src), NX_ARRAY(update), NX_ARRAY(start), NX_INTS(axes),
                                    NX_STREAM(s)));
}

#define SLICE_UPDATE(function, mode)                                                               \
    int function(mlx_array *res, const mlx_array src, const mlx_array update, const int *start,    \
                 size_t start_num, const int *stop, size_t stop_num, const int *strides,           \
                 size_t strides_num, const mlx_stream s)                                           \
    {                                                                                              \
        NX_GIVE(nx_slice_update(mode, NX_ARRAY(src), NX_ARRAY(update), NX_INTS(start),             \
                                NX_INTS(stop), NX_INTS(strides), NX_STREAM(s)));                   \
    }
SLICE_UPDATE(mlx_slice_update, NX_UPDATE_NONE)
SLICE_UPDATE(mlx_slice_update_add, NX_UPDATE_ADD)
SLICE_UPDATE(mlx_slice_update_max, NX_UPDATE_MAX)
SLICE_UPDATE(mlx_slice_update_min, NX_UPDATE_MIN)
SLICE_UPDATE(mlx_slice_update_prod, NX_UPDATE_PROD)
