/*
 * state_scan.c: StateScan: an extension of ours: the recurrence of state spaces and delta rules, a
 * token after the other:  S = S * decay + (S a) b' + v k';  y = S q.
 *
 * Mamba has no a and b. The gated delta rule, S = w S + beta (v - w S k) k', is a = -beta w k, b =
 * k and beta v for v.
 */
#include "engine/ops/state_scan.h"

#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/prims.h"

enum { STATE, DECAY, K, V, Q, A, B }; /* inputs; A and B may lack */

static bool infer(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    nx_spec_like(&out[0], in[STATE], NX_FLOAT32);
    nx_spec_like(&out[1], in[V], NX_FLOAT32);
    return true;
}

const nx_prim nx_prim_StateScan = {
    .name = "StateScan",
    .id = NX_PRIM_StateScan,
    .flags = NX_PRIM_NO_GRAD | NX_PRIM_VMAP_SLICES,
    .row_inputs = 0x7f,
    .infer = infer,
};

#define SHAPE(x) nx_shape_text((x)->shape, (x)->ndim)

static bool check_floats(nx_array *const *in, int n)
{
    for (int i = 0; i < n; i++)
        if (!nx_dtype_in((nx_dtype)in[i]->dtype, NX_FLOATS))
            return nx_fail("[state_scan] floating types are scanned, not %s",
                           nx_dtype_name((nx_dtype)in[i]->dtype));
    return true;
}

static bool check_shapes(nx_array *const *in, int n)
{
    const nx_array *state = in[STATE], *decay = in[DECAY], *v = in[V];
    if (state->ndim != 3 || v->ndim != 3 || v->shape[1] != state->shape[0] ||
        v->shape[2] != state->shape[1])
        return nx_fail("[state_scan] a state %s takes no values %s", SHAPE(state), SHAPE(v));
    int t = v->shape[0], h = state->shape[0], width = state->shape[2];
    bool decays = (decay->ndim == 2 || (decay->ndim == 3 && decay->shape[2] == width)) &&
                  decay->shape[0] == t && decay->shape[1] == h;
    if (!decays)
        return nx_fail("[state_scan] a decay %s is none of %d tokens and states %s", SHAPE(decay),
                       t, SHAPE(state));
    for (int i = K; i < n; i++) {
        const nx_array *x = in[i];
        if (i != V && (x->ndim != 3 || x->shape[0] != t || x->shape[2] != width ||
                       x->shape[1] < 1 || h % x->shape[1] != 0))
            return nx_fail("[state_scan] vectors %s do not serve %d tokens and states %s", SHAPE(x),
                           t, SHAPE(state));
    }
    return true;
}

bool nx_state_scan_of(const nx_state_scan *from, nx_stream *s, nx_array **out)
{
    nx_array *in[] = {from->state, from->decay, from->k, from->v, from->q, from->a, from->b};
    int n = from->a || from->b ? B + 1 : A;
    for (int i = 0; i < A; i++)
        if (!in[i])
            return false;
    if (!from->a != !from->b)
        return nx_fail("[state_scan] a and b come together");
    if (!check_floats(in, n) || !check_shapes(in, n))
        return false;
    for (int i = 0; i < n; i++)
        in[i] = nx_astype(in[i], NX_FLOAT32, s);
    return nx_op_n(&nx_prim_StateScan, NULL, in, n, s, out, 2);
}
