/* array.h: handles of arrays, making arrays from values, and what an array is. */
#include "engine/capi/capi.h"
#include "engine/core/eval.h"

_Static_assert((int)MLX_COMPLEX64 == (int)NX_COMPLEX64 && (int)MLX_BFLOAT16 == (int)NX_BFLOAT16,
               "nx_dtype follows mlx_dtype");

/* Handles. */

void nx_handle_set_take(mlx_array *res, nx_array *a)
{
    nx_handle *h = res->ctx;
    if (!h) {
        res->ctx = h = nx_malloc(sizeof *h);
        h->array = a;
        return;
    }
    nx_array *old = h->array;
    h->array = a;
    nx_array_unref(&old);
}

int nx_give(mlx_array *res, nx_array *a, const char *function)
{
    if (!a)
        return nx_report_given(function);
    nx_given_now.function = NULL;
    if (!res)
        return nx_report_empty(function, "res");
    nx_handle_set_take(res, nx_array_ref(a));
    return 0;
}

mlx_array nx_handle_of(nx_array *a)
{
    mlx_array h = {NULL};
    nx_give(&h, a, "");
    return h;
}

size_t mlx_dtype_size(mlx_dtype dtype)
{
    return (unsigned)dtype < NX_DTYPE_COUNT ? nx_dtype_size((nx_dtype)dtype) : 0;
}

mlx_array mlx_array_new(void)
{
    return (mlx_array){NULL};
}

int mlx_array_free(mlx_array arr)
{
    nx_handle *h = arr.ctx;
    if (h)
        nx_array_unref(&h->array);
    free(h);
    return 0;
}

int mlx_array_set(mlx_array *arr, const mlx_array src)
{
    return nx_give(arr, NX_ARRAY(src), __func__);
}

/* Values. Each kind of value has a constructor and a setter. */

static nx_array *from_data(const void *data, const int *shape, int dim, mlx_dtype dtype)
{
    if (dim > 0 && !shape)
        return nx_fail_null("[array] %d dimensions, but no shape", dim);
    if (!data && nx_shape_size(shape, dim > 0 ? dim : 0))
        return nx_fail_null("[array] no data for an array of shape %s", nx_shape_text(shape, dim));
    return nx_array_from_data(data, shape, dim, (nx_dtype)dtype);
}

static nx_array *from_double(double val)
{
    return nx_array_from_data(&val, NULL, 0, NX_FLOAT64);
}

#define NEW(...)                                                                                   \
    do {                                                                                           \
        NX_SCOPE;                                                                                  \
        return nx_handle_of(__VA_ARGS__);                                                          \
    } while (0)
#define SET(...)                                                                                   \
    do {                                                                                           \
        NX_SCOPE;                                                                                  \
        return nx_give(arr, __VA_ARGS__, __func__);                                                \
    } while (0)

mlx_array mlx_array_new_bool(bool val)
{
    NEW(nx_scalar_bool(val));
}

int mlx_array_set_bool(mlx_array *arr, bool val)
{
    SET(nx_scalar_bool(val));
}

mlx_array mlx_array_new_int(int val)
{
    NEW(nx_scalar_int(val));
}

int mlx_array_set_int(mlx_array *arr, int val)
{
    SET(nx_scalar_int(val));
}

mlx_array mlx_array_new_float32(float val)
{
    NEW(nx_scalar_float(val));
}

int mlx_array_set_float32(mlx_array *arr, float val)
{
    SET(nx_scalar_float(val));
}

mlx_array mlx_array_new_float(float val)
{
    NEW(nx_scalar_float(val));
}

int mlx_array_set_float(mlx_array *arr, float val)
{
    SET(nx_scalar_float(val));
}

mlx_array mlx_array_new_float64(double val)
{
    NEW(from_double(val));
}

int mlx_array_set_float64(mlx_array *arr, double val)
{
    SET(from_double(val));
}

mlx_array mlx_array_new_double(double val)
{
    NEW(from_double(val));
}

int mlx_array_set_double(mlx_array *arr, double val)
{
    SET(from_double(val));
}

mlx_array mlx_array_new_complex(float real_val, float imag_val)
{
    NEW(nx_scalar_complex(real_val, imag_val));
}

int mlx_array_set_complex(mlx_array *arr, float real_val, float imag_val)
{
    SET(nx_scalar_complex(real_val, imag_val));
}

mlx_array mlx_array_new_data(const void *data, const int *shape, int dim, mlx_dtype dtype)
{
    NEW(from_data(data, shape, dim, dtype));
}

int mlx_array_set_data(mlx_array *arr, const void *data, const int *shape, int dim, mlx_dtype dtype)
{
    SET(from_data(data, shape, dim, dtype));
}

mlx_array mlx_array_new_data_managed(void *data, const int *shape, int dim, mlx_dtype dtype,
                                     void (*dtor)(void *))
{
    return mlx_array_new_data_managed_payload(data, shape, dim, dtype, data, dtor);
}

mlx_array mlx_array_new_data_managed_payload(void *data, const int *shape, int dim, mlx_dtype dtype,
                                             void *payload, void (*dtor)(void *))
{
    if (dim > 0 && !shape) {
        nx_report_empty(__func__, "shape");
        return (mlx_array){NULL};
    }
    NEW(nx_array_wrap(data, shape, dim, (nx_dtype)dtype, dtor, payload));
}

/* What an array is. */

static const nx_array *array_of(mlx_array arr, const char *function)
{
    if (arr.ctx)
        return ((nx_handle *)arr.ctx)->array;
    nx_report_empty(function, "arr");
    return NULL;
}

#define FIELD(expression, otherwise)                                                               \
    do {                                                                                           \
        const nx_array *a = array_of(arr, __func__);                                               \
        return a ? (expression) : (otherwise);                                                     \
    } while (0)

size_t mlx_array_itemsize(const mlx_array arr)
{
    FIELD(nx_dtype_size((nx_dtype)a->dtype), 0);
}

size_t mlx_array_size(const mlx_array arr)
{
    FIELD((size_t)a->size, 0);
}

size_t mlx_array_nbytes(const mlx_array arr)
{
    FIELD((size_t)nx_array_nbytes(a), 0);
}

size_t mlx_array_ndim(const mlx_array arr)
{
    FIELD((size_t)a->ndim, 0);
}

const int *mlx_array_shape(const mlx_array arr)
{
    FIELD(a->shape, NULL);
}

const size_t *mlx_array_strides(const mlx_array arr)
{
    FIELD((const size_t *)a->strides, NULL);
}

int mlx_array_dim(const mlx_array arr, int dim)
{
    const nx_array *a = array_of(arr, __func__);
    if (!a)
        return 0;
    int axis = dim < 0 ? dim + a->ndim : dim;
    if (axis < 0 || axis >= a->ndim) {
        nx_fail("[array] dimension %d is out of range for an array of %d dimensions", dim, a->ndim);
        nx_report();
        return 0;
    }
    return a->shape[axis];
}

mlx_dtype mlx_array_dtype(const mlx_array arr)
{
    FIELD((mlx_dtype)a->dtype, MLX_BOOL);
}

/* Evaluation and layout. */

int mlx_array_eval(mlx_array arr)
{
    NX_SCOPE;
    return nx_status(nx_eval_one(NX_ARRAY(arr)));
}

int _mlx_array_is_available(bool *res, const mlx_array arr)
{
    *NX_POINTER(res) = nx_array_is_ready(NX_ARRAY(arr));
    return 0;
}

int _mlx_array_wait(const mlx_array arr)
{
    nx_array *a = NX_ARRAY(arr);
    if (!nx_array_is_scheduled(a)) {
        nx_fail("[wait] the array is not being computed, evaluate it first");
        return nx_report();
    }
    return nx_status(nx_array_wait(a));
}

static int layout_flag(bool *res, const nx_array *a, unsigned flag)
{
    *NX_POINTER(res) = (a->flags & flag) != 0;
    return 0;
}

int _mlx_array_is_contiguous(bool *res, const mlx_array arr)
{
    return layout_flag(res, NX_ARRAY(arr), NX_DENSE);
}

int _mlx_array_is_row_contiguous(bool *res, const mlx_array arr)
{
    return layout_flag(res, NX_ARRAY(arr), NX_ROW_CONTIGUOUS);
}

int _mlx_array_is_col_contiguous(bool *res, const mlx_array arr)
{
    return layout_flag(res, NX_ARRAY(arr), NX_COL_CONTIGUOUS);
}
