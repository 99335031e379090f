/* safetensors: what the writer writes the reader reads; damaged headers are refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/os.h"
#include "base/safetensors.h"
#include "tempdir.h"

#define assert_error(text) assert_non_null(strstr(nx_error_message(), text))

static void write_small(const char *path)
{
    static const float f32[6] = {1, 2, 3, 4, 5, 6};
    const uint64_t shape[] = {2, 3}, empty[] = {0, 4}, five[] = {5};
    nx_safetensors_writer *w = nx_safetensors_writer_new(path);
    assert_non_null(w);
    assert_true(nx_safetensors_writer_metadata(w, "format", "mlx"));
    assert_true(nx_safetensors_writer_metadata(w, "odd \"key\"", "line\nbreak \\ \xC3\xA9"));
    assert_true(nx_safetensors_writer_tensor(w, "b.weight", NX_SAFETENSORS_F32, 2, shape));
    assert_true(nx_safetensors_writer_tensor(w, "empty", NX_SAFETENSORS_I64, 2, empty));
    assert_true(nx_safetensors_writer_tensor(w, "a.bytes", NX_SAFETENSORS_U8, 1, five));
    assert_true(nx_safetensors_writer_tensor(w, "scalar", NX_SAFETENSORS_BF16, 0, NULL));
    assert_true(nx_safetensors_writer_data(w, f32, 24));
    assert_true(nx_safetensors_writer_data(w, "hello\x80\x3f", 7));
    assert_true(nx_safetensors_writer_finish(w));
    nx_safetensors_writer_free(w);
}

static void small_bytes(nx_str *out)
{
    const char *path = temp_path("small.safetensors");
    write_small(path);
    assert_true(nx_os_read_file(path, out, 1 << 20));
}

/* Bytes that stand alone in memory, so that a sanitizer sees any step outside. */
static nx_safetensors *open_bytes(const void *bytes, size_t n)
{
    unsigned char *copy = malloc(n ? n : 1);
    memcpy(copy, bytes, n);
    nx_mapping *m = nx_mapping_of_memory(copy, n, "mem");
    nx_safetensors *s = nx_safetensors_open_mapping(m);
    nx_mapping_unref(&m);
    if (!s)
        free(copy);
    return s;
}

static void close_bytes(nx_safetensors *s)
{
    void *copy = (void *)nx_mapping_data(s->file);
    nx_safetensors_free(s);
    free(copy);
}

static void test_read(void **state)
{
    write_small(temp_path("s.safetensors"));
    nx_safetensors *s = nx_safetensors_open(temp_path("s.safetensors"));
    assert_non_null(s);
    assert_int_equal(s->n_tensors, 4);
    assert_string_equal(s->tensors[0].name, "b.weight");
    assert_int_equal(s->data_offset % 8, 0);
    const nx_safetensors_tensor *b = nx_safetensors_find(s, "b.weight");
    assert_int_equal(b->dtype, NX_SAFETENSORS_F32);
    assert_int_equal(b->ndim, 2);
    assert_int_equal(b->shape[0], 2);
    assert_int_equal(b->shape[1], 3);
    assert_int_equal(b->elements, 6);
    float v;
    memcpy(&v, b->data + 20, 4);
    assert_true(v == 6.0f);
    assert_memory_equal(nx_safetensors_find(s, "a.bytes")->data, "hello", 5);
    assert_int_equal(nx_safetensors_find(s, "empty")->bytes, 0);
    assert_int_equal(nx_safetensors_find(s, "scalar")->ndim, 0);
    assert_int_equal(nx_safetensors_find(s, "scalar")->elements, 1);
    assert_null(nx_safetensors_find(s, "none"));
    assert_int_equal(s->n_metadata, 2);
    assert_true(nx_slice_is(nx_safetensors_metadata(s, "format"), "mlx"));
    assert_true(nx_slice_is(nx_safetensors_metadata(s, "odd \"key\""), "line\nbreak \\ \xC3\xA9"));
    assert_null(nx_safetensors_metadata(s, "none").data);
    nx_safetensors_free(s);
}

static void test_header_only(void **state)
{
    const uint64_t shape[] = {4};
    nx_safetensors_writer *w = nx_safetensors_writer_new(NULL);
    nx_safetensors_writer_tensor(w, "x", NX_SAFETENSORS_F16, 1, shape);
    nx_str h = {0};
    assert_true(nx_safetensors_writer_header(w, &h));
    nx_safetensors_writer_free(w);
    uint64_t n;
    assert_true(nx_safetensors_header_bytes((unsigned char *)h.data, "stream", &n));
    assert_int_equal(n, h.len - 8);
    assert_int_equal(h.len % 8, 0);
    nx_safetensors *s = nx_safetensors_parse(h.data + 8, n, UINT64_MAX, "stream");
    assert_non_null(s);
    assert_null(s->tensors[0].data);
    assert_int_equal(s->tensors[0].offset, h.len);
    nx_safetensors_free(s);
    assert_null(nx_safetensors_parse(h.data + 8, n, 7, "stream"));
    assert_error("truncated");
    nx_str_clear(&h);
}

static void test_truncated_everywhere(void **state)
{
    nx_str b = {0};
    small_bytes(&b);
    for (size_t n = 0; n < b.len; n++) {
        assert_null(open_bytes(b.data, n));
        assert_error("truncated");
    }
    nx_safetensors *s = open_bytes(b.data, b.len);
    assert_non_null(s);
    close_bytes(s);
    nx_str_clear(&b);
}

static void test_every_bit_flipped(void **state)
{
    nx_str b = {0};
    small_bytes(&b);
    volatile unsigned sum = 0;
    for (size_t bit = 0; bit < b.len * 8; bit++) {
        b.data[bit / 8] ^= (char)(1 << bit % 8);
        nx_safetensors *s = open_bytes(b.data, b.len);
        for (size_t i = 0; s && i < s->n_tensors; i++)
            for (uint64_t k = 0; k < s->tensors[i].bytes; k++)
                sum = sum + s->tensors[i].data[k];
        if (s)
            close_bytes(s);
        b.data[bit / 8] ^= (char)(1 << bit % 8);
    }
    nx_str_clear(&b);
}

/* A header of this text, followed by 64 bytes of data. */
static nx_safetensors *open_text(const char *json)
{
    static const char data[64];
    nx_str b = {0};
    uint64_t n = strlen(json);
    nx_str_add(&b, &n, 8);
    nx_str_puts(&b, json);
    nx_str_add(&b, data, sizeof data);
    nx_safetensors *s = open_bytes(b.data, b.len);
    nx_str_clear(&b);
    return s;
}

static void test_refused(void **state)
{
    static const struct {
        const char *json, *why;
    } cases[] = {
        {"[]", "must be an object"},
        {"{} x", "more text"},
        {"{\"a\":1}", "description"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", "lacks 'data_offsets'"},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", "lacks 'shape'"},
        {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", "lacks 'dtype'"},
        {"{\"a\":{\"dtype\":\"F31\",\"shape\":[1],\"data_offsets\":[0,4]}}", "'F31'"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}", "need 4"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", "whole number"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", "whole number"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":\"1\",\"data_offsets\":[0,4]}}", "array of whole"},
        {"{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", "need 2"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}",
         "more elements"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[18446744073709551615],\"data_offsets\":"
         "[0,18446744073709551615]}}",
         "more elements"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[65],\"data_offsets\":[0,65]}}", "truncated"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[3,7]}}",
         "overlap"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}}",
         "'a' occurs twice"},
        {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}}",
         "'dtype' twice"},
        {"{\"__metadata__\":{\"a\":1}}", "a string is expected"},
        {"{\"__metadata__\":[]}", "__metadata__"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", "twice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nx_safetensors *s = open_text(cases[i].json);
        if (s)
            fail_msg("accepted: %s", cases[i].json);
        if (!strstr(nx_error_message(), cases[i].why))
            fail_msg("%s\n  gave: %s", cases[i].json, nx_error_message());
    }
    assert_null(open_bytes("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10));
    assert_error("no safetensors file");
    assert_null(open_bytes("version https://git-lfs.github.com/spec/v1", 42));
    assert_error("git lfs pull");
}

static void test_accepted(void **state)
{
    nx_safetensors *s = open_text("{}      ");
    assert_non_null(s);
    assert_int_equal(s->n_tensors, 0);
    close_bytes(s);
    s = open_text("{\"a\":{\"extra\":[{}],\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[0,2]},"
                  "\"e\":{\"dtype\":\"F8_E4M3\",\"shape\":[0],\"data_offsets\":[2,2]},"
                  "\"c\":{\"dtype\":\"C64\",\"shape\":[],\"data_offsets\":[2,10]}}");
    assert_non_null(s);
    assert_int_equal(nx_safetensors_find(s, "c")->bytes, 8);
    close_bytes(s);
}

static void test_writer_refuses(void **state)
{
    const uint64_t shape[] = {4}, huge[] = {UINT64_MAX};
    int before = temp_count();
    nx_safetensors_writer *w = nx_safetensors_writer_new(temp_path("bad"));
    nx_safetensors_writer_tensor(w, "x", NX_SAFETENSORS_U8, 1, shape);
    assert_true(nx_safetensors_writer_data(w, "abc", 3));
    assert_false(nx_safetensors_writer_finish(w));
    assert_error("only 3 of 4 bytes");
    nx_safetensors_writer_free(w);
    w = nx_safetensors_writer_new(temp_path("bad"));
    nx_safetensors_writer_tensor(w, "x", NX_SAFETENSORS_U8, 1, shape);
    assert_false(nx_safetensors_writer_data(w, "abcde", 5));
    assert_error("more data");
    nx_safetensors_writer_free(w);
    w = nx_safetensors_writer_new(temp_path("bad"));
    assert_true(nx_safetensors_writer_tensor(w, "x", NX_SAFETENSORS_U8, 1, shape));
    assert_false(nx_safetensors_writer_tensor(w, "x", NX_SAFETENSORS_U8, 1, shape));
    assert_error("written twice");
    nx_safetensors_writer_free(w);
    w = nx_safetensors_writer_new(temp_path("bad"));
    assert_false(nx_safetensors_writer_tensor(w, "x", NX_SAFETENSORS_F32, 1, huge));
    assert_error("too large");
    nx_safetensors_writer_free(w);
    w = nx_safetensors_writer_new(temp_path("bad"));
    assert_false(nx_safetensors_writer_tensor(w, "\xff", NX_SAFETENSORS_F32, 1, shape));
    assert_error("UTF-8");
    nx_safetensors_writer_free(w);
    assert_int_equal(temp_count(), before);
}

static void test_dtypes(void **state)
{
    for (int i = 0; i < NX_SAFETENSORS_N_DTYPES; i++) {
        nx_safetensors_dtype d;
        assert_true(nx_safetensors_dtype_find(
            nx_slice_of(nx_safetensors_dtype_name((nx_safetensors_dtype)i)), &d));
        assert_int_equal(d, i);
        assert_true(nx_safetensors_dtype_bits(d) >= 4 && nx_safetensors_dtype_bits(d) <= 64);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_header_only),
        cmocka_unit_test(test_truncated_everywhere),
        cmocka_unit_test(test_every_bit_flipped),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_writer_refuses),
        cmocka_unit_test(test_dtypes),
    };
    return cmocka_run_group_tests(tests, temp_make, temp_drop);
}
