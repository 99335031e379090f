/* host_lanes.c: the lanes of a loaded model, and who waits for one. */
#include <stdlib.h>

#include "base/error.h"
#include "base/os.h"
#include "server/host_impl.h"
#include "server/lib.h"

static const double GONE_TICK = 0.1;

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

void host_wait_tick(host *h)
{
    nx_os_wait(&h->changed, &h->lock, GONE_TICK);
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
        host_wait_tick(h);
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
    if (!l)
        return NULL;
    int context = m->context;
    if (l->session && nexus_session_context(l->session) != context) { /* it was changed since */
        nexus_session_free(l->session);
        l->session = NULL;
    }
    if (l->session)
        return l;
    nexus_session_options o = {.context = context, .draft = m->draft, .cache_type = m->host->o.cache_type};
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
