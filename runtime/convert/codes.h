/*
 * codes.h: quantized weights as what most formats agree on: w = scale * code + minimum in groups of 32
 * (or more), so that a change of format can keep the codes.
 */
#ifndef NX_RUNTIME_CONVERT_CODES_H
#define NX_RUNTIME_CONVERT_CODES_H

#include "runtime/convert/items.h"

typedef struct {
    int bits, group;       /* of a code; numbers that share scale and minimum */
    unsigned char *codes;  /* [n, cols] */
    float *scales, *minimums; /* [n, cols / group] */
} codes;

/* Whether an item can be read so, and with which bits and group. */
bool codes_of(const item *t, int *bits, int *group);
/* Rows of the item, in the order they are stored in. Buffers are the caller's. */
bool codes_read(item *t, int64_t begin, int64_t n, codes *out);

/* Whether a GGUF type can hold such codes with these scales (as float16) exactly; minimums that are
 * -zero times the scale are what Q4_0 and its like mean. */
bool codes_fit(int type, const codes *c, size_t n_groups, size_t *rounded);
/* One row as blocks of Q4_0, Q4_1, Q5_0, Q5_1 or Q8_0. */
void codes_to_blocks(int type, const codes *c, size_t row, int cols, unsigned char *out);
/* One row of an mxfp4 part as GGUF's MXFP4: the same codes in another order, each scale before its own;
 * and back, to words [cols / 8] and scales [cols / 32]. */
void codes_mxfp4_blocks(const item_part *p, int64_t row, int64_t cols, unsigned char *out);
void codes_mxfp4_words(const unsigned char *blocks, int64_t cols, unsigned char *words, unsigned char *scales);
/* One row packed as MLX does it: `bits` a code, little end first. */
void codes_pack(const unsigned char *from, int cols, int bits, unsigned char *out);

#endif
