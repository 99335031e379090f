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

static void split(const char *template, const char *prompt, bool tools, const char *text,
                  const char *want)
{
    size_t n = strlen(text);
    for (size_t piece = 1; piece <= n; piece++) { /* all sizes of pieces */
        record r = {.last = -1};
        answer *a = answer_new(template, prompt, tools);
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
        cmocka_unit_test(harmony_channels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
