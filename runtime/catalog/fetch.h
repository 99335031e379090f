/*
 * fetch.h: one file of a hub in parallel ranges. What has arrived is noted beside it (PATH.part.json),
 * so that a fetch that was killed goes on where it was; the file appears whole and checked.
 */
#ifndef NX_RUNTIME_CATALOG_FETCH_H
#define NX_RUNTIME_CATALOG_FETCH_H

#include "runtime/catalog/hub.h"

typedef struct {
    const hub_repo *hub;
    const hub_file *file;
    const char *path; /* where it is to appear */
    int connections;
    /* Bytes of this file that are there; several times a second, on the calling thread. False stops. */
    bool (*progress)(uint64_t there, void *user);
    void *user;
} fetch_request;

nexus_status fetch_file(const fetch_request *r);
/* Bytes of it that need not be fetched any more. */
uint64_t fetch_there(const hub_file *f, const char *path);

#endif
