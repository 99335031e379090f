/*
 * attention.h: builders of attention. q [B, H, L, D], k [B, Hkv, S, D], v [B, Hkv, S, Dv]; the result
 * is [B, H, L, Dv]. H is a multiple of Hkv: neighbouring heads share keys and values.
 */
#ifndef NX_OPS_ATTENTION_H
#define NX_OPS_ATTENTION_H

#include "engine/core/array.h"

/* As mlx_fast_scaled_dot_product_attention: mask_mode "", "causal" or "array"; mask and sinks may be
 * NULL. */
nx_array *nx_scaled_dot_product_attention(nx_array *q, nx_array *k, nx_array *v, float scale,
                                          const char *mask_mode, nx_array *mask, nx_array *sinks,
                                          nx_stream *s);

/* Over a cache whose types need not be q's, with the number of keys that count of each sequence
 * (int32 [B], or NULL) and a window (0: none); see include/nexus/engine.h. */
nx_array *nx_cache_attention(nx_array *q, nx_array *k, nx_array *v, float scale, nx_array *lengths,
                             bool causal, int window, nx_array *sinks, nx_stream *s);

/* The same over keys and values of nx_cache_pack: uint8 [B, Hkv, S, row bytes], values of v_dim numbers. */
nx_array *nx_packed_attention(nx_array *q, nx_array *k, nx_array *v, int bits, int v_dim, float scale,
                              nx_array *lengths, bool causal, int window, nx_array *sinks, nx_stream *s);

#endif
