/* host.c: the loaded models: loading, making room, who uses them, and when they go. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/log.h"
#include "base/os.h"
#include "server/host_impl.h"
#include "server/lib.h"

/* ---- loading ---- */

static host_model *find_loaded(host *h, const char *path)
{
    for (host_model *m = h->models; m; m = m->next)
        if (strcmp(m->path, path) == 0 && !m->leaving)
            return m;
    return NULL;
}

static void model_destroy(host_model *m)
{
    for (int i = 0; i < m->n_lanes; i++)
        nexus_session_free(m->lanes[i].session);
    nexus_model_free(m->handle);
    free(m->lanes);
    free(m->name);
    free(m->path);
    free(m);
}

static void unlink_model(host *h, host_model *m)
{
    host_model **at = &h->models;
    while (*at && *at != m)
        at = &(*at)->next;
    if (*at)
        *at = m->next;
}

/* With the lock held: takes the unused model that was idle longest out of the list. */
static host_model *evict_one(host *h)
{
    host_model *oldest = NULL;
    for (host_model *m = h->models; m; m = m->next)
        if (m->users == 0 && !m->loading && (!oldest || m->used < oldest->used))
            oldest = m;
    if (oldest)
        unlink_model(h, oldest);
    return oldest;
}

/* Makes room for `need` bytes. Without the lock. */
static bool make_room(host *h, uint64_t need)
{
    for (;;) {
        nexus_memory now;
        if (nexus_memory_now(&now) || now.available == 0 || need <= now.available)
            return true;
        pthread_mutex_lock(&h->lock);
        host_model *m = evict_one(h);
        pthread_mutex_unlock(&h->lock);
        if (!m)
            return false;
        nx_info("%s makes room and is unloaded", m->name);
        model_destroy(m);
    }
}

/* What the model needs at a context; 0: unknown. */
static uint64_t memory_at(const host *h, const nexus_models *all, const nexus_models_entry *e, int context)
{
    return context ? nexus_models_memory(all, e, context, h->o.cache_type) : e->memory_bytes;
}

/* `need`: bytes it still needs. */
static nexus_status check_fit(host *h, const nexus_models *all, const nexus_models_entry *e, uint64_t need)
{
    if (h->o.force || h->o.quantize || !need || make_room(h, need))
        return NEXUS_OK;
    nexus_memory now;
    nexus_memory_now(&now);
    char instead[320] = "";
    uint64_t small = nexus_models_memory(all, e, 1024, NULL);
    if (small && small <= now.available)
        snprintf(instead, sizeof instead, "; with --ctx 1024 it would fit");
    for (size_t i = 0; !instead[0] && i < nexus_models_count(all); i++) {
        const nexus_models_entry *o = nexus_models_at(all, i);
        if (host_usable(o) && o->memory_bytes && o->memory_bytes <= now.available)
            snprintf(instead, sizeof instead, "; %s would fit", o->name);
    }
    nx_fail("%s needs %.1f GB and %.1f GB are free%s", e->name, (double)need * 1e-9,
            (double)now.available * 1e-9, instead);
    return NEXUS_ERROR_MEMORY;
}

/* The draft model where `m` can use it. A load fails where the server was told of one that it cannot
 * have; models of another vocabulary run without. */
static nexus_status find_draft(host *h, const nexus_models *all, host_model *m, nexus_model *handle)
{
    nexus_status status = NEXUS_OK;
    if (!h->o.draft)
        return NEXUS_OK;
    pthread_mutex_lock(&h->draft_lock);
    if (!h->draft) {
        const nexus_models_entry *e = host_find_entry(all, h->o.draft);
        nexus_load_options o = {.threads = h->o.threads};
        status = e ? lib(nexus_model_load(e->path, &o, &h->draft)) : host_not_found(all, h->o.draft);
    }
    nexus_model *draft = h->draft;
    pthread_mutex_unlock(&h->draft_lock);
    if (status)
        return status;
    if (nexus_model_can_draft(draft, handle)) {
        snprintf(m->draft_note, sizeof m->draft_note, "none: %s", nexus_error_message());
        nx_warn("%s runs without --draft: %s", m->name, nexus_error_message());
    } else {
        snprintf(m->draft_note, sizeof m->draft_note, "%s", h->o.draft);
        m->draft = draft;
    }
    return NEXUS_OK;
}

static nexus_status check_context(const host_model *m, int context)
{
    if (context <= m->info.max_context)
        return NEXUS_OK;
    nx_fail("a context of %d tokens is not possible: %s was made for at most %d", context, m->name,
            m->info.max_context);
    return NEXUS_ERROR_ARGUMENT;
}

/* Loads without the lock; others who want the model wait. */
static void load(host *h, host_model *m, const nexus_models *all, const nexus_models_entry *e)
{
    double start = nx_os_seconds();
    int context = m->context ? m->context : h->o.context;
    nexus_status status = check_fit(h, all, e, memory_at(h, all, e, m->context));
    nexus_model *handle = NULL;
    nexus_load_options o = {.threads = h->o.threads, .cache_type = h->o.cache_type,
                            .context = context, .quantize = h->o.quantize, .shared = true};
    if (!status)
        status = lib(nexus_model_load(m->path, &o, &handle));
    if (!status)
        status = lib(nexus_model_describe(handle, context, &m->info));
    if (!status)
        status = check_context(m, m->context);
    if (!status)
        status = find_draft(h, all, m, handle);
    if (status)
        snprintf(m->message, sizeof m->message, "%s", nx_error_message());
    pthread_mutex_lock(&h->lock);
    m->handle = handle;
    m->status = status;
    m->loading = false;
    m->failed = status != NEXUS_OK;
    m->context = m->info.context;
    m->memory_bytes = m->info.memory_bytes;
    m->load_seconds = nx_os_seconds() - start;
    m->loaded_at = nx_os_wall_ms() / 1000;
    if (m->failed)
        unlink_model(h, m);
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
    if (!status)
        nx_info("%s loaded in %.2f s", m->name, m->load_seconds);
}

static host_model *model_new(host *h, const nexus_models_entry *e, int context)
{
    host_model *m = nx_calloc(1, sizeof *m);
    m->host = h;
    m->name = nx_strdup(e->name);
    m->path = nx_strdup(e->path);
    m->embeds = strcmp(e->kind, "embedding") == 0;
    m->loading = true;
    m->context = context;
    m->ttl = h->o.ttl;
    m->n_lanes = h->o.lanes;
    m->lanes = nx_calloc((size_t)m->n_lanes, sizeof *m->lanes);
    for (int i = 0; i < m->n_lanes; i++)
        m->lanes[i].model = m;
    m->next = h->models;
    h->models = m;
    return m;
}

/* Without the lock; the model is in use. Nothing is loaded anew: what grows is the room of lanes. */
static nexus_status raise_context(host_model *m, const nexus_models *all, const nexus_models_entry *e,
                                  int context)
{
    host *h = m->host;
    if (context <= m->context || m->embeds)
        return NEXUS_OK;
    uint64_t need = memory_at(h, all, e, context), has = m->memory_bytes;
    nexus_status status = check_context(m, context);
    if (!status)
        status = check_fit(h, all, e, need > has ? need - has : 0);
    if (status)
        return status;
    pthread_mutex_lock(&h->lock);
    if (context > m->context) {
        m->context = context;
        m->memory_bytes = need ? need : has;
    }
    pthread_mutex_unlock(&h->lock);
    return NEXUS_OK;
}

void host_lower_context(host_model *m, int context)
{
    if (context < m->context)
        m->context = context;
}

static nexus_status acquire_entry(host *h, const nexus_models *all, const nexus_models_entry *e,
                                  double ttl, int context, host_model **out)
{
    pthread_mutex_lock(&h->lock);
    host_model *m = find_loaded(h, e->path);
    bool mine = !m;
    if (mine)
        m = model_new(h, e, context);
    m->users++;
    if (mine) {
        pthread_mutex_unlock(&h->lock);
        load(h, m, all, e);
        pthread_mutex_lock(&h->lock);
    }
    while (m->loading)
        pthread_cond_wait(&h->changed, &h->lock);
    nexus_status status = m->status;
    if (status) {
        nx_fail("%s", m->message);
        bool last = --m->users == 0;
        pthread_mutex_unlock(&h->lock);
        if (last)
            model_destroy(m);
        return status;
    }
    m->used = nx_os_seconds();
    if (ttl >= 0)
        m->ttl = ttl;
    pthread_mutex_unlock(&h->lock);
    status = raise_context(m, all, e, context);
    if (status)
        host_release(m);
    else
        *out = m;
    return status;
}

nexus_status host_acquire(host *h, const char *name, double ttl, int context, host_model **out)
{
    if (!name || !*name)
        name = h->o.model ? h->o.model : "";
    host_catalog *c = host_catalog_get(h);
    const nexus_models_entry *e = host_find_entry(c->models, name);
    nexus_status status;
    if (!e) {
        status = host_not_found(c->models, name);
    } else if (!host_usable(e)) {
        bool scores = strcmp(e->kind, "classifier") == 0;
        nx_fail("%s cannot be run: %s", e->name, scores ? "it scores texts by a head of its own, which is not "
                "read here yet; to rank documents name a model for embeddings" : *e->reason ? e->reason : e->kind);
        status = NEXUS_ERROR_UNSUPPORTED;
    } else {
        status = acquire_entry(h, c->models, e, ttl, context, out);
    }
    host_catalog_free(c);
    return status;
}

/* With the lock held. */
static bool unused_for_good(const host_model *m)
{
    return m->users == 0 && !m->loading && m->leaving;
}

void host_release(host_model *m)
{
    host *h = m->host;
    pthread_mutex_lock(&h->lock);
    m->users--;
    m->used = nx_os_seconds();
    bool gone = unused_for_good(m);
    if (gone)
        unlink_model(h, m);
    pthread_mutex_unlock(&h->lock);
    if (gone)
        model_destroy(m);
}

bool host_unload(host *h, const char *name)
{
    pthread_mutex_lock(&h->lock);
    host_model *m = h->models;
    size_t n = strlen(name);
    if (n > 7 && strcmp(name + n - 7, ":latest") == 0)
        n -= 7;
    while (m && (m->leaving || strlen(m->name) != n || strncasecmp(m->name, name, n) != 0))
        m = m->next;
    if (m)
        m->leaving = true;
    bool now = m && unused_for_good(m);
    if (now)
        unlink_model(h, m);
    pthread_mutex_unlock(&h->lock);
    if (now)
        model_destroy(m);
    return m || nx_fail("the model '%s' is not loaded", name);
}

nexus_model *host_handle(host_model *m)
{
    return m->handle;
}

const nexus_model_info *host_info(const host_model *m)
{
    return &m->info;
}

const char *host_name(const host_model *m)
{
    return m->name;
}

bool host_embeds(const host_model *m)
{
    return m->embeds;
}

double host_load_seconds(const host_model *m)
{
    return m->load_seconds;
}

int host_context(const host_model *m)
{
    return m->context;
}

/* ---- the loaded ones ---- */

static void describe_loaded(const host_model *m, double now, host_loaded *out)
{
    *out = (host_loaded){.info = m->info, .context = m->context, .users = m->users,
                         .waiting = (int)(m->next_ticket - m->serving),
                         .idle_seconds = m->users ? 0 : now - m->used,
                         .expires_seconds = m->ttl > 0 ? m->ttl : -1, .loaded_at = m->loaded_at};
    out->info.memory_bytes = m->memory_bytes;
    snprintf(out->name, sizeof out->name, "%s", m->name);
    snprintf(out->draft, sizeof out->draft, "%s", m->draft_note);
    if (m->ttl > 0 && m->users == 0)
        out->expires_seconds = m->ttl - out->idle_seconds;
    for (int i = 0; i < m->n_lanes; i++)
        out->lanes += m->lanes[i].busy;
}

size_t host_list_loaded(host *h, host_loaded *out, size_t most)
{
    double now = nx_os_seconds();
    size_t n = 0;
    pthread_mutex_lock(&h->lock);
    for (const host_model *m = h->models; m && n < most; m = m->next)
        if (!m->loading && !m->leaving)
            describe_loaded(m, now, &out[n++]);
    pthread_mutex_unlock(&h->lock);
    return n;
}

/* Unloads what nobody used for its time. */
static void *janitor_main(void *arg)
{
    host *h = arg;
    pthread_mutex_lock(&h->lock);
    while (!h->closing) {
        double now = nx_os_seconds();
        host_model *m = h->models;
        while (m && !(m->users == 0 && !m->loading && m->ttl > 0 && now - m->used > m->ttl))
            m = m->next;
        if (m) {
            unlink_model(h, m);
            pthread_mutex_unlock(&h->lock);
            nx_info("%s was not used for %.0f s and is unloaded", m->name, m->ttl);
            model_destroy(m);
            pthread_mutex_lock(&h->lock);
            continue;
        }
        host_wait_tick(h);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

host *host_new(const host_options *o)
{
    host *h = nx_calloc(1, sizeof *h);
    h->o = *o;
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->changed, NULL);
    pthread_mutex_init(&h->draft_lock, NULL);
    h->has_janitor = pthread_create(&h->janitor, NULL, janitor_main, h) == 0;
    if (!h->has_janitor) {
        host_free(h);
        return nx_fail_null("the server cannot start a thread");
    }
    return h;
}

void host_free(host *h)
{
    if (!h)
        return;
    pthread_mutex_lock(&h->lock);
    h->closing = true;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
    if (h->has_janitor)
        pthread_join(h->janitor, NULL);
    while (h->models) {
        host_model *m = h->models;
        h->models = m->next;
        model_destroy(m);
    }
    nexus_model_free(h->draft);
    host_catalog_free(h->catalog);
    pthread_mutex_destroy(&h->draft_lock);
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->lock);
    free(h);
}
