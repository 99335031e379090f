/* state_scan.h: the recurrence of layers that carry a state along a text. */
#ifndef NX_OPS_STATE_SCAN_H
#define NX_OPS_STATE_SCAN_H

#include "engine/core/array.h"

/* For every token: S = S * decay + (S a) b' + v k';  y = S q.
 * state [H, P, N]; decay [T, H] or [T, H, N]; v [T, H, P]; k, q, a, b [T, G, N], each G dividing H;
 * a and b NULL together: S = S * decay + v k'. */
typedef struct {
    nx_array *state, *decay, *k, *v, *q, *a, *b;
} nx_state_scan;

/* out[0]: the state after the last token, out[1]: y [T, H, P]; float32. */
bool nx_state_scan_of(const nx_state_scan *in, nx_stream *s, nx_array **out);

#endif
