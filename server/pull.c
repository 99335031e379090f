/*
 * pull.c: models come and go: ollama's pull, delete and copy, LM Studio's download, and the page's.
 * All of them go through downloads.h and the library's store; with --offline none reaches out.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "server/downloads.h"
#include "server/lib.h"
#include "server/openai.h"

/* "https://huggingface.co/org/name", "hf.co/org/name:Q4_K_M", "org/name" and a quantization: what
 * nexus_pull is asked for. In the request's arena; NULL with a fault. */
static const char *repository(http_request *r, fields *f, const char *key, const char *quantization)
{
    static const char *const before[] = {"https://", "http://", "www.", "huggingface.co/", "hf.co/"};
    const char *name = fields_str(f, key, NULL);
    nx_str what = {0};
    for (size_t i = 0; name && i < sizeof before / sizeof *before; i++)
        if (strncasecmp(name, before[i], strlen(before[i])) == 0)
            name += strlen(before[i]);
    nx_str_puts(&what, name ? name : "");
    if (what.len > 7 && strcmp(nx_str_cstr(&what) + what.len - 7, ":latest") == 0)
        nx_str_truncate(&what, what.len - 7);
    while (what.len && what.data[what.len - 1] == '/')
        nx_str_truncate(&what, what.len - 1);
    if (quantization && !strchr(nx_str_cstr(&what), ':'))
        nx_str_printf(&what, ":%s", quantization);
    if (!name)
        fields_fault(f, key, "'%s' is needed: a repository of the hub, as \"org/name\" or "
                     "\"org/name:Q4_K_M\"", key);
    else if (!strchr(nx_str_cstr(&what), '/'))
        fields_fault(f, key, "'%s' is no repository: models come from the hub, as \"org/name\" or "
                     "\"org/name:Q4_K_M\"", name);
    const char *kept = nx_arena_strndup(http_arena(r), nx_str_cstr(&what), what.len);
    nx_str_clear(&what);
    return kept;
}

/* Answers 403 where nothing may be fetched. */
static bool is_online(app *a, http_request *r)
{
    if (a->o.offline)
        app_fail(r, 403, NULL, "this server was started with --offline: it fetches nothing; models can be "
                 "added with 'nexus import'");
    return !a->o.offline;
}

static int failed_status(const download *d)
{
    if (d->state == DOWNLOAD_CANCELLED)
        return 409; /* by somebody else: who follows it is still there */
    return d->status == NEXUS_ERROR ? 502 : app_status(d->status);
}

/* ---- ollama: pull ---- */

static json_t *pull_line(const download *d)
{
    if (d->state == DOWNLOAD_DONE || d->state == DOWNLOAD_THERE)
        return json_pack("{s:s}", "status", "success");
    if (!d->total)
        return json_pack("{s:s}", "status", "pulling manifest");
    nx_str text = {0};
    nx_str_printf(&text, "pulling %s", d->file);
    json_t *o = json_pack("{s:s, s:s, s:I, s:I}", "status", nx_str_cstr(&text), "digest", d->id, "total",
                          (json_int_t)d->total, "completed", (json_int_t)d->done);
    nx_str_clear(&text);
    return o;
}

static bool send_line(http_request *r, const download *d)
{
    json_t *o = pull_line(d);
    bool here = app_line(r, o);
    json_decref(o);
    return here;
}

/* Until it ends, or the client leaves. A failure at once has a status of its own. */
static void follow(app *a, http_request *r, download *d, bool stream, json_t *unknown)
{
    uint64_t told = 0;
    bool here = true;
    while (here && !http_gone(r) && !d->ended_at) {
        if (stream && d->version != told && !http_streaming(r))
            app_stream_begin(r, "application/x-ndjson", unknown);
        if (http_streaming(r) && d->version != told)
            here = send_line(r, d);
        told = d->version;
        if (!downloads_wait(a->downloads, d->id, told, d))
            break;
    }
    if (d->state == DOWNLOAD_FAILED || d->state == DOWNLOAD_CANCELLED) {
        app_fail(r, failed_status(d), NULL, "%s", d->message);
    } else if (http_gone(r)) {
        app_fail(r, 499, NULL, "the client has left");
    } else if (stream) {
        if (!http_streaming(r))
            app_stream_begin(r, "application/x-ndjson", unknown);
        send_line(r, d);
        http_stream_end(r);
    } else {
        json_t *o = pull_line(d);
        app_warn_unknown(r, o, unknown);
        http_reply_json(r, 200, o);
        json_decref(o);
    }
}

void ollama_pull(app *a, app_call *c)
{
    static const char *const harmless[] = {"insecure", "username", "password", NULL};
    fields f;
    download d;
    if (!is_online(a, c->r))
        return;
    fields_open(&f, c->body);
    const char *key = json_object_get(c->body, "model") ? "model" : "name";
    const char *what = repository(c->r, &f, key, NULL);
    bool stream = fields_bool(&f, "stream", true);
    fields_skip(&f, harmless);
    json_t *unknown = fields_unknown(&f);
    if (!fields_ok(&f)) {
        app_fail_fields(c->r, &f);
    } else if (!downloads_start(a->downloads, what, true, &d)) {
        app_fail(c->r, 429, NULL, "%s", nx_error_message());
    } else {
        app_note(c->r, "%s", what);
        follow(a, c->r, &d, stream, unknown);
        downloads_leave(a->downloads, d.id);
    }
    json_decref(unknown);
    fields_close(&f);
}

/* ---- ollama: delete, copy ---- */

static pthread_mutex_t names_lock = PTHREAD_MUTEX_INITIALIZER; /* the list of aliases is a file */

static const char *plain_name(http_request *r, const char *name)
{
    size_t n = strlen(name), k = strlen(":latest");
    bool latest = n > k && strcmp(name + n - k, ":latest") == 0;
    return nx_arena_strndup(http_arena(r), name, latest ? n - k : n);
}

static bool forget_alias(const char *name)
{
    char *text = NULL;
    pthread_mutex_lock(&names_lock);
    bool done = !nexus_alias_list(&text);
    json_t *all = done ? json_loads(text, 0, NULL) : NULL, *value;
    const char *key;
    bool there = false;
    json_object_foreach(all, key, value)
        there |= strcasecmp(key, name) == 0;
    done = there && !nexus_alias_set(name, NULL);
    pthread_mutex_unlock(&names_lock);
    json_decref(all);
    nexus_free(text);
    return done;
}

static void remove_stored(app *a, http_request *r, const char *name)
{
    char *path = NULL;
    host_unload(a->host, name); /* it may not be loaded */
    nexus_status status = lib(nexus_store_remove(name, &path));
    host_catalog *k = host_catalog_get(a->host);
    const nexus_models_entry *e = status ? host_find(k, name) : NULL;
    if (e)
        app_fail(r, 403, "model", "%s lies in a store that is not this program's (%s): remove it there",
                 name, e->store);
    else if (status)
        app_fail(r, app_status(status), "model", "%s", nx_error_message());
    else
        http_reply(r, 200, NULL, "", 0);
    host_catalog_free(k);
    host_look_again(a->host);
    nexus_free(path);
}

void ollama_delete(app *a, app_call *c)
{
    fields f;
    fields_open(&f, c->body);
    const char *name = fields_str(&f, json_object_get(c->body, "model") ? "model" : "name", "");
    json_t *unknown = fields_unknown(&f);
    app_warn_unknown(c->r, NULL, unknown);
    json_decref(unknown);
    if (!fields_ok(&f)) {
        app_fail_fields(c->r, &f);
    } else if (!*name) {
        app_fail(c->r, 400, "model", "'model' is needed: the name of a stored model");
    } else if (forget_alias(plain_name(c->r, name))) {
        host_look_again(a->host);
        http_reply(c->r, 200, NULL, "", 0);
    } else {
        remove_stored(a, c->r, plain_name(c->r, name));
    }
    fields_close(&f);
}

/* Another name for the same files. */
void ollama_copy(app *a, app_call *c)
{
    fields f;
    fields_open(&f, c->body);
    const char *source = fields_str(&f, "source", ""), *to = fields_str(&f, "destination", "");
    json_t *unknown = fields_unknown(&f);
    app_warn_unknown(c->r, NULL, unknown);
    json_decref(unknown);
    host_catalog *k = host_catalog_get(a->host);
    const nexus_models_entry *e = host_find(k, source);
    if (!fields_ok(&f)) {
        app_fail_fields(c->r, &f);
    } else if (!e) {
        app_fail(c->r, 404, "source", "there is no model called '%s'", source);
    } else if (host_find(k, to)) {
        app_fail(c->r, 400, "destination", "there is a model called '%s' already", to);
    } else {
        pthread_mutex_lock(&names_lock);
        nexus_status status = lib(nexus_alias_set(plain_name(c->r, to), e->name));
        pthread_mutex_unlock(&names_lock);
        host_look_again(a->host);
        if (status)
            app_fail(c->r, app_status(status), "destination", "%s", nx_error_message());
        else
            http_reply(c->r, 200, NULL, "", 0);
    }
    host_catalog_free(k);
    fields_close(&f);
}

/* ---- LM Studio ---- */

static const char *state_name(download_state s)
{
    switch (s) {
    case DOWNLOAD_RUNNING: return "downloading";
    case DOWNLOAD_DONE: return "completed";
    case DOWNLOAD_THERE: return "already_downloaded";
    case DOWNLOAD_CANCELLED: return "paused"; /* the next one goes on from there */
    default: return "failed";
    }
}

static json_t *job_json(http_request *r, const download *d)
{
    if (d->state == DOWNLOAD_THERE)
        return json_pack("{s:s, s:s}", "model", d->what, "status", state_name(d->state));
    json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:I, s:s}", "job_id", d->id, "model", d->what, "status",
                          state_name(d->state), "total_size_bytes", (json_int_t)d->total,
                          "downloaded_bytes", (json_int_t)d->done, "started_at",
                          app_iso_time(r, d->started_at));
    if (d->state == DOWNLOAD_RUNNING) {
        json_object_set_new(o, "bytes_per_second", json_real(d->rate));
        if (d->seconds_left >= 0)
            json_object_set_new(o, "estimated_completion",
                                json_string(app_iso_time(r, app_now() + (int64_t)d->seconds_left)));
    } else {
        json_object_set_new(o, "completed_at", json_string(app_iso_time(r, d->ended_at)));
    }
    if (d->state == DOWNLOAD_FAILED)
        json_object_set_new(o, "error", json_string(d->message));
    return o;
}

static void reply_job(http_request *r, const download *d, json_t *unknown)
{
    json_t *o = job_json(r, d);
    app_warn_unknown(r, o, unknown);
    http_reply_json(r, 200, o);
    json_decref(o);
}

/* Waits a little: what is wrong with a name, or there already, is known soon. */
static void start_job(app *a, http_request *r, const char *what, json_t *unknown)
{
    download d;
    if (!downloads_start(a->downloads, what, false, &d)) {
        app_fail(r, 429, NULL, "%s", nx_error_message());
        return;
    }
    app_note(r, "%s", what);
    for (int i = 0; i < 25 && !d.total && !d.ended_at && !http_gone(r); i++)
        downloads_wait(a->downloads, d.id, d.version, &d);
    if (d.state == DOWNLOAD_FAILED)
        app_fail(r, failed_status(&d), "model", "%s", d.message);
    else
        reply_job(r, &d, unknown);
}

void lmstudio_v1_download(app *a, app_call *c)
{
    fields f;
    if (!is_online(a, c->r))
        return;
    fields_open(&f, c->body);
    const char *quantization = fields_str(&f, "quantization", NULL);
    const char *what = repository(c->r, &f, "model", quantization);
    json_t *unknown = fields_unknown(&f);
    if (fields_ok(&f))
        start_job(a, c->r, what, unknown);
    else
        app_fail_fields(c->r, &f);
    json_decref(unknown);
    fields_close(&f);
}

void lmstudio_v1_download_status(app *a, app_call *c)
{
    download d;
    if (downloads_get(a->downloads, c->rest, &d))
        reply_job(c->r, &d, NULL);
    else
        app_fail(c->r, 404, "job_id", "there is no download '%s'", c->rest);
}

/* ---- the page ---- */

void page_pulls(app *a, app_call *c)
{
    download all[32];
    size_t n = downloads_list(a->downloads, all, sizeof all / sizeof *all);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, job_json(c->r, &all[i]));
    json_t *o = json_pack("{s:o, s:b}", "pulls", list, "offline", a->o.offline);
    http_reply_json(c->r, 200, o);
    json_decref(o);
}

void page_pull_cancel(app *a, app_call *c)
{
    download d;
    if (!downloads_cancel(a->downloads, c->rest) || !downloads_get(a->downloads, c->rest, &d))
        app_fail(c->r, 404, "job_id", "%s", nx_error_message());
    else
        reply_job(c->r, &d, NULL);
}
