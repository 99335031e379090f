/* UTF-8: every code point there and back, and the standard's examples of replacement. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/utf8.h"

static void test_every_code_point(void **state)
{
    nx_str s = {0};
    for (uint32_t cp = 0; cp <= 0x10FFFF; cp++) {
        uint32_t got;
        if (cp >= 0xD800 && cp <= 0xDFFF)
            continue;
        nx_str_truncate(&s, 0);
        nx_str_put_utf8(&s, cp);
        assert_int_equal(nx_utf8_decode(s.data, s.len, &got), s.len);
        assert_int_equal(got, cp);
        if (s.len > 1) { /* every shorter piece is a tail that waits for its rest */
            assert_int_equal(nx_utf8_incomplete_tail(s.data, s.len), 0);
            for (size_t k = 1; k < s.len; k++) {
                assert_int_equal(nx_utf8_decode(s.data, k, &got), -(int)k);
                assert_int_equal(nx_utf8_incomplete_tail(s.data, k), k);
            }
        }
    }
    nx_str_clear(&s);
}

/* Python: bytes(...).decode("utf-8", errors="replace"), with ? for U+FFFD here. */
static void test_replace(void **state)
{
    static const struct {
        const char *in, *out;
        size_t count;
    } cases[] = {
        {"", "", 0},
        {"plain \xC3\xA9 \xE2\x82\xAC", "plain \xC3\xA9 \xE2\x82\xAC", 0},
        {"\xff", "?", 1},
        {"a\x80\x80z", "a??z", 2},
        {"\xC0\xAF", "??", 2},
        {"\xE0\x80\xAF", "???", 3},
        {"\xED\xA0\x80", "???", 3},
        {"\xF4\x91\x92\x93", "????", 4},
        {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF"
         "A",
         "????A", 4},
        {"\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64", "a???b?c??d", 6},
        {"\xF0\x9F\x98", "?", 1},
        {"\xF0\x80\x80", "???", 3},
        {"\xE2\x82", "?", 1},
        {"0123456789\xE2\x28\xA1 0123456789", "0123456789?(? 0123456789", 2},
        {"\xFE\xFE\xFF\xFF", "????", 4},
        {"\xF8\x88\x80\x80\x80", "?????", 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nx_str got = {0}, want = {0};
        assert_int_equal(nx_utf8_replace(&got, cases[i].in, strlen(cases[i].in)), cases[i].count);
        for (const char *p = cases[i].out; *p; p++) {
            if (*p == '?')
                nx_str_put_utf8(&want, 0xFFFD);
            else
                nx_str_putc(&want, *p);
        }
        assert_string_equal(nx_str_cstr(&got), nx_str_cstr(&want));
        assert_true(nx_utf8_valid(nx_str_cstr(&got), got.len));
        assert_int_equal(nx_utf8_valid(cases[i].in, strlen(cases[i].in)), cases[i].count == 0);
        nx_str_clear(&got);
        nx_str_clear(&want);
    }
}

static void test_tails(void **state)
{
    assert_int_equal(nx_utf8_incomplete_tail("", 0), 0);
    assert_int_equal(nx_utf8_incomplete_tail("abc", 3), 0);
    assert_int_equal(nx_utf8_incomplete_tail("ab\xC3", 3), 1);
    assert_int_equal(nx_utf8_incomplete_tail("a\xE2\x82", 3), 2);
    assert_int_equal(nx_utf8_incomplete_tail("\xF0\x9F\x98", 3), 3);
    assert_int_equal(nx_utf8_incomplete_tail("a\x80", 2), 0);    /* never becomes valid */
    assert_int_equal(nx_utf8_incomplete_tail("\xE0\x80", 2), 0); /* neither does an overlong */
    assert_int_equal(nx_utf8_incomplete_tail("\xED\xA0", 2), 0); /* or a surrogate */
    assert_int_equal(nx_utf8_incomplete_tail("\xFF", 1), 0);
    assert_int_equal(nx_utf8_incomplete_tail("\x80\x80\x80\x80", 4), 0);
    assert_int_equal(nx_utf8_valid_prefix("abcdefghij\xC3", 11), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_point),
        cmocka_unit_test(test_replace),
        cmocka_unit_test(test_tails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
