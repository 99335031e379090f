/*
 * eval.c: the evaluator. It walks lazy nodes in dependency order and, for each, makes views on the
 * host, chooses layouts, assigns memory (an input's, where nobody else needs it), and hands a call
 * to the stream. Work runs on the stream's worker, or, when the caller waits anyway and the stream
 * is idle, on the calling thread: a small graph then costs no thread switch.
 *
 * One evaluation schedules at a time (eval_lock); the work itself is not under the lock, except
 * where it runs on the calling thread.
 */
#include "engine/core/eval.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"
#include "base/vec.h"
#include "engine/core/dispatch.h"
#include "engine/core/prim.h"
#include "engine/core/scope.h"
#include "engine/ops/prims.h"

static pthread_mutex_t eval_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int eval_waiters;
static uint64_t last_mark;

typedef struct {
    nx_node *node;
    int next; /* the input to look at next */
} frame;

/* Scratch of one evaluation, kept between evaluations; guarded by eval_lock. */
static struct {
    NX_VEC(frame) stack;
    NX_VEC(nx_buffer *) temps; /* copies made for this node's inputs */
    nx_arena arena;            /* views and lists of the node being scheduled */
} scratch;

typedef NX_VEC(nx_node *) node_vec;

static bool is_lazy(const nx_node *n)
{
    return atomic_load_explicit(&n->state, memory_order_acquire) == NX_LAZY;
}

/* Appends the lazy nodes under `root` to order, inputs before users, without recursion. */
static void walk(nx_node *root, node_vec *order)
{
    if (!is_lazy(root) || root->mark == last_mark)
        return;
    size_t base = scratch.stack.n;
    root->mark = last_mark;
    nx_vec_push(&scratch.stack, (frame){root, 0});
    while (scratch.stack.n > base) {
        frame *f = &nx_vec_last(&scratch.stack);
        if (f->next == f->node->n_in) {
            nx_vec_push(order, f->node);
            scratch.stack.n--;
            continue;
        }
        nx_node *in = f->node->in[f->next++]->node;
        if (is_lazy(in) && in->mark != last_mark) {
            in->mark = last_mark;
            nx_vec_push(&scratch.stack, (frame){in, 0});
        }
    }
}

/* ---- layout and memory --------------------------------------------------------------------- */

/* May this node write into the memory of its input? Only if this edge is the last user of all, and no
 * other stream still reads it. */
static bool can_donate(const nx_node *n, const nx_array *in, const nx_array *out)
{
    return !nx_node_keeps_inputs(n) && atomic_load(&in->refs) == 1 && in->buffer && in->buffer->bin != NX_EXTERNAL &&
           in->buffer->memory == nx_stream_memory(n->stream) &&
           atomic_load(&in->buffer->refs) == 1 && nx_buffer_usable_by(in->buffer, n->stream) &&
           (in->flags & NX_DENSE) && in->size == out->size &&
           nx_dtype_size((nx_dtype)in->dtype) == nx_dtype_size((nx_dtype)out->dtype) &&
           in->buffer->size <= (size_t)nx_array_nbytes(out) * 2 + 4096;
}

static bool buffer_for(nx_array *out, nx_stream *s, const int64_t *strides)
{
    size_t size = (size_t)nx_array_nbytes(out);
    bool kept = out->node->prim->flags & NX_PRIM_KEPT && !nx_stream_memory(s);
    nx_buffer *b = kept ? nx_buffer_new_kept(size) : nx_buffer_new(size, s);
    if (!b)
        return false;
    nx_array_set_buffer(out, b, b->data, strides);
    return true;
}

/* The memory of an input that is about to be written into: what was moved elsewhere is void. */
static nx_buffer *take_over(nx_array *in)
{
    nx_buffer_unref(&in->buffer->mirror);
    return nx_buffer_ref(in->buffer);
}

static bool same_strides(const nx_array *a, const nx_array *b)
{
    return a->ndim == b->ndim && memcmp(a->strides, b->strides, (size_t)a->ndim * sizeof(int64_t)) == 0;
}

/* The layout all dense inputs share, if it is not row-major; NULL: row-major. */
static const nx_array *shared_layout(const nx_node *n)
{
    const nx_array *model = NULL;
    for (int i = 0; i < n->n_in; i++) {
        const nx_array *a = n->in[i];
        if (!(a->flags & NX_DENSE) || a->size != n->out[0].size || a->ndim != n->out[0].ndim)
            continue;
        if (model && !same_strides(a, model))
            return NULL;
        model = a;
    }
    return model && !(model->flags & NX_ROW_CONTIGUOUS) ? model : NULL;
}

static bool layout_elementwise(nx_node *n)
{
    nx_array *out = &n->out[0];
    const nx_array *model = shared_layout(n);
    const int64_t *strides = model ? model->strides : NULL;
    for (int i = 0; i < n->n_in && n->n_out == 1; i++) {
        nx_array *a = n->in[i];
        bool fits = model ? same_strides(a, model) : (a->flags & NX_ROW_CONTIGUOUS) != 0;
        if (fits && a->ndim == out->ndim && can_donate(n, a, out)) {
            nx_array_set_buffer(out, take_over(a), a->data, strides);
            return true;
        }
    }
    for (int i = 0; i < n->n_out; i++)
        if (!buffer_for(&n->out[i], n->stream, strides))
            return false;
    return true;
}

/* An input as the node's kernel sees it. */
typedef struct {
    nx_view view;
    nx_buffer *buffer; /* NULL: there is no such input */
} placed;

static uint64_t copy_into(nx_evaluation *e, nx_stream *s, const nx_view *from, nx_view *to,
                          nx_buffer *from_buffer, nx_buffer *to_buffer)
{
    const nx_kernel_entry *k = &nx_stream_backend(s)->kernels()[NX_PRIM_Copy];
    nx_call c = {.n_in = 1, .n_out = 1, .in = from, .out = to};
    nx_buffer *used[2] = {from_buffer, to_buffer};
    return nx_dispatch(e, s, k->run, &c, 0, used, 2);
}

/* An output that begins as an input. */
static bool layout_update(nx_evaluation *e, nx_node *n, nx_array *out, nx_array *in, const placed *at)
{
    if ((in->flags & NX_ROW_CONTIGUOUS) && can_donate(n, in, out)) {
        nx_array_set_buffer(out, take_over(in), in->data, NULL);
        return true;
    }
    if (!buffer_for(out, n->stream, NULL))
        return false;
    if (out->size) {
        nx_view to = nx_array_view(out);
        copy_into(e, n->stream, &at->view, &to, at->buffer, out->buffer);
    }
    return true;
}

static bool layout_updates(nx_evaluation *e, nx_node *n, const placed *in)
{
    int before = n->n_in - n->n_out; /* output i begins as input before + i */
    bool ok = buffer_for(&n->out[0], n->stream, NULL);
    for (int i = 1; ok && i < n->n_out; i++)
        ok = layout_update(e, n, &n->out[i], n->in[before + i], &in[before + i]);
    return ok;
}

static bool layout_outputs(nx_evaluation *e, nx_node *n, const placed *in)
{
    unsigned flags = n->prim->flags;
    if (flags & NX_PRIM_ELEMENTWISE)
        return layout_elementwise(n);
    if (flags & NX_PRIM_UPDATES_FIRST)
        return layout_update(e, n, &n->out[0], n->in[0], &in[0]);
    if (flags & NX_PRIM_UPDATES_LAST)
        return layout_updates(e, n, in);
    if (flags & NX_PRIM_DONATES_FIRST && n->n_in && (n->in[0]->flags & NX_ROW_CONTIGUOUS) &&
        can_donate(n, n->in[0], &n->out[0])) {
        nx_array_set_buffer(&n->out[0], take_over(n->in[0]), n->in[0]->data, NULL);
        return true;
    }
    for (int i = 0; i < n->n_out; i++)
        if (!buffer_for(&n->out[i], n->stream, NULL))
            return false;
    return true;
}

/* Undoes a failed layout: the node stays lazy. */
static void outputs_drop(nx_node *n)
{
    for (int i = 0; i < n->n_out; i++)
        nx_buffer_unref(&n->out[i].buffer);
}

/* Makes p a dense row-major copy of itself, whose memory is among the temporaries. */
static bool make_row(nx_evaluation *e, nx_node *n, placed *p)
{
    int64_t bytes = nx_view_size(&p->view) * (int64_t)nx_dtype_size(p->view.dtype);
    nx_buffer *b = nx_buffer_new((size_t)bytes, n->stream);
    if (!b)
        return false;
    nx_vec_push(&scratch.temps, b);
    int64_t *strides = nx_arena_alloc(&scratch.arena, (size_t)p->view.ndim * sizeof *strides);
    nx_strides_row(p->view.shape, p->view.ndim, strides);
    nx_view from = p->view;
    p->view.data = b->data;
    p->view.strides = strides;
    if (bytes)
        copy_into(e, n->stream, &from, &p->view, p->buffer, b);
    p->buffer = b;
    return true;
}

/* All inputs where the stream can read them, with row-major copies of those the kernel needs so. */
static bool place_inputs(nx_evaluation *e, nx_node *n, placed *in)
{
    for (int i = 0; i < n->n_in; i++) {
        const nx_array *a = n->in[i];
        char *data;
        nx_dispatch_follow(e, n->stream, a);
        in[i].view = nx_array_view(a);
        in[i].buffer = nx_dispatch_place(e, n->stream, a, &data);
        if (!in[i].buffer && a->buffer)
            return false;
        in[i].view.data = data;
        bool wants_row = i < 32 && n->prim->row_inputs >> i & 1;
        if (wants_row && !nx_array_is_none(a) && !(a->flags & NX_ROW_CONTIGUOUS) &&
            !make_row(e, n, &in[i]))
            return false;
    }
    return true;
}

/* ---- one node ------------------------------------------------------------------------------ */

static void ready_like(nx_node *n, const nx_node *source)
{
    n->ready_on = source->ready_on;
    n->ready_seq = source->ready_seq;
}

static bool is_pending(const nx_node *n)
{
    return n->ready_seq && !nx_stream_is_done(n->ready_on, n->ready_seq);
}

static void nothing(void *arg)
{
    (void)arg;
}

/* The node is there when all of `arrays` are. Several pending ones meet in an empty task. */
static void ready_from(nx_evaluation *e, nx_node *n, nx_array *const *arrays, int n_arrays)
{
    nx_node *first = NULL;
    bool several = false;
    for (int i = 0; i < n_arrays; i++) {
        nx_node *in = arrays[i]->node;
        if (!is_pending(in))
            continue;
        several |= first && (first->ready_on != in->ready_on || first->ready_seq != in->ready_seq);
        first = in;
    }
    if (!first)
        return;
    if (!several) {
        ready_like(n, first);
        return;
    }
    for (int i = 0; i < n_arrays; i++)
        nx_dispatch_follow(e, n->stream, arrays[i]);
    if (n->stream != e->claimed) {
        n->ready_seq = nx_stream_call(n->stream, nothing, NULL);
        n->ready_on = n->stream;
    }
}

/* The node is scheduled: publish it and let its inputs go. */
static void finish(nx_node *n)
{
    if (nx_node_keeps_inputs(n)) {
        atomic_store_explicit(&n->state, NX_SCHEDULED, memory_order_release);
        return;
    }
    int n_in = n->n_in;
    if (n->prim->params_drop)
        n->prim->params_drop(n->params);
    n->n_in = 0;
    n->prim = NULL;
    n->traced = 0;
    atomic_store_explicit(&n->state, NX_SCHEDULED, memory_order_release);
    for (int i = 0; i < n_in; i++)
        nx_array_unref(&n->in[i]);
}

static bool all_empty(const nx_node *n)
{
    for (int i = 0; i < n->n_out; i++)
        if (n->out[i].size)
            return false;
    return true;
}

/* Inputs and outputs are laid out: builds the call and hands it to the stream. */
static bool send(nx_evaluation *e, nx_node *n, const nx_kernel_entry *k, const placed *in)
{
    nx_view *views = nx_arena_alloc(&scratch.arena, (size_t)(n->n_in + n->n_out) * sizeof *views);
    nx_view *out = views + n->n_in;
    for (int i = 0; i < n->n_in; i++)
        views[i] = in[i].view;
    for (int i = 0; i < n->n_out; i++)
        out[i] = nx_array_view(&n->out[i]);
    nx_call c = {.params = n->params, .n_in = n->n_in, .n_out = n->n_out, .in = views, .out = out};
    size_t need = k->workspace ? k->workspace(&c) : 0;
    nx_buffer *space = NULL;
    if (need && !(space = nx_buffer_new(need, n->stream)))
        return false;
    c.workspace = space ? space->data : NULL;

    int n_used = n->n_in + n->n_out + 1, at = 0;
    nx_buffer **used = nx_arena_alloc(&scratch.arena, (size_t)n_used * sizeof *used);
    for (int i = 0; i < n->n_in; i++)
        used[at++] = in[i].buffer;
    for (int i = 0; i < n->n_out; i++)
        used[at++] = n->out[i].buffer;
    used[at++] = space;
    n->ready_seq = nx_dispatch(e, n->stream, k->run, &c, n->prim->params_size, used, n_used);
    n->ready_on = n->stream;
    nx_buffer_unref(&space); /* reused by later tasks of this stream, in order */
    return true;
}

/* Says what was being made when there was no memory. */
static bool fail_at(const nx_node *n)
{
    const nx_array *out = &n->out[0];
    return nx_fail_in("[%s] for a result of %s %s", n->prim->name, nx_dtype_name((nx_dtype)out->dtype),
                      nx_shape_text(out->shape, out->ndim));
}

static bool run_kernel(nx_evaluation *e, nx_node *n, const nx_kernel_entry *k)
{
    nx_arena_reset(&scratch.arena);
    placed *in = nx_arena_alloc(&scratch.arena, (size_t)n->n_in * sizeof *in);
    bool ok = place_inputs(e, n, in) && layout_outputs(e, n, in);
    if (ok && !all_empty(n))
        ok = send(e, n, k, in);
    while (scratch.temps.n) {
        nx_buffer *b = nx_vec_pop(&scratch.temps);
        nx_buffer_unref(&b);
    }
    if (ok)
        return true;
    outputs_drop(n);
    return fail_at(n);
}

static bool schedule_all(nx_evaluation *e, nx_array *const *arrays, int n);

/* No kernel here: the operation in terms of others, evaluated in its place. */
static bool run_decomposed(nx_evaluation *e, nx_node *n)
{
    if (!n->prim->decompose)
        return nx_fail("[%s] has no kernel on the %s", n->prim->name,
                       nx_stream_backend(n->stream)->name);
    nx_scope scope = nx_scope_open();
    nx_array **out = nx_calloc(n->n_out, sizeof *out);
    bool ok = n->prim->decompose(n, out) && schedule_all(e, out, n->n_out);
    for (int i = 0; ok && i < n->n_out; i++)
        nx_array_set_view(&n->out[i], out[i], out[i]->strides, 0);
    if (ok)
        ready_from(e, n, out, n->n_out);
    free(out);
    nx_scope_close(scope);
    return ok;
}

/* What a device has no kernel for, and no other operations, the CPU does. Told once an operation. */
static const nx_kernel_entry *kernel_elsewhere(nx_node *n)
{
    static bool told[NX_PRIM_COUNT];
    const nx_prim *p = n->prim;
    nx_stream *cpu = nx_stream_default((nx_device){NX_CPU, 0});
    const nx_kernel_entry *k = p->host ? p->host : &nx_stream_backend(cpu)->kernels()[p->id];
    if (!k->run)
        return k;
    if (!p->host && !told[p->id])
        nx_info("%s has no kernel on the %s and runs on the %s", p->name,
                nx_stream_backend(n->stream)->name, nx_stream_backend(cpu)->name);
    told[p->id] = true;
    n->stream = cpu;
    return k;
}

static const nx_kernel_entry *kernel_for(nx_node *n)
{
    const nx_prim *p = n->prim;
    if (p->host)
        return nx_stream_memory(n->stream) ? kernel_elsewhere(n) : p->host;
    const nx_kernel_entry *k = &nx_stream_backend(n->stream)->kernels()[p->id];
    return k->run || p->decompose ? k : kernel_elsewhere(n);
}

static bool schedule(nx_evaluation *e, nx_node *n)
{
    if (!is_lazy(n))
        return true;
    if (n->prim->flags & NX_PRIM_VIEW && n->prim->view(n)) {
        ready_from(e, n, n->in, n->n_in);
        finish(n);
        return true;
    }
    const nx_kernel_entry *k = kernel_for(n);
    if (!(k->run ? run_kernel(e, n, k) : run_decomposed(e, n)))
        return false;
    finish(n);
    return true;
}

/* Also called in the middle of an evaluation, by run_decomposed. */
static bool schedule_all(nx_evaluation *e, nx_array *const *arrays, int n)
{
    node_vec order = {0};
    last_mark++;
    for (int i = 0; i < n; i++)
        walk(arrays[i]->node, &order);
    bool ok = true;
    for (size_t i = 0; ok && i < order.n; i++)
        ok = schedule(e, order.at[i]);
    nx_vec_clear(&order);
    return ok;
}

/* The stream all lazy nodes of the order run on; NULL if there are several, or if one may wait for
 * other processes: nobody else could evaluate meanwhile. */
static nx_stream *only_stream(const node_vec *order)
{
    nx_stream *s = order->n ? order->at[0]->stream : NULL;
    for (size_t i = 0; i < order->n; i++)
        if (order->at[i]->stream != s || order->at[i]->prim->flags & NX_PRIM_WAITS)
            return NULL;
    return s;
}

static bool evaluate(nx_array *const *arrays, int n, bool wait)
{
    nx_evaluation e = {0};
    node_vec order = {0};
    last_mark++;
    for (int i = 0; i < n; i++)
        walk(arrays[i]->node, &order);
    nx_stream *s = wait && atomic_load(&eval_waiters) == 0 ? only_stream(&order) : NULL;
    if (s && nx_stream_claim(s))
        e.claimed = s;
    bool ok = true;
    for (size_t i = 0; ok && i < order.n; i++)
        ok = schedule(&e, order.at[i]);
    if (e.claimed) {
        nx_stream_yield(e.claimed);
        ok = ok && nx_stream_check(e.claimed); /* the work is done: its fault is the caller's */
    }
    nx_vec_clear(&order);
    return ok;
}

/* A node that was evaluated inside a transform kept its inputs; none runs any more. */
static void let_go(nx_node *n)
{
    if (!n->traced || nx_tracing || !n->prim)
        return;
    pthread_mutex_lock(&eval_lock);
    if (n->prim)
        finish(n);
    pthread_mutex_unlock(&eval_lock);
}

bool nx_eval(nx_array *const *arrays, int n, bool wait)
{
    bool lazy = false;
    for (int i = 0; i < n; i++)
        lazy |= is_lazy(arrays[i]->node);
    bool ok = true;
    if (lazy) {
        atomic_fetch_add(&eval_waiters, 1);
        pthread_mutex_lock(&eval_lock);
        atomic_fetch_sub(&eval_waiters, 1);
        ok = evaluate(arrays, n, wait);
        pthread_mutex_unlock(&eval_lock);
    }
    for (int i = 0; ok && wait && i < n; i++) {
        ok = nx_array_wait(arrays[i]);
        let_go(arrays[i]->node);
    }
    return ok;
}

const char *nx_array_host(const nx_array *a)
{
    if (!nx_array_wait(a))
        return NULL;
    if (!a->buffer || !a->buffer->memory)
        return a->data;
    nx_evaluation e = {0};
    nx_stream *cpu = nx_stream_default((nx_device){NX_CPU, 0});
    char *data;
    pthread_mutex_lock(&eval_lock);
    const nx_buffer *b = nx_dispatch_move(&e, cpu, a, NULL, &data);
    pthread_mutex_unlock(&eval_lock);
    if (!b)
        return NULL;
    nx_stream_wait(b->filled_on, b->filled_seq);
    return data;
}
