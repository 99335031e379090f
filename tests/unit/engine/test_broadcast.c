/* Broadcasting: shapes, views, refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/error.h"
#include "engine/core/eval.h"
#include "engine/core/scope.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/shape.h"
#include "engine/ops/shape.h"

static nx_stream *cpu(void)
{
    return nx_stream_default((nx_device){NX_CPU, 0});
}

static void rows_and_columns_repeat(void **state)
{
    nx_scope scope = nx_scope_open();
    int data[3] = {1, 2, 3};
    nx_array *row = nx_array_from_data(data, (int[]){3}, 1, NX_INT32);
    nx_array *a = nx_contiguous(nx_broadcast_to(row, (int[]){2, 3}, 2, cpu()), false, cpu());
    nx_array *column = nx_array_from_data(data, (int[]){3, 1}, 2, NX_INT32);
    nx_array *b = nx_contiguous(nx_broadcast_to(column, (int[]){2, 3, 2}, 3, cpu()), false, cpu());
    assert_true(nx_eval((nx_array *[]){a, b}, 2, true));
    assert_memory_equal(a->data, ((int[]){1, 2, 3, 1, 2, 3}), 24);
    assert_memory_equal(b->data, ((int[]){1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3}), 48);
    assert_ptr_equal(nx_broadcast_to(row, (int[]){3}, 1, cpu()), row);
    nx_scope_close(scope);
}

static void arrays_meet(void **state)
{
    nx_scope scope = nx_scope_open();
    nx_array *v[3] = {nx_array_new((int[]){2, 3}, 2, NX_INT32), nx_scalar_int(1),
                      nx_array_new((int[]){5, 1, 3}, 3, NX_INT8)};
    assert_true(nx_broadcast_arrays(v, 3, cpu()));
    for (int i = 0; i < 3; i++)
        assert_string_equal(nx_shape_text(v[i]->shape, v[i]->ndim), "(5,2,3)");
    nx_array *m[2] = {nx_array_new((int[]){4, 1, 2, 3}, 4, NX_INT32),
                      nx_array_new((int[]){7, 3, 5}, 3, NX_INT32)};
    assert_true(nx_broadcast_leading(m, 2, 2, cpu()));
    assert_string_equal(nx_shape_text(m[0]->shape, m[0]->ndim), "(4,7,2,3)");
    assert_string_equal(nx_shape_text(m[1]->shape, m[1]->ndim), "(4,7,3,5)");
    nx_scope_close(scope);
}

static void misfits_are_refused(void **state)
{
    nx_scope scope = nx_scope_open();
    nx_array *a = nx_array_new((int[]){2, 3}, 2, NX_INT32);
    assert_null(nx_broadcast_to(a, (int[]){4, 3}, 2, cpu()));
    assert_string_equal(nx_error_message(),
                        "[broadcast_shapes] Shapes (2,3) and (4,3) cannot be broadcast.");
    assert_null(nx_broadcast_to(a, (int[]){1, 3}, 2, cpu()));
    assert_non_null(strstr(nx_error_message(), "Cannot broadcast array of shape (2,3) into"));
    assert_null(nx_broadcast_to(a, (int[]){2, -1}, 2, cpu()));
    assert_null(nx_broadcast_to(nx_scalar_int(1), (int[]){-1}, 1, cpu()));
    nx_scope_close(scope);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_and_columns_repeat),
        cmocka_unit_test(arrays_meet),
        cmocka_unit_test(misfits_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
