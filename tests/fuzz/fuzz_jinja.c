/*
 * Any bytes as a chat template: refused, or rendered within the limits it is given, with the same
 * result twice. links: nexus
 */
#include <string.h>

#include "base/error.h"
#include "base/utf8.h"
#include "fuzz/fuzz.h"
#include "runtime/text/jinja.h"

enum { MAX_OUTPUT = 1 << 16 };

/* A conversation with everything that templates look at. */
static const char variables[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},"
    "{\"role\":\"user\",\"content\":\"Hi\"},"
    "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Hi <there> \\u00e9\"}]},"
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"type\":\"function\",\"function\":"
    "{\"name\":\"add\",\"arguments\":{\"a\":1,\"b\":2.5,\"c\":[true,null]}}}]},"
    "{\"role\":\"tool\",\"name\":\"add\",\"content\":\"3.5\"}],"
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"add\",\"description\":\"adds\","
    "\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"number\"}}}}}],"
    "\"add_generation_prompt\":true,\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"n\":-7,"
    "\"empty\":[],\"x\":1e300}";

static json_t *conversation(void)
{
    static json_t *vars;
    if (!vars)
        vars = json_loads(variables, 0, NULL);
    FUZZ_CHECK(vars);
    return vars;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    jinja_options o = jinja_options_default();
    o.max_steps = 50000;
    o.max_memory = 8 << 20;
    o.max_output = MAX_OUTPUT;
    o.max_depth = 200; /* a sanitizer's frames are large */
    o.has_now = true;
    nx_error_clear();
    jinja_template *t = jinja_parse((const char *)data, size);
    FUZZ_CHECK(t || *nx_error_message());
    if (!t)
        return 0;
    nx_str once = {0}, again = {0};
    nx_str_puts(&once, "before");
    nx_error_clear();
    bool ok = jinja_render(t, conversation(), &o, &once);
    FUZZ_CHECK(ok || (*nx_error_message() && once.len == 6));
    FUZZ_CHECK(once.len <= 6 + MAX_OUTPUT && memcmp(once.data, "before", 6) == 0);
    FUZZ_CHECK(nx_utf8_valid(once.data, once.len));
    nx_str_puts(&again, "before");
    FUZZ_CHECK(jinja_render(t, conversation(), &o, &again) == ok);
    FUZZ_CHECK(again.len == once.len && memcmp(again.data, once.data, once.len) == 0);
    nx_str_clear(&once);
    nx_str_clear(&again);
    jinja_free(t);
    return 0;
}
