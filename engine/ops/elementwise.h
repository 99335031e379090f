/*
 * elementwise.h: builders of operations that go element by element. Inputs are broadcast and
 * promoted as MLX does; results belong to the build scope (core/scope.h).
 */
#ifndef NX_OPS_ELEMENTWISE_H
#define NX_OPS_ELEMENTWISE_H

#include "engine/core/array.h"

nx_array *nx_copy(nx_array *a, nx_stream *s);
nx_array *nx_astype(nx_array *a, nx_dtype dtype, nx_stream *s);

#endif
