/*
 * hub.h: a repository on a Hugging Face-compatible hub: its files, and which of them make a model.
 */
#ifndef NX_RUNTIME_CATALOG_HUB_H
#define NX_RUNTIME_CATALOG_HUB_H

#include "base/vec.h"
#include "nexus/nexus.h"
#include "runtime/catalog/http.h"

typedef struct {
    char *path;      /* in the repository */
    uint64_t bytes;
    char sha256[65]; /* "" where the hub tells none (small files) */
    bool wanted;
} hub_file;

typedef struct {
    const char *endpoint, *token; /* HF_ENDPOINT, HF_TOKEN */
    char *repo;
    char revision[65]; /* the commit */
    NX_VEC(hub_file) files;
} hub_repo;

/* Asks the hub for the files of "org/name" at a revision (NULL: main). */
nexus_status hub_open(hub_repo *h, const char *repo, const char *revision);
void hub_clear(hub_repo *h);

/* Marks the files wanted: those of `file` (a path, or a quantization such as Q4_K_M, or NULL for
 * the best choice). */
nexus_status hub_choose(hub_repo *h, const char *file);

void hub_url(const hub_repo *h, const hub_file *f, nx_str *out);
/* The sentence for an answer that is no file: gated, missing, too many requests. */
nexus_status hub_explain(const hub_repo *h, const http_head *head, const char *what);

#endif
