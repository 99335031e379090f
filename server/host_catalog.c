/* host_catalog.c: which models there are, by the names that requests use. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/os.h"
#include "base/str.h"
#include "server/host_impl.h"

static const double CATALOG_SECONDS = 5;

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

nexus_status host_not_found(const nexus_models *all, const char *name)
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

const nexus_models_entry *host_find_entry(const nexus_models *all, const char *name)
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
    const nexus_models_entry *e = *name ? host_find_entry(c->models, name) : NULL;
    return e && host_usable(e) ? e : NULL;
}

void host_look_again(host *h)
{
    pthread_mutex_lock(&h->lock);
    if (h->catalog)
        h->catalog->made = -CATALOG_SECONDS;
    pthread_mutex_unlock(&h->lock);
}
