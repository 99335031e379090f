/*
 * Any bytes as a GGUF file with a tokenizer in its metadata: refused, or a tokenizer whose ids are
 * in range and decode again to valid UTF-8. links: nexus
 */
#include <string.h>

#include "base/error.h"
#include "base/utf8.h"
#include "fuzz/fuzz.h"
#include "runtime/text/tokenizer.h"

static void use(const tokenizer *t, unsigned flags)
{
    static const char text[] =
        "Hello, world!  It's 1234 \xC3\xA9\xE4\xBD\xA0\xF0\x9F\x98\x80\n\xFF<s> ab";
    tok_ids ids = {0};
    nx_str back = {0};
    if (tok_encode(t, text, sizeof text - 1, flags, &ids, NULL)) {
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
    nx_mapping *m = nx_mapping_of_memory(data, size, "input");
    nx_gguf *g = nx_gguf_open_mapping(m);
    nx_error_clear();
    tokenizer *t = g ? tok_from_gguf(g) : NULL;
    FUZZ_CHECK(!g || t || *nx_error_message());
    nx_gguf_free(g);
    nx_mapping_unref(&m);
    if (t) {
        use(t, TOK_ADD_SPECIAL);
        use(t, TOK_PARSE_SPECIAL);
        tok_free(t);
    }
    return 0;
}
