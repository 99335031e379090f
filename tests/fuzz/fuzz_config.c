/*
 * Any bytes as a model's settings, a config.json or the metadata of a GGUF file: refused with a message, or
 * within what a model may have. links: nexus
 */
#include <string.h>

#include "base/error.h"
#include "base/gguf.h"
#include "base/json.h"
#include "fuzz/fuzz.h"
#include "runtime/models/model.h"

static void configure(const config_source *from)
{
    nx_error_clear();
    model *m = model_configure(from);
    FUZZ_CHECK(m || *nx_error_message());
    if (!m)
        return;
    FUZZ_CHECK(m->n_layers >= 1 && m->n_layers <= 10000);
    fuzz_touch(m->caches, (size_t)m->n_layers * sizeof *m->caches);
    model_free(m);
}

static void configure_json(const uint8_t *data, size_t size)
{
    json_t *o = nx_json_parse((const char *)data, size, "config.json");
    FUZZ_CHECK(o || *nx_error_message());
    if (o)
        configure(&(config_source){.json = o, .arch = nx_json_get_str(o, "model_type", "")});
    json_decref(o);
}

static void configure_gguf(const uint8_t *data, size_t size)
{
    char arch[64];
    nx_mapping *m = nx_mapping_of_memory(data, size, "input");
    nx_gguf *g = nx_gguf_open_mapping(m);
    nx_slice name = g ? nx_gguf_get_str(g, "general.architecture") : (nx_slice){0};
    snprintf(arch, sizeof arch, "%.*s", (int)(name.len < sizeof arch ? name.len : 0), name.data ? name.data : "");
    if (g)
        configure(&(config_source){.gguf = g, .arch = arch});
    nx_gguf_free(g);
    nx_mapping_unref(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nx_error_clear();
    if (size >= 4 && memcmp(data, "GGUF", 4) == 0)
        configure_gguf(data, size);
    else
        configure_json(data, size);
    return 0;
}
