/*
 * params.h: the parameter structs of primitives, which their kernels read. Plain data only: an
 * evaluation copies them. A section a family.
 */
#ifndef NX_OPS_PARAMS_H
#define NX_OPS_PARAMS_H

#include "engine/core/view.h"

/* copy.c */
typedef struct {
    nx_dtype dtype;
} nx_astype_params;

/* broadcast.c */
typedef struct {
    nx_dims shape;
} nx_broadcast_params;

#endif
