/*
 * mmap.h: a whole file mapped read-only, counted, so that arrays may point into it for as long as
 * any of them lives.
 *
 * All functions may be called from any thread. The file must not be shortened while it is mapped
 * (the system then stops the program that touches the missing pages); we replace files by rename,
 * which leaves mappings of the old one whole.
 */
#ifndef NX_BASE_MMAP_H
#define NX_BASE_MMAP_H

#include <stdbool.h>
#include <stddef.h>

typedef struct nx_mapping nx_mapping;

/* Maps path; count 1. NULL with an error for a file that is missing, empty, no regular file or
 * not readable. */
nx_mapping *nx_mapping_open(const char *path);

/* The same interface over memory that the caller keeps alive (tests, fuzzers, streams).
 * name stands for the path in error messages. May be empty. */
nx_mapping *nx_mapping_of_memory(const void *data, size_t size, const char *name);

nx_mapping *nx_mapping_ref(nx_mapping *m);
void nx_mapping_unref(nx_mapping **m); /* nulls *m; NULL in *m is fine */
/* nx_mapping_unref as a destructor callback: payload is the nx_mapping itself. */
void nx_mapping_drop(void *payload);

const unsigned char *nx_mapping_data(const nx_mapping *m);
size_t nx_mapping_size(const nx_mapping *m); /* bytes */
const char *nx_mapping_path(const nx_mapping *m);

/* The text that stands for a large file in a Git checkout made without LFS. */
bool nx_mapping_is_lfs_pointer(const nx_mapping *m);

/* Lets the pages that lie wholly inside [offset, offset + length) leave memory; touched again,
 * they are read from the file again. A hint: never fails, ranges outside the file are cut. */
void nx_mapping_release_range(const nx_mapping *m, size_t offset, size_t length);
/* Asks the system to begin reading the range now. A hint, as above. */
void nx_mapping_prefetch(const nx_mapping *m, size_t offset, size_t length);

#endif
