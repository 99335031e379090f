/*
 * elementwise_grad.h: the rules of elementwise primitives, made from the last columns of
 * elementwise.def.
 */
#ifndef NX_OPS_ELEMENTWISE_GRAD_H
#define NX_OPS_ELEMENTWISE_GRAD_H

#include "engine/core/prim.h"

#define NX_VJP(name) \
    bool nx_vjp_##name(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out);
#define NX_JVP(name) bool nx_jvp_##name(nx_node *n, nx_array *const *tangents, nx_array **out);
#define NX_ELEM1(name, ...) NX_VJP(name) NX_JVP(name)
#define NX_ELEM2(name, ...) NX_VJP(name)
#include "engine/ops/elementwise.def"
NX_VJP(Log)
NX_JVP(Log)
NX_VJP(zero) /* no cotangent reaches any input */
#undef NX_VJP
#undef NX_JVP

#endif
