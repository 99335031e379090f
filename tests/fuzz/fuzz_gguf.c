/* Any bytes as a GGUF file: refused, or all that it gives lies inside. links: base */
#include <string.h>

#include "base/error.h"
#include "base/gguf.h"
#include "fuzz/fuzz.h"

static void walk_kv(const nx_gguf *g, const nx_gguf_kv *kv)
{
    nx_gguf_strings s;
    nx_slice text = nx_gguf_str(kv);
    FUZZ_CHECK(nx_gguf_find(g, kv->key) == kv);
    fuzz_touch(kv->data, kv->bytes);
    fuzz_touch(text.data, text.len);
    for (uint64_t i = 0; i < kv->count && i < 1000; i++) {
        (void)nx_gguf_item_u64(kv, i, 0);
        (void)nx_gguf_item_i64(kv, i, 0);
        (void)nx_gguf_item_f64(kv, i, 0);
        (void)nx_gguf_item_bool(kv, i, false);
    }
    if (nx_gguf_strings_init(&s, kv, kv->key))
        for (size_t i = 0; i < s.n; i++)
            fuzz_touch(nx_gguf_strings_at(&s, i).data, nx_gguf_strings_at(&s, i).len);
    nx_gguf_strings_clear(&s);
}

static void walk_tensor(const nx_gguf *g, const nx_gguf_tensor *t)
{
    FUZZ_CHECK(nx_gguf_tensor_find(g, t->name) == t);
    FUZZ_CHECK(t->offset % g->alignment == g->data_offset % g->alignment);
    FUZZ_CHECK(t->bytes == t->elements / t->type->block_elements * t->type->block_bytes);
    FUZZ_CHECK(t->data == nx_mapping_data(g->file) + t->offset);
    fuzz_touch(t->data, (size_t)t->bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nx_mapping *m = nx_mapping_of_memory(data, size, "input");
    nx_error_clear();
    nx_gguf *g = nx_gguf_open_mapping(m);
    FUZZ_CHECK(g || *nx_error_message());
    for (size_t i = 0; g && i < g->n_kv; i++)
        walk_kv(g, &g->kv[i]);
    for (size_t i = 0; g && i < g->n_tensors && i < 1000; i++)
        walk_tensor(g, &g->tensors[i]);
    nx_gguf_free(g);
    nx_mapping_unref(&m);
    return 0;
}
