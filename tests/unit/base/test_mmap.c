/* Mapped files: contents, counting, what is refused, and hints that change nothing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mmap.h"
#include "base/os.h"
#include "tempdir.h"

#define assert_error(text) assert_non_null(strstr(nx_error_message(), text))

static void test_refused(void **state)
{
    assert_null(nx_mapping_open(temp_path("missing")));
    assert_error("missing does not exist");
    assert_true(nx_os_write_file(temp_path("empty"), "", 0));
    assert_null(nx_mapping_open(temp_path("empty")));
    assert_error("empty is empty");
    assert_null(nx_mapping_open(temp_dir));
    assert_error("is a directory");
    assert_int_equal(mkfifo(temp_path("pipe"), 0600), 0);
    assert_null(nx_mapping_open(temp_path("pipe"))); /* and does not wait for a writer */
    assert_error("not a regular file");
    assert_true(nx_os_write_file(temp_path("secret"), "x", 1));
    assert_int_equal(chmod(temp_path("secret"), 0), 0);
    if (geteuid() != 0) { /* root reads everything */
        assert_null(nx_mapping_open(temp_path("secret")));
        assert_error("Permission denied");
    }
}

static void test_counted(void **state)
{
    assert_true(nx_os_write_file(temp_path("f"), "hello", 5));
    nx_mapping *m = nx_mapping_open(temp_path("f"));
    assert_non_null(m);
    assert_int_equal(nx_mapping_size(m), 5);
    assert_string_equal(nx_mapping_path(m), temp_path("f"));
    const unsigned char *p = nx_mapping_data(m);
    nx_mapping *second = nx_mapping_ref(m);
    nx_mapping_unref(&m);
    assert_null(m);
    /* replaced by rename, the old content stays with whoever holds it */
    assert_true(nx_os_write_file(temp_path("f"), "other", 5));
    assert_memory_equal(p, "hello", 5);
    nx_mapping_drop(second);
    nx_mapping_unref(&m);
}

static void test_hints(void **state)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = 5 * page + 123;
    unsigned char *bytes = malloc(n);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (unsigned char)(i * 7);
    assert_true(nx_os_write_file(temp_path("big"), bytes, n));
    nx_mapping *m = nx_mapping_open(temp_path("big"));
    const size_t ends[] = {0, 1, page - 1, page, page + 1, 3 * page, n - 1, n, n + 1, SIZE_MAX};
    for (size_t i = 0; i < 10; i++) {
        for (size_t k = 0; k < 10; k++) {
            nx_mapping_prefetch(m, ends[i], ends[k]);
            nx_mapping_release_range(m, ends[i], ends[k]);
        }
    }
    assert_memory_equal(nx_mapping_data(m), bytes, n);
    nx_mapping_unref(&m);
    free(bytes);
}

#ifdef __linux__
/* Resident pages of the mapping, by the kernel's own account. */
static void test_release_lets_go(void **state)
{
    size_t n = 64u << 20;
    unsigned char *bytes = calloc(1, n);
    assert_true(nx_os_write_file(temp_path("large"), bytes, n));
    free(bytes);
    nx_mapping *m = nx_mapping_open(temp_path("large"));
    volatile unsigned sum = 0;
    for (size_t i = 0; i < n; i += 4096)
        sum = sum + nx_mapping_data(m)[i];
    uint64_t full = nx_os_rss();
    nx_mapping_release_range(m, 0, n);
    uint64_t after = nx_os_rss();
    if (full)
        assert_true(full - after > n / 2);
    nx_mapping_unref(&m);
}
#endif

static void test_memory(void **state)
{
    nx_mapping *m = nx_mapping_of_memory("version https://git-lfs", 23, "name");
    assert_true(nx_mapping_is_lfs_pointer(m));
    nx_mapping_release_range(m, 0, 23);
    nx_mapping_prefetch(m, 0, 23);
    nx_mapping_unref(&m);
    m = nx_mapping_of_memory(NULL, 0, "nothing");
    assert_false(nx_mapping_is_lfs_pointer(m));
    nx_mapping_unref(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),         cmocka_unit_test(test_counted),
        cmocka_unit_test(test_hints),
#ifdef __linux__
        cmocka_unit_test(test_release_lets_go),
#endif
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, temp_make, temp_drop);
}
