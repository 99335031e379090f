/* kept.c: a list of answers, the oldest first, within limits of number and size. */
#include "server/kept.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/vec.h"

enum { KEPT_MOST = 1000, KEPT_BYTES = 64 << 20 };

typedef struct {
    char *id;
    kept_answer answer;
    size_t bytes; /* of its texts */
} entry;

struct kept {
    pthread_mutex_t lock;
    NX_VEC(entry) entries;
    size_t bytes;
};

kept *kept_new(void)
{
    kept *k = nx_calloc(1, sizeof *k);
    pthread_mutex_init(&k->lock, NULL);
    return k;
}

void kept_answer_clear(kept_answer *a)
{
    json_decref(a->response);
    json_decref(a->input);
    json_decref(a->messages);
    *a = (kept_answer){0};
}

static kept_answer share(const kept_answer *a)
{
    return (kept_answer){json_incref(a->response), json_incref(a->input), json_incref(a->messages)};
}

/* With the lock held. */
static void drop(kept *k, size_t i)
{
    entry *e = &k->entries.at[i];
    k->bytes -= e->bytes;
    kept_answer_clear(&e->answer);
    free(e->id);
    memmove(e, e + 1, (k->entries.n - i - 1) * sizeof *e);
    k->entries.n--;
}

void kept_free(kept *k)
{
    if (!k)
        return;
    while (k->entries.n)
        drop(k, k->entries.n - 1);
    nx_vec_clear(&k->entries);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

void kept_put(kept *k, const char *id, const kept_answer *a)
{
    size_t bytes = json_dumpb(a->response, NULL, 0, 0) + json_dumpb(a->input, NULL, 0, 0) +
                   json_dumpb(a->messages, NULL, 0, 0);
    pthread_mutex_lock(&k->lock);
    nx_vec_push(&k->entries, (entry){nx_strdup(id), share(a), bytes});
    k->bytes += bytes;
    while (k->entries.n > KEPT_MOST || (k->bytes > KEPT_BYTES && k->entries.n > 1))
        drop(k, 0);
    pthread_mutex_unlock(&k->lock);
}

/* With the lock held; the number of entries where there is none. */
static size_t find(const kept *k, const char *id)
{
    size_t i = 0;
    while (i < k->entries.n && strcmp(k->entries.at[i].id, id) != 0)
        i++;
    return i;
}

bool kept_get(kept *k, const char *id, kept_answer *out)
{
    pthread_mutex_lock(&k->lock);
    size_t i = find(k, id);
    bool there = i < k->entries.n;
    if (there)
        *out = share(&k->entries.at[i].answer);
    pthread_mutex_unlock(&k->lock);
    return there;
}

bool kept_remove(kept *k, const char *id)
{
    pthread_mutex_lock(&k->lock);
    size_t i = find(k, id);
    bool there = i < k->entries.n;
    if (there)
        drop(k, i);
    pthread_mutex_unlock(&k->lock);
    return there;
}
