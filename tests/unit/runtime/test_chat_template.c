/* Chat templates: what they are given, the fallback, and what is found out about them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "runtime/text/chat_template.h"

static json_t *parse(const char *text)
{
    json_error_t e;
    json_t *j = json_loads(text, 0, &e);
    if (!j)
        fail_msg("%s", e.text);
    return j;
}

/* Renders with the given JSON texts; the text, or "!" and the error. Freed by the caller. */
static char *render(const chat_template *t, const char *messages, const char *tools,
                    const char *extra, bool prompt)
{
    nx_str out = {0};
    chat_request r = {.messages = parse(messages),
                      .tools = tools ? parse(tools) : NULL,
                      .extra = extra ? parse(extra) : NULL,
                      .add_generation_prompt = prompt,
                      .has_now = true,
                      .now = 0};
    if (!chat_template_render(t, &r, &out))
        nx_str_printf(&out, "!%s", nx_error_message());
    json_decref(r.messages);
    json_decref(r.tools);
    json_decref(r.extra);
    return nx_str_take(&out);
}

static void check(const char *source, const char *messages, const char *tools, const char *extra,
                  const char *want)
{
    chat_template *t = chat_template_new(source, "<s>", NULL);
    if (!t)
        fail_msg("%s", nx_error_message());
    char *got = render(t, messages, tools, extra, true);
    assert_string_equal(got, want);
    free(got);
    chat_template_free(t);
}

static const char hi[] = "[{\"role\":\"user\",\"content\":\"hi\"}]";

static void test_fallback(void **state)
{
    for (int i = 0; i < 2; i++) {
        chat_template *t = chat_template_new(i ? "" : NULL, NULL, NULL);
        assert_true(chat_template_is_fallback(t));
        assert_true(chat_template_supports_system(t));
        assert_false(chat_template_supports_tools(t));
        char *got = render(t, hi, NULL, NULL, true);
        assert_string_equal(got, "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
        free(got);
        got = render(t, hi, NULL, NULL, false);
        assert_string_equal(got, "<|im_start|>user\nhi<|im_end|>\n");
        free(got);
        chat_template_free(t);
    }
}

static void test_variables(void **state)
{
    check("{{ bos_token }}{{ eos_token is defined }}{{ tools }}{{ documents }}"
          "{{ add_generation_prompt }}{{ messages|length }}",
          hi, NULL, NULL, "<s>FalseNoneNoneTrue1");
    check("{{ tools[0].function.name }}{{ deep }}{{ bos_token }}", hi,
          "[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]",
          "{\"deep\":[1,null],\"bos_token\":\"B\"}", "f[1, None]B");
    check(
        "{{ messages[0].content[1].text }}{{ messages[0].extra }}",
        "[{\"role\":\"user\",\"content\":[{\"type\":\"image\"},{\"type\":\"text\",\"text\":\"t\"}],"
        "\"extra\":5}]",
        NULL, NULL, "t5");
    check("{{ strftime_now('%Y') }}", hi, NULL, NULL, "1970");
    check("{{ messages[0] }}", "[{\"role\":\"assistant\",\"reasoning\":\"r\"}]", NULL, NULL,
          "{'thinking': 'r', 'role': 'assistant', 'reasoning': 'r', 'reasoning_content': 'r'}");
    check("{{ messages[0] }}", "[{\"role\":\"a\",\"reasoning\":null}]", NULL, NULL,
          "{'role': 'a', 'reasoning': None}");
}

static void test_errors(void **state)
{
    check("{{ raise_exception('roles must alternate') }}", hi, NULL, NULL,
          "![template] line 1: roles must alternate");
    check("x", "{}", NULL, NULL, "![chat] the messages must be an array of objects");
    check("x", "[1]", NULL, NULL, "![chat] message 0 is no object with a role and a content");
    check("x", hi, NULL, "[]", "![chat] the template's further variables must be an object");
    assert_null(chat_template_new("{% if %}", NULL, NULL));
    assert_string_equal(nx_error_message(), "[template] line 1: expected an expression");
}

static void check_system(const char *source, bool want)
{
    chat_template *t = chat_template_new(source, NULL, NULL);
    assert_non_null(t);
    assert_int_equal(chat_template_supports_system(t), want);
    assert_string_equal(nx_error_message(), "");
    chat_template_free(t);
}

static void test_support(void **state)
{
    check_system("{% for m in messages %}{{ m.content }}{% endfor %}", true);
    check_system("{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}",
                 false);
    check_system("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}", false);
    check_system("{% for m in messages %}{% for p in m.content %}{{ p.text + '' }}{% endfor %}"
                 "{% endfor %}",
                 true);
    chat_template *t = chat_template_new("{% if tools and enable_thinking %}{% endif %}", "", "");
    assert_true(chat_template_supports_tools(t));
    assert_true(chat_template_reads(t, "enable_thinking"));
    assert_false(chat_template_reads(t, "documents"));
    assert_false(chat_template_is_fallback(t));
    chat_template_free(t);
    chat_template_free(NULL);
}

static void test_openai(void **state)
{
    json_t *in =
        parse("[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"tool_calls\":"
              "[{\"id\":\"1\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\": 1}\"}},"
              "{\"function\":{\"arguments\":\"not json\"}},"
              "{\"function\":{\"arguments\":{\"b\":2}}}, 5]}]");
    json_t *before = json_deep_copy(in), *out = chat_messages_from_openai(in);
    char *text = json_dumps(json_object_get(json_array_get(out, 1), "tool_calls"), JSON_COMPACT);
    assert_string_equal(text,
                        "[{\"id\":\"1\",\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}},"
                        "{\"function\":{\"arguments\":\"not json\"}},"
                        "{\"function\":{\"arguments\":{\"b\":2}}},5]");
    assert_true(json_equal(in, before));
    assert_ptr_equal(json_array_get(out, 0), json_array_get(in, 0));
    free(text);
    json_decref(out);
    json_decref(before);
    json_decref(in);
    in = parse("[3]");
    assert_null(chat_messages_from_openai(in));
    json_decref(in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fallback), cmocka_unit_test(test_variables),
        cmocka_unit_test(test_errors),   cmocka_unit_test(test_support),
        cmocka_unit_test(test_openai),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
