/*
 * export.h: traced functions in files, as MLX writes and reads them (.mlxfn).
 *
 * A file holds traces of one function, one a signature: the shapes and types of its inputs (of a
 * shapeless file: the numbers of dimensions), of which the last may have names. All numbers are
 * little-endian; a list is its length (64 bits) and its items, a string a list of bytes, a type its
 * number (32 bits) and its size (8 bits):
 *
 *     file       version of MLX (string), number of traces (32 bits), shapeless (8 bits), traces
 *     trace      names of the named inputs (list of strings), ids of the inputs (list), for each a
 *                shape and a type (list), ids of the outputs (list), entries (list)
 *     entry      id, then 1 and an operation, or 0 and 1 and a constant, or 0 and 0 for an input
 *     operation  ids of its inputs (list), stream (index, kind of device, device: 32 bits each),
 *                class (string), state, number of outputs beside the first (64 bits): if none, a shape
 *                and a type, else lists of all ids, shapes and types
 *     constant   shape, type and elements; nothing where an earlier trace has the id
 *
 * Classes and states are in the primitives' descriptors (core/prim.h).
 */
#ifndef NX_GRAPH_EXPORT_H
#define NX_GRAPH_EXPORT_H

#include "engine/core/prim.h"
#include "engine/graph/function.h"

/* ---- writing -------------------------------------------------------------------------------- */

typedef struct nx_exporter nx_exporter;

nx_exporter *nx_exporter_new(const char *path, bool shapeless); /* NULL after nx_fail */
/* Traces f on inputs like these, n of which the last n_names have names (ascending), and adds it.
 * False after nx_fail; the file then lacks this trace alone. */
bool nx_exporter_add(nx_exporter *e, nx_function f, nx_array *const *in, size_t n,
                     const char *const *names, size_t n_names);
/* The file appears, whole. Nothing can be added after that. */
bool nx_exporter_finish(nx_exporter *e);
void nx_exporter_free(nx_exporter *e); /* NULL is fine */

/* ---- reading -------------------------------------------------------------------------------- */

typedef struct nx_imported nx_imported;

nx_imported *nx_import(const char *path); /* NULL after nx_fail */
nx_imported *nx_import_bytes(const void *bytes, size_t n, const char *name);
void nx_imported_free(nx_imported *f); /* NULL is fine */
/* The trace whose signature the inputs have, on them; outputs, owned by the build scope, appended. */
bool nx_imported_call(const nx_imported *f, nx_array *const *in, size_t n, const char *const *names,
                      size_t n_names, nx_array_vec *out);

/* A trace's inputs, as the function was traced, and the most elements any of its arrays had then. */
typedef struct {
    size_t n, n_names;
    const nx_spec *specs;     /* [n] */
    const char *const *names; /* [n_names], of the last inputs */
    int64_t largest;
} nx_trace_info;

size_t nx_imported_traces(const nx_imported *f);
nx_trace_info nx_imported_trace(const nx_imported *f, size_t i);

#endif
