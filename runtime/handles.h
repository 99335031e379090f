/*
 * handles.h: what stands behind the interface's handles, for the files that implement it.
 */
#ifndef NX_RUNTIME_HANDLES_H
#define NX_RUNTIME_HANDLES_H

#include <pthread.h>
#include <stdatomic.h>

#include "runtime/catalog/package.h"
#include "runtime/generate/grammar.h"
#include "runtime/generate/scheduler.h"
#include "runtime/text/chat_template.h"
#include "runtime/text/tokenizer.h"

struct nexus_model {
    _Atomic int refs; /* the handle, and each session */
    package package;
    model *model; /* NULL: opened for its text alone */
    tokenizer *tokenizer;
    chat_template *chat;
    char *note;          /* what loading did with the model, NULL: nothing to say */
    char *template_text; /* its source, NULL where the model brings none */
    pthread_mutex_t vocabulary_lock;
    vocabulary *vocabulary; /* for grammars, made for the first one */
    scheduler *scheduler; /* engine thread only */
    bool driving;         /* engine thread only: a step is queued */
    NX_VEC(nexus_session *) sessions; /* engine thread only: which may hold a new prompt's beginning */
};

void model_handle_unref(nexus_model *m);
/* False with a message for one that was opened for its text alone. */
bool model_handle_whole(const nexus_model *m);

#endif
