/* The graph and its evaluator: layouts, donation, streams, long chains, failure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/error.h"
#include "engine/core/eval.h"
#include "engine/core/scope.h"
#include "engine/ops/elementwise.h"

static nx_stream *cpu(void)
{
    return nx_stream_default((nx_device){NX_CPU, 0});
}

static void casts_arrive(void **state)
{
    nx_scope scope = nx_scope_open();
    float data[6] = {1.5f, -2, 3, 4, 5, 300};
    nx_array *a = nx_array_from_data(data, (int[]){2, 3}, 2, NX_FLOAT32);
    nx_array *b = nx_astype(nx_astype(a, NX_INT32, cpu()), NX_BFLOAT16, cpu());
    nx_array *c = nx_astype(b, NX_FLOAT64, cpu());
    assert_true(nx_eval_one(c));
    const double *d = (const double *)c->data;
    assert_true(d[0] == 1 && d[1] == -2 && d[5] == 300);
    nx_scope_close(scope);
}

/* A chain as long as a training loop that never evaluates: neither build, eval nor free recurse. */
static void long_chain(void **state)
{
    size_t before = nx_memory_active();
    nx_scope outer = nx_scope_open();
    nx_array *x = nx_array_ref(nx_scalar_float(1));
    for (int i = 0; i < 1000000; i++) {
        nx_scope scope = nx_scope_open();
        nx_array *y = nx_array_ref(nx_square(x, cpu()));
        nx_scope_close(scope);
        nx_array_unref(&x);
        x = y;
    }
    nx_scope_close(outer);
    assert_true(nx_eval(&x, 1, true));
    assert_true(*(float *)x->data == 1);
    nx_array_unref(&x);

    x = NULL;
    nx_scope lazy = nx_scope_open();
    nx_array *y = nx_scalar_float(1);
    for (int i = 0; i < 1000000; i++)
        y = nx_square(y, cpu());
    nx_scope_close(lazy); /* never evaluated: freed as it is */
    assert_int_equal(nx_memory_active(), before);
}

static void donation_reuses_memory(void **state)
{
    nx_scope outer = nx_scope_open();
    nx_memory_clear_cache();
    nx_array *x = nx_array_ref(nx_array_new((int[]){1 << 20}, 1, NX_FLOAT32));
    nx_scope_close(outer);
    nx_memory_reset_peak();
    size_t before = nx_memory_active();
    for (int i = 0; i < 5; i++) {
        nx_scope scope = nx_scope_open();
        nx_array *y = nx_array_ref(nx_square(x, cpu()));
        nx_scope_close(scope);
        nx_array_unref(&x);
        x = y;
    }
    assert_true(nx_eval(&x, 1, false));
    nx_array_wait(x);
    assert_true(nx_memory_peak() <= before + 4096);
    nx_array_unref(&x);
}

static void streams_follow_each_other(void **state)
{
    nx_stream *other = nx_stream_new((nx_device){NX_CPU, 0});
    for (int round = 0; round < 200; round++) {
        nx_scope scope = nx_scope_open();
        int n = 1000 + round;
        nx_array *a = nx_array_new(&n, 1, NX_INT32);
        for (int i = 0; i < n; i++)
            ((int *)a->data)[i] = i;
        nx_array *b = nx_astype(a, NX_FLOAT32, cpu());
        nx_array *c = nx_astype(b, NX_INT64, other);
        nx_array *d = nx_astype(c, NX_FLOAT64, cpu());
        assert_true(nx_eval(&d, 1, false));
        nx_array_wait(d);
        for (int i = 0; i < n; i++)
            assert_true(((double *)d->data)[i] == i);
        nx_scope_close(scope);
    }
}

static void count_up(void *p)
{
    ++*(int *)p;
}

static void nothing(void *arg)
{
    (void)arg;
}

/* Two streams whose tasks wait for each other's last one, pushed so fast that each takes many at once:
 * who waits must be told before the stream waits itself. */
static void streams_wait_for_each_other(void **state)
{
    nx_stream *a = nx_stream_new((nx_device){NX_CPU, 0}), *b = nx_stream_new((nx_device){NX_CPU, 0});
    for (int i = 0; i < 10000; i++) {
        nx_stream_follow(b, a, nx_stream_call(a, nothing, NULL));
        nx_stream_follow(a, b, nx_stream_call(b, nothing, NULL));
    }
    uint64_t last = nx_stream_call(a, nothing, NULL);
    nx_stream_wait(a, last);
    nx_stream_synchronize(b);
    assert_true(nx_stream_is_done(a, last));
}

static void external_memory_is_given_back_once(void **state)
{
    static float data[4] = {1, 2, 3, 4};
    int freed = 0;
    nx_scope scope = nx_scope_open();
    nx_array *a = nx_array_wrap(data, (int[]){4}, 1, NX_FLOAT32, count_up, &freed);
    nx_array *b = nx_array_ref(nx_square(a, cpu()));
    nx_scope_close(scope);
    assert_int_equal(freed, 0);
    assert_true(nx_eval(&b, 1, true));
    assert_int_equal(freed, 1); /* evaluation let the input go */
    assert_true(((float *)b->data)[3] == 16);
    assert_true((void *)b->data != (void *)data); /* the caller's memory is never written */
    nx_array_unref(&b);
    assert_int_equal(freed, 1);
}

/* Kept buffers share mapped memory, count as in use, and overlap neither each other nor later ones. */
static void kept_memory(void **state)
{
    size_t before = nx_memory_active(), sizes[5] = {100, 3 << 20, 40 << 20, 7, 15 << 20};
    nx_buffer *b[5];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 5; i++) {
            b[i] = nx_buffer_new_kept(sizes[i]);
            assert_int_equal((uintptr_t)b[i]->data % 64, 0);
            memset(b[i]->data, i + 1, sizes[i]);
        }
        assert_true(nx_memory_active() >= before + (58u << 20));
        for (int i = 0; i < 5; i++) {
            assert_int_equal(b[i]->data[0], i + 1);
            assert_int_equal(b[i]->data[sizes[i] - 1], i + 1);
        }
        for (int i = 0; i < 5; i++)
            nx_buffer_unref(&b[(i + 3 * round) % 5]);
        assert_int_equal(nx_memory_active(), before);
    }
    assert_null(nx_buffer_new_kept((size_t)1 << 49));
}

static void memory_limit_is_an_error(void **state)
{
    nx_scope scope = nx_scope_open();
    nx_array *a = nx_array_new((int[]){1 << 16}, 1, NX_FLOAT32);
    nx_array *b = nx_astype(a, NX_FLOAT64, cpu());
    size_t limit = nx_memory_set_hard_limit(nx_memory_active() + 1024);
    assert_false(nx_eval_one(b));
    assert_non_null(strstr(nx_error_message(), "[AsType] for a result of float64 (65536,): [malloc]"));
    assert_non_null(strstr(nx_error_message(), "memory limit"));
    nx_memory_set_hard_limit(limit);
    assert_true(nx_eval_one(b)); /* nothing was lost */
    nx_scope_close(scope);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(casts_arrive),
        cmocka_unit_test(long_chain),
        cmocka_unit_test(donation_reuses_memory),
        cmocka_unit_test(streams_follow_each_other),
        cmocka_unit_test(streams_wait_for_each_other),
        cmocka_unit_test(external_memory_is_given_back_once),
        cmocka_unit_test(kept_memory),
        cmocka_unit_test(memory_limit_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
