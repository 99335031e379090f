#include "engine/dist/group.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/str.h"

struct nx_group {
    const nx_transport *transport; /* NULL: this process alone */
    nx_comm *comm;
    bool may_split; /* of a group of one: it stands for one that MPI would make */
    nx_group *next; /* of all groups there are */
};

static struct {
    pthread_mutex_t lock;
    bool tried;                    /* to load the transport */
    const nx_transport *transport; /* NULL: there is none, for `reason` */
    char *reason;
    nx_group *all;   /* once asked for: all processes, by MPI */
    nx_group *first; /* the list of groups */
} state = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- the library that carries -------------------------------------------------------------- */

/* Beside this library; where that has no place of its own, wherever libraries are looked for. */
static void transport_path(nx_str *path)
{
    Dl_info me;
    const char *slash = NULL;
    if (dladdr((void *)(uintptr_t)transport_path, &me) && me.dli_fname)
        slash = strrchr(me.dli_fname, '/');
    if (slash)
        nx_str_add(path, me.dli_fname, (size_t)(slash + 1 - me.dli_fname));
    nx_str_puts(path, "libnexus_mpi.so");
}

/* Under the lock. Global, since Open MPI's own parts look for each other's names. */
static void transport_load(void)
{
    nx_str path = {0};
    if (state.tried)
        return;
    state.tried = true;
    transport_path(&path);
    void *library = dlopen(nx_str_cstr(&path), RTLD_NOW | RTLD_GLOBAL);
    const nx_transport *t = library ? dlsym(library, NX_TRANSPORT_SYMBOL) : NULL;
    if (t && t->version == NX_TRANSPORT_VERSION)
        state.transport = t;
    else if (t)
        state.reason = nx_strdup("libnexus_mpi.so belongs to another version of this library");
    else
        state.reason = nx_strdup(dlerror());
    nx_str_clear(&path);
    if (state.reason)
        nx_debug("distributed: %s", state.reason);
}

/* ---- groups -------------------------------------------------------------------------------- */

/* Under the lock. */
static nx_group *group_new(const nx_transport *t, nx_comm *comm, bool may_split)
{
    nx_group *g = nx_calloc(1, sizeof *g);
    *g = (nx_group){.transport = t, .comm = comm, .may_split = may_split, .next = state.first};
    state.first = g;
    return g;
}

/* This process alone; one of each kind is enough. Under the lock. */
static nx_group *group_of_one(bool may_split)
{
    for (nx_group *g = state.first; g; g = g->next)
        if (!g->transport && g->may_split == may_split)
            return g;
    return group_new(NULL, NULL, may_split);
}

/* Was this process started together with others? Without, MPI is not begun: a process alone needs
 * it for nothing, and MPI may end a process whose helper programs it does not find. */
static bool was_launched(void)
{
    static const char *const marks[] = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE"};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (getenv(marks[i]))
            return true;
    return false;
}

static void warn(const char *text)
{
    nx_warn("%s", text);
}

/* Under the lock. NULL after nx_fail. */
static nx_group *group_by_mpi(void)
{
    transport_load();
    if (!state.transport)
        return nx_fail_null("[distributed] MPI is not available: %s", state.reason);
    if (!state.all && !was_launched())
        return group_of_one(true);
    if (!state.all) {
        nx_comm *comm;
        const char *why = state.transport->start(warn, &comm);
        if (why)
            return nx_fail_null("[distributed] MPI cannot be used: %s", why);
        state.all = group_new(state.transport, comm, true);
    }
    return state.all;
}

static bool is_one_of(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

static bool by_mpi(const char *backend)
{
    static const char *const names[] = {"any", "mpi", NULL};
    return is_one_of(backend, names);
}

bool nx_group_is_available(const char *backend)
{
    if (!by_mpi(backend))
        return false;
    pthread_mutex_lock(&state.lock);
    transport_load();
    bool there = state.transport != NULL;
    pthread_mutex_unlock(&state.lock);
    return there;
}

nx_group *nx_group_init(bool strict, const char *backend)
{
    static const char *const others[] = {"ring", "nccl", "jaccl", NULL};
    nx_group *g = NULL;
    if (!by_mpi(backend) && !is_one_of(backend, others))
        return nx_fail_null("[distributed] The only valid values for backend are 'any', 'mpi', "
                            "'nccl', 'jaccl' and 'ring' but '%s' was provided.", backend);
    pthread_mutex_lock(&state.lock);
    if (by_mpi(backend))
        g = group_by_mpi();
    else
        nx_fail("[distributed] Cannot initialize %s distributed backend: only mpi is supported "
                "here.", backend);
    if (!g && !strict)
        g = group_of_one(false);
    pthread_mutex_unlock(&state.lock);
    return g;
}

nx_group *nx_group_or_all(nx_group *g)
{
    return g ? g : nx_group_init(false, "any");
}

int nx_group_rank(const nx_group *g)
{
    return g->transport ? g->transport->rank(g->comm) : 0;
}

int nx_group_size(const nx_group *g)
{
    return g->transport ? g->transport->size(g->comm) : 1;
}

nx_group *nx_group_split(nx_group *g, int color, int key)
{
    nx_comm *part = NULL;
    if (!g->may_split)
        return nx_fail_null("[distributed] Cannot split the distributed group further.");
    if (color < 0)
        return nx_fail_null("[distributed] a group is split by colors from 0 on, not %d", color);
    if (!g->transport)
        return g;
    const char *why = g->transport->split(g->comm, color, key, &part);
    if (why)
        return nx_fail_null("[distributed] the group cannot be split: %s", why);
    pthread_mutex_lock(&state.lock);
    nx_group *made = group_new(g->transport, part, true);
    pthread_mutex_unlock(&state.lock);
    return made;
}

bool nx_group_run(nx_group *g, const nx_exchange *x)
{
    const char *why = g->transport->run(g->comm, x);
    return !why || nx_fail("[distributed] %s", why);
}
