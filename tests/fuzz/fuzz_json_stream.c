/*
 * Any bytes as JSON: the token reader and jansson must agree on what is valid, and skipping must
 * agree with reading. links: base
 */
#include <jansson.h>
#include <string.h>

#include "base/error.h"
#include "base/json_stream.h"
#include "base/utf8.h"
#include "fuzz/fuzz.h"

static bool read_all(const char *text, size_t n)
{
    nx_json_stream s;
    nx_json_token t;
    nx_json_stream_init(&s, text, n, "input");
    while ((t = nx_json_next(&s)) > NX_JSON_END) {
        FUZZ_CHECK(s.depth >= 0 && s.depth <= NX_JSON_MAX_DEPTH);
        fuzz_touch(s.text.data, s.text.len);
        if (t == NX_JSON_KEY || t == NX_JSON_STRING)
            FUZZ_CHECK(nx_utf8_valid(s.text.data, s.text.len));
    }
    nx_json_stream_clear(&s);
    return t == NX_JSON_END;
}

static bool skip_all(const char *text, size_t n)
{
    nx_json_stream s;
    nx_json_stream_init(&s, text, n, "input");
    bool ok = nx_json_skip_value(&s) && nx_json_next(&s) == NX_JSON_END;
    nx_json_stream_clear(&s);
    return ok;
}

/* Numbers read alike by value, wherever they fit. */
static void read_numbers(const char *text, size_t n)
{
    nx_json_stream s;
    nx_json_token t;
    nx_json_stream_init(&s, text, n, "input");
    while ((t = nx_json_next(&s)) > NX_JSON_END) {
        int64_t i = 0;
        double f = 0;
        nx_json_stream copy = s; /* a failure ends a stream: try on copies */
        copy.scratch = (nx_str){0};
        if (t == NX_JSON_NUMBER && nx_json_number_i64(&copy, &i)) {
            FUZZ_CHECK(nx_json_number_f64(&copy, &f));
            FUZZ_CHECK(f == (double)i);
        }
        nx_str_clear(&copy.scratch);
    }
    nx_json_stream_clear(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    json_error_t e;
    bool ours = read_all(text, size);
    FUZZ_CHECK(skip_all(text, size) == ours);
    read_numbers(text, size);
    if (memchr(text, '\0', size)) /* jansson loses a NUL that follows a number */
        return 0;
    json_t *j =
        json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &e);
    enum json_error_code why = j ? json_error_unknown : json_error_code(&e);
    json_decref(j);
    /* jansson's own limits: doubles, its depth, NUL in keys. Ours: a lower depth. */
    if (why == json_error_numeric_overflow || why == json_error_stack_overflow ||
        why == json_error_null_byte_in_key)
        return 0;
    if (j && !ours)
        FUZZ_CHECK(strstr(nx_error_message(), "nested too deeply"));
    else
        FUZZ_CHECK(ours == (j != NULL));
    return 0;
}
