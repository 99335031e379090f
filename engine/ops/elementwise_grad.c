/*
 * elementwise_grad.c: derivatives of the elementwise primitives: the rules that the last columns of
 * elementwise.def spell, and the words they are spelled in.
 */
#include "engine/ops/elementwise_grad.h"

#include "engine/ops/elementwise.h"
#include "engine/ops/params.h"

#define zero          nx_array_none()
#define num(v)        nx_scalar(v, (nx_dtype)x->dtype)
#define by(d)         nx_multiply(g, d, s)
#define over(d)       nx_divide(g, d, s)
#define by_conj(d)    by(nx_conjugate(d, s))
#define over_conj(d)  over(nx_conjugate(d, s))
#define as_g(a)       nx_astype(a, (nx_dtype)g->dtype, s)
#define complex(a)    nx_astype(a, NX_COMPLEX64, s)
#define conj(a)       nx_conjugate(a, s)
#define neg(a)        nx_negative(a, s)
#define sign(a)       nx_sign(a, s)
#define square(a)     nx_square(a, s)
#define rsqrt(a)      nx_rsqrt(a, s)
#define exp(a)        nx_exp(a, s)
#define log(a)        nx_ln(a, s)
#define sin(a)        nx_sin(a, s)
#define cos(a)        nx_cos(a, s)
#define sinh(a)       nx_sinh(a, s)
#define cosh(a)       nx_cosh(a, s)
#define sigmoid(a)    nx_sigmoid(a, s)
#define add(a, b)     nx_add(a, b, s)
#define sub(a, b)     nx_subtract(a, b, s)
#define mul(a, b)     nx_multiply(a, b, s)
#define div(a, b)     nx_divide(a, b, s)
#define power(a, b)   nx_power(a, b, s)
#define equal(a, b)   nx_equal(a, b, s)
#define greater(a, b) nx_greater(a, b, s)
#define less(a, b)    nx_less(a, b, s)
#define greater_eq(a, b)  nx_greater_equal(a, b, s)
#define less_eq(a, b)     nx_less_equal(a, b, s)
#define floor_div(a, b)   nx_floor_divide(a, b, s)
#define where(c, a, b)    nx_where(c, a, b, s)

#define NX_ELEM1(name, result, types, ints, floats, complexes, dx)                                \
    bool nx_vjp_##name(nx_node *n, nx_array *const *gs, const bool *wanted, nx_array **out)        \
    {                                                                                              \
        nx_stream *s = n->stream;                                                                  \
        nx_array *x = n->in[0], *r = &n->out[0], *g = gs[0];                                       \
        (void)x, (void)r, (void)g, (void)s;                                                        \
        out[0] = dx;                                                                               \
        return true;                                                                               \
    }                                                                                              \
    bool nx_jvp_##name(nx_node *n, nx_array *const *tangents, nx_array **out)                      \
    {                                                                                              \
        return nx_vjp_##name(n, tangents, NULL, out);                                              \
    }
#define NX_ELEM2(name, result, types, ints, floats, complexes, dx, dy)                            \
    bool nx_vjp_##name(nx_node *n, nx_array *const *gs, const bool *wanted, nx_array **out)        \
    {                                                                                              \
        nx_stream *s = n->stream;                                                                  \
        nx_array *x = n->in[0], *y = n->in[1], *r = &n->out[0], *g = gs[0];                        \
        (void)x, (void)y, (void)r, (void)g, (void)s;                                               \
        if (wanted[0])                                                                             \
            out[0] = dx;                                                                           \
        if (wanted[1])                                                                             \
            out[1] = dy;                                                                           \
        return true;                                                                               \
    }
#include "engine/ops/elementwise.def"

bool nx_vjp_Log(nx_node *n, nx_array *const *gs, const bool *wanted, nx_array **out)
{
    static const double scale[] = {
        [NX_LOG_2] = 1.4426950408889634, [NX_LOG_10] = 0.4342944819032518, [NX_LOG_E] = 1};
    int base = ((const nx_log_params *)n->params)->base;
    nx_stream *s = n->stream;
    nx_array *x = n->in[0], *g = gs[0];
    out[0] = over(x);
    if (base != NX_LOG_E)
        out[0] = mul(out[0], num(scale[base]));
    return true;
}

bool nx_jvp_Log(nx_node *n, nx_array *const *tangents, nx_array **out)
{
    return nx_vjp_Log(n, tangents, NULL, out);
}

bool nx_vjp_zero(nx_node *n, nx_array *const *gs, const bool *wanted, nx_array **out)
{
    for (int i = 0; i < n->n_in; i++)
        if (wanted[i])
            out[i] = zero;
    return true;
}
