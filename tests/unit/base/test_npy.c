/* Headers of .npy files: NumPy's and MLX's as they are, ours there and back, damaged ones. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/npy.h"

#define assert_error(text) assert_non_null(strstr(nx_error_message(), text))

/* A file of this header text, as version 1 or 2, parsed where nothing lies behind it. */
static bool parse(nx_npy *out, int version, const char *text, uint64_t file_bytes)
{
    nx_str s = {0};
    size_t n = strlen(text);
    nx_str_add(&s, "\x93NUMPY", 6);
    nx_str_putc(&s, (char)version);
    nx_str_putc(&s, 0);
    for (int i = 0; i < (version > 1 ? 4 : 2); i++)
        nx_str_putc(&s, (char)(n >> 8 * i & 0xFF));
    nx_str_puts(&s, text);
    char *copy = malloc(s.len);
    memcpy(copy, s.data, s.len);
    bool ok = nx_npy_parse(out, copy, s.len, file_bytes, "mem");
    free(copy);
    nx_str_clear(&s);
    return ok;
}

static void test_numpy(void **state)
{
    nx_npy f;
    assert_true(
        parse(&f, 1, "{'descr': '>f4', 'fortran_order': True, 'shape': (2, 3), }   \n", -1));
    assert_int_equal(f.kind, 'f');
    assert_int_equal(f.size, 4);
    assert_true(f.swapped && f.fortran);
    assert_int_equal(f.ndim, 2);
    assert_int_equal(f.shape[1], 3);
    assert_int_equal(f.bytes, 24);
    assert_true(parse(&f, 1, "{'descr': '<V2', 'fortran_order': False, 'shape': (2, 3, )} \n", -1));
    assert_int_equal(f.kind, 'V');
    assert_int_equal(f.ndim, 2);
    assert_true(parse(&f, 2, "{'shape': (5L,), 'fortran_order': False, \"descr\": '|b1'}\n", -1));
    assert_int_equal(f.elements, 5);
    assert_false(f.swapped);
    assert_true(parse(&f, 3, "{'descr': '<c16', 'fortran_order': True, 'shape': ()} \n", -1));
    assert_int_equal(f.ndim, 0);
    assert_int_equal(f.bytes, 16);
    assert_true(parse(&f, 1, "{'descr': '<i8', 'fortran_order': False, 'shape': (0, 7), }\n", -1));
    assert_int_equal(f.bytes, 0);
}

static void test_there_and_back(void **state)
{
    for (int ndim = 0; ndim <= NX_NPY_MAX_DIMS; ndim++) {
        nx_npy in = {.kind = 'u', .size = 1u << ndim % 4, .ndim = ndim, .fortran = ndim == 3}, f;
        for (int i = 0; i < ndim; i++)
            in.shape[i] = i % 3 ? 1 : 2;
        nx_str s = {0};
        nx_npy_header(&s, &in);
        assert_int_equal(s.len % 64, 0);
        assert_true(nx_npy_parse(&f, s.data, s.len, UINT64_MAX, "mem"));
        assert_int_equal(f.kind, 'u');
        assert_int_equal(f.size, in.size);
        assert_int_equal(f.fortran, in.fortran);
        assert_int_equal(f.ndim, ndim);
        assert_memory_equal(f.shape, in.shape, sizeof f.shape);
        assert_int_equal(f.data_offset, s.len);
        assert_true(nx_npy_parse(&f, s.data, s.len, s.len + f.bytes, "mem"));
        assert_false(nx_npy_parse(&f, s.data, s.len, s.len + f.bytes - 1, "mem"));
        assert_error("truncated");
        for (size_t n = 0; n < s.len; n++)
            assert_false(nx_npy_parse(&f, s.data, n, UINT64_MAX, "mem"));
        nx_str_clear(&s);
    }
}

static void test_refused(void **state)
{
    static const char *const cases[][2] = {
        {"x ", "'{' is expected"},
        {"{'descr': '<f4', 'fortran_order': False}", "missing"},
        {"{'descr': '<f4', 'descr': '<f4'}", "twice"},
        {"{'descr': '<f4', 'more': 1}", "not known"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': ()}", "structured"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': ()}", "'|O'"},
        {"{'descr': '<U3', 'fortran_order': False, 'shape': ()}", "'<U3'"},
        {"{'descr': '<f3', 'fortran_order': False, 'shape': ()}", "'<f3'"},
        {"{'descr': '<f4', 'fortran_order': Maybe, 'shape': ()}", "True or False"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "whole number"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1 2)}", "',' or ')'"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': 3}", "tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "too large"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}",
         "more elem"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387903,)}", "more elem"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': ()} x", "more text"},
        {"{'descr': '<f4", "not closed"},
        {"{'descr' '<f4'}", "':' is expected"},
    };
    nx_npy f;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (parse(&f, 2, cases[i][0], UINT64_MAX))
            fail_msg("accepted: %s", cases[i][0]);
        if (!strstr(nx_error_message(), cases[i][1]))
            fail_msg("%s\n  gave: %s", cases[i][0], nx_error_message());
    }
    assert_false(parse(&f, 4, "{}", UINT64_MAX));
    assert_error("version 4");
    assert_false(nx_npy_parse(&f, "PK\3\4PK\3\4PK\3\4", 12, 12, "mem"));
    assert_error("no .npy file");
    assert_false(nx_npy_parse(&f, "\x93NUMPY\2\0\xff\xff\xff\xff", 12, 12, "mem"));
    assert_error("4294967295 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numpy),
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
