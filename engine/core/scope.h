/*
 * scope.h: the build scope: who owns what builders return.
 *
 * Every builder (nx_add, nx_softmax …) returns an array owned by the calling thread's build scope,
 * so that composed operations read like formulas and free nothing. Whoever enters the engine from
 * outside opens a scope, takes references to what it keeps, and closes it. Scopes nest (a closure
 * called in the middle of a transform opens its own) and close in reverse order.
 */
#ifndef NX_CORE_SCOPE_H
#define NX_CORE_SCOPE_H

#include "engine/core/array.h"

typedef size_t nx_scope;

nx_scope nx_scope_open(void);
void nx_scope_close(nx_scope scope); /* drops the references of everything built since */
/* Gives one reference of the caller's to the current scope; returns a. NULL passes through. */
nx_array *nx_scope_own(nx_array *a);

#endif
