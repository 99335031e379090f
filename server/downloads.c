#include "server/downloads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "base/error.h"
#include "base/os.h"
#include "server/lib.h"

enum { RUNNING_MOST = 4, REMEMBERED_MOST = 16 };
static const double WAIT_SECONDS = 0.2, END_SECONDS = 10;

typedef struct job {
    struct job *next; /* the newest first */
    downloads *all;
    download at;
    int followers;
    bool wanted; /* without them too */
    atomic_bool stop;
} job;

struct downloads {
    host *host;
    pthread_mutex_t lock; /* everything below, and of a job what is not its thread's */
    pthread_cond_t changed;
    job *jobs;
    int running;
};

downloads *downloads_new(host *h)
{
    downloads *d = nx_calloc(1, sizeof *d);
    d->host = h;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->changed, NULL);
    return d;
}

void downloads_free(downloads *d)
{
    if (!d)
        return;
    double until = nx_os_seconds() + END_SECONDS;
    pthread_mutex_lock(&d->lock);
    for (job *j = d->jobs; j; j = j->next)
        atomic_store(&j->stop, true);
    while (d->running > 0 && nx_os_seconds() < until)
        nx_os_wait(&d->changed, &d->lock, WAIT_SECONDS);
    bool ended = d->running == 0;
    pthread_mutex_unlock(&d->lock);
    if (!ended)
        return; /* a hub that does not answer: the end of the process, which is near, ends it */
    while (d->jobs) {
        job *j = d->jobs;
        d->jobs = j->next;
        free(j);
    }
    pthread_cond_destroy(&d->changed);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

/* ---- a job's thread ---- */

static bool tell(const nexus_pull_progress *p, void *user)
{
    job *j = user;
    pthread_mutex_lock(&j->all->lock);
    snprintf(j->at.file, sizeof j->at.file, "%s", p->file);
    j->at.done = p->done;
    j->at.total = p->total;
    j->at.rate = p->rate;
    j->at.seconds_left = p->seconds_left;
    j->at.version++;
    pthread_cond_broadcast(&j->all->changed);
    pthread_mutex_unlock(&j->all->lock);
    return !atomic_load(&j->stop);
}

static void note_result(job *j, nexus_status status, const nexus_pull_result *r)
{
    j->at.status = status;
    if (status) {
        snprintf(j->at.message, sizeof j->at.message, "%s", nx_error_message());
        j->at.state = status == NEXUS_ERROR_CANCELLED ? DOWNLOAD_CANCELLED : DOWNLOAD_FAILED;
        return;
    }
    j->at.state = r->was_there ? DOWNLOAD_THERE : DOWNLOAD_DONE;
    j->at.done = j->at.total = r->bytes;
    snprintf(j->at.path, sizeof j->at.path, "%s", r->path);
}

static void *run(void *arg)
{
    job *j = arg;
    downloads *d = j->all;
    nexus_pull_options o = {.progress = tell, .user = j};
    nexus_pull_result r = {0};
    nexus_status status = lib(nexus_pull(j->at.what, &o, &r));
    if (!atomic_load(&j->stop)) /* at the end of the server nobody looks any more */
        host_look_again(d->host);
    pthread_mutex_lock(&d->lock);
    note_result(j, status, &r);
    j->at.ended_at = nx_os_wall_ms() / 1000;
    j->at.version++;
    d->running--;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
    nexus_free(r.path);
    return NULL;
}

/* ---- with the lock held ---- */

static job *find(downloads *d, const char *id)
{
    job *j = d->jobs;
    while (j && strcmp(j->at.id, id) != 0)
        j = j->next;
    return j;
}

static job *find_running(downloads *d, const char *what)
{
    job *j = d->jobs;
    while (j && (j->at.ended_at || strcasecmp(j->at.what, what) != 0))
        j = j->next;
    return j;
}

/* Forgets the oldest that have ended and that nobody watches. */
static void forget(downloads *d)
{
    size_t n = 0;
    for (job **at = &d->jobs; *at;) {
        job *j = *at;
        if (++n > REMEMBERED_MOST && j->at.ended_at && j->followers == 0) {
            *at = j->next;
            free(j);
        } else {
            at = &j->next;
        }
    }
}

static job *begin(downloads *d, const char *what)
{
    unsigned char bytes[12] = {0};
    pthread_t thread;
    if (d->running >= RUNNING_MOST)
        return nx_fail_null("%d downloads run already: wait until one has ended, or cancel one",
                            d->running);
    job *j = nx_calloc(1, sizeof *j);
    if (getentropy(bytes, sizeof bytes) != 0)
        memcpy(bytes, &j, sizeof j);
    size_t n = (size_t)snprintf(j->at.id, sizeof j->at.id, "pull_");
    for (size_t i = 0; i < sizeof bytes; i++)
        n += (size_t)snprintf(j->at.id + n, sizeof j->at.id - n, "%02x", bytes[i]);
    snprintf(j->at.what, sizeof j->at.what, "%s", what);
    j->all = d;
    j->at.seconds_left = -1;
    j->at.started_at = nx_os_wall_ms() / 1000;
    if (pthread_create(&thread, NULL, run, j) != 0) {
        free(j);
        return nx_fail_null("the server cannot start a thread");
    }
    pthread_detach(thread);
    j->next = d->jobs;
    d->jobs = j;
    d->running++;
    forget(d);
    return j;
}

/* ---- the interface ---- */

bool downloads_start(downloads *d, const char *what, bool follow, download *out)
{
    if (strlen(what) >= sizeof out->what)
        return nx_fail("'%.40s…' is no repository's name", what);
    pthread_mutex_lock(&d->lock);
    job *j = find_running(d, what);
    if (!j)
        j = begin(d, what);
    if (j) {
        j->followers += follow;
        j->wanted |= !follow;
        *out = j->at;
    }
    pthread_mutex_unlock(&d->lock);
    return j != NULL;
}

void downloads_leave(downloads *d, const char *id)
{
    pthread_mutex_lock(&d->lock);
    job *j = find(d, id);
    if (j && --j->followers == 0 && !j->wanted)
        atomic_store(&j->stop, true);
    pthread_mutex_unlock(&d->lock);
}

bool downloads_get(downloads *d, const char *id, download *out)
{
    pthread_mutex_lock(&d->lock);
    job *j = find(d, id);
    if (j)
        *out = j->at;
    pthread_mutex_unlock(&d->lock);
    return j != NULL;
}

bool downloads_wait(downloads *d, const char *id, uint64_t seen, download *out)
{
    pthread_mutex_lock(&d->lock);
    job *j = find(d, id);
    if (j && j->at.version == seen && !j->at.ended_at) {
        nx_os_wait(&d->changed, &d->lock, WAIT_SECONDS);
        j = find(d, id);
    }
    if (j)
        *out = j->at;
    pthread_mutex_unlock(&d->lock);
    return j != NULL;
}

bool downloads_cancel(downloads *d, const char *id)
{
    pthread_mutex_lock(&d->lock);
    job *j = find(d, id);
    if (j)
        atomic_store(&j->stop, true);
    pthread_mutex_unlock(&d->lock);
    return j || nx_fail("there is no download '%s'", id);
}

size_t downloads_list(downloads *d, download *out, size_t most)
{
    size_t n = 0;
    pthread_mutex_lock(&d->lock);
    for (const job *j = d->jobs; j && n < most; j = j->next)
        out[n++] = j->at;
    pthread_mutex_unlock(&d->lock);
    return n;
}
