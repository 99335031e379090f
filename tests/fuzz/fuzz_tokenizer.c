/*
 * Any bytes as a tokenizer.json: refused, or a tokenizer whose ids are in range and decode again
 * to valid UTF-8. links: nexus
 */
#include <string.h>

#include "base/error.h"
#include "base/utf8.h"
#include "fuzz/fuzz.h"
#include "runtime/text/tokenizer.h"

static void use(const tokenizer *t, const char *text, size_t n, unsigned flags)
{
    tok_ids ids = {0};
    nx_str back = {0};
    if (tok_encode(t, text, n, flags, &ids, NULL)) {
        for (size_t i = 0; i < ids.n; i++)
            FUZZ_CHECK(ids.at[i] >= 0 && (size_t)ids.at[i] < tok_vocab_size(t));
        if (tok_decode(t, ids.at, ids.n, true, &back))
            FUZZ_CHECK(nx_utf8_valid(nx_str_cstr(&back), back.len));
    }
    nx_vec_clear(&ids);
    nx_str_clear(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] =
        "Hello, world!  It's 1234 \xC3\xA9\xE4\xBD\xA0\xF0\x9F\x98\x80\n\xFF<s>";
    nx_error_clear();
    tokenizer *t =
        tok_from_json_memory((nx_slice){(const char *)data, size}, (nx_slice){NULL, 0}, "input");
    FUZZ_CHECK(t || *nx_error_message());
    if (!t)
        return 0;
    use(t, text, sizeof text - 1, TOK_ADD_SPECIAL);
    use(t, text, sizeof text - 1, TOK_PARSE_SPECIAL);
    use(t, (const char *)data, size < 200 ? size : 200, 0);
    tok_free(t);
    return 0;
}
