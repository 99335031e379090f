/*
 * function.h: a function of arrays, as transforms take it: a pointer and what it is called with.
 */
#ifndef NX_GRAPH_FUNCTION_H
#define NX_GRAPH_FUNCTION_H

#include "engine/core/array.h"

typedef struct {
    /* Appends its outputs, owned by the build scope, to out; false after nx_fail. */
    bool (*call)(void *self, nx_array *const *in, size_t n, nx_array_vec *out);
    void *self;
} nx_function;

static inline bool nx_function_call(nx_function f, nx_array *const *in, size_t n, nx_array_vec *out)
{
    return f.call(f.self, in, n, out);
}

#endif
