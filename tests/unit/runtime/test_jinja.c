/* The Jinja interpreter: text, error sentences and limits. Its likeness to jinja2 is tested in
 * tests/oracle/test_jinja_oracle.py. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "runtime/text/jinja.h"

static const char vars_json[] = "{\"name\": \"Ann\", \"n\": 3, \"list\": [3, 1, 2], \"none\": "
                                "null, \"map\": {\"a\": 1, \"b\": [true, 2.5]},"
                                " \"messages\": [{\"role\": \"user\", \"content\": \"h\\u00e9\"}, "
                                "{\"role\": \"assistant\", \"content\": \"ok\"}]}";

/* Renders; the text, or "!" and the error. Freed by the caller. */
static char *run_with(const char *source, const jinja_options *o)
{
    nx_str out = {0};
    json_t *vars = json_loads(vars_json, 0, NULL);
    assert_non_null(vars);
    jinja_template *t = jinja_parse(source, strlen(source));
    if (!t || !jinja_render(t, vars, o, &out)) {
        assert_int_equal(out.len, 0);
        nx_str_printf(&out, "!%s", nx_error_message());
    }
    jinja_free(t);
    json_decref(vars);
    return nx_str_take(&out);
}

static void check(const char *source, const char *want)
{
    char *got = run_with(source, NULL);
    assert_string_equal(got, want);
    free(got);
}

static void test_text(void **state)
{
    check("", "");
    check("plain\n", "plain");
    check("{{ name }}!", "Ann!");
    check("a\n  {% if n %}\n  b\n  {% endif %}\nc", "a\n  b\nc");
    check("a {%- if n -%} b {%- endif +%}\nc", "ab\nc");
    check("{% raw %}{{ x }}{% endraw %}{# gone #}", "{{ x }}");
    check("{{ [1, 'a', none, 2.0, {'k': true}] }}", "[1, 'a', None, 2.0, {'k': True}]");
    check("{{ map|tojson }}", "{\"a\": 1, \"b\": [true, 2.5]}");
}

static void test_chat(void **state)
{
    check("{% for m in messages %}<|{{ m.role }}|>{{ m['content'] }}{% if not loop.last %}\n"
          "{% endif %}{% endfor %}",
          "<|user|>h\xC3\xA9<|assistant|>ok");
    check("{% set ns = namespace(n=0) %}{% for m in messages if m.role == 'user' %}"
          "{% set ns.n = ns.n + loop.length %}{% endfor %}{{ ns.n }}",
          "1");
    check("{% macro f(x, y=x) %}{{ x }}{{ y }}{{ caller() }}{% endmacro %}"
          "{% call f(1) %}c{% endcall %}",
          "11c");
    check("{{ list|sort|map('string')|join('-') }} {{ list[::-1] }} {{ 'ab'.upper() ~ n }}",
          "1-2-3 [2, 1, 3] AB3");
    check("{% generation %}{% set a = 1 %}{{ a }}{% endgeneration %}{{ a is defined }}", "1False");
}

static void test_errors(void **state)
{
    check("x\n{{ raise_exception('no ' ~ name) }}", "![template] line 2: no Ann");
    check("{{ nobody.x }}", "![template] line 1: 'nobody' is undefined");
    check("{{ map.x.y }}", "![template] line 1: 'dict object' has no attribute 'x'");
    check("\n\n{% if %}", "![template] line 3: expected an expression");
    check("{{ 1|nothing }}", "![template] line 1: there is no filter named 'nothing'");
    check("{% for x in n %}{% endfor %}", "![template] line 1: 'int' object is not iterable");
    check("{{ list.append(1) }}", "![template] line 1: access to attribute 'append' of 'list' "
                                  "object is unsafe: a template cannot change its values.");
    check("{{ 9223372036854775807 + 1 }}", "![template] line 1: an integer does not fit 64 bits");
    check("{% include 'x' %}", "![template] line 1: {% include %} has no other templates to load");
    check("\xFF", "![template] the template is not valid UTF-8");
    check("{{ \xC3\xA9 + \xE2\x82\xAC }}",
          "![template] line 1: unexpected character '\xE2\x82\xAC'");
    assert_null(jinja_parse("{% for %}", 9));
    /* a message too long to keep ends with a whole character */
    char *got = run_with("{{ raise_exception('\xC3\xA9' * 1000) }}", NULL);
    json_t *text = json_string(got);
    assert_non_null(text);
    assert_true(strlen(got) > 900);
    json_decref(text);
    free(got);
    got = run_with("{{ raise_exception('x' ~ '\xC3\xA9' * 1000) }}", NULL);
    text = json_string(got);
    assert_non_null(text);
    json_decref(text);
    free(got);
}

/* What a template may use up: each of these must end soon, with an error and without a crash. */
static void test_limits(void **state)
{
    static const char *const greedy[] = {
        "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(s='xxxxxxxxxxxxxxxx') %}{% for a in range(99) %}"
        "{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{{ 'x' * 9223372036854775807 }}",
        "{{ [1] * 9223372036854775807 }}",
        "{% set ns = namespace(l=[]) %}{% for a in range(99999) %}{% set ns.l = [ns.l] %}"
        "{% endfor %}{{ ns.l }}",
        "{% set ns = namespace(l=[]) %}{% for a in range(99999) %}"
        "{% set ns.l = ns.l|map('string') %}{% endfor %}{{ ns.l|list }}",
        "{{ '%1000000d' % 1 * 1000000 }}",
        "{{ '{:>999999999999}'.format(1) }}",
        "{{ 'a'.ljust(99999999999) }}",
        "{% set l = [1] * 100000 %}{% for a in l %}{% for b in l %}{{ a in l }}{% endfor %}"
        "{% endfor %}",
        "{% for a in range(99999) %}{{ 'a' * 10000 }}{% endfor %}",
    };
    for (size_t i = 0; i < sizeof greedy / sizeof *greedy; i++) {
        char *got = run_with(greedy[i], NULL);
        assert_int_equal(got[0], '!');
        free(got);
    }
    nx_str deep = {0};
    for (int i = 0; i < 100000; i++)
        nx_str_putc(&deep, i < 2 ? '{' : '(');
    assert_null(jinja_parse(nx_str_cstr(&deep), deep.len));
    nx_str_truncate(&deep, 2);
    nx_str_puts(&deep, "1");
    for (int i = 0; i < 100000; i++)
        nx_str_puts(&deep, "+1");
    nx_str_puts(&deep, "}}");
    assert_null(jinja_parse(nx_str_cstr(&deep), deep.len));
    nx_str_clear(&deep);
}

static void test_options(void **state)
{
    jinja_options o = jinja_options_default();
    o.max_output = 10;
    char *got = run_with("{{ 'a' * 6 }}{{ 'b' * 6 }}", &o);
    assert_string_equal(got, "![template] line 1: the template writes more than 10 bytes");
    free(got);
    o = jinja_options_default();
    o.max_steps = 100;
    got = run_with("{% for i in range(100) %}{% endfor %}", &o);
    assert_string_equal(got, "![template] line 1: the template runs for more than 100 steps");
    free(got);
    o = jinja_options_default();
    o.has_now = true;
    o.now = 86400 * 15;
    got = run_with("{{ strftime_now('%Y %b') }}", &o);
    assert_string_equal(got, "1970 Jan");
    free(got);
}

static void test_mentions(void **state)
{
    static const char source[] = "{% if tools %}{{ m['tool_calls'] }}{{ m.name }}{% endif %}";
    jinja_template *t = jinja_parse(source, sizeof source - 1);
    assert_true(jinja_mentions(t, "tools"));
    assert_false(jinja_mentions(t, "documents"));
    assert_true(jinja_mentions_text(t, "tool_calls"));
    assert_true(jinja_mentions_text(t, "name"));
    assert_false(jinja_mentions_text(t, "tools"));
    jinja_free(t);
    jinja_free(NULL);
}

static void *render_often(void *template)
{
    intptr_t wrong = 0;
    for (int i = 0; i < 200; i++) {
        nx_str out = {0};
        if (!jinja_render(template, NULL, NULL, &out) || strcmp(nx_str_cstr(&out), "0é1é2é"))
            wrong++;
        nx_str_clear(&out);
    }
    return (void *)wrong;
}

static void test_threads(void **state)
{
    static const char source[] = "{% for i in range(3) %}{{ i ~ 'Éx'[0]|lower }}{% endfor %}";
    jinja_template *t = jinja_parse(source, sizeof source - 1);
    pthread_t threads[4];
    assert_non_null(t);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, render_often, t), 0);
    for (int i = 0; i < 4; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    jinja_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),    cmocka_unit_test(test_chat),
        cmocka_unit_test(test_errors),  cmocka_unit_test(test_limits),
        cmocka_unit_test(test_options), cmocka_unit_test(test_mentions),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
