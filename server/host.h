/*
 * host.h: the models a server has: which there are, which are loaded, and who uses them.
 *
 * A model is loaded when a request first names it, if it fits the memory that is free (idle ones
 * make room, the longest unused first), and unloaded when nobody used it for a while. Each loaded
 * model has lanes: sessions with a KV cache, one for each request that runs at the same time. A
 * request gets the free lane whose cache shares most with its prompt.
 *
 * Names are those of the catalog: a request never names a path.
 */
#ifndef NX_SERVER_HOST_H
#define NX_SERVER_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nexus/nexus.h"

typedef struct host host;
typedef struct host_model host_model; /* a loaded one */
typedef struct host_lane host_lane;

typedef struct {
    const char *const *folders; /* to look in, beside the stores */
    size_t n_folders;
    const char *model; /* where a request names none; NULL: the only one there is */
    const char *cache_type; /* of their caches; NULL: f16 */
    int context;       /* of each lane; 0: the default */
    int lanes;         /* requests of one model at a time */
    int threads;
    const char *draft; /* a model that proposes tokens to others of its vocabulary; NULL: none */
    double ttl;        /* seconds without use until a model is unloaded; 0: never */
    const char *quantize; /* as for nexus_model_load */
    bool force;        /* load also what does not fit */
} host_options;

host *host_new(const host_options *o);
void host_free(host *h); /* nothing may be in use any more */

/* What there is, looked up anew at most every few seconds. Let go with host_catalog_free. */
typedef struct host_catalog host_catalog;
host_catalog *host_catalog_get(host *h);
/* A model has come or gone: what there is is looked up anew at the next request. */
void host_look_again(host *h);
void host_catalog_free(host_catalog *c);
const nexus_models *host_catalog_models(const host_catalog *c); /* NULL where the scan failed */
/* Whether a request can use it: a ready model that makes text (or embeddings). */
bool host_usable(const nexus_models_entry *e);

/* A usable model by name, as requests write it; NULL if there is none. */
const nexus_models_entry *host_find(const host_catalog *c, const char *name);

/* A model by name ("" or NULL: the default), loaded if need be. ttl: seconds, < 0: the server's.
 * context: its lanes have at least so many tokens from now on; 0: as they are. NOT_FOUND: no such
 * model, and the message lists some; MEMORY: it does not fit; ARGUMENT: it was made for less. */
nexus_status host_acquire(host *h, const char *name, double ttl, int context, host_model **out);
/* Its lanes have so many tokens from now on, no more than they have: those that run end as they are. */
void host_lower_context(host_model *m, int context);
void host_release(host_model *m);
/* Unloads when nobody uses it any more. False with a message when it is not loaded. */
bool host_unload(host *h, const char *name);

nexus_model *host_handle(host_model *m);
const nexus_model_info *host_info(const host_model *m);
const char *host_name(const host_model *m);
bool host_embeds(const host_model *m); /* makes vectors, no text */
double host_load_seconds(const host_model *m);
int host_context(const host_model *m); /* of a lane */

/* Waits for a lane in order of arrival; NULL when gone(arg) says that nobody waits any more, or
 * with a message when there is no memory for one. cached: how much of the prompt it holds. */
host_lane *host_lane_take(host_model *m, const int32_t *prompt, size_t n, bool (*gone)(void *arg),
                          void *arg);
void host_lane_give(host_lane *l);
nexus_session *host_lane_session(host_lane *l);
host_model *host_lane_model(host_lane *l);

/* The loaded ones, for lists and metrics. */
typedef struct {
    char name[256];
    nexus_model_info info;
    int context, users, lanes, waiting;
    double idle_seconds, expires_seconds; /* expires < 0: never */
    int64_t loaded_at;                    /* seconds since 1970 */
    char draft[256]; /* the model that proposes tokens to it, "none: why", or "" without --draft */
} host_loaded;
size_t host_list_loaded(host *h, host_loaded *out, size_t most);

#endif
