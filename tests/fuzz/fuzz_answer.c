/*
 * Any text as a model's answer: the parts told are the same whatever the pieces it comes in, calls
 * have names and arguments that are JSON but where the model wrote a text. links: nexus
 */
#include <string.h>

#include "base/str.h"
#include "fuzz/fuzz.h"
#include "runtime/text/answer.h"

/* A template that names the marks of all families. */
static const char marks[] =
    "[THINK] <|START_THINKING|> <|START_RESPONSE|> <|START_ACTION|> <|channel>thought <|open|>think<|sep|> "
    "<|open|>response<|sep|> <|tool_call_start|> <|tool_call|> <|tool_call> <|tool_calls_section_begin|> "
    "<｜tool▁calls▁begin｜> <｜DSML｜function_calls> <｜DSML｜tool_calls> <|tools_prefix|> <|open|>tools<|sep|> "
    "<|function_call|> [TOOL_CALLS] <|python_tag|> <|channel|> <|start|>";

typedef struct {
    nx_str text;
    int last;
} record;

static void note(const answer_part *p, void *user)
{
    record *r = user;
    if (p->kind == ANSWER_CALL) {
        FUZZ_CHECK(p->name && p->text);
        nx_str_printf(&r->text, "[%s:", p->name);
    } else if (r->last != (int)p->kind) {
        nx_str_putc(&r->text, p->kind == ANSWER_CONTENT ? 'C' : 'R');
    }
    nx_str_add(&r->text, p->text, p->length);
    r->last = (int)p->kind;
}

static void split(const char *template, json_t *tools, const char *text, size_t n, size_t piece,
                  record *out)
{
    answer *a = answer_new(template, NULL, true, tools);
    for (size_t at = 0; at < n; at += piece)
        answer_push(a, text + at, n - at < piece ? n - at : piece, note, out);
    answer_end(a, note, out);
    answer_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 20000)
        return 0;
    static json_t *tools;
    if (!tools)
        tools = json_loads("[{\"function\": {\"name\": \"f\", \"parameters\": {\"properties\": {\"a\": "
                           "{\"type\": \"string\"}}}}}, {\"name\": \"now\"}]", 0, NULL);
    nx_str text = {0};
    record whole = {.last = -1}, pieces = {.last = -1};
    for (size_t i = 1; i < size; i++)
        nx_str_putc(&text, data[i] ? (char)data[i] : ' ');
    const char *template = data[0] & 1 ? marks : "";
    json_t *known = data[0] & 2 ? tools : NULL;
    split(template, known, text.data, text.len, text.len, &whole);
    split(template, known, text.data, text.len, 1 + data[0] / 4 % 7, &pieces);
    FUZZ_CHECK(whole.text.len == pieces.text.len);
    FUZZ_CHECK(memcmp(nx_str_cstr(&whole.text), nx_str_cstr(&pieces.text), whole.text.len) == 0);
    nx_str_clear(&text);
    nx_str_clear(&whole.text);
    nx_str_clear(&pieces.text);
    return 0;
}
