/*
 * array.h: arrays and nodes: the lazy graph.
 *
 * An array is one output of a node. A node is an operation with its inputs, or (prim NULL) just
 * memory. Node, outputs, inputs, parameters, shapes and strides are one allocation. References:
 * an array counts who holds it; a node counts its outputs that are still held. Freeing is a loop,
 * so a chain of a million nodes neither overflows the stack nor is slow.
 *
 * States: lazy -> scheduled (laid out, memory assigned, work queued) -> done when the stream says
 * so. After scheduling, a node lets its inputs go. Shape and dtype never change; data, strides and
 * flags are written once, by the evaluator, before `state` says scheduled.
 */
#ifndef NX_CORE_ARRAY_H
#define NX_CORE_ARRAY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/vec.h"
#include "engine/core/buffer.h"
#include "engine/core/stream.h"
#include "engine/core/view.h"

typedef struct nx_prim nx_prim;
typedef struct nx_node nx_node;
typedef struct nx_array nx_array;

enum { /* layout flags, valid once scheduled (before: those of a row-major array) */
    NX_ROW_CONTIGUOUS = 1,
    NX_COL_CONTIGUOUS = 2,
    NX_DENSE = 4, /* no gaps, no repeats, in some order of the dimensions */
};

struct nx_array {
    _Atomic int refs;
    uint8_t dtype; /* nx_dtype */
    uint8_t flags;
    uint16_t index; /* which output of its node */
    int ndim;
    int64_t size; /* elements */
    nx_node *node;
    int *shape;       /* [ndim] */
    int64_t *strides; /* [ndim], in elements */
    nx_buffer *buffer; /* NULL while lazy */
    char *data;        /* first element, inside buffer */
};

typedef enum { NX_LAZY, NX_SCHEDULED } nx_state;

struct nx_node {
    _Atomic int refs;
    _Atomic uint8_t state; /* nx_state */
    uint8_t traced; /* it stands, or depends on one that stands, for an input of a transform */
    uint16_t n_out;
    int n_in;
    const nx_prim *prim; /* NULL: a leaf */
    nx_array **in;
    void *params;
    nx_stream *stream;   /* where it is to run */
    nx_stream *ready_on; /* its data are there when task ready_seq of ready_on is done; */
    uint64_t ready_seq;  /* 0: they are there already */
    uint64_t mark; /* of the walk that visited it last */
    nx_array out[];
};

/* A list of arrays; whether it holds references, its user says. */
typedef NX_VEC(nx_array *) nx_array_vec;

/* How many transforms run on this thread. While one does, what is built on a traced node is traced
 * too, and evaluation keeps the inputs of traced nodes, which the transform has yet to read. */
extern _Thread_local int nx_tracing;
/* What is traced is to serve other sizes too: a count of elements must not become a constant. */
extern _Thread_local bool nx_tracing_any_size;
static inline bool nx_node_keeps_inputs(const nx_node *n)
{
    return n->traced && nx_tracing;
}

/* An output that nobody holds any more may be asked for again while another of its node is held: it
 * holds the node again. */
static inline nx_array *nx_array_ref(nx_array *a)
{
    if (atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed) == 0)
        atomic_fetch_add_explicit(&a->node->refs, 1, memory_order_relaxed);
    return a;
}
void nx_array_unref(nx_array **a); /* NULL inside is fine */

/* Stands for "no array" among a node's inputs (an absent bias); kernels see data NULL. Borrowed;
 * test with nx_array_is_none. */
nx_array *nx_array_none(void);
static inline bool nx_array_is_none(const nx_array *a)
{
    return a == nx_array_none();
}

/*
 * Leaves. All results belong to the build scope of the calling thread, as every builder's do.
 */
/* A row-major array with its own memory, to be filled by the caller through ->data at once. */
nx_array *nx_array_new(const int *shape, int ndim, nx_dtype dtype);
nx_array *nx_array_from_data(const void *data, const int *shape, int ndim, nx_dtype dtype);
/* Over memory of the caller's, given back by dtor(payload) after the last use. */
nx_array *nx_array_wrap(void *data, const int *shape, int ndim, nx_dtype dtype,
                        void (*dtor)(void *), void *payload);
nx_array *nx_scalar_bool(bool v);
nx_array *nx_scalar_int(int v);
nx_array *nx_scalar_float(float v);
/* The value converted to any type. */
nx_array *nx_scalar(double v, nx_dtype dtype);
nx_array *nx_scalar_complex(float re, float im);

static inline int64_t nx_array_nbytes(const nx_array *a)
{
    return a->size * (int64_t)nx_dtype_size((nx_dtype)a->dtype);
}
static inline bool nx_array_is_scheduled(const nx_array *a)
{
    return atomic_load_explicit(&a->node->state, memory_order_acquire) == NX_SCHEDULED;
}
/* Scheduled and its task done: data may be read. */
bool nx_array_is_ready(const nx_array *a);
/* Blocks until ready; the array must be scheduled. False after nx_fail where the work failed. */
bool nx_array_wait(const nx_array *a);

/* For `view` of primitives and the evaluator: makes `a` (an unscheduled output) a view of base's
 * memory, `offset` elements of base's type after base's first element. */
void nx_array_set_view(nx_array *a, const nx_array *base, const int64_t *strides, int64_t offset);
/* Gives `a` its memory; takes the reference to the buffer. strides NULL: row-major. */
void nx_array_set_buffer(nx_array *a, nx_buffer *take, char *data, const int64_t *strides);
nx_view nx_array_view(const nx_array *a);

#endif
