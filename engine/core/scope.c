#include "engine/core/scope.h"

#include <pthread.h>

static _Thread_local nx_array_vec owned;
static pthread_key_t at_thread_exit;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local bool registered;

static void free_vec(void *v)
{
    nx_vec_clear((nx_array_vec *)v);
}

static void make_key(void)
{
    pthread_key_create(&at_thread_exit, free_vec);
}

nx_scope nx_scope_open(void)
{
    return owned.n;
}

void nx_scope_close(nx_scope scope)
{
    while (owned.n > scope) {
        nx_array *a = nx_vec_pop(&owned);
        nx_array_unref(&a);
    }
    if (scope == 0 && owned.cap > 1 << 16) /* a huge transform should not keep its list */
        nx_vec_clear(&owned);
}

nx_array *nx_scope_own(nx_array *a)
{
    if (!a)
        return NULL;
    if (!registered) {
        pthread_once(&once, make_key);
        pthread_setspecific(at_thread_exit, &owned);
        registered = true;
    }
    nx_vec_push(&owned, a);
    return a;
}
