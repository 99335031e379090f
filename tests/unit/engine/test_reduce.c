/* Reductions, sorting and softmax: results do not depend on threads, levels agree, long rows are
 * exact. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "engine/core/eval.h"
#include "engine/core/scope.h"
#include "engine/cpu/pool.h"
#include "engine/ops/norm.h"
#include "engine/ops/reduce.h"
#include "engine/ops/rope.h"
#include "engine/ops/scan.h"
#include "engine/ops/softmax.h"
#include "engine/ops/sort.h"

static nx_stream *cpu(void)
{
    return nx_stream_default((nx_device){NX_CPU, 0});
}

static nx_array *noise(const int *shape, int ndim)
{
    nx_array *a = nx_array_new(shape, ndim, NX_FLOAT32);
    uint32_t state = 1;
    for (int64_t i = 0; i < a->size; i++) {
        state = state * 1664525u + 1013904223u;
        ((float *)a->data)[i] = (float)(state >> 8) / (1 << 24) - 0.3f;
    }
    return a;
}

enum { KINDS = 10 };

static nx_array *build(int kind, nx_array *a)
{
    switch (kind) {
    case 0: return nx_sum(a, nx_all_axes(), a->ndim, false, cpu());
    case 1: return nx_sum(a, (int[]){0}, 1, false, cpu());
    case 2: return nx_sum(a, (int[]){1}, 1, false, cpu());
    case 3: return nx_prod(a, (int[]){0}, 1, true, cpu());
    case 4: return nx_softmax(a, (int[]){-1}, 1, true, cpu());
    case 5: return nx_argsort(a, 1, cpu());
    case 6: return nx_partition(a, 1, 0, cpu());
    case 7: return nx_cumsum(a, 0, true, true, cpu());
    case 8: return nx_rms_norm(a, NULL, 1e-5f, cpu());
    default: return nx_argmax(a, 0, false, cpu());
    }
}

/* The bits of every result, with one thread and with several. */
static void threads_do_not_matter(void **state)
{
    static const int shapes[][2] = {{3, 200000}, {200000, 3}, {700, 900}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int kind = 0; kind < KINDS; kind++) {
            nx_scope scope = nx_scope_open();
            nx_array *a = noise(shapes[i], 2), *results[2];
            for (int k = 0; k < 2; k++) {
                nx_pool_set_threads(k ? 5 : 1);
                results[k] = build(kind, a);
                assert_true(nx_eval_one(results[k]));
            }
            assert_memory_equal(results[0]->data, results[1]->data,
                                (size_t)nx_array_nbytes(results[0]));
            nx_scope_close(scope);
        }
    nx_pool_set_threads(0);
}

static void long_sums_are_exact(void **state)
{
    nx_scope scope = nx_scope_open();
    nx_array *a = noise((int[]){5000000}, 1);
    double exact = 0;
    for (int64_t i = 0; i < a->size; i++)
        exact += ((float *)a->data)[i];
    nx_array *sum = nx_sum(a, nx_all_axes(), 1, false, cpu());
    assert_true(nx_eval_one(sum));
    assert_true(fabs(*(float *)sum->data - exact) <= 1e-7 * fabs(exact));
    nx_scope_close(scope);
}

/* A prompt at once, and its last token alone, are turned and normalized to the same bits. */
static void rows_do_not_depend_on_the_batch(void **state)
{
    nx_scope scope = nx_scope_open();
    nx_array *all = noise((int[]){1, 4, 37, 64}, 4);
    nx_rope_options o = {.dims = 64, .has_base = true, .base = 10000, .scale = 1};
    nx_array *one = nx_array_new((int[]){1, 4, 1, 64}, 4, NX_FLOAT32);
    for (int h = 0; h < 4; h++)
        memcpy((float *)one->data + h * 64, (float *)all->data + (h * 37 + 36) * 64, 64 * sizeof(float));
    nx_array *a = nx_rope_at(nx_rms_norm(all, NULL, 1e-5f, cpu()), &o, 5, cpu());
    nx_array *b = nx_rope_at(nx_rms_norm(one, NULL, 1e-5f, cpu()), &o, 41, cpu());
    assert_true(nx_eval_one(a) && nx_eval_one(b));
    for (int h = 0; h < 4; h++)
        assert_memory_equal((float *)a->data + (h * 37 + 36) * 64, (float *)b->data + h * 64,
                            64 * sizeof(float));
    nx_scope_close(scope);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(long_sums_are_exact),
        cmocka_unit_test(rows_do_not_depend_on_the_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
