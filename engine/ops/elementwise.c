/*
 * elementwise.c: the primitives of elementwise.def and their builders. Each comes down to unary() or
 * binary(), which convert and broadcast; where nothing is to be converted they make one node.
 */
#include "engine/ops/elementwise.h"

#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/elementwise_grad.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"

/* ---- primitives ------------------------------------------------------------------------------- */

static bool infer_SAME(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    for (int i = 0; i < n_out; i++)
        nx_spec_like(&out[i], in[0], (nx_dtype)in[0]->dtype);
    return true;
}

static bool infer_BOOL(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    nx_spec_like(&out[0], in[0], NX_BOOL);
    return true;
}

static bool infer_REAL(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    nx_spec_like(&out[0], in[0], NX_FLOAT32);
    return true;
}

/* Inputs of one type, for which there are loops, and of one shape. */
static bool rebuild_elementwise(const nx_rebuild *r, nx_array **out)
{
    const nx_array *a = r->in[0];
    for (int i = 0; i < r->n_in; i++) {
        const nx_array *b = r->in[i];
        if (!nx_dtype_in((nx_dtype)b->dtype, r->prim->dtypes))
            return nx_fail("[%s] no such operation on %s", r->prim->name,
                           nx_dtype_name((nx_dtype)b->dtype));
        if (a->dtype != b->dtype || !nx_shape_equal(a->shape, a->ndim, b->shape, b->ndim))
            return nx_fail("[%s] the inputs differ: %s %s and %s %s", r->prim->name,
                           nx_dtype_name((nx_dtype)a->dtype), nx_shape_text(a->shape, a->ndim),
                           nx_dtype_name((nx_dtype)b->dtype), nx_shape_text(b->shape, b->ndim));
    }
    return nx_op_n(r->prim, r->params, r->in, r->n_in, r->s, out, r->n_out);
}

#define TYPES_B   NX_BOOLS
#define TYPES_U   1 << NX_UINT8
#define TYPES_N   NX_INTEGERS
#define TYPES_I   (NX_INTEGERS | NX_BOOLS)
#define TYPES_F   NX_FLOATS
#define TYPES_C   NX_COMPLEXES
#define TYPES_IF  (TYPES_I | NX_FLOATS)
#define TYPES_FC  NX_INEXACT
#define TYPES_IFC NX_ALL_DTYPES
#define PRIM(prim, n, result, types, ...)                                                          \
    const nx_prim nx_prim_##prim = {.name = #prim, .id = NX_PRIM_##prim,                           \
                                    .flags = NX_PRIM_ELEMENTWISE, .infer = infer_##result,         \
                                    .dtypes = TYPES_##types, .least_in = n, .most_in = n,          \
                                    __VA_ARGS__};
/* sqrt and its reciprocal are one class there. */
static const nx_field not_reciprocal[] = {{"recip", NX_FIELD_FALSE, 0}};
static const nx_field reciprocal[] = {{"recip", NX_FIELD_TRUE, 0}};
static const nx_file_form sqrt_form = {"Sqrt", not_reciprocal, 1};
static const nx_file_form rsqrt_form = {"Sqrt", reciprocal, 1};
/* What a row has of its own: OWN_name, two arguments of which the second counts; or nothing. */
#define OWN_Sqrt        ~, .file = &sqrt_form
#define OWN_Rsqrt       ~, .file = &rsqrt_form
#define OWN(prim)       SECOND(OWN_##prim, , ~)
#define SECOND(...)     SECOND_(__VA_ARGS__)
#define SECOND_(a, b, ...) b
/* What is no function of a complex number has its jvp derived (graph/jvp.c). */
#define JVP_SAME(prim) nx_jvp_##prim
#define JVP_REAL(prim) NULL
#define JVP_BOOL(prim) NULL
#define NX_ELEM1(prim, result, types, ...)                                                         \
    PRIM(prim, 1, result, types, .vjp = nx_vjp_##prim, .jvp = JVP_##result(prim),                  \
         .rebuild = rebuild_elementwise, OWN(prim))
#define NX_ELEM2(prim, result, types, ...)                                                         \
    PRIM(prim, 2, result, types, .vjp = nx_vjp_##prim, .rebuild = rebuild_elementwise)
#include "engine/ops/elementwise.def"

static const nx_field log_fields[] = {{"base", NX_FIELD_ENUM, offsetof(nx_log_params, base)}};
static const nx_field equal_fields[] = {
    {"equal_nan", NX_FIELD_BOOL, offsetof(nx_equal_params, equal_nan)}};
static const nx_field bitwise_fields[] = {{"op", NX_FIELD_ENUM, offsetof(nx_bitwise_params, op)}};

static bool rebuild_log(const nx_rebuild *r, nx_array **out)
{
    int base = ((const nx_log_params *)r->params)->base;
    return base >= NX_LOG_2 && base <= NX_LOG_E ? rebuild_elementwise(r, out)
                                                : nx_fail("[log] base %d is none", base);
}

static bool rebuild_bitwise(const nx_rebuild *r, nx_array **out)
{
    int op = ((const nx_bitwise_params *)r->params)->op;
    bool is_shift = op >= NX_BITWISE_LEFT_SHIFT;
    if (op < NX_BITWISE_AND || op > NX_BITWISE_RIGHT_SHIFT || (is_shift && r->in[0]->dtype == NX_BOOL))
        return nx_fail("[bitwise] operation %d is none", op);
    return rebuild_elementwise(r, out);
}

static bool rebuild_divmod(const nx_rebuild *r, nx_array **out)
{
    return r->n_out == 2 ? rebuild_elementwise(r, out)
                         : nx_fail("[divmod] %d results, there are two", r->n_out);
}

#define PARAMS(type, f) .params_size = sizeof(type), .fields = f, .n_fields = 1
PRIM(Log, 1, SAME, FC, PARAMS(nx_log_params, log_fields), .vjp = nx_vjp_Log, .jvp = nx_jvp_Log,
     .rebuild = rebuild_log)
PRIM(Equal, 2, BOOL, IFC, PARAMS(nx_equal_params, equal_fields), .vjp = nx_vjp_zero,
     .rebuild = rebuild_elementwise)
PRIM(BitwiseBinary, 2, SAME, I, PARAMS(nx_bitwise_params, bitwise_fields), .vjp = nx_vjp_zero,
     .rebuild = rebuild_bitwise)
PRIM(DivMod, 2, SAME, IF, .vjp = nx_vjp_zero, .rebuild = rebuild_divmod)

/* ---- one input ---------------------------------------------------------------------------------- */

static nx_array *unary(const nx_prim *p, nx_array *a, nx_stream *s)
{
    return nx_op(p, NULL, &a, 1, s);
}

static bool is_kind(const nx_array *a, unsigned kinds)
{
    return nx_dtype_in((nx_dtype)a->dtype, kinds);
}

static nx_array *floating(nx_array *a, nx_stream *s)
{
    return a ? nx_astype(a, nx_at_least_float((nx_dtype)a->dtype), s) : NULL;
}

#define KEEPS_TYPE(builder, prim)                 \
    nx_array *builder(nx_array *a, nx_stream *s)  \
    {                                             \
        return unary(&nx_prim_##prim, a, s);      \
    }
KEEPS_TYPE(nx_sign, Sign)
KEEPS_TYPE(nx_square, Square)

#define OF_INEXACT(builder, prim)                        \
    nx_array *builder(nx_array *a, nx_stream *s)         \
    {                                                    \
        return unary(&nx_prim_##prim, floating(a, s), s); \
    }
OF_INEXACT(nx_sqrt, Sqrt)
OF_INEXACT(nx_rsqrt, Rsqrt)
OF_INEXACT(nx_exp, Exp)
OF_INEXACT(nx_expm1, Expm1)
OF_INEXACT(nx_log1p, Log1p)
OF_INEXACT(nx_sin, Sin)
OF_INEXACT(nx_cos, Cos)
OF_INEXACT(nx_tan, Tan)
OF_INEXACT(nx_arcsin, ArcSin)
OF_INEXACT(nx_arccos, ArcCos)
OF_INEXACT(nx_arctan, ArcTan)
OF_INEXACT(nx_sinh, Sinh)
OF_INEXACT(nx_cosh, Cosh)
OF_INEXACT(nx_tanh, Tanh)
OF_INEXACT(nx_arcsinh, ArcSinh)
OF_INEXACT(nx_arccosh, ArcCosh)
OF_INEXACT(nx_arctanh, ArcTanh)
OF_INEXACT(nx_sigmoid, Sigmoid)

static nx_array *log_of(nx_array *a, nx_log_base base, nx_stream *s)
{
    nx_log_params p = {base};
    a = floating(a, s);
    return nx_op(&nx_prim_Log, &p, &a, 1, s);
}

nx_array *nx_ln(nx_array *a, nx_stream *s)
{
    return log_of(a, NX_LOG_E, s);
}

nx_array *nx_log2(nx_array *a, nx_stream *s)
{
    return log_of(a, NX_LOG_2, s);
}

nx_array *nx_log10(nx_array *a, nx_stream *s)
{
    return log_of(a, NX_LOG_10, s);
}

nx_array *nx_abs(nx_array *a, nx_stream *s)
{
    if (!a || is_kind(a, NX_UNSIGNED | NX_BOOLS))
        return a;
    nx_array *r = unary(&nx_prim_Abs, a, s);
    return a->dtype == NX_COMPLEX64 ? nx_astype(r, NX_FLOAT32, s) : r;
}

nx_array *nx_negative(nx_array *a, nx_stream *s)
{
    if (a && a->dtype == NX_BOOL)
        return nx_fail_null("[negative] Not supported for bool, use logical_not instead.");
    return unary(&nx_prim_Negative, a, s);
}

static nx_array *refuse_complex(nx_array *a, const char *name)
{
    if (a && a->dtype == NX_COMPLEX64)
        return nx_fail_null("[%s] Not supported for complex64.", name);
    return a;
}

nx_array *nx_erf(nx_array *a, nx_stream *s)
{
    return unary(&nx_prim_Erf, floating(refuse_complex(a, "erf"), s), s);
}

nx_array *nx_erfinv(nx_array *a, nx_stream *s)
{
    return unary(&nx_prim_ErfInv, floating(refuse_complex(a, "erfinv"), s), s);
}

nx_array *nx_ceil(nx_array *a, nx_stream *s)
{
    a = refuse_complex(a, "ceil");
    return a && is_kind(a, NX_INEXACT) ? unary(&nx_prim_Ceil, a, s) : a;
}

nx_array *nx_floor(nx_array *a, nx_stream *s)
{
    a = refuse_complex(a, "floor");
    return a && is_kind(a, NX_INEXACT) ? unary(&nx_prim_Floor, a, s) : a;
}

nx_array *nx_round(nx_array *a, int decimals, nx_stream *s)
{
    if (!a || (decimals >= 0 && !is_kind(a, NX_INEXACT)))
        return a;
    if (decimals == 0)
        return unary(&nx_prim_Round, a, s);
    nx_dtype t = nx_at_least_float((nx_dtype)a->dtype);
    float scale = 1;
    decimals = decimals > 60 ? 60 : decimals < -60 ? -60 : decimals; /* infinity and 0 by then */
    for (int i = 0; i < decimals || i < -decimals; i++)
        scale = decimals > 0 ? scale * 10 : scale / 10;
    nx_array *r = nx_round(nx_multiply(a, nx_scalar(scale, t), s), 0, s);
    return nx_astype(nx_multiply(r, nx_scalar(1 / scale, t), s), (nx_dtype)a->dtype, s);
}

nx_array *nx_conjugate(nx_array *a, nx_stream *s)
{
    return a && a->dtype == NX_COMPLEX64 ? unary(&nx_prim_Conjugate, a, s) : a;
}

nx_array *nx_real(nx_array *a, nx_stream *s)
{
    return a && a->dtype == NX_COMPLEX64 ? unary(&nx_prim_Real, a, s) : a;
}

nx_array *nx_imag(nx_array *a, nx_stream *s)
{
    if (a && a->dtype != NX_COMPLEX64)
        return nx_broadcast_to(nx_scalar(0, (nx_dtype)a->dtype), a->shape, a->ndim, s);
    return unary(&nx_prim_Imag, a, s);
}

nx_array *nx_logical_not(nx_array *a, nx_stream *s)
{
    return unary(&nx_prim_LogicalNot, nx_astype(a, NX_BOOL, s), s);
}

nx_array *nx_bitwise_invert(nx_array *a, nx_stream *s)
{
    if (a && is_kind(a, NX_INEXACT))
        return nx_fail_null("[bitwise_invert] Bitwise inverse only allowed on integer types.");
    if (a && a->dtype == NX_BOOL)
        return nx_logical_not(a, s);
    return unary(&nx_prim_BitwiseInvert, a, s);
}

nx_array *nx_degrees(nx_array *a, nx_stream *s)
{
    a = floating(a, s);
    return a ? nx_multiply(a, nx_scalar(57.29577951308232, (nx_dtype)a->dtype), s) : NULL;
}

nx_array *nx_radians(nx_array *a, nx_stream *s)
{
    a = floating(a, s);
    return a ? nx_multiply(a, nx_scalar(0.017453292519943295, (nx_dtype)a->dtype), s) : NULL;
}

nx_array *nx_reciprocal(nx_array *a, nx_stream *s)
{
    a = floating(a, s);
    return a ? nx_divide(nx_scalar(1, (nx_dtype)a->dtype), a, s) : NULL;
}

/* ---- two inputs --------------------------------------------------------------------------------- */

/* Both as type `t` and in one shape, through primitive p with a result of type `out`. */
static nx_array *binary(const nx_prim *p, const void *params, nx_array *a, nx_array *b, nx_dtype t,
                        nx_dtype out, nx_stream *s)
{
    nx_array *in[2] = {nx_astype(a, t, s), nx_astype(b, t, s)};
    if (!nx_shape_equal(a->shape, a->ndim, b->shape, b->ndim) && !nx_broadcast_arrays(in, 2, s))
        return nx_fail_null("[%s] Shapes %s and %s (%s and %s) cannot be broadcast.", p->name,
                            nx_shape_text(a->shape, a->ndim), nx_shape_text(b->shape, b->ndim),
                            nx_dtype_name((nx_dtype)a->dtype), nx_dtype_name((nx_dtype)b->dtype));
    if (!s)
        return nx_fail_null("[%s] no stream to run on", p->name);
    nx_spec spec;
    nx_spec_like(&spec, in[0], out);
    return nx_op_spec(p, params, in, 2, s, &spec);
}

static nx_dtype promoted(const nx_array *a, const nx_array *b)
{
    return nx_promote((nx_dtype)a->dtype, (nx_dtype)b->dtype);
}

static nx_array *arithmetic(const nx_prim *p, nx_array *a, nx_array *b, nx_stream *s)
{
    if (!a || !b)
        return NULL;
    nx_dtype t = promoted(a, b);
    return binary(p, NULL, a, b, t, t, s);
}

static nx_array *inexact(const nx_prim *p, nx_array *a, nx_array *b, nx_stream *s)
{
    if (!a || !b)
        return NULL;
    nx_dtype t = nx_at_least_float(promoted(a, b));
    return binary(p, NULL, a, b, t, t, s);
}

static nx_array *comparison(const nx_prim *p, const void *params, nx_array *a, nx_array *b,
                            nx_stream *s)
{
    return a && b ? binary(p, params, a, b, promoted(a, b), NX_BOOL, s) : NULL;
}

#define OF_TWO(builder, how, prim)                            \
    nx_array *builder(nx_array *a, nx_array *b, nx_stream *s) \
    {                                                         \
        return how(&nx_prim_##prim, a, b, s);                 \
    }
OF_TWO(nx_add, arithmetic, Add)
OF_TWO(nx_subtract, arithmetic, Subtract)
OF_TWO(nx_multiply, arithmetic, Multiply)
OF_TWO(nx_remainder, arithmetic, Remainder)
OF_TWO(nx_power, arithmetic, Power)
OF_TWO(nx_maximum, arithmetic, Maximum)
OF_TWO(nx_minimum, arithmetic, Minimum)
OF_TWO(nx_divide, inexact, Divide)
OF_TWO(nx_arctan2, inexact, ArcTan2)
OF_TWO(nx_logaddexp, inexact, LogAddExp)

#define COMPARES(builder, prim)                                   \
    nx_array *builder(nx_array *a, nx_array *b, nx_stream *s)     \
    {                                                             \
        return comparison(&nx_prim_##prim, NULL, a, b, s);        \
    }
COMPARES(nx_not_equal, NotEqual)
COMPARES(nx_greater, Greater)
COMPARES(nx_greater_equal, GreaterEqual)
COMPARES(nx_less, Less)
COMPARES(nx_less_equal, LessEqual)

nx_array *nx_equal(nx_array *a, nx_array *b, nx_stream *s)
{
    return comparison(&nx_prim_Equal, &(nx_equal_params){false}, a, b, s);
}

nx_array *nx_equal_nan(nx_array *a, nx_array *b, nx_stream *s)
{
    bool can = a && b && nx_dtype_in(promoted(a, b), NX_INEXACT);
    return comparison(&nx_prim_Equal, &(nx_equal_params){can}, a, b, s);
}

nx_array *nx_logical_and(nx_array *a, nx_array *b, nx_stream *s)
{
    return a && b ? binary(&nx_prim_LogicalAnd, NULL, a, b, NX_BOOL, NX_BOOL, s) : NULL;
}

nx_array *nx_logical_or(nx_array *a, nx_array *b, nx_stream *s)
{
    return a && b ? binary(&nx_prim_LogicalOr, NULL, a, b, NX_BOOL, NX_BOOL, s) : NULL;
}

nx_array *nx_floor_divide(nx_array *a, nx_array *b, nx_stream *s)
{
    if (!a || !b)
        return NULL;
    if (nx_dtype_in(promoted(a, b), NX_INEXACT))
        return nx_floor(inexact(&nx_prim_Divide, a, b, s), s);
    return arithmetic(&nx_prim_Divide, a, b, s);
}

bool nx_divmod(nx_array *a, nx_array *b, nx_stream *s, nx_array **out)
{
    if (!a || !b)
        return false;
    nx_dtype t = promoted(a, b);
    if (t == NX_COMPLEX64)
        return nx_fail("[divmod] Complex type not supported.");
    nx_array *in[2] = {nx_astype(a, t, s), nx_astype(b, t, s)};
    return nx_broadcast_arrays(in, 2, s) && nx_op_n(&nx_prim_DivMod, NULL, in, 2, s, out, 2);
}

static nx_array *bitwise(nx_bitwise_op op, const char *name, nx_array *a, nx_array *b, nx_stream *s)
{
    if (!a || !b)
        return NULL;
    nx_dtype t = promoted(a, b);
    if (nx_dtype_in(t, NX_INEXACT))
        return nx_fail_null("[%s] Only allowed on integer or boolean types but got types %s and %s.",
                            name, nx_dtype_name((nx_dtype)a->dtype),
                            nx_dtype_name((nx_dtype)b->dtype));
    if (t == NX_BOOL && op >= NX_BITWISE_LEFT_SHIFT)
        t = NX_UINT8;
    return binary(&nx_prim_BitwiseBinary, &(nx_bitwise_params){op}, a, b, t, t, s);
}

nx_array *nx_bitwise_and(nx_array *a, nx_array *b, nx_stream *s)
{
    return bitwise(NX_BITWISE_AND, "bitwise_and", a, b, s);
}

nx_array *nx_bitwise_or(nx_array *a, nx_array *b, nx_stream *s)
{
    return bitwise(NX_BITWISE_OR, "bitwise_or", a, b, s);
}

nx_array *nx_bitwise_xor(nx_array *a, nx_array *b, nx_stream *s)
{
    return bitwise(NX_BITWISE_XOR, "bitwise_xor", a, b, s);
}

nx_array *nx_left_shift(nx_array *a, nx_array *b, nx_stream *s)
{
    return bitwise(NX_BITWISE_LEFT_SHIFT, "left_shift", a, b, s);
}

nx_array *nx_right_shift(nx_array *a, nx_array *b, nx_stream *s)
{
    return bitwise(NX_BITWISE_RIGHT_SHIFT, "right_shift", a, b, s);
}
