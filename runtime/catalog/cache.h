/*
 * cache.h: what earlier scans found out, in a SQLite file of the cache folder, so that a file is
 * looked into once for each size and time it has. Everything here may fail without harm: then the
 * files are read again.
 */
#ifndef NX_RUNTIME_CATALOG_CACHE_H
#define NX_RUNTIME_CATALOG_CACHE_H

#include "runtime/catalog/facts.h"

typedef struct catalog_cache catalog_cache;

/* NULL where there is none to be had. A damaged one, or another version's, is begun anew. */
catalog_cache *cache_open(void);
void cache_close(catalog_cache *c); /* keeps what was put */

bool cache_get(catalog_cache *c, const char *path, uint64_t signature, catalog_facts *out);
void cache_put(catalog_cache *c, const char *path, uint64_t signature, const catalog_facts *f);

#endif
