/*
 * elementwise.h: builders of operations that go element by element. Inputs are broadcast and
 * promoted as MLX does; results belong to the build scope (core/scope.h). A NULL input gives NULL.
 */
#ifndef NX_OPS_ELEMENTWISE_H
#define NX_OPS_ELEMENTWISE_H

#include "engine/core/array.h"

nx_array *nx_copy(nx_array *a, nx_stream *s);
nx_array *nx_astype(nx_array *a, nx_dtype dtype, nx_stream *s);

/* Arithmetic that keeps the type (abs of complex: float32). */
nx_array *nx_abs(nx_array *a, nx_stream *s);
nx_array *nx_negative(nx_array *a, nx_stream *s); /* not of bool */
nx_array *nx_sign(nx_array *a, nx_stream *s);
nx_array *nx_square(nx_array *a, nx_stream *s);
nx_array *nx_ceil(nx_array *a, nx_stream *s); /* ceil, floor: not of complex */
nx_array *nx_floor(nx_array *a, nx_stream *s);
/* To `decimals` decimal places; ties to even. */
nx_array *nx_round(nx_array *a, int decimals, nx_stream *s);
nx_array *nx_conjugate(nx_array *a, nx_stream *s);
nx_array *nx_real(nx_array *a, nx_stream *s);
nx_array *nx_imag(nx_array *a, nx_stream *s);
nx_array *nx_bitwise_invert(nx_array *a, nx_stream *s); /* integers and bool */
nx_array *nx_logical_not(nx_array *a, nx_stream *s);    /* bool */

/* Functions of inexact numbers: integers and bool become float32. */
nx_array *nx_sqrt(nx_array *a, nx_stream *s);
nx_array *nx_rsqrt(nx_array *a, nx_stream *s);
nx_array *nx_reciprocal(nx_array *a, nx_stream *s);
nx_array *nx_exp(nx_array *a, nx_stream *s);
nx_array *nx_expm1(nx_array *a, nx_stream *s);
nx_array *nx_ln(nx_array *a, nx_stream *s);
nx_array *nx_log2(nx_array *a, nx_stream *s);
nx_array *nx_log10(nx_array *a, nx_stream *s);
nx_array *nx_log1p(nx_array *a, nx_stream *s);
nx_array *nx_sin(nx_array *a, nx_stream *s);
nx_array *nx_cos(nx_array *a, nx_stream *s);
nx_array *nx_tan(nx_array *a, nx_stream *s);
nx_array *nx_arcsin(nx_array *a, nx_stream *s);
nx_array *nx_arccos(nx_array *a, nx_stream *s);
nx_array *nx_arctan(nx_array *a, nx_stream *s);
nx_array *nx_sinh(nx_array *a, nx_stream *s);
nx_array *nx_cosh(nx_array *a, nx_stream *s);
nx_array *nx_tanh(nx_array *a, nx_stream *s);
nx_array *nx_arcsinh(nx_array *a, nx_stream *s);
nx_array *nx_arccosh(nx_array *a, nx_stream *s);
nx_array *nx_arctanh(nx_array *a, nx_stream *s);
nx_array *nx_erf(nx_array *a, nx_stream *s);    /* erf, erfinv: not of complex */
nx_array *nx_erfinv(nx_array *a, nx_stream *s);
nx_array *nx_sigmoid(nx_array *a, nx_stream *s);
nx_array *nx_degrees(nx_array *a, nx_stream *s);
nx_array *nx_radians(nx_array *a, nx_stream *s);

/* Of two numbers, in the type both promote to. */
nx_array *nx_add(nx_array *a, nx_array *b, nx_stream *s);
nx_array *nx_subtract(nx_array *a, nx_array *b, nx_stream *s);
nx_array *nx_multiply(nx_array *a, nx_array *b, nx_stream *s);
nx_array *nx_divide(nx_array *a, nx_array *b, nx_stream *s); /* integers become float32 */
/* Integers: the quotient rounded to zero; others: floor(a / b). Not of complex. */
nx_array *nx_floor_divide(nx_array *a, nx_array *b, nx_stream *s);
/* With the sign of b. */
nx_array *nx_remainder(nx_array *a, nx_array *b, nx_stream *s);
/* The quotient rounded to zero, and the rest with the sign of a. Not of complex. */
bool nx_divmod(nx_array *a, nx_array *b, nx_stream *s, nx_array **out);
nx_array *nx_power(nx_array *a, nx_array *b, nx_stream *s);
nx_array *nx_maximum(nx_array *a, nx_array *b, nx_stream *s); /* NaN wins */
nx_array *nx_minimum(nx_array *a, nx_array *b, nx_stream *s);
nx_array *nx_arctan2(nx_array *a, nx_array *b, nx_stream *s);
nx_array *nx_logaddexp(nx_array *a, nx_array *b, nx_stream *s);
nx_array *nx_bitwise_and(nx_array *a, nx_array *b, nx_stream *s); /* integers and bool */
nx_array *nx_bitwise_or(nx_array *a, nx_array *b, nx_stream *s);
nx_array *nx_bitwise_xor(nx_array *a, nx_array *b, nx_stream *s);
nx_array *nx_left_shift(nx_array *a, nx_array *b, nx_stream *s); /* bool becomes uint8 */
nx_array *nx_right_shift(nx_array *a, nx_array *b, nx_stream *s);

/* Comparisons and logic: bool. */
nx_array *nx_equal(nx_array *a, nx_array *b, nx_stream *s);
nx_array *nx_equal_nan(nx_array *a, nx_array *b, nx_stream *s); /* NaN equals NaN */
nx_array *nx_not_equal(nx_array *a, nx_array *b, nx_stream *s);
nx_array *nx_greater(nx_array *a, nx_array *b, nx_stream *s);
nx_array *nx_greater_equal(nx_array *a, nx_array *b, nx_stream *s);
nx_array *nx_less(nx_array *a, nx_array *b, nx_stream *s);
nx_array *nx_less_equal(nx_array *a, nx_array *b, nx_stream *s);
nx_array *nx_logical_and(nx_array *a, nx_array *b, nx_stream *s);
nx_array *nx_logical_or(nx_array *a, nx_array *b, nx_stream *s);
nx_array *nx_isnan(nx_array *a, nx_stream *s);
nx_array *nx_isinf(nx_array *a, nx_stream *s);
nx_array *nx_isfinite(nx_array *a, nx_stream *s);
nx_array *nx_isposinf(nx_array *a, nx_stream *s);
nx_array *nx_isneginf(nx_array *a, nx_stream *s);
nx_array *nx_isclose(nx_array *a, nx_array *b, double rtol, double atol, bool equal_nan, nx_stream *s);

/* when ? a : b */
nx_array *nx_where(nx_array *when, nx_array *a, nx_array *b, nx_stream *s);
/* Either limit may be NULL, not both. */
nx_array *nx_clip(nx_array *a, nx_array *min, nx_array *max, nx_stream *s);
/* NULL posinf or neginf: the type's largest and smallest number. */
nx_array *nx_nan_to_num(nx_array *a, float nan, const float *posinf, const float *neginf,
                        nx_stream *s);

/* The same bytes as another type; the last axis grows or shrinks by the sizes of the types. */
nx_array *nx_view_as(nx_array *a, nx_dtype dtype, nx_stream *s);
/* Real floats to bytes of sign, 4 bits of exponent, 3 of fraction (largest 448) and back. */
nx_array *nx_to_fp8(nx_array *a, nx_stream *s);
nx_array *nx_from_fp8(nx_array *a, nx_dtype dtype, nx_stream *s);
nx_array *nx_stop_gradient(nx_array *a, nx_stream *s);
/* The product of the sizes of the axes (inverted: 1 over it) as a scalar. */
nx_array *nx_number_of_elements(nx_array *a, const int *axes, int n, bool inverted, nx_dtype dtype,
                                nx_stream *s);

#endif
