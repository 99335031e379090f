/*
 * buffer.h: counted tensor memory, and the caching allocator behind it.
 *
 * Order instead of waiting. A buffer remembers the last task that touches it as (stream, seq). Its
 * memory may be handed to a later task of the same stream at once, since a stream runs in order;
 * anyone else gets it when that task is done. So the evaluator may free and reuse memory far ahead
 * of the work, and the peak is that of running step by step.
 *
 * A buffer is the host's or a device's. Where the other side needs its content, the evaluator makes a
 * mirror there and keeps it with the buffer: the content is moved once, however many read it. It
 * never changes while a mirror is of use: who writes into the buffer again drops the mirror.
 */
#ifndef NX_CORE_BUFFER_H
#define NX_CORE_BUFFER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/core/backend.h"

typedef struct nx_stream nx_stream;

typedef struct nx_buffer {
    _Atomic int refs;
    uint32_t bin; /* size class; NX_EXTERNAL for memory of the caller's */
    char *data;
    size_t size; /* usable bytes */
    nx_stream *stream; /* the last task that touches data, NULL if none */
    uint64_t seq;
    const nx_memory *memory;  /* whose data is; NULL: the host's */
    struct nx_buffer *mirror; /* the same content elsewhere, NULL if there is none; guarded by eval */
    nx_stream *filled_on;     /* of a mirror: its content is there when task filled_seq is done */
    uint64_t filled_seq;
    void (*dtor)(void *); /* external memory: called once with payload, may be NULL */
    void *payload;
    struct nx_buffer *next; /* in a free list */
} nx_buffer;

enum { NX_EXTERNAL = UINT32_MAX };

/* New memory for use by tasks of `stream` (NULL: by the calling thread at once), where these work. At
 * least one byte; 64-byte aligned. NULL after nx_fail when it cannot be had. */
nx_buffer *nx_buffer_new(size_t size, nx_stream *stream);
nx_buffer *nx_buffer_new_in(const nx_memory *memory, size_t size, nx_stream *stream);
/* New memory for what is made to be kept, such as weights in another order: laid end to end in huge
 * pages where the system has them (a pass over 128 MB is then twice as fast), given back to the system
 * when freed, never handed to another array. */
nx_buffer *nx_buffer_new_kept(size_t size);
/* Wraps memory of the caller's: never written, never copied, given back through dtor(payload). */
nx_buffer *nx_buffer_wrap(void *data, size_t size, void (*dtor)(void *), void *payload);

static inline nx_buffer *nx_buffer_ref(nx_buffer *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}
void nx_buffer_unref(nx_buffer **b);
/* May a task of s (NULL: the host, now) write into it, as far as others still work on it? */
bool nx_buffer_usable_by(const nx_buffer *b, const nx_stream *s);

/* Counters and limits in bytes, as mlx/c/memory.h has them; setters return the old value. What a
 * device holds counts too. The limit is a guide: over it, no cache is kept. */
size_t nx_memory_active(void);
size_t nx_memory_peak(void);
size_t nx_memory_cached(void);
void nx_memory_reset_peak(void);
size_t nx_memory_limit(void);
size_t nx_memory_set_limit(size_t limit);
size_t nx_memory_set_cache_limit(size_t limit);
size_t nx_memory_set_wired_limit(size_t limit);
void nx_memory_clear_cache(void);
/* Over this one an allocation fails; 0: as much as can be had. */
size_t nx_memory_set_hard_limit(size_t limit);
/* For tests: the n-th allocation from now on fails, once; 0: none does. Says how many calls of the
 * former setting were still to come. */
long nx_memory_fail_at(long n);

#endif
