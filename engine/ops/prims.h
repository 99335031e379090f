/* prims.h: the number of each primitive, from the list in prims.def. */
#ifndef NX_OPS_PRIMS_H
#define NX_OPS_PRIMS_H

typedef enum {
#define NX_PRIM(name) NX_PRIM_##name,
#include "engine/ops/prims.def"
#undef NX_PRIM
    NX_PRIM_COUNT
} nx_prim_id;

#endif
