/*
 * blocks.h: rows of numbers as GGUF blocks: the encoders. Decoding is the engine's.
 */
#ifndef NX_RUNTIME_CONVERT_BLOCKS_H
#define NX_RUNTIME_CONVERT_BLOCKS_H

#include <stdbool.h>

/* Whether blocks of the type (an nx_ggml_id) can be written: F32, F16, BF16, Q4_0 to Q8_0, Q2_K to Q6_K. */
bool blocks_known(int type);
/* A row of `cols` numbers, a multiple of the type's block. importance: a weight a column, or NULL. */
void blocks_encode(int type, const float *x, int cols, const float *importance, unsigned char *out);
/* `rows` of them, on all processors. */
void blocks_encode_rows(int type, const float *x, int rows, int cols, const float *importance,
                        unsigned char *out);

#endif
