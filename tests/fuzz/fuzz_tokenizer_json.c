/*
 * A tokenizer.json, a NUL, and a text: whatever loads must encode any text, and give a decoded text
 * that is the same in one piece and in parts. links: nexus
 */
#include <string.h>

#include "base/error.h"
#include "base/utf8.h"
#include "fuzz/fuzz.h"
#include "runtime/text/detok.h"
#include "runtime/text/tokenizer.h"

enum { LONGEST_TEXT = 64 }; /* patterns may be exponential in it */

static void check_decoding(const tokenizer *t, const tok_ids *ids, bool special)
{
    nx_str whole = {0}, parts = {0};
    FUZZ_CHECK(tok_decode(t, ids->at, ids->n, special, &whole));
    FUZZ_CHECK(nx_utf8_valid(nx_str_cstr(&whole), whole.len));
    detok d;
    detok_init(&d, t, special);
    for (size_t i = 0; i < ids->n; i++) {
        FUZZ_CHECK(detok_push(&d, ids->at[i], &parts));
        FUZZ_CHECK(nx_utf8_valid(nx_str_cstr(&parts), parts.len));
    }
    detok_flush(&d, &parts);
    FUZZ_CHECK(parts.len == whole.len);
    FUZZ_CHECK(!whole.len || memcmp(parts.data, whole.data, whole.len) == 0);
    detok_clear(&d);
    nx_str_clear(&whole);
    nx_str_clear(&parts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *json = (const char *)data, *end = size ? memchr(json, '\0', size) : NULL;
    nx_slice file = {json, end ? (size_t)(end - json) : size};
    nx_slice text = {"a \xC3\xA9 1<s>", 9};
    if (end && end + 1 < json + size)
        text = (nx_slice){end + 1, (size_t)(json + size - end - 1)};
    if (text.len > LONGEST_TEXT)
        text.len = LONGEST_TEXT;
    nx_error_clear();
    tokenizer *t = tok_from_json_memory(file, (nx_slice){0}, "input");
    FUZZ_CHECK(t || *nx_error_message()); /* a refusal says why */
    if (!t)
        return 0;
    for (unsigned flags = 0; flags < 4; flags++) {
        tok_ids ids = {0};
        if (tok_encode(t, text.data, text.len, flags, &ids, NULL)) {
            for (size_t i = 0; i < ids.n; i++)
                FUZZ_CHECK(tok_token(t, ids.at[i]).data);
            check_decoding(t, &ids, flags & 1);
        }
        nx_vec_clear(&ids);
    }
    tok_free(t);
    return 0;
}
