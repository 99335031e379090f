/*
 * refuse.h: what cannot fit into memory is not loaded: the kernel would end the process, or another.
 */
#ifndef NX_RUNTIME_CATALOG_REFUSE_H
#define NX_RUNTIME_CATALOG_REFUSE_H

#include "runtime/catalog/package.h"

/* NEXUS_OK where the model fits at this context; else NEXUS_ERROR_MEMORY, and the message says what
 * would fit: a smaller context or cache, fewer bits, another model. */
nexus_status refuse_unless_fits(package *p, const model *m, int ctx, const char *cache_type);

#endif
