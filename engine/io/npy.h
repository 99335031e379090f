/*
 * npy.h: arrays from and to .npy files (the header itself: base/npy.h).
 */
#ifndef NX_IO_NPY_H
#define NX_IO_NPY_H

#include "base/npy.h"
#include "engine/core/array.h"

/* What the header of a row-major array of this shape and type says. */
void nx_npy_of(const nx_array *a, nx_npy *npy);

/* An array with room for the elements in the file's order (its strides say which): the caller reads
 * them into ->data, then calls nx_npy_finish, which puts the bytes of each into ours. */
nx_array *nx_npy_array_new(const nx_npy *npy, const char *name);
void nx_npy_finish(const nx_npy *npy, nx_array *a);

/* The array of a whole file. */
nx_array *nx_npy_load(const char *path);

#endif
