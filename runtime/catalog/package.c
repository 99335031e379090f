#include "runtime/catalog/package.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/log.h"
#include "base/os.h"
#include "runtime/catalog/estimate.h"
#include "runtime/catalog/names.h"
#include "runtime/nn/engine.h"
#include "runtime/nn/packed.h"

enum { DEFAULT_CONTEXT = 4096 };

/* ---- finding ---------------------------------------------------------------------------------- */

/* "SmolLM2.gguf" is stored under the name "SmolLM2". */
static size_t stem_length(const char *entry)
{
    return strlen(entry) - (nx_ends_with(entry, ".gguf") ? 5 : 0);
}

/* Appends store/ENTRY for the entry called `name` in any case; else lists the names in *known. */
static bool find_stored(const char *name, nx_str *path, nx_str *known)
{
    nx_str store = {0};
    bool found = false;
    DIR *d = nx_os_path(&store, NX_OS_DATA, "models") ? opendir(nx_str_cstr(&store)) : NULL;
    for (struct dirent *e; d && !found && (e = readdir(d));) {
        size_t n = stem_length(e->d_name);
        if (e->d_name[0] == '.' || nx_ends_with(e->d_name, ".part"))
            continue;
        found = strcasecmp(e->d_name, name) == 0 ||
                (strlen(name) == n && strncasecmp(e->d_name, name, n) == 0);
        if (found)
            nx_str_printf(path, "%s/%s", nx_str_cstr(&store), e->d_name);
        else
            nx_str_printf(known, "%s%.*s", known->len ? ", " : "", (int)n, e->d_name);
    }
    if (d)
        closedir(d);
    nx_str_clear(&store);
    return found;
}

/* A folder with a config.json, or with GGUF files alone: then the first part of the only model. */
static nexus_status resolve_folder(const char *folder, nx_str *path)
{
    nx_str config = {0}, only = {0};
    nx_str_printf(&config, "%s/config.json", folder);
    bool has_config = nx_os_is_file(nx_str_cstr(&config));
    nx_str_clear(&config);
    if (has_config) {
        nx_str_puts(path, folder);
        return NEXUS_OK;
    }
    int models = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        const char *part = strstr(e->d_name, "-of-");
        bool later = part && part - e->d_name >= 6 && strncmp(part - 6, "-00001", 6) != 0;
        if (e->d_name[0] == '.' || !nx_ends_with(e->d_name, ".gguf") || later)
            continue;
        models++;
        nx_str_truncate(&only, 0);
        nx_str_printf(&only, "%s/%s", folder, e->d_name);
    }
    if (d)
        closedir(d);
    if (models == 1)
        nx_str_puts(path, nx_str_cstr(&only));
    nx_str_clear(&only);
    if (models == 1)
        return NEXUS_OK;
    nx_fail(models ? "[%s] holds %d GGUF models: name one of the files"
                   : "[%s] holds no model: there is neither a config.json nor a GGUF file (%d found)",
            folder, models);
    return NEXUS_ERROR_FORMAT;
}

/* A folder's or file's own path, found by any of the ways a model may be named. */
static nexus_status resolve_found(const char *found, nx_str *path)
{
    if (nx_os_is_dir(found))
        return resolve_folder(found, path);
    nx_str_puts(path, found);
    return NEXUS_OK;
}

/* Aliases, and whatever nexus models lists: the stores of other programs and the user's folders. */
static bool find_elsewhere(const char *named, nx_str *found)
{
    char *target = names_alias(named);
    if (target && (nx_os_is_dir(target) || nx_os_is_file(target)))
        nx_str_puts(found, target);
    nexus_models *all = NULL;
    if (!found->len && nexus_models_scan(NULL, &all) == NEXUS_OK) {
        const nexus_models_entry *e = nexus_models_find(all, named);
        if (e)
            nx_str_puts(found, e->path);
    }
    nexus_models_free(all);
    free(target);
    return found->len > 0;
}

/* "auto" or "auto:TASK": the model that is chosen for it. */
static nexus_status resolve_auto(const char *task, nx_str *path)
{
    nexus_models *all;
    nexus_selection s;
    nexus_select_options o = {.task = task};
    nexus_status status = nexus_models_scan(NULL, &all);
    if (status)
        return status;
    status = nexus_select(all, &o, &s);
    if (!status) {
        if (s.model && strcmp(s.model->status, "ready") == 0) {
            nx_info("%s", s.reason);
            nx_str_puts(path, s.model->path);
        } else {
            nx_fail("%s%s%s", s.reason, *s.pull ? " Fetch one: nexus pull " : "", s.pull);
            status = NEXUS_ERROR_NOT_FOUND;
        }
        nexus_selection_clear(&s);
    }
    nexus_models_free(all);
    return status;
}

nexus_status package_resolve(const char *named, nx_str *path)
{
    if (!named || !*named) {
        nx_fail("no model was named: give a GGUF file, a folder, or the name of a stored model");
        return NEXUS_ERROR_ARGUMENT;
    }
    if (nx_os_is_dir(named) || nx_os_is_file(named))
        return resolve_found(named, path);
    nx_str stored = {0}, known = {0};
    nexus_status status = NEXUS_ERROR_NOT_FOUND;
    if (strcmp(named, "auto") == 0 || strncmp(named, "auto:", 5) == 0) {
        status = resolve_auto(named[4] ? named + 5 : NULL, &stored);
        if (!status)
            status = resolve_found(nx_str_cstr(&stored), path);
        nx_str_clear(&stored);
        return status;
    }
    bool is_path = named[0] == '/' || named[0] == '.' || named[0] == '~';
    if (!is_path && (find_stored(named, &stored, &known) || find_elsewhere(named, &stored)))
        status = resolve_found(nx_str_cstr(&stored), path);
    else if (is_path || !known.len)
        nx_fail("[%s] no such file or folder%s", named, is_path ? "" : ", and no model is stored yet");
    else
        nx_fail("[%s] no such file, folder or stored model; stored are: %s", named,
                nx_str_cstr(&known));
    nx_str_clear(&stored);
    nx_str_clear(&known);
    return status;
}

/* ---- opening ---------------------------------------------------------------------------------- */

static nexus_status open_gguf(package *p)
{
    if (!nn_source_open_gguf(&p->source, p->path))
        return NEXUS_ERROR_FORMAT;
    p->is_gguf = true;
    const nx_gguf *g = p->source.ggufs.at[0];
    nx_slice arch = nx_gguf_get_str(g, "general.architecture");
    nx_slice name = nx_gguf_get_str(g, "general.name");
    if (!arch.data || arch.len >= sizeof p->arch) {
        nx_fail("[%s] does not say its architecture (general.architecture)", p->path);
        return NEXUS_ERROR_FORMAT;
    }
    memcpy(p->arch, arch.data, arch.len);
    if (name.data && name.len)
        p->name = nx_strndup(name.data, name.len);
    p->config = (config_source){.gguf = g, .arch = p->arch};
    return NEXUS_OK;
}

static nexus_status open_folder(package *p)
{
    nx_str config = {0};
    nx_str_printf(&config, "%s/config.json", p->path);
    p->json = nx_json_load_file(nx_str_cstr(&config));
    nx_str_clear(&config);
    if (!p->json || !nn_source_open_folder(&p->source, p->path))
        return NEXUS_ERROR_FORMAT;
    const char *type = nx_json_get_str(p->json, "model_type", NULL);
    if (!type || strlen(type) >= sizeof p->arch) {
        nx_fail("[%s/config.json] does not say its model_type", p->path);
        return NEXUS_ERROR_FORMAT;
    }
    snprintf(p->arch, sizeof p->arch, "%s", type);
    p->config = (config_source){.json = p->json, .arch = p->arch};
    p->quant.block = nx_json_get(p->json, "quantization");
    const json_t *foreign = nx_json_get(p->json, "quantization_config");
    if (json_is_object(foreign) && !p->quant.block) {
        if (!nn_packed_check(foreign)) {
            nx_fail_in("[%s]", p->path);
            return NEXUS_ERROR_UNSUPPORTED;
        }
        p->quant.foreign = foreign;
    }
    return NEXUS_OK;
}

/* The last part of a path, without slashes after it and without ".gguf". */
static char *name_of_path(const char *path)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    char *name = nx_strndup(path + start, end - start);
    name[stem_length(name)] = '\0';
    return name;
}

nexus_status package_open(package *p, const char *named)
{
    *p = (package){0};
    nx_str path = {0};
    nexus_status status = package_resolve(named, &path);
    if (status == NEXUS_OK) {
        p->path = nx_str_take(&path);
        status = nx_os_is_dir(p->path) ? open_folder(p) : open_gguf(p);
        if (!p->name)
            p->name = name_of_path(p->path);
    }
    nx_str_clear(&path);
    if (status)
        package_clear(p);
    return status;
}

void package_clear(package *p)
{
    free(p->path);
    free(p->name);
    nn_source_clear(&p->source);
    json_decref(p->json);
    *p = (package){0};
}

const char *package_format(const package *p)
{
    if (p->is_gguf)
        return "gguf";
    if (p->quant.block || nn_source_is_mlx(&p->source))
        return "mlx";
    return "huggingface";
}

int package_context(const model *m, int wanted)
{
    int n = wanted > 0 ? wanted : DEFAULT_CONTEXT;
    return n < m->max_context ? n : m->max_context;
}

memory_shape package_shape(const package *p, const model *m)
{
    const nexus_engine *ext = engine_extensions();
    memory_shape s = memory_shape_of(m);
    s.file_bytes = p->source.file_bytes;
    for (size_t i = 0; ext && i < p->source.tensors.n; i++) {
        const nn_tensor *t = &p->source.tensors.at[i];
        if (t->ggml_type >= 0 && t->ndim == 2 &&
            ext->gguf_should_repack(t->ggml_type, t->shape[0], t->shape[1]))
            s.turned_bytes += t->bytes;
    }
    return s;
}

nexus_status package_describe(package *p, const model *m, int ctx, nn_cache_form form, nexus_model_info *out)
{
    model_facts facts;
    if (!model_inspect_weights(m, &p->source, p->quant, p->is_gguf, &facts))
        return NEXUS_ERROR_FORMAT;
    *out = (nexus_model_info){0};
    snprintf(out->name, sizeof out->name, "%s", p->name);
    snprintf(out->path, sizeof out->path, "%s", p->path);
    snprintf(out->format, sizeof out->format, "%s", package_format(p));
    snprintf(out->family, sizeof out->family, "%s", p->arch);
    snprintf(out->quantization, sizeof out->quantization, "%s", facts.label);
    out->parameters = facts.parameters;
    out->bits_per_weight = facts.parameters ? 8.0 * (double)facts.bytes / (double)facts.parameters : 0;
    out->bytes = p->source.file_bytes;
    out->max_context = m->max_context;
    out->context = package_context(m, ctx);
    memory_shape shape = package_shape(p, m);
    out->memory_bytes = estimate_memory(&shape, out->context, form);
    double used = config_item(&p->config, "num_experts_per_tok|moe_topk", "expert_used_count", 0, 0);
    out->token_bytes = facts.bytes - facts.lookup_bytes;
    if (m->n_experts > 0 && used > 0 && used < m->n_experts)
        out->token_bytes -= (uint64_t)((double)facts.expert_bytes * (1 - used / m->n_experts));
    return NEXUS_OK;
}
