/*
 * custom.h: functions whose derivatives or batching the caller says himself, and functions that are
 * computed again when differentiated instead of remembering what they computed.
 */
#ifndef NX_GRAPH_CUSTOM_H
#define NX_GRAPH_CUSTOM_H

#include "engine/graph/function.h"

typedef NX_VEC(int) nx_int_list;

/* Counted; the graph keeps it while a derivative may be asked for. A rule that is NULL follows from
 * fun itself. All append to out arrays of the build scope and return false after nx_fail. */
typedef struct {
    _Atomic int refs;
    nx_function fun;
    /* The cotangents of all inputs. */
    bool (*vjp)(void *self, nx_array *const *primals, size_t n, nx_array *const *cotangents,
                nx_array *const *outputs, size_t n_out, nx_array_vec *out);
    /* tangents[i] is that of input argnums[i]; the others do not move. */
    bool (*jvp)(void *self, nx_array *const *primals, size_t n, nx_array *const *tangents,
                const int *argnums, size_t n_tangents, nx_array_vec *out);
    bool (*vmap)(void *self, nx_array *const *in, const int *axes, size_t n, nx_array_vec *out,
                 nx_int_list *out_axes);
    void *self; /* what the rules and, at the end, drop are called with */
    void (*drop)(void *self);
} nx_custom;

nx_custom *nx_custom_new(nx_custom content); /* with one reference */
void nx_custom_unref(nx_custom **c);

/* fun(in), with the rules of c for whatever transform it is under. */
bool nx_custom_call(nx_custom *c, nx_array *const *in, size_t n, nx_array_vec *out);

/* The vjp of a checkpointed function: runs it again on the primals, after the outputs are done. */
bool nx_checkpoint_vjp(nx_function f, nx_array *const *primals, size_t n,
                       nx_array *const *cotangents, nx_array *const *outputs, size_t n_out,
                       nx_array_vec *out);

#endif
