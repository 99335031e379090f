/* Arrays of more than 2^31 elements: every kernel counts them in 64 bits, and what lies past the
 * 31st bit is read and written where it should be. Skipped where there is less. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/error.h"
#include "engine/core/buffer.h"
#include "engine/core/eval.h"
#include "engine/core/scope.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/creation.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/index.h"
#include "engine/ops/matmul.h"
#include "engine/ops/reduce.h"
#include "engine/ops/scan.h"
#include "engine/ops/shape.h"
#include "engine/ops/slice.h"

enum { ROWS = 3, COLUMNS = 715827890 }; /* 2^31 + 22 elements */
static const int shape[2] = {ROWS, COLUMNS};
static const int64_t most_memory = 12LL << 30;

static nx_stream *cpu(void)
{
    return nx_stream_default((nx_device){NX_CPU, 0});
}

static nx_array *number(int v)
{
    return nx_scalar(v, NX_INT8);
}

static nx_array *a; /* zeros [ROWS, COLUMNS], but 1, 2, 3, 4, 5 at the end of the last row */

/* The element at [row, column] as an integer. */
static int at(nx_array *x, int row, int column)
{
    nx_array *one = nx_slice(x, (int[]){row, column}, 2, (int[]){row + 1, column + 1}, 2,
                             (int[]){1, 1}, 2, cpu());
    one = nx_contiguous(nx_astype(one, NX_INT32, cpu()), false, cpu());
    if (!one || !nx_eval_one(one))
        fail_msg("%s", nx_error_message());
    return *(const int *)one->data;
}

static int64_t value(nx_array *x)
{
    x = nx_contiguous(nx_astype(x, NX_INT64, cpu()), false, cpu());
    if (!x || !nx_eval_one(x))
        fail_msg("%s", nx_error_message());
    return *(const int64_t *)x->data;
}

static nx_scope all, scope;

static int begin_all(void **state)
{
    (void)state;
    all = nx_scope_open();
    nx_memory_set_cache_limit(0);
    a = nx_array_new(shape, 2, NX_INT8);
    if (!a)
        return -1;
    memset(a->data, 0, (size_t)a->size);
    memcpy((char *)a->data + a->size - 5, "\1\2\3\4\5", 5);
    return 0;
}

static int end_all(void **state)
{
    (void)state;
    nx_scope_close(all);
    return 0;
}

static int begin(void **state)
{
    (void)state;
    scope = nx_scope_open();
    return 0;
}

static int end(void **state)
{
    (void)state;
    nx_scope_close(scope);
    return 0;
}

static void the_far_end_is_read(void **state)
{
    assert_true(a->size > INT32_MAX);
    assert_int_equal(at(a, ROWS - 1, COLUMNS - 1), 5);
    assert_int_equal(at(a, ROWS - 1, COLUMNS - 5), 1);
    assert_int_equal(at(a, ROWS - 1, COLUMNS - 6), 0);
    assert_int_equal(at(a, 0, 0), 0);
    assert_null(nx_reshape(a, (int[]){-1}, 1, cpu())); /* no dimension is as long */
    assert_null(nx_flatten_all(a, cpu()));
}

static void the_far_end_is_written(void **state)
{
    nx_array *changed = nx_slice_update(NX_UPDATE_NONE, a, number(77), (int[]){ROWS - 1, COLUMNS - 2}, 2,
                                        shape, 2, (int[]){1, 1}, 2, cpu());
    assert_int_equal(at(changed, ROWS - 1, COLUMNS - 1), 77);
    assert_int_equal(at(changed, ROWS - 1, COLUMNS - 3), 3);
    assert_int_equal(at(a, ROWS - 1, COLUMNS - 1), 5);
}

static void sums_take_all(void **state)
{
    nx_array *ones = nx_broadcast_to(nx_scalar(1, NX_UINT8), shape, 2, cpu());
    assert_int_equal(value(nx_sum(ones, (int[]){0, 1}, 2, false, cpu())), (int64_t)ROWS * COLUMNS);
    assert_int_equal(value(nx_sum(a, (int[]){0, 1}, 2, false, cpu())), 15);
    assert_int_equal(value(nx_max(a, (int[]){0, 1}, 2, false, cpu())), 5);
    assert_int_equal(value(nx_any(nx_equal(a, number(5), cpu()), (int[]){0, 1}, 2, false, cpu())), 1);
    nx_array *rows = nx_expand_dims(nx_sum(a, (int[]){1}, 1, false, cpu()), 0, cpu());
    assert_int_equal(at(rows, 0, ROWS - 1), 15);
    assert_int_equal(at(rows, 0, 0), 0);
}

static void columns_are_reduced(void **state)
{
    nx_array *columns = nx_expand_dims(nx_max(a, (int[]){0}, 1, false, cpu()), 0, cpu());
    assert_int_equal(at(columns, 0, COLUMNS - 1), 5);
    assert_int_equal(at(columns, 0, COLUMNS - 6), 0);
}

static void elementwise_reaches_the_end(void **state)
{
    nx_array *row = nx_slice(a, (int[]){ROWS - 1, 0}, 2, shape, 2, (int[]){1, 1}, 2, cpu());
    nx_array *sum = nx_add(a, row, cpu()); /* the row for every row */
    assert_int_equal(at(sum, ROWS - 1, COLUMNS - 1), 10);
    assert_int_equal(at(sum, 0, COLUMNS - 2), 4);
    nx_array *chosen = nx_where(nx_greater(a, number(3), cpu()), number(9), a, cpu());
    assert_int_equal(at(chosen, ROWS - 1, COLUMNS - 1), 9);
    assert_int_equal(at(chosen, ROWS - 1, COLUMNS - 3), 3);
}

static void arguments_are_found(void **state)
{
    nx_array *places = nx_expand_dims(nx_argmax(a, 1, false, cpu()), 0, cpu());
    assert_int_equal(at(places, 0, ROWS - 1), COLUMNS - 1);
    assert_int_equal(at(places, 0, 0), 0);
}

static void scans_go_on(void **state)
{
    nx_array *sums = nx_cumsum(a, 1, false, true, cpu());
    assert_int_equal(at(sums, ROWS - 1, COLUMNS - 1), 15);
    assert_int_equal(at(sums, ROWS - 1, COLUMNS - 4), 3);
    nx_array *back = nx_cumsum(a, 1, true, true, cpu());
    assert_int_equal(at(back, ROWS - 1, 0), 15);
    assert_int_equal(at(back, ROWS - 1, COLUMNS - 1), 5);
}

static void indices_reach_the_end(void **state)
{
    nx_array *rows = nx_take_axis(a, nx_reshape(nx_scalar(ROWS - 1, NX_INT32), (int[]){1}, 1, cpu()), 0,
                                  cpu());
    assert_int_equal(at(rows, 0, COLUMNS - 1), 5);
    nx_array *last = nx_reshape(nx_scalar(COLUMNS - 2, NX_INT32), (int[]){1}, 1, cpu());
    assert_int_equal(at(nx_take_axis(a, last, 1, cpu()), ROWS - 1, 0), 4);
    nx_array *places = nx_broadcast_to(last, (int[]){ROWS, 1}, 2, cpu());
    assert_int_equal(at(nx_take_along_axis(a, places, 1, cpu()), ROWS - 1, 0), 4);
    nx_array *put = nx_put_along_axis(a, places, number(77), 1, cpu());
    assert_int_equal(at(put, ROWS - 1, COLUMNS - 2), 77);
    assert_int_equal(at(put, ROWS - 1, COLUMNS - 1), 5);
}

static void transposed_copies_are_whole(void **state)
{
    nx_array *t = nx_contiguous(nx_transpose(a, cpu()), false, cpu()); /* [COLUMNS, ROWS] */
    assert_int_equal(at(t, COLUMNS - 1, ROWS - 1), 5);
    assert_int_equal(at(t, COLUMNS - 5, ROWS - 1), 1);
    assert_int_equal(at(t, COLUMNS - 1, 0), 0);
    nx_array *turned = nx_slice(t, (int[]){COLUMNS - 1, ROWS - 1}, 2, (int[]){-COLUMNS - 1, -ROWS - 1},
                                2, (int[]){-1, -1}, 2, cpu());
    assert_int_equal(at(nx_contiguous(turned, false, cpu()), 0, 0), 5);
}

static void parts_are_joined(void **state)
{
    nx_array *row = nx_slice(a, (int[]){ROWS - 1, 0}, 2, shape, 2, (int[]){1, 1}, 2, cpu());
    nx_array *joined = nx_concatenate((nx_array *[]){a, row}, 2, 0, cpu());
    assert_int_equal(at(joined, ROWS, COLUMNS - 1), 5);
    assert_int_equal(at(joined, ROWS - 1, COLUMNS - 1), 5);
    assert_int_equal(at(joined, ROWS, 0), 0);
}

/* A matrix of 2^31 + 2^15 halves by a vector: its last row. */
static void products_read_it_all(void **state)
{
    enum { M = 65537, K = 32768 };
    nx_array *w = nx_array_new((int[]){M, K}, 2, NX_FLOAT16);
    assert_non_null(w);
    uint16_t *last = (uint16_t *)w->data + (int64_t)M * K - 2;
    memset(w->data, 0, (size_t)nx_array_nbytes(w));
    last[0] = last[1] = 0x3c00; /* 1 */
    nx_array *x = nx_ones((int[]){1, K}, 2, NX_FLOAT16, cpu());
    nx_array *out = nx_matmul(x, nx_transpose(w, cpu()), cpu());
    assert_int_equal(at(out, 0, M - 1), 2);
    assert_int_equal(at(out, 0, M - 2), 0);
}

/* What the system could give without swapping, in bytes. */
static int64_t memory_available(void)
{
    char line[128];
    long long kilobytes = 0;
    FILE *f = fopen("/proc/meminfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %lld", &kilobytes) == 1)
            break;
    if (f)
        fclose(f);
    return kilobytes << 10;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(the_far_end_is_read), TEST(the_far_end_is_written), TEST(sums_take_all), TEST(columns_are_reduced),
        TEST(elementwise_reaches_the_end), TEST(arguments_are_found), TEST(scans_go_on),
        TEST(indices_reach_the_end), TEST(transposed_copies_are_whole), TEST(parts_are_joined),
        TEST(products_read_it_all),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    if (memory_available() < most_memory) {
        printf("skipped: %lld bytes of memory are needed\n", (long long)most_memory);
        return 77;
    }
    return cmocka_run_group_tests(tests, begin_all, end_all);
}
