/* Arrays through readers of the caller's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "mlx/c/mlx.h"

static int errors;
static char last[256];

static void on_error(const char *message, void *data)
{
    errors++;
    snprintf(last, sizeof last, "%s", message);
}

static int start(void **state)
{
    errors = 0;
    mlx_set_error_handler(on_error, NULL, NULL);
    return 0;
}

/* A stream over bytes in memory. */
typedef struct {
    const char *bytes;
    size_t size, at;
    bool bad;
} memory;

static void memory_read(void *self, char *data, size_t n)
{
    memory *m = self;
    if (n > m->size - m->at) {
        m->bad = true;
        return;
    }
    memcpy(data, m->bytes + m->at, n);
    m->at += n;
}

static bool memory_good(void *self)
{
    return !((memory *)self)->bad;
}

static const char *memory_label(void *self)
{
    return "memory";
}

static mlx_io_reader reader_of(memory *m)
{
    return mlx_io_reader_new(
        m, (mlx_io_vtable){.read = memory_read, .good = memory_good, .label = memory_label});
}

/* int16 [2, 3], column-major: 1 3 5 / 2 4 6. */
static size_t make_npy(char *to)
{
    static const char dict[] =
        "{'descr': '<i2', 'fortran_order': True, 'shape': (2, 3), }                    \n";
    static const int16_t elements[] = {1, 2, 3, 4, 5, 6};
    char *p = to;
    memcpy(p, "\x93NUMPY\x01\x00", 8);
    p[8] = (char)(sizeof dict - 1);
    p[9] = 0;
    memcpy(p + 10, dict, sizeof dict - 1);
    memcpy(p + 10 + sizeof dict - 1, elements, sizeof elements);
    return 10 + sizeof dict - 1 + sizeof elements;
}

static void npy_comes_through_a_reader(void **state)
{
    char bytes[256];
    size_t size = make_npy(bytes);
    mlx_stream s = mlx_default_cpu_stream_new();
    for (size_t cut = 0; cut <= size; cut++) {
        memory m = {bytes, cut, 0, false};
        mlx_io_reader r = reader_of(&m);
        mlx_array a = mlx_array_new();
        int status = mlx_load_reader(&a, r, s);
        assert_int_equal(status, cut < size);
        assert_int_equal(errors, cut < size);
        errors = 0;
        if (!status) {
            assert_int_equal(mlx_array_dim(a, 1), 3);
            assert_int_equal(mlx_array_strides(a)[1], 2);
            assert_int_equal(mlx_array_data_int16(a)[3], 4);
        } else {
            assert_non_null(strstr(last, "memory"));
        }
        mlx_array_free(a);
        mlx_io_reader_free(r);
    }
}

/* Two tensors, the later one first in the header, and metadata. */
static size_t make_safetensors(char *to)
{
    static const char json[] = "{\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[8,11]},"
                               "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                               "\"__metadata__\":{\"who\":\"me\"}}";
    static const float a[] = {1.5f, -2};
    uint64_t n = sizeof json - 1;
    memcpy(to, &n, 8);
    memcpy(to + 8, json, n);
    memcpy(to + 8 + n, a, sizeof a);
    memcpy(to + 16 + n, "\x07\x08\x09", 3);
    return 19 + n;
}

static void safetensors_come_through_a_reader(void **state)
{
    char bytes[512];
    size_t size = make_safetensors(bytes);
    mlx_stream s = mlx_default_cpu_stream_new();
    mlx_map_string_to_array arrays = mlx_map_string_to_array_new();
    mlx_map_string_to_string notes = mlx_map_string_to_string_new();
    for (size_t cut = 0; cut <= size; cut++) {
        memory m = {bytes, cut, 0, false};
        mlx_io_reader r = reader_of(&m);
        int status = mlx_load_safetensors_reader(&arrays, &notes, r, s);
        assert_int_equal(status, cut < size);
        assert_int_equal(errors, cut < size);
        errors = 0;
        mlx_io_reader_free(r);
    }
    mlx_array a = mlx_array_new();
    const char *who = NULL;
    assert_int_equal(mlx_map_string_to_array_get(&a, arrays, "a"), 0);
    assert_true(mlx_array_data_float32(a)[1] == -2);
    assert_int_equal(mlx_map_string_to_array_get(&a, arrays, "b"), 0);
    assert_int_equal(mlx_array_data_uint8(a)[2], 9);
    assert_int_equal(mlx_map_string_to_string_get(&who, notes, "who"), 0);
    assert_string_equal(who, "me");
    mlx_array_free(a);
    mlx_map_string_to_array_free(arrays);
    mlx_map_string_to_string_free(notes);
}

static void memory_write(void *self, const char *data, size_t n)
{
    memory *m = self;
    m->bad = m->bad || n > m->size - m->at;
    if (!m->bad)
        memcpy((char *)m->bytes + m->at, data, n);
    m->at += m->bad ? 0 : n;
}

/* What a writer gets, a reader understands; a writer that is full is an error. */
static void writers_get_what_readers_read(void **state)
{
    char bytes[1024];
    memory out = {bytes, sizeof bytes, 0, false}, in = {bytes, 0, 0, false};
    mlx_io_vtable v = {.write = memory_write, .good = memory_good, .label = memory_label};
    mlx_io_writer w = mlx_io_writer_new(&out, v);
    mlx_stream s = mlx_default_cpu_stream_new();
    int shape[] = {3};
    float data[] = {1, 2, 3};
    mlx_array a = mlx_array_new_data(data, shape, 1, MLX_FLOAT32), b = mlx_array_new();
    mlx_map_string_to_array arrays = mlx_map_string_to_array_new();
    mlx_map_string_to_string notes = mlx_map_string_to_string_new();
    mlx_map_string_to_array_insert(arrays, "x", a);
    assert_int_equal(mlx_save_safetensors_writer(w, arrays, notes), 0);
    in.size = out.at;
    mlx_io_reader r = reader_of(&in);
    assert_int_equal(mlx_load_safetensors_reader(&arrays, &notes, r, s), 0);
    assert_int_equal(mlx_map_string_to_array_get(&b, arrays, "x"), 0);
    assert_true(mlx_array_data_float32(b)[2] == 3);
    out.size = out.at + 20;
    assert_int_equal(errors, 0);
    assert_int_equal(mlx_save_writer(w, a), 1);
    assert_int_equal(errors, 1);
    mlx_io_reader_free(r);
    mlx_io_writer_free(w);
    mlx_array_free(a);
    mlx_array_free(b);
    mlx_map_string_to_array_free(arrays);
    mlx_map_string_to_string_free(notes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(npy_comes_through_a_reader, start),
        cmocka_unit_test_setup(safetensors_come_through_a_reader, start),
        cmocka_unit_test_setup(writers_get_what_readers_read, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
