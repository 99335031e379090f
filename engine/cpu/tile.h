/*
 * tile.h: tile functions: one loop over contiguous elements for each elementwise operation and type.
 * Whoever walks arrays hands them pieces that lie in cache; fused kernels chain them.
 */
#ifndef NX_CPU_TILE_H
#define NX_CPU_TILE_H

#include <stdint.h>

#include "engine/core/dtype.h"
#include "engine/cpu/isa.h"

typedef enum {
#define NX_ELEM1(name, ...) NX_TILE_##name,
#define NX_ELEM2(name, ...) NX_TILE_##name,
#define NX_TILE1(name, ...) NX_TILE_##name,
#define NX_TILE2(name, ...) NX_TILE_##name,
#include "engine/ops/elementwise.def"
    NX_TILE_Select,
    NX_TILE_COUNT
} nx_tile_id;

/* n elements of each input to n of the output. The output may be one of the inputs. Half types come
 * as float: the caller converts (half_tile.h). */
typedef void (*nx_tile_fn)(int64_t n, const void *const *in, void *out);

enum { NX_TILE = 512 }; /* elements: three inputs and an output of any type stay in the first cache */

/* The function for inputs of this type (of the last input, for Select); NULL: there is none. */
nx_tile_fn NX_FN(tile_function)(nx_tile_id id, nx_dtype dtype);

/* n elements with steps in elements, converted. */
typedef void (*nx_convert_fn)(int64_t n, const void *from, int64_t from_step, void *to, int64_t to_step);
nx_convert_fn NX_FN(convert_function)(nx_dtype from, nx_dtype to); /* copy_tmpl.c */

/* The iterations of the next loop do not touch each other's elements. */
#if defined(__clang__)
#define NX_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define NX_INDEPENDENT _Pragma("GCC ivdep")
#endif

#endif
