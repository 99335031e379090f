/* step_attention.h: a step of many texts, a token each, over caches of their own. */
#ifndef NX_OPS_STEP_ATTENTION_H
#define NX_OPS_STEP_ATTENTION_H

#include "engine/core/array.h"

/* q [N, H, 1, D]; k [N, Hkv, 1, D] and v [N, Hkv, 1, Dv], of floating types, or packed (cache.h) like
 * the caches. caches: keys and values of each text by turns, [1, Hkv, room, D or Dv], all of one type,
 * to which k and v are brought. places [N], integers: the row of its caches at which a text's key and
 * value are put; it sees the rows up to that one. bits, v_dim: of packed caches, and the numbers of a
 * value; 0. sinks: [H], or NULL. */
typedef struct {
    nx_array *q, *k, *v, *places, *sinks;
    nx_array *const *caches;
    int n_caches; /* 2 N */
    float scale;
    int window;
    int bits, v_dim;
} nx_step_attention;

/* out[0]: [N, H, 1, Dv] of q's type; then the caches with the new rows, in the memory of the old ones
 * where nobody else needs those. */
bool nx_step_attention_of(const nx_step_attention *in, nx_stream *s, nx_array **out);

#endif
