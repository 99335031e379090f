/*
 * safetensors.h: the safetensors file format as a format: names, types, shapes and where the bytes
 * lie. No arrays of the engine here.
 *
 * Everything is checked when the file is opened: no tensor reaches outside the file, none overlaps
 * another, and each has as many bytes as its shape says. An opened file never changes, so any
 * number of threads may read it.
 */
#ifndef NX_BASE_SAFETENSORS_H
#define NX_BASE_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/mmap.h"
#include "base/slice.h"
#include "base/str.h"

typedef enum {
    NX_SAFETENSORS_BOOL,
    NX_SAFETENSORS_U8,
    NX_SAFETENSORS_I8,
    NX_SAFETENSORS_U16,
    NX_SAFETENSORS_I16,
    NX_SAFETENSORS_U32,
    NX_SAFETENSORS_I32,
    NX_SAFETENSORS_U64,
    NX_SAFETENSORS_I64,
    NX_SAFETENSORS_F16,
    NX_SAFETENSORS_BF16,
    NX_SAFETENSORS_F32,
    NX_SAFETENSORS_F64,
    NX_SAFETENSORS_C64, /* two float32 */
    NX_SAFETENSORS_F8_E4M3,
    NX_SAFETENSORS_F8_E5M2,
    NX_SAFETENSORS_F8_E8M0,
    NX_SAFETENSORS_F6_E2M3,
    NX_SAFETENSORS_F6_E3M2,
    NX_SAFETENSORS_F4,
    NX_SAFETENSORS_N_DTYPES,
} nx_safetensors_dtype;

const char *nx_safetensors_dtype_name(nx_safetensors_dtype d); /* "BF16", as in files */
unsigned nx_safetensors_dtype_bits(nx_safetensors_dtype d);    /* bits an element; F4 and F6 are
                                                                  packed without padding */
bool nx_safetensors_dtype_find(nx_slice name, nx_safetensors_dtype *out);

typedef struct {
    const char *name; /* NUL-terminated */
    nx_safetensors_dtype dtype;
    int ndim;
    const uint64_t *shape; /* outermost dimension first; NULL when ndim is 0 */
    uint64_t elements;
    uint64_t offset; /* from the start of the file, in bytes */
    uint64_t bytes;
    const unsigned char *data; /* in the mapping, not always aligned to the element; NULL if only
                                  the header was parsed */
} nx_safetensors_tensor;

typedef struct {
    const char *key; /* NUL-terminated, as is value */
    nx_slice value;
} nx_safetensors_meta;

/* Read only for users. */
typedef struct {
    nx_mapping *file;     /* NULL if only the header was parsed */
    uint64_t data_offset; /* where the tensors begin */
    size_t n_tensors, n_metadata;
    nx_safetensors_tensor *tensors; /* in the order of the header */
    nx_safetensors_meta *metadata;  /* the entries of __metadata__ */
    nx_map index;                   /* name -> position */
    nx_arena arena;
} nx_safetensors;

/* NULL with an error that names the file and what is wrong with it. */
nx_safetensors *nx_safetensors_open(const char *path);
nx_safetensors *nx_safetensors_open_mapping(nx_mapping *m); /* takes a reference of its own */
/* For streams: the JSON text that follows the first 8 bytes, and the bytes that follow it
 * (UINT64_MAX when unknown). name stands for the path in errors. */
nx_safetensors *nx_safetensors_parse(const char *header, uint64_t header_bytes, uint64_t data_bytes,
                                     const char *name);
void nx_safetensors_free(nx_safetensors *s); /* the mapping lives on while others refer to it */

/* The length of the JSON text from the first 8 bytes; false with an error if it cannot be. */
bool nx_safetensors_header_bytes(const unsigned char first[8], const char *name, uint64_t *bytes);
/* Longest header accepted, as in the format's reference. */
#define NX_SAFETENSORS_MAX_HEADER 100000000u

const nx_safetensors_tensor *nx_safetensors_find(const nx_safetensors *s, const char *name);
nx_slice nx_safetensors_metadata(const nx_safetensors *s, const char *key); /* data NULL if none */

/* ---- writing ---- */

/* Order of calls as for nx_gguf_writer: metadata and tensors, then the tensors' data in the order
 * declared, finish, free. With a NULL path nothing is written: nx_safetensors_writer_header gives
 * the bytes for another sink. */
typedef struct nx_safetensors_writer nx_safetensors_writer;

nx_safetensors_writer *nx_safetensors_writer_new(const char *path);
void nx_safetensors_writer_free(nx_safetensors_writer *w);
bool nx_safetensors_writer_metadata(nx_safetensors_writer *w, const char *key, const char *value);
bool nx_safetensors_writer_tensor(nx_safetensors_writer *w, const char *name,
                                  nx_safetensors_dtype dtype, int ndim, const uint64_t *shape);
/* Appends all that precedes the data: 8 bytes of length, the JSON text, spaces to a multiple of 8.
 */
bool nx_safetensors_writer_header(nx_safetensors_writer *w, nx_str *out);
bool nx_safetensors_writer_data(nx_safetensors_writer *w, const void *bytes, size_t n);
bool nx_safetensors_writer_finish(nx_safetensors_writer *w);

#endif
