/*
 * scan.h: walks folders to any depth, read-only, and finds what may be models: folders with
 * settings and weights, GGUF files (parts of a split one together), and the stores of other
 * programs by their layout. Links are followed, loops and places seen before are not entered again.
 */
#ifndef NX_RUNTIME_CATALOG_SCAN_H
#define NX_RUNTIME_CATALOG_SCAN_H

#include "base/map.h"
#include "base/str.h"
#include "runtime/catalog/facts.h"

typedef enum {
    UNIT_FOLDER,
    UNIT_GGUF,
    UNIT_UNKNOWN, /* a file without a telling name: its first bytes decide */
} unit_kind;

/* Something that may be a model. */
typedef struct {
    unit_kind kind;
    char *path;   /* what a load is given: the folder, or the (first) file */
    char *folder; /* where files lie */
    char *name;   /* as a person names it: the file's or folder's, without ".gguf" */
    const char *store; /* "nexus", "lmstudio", "huggingface", "ollama" or "folder" */
    catalog_files files; /* of a split model in order, a missing one with name NULL */
    uint64_t bytes;
    int64_t modified_ns; /* the newest file's */
    uint64_t signature;  /* of names, sizes and times: another one means another content */
    catalog_facts facts; /* filled later */
} catalog_unit;

typedef struct {
    NX_VEC(catalog_unit) units;
    NX_VEC(char *) problems; /* folders that could not be read: "PATH: why" */
    nx_map seen;             /* folders by device and number */
    size_t folders, entries; /* walked */
} catalog_scan;

void scan_folder(catalog_scan *s, const char *path, const char *store);
void scan_clear(catalog_scan *s);

typedef struct {
    const char *store;
    char *path;
} catalog_place;
typedef NX_VEC(catalog_place) catalog_places;

/* The model stores of this and other programs that exist here, ours first. */
void scan_places(catalog_places *out);
void scan_places_clear(catalog_places *p);

/* ollama's store: manifests name the blobs. Adds its models. */
void scan_ollama(catalog_scan *s, const char *path);

/* For scan_ollama: adds a unit of one file. */
void scan_add_file(catalog_scan *s, unit_kind kind, const char *folder, const char *file,
                   const char *name, const char *store);

#endif
