/* Thinking, answers and tool calls told apart, whatever the pieces the text comes in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/str.h"
#include "runtime/text/answer.h"

/* Parts as one text, "R:thought|C:answer|T:name(arguments)"; parts of one kind are joined. */
typedef struct {
    nx_str text;
    int last;
} record;

static void note(const answer_part *p, void *user)
{
    record *r = user;
    if (p->kind == ANSWER_CALL) {
        nx_str_printf(&r->text, "|T:%s(%.*s)", p->name, (int)p->length, p->text);
    } else {
        if (r->last != (int)p->kind)
            nx_str_puts(&r->text, p->kind == ANSWER_CONTENT ? "|C:" : "|R:");
        nx_str_add(&r->text, p->text, p->length);
    }
    r->last = (int)p->kind;
}

static json_t *described; /* the tools that the next splits know of */

static void split(const char *template, const char *prompt, bool tools, const char *text,
                  const char *want)
{
    size_t n = strlen(text);
    for (size_t piece = 1; piece <= n; piece++) { /* all sizes of pieces */
        record r = {.last = -1};
        answer *a = answer_new(template, prompt, tools, described);
        for (size_t at = 0; at < n; at += piece)
            answer_push(a, text + at, n - at < piece ? n - at : piece, note, &r);
        answer_end(a, note, &r);
        answer_free(a);
        assert_string_equal(nx_str_cstr(&r.text), want);
        nx_str_clear(&r.text);
    }
}

static void plain_text_stays(void **state)
{
    split(NULL, NULL, false, " Paris, {\"a\": 1} <thin air>", "|C: Paris, {\"a\": 1} <thin air>");
    split(NULL, NULL, false, "<tool_call>{}</tool_call>", "|C:<tool_call>{}</tool_call>");
    split("", "", true, "\n\n", "|C:\n\n");
}

static void thinking_is_told_apart(void **state)
{
    split(NULL, NULL, false, "<think>\nhm\n</think>\n\nYes.", "|R:hm\n|C:Yes.");
    split(NULL, "…<think>\n", false, "hm</think>\n\nYes.", "|R:hm|C:Yes.");
    split(NULL, NULL, false, "<think>never ends", "|R:never ends");
    split("[THINK]", NULL, false, "[THINK]a[/THINK]b", "|R:a|C:b");
    split("", NULL, false, "[THINK]a[/THINK]b", "|C:[THINK]a[/THINK]b");
}

static void calls_are_found(void **state)
{
    split(NULL, NULL, true,
          "Let me see.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": [1, 2]}}\n</tool_call>",
          "|C:Let me see.\n|T:f({\"x\":[1,2]})");
    split(NULL, NULL, true, "<tool_call>[{\"name\":\"f\"},{\"name\":\"g\",\"arguments\":\"{}\"}]</tool_call>",
          "|T:f({})|T:g({})");
    split("[TOOL_CALLS]", NULL, true, "[TOOL_CALLS][{\"name\":\"f\",\"arguments\":{\"a\":1.5}}]",
          "|T:f({\"a\":1.5})");
    split(NULL, NULL, true, "{\"name\": \"f\", \"parameters\": {}}", "|T:f({})");
    split(NULL, NULL, true, "{\"name\": 3}", "|C:{\"name\": 3}");
    split(NULL, NULL, true, "{\"not closed\"", "|C:{\"not closed\"");
    split(NULL, NULL, true,
          "<tool_call>\n<function=f>\n<parameter=a>\n3\n</parameter>\n<parameter=b>\nx y\n</parameter>\n"
          "</function>\n</tool_call>",
          "|T:f({\"a\":3,\"b\":\"x y\"})");
    split(NULL, NULL, true, "<tool_call>nonsense</tool_call>", "|C:nonsense");
    split(NULL, NULL, true, "<think>so</think>\n<tool_call>{\"name\":\"f\"}</tool_call>", "|R:so|T:f({})");
}

/* The forms of each family: one call with a text that looks like a number, a number, a list and marks
 * in a text, and one without arguments. */
#define TWO_CALLS "|T:f({\"city\":\"12\",\"days\":3,\"tags\":[\"a <b>\",\"c\"]})|T:now({})"

static void families_write_calls_their_own_way(void **state)
{
    described = json_loads("[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": "
                           "{\"type\": \"object\", \"properties\": {\"city\": {\"type\": \"string\"}, "
                           "\"days\": {\"type\": \"integer\"}}}}}, {\"name\": \"now\"}]", 0, NULL);
    static const struct {
        const char *template, *text;
    } forms[] = {
        {"<|tools_prefix|>", "<|tools_prefix|>[{\"f\": {\"city\": \"12\", \"days\": 3, \"tags\": "
                             "[\"a <b>\", \"c\"]}}, {\"now\": {}}]<|tools_suffix|>"},
        {"", "<tool_call>f<arg_key>city</arg_key><arg_value>12</arg_value><arg_key>days</arg_key>"
             "<arg_value>3</arg_value><arg_key>tags</arg_key><arg_value>[\"a <b>\", \"c\"]</arg_value>"
             "</tool_call><tool_call>now</tool_call>"},
        {"", "<tool_calls:opensource>\n<tool_call:opensource>f<tool_sep:opensource>\n"
             "<arg_key:opensource>city</arg_key:opensource>\n<arg_value:opensource>12</arg_value:opensource>\n"
             "<arg_key:opensource>days</arg_key:opensource>\n<arg_value:opensource>3</arg_value:opensource>\n"
             "<arg_key:opensource>tags</arg_key:opensource>\n"
             "<arg_value:opensource>[\"a <b>\", \"c\"]</arg_value:opensource>\n</tool_call:opensource>\n"
             "<tool_call:opensource>now<tool_sep:opensource>\n</tool_call:opensource>\n</tool_calls:opensource>"},
        {"", "<minimax:tool_call>\n<invoke name=\"f\">\n<parameter name=\"city\">12</parameter>\n"
             "<parameter name=\"days\">3</parameter>\n<parameter name=\"tags\">[\"a <b>\", \"c\"]</parameter>\n"
             "</invoke>\n<invoke name=\"now\">\n</invoke>\n</minimax:tool_call>"},
        {"<｜DSML｜function_calls>",
         "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"f\">\n"
         "<｜DSML｜parameter name=\"city\" string=\"true\">12</｜DSML｜parameter>\n"
         "<｜DSML｜parameter name=\"days\" string=\"false\">3</｜DSML｜parameter>\n"
         "<｜DSML｜parameter name=\"tags\" string=\"false\">[\"a <b>\", \"c\"]</｜DSML｜parameter>\n"
         "</｜DSML｜invoke>\n<｜DSML｜invoke name=\"now\">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>"},
        {"<｜tool▁calls▁begin｜>",
         "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n"
         "{\"city\": \"12\", \"days\": 3, \"tags\": [\"a <b>\", \"c\"]}\n```<｜tool▁call▁end｜>\n"
         "<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"},
        {"<｜tool▁calls▁begin｜>",
         "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"city\": \"12\", \"days\": 3, "
         "\"tags\": [\"a <b>\", \"c\"]}<｜tool▁call▁end｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}"
         "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"},
        {"<|tool_calls_section_begin|>",
         "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>"
         "{\"city\": \"12\", \"days\": 3, \"tags\": [\"a <b>\", \"c\"]}<|tool_call_end|>"
         "<|tool_call_begin|>functions.now:1<|tool_call_argument_begin|>{}<|tool_call_end|>"
         "<|tool_calls_section_end|>"},
        {"[TOOL_CALLS]", "[TOOL_CALLS]f[CALL_ID]abc[ARGS]{\"city\": \"12\", \"days\": 3, \"tags\": "
                         "[\"a <b>\", \"c\"]}[TOOL_CALLS]now[ARGS]{}"},
        {"<|tool_call_start|>", "<|tool_call_start|>[f(city='12', days=3, tags=['a <b>', \"c\"]), now()]"
                                "<|tool_call_end|>"},
        {"<|tool_call>", "<|tool_call>call:f{city:<|\"|>12<|\"|>,days:3,tags:[<|\"|>a <b><|\"|>,<|\"|>c<|\"|>]}"
                         "<tool_call|><|tool_call>call:now{}<tool_call|>"},
        {"", "<function=f>{\"city\": \"12\", \"days\": 3, \"tags\": [\"a <b>\", \"c\"]}</function>"
             "<function=now>{}</function>"},
        {"", "<function name=\"f\"><param name=\"city\">12</param><param name=\"days\">3</param>"
             "<param name=\"tags\">[\"a <b>\", \"c\"]</param></function><function name=\"now\"></function>"},
        {"<|open|>tools<|sep|>",
         "<|open|>tools<|sep|><|open|>call tool=\"f\" index=\"1\"<|sep|><|open|>argument key=\"city\" "
         "type=\"string\"<|sep|>12<|close|>argument<|sep|><|open|>argument key=\"days\" type=\"number\"<|sep|>3"
         "<|close|>argument<|sep|><|open|>argument key=\"tags\" type=\"array\"<|sep|>[\"a <b>\", \"c\"]"
         "<|close|>argument<|sep|><|close|>call<|sep|><|open|>call tool=\"now\" index=\"2\"<|sep|><|close|>call"
         "<|sep|><|close|>tools<|sep|>"},
        {"", "<TOOLCALL>[{\"name\": \"f\", \"arguments\": {\"city\": \"12\", \"days\": 3, \"tags\": "
             "[\"a <b>\", \"c\"]}}, {\"name\": \"now\", \"arguments\": {}}]</TOOLCALL>"},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        split(forms[i].template, NULL, true, forms[i].text, TWO_CALLS);
    json_decref(described);
    described = NULL;
}

static void what_is_no_call_is_text(void **state)
{
    split(NULL, NULL, true, "<tool_call>[f(</tool_call>", "|C:[f(");
    split(NULL, NULL, true, "<tool_call><arg_key>a</arg_key></tool_call>", "|C:<arg_key>a</arg_key>");
    split(NULL, NULL, true, "<tool_call>f(x='\\u12</tool_call>", "|C:f(x='\\u12");
    split("[TOOL_CALLS]", NULL, true, "[TOOL_CALLS]f[ARGS]no", "|C:f[ARGS]no");
    split(NULL, NULL, true, "<function=f>", "|C:<function=f>");
    split(NULL, NULL, true, "<tool_call><function=f><parameter=a>1</tool_call>", "|T:f({})");
}

static void harmony_channels(void **state)
{
    const char *t = "<|start|> <|channel|>";
    assert_true(answer_needs_special(t));
    assert_false(answer_needs_special("<think>"));
    split(t, NULL, true,
          "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Yes.",
          "|R:hm|C:Yes.");
    split(t, NULL, true,
          "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"a\":1}<|call|>",
          "|T:f({\"a\":1})");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_text_stays),
        cmocka_unit_test(thinking_is_told_apart),
        cmocka_unit_test(calls_are_found),
        cmocka_unit_test(families_write_calls_their_own_way),
        cmocka_unit_test(what_is_no_call_is_text),
        cmocka_unit_test(harmony_channels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
