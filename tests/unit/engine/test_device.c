/*
 * A second device with memory of its own: residence, moves, edges between devices. The device is the
 * pretended one (engine/pretend), whose memory stops whoever touches it from outside.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/error.h"
#include "engine/core/eval.h"
#include "engine/core/scope.h"
#include "engine/graph/grad.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/matmul.h"
#include "engine/ops/reduce.h"
#include "engine/ops/shape.h"
#include "engine/ops/slice.h"
#include "engine/ops/sort.h"
#include "engine/pretend/pretend.h"

static nx_stream *cpu(void)
{
    return nx_stream_default((nx_device){NX_CPU, 0});
}

static nx_stream *gpu(void)
{
    return nx_stream_default((nx_device){NX_GPU, 0});
}

static nx_array *counted(int n)
{
    nx_array *a = nx_array_new(&n, 1, NX_FLOAT32);
    for (int i = 0; i < n; i++)
        ((float *)a->data)[i] = (float)i;
    return a;
}

static float host_value(const nx_array *a, int i)
{
    const float *data = (const float *)nx_array_host(a);
    assert_non_null(data);
    return data[(int64_t)i * (a->ndim ? a->strides[a->ndim - 1] : 1)];
}

/* What moved since. */
static nx_pretend_counts before;
static int start(void **state)
{
    before = nx_pretend_count();
    return 0;
}
#define assert_moves(up, down)                                                                     \
    do {                                                                                           \
        nx_pretend_counts now_ = nx_pretend_count();                                               \
        assert_int_equal(now_.fills - before.fills, up);                                           \
        assert_int_equal(now_.fetches - before.fetches, down);                                     \
    } while (0)

/* However many use it, on however many streams: an array moves once each way. */
static void moves_once_each_way(void **state)
{
    nx_stream *second = nx_stream_new((nx_device){NX_GPU, 0});
    nx_scope scope = nx_scope_open();
    nx_array *x = counted(1000);
    nx_array *a = nx_square(x, gpu()), *b = nx_add(x, x, second), *c = nx_multiply(a, x, gpu());
    nx_array *d = nx_square(b, second);
    nx_array *results[2] = {c, d};
    assert_true(nx_eval(results, 2, true));
    assert_moves(1, 0); /* x went up; nothing came down, nobody asked */
    nx_array *e = nx_add(c, c, cpu()), *f = nx_subtract(c, x, cpu());
    results[0] = e;
    results[1] = f;
    assert_true(nx_eval(results, 2, true));
    assert_moves(1, 1);
    assert_true(host_value(c, 3) == 27);
    assert_true(host_value(e, 3) == 54 && host_value(f, 3) == 24);
    assert_moves(1, 1);
    assert_true(host_value(d, 3) == 36); /* d comes down as it is looked at */
    assert_true(host_value(d, 4) == 64);
    assert_moves(1, 2);
    nx_scope_close(scope);
}

/* Edges across devices in one evaluation, in both directions. */
static void graphs_cross(void **state)
{
    for (int round = 0; round < 50; round++) {
        nx_scope scope = nx_scope_open();
        start(NULL);
        nx_array *x = counted(500 + round);
        nx_array *y = nx_square(x, cpu());      /* x^2 */
        nx_array *z = nx_add(y, x, gpu());      /* x^2 + x: x and y go up */
        nx_array *w = nx_multiply(z, y, cpu()); /* z comes down */
        nx_array *v = nx_add(w, z, gpu());      /* w goes up, z is there */
        assert_true(nx_eval(&v, 1, round % 2));
        float expected = (9 + 3) * 9 + 12;
        assert_true(host_value(v, 3) == expected);
        assert_moves(3, 2); /* v came down to be looked at */
        nx_scope_close(scope);
    }
}

static void views_stay_where_they_are(void **state)
{
    nx_scope scope = nx_scope_open();
    nx_array *x = nx_reshape(counted(24), (int[]){4, 6}, 2, cpu());
    int start_at[2] = {1, 5}, stop[2] = {4, -7}, step[2] = {1, -2}; /* rows 1..3, columns 5, 3, 1 */
    nx_array *part = nx_slice(x, start_at, 2, stop, 2, step, 2, gpu());
    nx_array *turned = nx_transpose(part, cpu());
    nx_array *a = nx_square(turned, gpu()), *b = nx_matmul(turned, part, gpu());
    nx_array *both[2] = {a, b};
    assert_true(nx_eval(both, 2, true));
    assert_moves(1, 0); /* the memory behind all the views, once */
    const nx_array *cpu_b = nx_matmul(turned, part, cpu());
    assert_true(nx_eval_one((nx_array *)(uintptr_t)cpu_b));
    nx_array *row = nx_contiguous(b, false, gpu());
    assert_true(nx_eval_one(row));
    for (int i = 0; i < 9; i++)
        assert_true(((const float *)nx_array_host(row))[i] == ((const float *)cpu_b->data)[i]);
    nx_scope_close(scope);
}

/* Memory that is written into again has no old copy left on the other side. */
static void donation_drops_the_mirror(void **state)
{
    nx_scope outer = nx_scope_open();
    nx_array *x = nx_array_ref(nx_square(counted(1 << 16), gpu()));
    nx_scope_close(outer);
    assert_true(nx_eval_one(x));
    assert_true(host_value(x, 2) == 4); /* a mirror on the host */
    for (int i = 0; i < 3; i++) {
        nx_scope scope = nx_scope_open();
        nx_array *y = nx_array_ref(nx_add(x, x, gpu()));
        nx_scope_close(scope);
        nx_array_unref(&x); /* y may take its memory */
        const nx_buffer *memory = NULL;
        x = y;
        assert_true(nx_eval_one(x));
        memory = x->buffer;
        assert_null(memory->mirror);
        assert_true(host_value(x, 2) == (float)(8 << i));
    }
    nx_array_unref(&x);
}

/* Updates copy what others still hold, on the device. */
static void updates_leave_the_original(void **state)
{
    nx_scope scope = nx_scope_open();
    nx_array *x = counted(10), *one = nx_scalar_float(100);
    int from = 2, to = 4, step = 1;
    nx_array *y = nx_slice_update(NX_UPDATE_NONE, x, one, &from, 1, &to, 1, &step, 1, gpu());
    assert_true(nx_eval_one(y));
    assert_true(host_value(y, 1) == 1 && host_value(y, 2) == 100 && host_value(y, 4) == 4);
    assert_true(host_value(x, 2) == 2);
    nx_scope_close(scope);
}

/* The reading of device memory by the host ends a process, so a child does it. */
static void device_memory_is_out_of_reach(void **state)
{
    nx_scope scope = nx_scope_open();
    nx_array *x = nx_square(counted(10), gpu());
    assert_true(nx_eval_one(x));
    assert_non_null(x->buffer->memory);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL); /* not cmocka's */
        signal(SIGBUS, SIG_DFL);
        volatile float v = ((float *)x->data)[0];
        _exit(v == 0 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    nx_scope_close(scope);
}

/* Sort was taken away from this device. */
static void missing_kernels_run_on_the_cpu(void **state)
{
    nx_scope scope = nx_scope_open();
    nx_array *x = nx_subtract(nx_scalar_float(7), counted(8), gpu());
    nx_array *sorted = nx_sort(x, 0, gpu()), *y = nx_add(sorted, x, gpu());
    assert_true(nx_eval_one(y));
    assert_moves(3, 1); /* the number 7 and counted go up, x comes down, sorted goes up */
    for (int i = 0; i < 8; i++)
        assert_true(host_value(y, i) == 7);
    assert_null(sorted->buffer->memory);
    nx_scope_close(scope);
}

static void count_up(void *p)
{
    ++*(int *)p;
}

static void memory_of_the_program_is_given_back(void **state)
{
    static float data[64] = {1, 2, 3};
    int freed = 0;
    size_t held = nx_memory_active();
    nx_scope scope = nx_scope_open();
    nx_array *a = nx_array_wrap(data, (int[]){64}, 1, NX_FLOAT32, count_up, &freed);
    nx_array *b = nx_array_ref(nx_square(a, gpu()));
    nx_scope_close(scope);
    assert_int_equal(freed, 0);
    assert_true(nx_eval_one(b));
    nx_stream_synchronize(gpu());
    assert_int_equal(freed, 1);
    assert_true(host_value(b, 2) == 9 && data[2] == 3);
    nx_array_unref(&b);
    nx_stream_synchronize(gpu());
    assert_int_equal(nx_memory_active(), held);
}

/* ---- a training step ----------------------------------------------------------------------- */

typedef struct {
    nx_stream *first, *second; /* layers and loss run on these */
    nx_array *x, *y;
} model;

/* Mean-squared loss of a network of two layers. */
static bool loss(void *self, nx_array *const *w, size_t n, nx_array_vec *out)
{
    const model *m = self;
    nx_array *h = nx_maximum(nx_matmul(m->x, w[0], m->first), nx_scalar_float(0), m->second);
    nx_array *d = nx_subtract(nx_matmul(h, w[1], m->second), m->y, m->first);
    nx_array *l = nx_sum(nx_square(d, m->first), (int[]){0, 1}, 2, false, m->second);
    if (!l)
        return false;
    nx_vec_push(out, l);
    return true;
}

static nx_array *wave(int rows, int columns, float phase)
{
    int shape[2] = {rows, columns};
    nx_array *a = nx_array_new(shape, 2, NX_FLOAT32);
    for (int i = 0; a && i < rows * columns; i++)
        ((float *)a->data)[i] = (float)((i * 37 + (int)phase) % 19 - 9) / 16;
    return a;
}

/* A few steps of gradient descent; the weights, one after the other, into result. */
static bool train(nx_stream *first, nx_stream *second, int steps, float *result)
{
    nx_scope outer = nx_scope_open();
    model m = {first, second, wave(8, 12, 1), wave(8, 3, 2)};
    nx_array *w[2] = {wave(12, 16, 3), wave(16, 3, 4)};
    bool ok = m.x && m.y && w[0] && w[1];
    for (int step = 0; ok && step < steps; step++) {
        nx_array_vec values = {0}, grads = {0};
        ok = nx_value_and_grad((nx_function){loss, &m}, (int[]){0, 1}, 2, w, 2, &values, &grads);
        nx_array *rate = nx_scalar_float(0.01f);
        for (int i = 0; ok && i < 2; i++) {
            w[i] = nx_subtract(w[i], nx_multiply(grads.at[i], rate, second), first);
            ok = w[i] != NULL;
        }
        ok = ok && nx_eval(w, 2, step % 2 == 0);
        nx_vec_clear(&values);
        nx_vec_clear(&grads);
    }
    ok = ok && nx_eval(w, 2, true);
    for (int i = 0, at = 0; ok && i < 2; i++) {
        nx_array *row = nx_contiguous(w[i], false, second);
        const char *data = row && nx_eval_one(row) ? nx_array_host(row) : NULL;
        ok = data != NULL;
        if (ok)
            memcpy(result + at, data, (size_t)nx_array_nbytes(row));
        at += (int)w[i]->size;
    }
    nx_scope_close(outer);
    return ok;
}

enum { WEIGHTS = 12 * 16 + 16 * 3 };

static void training_is_the_same_everywhere(void **state)
{
    float on_cpu[WEIGHTS], on_gpu[WEIGHTS], on_both[WEIGHTS];
    size_t held = nx_memory_active();
    assert_true(train(cpu(), cpu(), 5, on_cpu));
    assert_true(train(gpu(), gpu(), 5, on_gpu));
    assert_true(train(cpu(), gpu(), 5, on_both));
    assert_memory_equal(on_cpu, on_gpu, sizeof on_cpu);
    assert_memory_equal(on_cpu, on_both, sizeof on_cpu);
    nx_stream_synchronize(gpu());
    nx_stream_synchronize(cpu());
    assert_int_equal(nx_memory_active(), held);
}

/* Whichever allocation fails, the host's, the device's or a mirror's: an error, and all goes on. */
static void allocations_fail_one_by_one(void **state)
{
    float expected[WEIGHTS], result[WEIGHTS];
    assert_true(train(cpu(), gpu(), 2, expected));
    nx_stream_synchronize(gpu());
    nx_stream_synchronize(cpu());
    size_t held = nx_memory_active();
    long failures = 0;
    for (long n = 1;; n++) {
        nx_error_clear();
        nx_memory_fail_at(n);
        bool ok = train(cpu(), gpu(), 2, result);
        bool reached = nx_memory_fail_at(0) == 0;
        nx_stream_synchronize(gpu());
        nx_stream_synchronize(cpu());
        assert_int_equal(nx_memory_active(), held);
        assert_true(ok != reached);
        if (!reached)
            break;
        failures++;
        assert_non_null(strstr(nx_error_message(), "no memory"));
    }
    assert_true(failures > 40);
    assert_memory_equal(result, expected, sizeof result);
}

static void *train_in_thread(void *arg)
{
    float *result = arg;
    nx_stream *mine = nx_stream_new((nx_device){NX_GPU, 0});
    if (!train(cpu(), mine, 3, result))
        result[0] = -1000;
    return NULL;
}

static void threads_share_the_devices(void **state)
{
    enum { THREADS = 8 };
    static float result[THREADS][WEIGHTS], expected[WEIGHTS];
    pthread_t threads[THREADS];
    assert_true(train(cpu(), cpu(), 3, expected));
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, train_in_thread, result[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_memory_equal(result[i], expected, sizeof expected);
    }
}

int main(void)
{
    setenv("NEXUS_PRETEND_GPU", "1", 1);
    setenv("NEXUS_PRETEND_GPU_LACKS", "Sort,Softmax", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(moves_once_each_way, start),
        cmocka_unit_test_setup(graphs_cross, start),
        cmocka_unit_test_setup(views_stay_where_they_are, start),
        cmocka_unit_test_setup(donation_drops_the_mirror, start),
        cmocka_unit_test_setup(updates_leave_the_original, start),
        cmocka_unit_test_setup(device_memory_is_out_of_reach, start),
        cmocka_unit_test_setup(missing_kernels_run_on_the_cpu, start),
        cmocka_unit_test_setup(memory_of_the_program_is_given_back, start),
        cmocka_unit_test_setup(training_is_the_same_everywhere, start),
        cmocka_unit_test_setup(allocations_fail_one_by_one, start),
        cmocka_unit_test_setup(threads_share_the_devices, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
