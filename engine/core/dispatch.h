/*
 * dispatch.h: the evaluator's lower half: calls become tasks of streams, and what they read is where
 * the stream's device can read it. All of it under the evaluator's lock.
 */
#ifndef NX_CORE_DISPATCH_H
#define NX_CORE_DISPATCH_H

#include "engine/core/array.h"

typedef struct {
    nx_stream *claimed; /* work of this stream runs on the calling thread; NULL: of none */
} nx_evaluation;

/* Queues or runs one kernel call. `used` are the buffers it touches (entries may be NULL). Returns
 * the task's number, 0 if it ran at once. */
uint64_t nx_dispatch(nx_evaluation *e, nx_stream *s, nx_kernel run, const nx_call *c,
                     size_t params_size, nx_buffer *const *used, int n_used);
/* Makes stream s wait for the data of a. */
void nx_dispatch_follow(nx_evaluation *e, nx_stream *s, const nx_array *a);
/* The buffer with a's content in some memory, and a's first element there; the content is there when
 * task filled_seq of filled_on is done. The move, where one is needed, is work of s if s is the
 * device's. NULL after nx_fail, or where a is none. */
nx_buffer *nx_dispatch_move(nx_evaluation *e, nx_stream *s, const nx_array *a,
                            const nx_memory *memory, char **data);
/* The same in the memory of s, which waits for it. */
nx_buffer *nx_dispatch_place(nx_evaluation *e, nx_stream *s, const nx_array *a, char **data);

#endif
