#include "server/host.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/error.h"
#include "base/log.h"
#include "base/os.h"
#include "base/str.h"
#include "server/lib.h"

static const double CATALOG_SECONDS = 5, GONE_TICK = 0.1;

struct host_catalog {
    _Atomic int refs;
    nexus_models *models;
    double made;
};

struct host_lane {
    host_model *model;
    nexus_session *session;
    bool busy;
    double used;
};

struct host_model {
    host *host;
    host_model *next;
    char *name, *path;
    nexus_model *handle; /* NULL while it loads */
    nexus_model *draft;  /* the host's; NULL: none for this model */
    char draft_note[256]; /* its name, or why there is none */
    nexus_model_info info;
    bool loading, failed, leaving;
    bool embeds; /* makes vectors, no text */
    nexus_status status; /* of a failed load */
    char message[512];
    int users;
    double used, ttl, load_seconds;
    int64_t loaded_at;
    host_lane *lanes;
    int n_lanes, context;
    uint64_t next_ticket, serving; /* who waits for a lane, in order */
};

struct host {
    host_options o;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    host_model *models;
    host_catalog *catalog;
    pthread_mutex_t draft_lock;
    nexus_model *draft; /* once it was needed */
    pthread_t janitor;
    bool closing, has_janitor;
};

/* ---- what there is ---- */

static host_catalog *catalog_make(host *h)
{
    host_catalog *c = nx_calloc(1, sizeof *c);
    atomic_init(&c->refs, 1);
    nexus_models_options o = {.folders = h->o.folders, .folder_count = h->o.n_folders, .stores = true,
                              .context = h->o.context, .cache_type = h->o.cache_type};
    if (nexus_models_scan(&o, &c->models))
        nx_warn("the models cannot be listed: %s", nexus_error_message());
    c->made = nx_os_seconds();
    return c;
}

void host_catalog_free(host_catalog *c)
{
    if (c && atomic_fetch_sub(&c->refs, 1) == 1) {
        nexus_models_free(c->models);
        free(c);
    }
}

host_catalog *host_catalog_get(host *h)
{
    pthread_mutex_lock(&h->lock);
    host_catalog *c = h->catalog;
    if (c && nx_os_seconds() - c->made < CATALOG_SECONDS) {
        atomic_fetch_add(&c->refs, 1);
        pthread_mutex_unlock(&h->lock);
        return c;
    }
    pthread_mutex_unlock(&h->lock);
    c = catalog_make(h);
    atomic_fetch_add(&c->refs, 1);
    pthread_mutex_lock(&h->lock);
    host_catalog *old = h->catalog;
    h->catalog = c;
    pthread_mutex_unlock(&h->lock);
    host_catalog_free(old);
    return c;
}

const nexus_models *host_catalog_models(const host_catalog *c)
{
    return c->models;
}

bool host_usable(const nexus_models_entry *e)
{
    return strcmp(e->status, "ready") == 0 &&
           (strcmp(e->kind, "text") == 0 || strcmp(e->kind, "embedding") == 0);
}

/* "no model is called X; there are A, B and 3 more" */
static nexus_status not_found(const nexus_models *all, const char *name)
{
    nx_str list = {0};
    size_t shown = 0, more = 0;
    for (size_t i = 0; all && i < nexus_models_count(all); i++) {
        const nexus_models_entry *e = nexus_models_at(all, i);
        if (!host_usable(e))
            continue;
        if (shown == 5) {
            more++;
            continue;
        }
        nx_str_printf(&list, "%s%s", shown++ ? ", " : "", e->name);
    }
    if (more)
        nx_str_printf(&list, " and %zu more", more);
    if (!*name)
        nx_fail(shown ? "name a model: there are %s" : "there is no model here: fetch one with "
                        "'nexus pull', or name a folder with --models%.0s", nx_str_cstr(&list));
    else
        nx_fail("there is no model called '%s'%s%s", name, shown ? ": there are " : "",
                nx_str_cstr(&list));
    nx_str_clear(&list);
    return NEXUS_ERROR_NOT_FOUND;
}

static const nexus_models_entry *only_one(const nexus_models *all)
{
    const nexus_models_entry *found = NULL;
    for (size_t i = 0; all && i < nexus_models_count(all); i++) {
        const nexus_models_entry *e = nexus_models_at(all, i);
        if (!host_usable(e) || e->duplicate_of[0])
            continue;
        if (found)
            return NULL;
        found = e;
    }
    return found;
}

/* ollama writes "name:latest"; everybody else the name. */
static const nexus_models_entry *find_entry(const nexus_models *all, const char *name)
{
    if (!all)
        return NULL;
    if (!*name)
        return only_one(all);
    const nexus_models_entry *e = strchr(name, '/') == name ? NULL : nexus_models_find(all, name);
    const char *tag = strrchr(name, ':');
    if (!e && tag && strcmp(tag, ":latest") == 0) {
        char *plain = nx_strndup(name, (size_t)(tag - name));
        e = nexus_models_find(all, plain);
        free(plain);
    }
    return e;
}

const nexus_models_entry *host_find(const host_catalog *c, const char *name)
{
    const nexus_models_entry *e = *name ? find_entry(c->models, name) : NULL;
    return e && host_usable(e) ? e : NULL;
}

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

static nexus_status check_fit(host *h, const nexus_models *all, const nexus_models_entry *e)
{
    if (h->o.force || h->o.quantize || !e->memory_bytes || make_room(h, e->memory_bytes))
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
    nx_fail("%s needs %.1f GB and %.1f GB are free%s", e->name, (double)e->memory_bytes * 1e-9,
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
        const nexus_models_entry *e = find_entry(all, h->o.draft);
        nexus_load_options o = {.threads = h->o.threads};
        status = e ? lib(nexus_model_load(e->path, &o, &h->draft)) : not_found(all, h->o.draft);
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

/* Loads without the lock; others who want the model wait. */
static void load(host *h, host_model *m, const nexus_models *all, const nexus_models_entry *e)
{
    double start = nx_os_seconds();
    nexus_status status = check_fit(h, all, e);
    nexus_model *handle = NULL;
    nexus_load_options o = {.threads = h->o.threads, .cache_type = h->o.cache_type,
                            .context = h->o.context, .quantize = h->o.quantize, .shared = true};
    if (!status)
        status = lib(nexus_model_load(m->path, &o, &handle));
    if (!status)
        status = lib(nexus_model_describe(handle, h->o.context, &m->info));
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
    m->load_seconds = nx_os_seconds() - start;
    m->loaded_at = nx_os_wall_ms() / 1000;
    if (m->failed)
        unlink_model(h, m);
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
    if (!status)
        nx_info("%s loaded in %.2f s", m->name, m->load_seconds);
}

static host_model *model_new(host *h, const nexus_models_entry *e)
{
    host_model *m = nx_calloc(1, sizeof *m);
    m->host = h;
    m->name = nx_strdup(e->name);
    m->path = nx_strdup(e->path);
    m->embeds = strcmp(e->kind, "embedding") == 0;
    m->loading = true;
    m->ttl = h->o.ttl;
    m->n_lanes = h->o.lanes;
    m->lanes = nx_calloc((size_t)m->n_lanes, sizeof *m->lanes);
    for (int i = 0; i < m->n_lanes; i++)
        m->lanes[i].model = m;
    m->next = h->models;
    h->models = m;
    return m;
}

static nexus_status acquire_entry(host *h, const nexus_models *all, const nexus_models_entry *e,
                                  double ttl, host_model **out)
{
    pthread_mutex_lock(&h->lock);
    host_model *m = find_loaded(h, e->path);
    bool mine = !m;
    if (mine)
        m = model_new(h, e);
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
    *out = m;
    return NEXUS_OK;
}

nexus_status host_acquire(host *h, const char *name, double ttl, host_model **out)
{
    if (!name || !*name)
        name = h->o.model ? h->o.model : "";
    host_catalog *c = host_catalog_get(h);
    const nexus_models_entry *e = find_entry(c->models, name);
    nexus_status status;
    if (!e) {
        status = not_found(c->models, name);
    } else if (!host_usable(e)) {
        nx_fail("%s cannot be run: %s", e->name, *e->reason ? e->reason : e->kind);
        status = NEXUS_ERROR_UNSUPPORTED;
    } else {
        status = acquire_entry(h, c->models, e, ttl, out);
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

void host_look_again(host *h)
{
    pthread_mutex_lock(&h->lock);
    if (h->catalog)
        h->catalog->made = -CATALOG_SECONDS;
    pthread_mutex_unlock(&h->lock);
}

double host_load_seconds(const host_model *m)
{
    return m->load_seconds;
}

int host_context(const host_model *m)
{
    return m->context;
}

/* ---- lanes ---- */

/* With the lock held, so that no lane is busy while it is asked: the free lane that holds most of
 * the prompt; among equals the one that was unused longest, whose prefix is least likely missed. */
static host_lane *best_lane(host_model *m, const int32_t *prompt, size_t n)
{
    host_lane *best = NULL;
    size_t most = 0;
    for (int i = 0; i < m->n_lanes; i++) {
        host_lane *l = &m->lanes[i];
        if (l->busy)
            continue;
        size_t shared = l->session ? nexus_session_shared(l->session, prompt, n) : 0;
        if (!best || shared > most || (shared == most && l->used < best->used)) {
            best = l;
            most = shared;
        }
    }
    return best;
}

/* With the lock held: until the condition changes, or a tenth of a second. */
static void wait_tick(host *h)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    long ns = until.tv_nsec + (long)(GONE_TICK * 1e9);
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_cond_timedwait(&h->changed, &h->lock, &until);
}

/* Waits for its turn and a free lane. Tickets of those who left are passed over by their owners. */
static host_lane *wait_lane(host_model *m, const int32_t *prompt, size_t n, bool (*gone)(void *arg),
                            void *arg)
{
    host *h = m->host;
    uint64_t ticket = m->next_ticket++;
    host_lane *l = NULL;
    for (;;) {
        bool turn = m->serving == ticket;
        bool left = gone && gone(arg);
        l = turn && !left ? best_lane(m, prompt, n) : NULL;
        if (turn && (l || left)) {
            m->serving++;
            pthread_cond_broadcast(&h->changed);
            break;
        }
        wait_tick(h);
    }
    if (l)
        l->busy = true;
    return l;
}

host_lane *host_lane_take(host_model *m, const int32_t *prompt, size_t n, bool (*gone)(void *arg),
                          void *arg)
{
    host *h = m->host;
    pthread_mutex_lock(&h->lock);
    host_lane *l = wait_lane(m, prompt, n, gone, arg);
    pthread_mutex_unlock(&h->lock);
    if (!l || l->session)
        return l;
    nexus_session_options o = {.context = m->context, .draft = m->draft, .cache_type = m->host->o.cache_type};
    if (lib(nexus_session_new(m->handle, &o, &l->session))) {
        host_lane_give(l);
        return NULL;
    }
    return l;
}

void host_lane_give(host_lane *l)
{
    host *h = l->model->host;
    pthread_mutex_lock(&h->lock);
    l->busy = false;
    l->used = nx_os_seconds();
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

nexus_session *host_lane_session(host_lane *l)
{
    return l->session;
}

host_model *host_lane_model(host_lane *l)
{
    return l->model;
}

/* ---- the loaded ones ---- */

static void describe_loaded(const host_model *m, double now, host_loaded *out)
{
    *out = (host_loaded){.info = m->info, .context = m->context, .users = m->users,
                         .waiting = (int)(m->next_ticket - m->serving),
                         .idle_seconds = m->users ? 0 : now - m->used,
                         .expires_seconds = m->ttl > 0 ? m->ttl : -1, .loaded_at = m->loaded_at};
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
        wait_tick(h);
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
