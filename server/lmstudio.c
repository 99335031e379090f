/* lmstudio.c: LM Studio's lists of models, v0 and v1, and loading. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "server/app.h"
#include "server/fields.h"

/* Which of the loaded ones a name is; NULL: none. */
static const host_loaded *find_loaded(const host_loaded *l, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(l[i].name, name) == 0)
            return &l[i];
    return NULL;
}

static bool is_embedding(const nexus_models_entry *e)
{
    return strcmp(e->kind, "embedding") == 0;
}

static json_t *v0_model(const nexus_models_entry *e, const host_loaded *l)
{
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i}", "id", e->name, "object",
                          "model", "type", is_embedding(e) ? "embeddings" : "llm", "publisher", e->store,
                          "arch", e->family, "compatibility_type",
                          strcmp(e->format, "gguf") == 0 ? "gguf" : "mlx", "quantization",
                          e->quantization, "state", l ? "loaded" : "not-loaded", "max_context_length",
                          e->max_context);
    if (l)
        json_object_set_new(o, "loaded_context_length", json_integer(l->context));
    return o;
}

static json_t *v1_model(const nexus_models_entry *e, const host_loaded *l)
{
    char size[32];
    snprintf(size, sizeof size, "%.1fB", (double)e->parameters * 1e-9);
    json_t *instances = json_array();
    if (l)
        json_array_append_new(instances, json_pack("{s:s, s:{s:i, s:i}}", "id", l->name, "config",
                                                   "context_length", l->context, "parallel", l->lanes));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:{s:s, s:f}, s:I, s:s, s:o, s:i, s:s, s:{s:b, s:b}}",
                     "type", is_embedding(e) ? "embedding" : "llm", "publisher", e->store, "key", e->name,
                     "display_name", e->name, "architecture", e->family, "quantization", "name",
                     e->quantization, "bits_per_weight", e->bits_per_weight, "size_bytes",
                     (json_int_t)e->bytes, "params_string", size, "loaded_instances", instances,
                     "max_context_length", e->max_context, "format", e->format, "capabilities",
                     "vision", 0, "trained_for_tool_use", 0);
}

static void list(app *a, app_call *c, const char *key, bool v1)
{
    host_catalog *k = host_catalog_get(a->host);
    const nexus_models *all = host_catalog_models(k);
    host_loaded loaded[64];
    size_t n = host_list_loaded(a->host, loaded, 64);
    json_t *models = json_array();
    for (size_t i = 0; all && i < nexus_models_count(all); i++) {
        const nexus_models_entry *e = nexus_models_at(all, i);
        const host_loaded *l = find_loaded(loaded, n, e->name);
        if (host_usable(e) && !e->duplicate_of[0])
            json_array_append_new(models, v1 ? v1_model(e, l) : v0_model(e, l));
    }
    json_t *o = json_pack("{s:o}", key, models);
    if (!v1)
        json_object_set_new(o, "object", json_string("list"));
    http_reply_json(c->r, 200, o);
    json_decref(o);
    host_catalog_free(k);
}

void lmstudio_v0_models(app *a, app_call *c)
{
    list(a, c, "data", false);
}

void lmstudio_v1_models(app *a, app_call *c)
{
    list(a, c, "models", true);
}

void lmstudio_v0_model(app *a, app_call *c)
{
    host_catalog *k = host_catalog_get(a->host);
    const nexus_models_entry *e = host_find(k, c->rest);
    host_loaded loaded[64];
    size_t n = host_list_loaded(a->host, loaded, 64);
    if (e) {
        json_t *o = v0_model(e, find_loaded(loaded, n, e->name));
        http_reply_json(c->r, 200, o);
        json_decref(o);
    } else {
        app_fail(c->r, 404, "model", "there is no model called '%s'", c->rest);
    }
    host_catalog_free(k);
}

void lmstudio_v1_load(app *a, app_call *c)
{
    fields f;
    fields_open(&f, c->body);
    const char *name = fields_str(&f, "model", "");
    bool echo = fields_bool(&f, "echo_load_config", false);
    int context = (int)fields_int(&f, "context_length", 0, 1, INT32_MAX);
    json_t *unknown = fields_unknown(&f);
    host_model *m;
    nexus_status status = fields_ok(&f) ? host_acquire(a->host, name, -1, context, &m) : NEXUS_ERROR_ARGUMENT;
    if (status) {
        app_fail(c->r, app_status(status), f.key ? f.key : "model", "%s",
                 fields_ok(&f) ? nx_error_message() : f.fault);
    } else {
        if (context)
            host_lower_context(m, context);
        json_t *o = json_pack("{s:s, s:s, s:f, s:s}", "type", "llm", "instance_id", host_name(m),
                              "load_time_seconds", host_load_seconds(m), "status", "loaded");
        if (echo)
            json_object_set_new(o, "load_config",
                                json_pack("{s:i}", "context_length", host_context(m)));
        app_warn_unknown(c->r, o, unknown);
        host_release(m);
        http_reply_json(c->r, 200, o);
        json_decref(o);
    }
    json_decref(unknown);
    fields_close(&f);
}

void lmstudio_v1_unload(app *a, app_call *c)
{
    fields f;
    fields_open(&f, c->body);
    const char *name = fields_str(&f, "instance_id", "");
    if (!fields_ok(&f)) {
        app_fail_fields(c->r, &f);
    } else if (!host_unload(a->host, name)) {
        app_fail(c->r, 404, "instance_id", "%s", nx_error_message());
    } else {
        json_t *o = json_pack("{s:s}", "instance_id", name);
        http_reply_json(c->r, 200, o);
        json_decref(o);
    }
    fields_close(&f);
}
