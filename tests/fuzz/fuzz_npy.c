/* Any bytes as a .npy file: refused, or its elements lie inside. links: base */
#include <string.h>

#include "base/error.h"
#include "base/npy.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nx_npy f, again;
    nx_error_clear();
    if (!nx_npy_parse(&f, data, size, size, "input")) {
        FUZZ_CHECK(*nx_error_message());
        return 0;
    }
    FUZZ_CHECK(f.ndim >= 0 && f.ndim <= NX_NPY_MAX_DIMS);
    FUZZ_CHECK(f.bytes <= size - f.data_offset);
    fuzz_touch(data + f.data_offset, (size_t)f.bytes);
    nx_str s = {0};
    nx_npy_header(&s, &f);
    FUZZ_CHECK(nx_npy_parse(&again, s.data, s.len, UINT64_MAX, "written"));
    FUZZ_CHECK(again.elements == f.elements && again.ndim == f.ndim && again.kind == f.kind);
    nx_str_clear(&s);
    return 0;
}
