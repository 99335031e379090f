/* cache.h: keys and values packed to 8 or 4 bits in blocks, as cpu/cache_blocks.h lays them out. */
#ifndef NX_OPS_CACHE_H
#define NX_OPS_CACHE_H

#include "engine/core/array.h"

/* x [..., D] of a floating type as uint8 [..., row bytes]. */
nx_array *nx_cache_pack(nx_array *x, int bits, nx_stream *s);

#endif
