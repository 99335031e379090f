/*
 * allot.h: how many bits each matrix gets so that a whole model has a given number a weight: more
 * where the error that fewer make is large.
 */
#ifndef NX_RUNTIME_CONVERT_ALLOT_H
#define NX_RUNTIME_CONVERT_ALLOT_H

#include "runtime/convert/plan.h"

/* A storage an item of the plan (meaningless for those that are not quantized); freed by the caller.
 * NULL with a message. */
storage *allot_bits(plan *p, const plan_request *ask);

#endif
