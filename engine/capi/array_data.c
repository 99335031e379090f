/* array.h: the elements of an array: one as a C value, all in memory. */
#include <string.h>

#include "engine/capi/capi.h"
#include "engine/core/eval.h"
#include "engine/core/half.h"

/* A value of any element type: integers exactly, the others as doubles. */
typedef struct {
    bool is_integer;
    uint64_t bits; /* an integer, sign-extended */
    double re, im;
} number;

static number integer(int64_t v, double re)
{
    return (number){.is_integer = true, .bits = (uint64_t)v, .re = re};
}

static number number_read(const void *p, nx_dtype dtype)
{
    switch (dtype) {
    case NX_BOOL:
        return integer(*(const bool *)p, *(const bool *)p);
    case NX_UINT8:
        return integer(*(const uint8_t *)p, *(const uint8_t *)p);
    case NX_UINT16:
        return integer(*(const uint16_t *)p, *(const uint16_t *)p);
    case NX_UINT32:
        return integer(*(const uint32_t *)p, *(const uint32_t *)p);
    case NX_UINT64:
        return integer((int64_t) * (const uint64_t *)p, (double)*(const uint64_t *)p);
    case NX_INT8:
        return integer(*(const int8_t *)p, *(const int8_t *)p);
    case NX_INT16:
        return integer(*(const int16_t *)p, *(const int16_t *)p);
    case NX_INT32:
        return integer(*(const int32_t *)p, *(const int32_t *)p);
    case NX_INT64:
        return integer(*(const int64_t *)p, (double)*(const int64_t *)p);
    case NX_FLOAT16:
        return (number){.re = nx_half_to_float(*(const uint16_t *)p)};
    case NX_BFLOAT16:
        return (number){.re = nx_bf16_to_float(*(const uint16_t *)p)};
    case NX_FLOAT32:
        return (number){.re = *(const float *)p};
    case NX_FLOAT64:
        return (number){.re = *(const double *)p};
    case NX_COMPLEX64:
        return (number){.re = ((const float *)p)[0], .im = ((const float *)p)[1]};
    case NX_DTYPE_COUNT:
        break;
    }
    NX_BUG_IF(true);
    return (number){0};
}

/* Towards zero; what does not fit becomes the nearest that does, NaN 0. */
static uint64_t number_bits(const number *n)
{
    if (n->is_integer)
        return n->bits;
    if (n->re >= 0x1p64)
        return UINT64_MAX;
    if (n->re >= 0x1p63)
        return (uint64_t)n->re;
    if (n->re <= -0x1p63)
        return (uint64_t)INT64_MIN;
    return n->re == n->re ? (uint64_t)(int64_t)n->re : 0;
}

/* The only element of an array; false after nx_fail. */
static bool item(nx_array *a, number *n)
{
    if (a->size != 1)
        return nx_fail("[item] only an array of one element has a value, this one has shape %s",
                       nx_shape_text(a->shape, a->ndim));
    const char *data = nx_eval_one(a) ? nx_array_host(a) : NULL;
    if (!data)
        return false;
    *n = number_read(data, (nx_dtype)a->dtype);
    return true;
}

#define ITEM(name, type, value)                                                                    \
    int mlx_array_item_##name(type *res, const mlx_array arr)                                      \
    {                                                                                              \
        NX_SCOPE;                                                                                  \
        number n;                                                                                  \
        NX_POINTER(res);                                                                           \
        if (!item(NX_ARRAY(arr), &n))                                                              \
            return nx_report();                                                                    \
        *res = (value);                                                                            \
        return 0;                                                                                  \
    }
ITEM(bool, bool, n.is_integer ? n.bits != 0 : n.re != 0 || n.im != 0)
ITEM(uint8, uint8_t, (uint8_t)number_bits(&n))
ITEM(uint16, uint16_t, (uint16_t)number_bits(&n))
ITEM(uint32, uint32_t, (uint32_t)number_bits(&n))
ITEM(uint64, uint64_t, number_bits(&n))
ITEM(int8, int8_t, (int8_t)number_bits(&n))
ITEM(int16, int16_t, (int16_t)number_bits(&n))
ITEM(int32, int32_t, (int32_t)number_bits(&n))
ITEM(int64, int64_t, (int64_t)number_bits(&n))
ITEM(float32, float, (float)n.re)
ITEM(float64, double, n.re)
ITEM(complex64, mlx_complex64_t, (float)n.re + (float)n.im * (float _Complex)_Complex_I)
#ifdef HAS_FLOAT16
ITEM(float16, float16_t, (float16_t)n.re)
#endif

#ifdef HAS_BFLOAT16
int mlx_array_item_bfloat16(bfloat16_t *res, const mlx_array arr)
{
    float value;
    NX_POINTER(res);
    if (mlx_array_item_float32(&value, arr))
        return 1;
    uint16_t bits = nx_bf16_from_float(value);
    memcpy(res, &bits, sizeof bits);
    return 0;
}
#endif

/* The first element in memory, NULL where the array is not evaluated. */
static const void *data(mlx_array arr, const char *function)
{
    if (!arr.ctx) {
        nx_report_empty(function, "arr");
        return NULL;
    }
    const nx_array *a = ((nx_handle *)arr.ctx)->array;
    if (!nx_array_is_scheduled(a))
        return NULL;
    const char *first = nx_array_host(a);
    if (!first && a->data) /* an empty array of the caller's may have no memory at all */
        nx_report();
    return first;
}

#define DATA(name, type)                                                                           \
    const type *mlx_array_data_##name(const mlx_array arr)                                         \
    {                                                                                              \
        return data(arr, __func__);                                                                \
    }
DATA(bool, bool)
DATA(uint8, uint8_t)
DATA(uint16, uint16_t)
DATA(uint32, uint32_t)
DATA(uint64, uint64_t)
DATA(int8, int8_t)
DATA(int16, int16_t)
DATA(int32, int32_t)
DATA(int64, int64_t)
DATA(float32, float)
DATA(float64, double)
DATA(complex64, mlx_complex64_t)
#ifdef HAS_FLOAT16
DATA(float16, float16_t)
#endif
#ifdef HAS_BFLOAT16
DATA(bfloat16, bfloat16_t)
#endif
