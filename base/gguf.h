/*
 * gguf.h: the GGUF file format (versions 2 and 3, little-endian) as a format: metadata and tensor
 * descriptions that point into the mapped file. No arrays of the engine here.
 *
 * Everything is checked when the file is opened: afterwards every pointer and length in the
 * structs below lies inside the mapping. An opened nx_gguf never changes, so any number of
 * threads may read it.
 */
#ifndef NX_BASE_GGUF_H
#define NX_BASE_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ggml_types.h"
#include "base/map.h"
#include "base/mmap.h"
#include "base/slice.h"
#include "base/str.h"

typedef enum {
    NX_GGUF_U8,
    NX_GGUF_I8,
    NX_GGUF_U16,
    NX_GGUF_I16,
    NX_GGUF_U32,
    NX_GGUF_I32,
    NX_GGUF_F32,
    NX_GGUF_BOOL,
    NX_GGUF_STR,
    NX_GGUF_ARRAY,
    NX_GGUF_U64,
    NX_GGUF_I64,
    NX_GGUF_F64,
    NX_GGUF_N_TYPES,
} nx_gguf_type;

/* "u32", "string" …, for messages; "unknown" for what is none. */
const char *nx_gguf_type_name(unsigned type);
/* Bytes of one scalar; 0 for strings and arrays. */
size_t nx_gguf_type_size(unsigned type);

typedef struct {
    const char *key;           /* NUL-terminated */
    nx_gguf_type type;         /* of the value; NX_GGUF_ARRAY: see item_type */
    nx_gguf_type item_type;    /* type of the items; the value's own type when it is no array */
    uint64_t count;            /* items; 1 when it is no array */
    const unsigned char *data; /* first item, as in the file: little-endian, not aligned; each
                                  string is its length (u64) and its bytes */
    size_t bytes;              /* of all items */
} nx_gguf_kv;

/* GGML's own tensors have four dimensions at most; MLX writes up to eight. */
enum { NX_GGUF_MAX_NDIM = 8 };

typedef struct {
    const char *name; /* NUL-terminated */
    const nx_ggml_type *type;
    int ndim;          /* 0 to NX_GGUF_MAX_NDIM */
    uint64_t ne[NX_GGUF_MAX_NDIM]; /* elements, innermost (contiguous) dimension first; 1 beyond ndim */
    uint64_t elements; /* product of ne */
    uint64_t offset;   /* from the start of the file, in bytes */
    uint64_t bytes;
    const unsigned char *data; /* in the mapping, aligned as the file's alignment says;
                                  NULL if only the header was parsed */
} nx_gguf_tensor;

/* Read only for users. */
typedef struct {
    nx_mapping *file;
    uint32_t version;
    uint32_t alignment;   /* bytes, a power of two */
    uint64_t data_offset; /* where the tensors begin */
    size_t n_kv, n_tensors;
    nx_gguf_kv *kv; /* in the order of the file */
    nx_gguf_tensor *tensors;
    nx_map kv_index, tensor_index; /* name -> position */
} nx_gguf;

/* NULL with an error that names the file and what is wrong with it. */
nx_gguf *nx_gguf_open(const char *path);
nx_gguf *nx_gguf_open_mapping(nx_mapping *m); /* takes a reference of its own */
/* From the beginning of a file of file_bytes, which the caller keeps alive: enough for metadata and
 * descriptions when it holds the whole header (else an error: try with more). Tensors whose data
 * lie beyond it have data NULL. */
nx_gguf *nx_gguf_parse(const void *beginning, size_t n, uint64_t file_bytes, const char *name);
void nx_gguf_free(nx_gguf *g);                /* the mapping lives on while others refer to it */

/* ---- metadata ---- */

/* NULL if there is none. The second builds the key: nx_gguf_findf(g, "%s.block_count", arch). */
const nx_gguf_kv *nx_gguf_find(const nx_gguf *g, const char *key);
const nx_gguf_kv *nx_gguf_findf(const nx_gguf *g, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The value of a scalar. The fallback where kv is NULL, an array, or of a type or value that does
 * not convert exactly (-1 to u64, 0.5 to i64, a string to a number, 1 to bool). Any number goes to
 * f64; integers of any width go to u64 and i64, floats with an integral value too. */
uint64_t nx_gguf_u64(const nx_gguf_kv *kv, uint64_t fallback);
int64_t nx_gguf_i64(const nx_gguf_kv *kv, int64_t fallback);
double nx_gguf_f64(const nx_gguf_kv *kv, double fallback);
bool nx_gguf_bool(const nx_gguf_kv *kv, bool fallback);
nx_slice nx_gguf_str(const nx_gguf_kv *kv); /* data NULL where kv is NULL or no string */

/* The same by key. */
uint64_t nx_gguf_get_u64(const nx_gguf *g, const char *key, uint64_t fallback);
int64_t nx_gguf_get_i64(const nx_gguf *g, const char *key, int64_t fallback);
double nx_gguf_get_f64(const nx_gguf *g, const char *key, double fallback);
bool nx_gguf_get_bool(const nx_gguf *g, const char *key, bool fallback);
nx_slice nx_gguf_get_str(const nx_gguf *g, const char *key);

/* Item i of an array of numbers or bools (or a scalar, as an array of one item). The fallback as
 * above, and for i past the end. */
uint64_t nx_gguf_item_u64(const nx_gguf_kv *kv, uint64_t i, uint64_t fallback);
int64_t nx_gguf_item_i64(const nx_gguf_kv *kv, uint64_t i, int64_t fallback);
double nx_gguf_item_f64(const nx_gguf_kv *kv, uint64_t i, double fallback);
bool nx_gguf_item_bool(const nx_gguf_kv *kv, uint64_t i, bool fallback);

/* An array of strings with each item at hand: the strings stay in the mapping, the table of where
 * they begin is the caller's. */
typedef struct {
    size_t n;
    const unsigned char **at; /* of each string's length field */
} nx_gguf_strings;

/* False (with an error that names the key) when kv is NULL or no array of strings. */
bool nx_gguf_strings_init(nx_gguf_strings *s, const nx_gguf_kv *kv, const char *key);
nx_slice nx_gguf_strings_at(const nx_gguf_strings *s, size_t i);
void nx_gguf_strings_clear(nx_gguf_strings *s);

/* ---- tensors ---- */

const nx_gguf_tensor *nx_gguf_tensor_find(const nx_gguf *g, const char *name); /* NULL if none */

/* ---- models split over several files ---- */

/* Position and number of parts: 0 of 1 for a file that is not split. */
void nx_gguf_split(const nx_gguf *g, uint32_t *no, uint32_t *count);
/* The path of part no (from 0), made from the path of any part: "m-00001-of-00003.gguf".
 * False with an error when path is not named so or says another count. */
bool nx_gguf_split_path(nx_str *out, const char *path, uint32_t no, uint32_t count);

/* ---- writing ---- */

/* Order of calls: new; metadata and tensors in any mix; data for the tensors, in the order they
 * were declared, in pieces of any size; finish; free. The file appears under its name at finish,
 * whole; freed before, it leaves nothing behind. Metadata calls record a first error (a duplicate
 * key) which later calls and finish report. */
typedef struct nx_gguf_writer nx_gguf_writer;

nx_gguf_writer *nx_gguf_writer_new(const char *path); /* NULL with an error: cannot be created */
void nx_gguf_writer_free(nx_gguf_writer *w);
/* Alignment of tensor data: a power of two from 8 (32 unless told). Also writes
 * general.alignment. Before the first tensor. */
bool nx_gguf_writer_alignment(nx_gguf_writer *w, uint32_t alignment);

bool nx_gguf_writer_u32(nx_gguf_writer *w, const char *key, uint32_t v);
bool nx_gguf_writer_u64(nx_gguf_writer *w, const char *key, uint64_t v);
bool nx_gguf_writer_i32(nx_gguf_writer *w, const char *key, int32_t v);
bool nx_gguf_writer_f32(nx_gguf_writer *w, const char *key, float v);
bool nx_gguf_writer_bool(nx_gguf_writer *w, const char *key, bool v);
bool nx_gguf_writer_str(nx_gguf_writer *w, const char *key, nx_slice v);
/* Any scalar type, and arrays of scalars; values in the host's order, densely packed. */
bool nx_gguf_writer_scalar(nx_gguf_writer *w, const char *key, nx_gguf_type type, const void *v);
bool nx_gguf_writer_array(nx_gguf_writer *w, const char *key, nx_gguf_type item_type,
                          const void *items, uint64_t n);
bool nx_gguf_writer_strings(nx_gguf_writer *w, const char *key, const nx_slice *items, uint64_t n);
/* Copies a value from another file. */
bool nx_gguf_writer_kv(nx_gguf_writer *w, const nx_gguf_kv *kv);

/* ne as in nx_gguf_tensor: innermost dimension first. */
bool nx_gguf_writer_tensor(nx_gguf_writer *w, const char *name, const nx_ggml_type *type, int ndim,
                           const uint64_t *ne);
bool nx_gguf_writer_data(nx_gguf_writer *w, const void *bytes, size_t n);
bool nx_gguf_writer_finish(nx_gguf_writer *w);

#endif
