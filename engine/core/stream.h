/*
 * stream.h: in-order queues of tasks with a worker thread each, and the devices they belong to.
 *
 * A stream lives as long as the process. Task number `seq` of a stream is done when seq <= done;
 * numbers begin at 1. Any thread may push; a worker starts with the first task.
 */
#ifndef NX_CORE_STREAM_H
#define NX_CORE_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/core/backend.h"

typedef struct nx_stream nx_stream;
typedef enum { NX_CPU, NX_GPU } nx_device_type;
typedef struct {
    nx_device_type type;
    int index;
} nx_device;

/* device.c: the only place that names backends. */
const nx_backend *nx_device_backend(nx_device d); /* NULL if this build or machine has none */
int nx_device_count(nx_device_type type);
nx_device nx_device_of_memory(const nx_memory *memory); /* whose it is */
nx_device nx_device_default(void);
bool nx_device_set_default(nx_device d); /* false after nx_fail where there is no such device */

nx_stream *nx_stream_new(nx_device d); /* NULL after nx_fail */
nx_stream *nx_stream_default(nx_device d);
void nx_stream_set_default(nx_stream *s);
nx_device nx_stream_device(const nx_stream *s);
const nx_backend *nx_stream_backend(const nx_stream *s);
int nx_stream_index(const nx_stream *s);
/* The memory its tasks work on; NULL: the host's. */
const nx_memory *nx_stream_memory(const nx_stream *s);

bool nx_stream_is_done(const nx_stream *s, uint64_t seq);
void nx_stream_wait(nx_stream *s, uint64_t seq); /* blocks the calling thread */
void nx_stream_synchronize(nx_stream *s);        /* until all pushed so far is done */

/*
 * Faults of work that cannot return an error: the first is kept by the stream it happened on until
 * someone who waits for that stream, or for one that followed it, is told. nx_task_fail (backend.h)
 * is for the thread that runs the work; nx_stream_check fails with what was kept and forgets it.
 */
bool nx_stream_check(nx_stream *s);

/* One piece of work. It is malloc'ed by the pusher and freed by the worker; run may be any function
 * of the task, whose own data follow it in memory. */
typedef struct nx_task {
    void (*run)(struct nx_task *t);
    void (*end)(struct nx_task *t); /* once the work is done, before it counts as done; may be NULL */
    struct nx_task *next;
    bool after_all; /* runs only when the work of all tasks before it is done */
} nx_task;

uint64_t nx_stream_push(nx_stream *s, nx_task *t); /* takes t; returns its number */
/* Runs fn(arg) on the worker after all that was pushed before; the task's number. */
uint64_t nx_stream_call(nx_stream *s, void (*fn)(void *), void *arg);
/* Makes what is pushed to s from now on wait for task seq of `other`. */
void nx_stream_follow(nx_stream *s, nx_stream *other, uint64_t seq);

/* Claims an idle stream of the host's so that the caller may run work itself, in place of the worker; tasks pushed
 * meanwhile run after nx_stream_yield. False if the stream is busy. */
bool nx_stream_claim(nx_stream *s);
void nx_stream_yield(nx_stream *s);

#endif
