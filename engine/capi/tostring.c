/*
 * array.h: arrays as text, in MLX's form:
 *
 *     array([[0, 1, 2, ..., 7, 8, 9],
 *            [10, 11, 12, ..., 17, 18, 19]], dtype=int32)
 *
 * A dimension of more than 6 shows its first and last 3. Numbers have 6 significant digits.
 */
#include <inttypes.h>
#include <math.h>

#include "engine/capi/objects.h"
#include "engine/core/eval.h"
#include "engine/core/half.h"

enum { SHOWN_WHOLE = 6, SHOWN_AT_EDGE = 3 };

static void complex_put(nx_str *out, float re, float im)
{
    nx_str_printf(out, "%g%s%gj", re, im >= 0 || isnan(im) ? "+" : "", im);
}

static void element_put(nx_str *out, const char *p, nx_dtype dtype)
{
    switch (dtype) {
    case NX_BOOL:
        nx_str_puts(out, *p ? "true" : "false");
        break;
    case NX_UINT8:
        nx_str_printf(out, "%u", *(const uint8_t *)p);
        break;
    case NX_UINT16:
        nx_str_printf(out, "%u", *(const uint16_t *)p);
        break;
    case NX_UINT32:
        nx_str_printf(out, "%" PRIu32, *(const uint32_t *)p);
        break;
    case NX_UINT64:
        nx_str_printf(out, "%" PRIu64, *(const uint64_t *)p);
        break;
    case NX_INT8:
        nx_str_printf(out, "%d", *(const int8_t *)p);
        break;
    case NX_INT16:
        nx_str_printf(out, "%d", *(const int16_t *)p);
        break;
    case NX_INT32:
        nx_str_printf(out, "%" PRId32, *(const int32_t *)p);
        break;
    case NX_INT64:
        nx_str_printf(out, "%" PRId64, *(const int64_t *)p);
        break;
    case NX_FLOAT16:
        nx_str_printf(out, "%g", nx_half_to_float(*(const uint16_t *)p));
        break;
    case NX_BFLOAT16:
        nx_str_printf(out, "%g", nx_bf16_to_float(*(const uint16_t *)p));
        break;
    case NX_FLOAT32:
        nx_str_printf(out, "%g", *(const float *)p);
        break;
    case NX_FLOAT64:
        nx_str_printf(out, "%g", *(const double *)p);
        break;
    case NX_COMPLEX64:
        complex_put(out, ((const float *)p)[0], ((const float *)p)[1]);
        break;
    case NX_DTYPE_COUNT:
        break;
    }
}

/* The part of the array below index positions of the first `axis` dimensions; p is its first
 * element. Recursion is as deep as the array has dimensions (at most NX_MAX_NDIM). */
static void dimension_put(nx_str *out, const nx_array *a, int axis, const char *p)
{
    if (axis == a->ndim) {
        element_put(out, p, (nx_dtype)a->dtype);
        return;
    }
    int n = a->shape[axis], indent = (int)sizeof "array(" + axis;
    bool innermost = axis == a->ndim - 1, shortened = n > SHOWN_WHOLE;
    int64_t step = a->strides[axis] * (int64_t)nx_dtype_size((nx_dtype)a->dtype);
    nx_str_putc(out, '[');
    for (int i = 0; i < n; i++) {
        if (shortened && i == SHOWN_AT_EDGE) {
            i = n - SHOWN_AT_EDGE;
            if (innermost)
                nx_str_puts(out, ", ...");
            else
                nx_str_printf(out, ",\n%*s...", indent, "");
        }
        if (i > 0 && innermost)
            nx_str_puts(out, ", ");
        else if (i > 0)
            nx_str_printf(out, ",\n%*s", indent, "");
        dimension_put(out, a, axis + 1, p + i * step);
    }
    nx_str_putc(out, ']');
}

int mlx_array_tostring(mlx_string *str, const mlx_array arr)
{
    NX_SCOPE;
    nx_array *a = NX_ARRAY(arr);
    NX_POINTER(str);
    const char *data = nx_eval_one(a) ? nx_array_host(a) : NULL;
    if (!data)
        return nx_report();
    nx_str out = {0};
    nx_str_puts(&out, "array(");
    dimension_put(&out, a, 0, data);
    nx_str_printf(&out, ", dtype=%s)", nx_dtype_name((nx_dtype)a->dtype));
    nx_string_give(str, &out);
    return 0;
}
