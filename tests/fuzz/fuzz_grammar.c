/*
 * A letter (g: GBNF, r: a regular expression, any other: a JSON schema), its text, a NUL, and a text to match:
 * whatever compiles must match without end or fault, and the same in one piece and byte by byte. links: nexus
 */
#include <string.h>

#include "base/error.h"
#include "fuzz/fuzz.h"
#include "runtime/generate/grammar.h"

enum { LONGEST_TEXT = 256 };

static grammar *compile(char kind, const char *s, size_t n)
{
    return kind == 'g' ? grammar_from_gbnf(s, n) : kind == 'r' ? grammar_from_regex(s, n) : grammar_from_schema(s, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    const char *s = (const char *)data + 1, *end = memchr(s, '\0', size - 1);
    size_t n = end ? (size_t)(end - s) : size - 1;
    nx_slice text = {"{\"a\": [1, \"b\"]}", 15};
    if (end)
        text = (nx_slice){end + 1, size - 2 - n < LONGEST_TEXT ? size - 2 - n : LONGEST_TEXT};
    nx_error_clear();
    grammar *g = compile((char)data[0], s, n);
    FUZZ_CHECK(g || *nx_error_message());
    if (!g)
        return 0;
    matcher *whole = matcher_new(g, NULL, 0), *bytes = matcher_new(g, NULL, 0);
    bool ok = matcher_bytes(whole, text.data, text.len), each = true;
    for (size_t i = 0; i < text.len && each; i++)
        each = matcher_bytes(bytes, text.data + i, 1);
    FUZZ_CHECK(ok == each);
    FUZZ_CHECK(!ok || matcher_may_end(whole) == matcher_may_end(bytes));
    matcher_free(whole);
    matcher_free(bytes);
    grammar_free(g);
    return 0;
}
