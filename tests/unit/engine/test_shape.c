/* Shapes and indexing where the oracle cannot look: what is a view, what is changed in place. */
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
#include "engine/ops/elementwise.h"
#include "engine/ops/index.h"
#include "engine/ops/shape.h"
#include "engine/ops/slice.h"

static nx_stream *cpu(void)
{
    return nx_stream_default((nx_device){NX_CPU, 0});
}

static nx_array *counting(const int *shape, int ndim)
{
    nx_array *a = nx_array_new(shape, ndim, NX_FLOAT32);
    for (int64_t i = 0; i < a->size; i++)
        ((float *)a->data)[i] = (float)i;
    return a;
}

/* Evaluates; whether a looks at b's memory. */
static bool shares(nx_array *a, nx_array *b)
{
    assert_true(nx_eval_one(a));
    return a->buffer == b->buffer;
}

static void views_copy_nothing(void **state)
{
    nx_scope scope = nx_scope_open();
    nx_stream *s = cpu();
    nx_array *x = counting((int[]){4, 6}, 2);
    nx_array *t = nx_transpose(x, s);
    nx_array *odd = nx_slice(x, (int[]){3, 0}, 2, (int[]){-9, 6}, 2, (int[]){-2, 3}, 2, s);
    nx_array *parts[3];
    assert_true(nx_split(x, 3, 1, s, parts));
    assert_true(shares(t, x) && shares(odd, x) && shares(parts[2], x));
    assert_true(*(float *)odd->data == 18 && odd->strides[0] == -12 && odd->strides[1] == 3);
    assert_true(*(float *)parts[2]->data == 4);
    assert_true(shares(nx_reshape(x, (int[]){2, 2, -1}, 3, s), x));
    assert_true(shares(nx_flatten_all(x, s), x));
    assert_true(shares(nx_expand_dims(t, 1, s), x));
    assert_true(shares(nx_squeeze(nx_expand_dims(t, 1, s), s), x));
    assert_true(shares(nx_unflatten(t, 0, (int[]){2, 3}, 2, s), x)); /* strides can say it */
    assert_true(shares(nx_unflatten(odd, 1, (int[]){2, 1}, 2, s), x));
    assert_true(shares(nx_contiguous(t, true, s), x));
    assert_true(shares(nx_as_strided(x, (int[]){3}, 1, (int64_t[]){-2}, 1, 10, s), x));
    assert_false(shares(nx_flatten_all(t, s), x)); /* strides cannot */
    assert_false(shares(nx_contiguous(t, false, s), x));
    nx_scope_close(scope);
}

/* cache = slice_update(cache, step): a key-value cache of one who holds it alone. */
static void updates_happen_in_place(void **state)
{
    nx_stream *s = cpu();
    nx_scope outer = nx_scope_open();
    nx_array *step = nx_array_ref(nx_array_new((int[]){2, 1, 64}, 3, NX_FLOAT32));
    nx_array *cache = nx_array_ref(nx_array_new((int[]){2, 512, 64}, 3, NX_FLOAT32));
    nx_scope_close(outer);
    char *memory = cache->data;
    nx_memory_reset_peak();
    size_t before = nx_memory_active();
    for (int t = 0; t < 100; t++) {
        nx_scope scope = nx_scope_open();
        for (int i = 0; i < 128; i++)
            ((float *)step->data)[i] = (float)t;
        nx_array *next =
            nx_array_ref(nx_slice_update(NX_UPDATE_NONE, cache, step, (int[]){0, t, 0}, 3,
                                         (int[]){2, t + 1, 64}, 3, (int[]){1, 1, 1}, 3, s));
        nx_scope_close(scope);
        nx_array_unref(&cache);
        cache = next;
        assert_true(nx_eval_one(cache));
        scope = nx_scope_open();
        nx_array *seen =
            nx_slice(cache, (int[]){1, 0, 0}, 3, (int[]){2, t + 1, 1}, 3, (int[]){1, 1, 1}, 3, s);
        assert_true(shares(seen, cache));
        assert_true(((float *)seen->data)[(int64_t)t * seen->strides[1]] == (float)t);
        nx_scope_close(scope);
    }
    assert_ptr_equal(cache->data, memory);
    assert_true(nx_memory_peak() <= before + 64);
    nx_array_unref(&cache);
    nx_array_unref(&step);
}

static void held_arrays_keep_their_values(void **state)
{
    nx_scope scope = nx_scope_open();
    nx_stream *s = cpu();
    nx_array *x = counting((int[]){8}, 1);
    nx_array *y = nx_slice_update(NX_UPDATE_ADD, x, nx_scalar_float(100), (int[]){2}, 1, (int[]){4},
                                  1, (int[]){1}, 1, s);
    assert_true(nx_eval_one(y));
    assert_true(((float *)y->data)[2] == 102 && ((float *)x->data)[2] == 2);

    nx_array *t = nx_copy(x, s);
    nx_array *view = nx_slice(t, (int[]){2}, 1, (int[]){8}, 1, (int[]){1}, 1, s);
    nx_array *z =
        nx_slice_update(NX_UPDATE_NONE, t, view, (int[]){0}, 1, (int[]){6}, 1, (int[]){1}, 1, s);
    assert_true(nx_eval((nx_array *[]){z, view}, 2, true));
    assert_true(((float *)z->data)[0] == 2 && ((float *)view->data)[0] == 2);
    nx_scope_close(scope);
}

/* An update of a broadcast array must not write through stride 0. */
static void broadcasts_are_copied_first(void **state)
{
    nx_scope scope = nx_scope_open();
    nx_stream *s = cpu();
    nx_array *wide = nx_broadcast_to(nx_copy(nx_scalar_float(1), s), (int[]){4}, 1, s);
    nx_array *y = nx_slice_update(NX_UPDATE_NONE, wide, nx_scalar_float(5), (int[]){1}, 1,
                                  (int[]){2}, 1, (int[]){1}, 1, s);
    assert_true(nx_eval_one(y));
    const float *v = (const float *)y->data;
    assert_true(v[0] == 1 && v[1] == 5 && v[2] == 1 && v[3] == 1);
    nx_scope_close(scope);
}

static void absurd_sizes_are_errors(void **state)
{
    nx_scope scope = nx_scope_open();
    nx_stream *s = cpu();
    nx_array *x = counting((int[]){4, 6}, 2);
    int huge = INT32_MAX;
    assert_null(nx_tile(x, (int[]){huge, huge}, 2, s));
    assert_null(nx_tile(x, (int[]){1 << 28, 1 << 28}, 2, s));
    assert_null(nx_repeat(x, huge, 0, s));
    assert_null(nx_repeat(x, -1, 0, s));
    assert_null(nx_pad_symmetric(x, huge, nx_scalar_float(0), "constant", s));
    assert_null(nx_diag(nx_flatten_all(x, s), huge, s));
    assert_null(nx_diag(nx_flatten_all(x, s), INT32_MIN, s));
    assert_null(nx_reshape(x, (int[]){huge, huge, huge, huge}, 4, s));
    assert_null(nx_reshape(x, (int[]){INT32_MIN, 24}, 2, s));
    assert_null(nx_as_strided(x, (int[]){huge, huge, huge}, 3, (int64_t[]){0, 0, 0}, 3, 0, s));
    assert_null(nx_squeeze_axis(x, INT32_MIN, s));
    nx_array *d = nx_diagonal(x, INT32_MIN, 0, 1, s); /* far outside: nothing */
    assert_true(d && d->size == 0);
    int ones[40];
    for (int i = 0; i < 40; i++)
        ones[i] = 1;
    assert_null(nx_tile(x, ones, 40, s));
    nx_array *deep = nx_reshape(nx_scalar_float(1), ones, 32, s);
    assert_non_null(deep);
    assert_null(nx_expand_dims(deep, 0, s));
    assert_null(nx_stack((nx_array *[]){deep, deep}, 2, 0, s));
    assert_null(nx_take_axis(deep, nx_reshape(nx_scalar_int(0), ones, 2, s), 0, s));
    assert_null(nx_unflatten(deep, 0, ones, 2, s));
    nx_scope_close(scope);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_copy_nothing),
        cmocka_unit_test(updates_happen_in_place),
        cmocka_unit_test(held_arrays_keep_their_values),
        cmocka_unit_test(broadcasts_are_copied_first),
        cmocka_unit_test(absurd_sizes_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
