/*
 * closure.h: what is behind the handles of functions: a counted closure, which copies of a handle
 * share, in a cell that stays in place while mlx_closure_set changes what it refers to.
 */
#ifndef NX_CAPI_CLOSURE_H
#define NX_CAPI_CLOSURE_H

#include "engine/capi/objects.h"

typedef struct {
    _Atomic int refs;
    void (*plain)(void);        /* the function, of its kind's type; NULL where it has a payload */
    void (*with_payload)(void); /* the same with the payload as last parameter */
    void *payload;
    void (*dtor)(void *); /* called once with payload, may be NULL */
} nx_closure;

typedef struct {
    nx_closure *closure;
} nx_closure_cell;

nx_closure *nx_closure_ref(nx_closure *c);
void nx_closure_unref(nx_closure **c);

/* The engine's way to call a mlx_closure: outputs of fun(in), owned by the build scope, appended to
 * out. False after nx_fail. */
bool nx_closure_call(nx_closure *c, nx_array *const *in, size_t n, nx_array_vec *out);

#endif
