/*
 * rope.h: builders of rotary position embedding.
 *
 * x is [B, ..., T, D] with three dimensions or more; the first `dims` elements of D are turned, in
 * pairs, by scale * position * frequency. Position t of sequence b is offset + t, or offset[b] + t.
 * Frequencies are base^(-2i/dims), or 1 / freqs[i] with freqs of dims / 2 elements. traditional:
 * pairs are neighbours; else element i goes with i + dims / 2.
 */
#ifndef NX_OPS_ROPE_H
#define NX_OPS_ROPE_H

#include "engine/core/array.h"

typedef struct {
    int dims;
    bool traditional;
    bool has_base; /* exactly one of base and freqs */
    float base;
    float scale;
    nx_array *freqs; /* NULL: none */
} nx_rope_options;

/* offset: an integer array, one number or one for each of B sequences. */
nx_array *nx_rope(nx_array *x, const nx_rope_options *o, nx_array *offset, nx_stream *s);
nx_array *nx_rope_at(nx_array *x, const nx_rope_options *o, int offset, nx_stream *s);

#endif
