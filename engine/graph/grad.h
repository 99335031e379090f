/*
 * grad.h: derivatives of functions of arrays. All results are lazy and owned by the build scope.
 */
#ifndef NX_GRAPH_GRAD_H
#define NX_GRAPH_GRAD_H

#include "engine/graph/function.h"

/* values = f(primals); grads[i] = the cotangent of primals[i]. A cotangent belongs to each output
 * but those that are the result of stop_gradient. */
bool nx_vjp(nx_function f, nx_array *const *primals, size_t n_primals, nx_array *const *cotangents,
            size_t n_cotangents, nx_array_vec *values, nx_array_vec *grads);

/* values = f(primals); out[i] = the tangent of values[i] when primals[k] moves by tangents[k]. */
bool nx_jvp(nx_function f, nx_array *const *primals, size_t n_primals, nx_array *const *tangents,
            size_t n_tangents, nx_array_vec *values, nx_array_vec *out);

/* values = f(in); grads[i] = the derivative of values[0], a scalar, by in[argnums[i]]. */
bool nx_value_and_grad(nx_function f, const int *argnums, size_t n_argnums, nx_array *const *in,
                       size_t n_in, nx_array_vec *values, nx_array_vec *grads);

/* The parts, for other transforms. A copy of an array that stands for it as a function's input: */
nx_array *nx_tracer(nx_array *a);
/* From cotangents of `outputs` (NULL: zero) those of `sources`, tracers, into grads[n_sources];
 * nx_array_none() where no output depends on it. border: where the way back ends, or NULL. */
bool nx_pull_back(nx_array *const *sources, size_t n_sources, nx_array *const *outputs,
                  nx_array *const *cotangents, size_t n_outputs, const nx_node *border,
                  nx_array **grads);
/* From tangents of sources those of outputs, likewise. */
bool nx_push_forward(nx_array *const *sources, nx_array *const *tangents, size_t n_sources,
                     nx_array *const *outputs, size_t n_outputs, nx_array **out);

#endif
