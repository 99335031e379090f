/*
 * compile.h: functions traced once and replayed. A trace is kept by (function, stream, shapeless,
 * constants, shapes and types of the inputs); what it computes twice it computes once, what no output
 * needs it leaves out, what depends on no input it computes at its first run only, and elementwise
 * operations that follow each other run tile by tile, without going through memory in between.
 */
#ifndef NX_GRAPH_COMPILE_H
#define NX_GRAPH_COMPILE_H

#include "engine/graph/function.h"

typedef enum {
    NX_COMPILE_DISABLED,    /* functions are simply called */
    NX_COMPILE_NO_SIMPLIFY, /* traced and replayed as they are */
    NX_COMPILE_NO_FUSE,
    NX_COMPILE_ENABLED,
} nx_compile_mode;

void nx_compile_set_mode(nx_compile_mode mode);

/* f(in) by a trace of f, made now if there is none; the outputs, owned by the build scope, appended
 * to out. Inside another transform f is simply called. shapeless: a trace serves inputs of other
 * sizes too, with as many dimensions. */
bool nx_compile_call(nx_function f, uintptr_t id, bool shapeless, const uint64_t *constants,
                     size_t n_constants, nx_array *const *in, size_t n, nx_array_vec *out);

void nx_compile_erase(uintptr_t id); /* lets the traces of one function go */
void nx_compile_clear(void);         /* all traces */

#endif
