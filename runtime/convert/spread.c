#include "runtime/convert/spread.h"

#include <pthread.h>
#include <stdbool.h>

#include "base/os.h"

enum { MOST = 64 };

typedef struct {
    pthread_t thread;
    bool started;
    int begin, end;
    void (*fn)(int, int, void *);
    void *arg;
} part;

static void *run_part(void *p)
{
    part *t = p;
    t->fn(t->begin, t->end, t->arg);
    return NULL;
}

void spread(int n, void (*fn)(int begin, int end, void *arg), void *arg)
{
    part parts[MOST];
    int k = nx_os_cpus();
    k = k > MOST ? MOST : k;
    k = k > n ? n : k;
    for (int i = 0; i < k; i++) {
        parts[i] = (part){.begin = (int)((long long)n * i / k), .end = (int)((long long)n * (i + 1) / k),
                          .fn = fn, .arg = arg};
        parts[i].started = i && pthread_create(&parts[i].thread, NULL, run_part, &parts[i]) == 0;
    }
    for (int i = 0; i < k; i++) {
        if (parts[i].started)
            pthread_join(parts[i].thread, NULL);
        else
            run_part(&parts[i]);
    }
}
