#include "runtime/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/nn/engine.h"

nexus_status nexus_session_new(nexus_model *m, const nexus_session_options *options,
                               nexus_session **out)
{
    nn_cache_form type;
    if (!model_handle_whole(m))
        return NEXUS_ERROR_ARGUMENT;
    if (!nn_cache_type(options ? options->cache_type : NULL, &type))
        return NEXUS_ERROR_ARGUMENT;
    int wanted = options ? options->context : 0;
    if (m->model->arch->encoder) {
        nx_fail("a model of the family '%s' makes embeddings, not text", m->package.arch);
        return NEXUS_ERROR_UNSUPPORTED;
    }
    if (wanted < 0 || wanted > m->model->max_context) {
        nx_fail("a context of %d tokens is not possible: the model was made for at most %d", wanted,
                m->model->max_context);
        return NEXUS_ERROR_ARGUMENT;
    }
    nexus_model *smaller = options ? options->draft : NULL;
    nexus_status drafts = smaller ? nexus_model_can_draft(smaller, m) : NEXUS_OK;
    if (drafts)
        return drafts;
    nexus_session *s = nx_calloc(1, sizeof *s);
    s->model = m;
    s->context = package_context(m->model, wanted);
    atomic_fetch_add(&m->refs, 1);
    pthread_mutex_init(&s->use, NULL);
    pthread_mutex_init(&s->kept, NULL);
    nn_cache_init(&s->cache, m->model->caches, m->model->n_layers, type, s->context);
    if (smaller) {
        const model *d = smaller->model;
        s->draft = smaller;
        atomic_fetch_add(&smaller->refs, 1);
        nn_cache_init(&s->draft_cache, d->caches, d->n_layers, type,
                      s->context < d->max_context ? s->context : d->max_context);
    }
    *out = s;
    return NEXUS_OK;
}

/* Engine thread. */
static bool clear_caches(void *arg)
{
    nexus_session *s = arg;
    nexus_model *m = s->model;
    for (size_t i = 0; i < m->sessions.n; i++)
        if (m->sessions.at[i] == s)
            m->sessions.at[i] = nx_vec_pop(&m->sessions);
    nn_cache_clear(&s->cache);
    if (s->draft)
        nn_cache_clear(&s->draft_cache);
    return true;
}

void nexus_session_free(nexus_session *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->use); /* a running generation ends first */
    pthread_mutex_unlock(&s->use);
    engine_run(clear_caches, s);
    nx_vec_clear(&s->tokens);
    pthread_mutex_destroy(&s->use);
    pthread_mutex_destroy(&s->kept);
    if (s->draft)
        model_handle_unref(s->draft);
    model_handle_unref(s->model);
    free(s);
}

void nexus_session_cancel(nexus_session *s)
{
    atomic_store(&s->cancel, true);
}

void nexus_session_uncancel(nexus_session *s)
{
    atomic_store(&s->cancel, false);
}

/* ---- what it holds ---- */

/* What a prompt shares with the old tokens; at least one token is left to compute. */
static size_t shared_prefix(const nexus_session *s, const int32_t *prompt, size_t count)
{
    size_t most = (size_t)s->cache.length, n = 0;
    most = most < count - 1 ? most : count - 1;
    while (n < most && s->tokens.at[n] == prompt[n])
        n++;
    return n;
}

/* A session of the same model that holds more of the prompt than this one; *shared: how much. */
static nexus_session *better_holder(nexus_session *s, const int32_t *prompt, size_t count,
                                    size_t *shared)
{
    enum { WORTH = 16 }; /* tokens */
    nexus_session *best = NULL;
    for (size_t i = 0; i < s->model->sessions.n; i++) {
        nexus_session *o = s->model->sessions.at[i];
        if (o == s || o->cache.form != s->cache.form)
            continue;
        pthread_mutex_lock(&o->kept);
        size_t n = shared_prefix(o, prompt, count);
        if (n >= *shared + WORTH && nn_cache_holds(&o->cache, (int)n)) {
            best = o;
            *shared = n;
        }
        pthread_mutex_unlock(&o->kept);
    }
    return best;
}

static bool copy_prefix(nexus_session *s, nexus_session *from, size_t n)
{
    nn c;
    nn_init(&c);
    pthread_mutex_lock(&from->kept);
    bool ok = (size_t)from->cache.length >= n && nn_cache_copy(&c, &s->cache, &from->cache, (int)n);
    pthread_mutex_unlock(&from->kept);
    nn_clear(&c);
    return ok;
}

static void truncate_draft(nexus_session *s, size_t n)
{
    if (s->draft && (size_t)s->draft_cache.length > n)
        nn_cache_truncate(&s->draft_cache, (int)n);
}

size_t session_reuse(nexus_session *s, const int32_t *prompt, size_t count)
{
    size_t mine = shared_prefix(s, prompt, count), n = mine;
    nexus_session *from = better_holder(s, prompt, count, &n);
    truncate_draft(s, mine);
    nn_cache_expect(&s->cache, (int)count);
    if (!from || !copy_prefix(s, from, n)) /* a copy for which there is no memory has emptied the cache */
        n = (size_t)nn_cache_truncate(&s->cache, s->cache.length ? (int)mine : 0);
    s->tokens.n = 0;
    nx_vec_reserve(&s->tokens, count);
    memcpy(s->tokens.at, prompt, count * sizeof *prompt);
    s->tokens.n = count;
    return n;
}

void session_join(nexus_session *s)
{
    nexus_model *m = s->model;
    for (size_t i = 0; i < m->sessions.n; i++)
        if (m->sessions.at[i] == s)
            return;
    nx_vec_push(&m->sessions, s);
}

void session_forget_after(nexus_session *s, size_t n)
{
    pthread_mutex_lock(&s->kept);
    s->tokens.n = n;
    if ((size_t)s->cache.length > n)
        nn_cache_truncate(&s->cache, (int)n);
    truncate_draft(s, (size_t)s->cache.length);
    pthread_mutex_unlock(&s->kept);
}

size_t nexus_session_shared(nexus_session *s, const int32_t *prompt, size_t count)
{
    pthread_mutex_lock(&s->use);
    size_t n = count ? shared_prefix(s, prompt, count) : 0;
    pthread_mutex_unlock(&s->use);
    return n;
}

int nexus_session_context(const nexus_session *s)
{
    return s->context;
}
