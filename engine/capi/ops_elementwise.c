/* ops.h: element by element: copies, types, arithmetic, comparisons, logic, choosing. */
#include "engine/capi/capi.h"
#include "engine/ops/elementwise.h"

int mlx_astype(mlx_array *res, const mlx_array a, mlx_dtype dtype, const mlx_stream s)
{
    NX_GIVE(nx_astype(NX_ARRAY(a), NX_DTYPE(dtype), NX_STREAM(s)));
}

NX_UNARY(mlx_copy, nx_copy)

/* Arithmetic. */
NX_UNARY(mlx_abs, nx_abs)
NX_UNARY(mlx_negative, nx_negative)
NX_UNARY(mlx_sign, nx_sign)
NX_UNARY(mlx_square, nx_square)
NX_UNARY(mlx_ceil, nx_ceil)
NX_UNARY(mlx_floor, nx_floor)
NX_UNARY(mlx_reciprocal, nx_reciprocal)
NX_BINARY(mlx_add, nx_add)
NX_BINARY(mlx_subtract, nx_subtract)
NX_BINARY(mlx_multiply, nx_multiply)
NX_BINARY(mlx_divide, nx_divide)
NX_BINARY(mlx_floor_divide, nx_floor_divide)
NX_BINARY(mlx_remainder, nx_remainder)
NX_BINARY(mlx_power, nx_power)
NX_BINARY(mlx_maximum, nx_maximum)
NX_BINARY(mlx_minimum, nx_minimum)

int mlx_round(mlx_array *res, const mlx_array a, int decimals, const mlx_stream s)
{
    NX_GIVE(nx_round(NX_ARRAY(a), decimals, NX_STREAM(s)));
}

int mlx_divmod(mlx_vector_array *res, const mlx_array a, const mlx_array b, const mlx_stream s)
{
    NX_SCOPE;
    nx_array *out[2];
    bool ok = nx_divmod(NX_ARRAY(a), NX_ARRAY(b), NX_STREAM(s), out);
    return nx_give_vector(res, ok, out, 2, __func__);
}

int mlx_clip(mlx_array *res, const mlx_array a, const mlx_array a_min, const mlx_array a_max,
             const mlx_stream s)
{
    NX_GIVE(nx_clip(NX_ARRAY(a), NX_ARRAY_OR_NULL(a_min), NX_ARRAY_OR_NULL(a_max), NX_STREAM(s)));
}

/* Roots, exponentials, logarithms. */
NX_UNARY(mlx_sqrt, nx_sqrt)
NX_UNARY(mlx_rsqrt, nx_rsqrt)
NX_UNARY(mlx_exp, nx_exp)
NX_UNARY(mlx_expm1, nx_expm1)
NX_UNARY(mlx_log, nx_ln)
NX_UNARY(mlx_log2, nx_log2)
NX_UNARY(mlx_log10, nx_log10)
NX_UNARY(mlx_log1p, nx_log1p)
NX_UNARY(mlx_erf, nx_erf)
NX_UNARY(mlx_erfinv, nx_erfinv)
NX_UNARY(mlx_sigmoid, nx_sigmoid)
NX_BINARY(mlx_logaddexp, nx_logaddexp)

/* Trigonometry. */
NX_UNARY(mlx_sin, nx_sin)
NX_UNARY(mlx_cos, nx_cos)
NX_UNARY(mlx_tan, nx_tan)
NX_UNARY(mlx_arcsin, nx_arcsin)
NX_UNARY(mlx_arccos, nx_arccos)
NX_UNARY(mlx_arctan, nx_arctan)
NX_UNARY(mlx_sinh, nx_sinh)
NX_UNARY(mlx_cosh, nx_cosh)
NX_UNARY(mlx_tanh, nx_tanh)
NX_UNARY(mlx_arcsinh, nx_arcsinh)
NX_UNARY(mlx_arccosh, nx_arccosh)
NX_UNARY(mlx_arctanh, nx_arctanh)
NX_UNARY(mlx_degrees, nx_degrees)
NX_UNARY(mlx_radians, nx_radians)
NX_BINARY(mlx_arctan2, nx_arctan2)

/* Complex numbers. */
NX_UNARY(mlx_conjugate, nx_conjugate)
NX_UNARY(mlx_real, nx_real)
NX_UNARY(mlx_imag, nx_imag)

/* Comparisons. */
NX_UNARY(mlx_isnan, nx_isnan)
NX_UNARY(mlx_isinf, nx_isinf)
NX_UNARY(mlx_isfinite, nx_isfinite)
NX_UNARY(mlx_isposinf, nx_isposinf)
NX_UNARY(mlx_isneginf, nx_isneginf)
NX_BINARY(mlx_equal, nx_equal)
NX_BINARY(mlx_not_equal, nx_not_equal)
NX_BINARY(mlx_greater, nx_greater)
NX_BINARY(mlx_greater_equal, nx_greater_equal)
NX_BINARY(mlx_less, nx_less)
NX_BINARY(mlx_less_equal, nx_less_equal)

int mlx_isclose(mlx_array *res, const mlx_array a, const mlx_array b, double rtol, double atol,
                bool equal_nan, const mlx_stream s)
{
    NX_GIVE(nx_isclose(NX_ARRAY(a), NX_ARRAY(b), rtol, atol, equal_nan, NX_STREAM(s)));
}

/* Logic and bits. */
NX_UNARY(mlx_logical_not, nx_logical_not)
NX_UNARY(mlx_bitwise_invert, nx_bitwise_invert)
NX_BINARY(mlx_logical_and, nx_logical_and)
NX_BINARY(mlx_logical_or, nx_logical_or)
NX_BINARY(mlx_bitwise_and, nx_bitwise_and)
NX_BINARY(mlx_bitwise_or, nx_bitwise_or)
NX_BINARY(mlx_bitwise_xor, nx_bitwise_xor)
NX_BINARY(mlx_left_shift, nx_left_shift)
NX_BINARY(mlx_right_shift, nx_right_shift)

/* Choosing. */
int mlx_where(mlx_array *res, const mlx_array condition, const mlx_array x, const mlx_array y,
              const mlx_stream s)
{
    NX_GIVE(nx_where(NX_ARRAY(condition), NX_ARRAY(x), NX_ARRAY(y), NX_STREAM(s)));
}

int mlx_nan_to_num(mlx_array *res, const mlx_array a, float nan, mlx_optional_float posinf,
                   mlx_optional_float neginf, const mlx_stream s)
{
    NX_GIVE(nx_nan_to_num(NX_ARRAY(a), nan, posinf.has_value ? &posinf.value : NULL,
                          neginf.has_value ? &neginf.value : NULL, NX_STREAM(s)));
}

/* The same bytes or values under another name. */
int mlx_view(mlx_array *res, const mlx_array a, mlx_dtype dtype, const mlx_stream s)
{
    NX_GIVE(nx_view_as(NX_ARRAY(a), NX_DTYPE(dtype), NX_STREAM(s)));
}

int mlx_from_fp8(mlx_array *res, const mlx_array x, mlx_dtype dtype, const mlx_stream s)
{
    NX_GIVE(nx_from_fp8(NX_ARRAY(x), NX_DTYPE(dtype), NX_STREAM(s)));
}

int mlx_number_of_elements(mlx_array *res, const mlx_array a, const int *axes, size_t axes_num,
                           bool inverted, mlx_dtype dtype, const mlx_stream s)
{
    NX_GIVE(nx_number_of_elements(NX_ARRAY(a), NX_INTS(axes), inverted, NX_DTYPE(dtype),
                                  NX_STREAM(s)));
}

NX_UNARY(mlx_stop_gradient, nx_stop_gradient)

int mlx_to_fp8(mlx_array *res, const mlx_array x, const mlx_stream s)
{
    NX_GIVE(nx_to_fp8(NX_ARRAY(x), NX_STREAM(s)));
}
