/*
 * backend.h: what a backend is: one const struct with a table primitive -> kernel.
 *
 * A kernel fills outputs that the evaluator laid out. It cannot fail, allocates nothing and never
 * sees an array, so it can be tested alone. Calls on one stream run in order.
 */
#ifndef NX_CORE_BACKEND_H
#define NX_CORE_BACKEND_H

#include "engine/core/view.h"

typedef struct {
    const void *params; /* the primitive's parameter struct (ops/params.h), NULL if it has none */
    int n_in, n_out;
    const nx_view *in;  /* an empty optional input has data == NULL and ndim == 0 */
    nx_view *out;
    void *workspace; /* as many bytes as the entry asked for; 64-byte aligned */
} nx_call;

typedef void (*nx_kernel)(const nx_call *call);

typedef struct {
    nx_kernel run;
    size_t (*workspace)(const nx_call *call); /* bytes of scratch; NULL: none. Sees shapes, no data */
} nx_kernel_entry;

typedef struct {
    const char *name;
    const nx_kernel_entry *(*kernels)(void); /* the table, indexed by nx_prim_id */
    const char *(*level)(void);              /* which of its kernels are in use: "avx2" */
    int (*threads)(void);                    /* that share the work of one kernel */
    void (*set_threads)(int n);              /* 0: the default again */
} nx_backend;

#endif
