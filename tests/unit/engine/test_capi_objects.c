/* Strings, vectors, maps, closures, readers and errors behind the public interface. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "mlx/c/mlx.h"

static struct {
    int calls;
    char last[256];
} seen;

static void on_error(const char *message, void *data)
{
    seen.calls++;
    snprintf(seen.last, sizeof seen.last, "%s", message);
}

static int start(void **state)
{
    memset(&seen, 0, sizeof seen);
    mlx_set_error_handler(on_error, NULL, NULL);
    return 0;
}

/* Exactly one call of the handler since the last time, and what it said. */
static void assert_one_error(const char *part)
{
    assert_int_equal(seen.calls, 1);
    if (!strstr(seen.last, part))
        fail_msg("\"%s\" is not in \"%s\"", part, seen.last);
    seen.calls = 0;
}

static int int_of(mlx_array a)
{
    int32_t v = -1;
    assert_int_equal(mlx_array_item_int32(&v, a), 0);
    return v;
}

static void count_down(void *counter)
{
    --*(int *)counter;
}

static void handler_data_is_freed_once(void **state)
{
    int counter = 2;
    mlx_set_error_handler(on_error, &counter, count_down);
    mlx_set_error_handler(on_error, &counter, count_down);
    assert_int_equal(counter, 1);
    mlx_set_error_handler(on_error, NULL, NULL);
    assert_int_equal(counter, 0);
    mlx_error("number %d", 7);
    assert_one_error("number 7 at ");
}

static void strings_are_replaced_in_place(void **state)
{
    mlx_string s = mlx_string_new_data("one"), copy = s, t = mlx_string_new_data("two");
    assert_int_equal(mlx_string_set(&s, t), 0);
    assert_string_equal(mlx_string_data(copy), "two");
    mlx_string_free(t);
    assert_string_equal(mlx_string_data(s), "two");
    mlx_string_free(s);
    assert_null(mlx_string_data(mlx_string_new()));
    assert_one_error("mlx_string_data");
    mlx_string v = mlx_string_new();
    assert_int_equal(mlx_version(&v), 0);
    assert_string_equal(mlx_string_data(v), "0.31.2");
    mlx_string_free(v);
}

static void handles_share_what_is_set(void **state)
{
    mlx_array a = mlx_array_new_int(1), copy = a, b = mlx_array_new_int(2);
    assert_int_equal(mlx_array_set(&a, b), 0);
    assert_int_equal(int_of(copy), 2);
    mlx_array_free(b);
    assert_int_equal(mlx_array_set_float32(&a, 2.5f), 0);
    assert_int_equal(int_of(copy), 2);
    assert_int_equal(mlx_array_dtype(copy), MLX_FLOAT32);
    assert_int_equal(mlx_array_set(&a, mlx_array_new()), 1);
    assert_one_error("src");
    assert_int_equal(mlx_array_dtype(a), MLX_FLOAT32);
    mlx_array_free(a);
    mlx_array_free(mlx_array_empty);
}

static void arrays_tell_what_they_are(void **state)
{
    int shape[] = {2, 3};
    int16_t data[] = {1, 2, 3, 4, 5, -6};
    mlx_array a = mlx_array_new_data(data, shape, 2, MLX_INT16);
    assert_int_equal(mlx_array_itemsize(a), 2);
    assert_int_equal(mlx_array_size(a), 6);
    assert_int_equal(mlx_array_nbytes(a), 12);
    assert_int_equal(mlx_array_dim(a, -1), 3);
    assert_int_equal(mlx_array_strides(a)[0], 3);
    assert_int_equal(mlx_array_data_int16(a)[5], -6);
    assert_int_equal(seen.calls, 0);
    mlx_array_dim(a, 2);
    assert_one_error("dimension 2");
    int32_t v = 77;
    assert_int_equal(mlx_array_item_int32(&v, a), 1);
    assert_one_error("(2,3)");
    assert_int_equal(v, 77);
    mlx_array_free(a);
    assert_null(mlx_array_new_data(data, shape, 2, (mlx_dtype)99).ctx);
    assert_one_error("99");
    shape[0] = -1;
    assert_null(mlx_array_new_data(data, shape, 2, MLX_INT16).ctx);
    assert_one_error("negative");
    assert_int_equal(mlx_array_size(mlx_array_new()), 0);
    assert_one_error("mlx_array_size");
}

static void items_are_converted(void **state)
{
    mlx_array a = mlx_array_new_float64(-3.75);
    int8_t i = 0;
    double d = 0;
    bool b = false;
    mlx_complex64_t z;
    assert_int_equal(mlx_array_item_int8(&i, a), 0);
    assert_int_equal(mlx_array_item_float64(&d, a), 0);
    assert_int_equal(mlx_array_item_bool(&b, a), 0);
    assert_int_equal(mlx_array_item_complex64(&z, a), 0);
    assert_int_equal(i, -3);
    assert_true(d == -3.75 && b && crealf(z) == -3.75f && cimagf(z) == 0);
    mlx_array_free(a);
    uint64_t big = UINT64_MAX - 1, back = 0;
    a = mlx_array_new_data(&big, NULL, 0, MLX_UINT64);
    assert_int_equal(mlx_array_item_uint64(&back, a), 0);
    assert_true(back == big);
    mlx_array_free(a);
}

static void managed_memory_is_given_back_once(void **state)
{
    int counter = 1, shape[] = {4};
    float data[4] = {1, 2, 3, 4};
    mlx_array a =
        mlx_array_new_data_managed_payload(data, shape, 1, MLX_FLOAT32, &counter, count_down);
    mlx_array b = mlx_array_new();
    assert_int_equal(mlx_array_set(&b, a), 0);
    mlx_array_free(a);
    assert_int_equal(counter, 1);
    assert_ptr_equal(mlx_array_data_float32(b), data);
    mlx_array_free(b);
    assert_int_equal(counter, 0);
}

static void vectors_own_their_elements(void **state)
{
    mlx_array a[2] = {mlx_array_new_int(10), mlx_array_new_int(11)}, got = mlx_array_new();
    mlx_vector_array v = mlx_vector_array_new_data(a, 2), w = mlx_vector_array_new();
    mlx_array_free(a[0]);
    assert_int_equal(mlx_vector_array_append_value(v, a[1]), 0);
    assert_int_equal(mlx_vector_array_set(&w, v), 0);
    assert_int_equal(mlx_vector_array_set(&v, v), 0);
    mlx_vector_array_free(v);
    assert_int_equal(mlx_vector_array_size(w), 3);
    assert_int_equal(mlx_vector_array_get(&got, w, 0), 0);
    assert_int_equal(int_of(got), 10);
    assert_int_equal(mlx_vector_array_get(&got, w, 3), 1);
    assert_one_error("index 3");
    assert_int_equal(int_of(got), 10);
    a[0] = mlx_array_new();
    assert_int_equal(mlx_vector_array_append_data(w, a, 2), 1);
    assert_one_error("element 0");
    assert_int_equal(mlx_vector_array_size(w), 3);
    mlx_vector_vector_array vv = mlx_vector_vector_array_new_value(w);
    mlx_vector_array_free(w);
    w = mlx_vector_array_new();
    assert_int_equal(mlx_vector_vector_array_get(&w, vv, 0), 0);
    assert_int_equal(mlx_vector_array_size(w), 3);
    mlx_vector_vector_array_free(vv);
    mlx_vector_array_free(w);
    mlx_array_free(got);
    mlx_array_free(a[1]);
}

static void vectors_of_ints_and_strings(void **state)
{
    int data[] = {3, 4}, x = 0;
    mlx_vector_int v = mlx_vector_int_new_data(data, 2);
    mlx_vector_int_append_value(v, 5);
    assert_int_equal(mlx_vector_int_get(&x, v, 2), 0);
    assert_int_equal(x, 5);
    mlx_vector_int_free(v);
    char word[] = "word", *text = NULL;
    const char *words[] = {word, "else"};
    mlx_vector_string s = mlx_vector_string_new_data(words, 2);
    word[0] = 'x';
    assert_int_equal(mlx_vector_string_get(&text, s, 0), 0);
    assert_string_equal(text, "word");
    assert_int_equal(mlx_vector_string_append_value(s, NULL), 1);
    assert_one_error("mlx_vector_string_append");
    mlx_vector_string_free(s);
}

static void maps_find_and_walk(void **state)
{
    mlx_map_string_to_array m = mlx_map_string_to_array_new(), n = mlx_map_string_to_array_new();
    mlx_array a = mlx_array_new();
    char key[16];
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "k%d", i % 50); /* the second half replaces the first */
        mlx_array_set_int(&a, i);
        assert_int_equal(mlx_map_string_to_array_insert(m, key, a), 0);
    }
    assert_int_equal(mlx_map_string_to_array_set(&n, m), 0);
    mlx_map_string_to_array_free(m);
    assert_int_equal(mlx_map_string_to_array_get(&a, n, "k7"), 0);
    assert_int_equal(int_of(a), 57);
    assert_int_equal(mlx_map_string_to_array_get(&a, n, "none"), 2);
    assert_int_equal(int_of(a), 57);
    int sum = 0, entries = 0;
    const char *name;
    mlx_map_string_to_array_iterator it = mlx_map_string_to_array_iterator_new(n);
    while (mlx_map_string_to_array_iterator_next(&name, &a, it) == 0) {
        sum += int_of(a);
        entries++;
    }
    mlx_map_string_to_array_iterator_free(it);
    assert_int_equal(entries, 50);
    assert_int_equal(sum, 50 * 50 + 49 * 25);
    mlx_map_string_to_array_free(n);
    mlx_array_free(a);

    mlx_map_string_to_string t = mlx_map_string_to_string_new();
    const char *value = NULL;
    assert_int_equal(mlx_map_string_to_string_insert(t, "a", "1"), 0);
    assert_int_equal(mlx_map_string_to_string_insert(t, "a", "2"), 0);
    assert_int_equal(mlx_map_string_to_string_get(&value, t, "a"), 0);
    assert_string_equal(value, "2");
    assert_int_equal(mlx_map_string_to_string_get(&value, t, "b"), 2);
    assert_int_equal(seen.calls, 0);
    mlx_map_string_to_string_free(t);
}

static int first_input(mlx_vector_array *res, const mlx_vector_array in, void *payload)
{
    mlx_array a = mlx_array_new();
    if (mlx_vector_array_get(&a, in, 0))
        return 1;
    int status = mlx_vector_array_set_value(res, a);
    mlx_array_free(a);
    return status;
}

static int same(mlx_array *res, const mlx_array x)
{
    return mlx_array_set(res, x);
}

static void closures_live_as_long_as_a_handle(void **state)
{
    int counter = 1;
    mlx_closure f = mlx_closure_new_func_payload(first_input, &counter, count_down);
    mlx_closure g = mlx_closure_new();
    assert_int_equal(mlx_closure_set(&g, f), 0);
    mlx_closure_free(f);
    assert_int_equal(counter, 1);
    mlx_array a = mlx_array_new_int(5), b = mlx_array_new();
    mlx_vector_array in = mlx_vector_array_new_value(a), out = mlx_vector_array_new();
    assert_int_equal(mlx_closure_apply(&in, g, in), 0); /* the result may be the input */
    assert_int_equal(mlx_closure_apply(&out, g, in), 0);
    assert_int_equal(mlx_vector_array_get(&b, out, 0), 0);
    assert_int_equal(int_of(b), 5);
    mlx_vector_array none = mlx_vector_array_new();
    assert_int_equal(mlx_closure_apply(&out, g, none), 1);
    assert_int_equal(seen.calls, 2); /* the callback's own error, then the call's */
    seen.calls = 0;
    assert_int_equal(mlx_vector_array_size(out), 1);
    mlx_closure_free(g);
    assert_int_equal(counter, 0);
    mlx_closure u = mlx_closure_new_unary(same);
    assert_int_equal(mlx_closure_apply(&out, u, in), 0);
    mlx_closure_free(u);
    assert_int_equal(mlx_closure_apply(&out, mlx_closure_new(), in), 1);
    assert_one_error("cls");
    mlx_vector_array_free(none);
    mlx_vector_array_free(in);
    mlx_vector_array_free(out);
    mlx_array_free(a);
    mlx_array_free(b);
}

static void gguf_keeps_values_of_three_kinds(void **state)
{
    mlx_io_gguf g = mlx_io_gguf_new();
    mlx_array a = mlx_array_new_int(3), got = mlx_array_new();
    mlx_string text = mlx_string_new();
    const char *words[] = {"x", "y"};
    mlx_vector_string list = mlx_vector_string_new_data(words, 2), keys = mlx_vector_string_new();
    bool flag = true;
    assert_int_equal(mlx_io_gguf_set_array(g, "w", a), 0);
    assert_int_equal(mlx_io_gguf_set_metadata_array(g, "n", a), 0);
    assert_int_equal(mlx_io_gguf_set_metadata_string(g, "s", "text"), 0);
    assert_int_equal(mlx_io_gguf_set_metadata_string(g, "l", "was a string"), 0);
    assert_int_equal(mlx_io_gguf_set_metadata_vector_string(g, "l", list), 0);
    assert_int_equal(mlx_io_gguf_get_array(&got, g, "w"), 0);
    assert_int_equal(int_of(got), 3);
    assert_int_equal(mlx_io_gguf_get_metadata_string(&text, g, "s"), 0);
    assert_string_equal(mlx_string_data(text), "text");
    assert_int_equal(mlx_io_gguf_get_metadata_string(&text, g, "l"), 2);
    assert_int_equal(mlx_io_gguf_get_metadata_vector_string(&keys, g, "l"), 0);
    assert_int_equal(mlx_vector_string_size(keys), 2);
    assert_int_equal(mlx_io_gguf_get_keys(&keys, g), 0);
    assert_int_equal(mlx_vector_string_size(keys), 1);
    assert_int_equal(mlx_io_gguf_has_metadata_array(&flag, g, "s"), 0);
    assert_false(flag);
    assert_int_equal(mlx_io_gguf_get_array(&got, g, "n"), 2);
    assert_int_equal(seen.calls, 0);
    mlx_vector_string_free(list);
    mlx_vector_string_free(keys);
    mlx_string_free(text);
    mlx_array_free(a);
    mlx_array_free(got);
    mlx_io_gguf_free(g);
}

static const char *label(void *desc)
{
    return "here";
}

static void readers_free_their_descriptor(void **state)
{
    int counter = 1;
    void *desc = NULL;
    mlx_string s = mlx_string_new();
    mlx_io_reader r =
        mlx_io_reader_new(&counter, (mlx_io_vtable){.label = label, .free = count_down});
    assert_int_equal(mlx_io_reader_descriptor(&desc, r), 0);
    assert_ptr_equal(desc, &counter);
    assert_int_equal(mlx_io_reader_tostring(&s, r), 0);
    assert_string_equal(mlx_string_data(s), "here");
    mlx_io_reader_free(r);
    assert_int_equal(counter, 0);
    mlx_string_free(s);
}

static void devices_and_streams(void **state)
{
    mlx_device d = mlx_device_new(), cpu = mlx_device_new_type(MLX_CPU, 0);
    mlx_stream s = mlx_stream_new(), t = mlx_stream_new_device(cpu);
    mlx_string text = mlx_string_new();
    bool flag = false;
    assert_int_equal(mlx_get_default_stream(&s, cpu), 0);
    assert_int_equal(mlx_stream_get_device(&d, s), 0);
    assert_true(mlx_device_equal(d, cpu));
    assert_false(mlx_stream_equal(s, t));
    assert_int_equal(mlx_device_tostring(&text, d), 0);
    assert_string_equal(mlx_string_data(text), "Device(cpu, 0)");
    assert_int_equal(mlx_device_is_available(&flag, cpu), 0);
    assert_true(flag);
    assert_int_equal(mlx_synchronize(t), 0);
    mlx_device_info info = mlx_device_info_new();
    const char *arch = NULL;
    size_t size;
    assert_int_equal(mlx_device_info_get(&info, cpu), 0);
    assert_int_equal(mlx_device_info_get_string(&arch, info, "architecture"), 0);
    assert_true(arch && arch[0]);
    assert_int_equal(mlx_device_info_get_size(&size, info, "nothing"), 2);
    mlx_vector_string keys = mlx_vector_string_new();
    assert_int_equal(mlx_device_info_get_keys(&keys, info), 0);
    assert_int_equal(mlx_vector_string_size(keys), 2);
    assert_int_equal(seen.calls, 0);
    assert_int_equal(mlx_synchronize(mlx_stream_new()), 1);
    assert_one_error("stream");
    mlx_vector_string_free(keys);
    mlx_device_info_free(info);
    mlx_string_free(text);
    mlx_stream_free(s);
    mlx_stream_free(t);
    mlx_device_free(d);
    mlx_device_free(cpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(handler_data_is_freed_once, start),
        cmocka_unit_test_setup(strings_are_replaced_in_place, start),
        cmocka_unit_test_setup(handles_share_what_is_set, start),
        cmocka_unit_test_setup(arrays_tell_what_they_are, start),
        cmocka_unit_test_setup(items_are_converted, start),
        cmocka_unit_test_setup(managed_memory_is_given_back_once, start),
        cmocka_unit_test_setup(vectors_own_their_elements, start),
        cmocka_unit_test_setup(vectors_of_ints_and_strings, start),
        cmocka_unit_test_setup(maps_find_and_walk, start),
        cmocka_unit_test_setup(closures_live_as_long_as_a_handle, start),
        cmocka_unit_test_setup(gguf_keeps_values_of_three_kinds, start),
        cmocka_unit_test_setup(readers_free_their_descriptor, start),
        cmocka_unit_test_setup(devices_and_streams, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
