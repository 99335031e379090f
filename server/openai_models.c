/* openai_models.c: GET /v1/models and one of them. */
#include <string.h>

#include "server/app.h"

static json_t *model_json(const nexus_models_entry *e)
{
    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:s, s:i, s:s}", "id", e->name, "object", "model",
                     "created", (json_int_t)e->modified, "owned_by", e->store, "format", e->format,
                     "family", e->family, "quantization", e->quantization, "max_context",
                     e->max_context, "fits", e->fit);
}

void openai_models(app *a, app_call *c)
{
    host_catalog *k = host_catalog_get(a->host);
    const nexus_models *all = host_catalog_models(k);
    json_t *list = json_array();
    for (size_t i = 0; all && i < nexus_models_count(all); i++) {
        const nexus_models_entry *e = nexus_models_at(all, i);
        if (host_usable(e) && !e->duplicate_of[0])
            json_array_append_new(list, model_json(e));
    }
    json_t *o = json_pack("{s:s, s:o}", "object", "list", "data", list);
    http_reply_json(c->r, 200, o);
    json_decref(o);
    host_catalog_free(k);
}

void openai_model(app *a, app_call *c)
{
    host_catalog *k = host_catalog_get(a->host);
    const nexus_models_entry *e = host_find(k, c->rest);
    if (e) {
        json_t *o = model_json(e);
        http_reply_json(c->r, 200, o);
        json_decref(o);
    } else {
        app_fail(c->r, 404, "model", "there is no model called '%s'", c->rest);
    }
    host_catalog_free(k);
}
