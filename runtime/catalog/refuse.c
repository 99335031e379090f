#include "runtime/catalog/refuse.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "runtime/catalog/estimate.h"

static const char *human(char out[16], uint64_t bytes)
{
    snprintf(out, 16, bytes < 1000000000 ? "%.0f MB" : "%.2f GB",
             (double)bytes / (bytes < 1000000000 ? 1e6 : 1e9));
    return out;
}

/* The best of the other models that fits, for a last piece of advice. */
static void name_another(nx_str *text, const package *p, uint64_t room)
{
    nexus_models *all;
    const nexus_models_entry *best = NULL;
    char need[16];
    if (nexus_models_scan(NULL, &all) != NEXUS_OK)
        return;
    for (size_t i = 0; i < nexus_models_count(all); i++) {
        const nexus_models_entry *e = nexus_models_at(all, i);
        if (strcmp(e->status, "ready") == 0 && strcmp(e->kind, "text") == 0 && e->memory_bytes &&
            e->memory_bytes <= room && strcmp(e->path, p->path) != 0 &&
            (!best || e->parameters > best->parameters))
            best = e;
    }
    if (best)
        nx_str_printf(text, "; the model %s fits (%s)", best->name, human(need, best->memory_bytes));
    nexus_models_free(all);
}

static void advise_bits(nx_str *text, package *p, const model *m, const memory_shape *s,
                        uint64_t room, int ctx, nn_cache_form type)
{
    model_facts facts;
    memory_shape four = *s;
    char need[16];
    if (!model_inspect_weights(m, &p->source, p->quant, p->is_gguf, &facts))
        return;
    four.file_bytes = estimate_quantized(facts.parameters, facts.parameters, 4);
    four.turned_bytes = 0;
    uint64_t bytes = estimate_memory(&four, ctx, type);
    if (four.file_bytes < s->file_bytes / 10 * 9 && bytes <= room)
        nx_str_printf(text, "; with 4 bits a weight it fits (%s)", human(need, bytes));
}

static void advise(nx_str *text, package *p, const model *m, const memory_shape *s, uint64_t room,
                   int ctx, nn_cache_form type)
{
    int smaller = estimate_context(s, room, type, ctx);
    if (type == NN_CACHE_F32 && estimate_memory(s, ctx, NN_CACHE_F16) <= room)
        nx_str_puts(text, "; it fits with --cache-type f16");
    else if (type != NN_CACHE_Q8 && type != NN_CACHE_Q4 && estimate_memory(s, ctx, NN_CACHE_Q8) <= room)
        nx_str_puts(text, "; it fits with --cache-type q8");
    else if (type != NN_CACHE_Q4 && estimate_memory(s, ctx, NN_CACHE_Q4) <= room)
        nx_str_puts(text, "; it fits with --cache-type q4");
    if (smaller)
        nx_str_printf(text, "; it fits with --ctx %d", smaller);
    else
        advise_bits(text, p, m, s, room, ctx, type);
    name_another(text, p, room);
}

nexus_status refuse_unless_fits(package *p, const model *m, int ctx, const char *cache_type)
{
    nn_cache_form type;
    nexus_memory memory;
    char need[16], have[16];
    if (!nn_cache_type(cache_type, &type))
        return NEXUS_ERROR_ARGUMENT;
    if (nexus_memory_now(&memory) != NEXUS_OK)
        return NEXUS_OK; /* a system that does not tell is not to be asked */
    memory_shape s = package_shape(p, m);
    uint64_t bytes = estimate_memory(&s, ctx, type);
    if (bytes <= memory.available)
        return NEXUS_OK;
    nx_str text = {0};
    advise(&text, p, m, &s, memory.available, ctx, type);
    nx_fail("[%s] needs %s with a context of %d, and %s of memory are free%s; --force loads it all "
            "the same", p->path, human(need, bytes), ctx, human(have, memory.available),
            nx_str_cstr(&text));
    nx_str_clear(&text);
    return NEXUS_ERROR_MEMORY;
}
