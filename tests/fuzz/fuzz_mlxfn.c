/* Any bytes as a file of functions: refused, or all its traces run or say why not. links: engine */
#include <string.h>

#include "base/error.h"
#include "engine/core/eval.h"
#include "engine/core/scope.h"
#include "engine/graph/export.h"
#include "engine/ops/creation.h"
#include "fuzz/fuzz.h"

enum { MOST = 1 << 16 }; /* elements of an input or output that are still computed */

static void run_trace(const nx_imported *f, size_t trace)
{
    nx_scope scope = nx_scope_open();
    const nx_trace_info info = nx_imported_trace(f, trace);
    nx_array **in = nx_malloc((info.n + 1) * sizeof *in);
    nx_array_vec out = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < info.n; i++) {
        const nx_spec *s = &info.specs[i];
        in[i] = nx_shape_size(s->shape, s->ndim) <= MOST
                    ? nx_ones(s->shape, s->ndim, s->dtype, nx_stream_default((nx_device){NX_CPU, 0}))
                    : NULL;
        ok = in[i] != NULL;
    }
    nx_error_clear();
    if (ok && !nx_imported_call(f, in, info.n, info.names, info.n_names, &out))
        FUZZ_CHECK(*nx_error_message());
    for (size_t i = 0; i < out.n; i++)
        ok = ok && out.at[i]->size <= MOST;
    if (ok && info.largest <= MOST && out.n)
        (void)nx_eval(out.at, (int)out.n, true);
    nx_vec_clear(&out);
    free(in);
    nx_scope_close(scope);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nx_error_clear();
    nx_imported *f = nx_import_bytes(data, size, "input");
    FUZZ_CHECK(f || *nx_error_message());
    for (size_t i = 0; f && i < nx_imported_traces(f) && i < 8; i++)
        run_trace(f, i);
    nx_imported_free(f);
    return 0;
}
