/*
 * outfile.h: a file that appears under its name whole or not at all: written beside its place
 * under a temporary name, flushed to the disk, then renamed.
 */
#ifndef NX_BASE_OUTFILE_H
#define NX_BASE_OUTFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nx_outfile nx_outfile;

/* The folder must exist. NULL with an error. A file that is replaced keeps its permissions. */
nx_outfile *nx_outfile_open(const char *path);
/* Buffered. After a first failure (which says so when the disk is full) all calls fail. */
bool nx_outfile_write(nx_outfile *f, const void *bytes, size_t n);
uint64_t nx_outfile_size(const nx_outfile *f); /* bytes written so far */
/* Bytes in place of ones written before, offset from the start. */
bool nx_outfile_patch(nx_outfile *f, uint64_t offset, const void *bytes, size_t n);
/* Flushes, renames into place. After false the temporary is gone and the old file untouched. */
bool nx_outfile_commit(nx_outfile *f);
/* Frees; without a commit before it the temporary is removed. NULL is fine. */
void nx_outfile_free(nx_outfile *f);

#endif
