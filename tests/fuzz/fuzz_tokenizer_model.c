/*
 * Two bytes, a text of at most so many bytes (little-endian), and a tokenizer.model behind it: whatever loads
 * must encode any text to ids that it has, and decode them to valid UTF-8. links: nexus
 */
#include <string.h>

#include "base/error.h"
#include "base/utf8.h"
#include "fuzz/fuzz.h"
#include "runtime/text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t n = (size_t)(data[0] | data[1] << 8);
    n = n < size - 2 ? n : size - 2;
    nx_slice text = {(const char *)data + 2, n}, file = {text.data + n, size - 2 - n};
    nx_error_clear();
    tokenizer *t = tok_from_sentencepiece_memory(file, (nx_slice){0}, "input");
    FUZZ_CHECK(t || *nx_error_message()); /* a refusal says why */
    for (unsigned flags = 0; t && flags < 4; flags++) {
        tok_ids ids = {0};
        nx_str back = {0};
        if (tok_encode(t, text.data, text.len, flags, &ids, NULL)) {
            for (size_t i = 0; i < ids.n; i++)
                FUZZ_CHECK(tok_token(t, ids.at[i]).data);
            FUZZ_CHECK(tok_decode(t, ids.at, ids.n, true, &back));
            FUZZ_CHECK(nx_utf8_valid(nx_str_cstr(&back), back.len));
        }
        nx_str_clear(&back);
        nx_vec_clear(&ids);
    }
    tok_free(t);
    return 0;
}
