/* host_impl.h: what host.c, host_catalog.c and host_lanes.c share. */
#ifndef NX_SERVER_HOST_IMPL_H
#define NX_SERVER_HOST_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "server/host.h"

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
    int n_lanes;
    _Atomic int context;   /* of lanes that begin from now on */
    uint64_t memory_bytes; /* at that context */
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

/* A model by a request's name, usable or not; "": the only one. ollama writes "name:latest", everybody
 * else the name. NULL: none. */
const nexus_models_entry *host_find_entry(const nexus_models *all, const char *name);
/* NOT_FOUND: "there is no model called X: there are A, B and 3 more" */
nexus_status host_not_found(const nexus_models *all, const char *name);
/* With the lock held: until the condition changes, or a tenth of a second. */
void host_wait_tick(host *h);

#endif
