/*
 * npy.h: the header of NumPy's .npy files (versions 1 to 3) as a format. No arrays of the engine
 * here; structured types and Python objects are refused.
 */
#ifndef NX_BASE_NPY_H
#define NX_BASE_NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum { NX_NPY_MAX_DIMS = 64, NX_NPY_PREFIX = 12 };
/* Longest header accepted; NumPy's own are a few hundred bytes. */
#define NX_NPY_MAX_HEADER (1u << 20)

typedef struct {
    char kind;     /* b bool, i signed, u unsigned, f float, c complex, V raw bytes (bfloat16 when
                      of 2 bytes, as MLX writes it) */
    unsigned size; /* bytes an element: 1, 2, 4, 8 or 16 */
    bool swapped;  /* stored big-endian */
    bool fortran;  /* the first dimension is the contiguous one */
    int ndim;      /* 0: one value */
    uint64_t shape[NX_NPY_MAX_DIMS];
    uint64_t elements, bytes;
    uint64_t data_offset; /* where the elements begin, from the start of the file */
} nx_npy;

/* From the first NX_NPY_PREFIX bytes: where the elements begin, so that a stream knows how much to
 * read. False with an error that names the file. */
bool nx_npy_data_offset(const unsigned char *first, const char *name, uint64_t *offset);

/* Parses the first bytes of a file, at least all before the elements. file_bytes is the size of
 * the whole, to check that all elements are there (UINT64_MAX when unknown). */
bool nx_npy_parse(nx_npy *out, const void *bytes, size_t n, uint64_t file_bytes, const char *name);

/* Appends the bytes that precede the elements, a multiple of 64; of info it uses kind, size,
 * fortran, ndim and shape. Elements are little-endian. */
void nx_npy_header(nx_str *out, const nx_npy *info);

#endif
