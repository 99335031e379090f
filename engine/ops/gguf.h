/*
 * gguf.h: builders over matrices of GGUF blocks (include/nexus/engine.h says what they do). w is
 * uint8 [N, row bytes]; type is the number in the file, NX_GGUF_REPACKED added for our tile order.
 */
#ifndef NX_OPS_GGUF_H
#define NX_OPS_GGUF_H

#include "engine/core/array.h"

enum { NX_GGUF_REPACKED = 0x10000, NX_GGUF_AFFINE = 0x20000 };

bool nx_gguf_supports(int type);
bool nx_gguf_should_repack(int type, int64_t rows, int64_t columns);
nx_array *nx_gguf_matmul(nx_array *x, nx_array *w, int type, nx_stream *s);
/* x by n matrices (up to NX_GGUF_MATRICES), each of its own type and rows; false after nx_fail. */
bool nx_gguf_products(nx_array *x, nx_array *const *w, const int *types, int n, nx_stream *s, nx_array **out);
/* indices NULL: all rows. */
nx_array *nx_gguf_take(nx_array *w, int type, nx_array *indices, nx_dtype dtype, nx_stream *s);
nx_array *nx_gguf_repack(nx_array *w, int type, nx_stream *s);
/* The type of an affine matrix of these settings once it is repacked; 0: it cannot be. */
int nx_affine_type(int bits, int group_size, nx_dtype scales);
nx_array *nx_affine_repack(nx_array *w, nx_array *scales, nx_array *biases, int group_size, int bits,
                           nx_stream *s);

#endif
