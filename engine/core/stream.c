#include "engine/core/stream.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/str.h"

struct nx_stream {
    nx_device device;
    int index;
    const nx_backend *backend;
    pthread_mutex_t lock;
    pthread_cond_t work; /* tasks were pushed, or a claim ended */
    pthread_cond_t progress;
    nx_task *head, **tail;
    uint64_t pushed;
    _Atomic uint64_t done;
    _Atomic int waiters;
    bool started, busy; /* busy: a task runs on the worker, or a caller claimed the stream */
    char *fault; /* what went wrong and nobody was told yet */
    _Atomic bool has_fault;
};

static _Thread_local nx_stream *running_on; /* the stream whose work this thread does */

enum { MAX_STREAMS = 1024 };
static struct {
    pthread_mutex_t lock;
    nx_stream *at[MAX_STREAMS];
    int n;
    nx_stream *preferred[2][16]; /* default stream by device type and index */
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

nx_stream *nx_stream_new(nx_device d)
{
    const nx_backend *backend = nx_device_backend(d);
    if (!backend)
        return nx_fail_null("[stream] there is no %s device %d here", d.type == NX_GPU ? "gpu" : "cpu",
                            d.index);
    nx_stream *s = nx_calloc(1, sizeof *s);
    s->device = d;
    s->backend = backend;
    s->tail = &s->head;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    pthread_cond_init(&s->progress, NULL);
    pthread_mutex_lock(&all.lock);
    if (all.n == MAX_STREAMS) {
        pthread_mutex_unlock(&all.lock);
        free(s);
        return nx_fail_null("[stream] a process has at most %d streams", MAX_STREAMS);
    }
    s->index = all.n;
    all.at[all.n++] = s;
    pthread_mutex_unlock(&all.lock);
    return s;
}

nx_stream *nx_stream_default(nx_device d)
{
    if (!nx_device_backend(d))
        return nx_stream_new(d); /* fails with the reason */
    pthread_mutex_lock(&all.lock);
    nx_stream *s = all.preferred[d.type][d.index];
    pthread_mutex_unlock(&all.lock);
    if (s)
        return s;
    s = nx_stream_new(d);
    if (!s)
        return NULL;
    pthread_mutex_lock(&all.lock);
    if (!all.preferred[d.type][d.index])
        all.preferred[d.type][d.index] = s;
    s = all.preferred[d.type][d.index];
    pthread_mutex_unlock(&all.lock);
    return s;
}

void nx_stream_set_default(nx_stream *s)
{
    pthread_mutex_lock(&all.lock);
    all.preferred[s->device.type][s->device.index] = s;
    pthread_mutex_unlock(&all.lock);
}

nx_device nx_stream_device(const nx_stream *s)
{
    return s->device;
}

const nx_backend *nx_stream_backend(const nx_stream *s)
{
    return s->backend;
}

const nx_memory *nx_stream_memory(const nx_stream *s)
{
    return s->backend->memory;
}

int nx_stream_index(const nx_stream *s)
{
    return s->index;
}

bool nx_stream_is_done(const nx_stream *s, uint64_t seq)
{
    return atomic_load_explicit(&s->done, memory_order_acquire) >= seq;
}

void nx_stream_wait(nx_stream *s, uint64_t seq)
{
    if (nx_stream_is_done(s, seq))
        return;
    pthread_mutex_lock(&s->lock);
    s->waiters++; /* and then done is read, in one order with tasks_end and tasks_run */
    while (atomic_load(&s->done) < seq)
        pthread_cond_wait(&s->progress, &s->lock);
    s->waiters--;
    pthread_mutex_unlock(&s->lock);
}

void nx_stream_synchronize(nx_stream *s)
{
    pthread_mutex_lock(&s->lock);
    uint64_t last = s->pushed;
    pthread_mutex_unlock(&s->lock);
    nx_stream_wait(s, last);
}

/* Those who wait look again. */
static void progress_tell(nx_stream *s)
{
    pthread_mutex_lock(&s->lock);
    pthread_cond_broadcast(&s->progress);
    pthread_mutex_unlock(&s->lock);
}

/* The work of tasks first..before `stop` is done. */
static void tasks_end(nx_stream *s, nx_task *first, const nx_task *stop)
{
    while (first != stop) {
        nx_task *next = first->next;
        if (first->end)
            first->end(first);
        free(first);
        atomic_fetch_add(&s->done, 1);
        first = next;
    }
}

/* One batch. A back end that queues is drained where a task must come after all before it, and at
 * the end; `ran` is the first task that is not ended yet. */
static void tasks_run(nx_stream *s, nx_task *t)
{
    void (*drain)(void) = s->backend->drain;
    nx_task *ran = t;
    while (t) {
        if (drain && t->after_all && ran != t) {
            drain();
            tasks_end(s, ran, t);
            ran = t;
            progress_tell(s);
        }
        t->run(t);
        nx_task *next = t->next;
        if (!drain) {
            tasks_end(s, t, next);
            ran = next;
            if (next && s->waiters) /* the next may itself wait for who waits here */
                progress_tell(s);
        }
        t = next;
    }
    if (ran) {
        drain();
        tasks_end(s, ran, NULL);
    }
}

static void *worker(void *arg)
{
    nx_stream *s = arg;
    running_on = s;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!s->head || s->busy)
            pthread_cond_wait(&s->work, &s->lock);
        nx_task *t = s->head;
        s->head = NULL; /* the whole list is taken: the lock is met once a batch */
        s->tail = &s->head;
        s->busy = true;
        pthread_mutex_unlock(&s->lock);
        tasks_run(s, t);
        pthread_mutex_lock(&s->lock);
        s->busy = false;
        if (s->waiters)
            pthread_cond_broadcast(&s->progress);
    }
    return NULL;
}

/* With the lock held. A process without threads left cannot go on. */
static void worker_start(nx_stream *s)
{
    pthread_t thread;
    s->started = true;
    if (pthread_create(&thread, NULL, worker, s) != 0)
        nx_die_nothread();
    pthread_detach(thread);
}

uint64_t nx_stream_push(nx_stream *s, nx_task *t)
{
    t->next = NULL;
    pthread_mutex_lock(&s->lock);
    if (!s->started)
        worker_start(s);
    bool was_empty = !s->head;
    *s->tail = t;
    s->tail = &t->next;
    uint64_t seq = ++s->pushed;
    if (was_empty && !s->busy)
        pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
    return seq;
}

typedef struct {
    nx_task task;
    void (*fn)(void *);
    void *arg;
} call_task;

static void call_run(nx_task *t)
{
    call_task *c = (call_task *)t;
    c->fn(c->arg);
}

uint64_t nx_stream_call(nx_stream *s, void (*fn)(void *), void *arg)
{
    call_task *c = nx_malloc(sizeof *c);
    *c = (call_task){.task = {.run = call_run, .after_all = true}, .fn = fn, .arg = arg};
    return nx_stream_push(s, &c->task);
}

/* ---- faults -------------------------------------------------------------------------------- */

static void fault_keep(nx_stream *s, char *take)
{
    pthread_mutex_lock(&s->lock);
    if (s->fault)
        free(take);
    else
        s->fault = take;
    atomic_store(&s->has_fault, true);
    pthread_mutex_unlock(&s->lock);
}

static char *fault_copy(nx_stream *s)
{
    if (!atomic_load(&s->has_fault))
        return NULL;
    pthread_mutex_lock(&s->lock);
    char *copy = s->fault ? nx_strdup(s->fault) : NULL;
    pthread_mutex_unlock(&s->lock);
    return copy;
}

void nx_task_fail(const char *fmt, ...)
{
    nx_str message = {0};
    va_list ap;
    va_start(ap, fmt);
    nx_str_vprintf(&message, fmt, ap);
    va_end(ap);
    NX_BUG_IF(!running_on);
    fault_keep(running_on, nx_str_take(&message));
}

bool nx_stream_check(nx_stream *s)
{
    if (!atomic_load_explicit(&s->has_fault, memory_order_acquire))
        return true;
    pthread_mutex_lock(&s->lock);
    char *fault = s->fault;
    s->fault = NULL;
    atomic_store(&s->has_fault, false);
    pthread_mutex_unlock(&s->lock);
    if (!fault)
        return true;
    nx_fail("%s", fault);
    free(fault);
    return false;
}

typedef struct {
    nx_task task;
    nx_stream *other;
    uint64_t seq;
} follow_task;

static void follow_run(nx_task *t)
{
    follow_task *f = (follow_task *)t;
    nx_stream_wait(f->other, f->seq);
    char *fault = fault_copy(f->other);
    if (fault)
        fault_keep(running_on, fault);
}

void nx_stream_follow(nx_stream *s, nx_stream *other, uint64_t seq)
{
    if (s == other || nx_stream_is_done(other, seq))
        return;
    follow_task *f = nx_malloc(sizeof *f);
    *f = (follow_task){.task = {.run = follow_run, .after_all = true}, .other = other, .seq = seq};
    nx_stream_push(s, &f->task);
}

bool nx_stream_claim(nx_stream *s)
{
    pthread_mutex_lock(&s->lock);
    bool idle = !s->busy && !s->head && !s->backend->memory && !s->backend->drain;
    if (idle) {
        s->busy = true;
        running_on = s;
    }
    pthread_mutex_unlock(&s->lock);
    return idle;
}

void nx_stream_yield(nx_stream *s)
{
    running_on = NULL;
    pthread_mutex_lock(&s->lock);
    s->busy = false;
    if (s->head)
        pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
}
