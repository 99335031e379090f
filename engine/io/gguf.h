/*
 * gguf.h: arrays from and to GGUF files, as MLX has them (the format itself: base/gguf.h).
 *
 * Plain numbers stay what they are, bfloat16 becomes float16. Blocks of 4 and 8 bits become what
 * mlx_quantized_matmul takes, in groups of 32 (a tensor "x.weight" three arrays: x.weight, x.scales,
 * x.biases); other blocks are expanded to float16.
 */
#ifndef NX_IO_GGUF_H
#define NX_IO_GGUF_H

#include "base/gguf.h"
#include "engine/core/array.h"

typedef struct {
    int n; /* 1, or 3: codes, scales, biases */
    nx_str name[3];
    nx_array *array[3]; /* owned by the build scope; expanded blocks are lazy */
} nx_gguf_arrays;

/* False after nx_fail; nx_gguf_arrays_clear afterwards in any case. */
bool nx_gguf_arrays_of(nx_gguf_arrays *out, const nx_gguf *file, const nx_gguf_tensor *t);
void nx_gguf_arrays_clear(nx_gguf_arrays *a);

/* A number or a list of numbers of the metadata, with 0 dimensions or 1. */
nx_array *nx_gguf_numbers(const nx_gguf_kv *kv);

/* Metadata from an array with 0 dimensions or 1, evaluated and row-major. */
bool nx_gguf_writer_numbers(nx_gguf_writer *w, const char *key, const nx_array *a);
/* Announces a tensor of an array's name, type and shape. */
bool nx_gguf_writer_declare(nx_gguf_writer *w, const char *name, const nx_array *a);

#endif
