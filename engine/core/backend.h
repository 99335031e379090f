/*
 * backend.h: what a backend is: one const struct with a table primitive -> kernel.
 *
 * A kernel fills outputs that the evaluator laid out. It returns no error, allocates nothing and
 * never sees an array, so it can be tested alone. Calls on one stream run in order. A kernel that
 * cannot do its work (a singular matrix) calls nx_task_fail on the thread it was called on.
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

/* Leaves a fault with the stream whose work runs on this thread (stream.h). */
void nx_task_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

typedef struct {
    nx_kernel run;
    size_t (*workspace)(const nx_call *call); /* bytes of scratch; NULL: none. Sees shapes, no data */
} nx_kernel_entry;

/*
 * Memory that the host cannot reach: pointers into it mean something to this back end alone. Moves
 * are queued like kernels, on the queue of the calling thread.
 */
typedef struct {
    void *(*get)(size_t size); /* 64-byte aligned; NULL where there is no more */
    void (*put)(void *p, size_t size);
    void (*fill)(void *to, const void *from, size_t size);  /* from the host's memory */
    void (*fetch)(void *to, const void *from, size_t size); /* to the host's memory */
} nx_memory;

/* A back end has at least a kernel for Copy. What else it lacks is decomposed, or runs on the CPU. */
typedef struct {
    const char *name;
    const nx_kernel_entry *(*kernels)(void); /* the table, indexed by nx_prim_id */
    const char *(*level)(void);              /* which of its kernels are in use: "avx2" */
    int (*threads)(void);                    /* that share the work of one kernel */
    void (*set_threads)(int n);              /* 0: the default again */
    const nx_memory *memory;                 /* NULL: the host's */
    /* Kernels and moves only queue their work: waits until all that this thread queued is done. What
     * a call points to stays until then. NULL: work is done when the kernel returns. */
    void (*drain)(void);
} nx_backend;

#endif
