/*
 * array.h: arrays: making them, looking at their shape, type and elements.
 *
 * An array is a value of an element type (mlx_dtype) and a shape; what operations return is not
 * computed before somebody asks for it (mlx_array_eval, mlx_eval, mlx_array_item_*, saving).
 * A handle owns one reference to its array: handles may share one array, and each is freed by
 * mlx_array_free. A handle whose ctx is NULL is empty; optional array parameters take it as "none",
 * all others as an error.
 *
 * Throughout the library: functions returning int return 0 if all is well, and 1 after an error,
 * for which the handler of error.h has been called once. `res` may be empty or hold a value, which
 * is then replaced, and may be one of the inputs; after an error it is as it was. Functions that
 * return a handle return an empty one after an error.
 */
#ifndef MLX_C_ARRAY_H
#define MLX_C_ARRAY_H

#include <float.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "mlx/c/string.h"
#include "mlx/c/half.h"

#ifdef _MSC_VER
#define _CRT_USE_C_COMPLEX_H
#include <complex.h>
typedef _Fcomplex mlx_complex64_t;
#else
#include <complex.h>
typedef float _Complex mlx_complex64_t;
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* An N-dimensional array. */
typedef struct mlx_array_ {
    void *ctx;
} mlx_array;

/* The empty handle. */
#if defined(__GNUC__)
__attribute__((unused))
#endif
static mlx_array mlx_array_empty;

/* Element types. */
typedef enum mlx_dtype_ {
    MLX_BOOL = 0,
    MLX_UINT8 = 1,
    MLX_UINT16 = 2,
    MLX_UINT32 = 3,
    MLX_UINT64 = 4,
    MLX_INT8 = 5,
    MLX_INT16 = 6,
    MLX_INT32 = 7,
    MLX_INT64 = 8,
    MLX_FLOAT16 = 9,
    MLX_FLOAT32 = 10,
    MLX_FLOAT64 = 11,
    MLX_BFLOAT16 = 12,
    MLX_COMPLEX64 = 13,
} mlx_dtype;

/* Bytes an element. */
size_t mlx_dtype_size(mlx_dtype dtype);

/* Making and freeing. */
/* An empty handle. */
mlx_array mlx_array_new(void);
/* Gives the handle's reference back; an empty handle is allowed. */
int mlx_array_free(mlx_array arr);
mlx_array mlx_array_new_bool(bool val);
/* A 0-dimensional int32. */
mlx_array mlx_array_new_int(int val);
/* A 0-dimensional float32. */
mlx_array mlx_array_new_float32(float val);
mlx_array mlx_array_new_float(float val);
/* A 0-dimensional float64. */
mlx_array mlx_array_new_float64(double val);
mlx_array mlx_array_new_double(double val);
/* A 0-dimensional complex64. */
mlx_array mlx_array_new_complex(float real_val, float imag_val);
/* A copy of elements in row-major order; shape has dim entries, dtype is the elements' type. */
mlx_array mlx_array_new_data(const void *data, const int *shape, int dim, mlx_dtype dtype);
/* Adopts the elements without a copy; dtor(data) is called when nobody needs them any more. */
mlx_array mlx_array_new_data_managed(void *data, const int *shape, int dim, mlx_dtype dtype,
                                     void (*dtor)(void *));
/* The same, with dtor(payload) as the call at the end. */
mlx_array mlx_array_new_data_managed_payload(void *data, const int *shape, int dim, mlx_dtype dtype,
                                             void *payload, void (*dtor)(void *));

/* Replacing what a handle refers to. Copies of the handle struct see the change. */
/* Makes *arr refer to src's array. */
int mlx_array_set(mlx_array *arr, const mlx_array src);
int mlx_array_set_bool(mlx_array *arr, bool val);
int mlx_array_set_int(mlx_array *arr, int val);
int mlx_array_set_float32(mlx_array *arr, float val);
int mlx_array_set_float(mlx_array *arr, float val);
int mlx_array_set_float64(mlx_array *arr, double val);
int mlx_array_set_double(mlx_array *arr, double val);
int mlx_array_set_complex(mlx_array *arr, float real_val, float imag_val);
/* A copy of row-major elements, as mlx_array_new_data. */
int mlx_array_set_data(mlx_array *arr, const void *data, const int *shape, int dim,
                       mlx_dtype dtype);

/* What an array is. None of these evaluates. Pointers belong to the array. */
/* Bytes an element. */
size_t mlx_array_itemsize(const mlx_array arr);
/* Elements. */
size_t mlx_array_size(const mlx_array arr);
/* Bytes of all elements. */
size_t mlx_array_nbytes(const mlx_array arr);
/* Dimensions. */
size_t mlx_array_ndim(const mlx_array arr);
/* ndim extents. */
const int *mlx_array_shape(const mlx_array arr);
/* ndim strides, in elements. They are signed: a negative one appears as a large number. */
const size_t *mlx_array_strides(const mlx_array arr);
/* The extent of dimension dim; a negative dim counts from the end. */
int mlx_array_dim(const mlx_array arr, int dim);
mlx_dtype mlx_array_dtype(const mlx_array arr);
/* Text such as "array([1, 2], dtype=int32)"; long arrays are shortened. Evaluates. */
int mlx_array_tostring(mlx_string *str, const mlx_array arr);
/* Computes the array's elements and waits for them. */
int mlx_array_eval(mlx_array arr);

/* The only element of an array of size 1, converted to the type asked for. These evaluate. */
int mlx_array_item_bool(bool *res, const mlx_array arr);
int mlx_array_item_uint8(uint8_t *res, const mlx_array arr);
int mlx_array_item_uint16(uint16_t *res, const mlx_array arr);
int mlx_array_item_uint32(uint32_t *res, const mlx_array arr);
int mlx_array_item_uint64(uint64_t *res, const mlx_array arr);
int mlx_array_item_int8(int8_t *res, const mlx_array arr);
int mlx_array_item_int16(int16_t *res, const mlx_array arr);
int mlx_array_item_int32(int32_t *res, const mlx_array arr);
int mlx_array_item_int64(int64_t *res, const mlx_array arr);
int mlx_array_item_float32(float *res, const mlx_array arr);
int mlx_array_item_float64(double *res, const mlx_array arr);
int mlx_array_item_complex64(mlx_complex64_t *res, const mlx_array arr);
#ifdef HAS_FLOAT16
int mlx_array_item_float16(float16_t *res, const mlx_array arr);
#endif
#ifdef HAS_BFLOAT16
int mlx_array_item_bfloat16(bfloat16_t *res, const mlx_array arr);
#endif

/* The elements in memory: the first one's address, the others by mlx_array_strides. Evaluate
 * first: the pointer is NULL before. The type must fit the array's; it is not converted. */
const bool *mlx_array_data_bool(const mlx_array arr);
const uint8_t *mlx_array_data_uint8(const mlx_array arr);
const uint16_t *mlx_array_data_uint16(const mlx_array arr);
const uint32_t *mlx_array_data_uint32(const mlx_array arr);
const uint64_t *mlx_array_data_uint64(const mlx_array arr);
const int8_t *mlx_array_data_int8(const mlx_array arr);
const int16_t *mlx_array_data_int16(const mlx_array arr);
const int32_t *mlx_array_data_int32(const mlx_array arr);
const int64_t *mlx_array_data_int64(const mlx_array arr);
const float *mlx_array_data_float32(const mlx_array arr);
const double *mlx_array_data_float64(const mlx_array arr);
const mlx_complex64_t *mlx_array_data_complex64(const mlx_array arr);
#ifdef HAS_FLOAT16
const float16_t *mlx_array_data_float16(const mlx_array arr);
#endif
#ifdef HAS_BFLOAT16
const bfloat16_t *mlx_array_data_bfloat16(const mlx_array arr);
#endif

/* State of evaluation and layout, for programs that read elements in place. */
/* Whether the elements are computed. */
int _mlx_array_is_available(bool *res, const mlx_array arr);
/* Waits for elements that mlx_async_eval has under way. */
int _mlx_array_wait(const mlx_array arr);
/* Whether the elements fill one block of memory without holes, in some order. */
int _mlx_array_is_contiguous(bool *res, const mlx_array arr);
/* The same in row-major order. */
int _mlx_array_is_row_contiguous(bool *res, const mlx_array arr);
/* The same in column-major order. */
int _mlx_array_is_col_contiguous(bool *res, const mlx_array arr);

#ifdef __cplusplus
}
#endif

#endif
