/*
 * reduce.c: elements and how they combine. MPI has no half types, no sum of booleans, no order of
 * complex numbers, and its maximum may lose a NaN: those are ours. Halves are added in float32 and
 * rounded at each step.
 */
#include <math.h>
#include <stdbool.h>

#include "engine/core/half.h"
#include "engine/dist/mpi/mpi.h"

typedef struct {
    float re, im;
} complex64;

static MPI_Datatype types[NX_DTYPE_COUNT];
static MPI_Op ops[3];

enum { OURS_SUM = NX_HALVES | NX_BOOLS, OURS_ORDER = NX_INEXACT | NX_BOOLS };

/* in and inout of n elements: inout[i] = expression of a (inout's) and b (in's). */
#define COMBINE(type, expression)                                                                  \
    do {                                                                                           \
        const type *from = in;                                                                     \
        type *to = inout;                                                                          \
        for (int i = 0; i < n; i++) {                                                              \
            type a = to[i], b = from[i];                                                           \
            to[i] = (expression);                                                                  \
        }                                                                                          \
    } while (0)

#define LARGER(a, b)  (isnan(a) || (a) > (b) ? (a) : (b))
#define SMALLER(a, b) (isnan(a) || (a) < (b) ? (a) : (b))

static float half_larger(float a, float b)
{
    return LARGER(a, b);
}

static float half_smaller(float a, float b)
{
    return SMALLER(a, b);
}

/* By real part, then by imaginary part. */
static bool complex_less(complex64 a, complex64 b)
{
    return a.re < b.re || (a.re == b.re && a.im < b.im);
}

static bool complex_is_nan(complex64 a)
{
    return isnan(a.re) || isnan(a.im);
}

#define F16(expression)  nx_half_from_float(expression)
#define BF16(expression) nx_bf16_from_float(expression)
#define FA16             nx_half_to_float(a)
#define FB16             nx_half_to_float(b)
#define FABF             nx_bf16_to_float(a)
#define FBBF             nx_bf16_to_float(b)

static void combine_sum(nx_dtype t, const void *in, void *inout, int n)
{
    if (t == NX_BOOL)
        COMBINE(uint8_t, a | b);
    else if (t == NX_FLOAT16)
        COMBINE(uint16_t, F16(FA16 + FB16));
    else if (t == NX_BFLOAT16)
        COMBINE(uint16_t, BF16(FABF + FBBF));
}

static void combine_max(nx_dtype t, const void *in, void *inout, int n)
{
    if (t == NX_BOOL)
        COMBINE(uint8_t, a | b);
    else if (t == NX_FLOAT16)
        COMBINE(uint16_t, F16(half_larger(FA16, FB16)));
    else if (t == NX_BFLOAT16)
        COMBINE(uint16_t, BF16(half_larger(FABF, FBBF)));
    else if (t == NX_FLOAT32)
        COMBINE(float, LARGER(a, b));
    else if (t == NX_FLOAT64)
        COMBINE(double, LARGER(a, b));
    else if (t == NX_COMPLEX64)
        COMBINE(complex64, complex_is_nan(a) || (!complex_is_nan(b) && complex_less(b, a)) ? a : b);
}

static void combine_min(nx_dtype t, const void *in, void *inout, int n)
{
    if (t == NX_BOOL)
        COMBINE(uint8_t, a & b);
    else if (t == NX_FLOAT16)
        COMBINE(uint16_t, F16(half_smaller(FA16, FB16)));
    else if (t == NX_BFLOAT16)
        COMBINE(uint16_t, BF16(half_smaller(FABF, FBBF)));
    else if (t == NX_FLOAT32)
        COMBINE(float, SMALLER(a, b));
    else if (t == NX_FLOAT64)
        COMBINE(double, SMALLER(a, b));
    else if (t == NX_COMPLEX64)
        COMBINE(complex64, complex_is_nan(a) || (!complex_is_nan(b) && complex_less(a, b)) ? a : b);
}

static nx_dtype dtype_of(MPI_Datatype type)
{
    int t = 0;
    while (t < NX_DTYPE_COUNT - 1 && types[t] != type)
        t++;
    return (nx_dtype)t;
}

#define MPI_OPERATION(name)                                                                        \
    static void op_##name(void *in, void *inout, int *n, MPI_Datatype *type)                       \
    {                                                                                              \
        combine_##name(dtype_of(*type), in, inout, *n);                                            \
    }
MPI_OPERATION(sum)
MPI_OPERATION(max)
MPI_OPERATION(min)

static int own_type(MPI_Datatype *type, MPI_Datatype of)
{
    int code = MPI_Type_contiguous(1, of, type);
    return code ? code : MPI_Type_commit(type);
}

int nx_mpi_types_make(void)
{
    const MPI_Datatype known[NX_DTYPE_COUNT] = {
        [NX_BOOL] = MPI_DATATYPE_NULL,    [NX_UINT8] = MPI_UINT8_T,
        [NX_UINT16] = MPI_UINT16_T,       [NX_UINT32] = MPI_UINT32_T,
        [NX_UINT64] = MPI_UINT64_T,       [NX_INT8] = MPI_INT8_T,
        [NX_INT16] = MPI_INT16_T,         [NX_INT32] = MPI_INT32_T,
        [NX_INT64] = MPI_INT64_T,         [NX_FLOAT16] = MPI_DATATYPE_NULL,
        [NX_FLOAT32] = MPI_FLOAT,         [NX_FLOAT64] = MPI_DOUBLE,
        [NX_BFLOAT16] = MPI_DATATYPE_NULL, [NX_COMPLEX64] = MPI_C_FLOAT_COMPLEX,
    };
    for (int t = 0; t < NX_DTYPE_COUNT; t++)
        types[t] = known[t];
    int code = own_type(&types[NX_BOOL], MPI_UINT8_T);
    code = code ? code : own_type(&types[NX_FLOAT16], MPI_UINT16_T);
    code = code ? code : own_type(&types[NX_BFLOAT16], MPI_UINT16_T);
    code = code ? code : MPI_Op_create(op_sum, 1, &ops[NX_COMBINE_SUM]);
    code = code ? code : MPI_Op_create(op_max, 1, &ops[NX_COMBINE_MAX]);
    return code ? code : MPI_Op_create(op_min, 1, &ops[NX_COMBINE_MIN]);
}

MPI_Datatype nx_mpi_type(nx_dtype t)
{
    return types[t];
}

MPI_Op nx_mpi_op(nx_combine c, nx_dtype t)
{
    if (nx_dtype_in(t, c == NX_COMBINE_SUM ? OURS_SUM : OURS_ORDER))
        return ops[c];
    return c == NX_COMBINE_SUM ? MPI_SUM : c == NX_COMBINE_MAX ? MPI_MAX : MPI_MIN;
}
