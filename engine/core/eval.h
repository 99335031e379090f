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

/* The first element of a scheduled array for the host to read, once it is there: what lies on a
 * device is moved, once. Valid as long as the array is. NULL after nx_fail. */
const char *nx_array_host(const nx_array *a);

#endif
