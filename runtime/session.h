/*
 * session.h: a conversation's memory: what of a new prompt it holds, or another session of the model.
 */
#ifndef NX_RUNTIME_SESSION_H
#define NX_RUNTIME_SESSION_H

#include "nexus/nexus.h"
#include "runtime/handles.h"

struct nexus_session {
    nexus_model *model;
    nn_cache cache;
    token_vec tokens; /* what the cache holds, and perhaps one more */
    nexus_model *draft; /* NULL: none */
    nn_cache draft_cache;
    /* Of cache and tokens between generations, when others may look for their beginning; during one
     * only the engine thread, which is the one that looks, touches them. */
    pthread_mutex_t kept;
    int context;
    pthread_mutex_t use; /* one generation at a time */
    atomic_bool cancel; /* from when it is asked for until the generation it meets has ended */
};

/* Engine thread: others may look into its cache from now on. */
void session_join(nexus_session *s);
/* Engine thread: the cache keeps what the prompt shares with it, or gets more from another session.
 * How many of the prompt's tokens it then holds; tokens is the prompt. */
size_t session_reuse(nexus_session *s, const int32_t *prompt, size_t count);
/* Keeps the first n tokens. */
void session_forget_after(nexus_session *s, size_t n);

#endif
