#include "runtime/nn/engine.h"

#include <dlfcn.h>
#include <mlx/c/mlx.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

typedef struct job {
    struct job *next;
    void (*fn)(void *arg);
    void *arg;
} job;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t work;
    job *head, **tail;
    bool started;
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER};

static _Thread_local bool on_engine_thread;

static void keep_message(const char *message, void *data)
{
    nx_fail("%s", message);
}

static void *engine_main(void *arg)
{
    on_engine_thread = true;
    for (;;) {
        pthread_mutex_lock(&queue.lock);
        while (!queue.head)
            pthread_cond_wait(&queue.work, &queue.lock);
        job *j = queue.head;
        queue.head = j->next;
        if (!queue.head)
            queue.tail = &queue.head;
        pthread_mutex_unlock(&queue.lock);
        j->fn(j->arg);
        free(j);
    }
    return NULL;
}

/* With the lock held. */
static void start(void)
{
    pthread_t thread;
    if (queue.started)
        return;
    mlx_set_error_handler(keep_message, NULL, NULL);
    queue.tail = &queue.head;
    queue.started = true;
    if (pthread_create(&thread, NULL, engine_main, NULL) != 0)
        nx_die_nothread();
    pthread_detach(thread);
}

void engine_post(void (*fn)(void *arg), void *arg)
{
    job *j = nx_malloc(sizeof *j);
    *j = (job){.fn = fn, .arg = arg};
    pthread_mutex_lock(&queue.lock);
    start();
    *queue.tail = j;
    queue.tail = &j->next;
    pthread_cond_signal(&queue.work);
    pthread_mutex_unlock(&queue.lock);
}

/* A job somebody waits for. */
typedef struct {
    bool (*fn)(void *arg);
    void *arg;
    bool ok, done;
    char message[1024];
    pthread_mutex_t lock;
    pthread_cond_t finished;
} waited;

static void run_waited(void *arg)
{
    waited *w = arg;
    bool ok = w->fn(w->arg);
    pthread_mutex_lock(&w->lock);
    w->ok = ok;
    w->done = true;
    if (!ok) {
        const char *m = nx_error_message();
        size_t n = strnlen(m, sizeof w->message - 1);
        memcpy(w->message, m, n);
        w->message[n] = '\0';
    }
    pthread_cond_signal(&w->finished);
    pthread_mutex_unlock(&w->lock);
}

bool engine_run(bool (*fn)(void *arg), void *arg)
{
    if (on_engine_thread)
        return fn(arg);
    waited w = {.fn = fn, .arg = arg};
    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.finished, NULL);
    engine_post(run_waited, &w);
    pthread_mutex_lock(&w.lock);
    while (!w.done)
        pthread_cond_wait(&w.finished, &w.lock);
    pthread_mutex_unlock(&w.lock);
    pthread_cond_destroy(&w.finished);
    pthread_mutex_destroy(&w.lock);
    return w.ok || nx_fail("%s", w.message);
}

static const nexus_engine *extensions;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void find_extensions(void)
{
    const char *off = getenv("NEXUS_NO_EXTENSIONS");
    if (off && *off && strcmp(off, "0") != 0)
        return;
    const nexus_engine *(*get)(void);
    *(void **)&get = dlsym(RTLD_DEFAULT, "nexus_engine_get");
    extensions = get ? get() : NULL;
}

const nexus_engine *engine_extensions(void)
{
    pthread_once(&once, find_extensions);
    return extensions;
}
