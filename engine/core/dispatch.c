#include "engine/core/dispatch.h"

#include <string.h>

#include "base/error.h"

typedef struct {
    nx_task task;
    nx_kernel run;
    nx_call call;
    int n_held;
    nx_buffer **held; /* memory last touched by other streams: kept until this task is done */
} kernel_task;

static void kernel_task_run(nx_task *t)
{
    kernel_task *k = (kernel_task *)t;
    k->run(&k->call);
}

static void kernel_task_end(nx_task *t)
{
    kernel_task *k = (kernel_task *)t;
    for (int i = 0; i < k->n_held; i++)
        nx_buffer_unref(&k->held[i]);
}

static char *put(char **at, const void *from, size_t size)
{
    char *to = *at;
    if (size)
        memcpy(to, from, size);
    *at += (size + 7) & ~(size_t)7;
    return to;
}

static size_t views_size(const nx_view *v, int n)
{
    size_t size = (size_t)n * sizeof *v;
    for (int i = 0; i < n; i++)
        size += (size_t)v[i].ndim * (sizeof(int64_t) + sizeof(int)) + 8;
    return size;
}

static nx_view *views_copy(char **at, const nx_view *v, int n)
{
    nx_view *copy = (nx_view *)put(at, v, (size_t)n * sizeof *v);
    for (int i = 0; i < n; i++) {
        copy[i].strides = (int64_t *)put(at, v[i].strides, (size_t)v[i].ndim * sizeof(int64_t));
        copy[i].shape = (int *)put(at, v[i].shape, (size_t)v[i].ndim * sizeof(int));
    }
    return copy;
}

/* The call with all it points to (not the tensors) in one block of its own. */
static kernel_task *task_new(nx_kernel run, const nx_call *c, size_t params_size, int max_held)
{
    size_t size = sizeof(kernel_task) + params_size + 8 + views_size(c->in, c->n_in) +
                  views_size(c->out, c->n_out) + (size_t)max_held * sizeof(nx_buffer *);
    kernel_task *k = nx_malloc(size);
    char *at = (char *)(k + 1);
    k->task = (nx_task){.run = kernel_task_run};
    k->run = run;
    k->call = *c;
    k->call.params = put(&at, c->params, params_size);
    k->call.in = views_copy(&at, c->in, c->n_in);
    k->call.out = views_copy(&at, c->out, c->n_out);
    k->n_held = 0;
    k->held = (nx_buffer **)at;
    return k;
}

/* Memory whose last task is on another stream and not done: a second stream now uses it too, so the
 * (stream, seq) mark cannot stand for both. */
static bool must_hold(const nx_buffer *b, const nx_stream *s)
{
    return !nx_buffer_usable_by(b, s);
}

static void touch(nx_buffer *b, nx_stream *s, uint64_t seq)
{
    if (b && !must_hold(b, s)) {
        b->stream = s;
        b->seq = seq;
    }
}

uint64_t nx_dispatch(nx_evaluation *e, nx_stream *s, nx_kernel run, const nx_call *c,
                     size_t params_size, nx_buffer *const *used, int n_used)
{
    if (s == e->claimed) {
        run(c);
        return 0;
    }
    kernel_task *k = task_new(run, c, params_size, n_used);
    for (int i = 0; i < n_used; i++)
        if (used[i] && must_hold(used[i], s))
            k->held[k->n_held++] = nx_buffer_ref(used[i]);
    if (k->n_held)
        k->task.end = kernel_task_end;
    uint64_t seq = nx_stream_push(s, &k->task);
    for (int i = 0; i < n_used; i++)
        touch(used[i], s, seq);
    return seq;
}

static void follow_task_of(nx_evaluation *e, nx_stream *s, nx_stream *other, uint64_t seq)
{
    if (!seq || nx_stream_is_done(other, seq))
        return;
    if (s == e->claimed)
        nx_stream_wait(other, seq);
    else
        nx_stream_follow(s, other, seq);
}

void nx_dispatch_follow(nx_evaluation *e, nx_stream *s, const nx_array *a)
{
    follow_task_of(e, s, a->node->ready_on, a->node->ready_seq);
}

/* ---- moves --------------------------------------------------------------------------------- */

typedef struct {
    const nx_memory *device;
    size_t size;
} move_params;

static void move_to_device(const nx_call *c)
{
    const move_params *p = c->params;
    p->device->fill(c->out[0].data, c->in[0].data, p->size);
}

static void move_to_host(const nx_call *c)
{
    const move_params *p = c->params;
    p->device->fetch(c->out[0].data, c->in[0].data, p->size);
}

/* The stream that moves a buffer between its device and the host: `s` if it is the device's own,
 * else the one that made the content, else any of the device's. */
static nx_stream *mover_of(nx_stream *s, const nx_array *a, const nx_memory *device)
{
    if (nx_stream_memory(s) == device)
        return s;
    nx_stream *maker = a->node->ready_on;
    if (maker && nx_stream_memory(maker) == device)
        return maker;
    return nx_stream_default(nx_device_of_memory(device));
}

/* One side is the host's. */
static nx_buffer *mirror_make(nx_evaluation *e, nx_stream *s, const nx_array *a, nx_buffer *from,
                              const nx_memory *to)
{
    const nx_memory *device = to ? to : from->memory;
    nx_stream *mover = mover_of(s, a, device);
    nx_buffer *mirror = mover ? nx_buffer_new_in(to, from->size, mover) : NULL;
    if (!mirror)
        return NULL;
    nx_dispatch_follow(e, mover, a);
    follow_task_of(e, mover, from->filled_on, from->filled_seq);
    move_params p = {device, from->size};
    nx_view in = {.data = from->data}, out = {.data = mirror->data};
    nx_call c = {.params = &p, .n_in = 1, .n_out = 1, .in = &in, .out = &out};
    nx_buffer *used[2] = {from, mirror};
    mirror->filled_seq = nx_dispatch(e, mover, to ? move_to_device : move_to_host, &c, sizeof p, used, 2);
    mirror->filled_on = mover;
    nx_buffer_unref(&from->mirror);
    return from->mirror = mirror;
}

static nx_buffer *buffer_in(nx_evaluation *e, nx_stream *s, const nx_array *a, nx_buffer *b,
                            const nx_memory *memory)
{
    if (b->memory == memory)
        return b;
    if (b->memory && memory) /* from device to device by way of the host */
        b = buffer_in(e, s, a, b, NULL);
    if (!b || (b->mirror && b->mirror->memory == memory))
        return b ? b->mirror : NULL;
    return mirror_make(e, s, a, b, memory);
}

nx_buffer *nx_dispatch_move(nx_evaluation *e, nx_stream *s, const nx_array *a,
                            const nx_memory *memory, char **data)
{
    nx_buffer *b = a->buffer, *there = b ? buffer_in(e, s, a, b, memory) : NULL;
    *data = there ? there->data + (a->data - b->data) : a->data;
    return there;
}

nx_buffer *nx_dispatch_place(nx_evaluation *e, nx_stream *s, const nx_array *a, char **data)
{
    if (!a->buffer || a->buffer->memory == nx_stream_memory(s)) {
        *data = a->data;
        return a->buffer;
    }
    nx_buffer *there = nx_dispatch_move(e, s, a, nx_stream_memory(s), data);
    if (there)
        follow_task_of(e, s, there->filled_on, there->filled_seq);
    return there;
}
