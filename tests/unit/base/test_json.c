/* The token reader against jansson, grammar cases one by one, and settings read by path. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/json_stream.h"
#include "base/os.h"
#include "tempdir.h"

#define assert_error(text) assert_non_null(strstr(nx_error_message(), text))

/* ---- the token reader ---- */

/* The tokens of a text as one letter each, strings and numbers in full; ends in '.' or '!'. The
 * text stands alone in memory, so that a sanitizer sees any step outside. */
static const char *tokens(const char *text, size_t n)
{
    static const char letters[] = "!.{}[]";
    static nx_str out;
    nx_str_truncate(&out, 0);
    nx_str_puts(&out, "");
    char *copy = malloc(n ? n : 1);
    memcpy(copy, text, n);
    nx_json_stream s;
    nx_json_stream_init(&s, copy, n, "mem");
    nx_json_token t;
    do {
        t = nx_json_next(&s);
        if (t <= NX_JSON_ARRAY_END)
            nx_str_putc(&out, letters[t]);
        else if (t == NX_JSON_KEY || t == NX_JSON_STRING)
            nx_str_printf(&out, t == NX_JSON_KEY ? "%.*s:" : "'%.*s'", (int)s.text.len,
                          s.text.data);
        else if (t == NX_JSON_NUMBER)
            nx_str_printf(&out, "#%.*s", (int)s.text.len, s.text.data);
        else
            nx_str_putc(&out, t == NX_JSON_TRUE ? 't' : t == NX_JSON_FALSE ? 'f' : 'n');
    } while (t > NX_JSON_END);
    assert_int_equal(nx_json_next(&s), t); /* stays where it ended */
    nx_json_stream_clear(&s);
    free(copy);
    return out.data;
}

static void test_tokens(void **state)
{
    static const char *const cases[][2] = {
        {"{}", "{}."},
        {" [ ] \r\n\t", "[]."},
        {"[1, -2.5e+3, 0, -0, 0.1E-2]", "[#1#-2.5e+3#0#-0#0.1E-2]."},
        {"{\"a\":[true,false,null],\"b\":{\"c\":\"d\"}}", "{a:[tfn]b:{c:'d'}}."},
        {"\"x\"", "'x'."},
        {"\"\"", "''."},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "'\"\\/\b\f\n\r\t'."},
        {"\"a\\u00e9\\u20AC\\ud83d\\uDE00z\"", "'a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z'."},
        {"{\"k\\n\":1}", "{k\n:#1}."},
        {"\"\xC4\xA0\"", "'\xC4\xA0'."},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(tokens(cases[i][0], strlen(cases[i][0])), cases[i][1]);
}

static void test_refused(void **state)
{
    static const char *const cases[] = {
        "",
        " ",
        "{",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{a:1}",
        "{1:2}",
        "{\"a\" 1}",
        "[1 2]",
        "[1}",
        "{\"a\":1]",
        "]",
        "}",
        "1 2",
        "01",
        "-",
        "+1",
        ".5",
        "1.",
        "1e",
        "1e+",
        "0x10",
        "NaN",
        "Infinity",
        "tru",
        "truex",
        "nul",
        "'a'",
        "\"a",
        "\"\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"\n\"",
        "\"\x01\"",
        "\"\xff\"",
        "\"\xed\xa0\x80\"",
        "\"\xc3\"",
        "// c\n1",
        ("\xEF\xBB\xBF"
         "1"),
        "[1,,2]",
        "{\"a\"::1}",
        "{,}",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *t = tokens(cases[i], strlen(cases[i]));
        if (t[strlen(t) - 1] != '!')
            fail_msg("accepted: %s", cases[i]);
        assert_error("mem: line ");
    }
    assert_string_equal(tokens("1\0", 2), "#1!");
}

static void test_position(void **state)
{
    tokens("{\n  \"a\": 1,\n  x\n}", 17);
    assert_error("mem: line 3, column 3: ");
}

static void test_slices(void **state)
{
    const char *text = "[\"plain\", \"esc\\n\"]";
    nx_json_stream s;
    nx_json_stream_init(&s, text, strlen(text), "mem");
    nx_json_next(&s);
    assert_int_equal(nx_json_next(&s), NX_JSON_STRING);
    assert_true(s.text_is_input);
    assert_ptr_equal(s.text.data, text + 2);
    nx_json_next(&s);
    assert_false(s.text_is_input);
    assert_true(nx_slice_is(s.text, "esc\n"));
    nx_json_stream_clear(&s);
}

static void test_depth(void **state)
{
    nx_str deep = {0};
    for (int i = 0; i < NX_JSON_MAX_DEPTH; i++)
        nx_str_puts(&deep, i % 2 ? "{\"k\":" : "[");
    nx_str_puts(&deep, "1");
    for (int i = NX_JSON_MAX_DEPTH; i-- > 0;)
        nx_str_puts(&deep, i % 2 ? "}" : "]");
    const char *t = tokens(deep.data, deep.len);
    assert_int_equal(t[strlen(t) - 1], '.');
    nx_str_clear(&deep);
    for (int i = 0; i <= NX_JSON_MAX_DEPTH; i++)
        nx_str_puts(&deep, "[");
    tokens(deep.data, deep.len);
    assert_error("too deeply");
    nx_str_clear(&deep);
}

static void test_skip(void **state)
{
    const char *text = "{\"a\":{\"x\":[1,{\"y\":[]}]},\"b\":7,\"c\":[[],[2]],\"d\":\"end\"}";
    nx_json_stream s;
    nx_json_stream_init(&s, text, strlen(text), "mem");
    assert_int_equal(nx_json_next(&s), NX_JSON_OBJECT);
    int keys = 0;
    int64_t b = 0;
    while (nx_json_next(&s) == NX_JSON_KEY) {
        keys++;
        if (nx_slice_is(s.text, "b"))
            assert_true(nx_json_read_i64(&s, &b));
        else
            assert_true(nx_json_skip_value(&s));
    }
    assert_int_equal(s.token, NX_JSON_OBJECT_END);
    assert_int_equal(keys, 4);
    assert_int_equal(b, 7);
    assert_int_equal(nx_json_next(&s), NX_JSON_END);
    nx_json_stream_clear(&s);

    nx_json_stream_init(&s, text, strlen(text), "mem");
    nx_json_next(&s), nx_json_next(&s), nx_json_next(&s);
    assert_true(nx_json_skip_rest(&s)); /* the inner object */
    assert_int_equal(nx_json_next(&s), NX_JSON_KEY);
    assert_true(nx_slice_is(s.text, "b"));
    nx_json_stream_clear(&s);
}

static bool as_i64(const char *text, int64_t *v)
{
    nx_json_stream s;
    nx_json_stream_init(&s, text, strlen(text), "mem");
    bool ok = nx_json_read_i64(&s, v);
    nx_json_stream_clear(&s);
    return ok;
}

static void test_numbers(void **state)
{
    int64_t v;
    assert_true(as_i64("9223372036854775807", &v) && v == INT64_MAX);
    assert_true(as_i64("-9223372036854775808", &v) && v == INT64_MIN);
    assert_true(as_i64("-0", &v) && v == 0);
    assert_true(as_i64("3.0", &v) && v == 3);
    assert_true(as_i64("1e3", &v) && v == 1000);
    assert_false(as_i64("9223372036854775808", &v));
    assert_false(as_i64("3.5", &v));
    assert_false(as_i64("1e300", &v));
    assert_false(as_i64("\"3\"", &v));
    assert_error("a number is expected");
    nx_json_stream s;
    double f;
    uint64_t u;
    nx_json_stream_init(&s, "[0.1,1e999]", 11, "mem");
    nx_json_next(&s);
    assert_true(nx_json_read_f64(&s, &f) && f == 0.1);
    assert_false(nx_json_read_f64(&s, &f));
    nx_json_stream_clear(&s);
    nx_json_stream_init(&s, "[18446744073709551615,-1]", 25, "mem");
    nx_json_next(&s), nx_json_next(&s);
    assert_true(nx_json_number_u64(&s, &u) && u == UINT64_MAX);
    nx_json_next(&s);
    assert_false(nx_json_number_u64(&s, &u));
    nx_json_stream_clear(&s);
}

/* Every prefix and every flipped bit of a text: our verdict must be jansson's, which differs by
 * intent only in what a NUL, a number's size or depth may be. */
static void test_same_verdict_as_jansson(void **state)
{
    char text[] =
        "{\"a\":[1,-2.5e3,\"x\\u00e9\\n\xC3\xA9\"],\"b\":{\"c\":null,\"d\":true},\"e\":\"\"}";
    size_t n = sizeof text - 1;
    for (size_t k = 0; k <= n; k++) {
        const char *t = tokens(text, k);
        assert_int_equal(t[strlen(t) - 1] == '.', k == n);
    }
    for (size_t bit = 0; bit < n * 8; bit++) {
        text[bit / 8] ^= (char)(1 << bit % 8);
        json_error_t e;
        json_t *j = json_loadb(text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
        const char *t = tokens(text, n);
        if ((t[strlen(t) - 1] == '.') != (j != NULL))
            fail_msg("jansson %s: %s", j ? "accepts" : e.text, text);
        json_decref(j);
        text[bit / 8] ^= (char)(1 << bit % 8);
    }
}

static void test_speed(void **state)
{
    nx_str big = {0}; /* 16 MB, as the largest tokenizer.json */
    nx_str_puts(&big, "{");
    for (int i = 0; big.len < 16000000; i++)
        nx_str_printf(&big, "%s\n      \"\xC4\xA0token%d\": %d", i ? "," : "", i, i);
    nx_str_puts(&big, "}");
    nx_json_stream s;
    nx_json_stream_init(&s, big.data, big.len, "mem");
    double begin = nx_os_seconds();
    while (nx_json_next(&s) > NX_JSON_END)
        ;
    double took = nx_os_seconds() - begin;
    assert_int_equal(s.token, NX_JSON_END);
    print_message("16 MB read in %.3f s\n", took);
    assert_true(took < 1.5); /* 0.03 s is usual; the bound is for sanitizers and busy machines */
    nx_json_stream_clear(&s);
    nx_str_clear(&big);
}

/* ---- jansson with paths ---- */

static void test_paths(void **state)
{
    const char *text = "{\"n\":3,\"f\":2.5,\"w\":4.0,\"b\":false,\"s\":\"t\",\"z\":null,"
                       "\"rope_scaling\":{\"factor\":8.0,\"deep\":{\"x\":1}},\"a.b\":{\"c.d\":5},"
                       "\"a\":{\"e\":6}}";
    json_t *o = nx_json_parse(text, strlen(text), "mem");
    assert_non_null(o);
    assert_int_equal(nx_json_get_int(o, "n", 0), 3);
    assert_int_equal(nx_json_get_int(o, "w", 0), 4);
    assert_int_equal(nx_json_get_int(o, "f", 9), 9);
    assert_int_equal(nx_json_get_int(o, "s", 9), 9);
    assert_int_equal(nx_json_get_int(o, "z", 9), 9);
    assert_int_equal(nx_json_get_int(o, "none", 9), 9);
    assert_true(nx_json_get_real(o, "n", 0) == 3.0);
    assert_true(nx_json_get_real(o, "rope_scaling.factor", 0) == 8.0);
    assert_int_equal(nx_json_get_int(o, "rope_scaling.deep.x", 0), 1);
    assert_int_equal(nx_json_get_int(o, "rope_scaling.none.x", 9), 9);
    assert_int_equal(nx_json_get_int(o, "n.x", 9), 9);
    assert_int_equal(nx_json_get_int(o, "a.b.c.d", 9), 5);
    assert_int_equal(nx_json_get_int(o, "a.e", 9), 6);
    assert_false(nx_json_get_bool(o, "b", true));
    assert_true(nx_json_get_bool(o, "n", true));
    assert_string_equal(nx_json_get_str(o, "s", ""), "t");
    assert_null(nx_json_get_str(o, "n", NULL));
    assert_true(nx_json_has(o, "a.e"));
    assert_false(nx_json_has(o, "z"));
    assert_int_equal(nx_json_get_int(NULL, "n", 9), 9);
    json_decref(o);
}

static void test_load_file(void **state)
{
    const char *path = temp_path("config.json");
    const char *bad = "{\n \"a\": 1,\n \"b\": oops\n}";
    assert_true(nx_os_write_file(path, bad, strlen(bad)));
    assert_null(nx_json_load_file(path));
    assert_error("config.json: line 3, column ");
    assert_null(nx_json_load_file(temp_path("none.json")));
    assert_error("does not exist");
    const char *python = "\xEF\xBB\xBF{\"limit\": [0.0, Infinity], \"low\": -Infinity, \"n\": NaN, "
                         "\"s\": \"NaN \\\" Infinity\"}";
    assert_true(nx_os_write_file(path, python, strlen(python)));
    json_t *o = nx_json_load_file(path);
    assert_non_null(o);
    assert_true(json_real_value(json_array_get(nx_json_get(o, "limit"), 1)) == 1e308);
    assert_true(nx_json_get_real(o, "low", 0) == -1e308);
    assert_false(nx_json_has(o, "n"));
    assert_string_equal(nx_json_get_str(o, "s", ""), "NaN \" Infinity");
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),    cmocka_unit_test(test_refused),
        cmocka_unit_test(test_position),  cmocka_unit_test(test_slices),
        cmocka_unit_test(test_depth),     cmocka_unit_test(test_skip),
        cmocka_unit_test(test_numbers),   cmocka_unit_test(test_same_verdict_as_jansson),
        cmocka_unit_test(test_speed),     cmocka_unit_test(test_paths),
        cmocka_unit_test(test_load_file),
    };
    return cmocka_run_group_tests(tests, temp_make, temp_drop);
}
