/* Any bytes as a safetensors file: refused, or all that it gives lies inside. links: base */
#include <string.h>

#include "base/error.h"
#include "base/safetensors.h"
#include "fuzz/fuzz.h"

static void walk_tensor(const nx_safetensors *s, const nx_safetensors_tensor *t, size_t size)
{
    uint64_t elements = 1;
    for (int i = 0; i < t->ndim; i++)
        elements *= t->shape[i];
    FUZZ_CHECK(elements == t->elements);
    FUZZ_CHECK(t->bytes * 8 == elements * nx_safetensors_dtype_bits(t->dtype));
    FUZZ_CHECK(t->offset >= s->data_offset && t->bytes <= size - t->offset);
    FUZZ_CHECK(nx_safetensors_find(s, t->name) == t);
    fuzz_touch(t->data, (size_t)t->bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nx_mapping *m = nx_mapping_of_memory(data, size, "input");
    nx_error_clear();
    nx_safetensors *s = nx_safetensors_open_mapping(m);
    FUZZ_CHECK(s || *nx_error_message());
    for (size_t i = 0; s && i < s->n_tensors; i++)
        walk_tensor(s, &s->tensors[i], size);
    for (size_t i = 0; s && i < s->n_metadata; i++) {
        fuzz_touch(s->metadata[i].key, strlen(s->metadata[i].key) + 1);
        fuzz_touch(s->metadata[i].value.data, s->metadata[i].value.len + 1);
    }
    nx_safetensors_free(s);
    nx_mapping_unref(&m);
    return 0;
}
