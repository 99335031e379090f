/* status.c: /health and /metrics. */
#include "base/os.h"
#include "server/app.h"

void status_health(app *a, app_call *c)
{
    json_t *o = json_pack("{s:s}", "status", "ok");
    http_reply_json(c->r, 200, o);
    json_decref(o);
}

static void metric(nx_str *out, const char *name, const char *type, const char *help, double value)
{
    nx_str_printf(out, "# HELP nexus_%s %s\n# TYPE nexus_%s %s\nnexus_%s %.17g\n", name, help, name, type,
                  name, value);
}

void status_metrics(app *a, app_call *c)
{
    nx_str t = {0};
    host_loaded loaded[64];
    size_t n = host_list_loaded(a->host, loaded, 64);
    int busy = 0, waiting = 0;
    for (size_t i = 0; i < n; i++) {
        busy += loaded[i].lanes;
        waiting += loaded[i].waiting;
    }
    pthread_mutex_lock(&a->metrics.lock);
    const app_metrics m = a->metrics;
    pthread_mutex_unlock(&a->metrics.lock);
    metric(&t, "requests_total", "counter", "Requests answered.", (double)m.requests);
    metric(&t, "requests_failed_total", "counter", "Requests answered with an error.", (double)m.failed);
    metric(&t, "generations_total", "counter", "Answers generated.", (double)m.generations);
    metric(&t, "prompt_tokens_total", "counter", "Prompt tokens.", (double)m.prompt_tokens);
    metric(&t, "cached_tokens_total", "counter", "Prompt tokens that a cache held.",
           (double)m.cached_tokens);
    metric(&t, "generated_tokens_total", "counter", "Tokens generated.", (double)m.generated_tokens);
    metric(&t, "drafted_tokens_total", "counter", "Tokens proposed ahead.", (double)m.drafted_tokens);
    metric(&t, "accepted_tokens_total", "counter", "Of them, right.", (double)m.accepted_tokens);
    metric(&t, "prefill_seconds_total", "counter", "Time spent reading prompts.", m.prefill_seconds);
    metric(&t, "decode_seconds_total", "counter", "Time spent generating.", m.decode_seconds);
    metric(&t, "requests_active", "gauge", "Requests being handled.", http_server_active(a->http));
    metric(&t, "connections", "gauge", "Open connections.", http_server_connections(a->http));
    metric(&t, "generations_active", "gauge", "Answers being generated.", busy);
    metric(&t, "generations_waiting", "gauge", "Requests that wait for a lane.", waiting);
    metric(&t, "models_loaded", "gauge", "Models in memory.", (double)n);
    metric(&t, "resident_memory_bytes", "gauge", "Memory of the process.", (double)nx_os_rss());
    metric(&t, "uptime_seconds", "gauge", "Since the start.", nx_os_seconds() - a->started);
    http_reply(c->r, 200, "text/plain; version=0.0.4; charset=utf-8", t.data, t.len);
    nx_str_clear(&t);
}
