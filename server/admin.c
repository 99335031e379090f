/* admin.c: what nexus ps, load, unload and stop ask of a running server. */
#include "base/error.h"
#include "base/os.h"
#include "server/app.h"
#include "server/fields.h"

/* Tokens of each of the last sixty seconds, the oldest first. */
static json_t *last_minute(app_metrics *m)
{
    json_t *list = json_array();
    int64_t now = app_now();
    pthread_mutex_lock(&m->lock);
    for (int64_t t = now - 59; t <= now; t++)
        json_array_append_new(list, json_integer(m->second_at[t % 64] == t ? m->second_tokens[t % 64] : 0));
    pthread_mutex_unlock(&m->lock);
    return list;
}

void admin_ps(app *a, app_call *c)
{
    host_loaded loaded[64];
    size_t n = host_list_loaded(a->host, loaded, 64);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        const host_loaded *l = &loaded[i];
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:s, s:I, s:i, s:i, s:i, s:f, s:f}", "name", l->name, "draft",
                            l->draft, "family", l->info.family, "quantization", l->info.quantization, "memory_bytes",
                            (json_int_t)l->info.memory_bytes, "context", l->context, "running", l->lanes,
                            "waiting", l->waiting, "idle_seconds", l->idle_seconds, "expires_seconds",
                            l->expires_seconds));
    }
    pthread_mutex_lock(&a->metrics.lock);
    uint64_t drafted = a->metrics.drafted_tokens, accepted = a->metrics.accepted_tokens;
    pthread_mutex_unlock(&a->metrics.lock);
    nexus_memory now = {0};
    nexus_memory_now(&now);
    json_t *o = json_pack("{s:s, s:f, s:i, s:i, s:I, s:I, s:I, s:o, s:I, s:I, s:o}", "version", nexus_version(),
                          "uptime_seconds", nx_os_seconds() - a->started, "requests",
                          http_server_active(a->http), "connections", http_server_connections(a->http),
                          "resident_bytes", (json_int_t)nx_os_rss(), "memory_total_bytes",
                          (json_int_t)now.total, "memory_available_bytes", (json_int_t)now.available,
                          "tokens_per_second", last_minute(&a->metrics), "drafted_tokens",
                          (json_int_t)drafted, "accepted_tokens", (json_int_t)accepted, "models", list);
    http_reply_json(c->r, 200, o);
    json_decref(o);
}

void admin_load(app *a, app_call *c)
{
    fields f;
    host_model *m;
    fields_open(&f, c->body);
    const char *name = fields_str(&f, "model", "");
    double ttl = fields_real(&f, "ttl", -1);
    nexus_status status = fields_ok(&f) ? host_acquire(a->host, name, ttl, 0, &m) : NEXUS_ERROR_ARGUMENT;
    if (status) {
        app_fail(c->r, app_status(status), f.key ? f.key : "model", "%s",
                 fields_ok(&f) ? nx_error_message() : f.fault);
    } else {
        json_t *o = json_pack("{s:s, s:i, s:I, s:f}", "model", host_name(m), "context", host_context(m),
                              "memory_bytes", (json_int_t)host_info(m)->memory_bytes, "load_seconds",
                              host_load_seconds(m));
        host_release(m);
        http_reply_json(c->r, 200, o);
        json_decref(o);
    }
    fields_close(&f);
}

void admin_unload(app *a, app_call *c)
{
    fields f;
    fields_open(&f, c->body);
    const char *name = fields_str(&f, "model", "");
    if (!fields_ok(&f)) {
        app_fail_fields(c->r, &f);
    } else if (!host_unload(a->host, name)) {
        app_fail(c->r, 404, "model", "%s", nx_error_message());
    } else {
        json_t *o = json_pack("{s:s}", "unloaded", name);
        http_reply_json(c->r, 200, o);
        json_decref(o);
    }
    fields_close(&f);
}

void admin_stop(app *a, app_call *c)
{
    json_t *o = json_pack("{s:b}", "stopping", 1);
    http_reply_json(c->r, 200, o);
    json_decref(o);
    server_stop();
}
