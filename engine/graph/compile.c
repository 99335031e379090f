#include "engine/graph/compile.h"

#include <pthread.h>
#include <string.h>

#include "base/error.h"
#include "engine/core/scope.h"
#include "engine/graph/tape.h"
#include "engine/ops/creation.h"

typedef struct {
    int ndim;
    nx_dtype dtype;
    int *shape; /* NULL where the trace serves any */
} input_key;

/* One trace. Counted: it may be erased while another thread replays it. */
typedef struct trace {
    _Atomic int refs;
    struct trace *next; /* in its bucket */
    uintptr_t id;
    nx_stream *stream;
    bool shapeless;
    nx_compile_mode mode;
    uint64_t *constants;
    size_t n_constants, n_in;
    input_key *in;
    nx_tape tape;
} trace;

enum { BUCKETS = 256 };
static trace *buckets[BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int mode = -1; /* nx_compile_mode; -1: not asked yet */

static nx_compile_mode current_mode(void)
{
    int m = atomic_load(&mode);
    if (m < 0) {
        m = getenv("MLX_DISABLE_COMPILE") ? NX_COMPILE_DISABLED : NX_COMPILE_ENABLED;
        atomic_store(&mode, m);
    }
    return (nx_compile_mode)m;
}

void nx_compile_set_mode(nx_compile_mode m)
{
    atomic_store(&mode, (int)m);
}

/* ---- the store of traces -------------------------------------------------------------------- */

static trace **bucket_of(uintptr_t id)
{
    uint64_t h = (uint64_t)id * UINT64_C(0x9E3779B97F4A7C15);
    return &buckets[h >> 32 & (BUCKETS - 1)];
}

static void trace_unref(trace *t)
{
    if (atomic_fetch_sub(&t->refs, 1) != 1)
        return;
    for (size_t i = 0; i < t->n_in; i++)
        free(t->in[i].shape);
    nx_tape_clear(&t->tape);
    free(t->in);
    free(t->constants);
    free(t);
}

static bool key_fits(const input_key *k, const nx_array *a)
{
    if (k->ndim != a->ndim || k->dtype != (nx_dtype)a->dtype)
        return false;
    return !k->shape || nx_shape_equal(k->shape, k->ndim, a->shape, a->ndim);
}

static bool trace_fits(const trace *t, const trace *key, nx_array *const *in)
{
    if (t->id != key->id || t->stream != key->stream || t->shapeless != key->shapeless ||
        t->mode != key->mode || t->n_in != key->n_in || t->n_constants != key->n_constants)
        return false;
    for (size_t i = 0; i < t->n_constants; i++)
        if (t->constants[i] != key->constants[i])
            return false;
    for (size_t i = 0; i < t->n_in; i++)
        if (!key_fits(&t->in[i], in[i]))
            return false;
    return true;
}

/* With a reference for the caller; NULL: there is none. */
static trace *trace_find(const trace *key, nx_array *const *in)
{
    pthread_mutex_lock(&lock);
    trace *t = *bucket_of(key->id);
    while (t && !trace_fits(t, key, in))
        t = t->next;
    if (t)
        atomic_fetch_add(&t->refs, 1);
    pthread_mutex_unlock(&lock);
    return t;
}

static void trace_keep(trace *t)
{
    atomic_fetch_add(&t->refs, 1);
    pthread_mutex_lock(&lock);
    t->next = *bucket_of(t->id);
    *bucket_of(t->id) = t;
    pthread_mutex_unlock(&lock);
}

/* Takes the traces of a function, or (all) of every function, out of a bucket. */
static trace *bucket_take(trace **at, uintptr_t id, bool all)
{
    trace *taken = NULL;
    while (*at) {
        trace *t = *at;
        if (!all && t->id != id) {
            at = &t->next;
            continue;
        }
        *at = t->next;
        t->next = taken;
        taken = t;
    }
    return taken;
}

/* Outside the lock: what a trace holds may be the last of something that erases another. */
static void traces_unref(trace *t)
{
    while (t) {
        trace *next = t->next;
        trace_unref(t);
        t = next;
    }
}

void nx_compile_erase(uintptr_t id)
{
    pthread_mutex_lock(&lock);
    trace *taken = bucket_take(bucket_of(id), id, false);
    pthread_mutex_unlock(&lock);
    traces_unref(taken);
}

void nx_compile_clear(void)
{
    for (int i = 0; i < BUCKETS; i++) {
        pthread_mutex_lock(&lock);
        trace *taken = bucket_take(&buckets[i], 0, true);
        pthread_mutex_unlock(&lock);
        traces_unref(taken);
    }
}

/* ---- tracing -------------------------------------------------------------------------------- */

static void remember_inputs(trace *t, nx_array *const *in)
{
    t->in = nx_calloc(t->n_in + 1, sizeof *t->in);
    for (size_t i = 0; i < t->n_in; i++) {
        size_t size = (size_t)in[i]->ndim * sizeof(int);
        t->in[i] = (input_key){in[i]->ndim, (nx_dtype)in[i]->dtype, NULL};
        if (t->shapeless)
            continue;
        t->in[i].shape = nx_malloc(size + 1);
        memcpy(t->in[i].shape, in[i]->shape, size);
    }
}

/* Of what the outputs are made of, nothing may be an input as it was given: it would be a constant of
 * the trace. MLX refuses that, too. */
static bool none_is_captured(nx_array *const *in, size_t n, const nx_array_vec *made)
{
    nx_ptr_map given = {0}, seen = {0};
    nx_array_vec left = {0};
    bool ok = true;
    for (size_t i = 0; i < n; i++)
        nx_ptr_map_set(&given, in[i], 1);
    for (size_t i = 0; n && i < made->n; i++)
        nx_vec_push(&left, made->at[i]);
    while (ok && left.n) {
        const nx_array *a = nx_vec_pop(&left);
        if (nx_ptr_map_find(&given, a))
            ok = nx_fail("[compile] Attempting to compile a function with uncaptured inputs is not "
                         "allowed.");
        if (nx_ptr_map_find(&seen, a->node))
            continue;
        nx_ptr_map_set(&seen, a->node, 1);
        for (int i = 0; i < a->node->n_in; i++)
            nx_vec_push(&left, a->node->in[i]);
    }
    nx_vec_clear(&left);
    nx_ptr_map_clear(&seen);
    nx_ptr_map_clear(&given);
    return ok;
}

/* A trace of f, with one reference; NULL after nx_fail. */
static trace *trace_new(nx_function f, const trace *key, nx_array *const *in)
{
    nx_scope scope = nx_scope_open();
    nx_array **sources = nx_malloc((key->n_in + 1) * sizeof *sources);
    nx_array_vec made = {0};
    for (size_t i = 0; i < key->n_in; i++)
        sources[i] = nx_placeholder(in[i]->shape, in[i]->ndim, (nx_dtype)in[i]->dtype, key->stream);
    bool any_size_before = nx_tracing_any_size;
    nx_tracing++;
    nx_tracing_any_size = key->shapeless;
    bool ok = nx_function_call(f, sources, key->n_in, &made) && none_is_captured(in, key->n_in, &made);
    nx_tracing_any_size = any_size_before;
    nx_tracing--;
    trace *t = NULL;
    if (ok) {
        t = nx_malloc(sizeof *t);
        *t = *key;
        atomic_init(&t->refs, 1);
        t->constants = nx_malloc(t->n_constants * sizeof *t->constants + 1);
        if (t->n_constants)
            memcpy(t->constants, key->constants, t->n_constants * sizeof *t->constants);
        remember_inputs(t, in);
        nx_tape_init(&t->tape, sources, key->n_in, made.at, made.n,
                     key->mode > NX_COMPILE_NO_SIMPLIFY, key->shapeless);
        if (key->mode == NX_COMPILE_ENABLED)
            nx_tape_fuse(&t->tape);
    }
    nx_vec_clear(&made);
    free(sources);
    nx_scope_close(scope);
    return t;
}

static bool inside_a_transform(nx_array *const *in, size_t n)
{
    for (size_t i = 0; nx_tracing && i < n; i++)
        if (in[i]->node->traced)
            return true;
    return false;
}

bool nx_compile_call(nx_function f, uintptr_t id, bool shapeless, const uint64_t *constants,
                     size_t n_constants, nx_array *const *in, size_t n, nx_array_vec *out)
{
    trace key = {.id = id, .shapeless = shapeless, .mode = current_mode(), .n_in = n,
                 .constants = (uint64_t *)constants, .n_constants = n_constants,
                 .stream = nx_stream_default(nx_device_default())};
    if (key.mode == NX_COMPILE_DISABLED || inside_a_transform(in, n))
        return nx_function_call(f, in, n, out);
    trace *t = trace_find(&key, in);
    if (!t) {
        if (!(t = trace_new(f, &key, in)))
            return false;
        trace_keep(t);
    }
    bool ok = nx_tape_replay(&t->tape, in, out);
    trace_unref(t);
    return ok;
}
