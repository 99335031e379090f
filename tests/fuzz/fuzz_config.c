/*
 * Any bytes as a config.json: refused with a message, or a model's settings that are within what a model may
 * have. links: nexus
 */
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "fuzz/fuzz.h"
#include "runtime/models/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nx_error_clear();
    json_t *o = nx_json_parse((const char *)data, size, "config.json");
    FUZZ_CHECK(o || *nx_error_message());
    if (!o)
        return 0;
    config_source from = {.json = o, .arch = nx_json_get_str(o, "model_type", "")};
    nx_error_clear();
    model *m = model_configure(&from);
    FUZZ_CHECK(m || *nx_error_message());
    if (m) {
        FUZZ_CHECK(m->n_layers >= 1 && m->n_layers <= 10000);
        fuzz_touch(m->caches, (size_t)m->n_layers * sizeof *m->caches);
        model_free(m);
    }
    json_decref(o);
    return 0;
}
