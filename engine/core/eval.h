/*
 * eval.h: from lazy arrays to data.
 */
#ifndef NX_CORE_EVAL_H
#define NX_CORE_EVAL_H

#include "engine/core/array.h"

/* Lays out and queues everything `arrays` depend on; with wait, until their data are there. False
 * after nx_fail (memory that cannot be had): what was queued is done, the rest is still lazy. */
bool nx_eval(nx_array *const *arrays, int n, bool wait);

/* One array, evaluated and ready. */
static inline bool nx_eval_one(nx_array *a)
{
    return nx_eval(&a, 1, true);
}

#endif
