/*
 * closure.h: what is behind the handles of functions: a counted closure, which copies of a handle
 * share, in a cell that stays in place while mlx_closure_set changes what it refers to.
 */
#ifndef NX_CAPI_CLOSURE_H
#define NX_CAPI_CLOSURE_H

#include "engine/capi/objects.h"
#include "engine/graph/custom.h"

typedef struct {
    _Atomic int refs;
    void (*plain)(void);        /* the function, of its kind's type; NULL where it has a payload */
    void (*with_payload)(void); /* the same with the payload as last parameter */
    void *payload;
    void (*dtor)(void *); /* called once with payload, may be NULL */
} nx_closure;

/* What a function of ours returns that left its message by nx_fail, so that nobody writes over it. */
enum { NX_CLOSURE_FAILED = 0x4e58 };

typedef struct {
    nx_closure *closure;
} nx_closure_cell;

nx_closure *nx_closure_ref(nx_closure *c);
void nx_closure_unref(nx_closure **c);

/* The engine's way to call a mlx_closure: outputs of fun(in), owned by the build scope, appended to
 * out. False after nx_fail. */
bool nx_closure_call(nx_closure *c, nx_array *const *in, size_t n, nx_array_vec *out);

/* The same of a closure that takes the last n_names inputs by name. */
bool nx_closure_call_kwargs(nx_closure *c, nx_array *const *in, size_t n, const char *const *names,
                            size_t n_names, nx_array_vec *out);

/* The same for the rules of custom functions (graph/custom.h says what they mean). */
bool nx_closure_call_vjp(nx_closure *c, nx_array *const *primals, size_t n,
                         nx_array *const *cotangents, nx_array *const *outputs, size_t n_out,
                         nx_array_vec *out);
bool nx_closure_call_jvp(nx_closure *c, nx_array *const *primals, size_t n,
                         nx_array *const *tangents, const int *argnums, size_t n_tangents,
                         nx_array_vec *out);
bool nx_closure_call_vmap(nx_closure *c, nx_array *const *in, const int *axes, size_t n,
                          nx_array_vec *out, nx_int_list *out_axes);

/* A handle of any kind for a new closure whose function, of its kind's type with a payload, is ours. */
nx_closure_cell *nx_closure_cell_new(void (*with_payload)(void), void *payload,
                                     void (*dtor)(void *));
/* Makes the handle behind ctx refer to it; takes the cell. */
void nx_closure_give(void **ctx, nx_closure_cell *take);
/* As a function of graph/function.h. */
nx_function nx_closure_function(nx_closure *c);

#endif
