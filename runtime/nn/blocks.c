#include "runtime/nn/blocks.h"

#include <math.h>

#include "base/error.h"

mlx_array nn_norm(nn *c, const nn_norm_kind *n, mlx_array x, nn_weight *weight, nn_weight *bias)
{
    mlx_array w = nn_vector(c, weight);
    if (!n->centred)
        return nn_rms_norm(c, x, w, n->eps);
    return nn_layer_norm(c, x, w, bias ? nn_vector(c, bias) : (mlx_array){0}, n->eps);
}

/* ---- attention -------------------------------------------------------------------------------- */

void nn_qkv(nn *c, const nn_attention *a, nn_attention_weights *w, mlx_array x, mlx_array *q,
            mlx_array *k, mlx_array *v)
{
    if (w->qkv.form == NN_ABSENT) {
        mlx_array y[3];
        nn_linears(c, x, (nn_weight *[]){&w->q, &w->k, &w->v}, (nn_weight *[]){&w->q_bias, &w->k_bias, &w->v_bias}, 3,
                   y);
        *q = y[0], *k = y[1], *v = y[2];
        return;
    }
    int nq = a->n_heads * a->head_dim, nk = a->n_kv_heads * a->head_dim;
    mlx_array all = nn_linear(c, x, &w->qkv, &w->qkv_bias);
    if (a->grouped && !c->failed) {
        int t = mlx_array_dim(x, 0), share = a->n_heads / a->n_kv_heads;
        all = nn_reshape(c, all, (int[]){t, a->n_kv_heads, share + 2, a->head_dim}, 4);
        *q = nn_reshape(c, nn_slice(c, all, 2, 0, share), (int[]){t, nq}, 2);
        *k = nn_reshape(c, nn_slice(c, all, 2, share, share + 1), (int[]){t, nk}, 2);
        *v = nn_reshape(c, nn_slice(c, all, 2, share + 1, share + 2), (int[]){t, nk}, 2);
        return;
    }
    *q = nn_slice(c, all, -1, 0, nq);
    *k = nn_slice(c, all, -1, nq, nq + nk);
    *v = nn_slice(c, all, -1, nq + nk, nq + 2 * nk);
}

/* Norm of x [T, heads * dim] by head, or of all heads at once: as long as the weight is. */
static mlx_array head_norm(nn *c, const nn_norm_kind *kind, mlx_array x, nn_weight *w, int heads, int dim)
{
    if (w->form == NN_ABSENT || c->failed)
        return x;
    if (w->rows == 1 && w->cols == heads * dim && heads > 1)
        return nn_norm(c, kind, x, w, NULL);
    int t = mlx_array_dim(x, 0);
    mlx_array split = nn_reshape(c, x, (int[]){t, heads, dim}, 3);
    if (w->rows == heads && heads > 1) /* a norm for each head */
        split = nn_mul(c, nn_norm(c, kind, split, &(nn_weight){0}, NULL), nn_vector(c, w));
    else
        split = nn_norm(c, kind, split, w, NULL);
    return nn_reshape(c, split, (int[]){t, heads * dim}, 2);
}

mlx_array nn_attention_block(nn *c, const nn_attention *a, const nn_norm_kind *norm,
                             nn_attention_weights *w, const nn_batch *b, int layer, mlx_array x)
{
    mlx_array q, k, v;
    nn_qkv(c, a, w, x, &q, &k, &v);
    q = head_norm(c, norm, q, &w->q_norm, a->n_heads, a->head_dim);
    k = head_norm(c, norm, k, &w->k_norm, a->n_kv_heads, a->head_dim);
    nn_attention with = *a;
    with.turned_q_norm = nn_vector(c, &w->turned_q_norm);
    with.turned_k_norm = nn_vector(c, &w->turned_k_norm);
    with.turned_eps = norm->eps;
    mlx_array y = nn_attend(c, &with, b, layer, q, k, v, nn_vector(c, &w->sinks));
    return nn_linear(c, y, &w->o, &w->o_bias);
}

/* ---- feed-forward ----------------------------------------------------------------------------- */

mlx_array nn_mlp(nn *c, nn_act act, nn_mlp_weights *w, mlx_array x)
{
    mlx_array gate = {0}, up;
    if (w->gate_up.form != NN_ABSENT) {
        int n = w->gate_up.rows / 2;
        mlx_array both = nn_linear(c, x, &w->gate_up, NULL);
        gate = nn_slice(c, both, -1, 0, n);
        up = nn_slice(c, both, -1, n, 2 * n);
    } else if (w->gate.form != NN_ABSENT) {
        mlx_array y[2];
        nn_linears(c, x, (nn_weight *[]){&w->gate, &w->up}, (nn_weight *[]){&w->gate_bias, &w->up_bias}, 2, y);
        gate = y[0], up = y[1];
    } else {
        up = nn_linear(c, x, &w->up, &w->up_bias);
    }
    mlx_array h = gate.ctx ? nn_gated(c, act, gate, up) : nn_activate(c, act, up);
    return nn_linear(c, h, &w->down, &w->down_bias);
}

/* ---- experts ---------------------------------------------------------------------------------- */

/* Places of the n largest along the last axis of x [.., E]. */
static mlx_array largest(nn *c, mlx_array x, int n)
{
    if (c->failed)
        return x;
    int axis = (int)mlx_array_ndim(x) - 1;
    mlx_array negative = NN_CALL(c, mlx_negative, x);
    return nn_slice(c, NN_CALL(c, mlx_argsort_axis, negative, axis), axis, 0, n);
}

/* Scores of experts outside the best groups become 0. */
static mlx_array best_groups(nn *c, const nn_router *r, mlx_array scores)
{
    if (r->groups <= 1 || c->failed)
        return scores;
    int t = mlx_array_dim(scores, 0), e = mlx_array_dim(scores, 1), each = e / r->groups;
    mlx_array split = nn_reshape(c, scores, (int[]){t, r->groups, each}, 3);
    mlx_array worth;
    if (r->group_by_two)
        worth = NN_CALL(c, mlx_sum_axis, NN_CALL(c, mlx_topk_axis, split, 2, 2), 2, false);
    else
        worth = NN_CALL(c, mlx_max_axis, split, 2, false); /* [T, groups] */
    mlx_array order = NN_CALL(c, mlx_argsort_axis, worth, 1);
    mlx_array place = NN_CALL(c, mlx_argsort_axis, order, 1); /* of each group, from the worst */
    mlx_array least = nn_number(c, (float)(r->groups - r->top_groups), MLX_UINT32);
    mlx_array kept = NN_CALL(c, mlx_greater_equal, place, least);
    kept = nn_reshape(c, kept, (int[]){t, r->groups, 1}, 3);
    split = NN_CALL(c, mlx_where, kept, split, nn_number(c, 0, MLX_FLOAT32));
    return nn_reshape(c, split, (int[]){t, e}, 2);
}

/* One expert a round: the best of those left, weighed among those nearly as good. left [T, E] loses it. */
static void choose_in_band(nn *c, const nn_router *r, mlx_array logits, mlx_array *left, mlx_array *id,
                           mlx_array *weight)
{
    mlx_array never = nn_number(c, -INFINITY, MLX_FLOAT32);
    mlx_array best = NN_CALL(c, mlx_max_axis, *left, 1, true); /* [T, 1] */
    *id = NN_CALL(c, mlx_argmax_axis, *left, 1, true);
    mlx_array scale = NN_CALL(c, mlx_maximum, NN_CALL(c, mlx_abs, logits), best);
    mlx_array behind = NN_CALL(c, mlx_divide, NN_CALL(c, mlx_subtract, best, logits), scale);
    mlx_array far = NN_CALL(c, mlx_greater, behind, nn_number(c, r->band, MLX_FLOAT32));
    mlx_array rivals = NN_CALL(c, mlx_where, far, never, *left);
    *weight = NN_CALL(c, mlx_take_along_axis, NN_CALL(c, mlx_softmax_axis, rivals, -1, true), *id, 1);
    *left = NN_CALL(c, mlx_put_along_axis, *left, *id, never, 1);
}

static void route_in_rounds(nn *c, const nn_router *r, mlx_array logits, mlx_array *ids,
                            mlx_array *weights)
{
    mlx_array id[NN_ROUNDS_MOST], weight[NN_ROUNDS_MOST], left = logits;
    int n = r->top < NN_ROUNDS_MOST ? r->top : NN_ROUNDS_MOST;
    for (int i = 0; i < n; i++)
        choose_in_band(c, r, logits, &left, &id[i], &weight[i]);
    *ids = nn_concat(c, id, n, 1);
    *weights = nn_concat(c, weight, n, 1);
}

void nn_route(nn *c, const nn_router *r, mlx_array logits, nn_weight *correction, mlx_array *ids,
              mlx_array *weights)
{
    if (r->band > 0) {
        route_in_rounds(c, r, nn_astype(c, logits, MLX_FLOAT32), ids, weights);
        return;
    }
    mlx_array scores = logits;
    if (r->sigmoid)
        scores = NN_CALL(c, mlx_sigmoid, logits);
    else if (!r->late)
        scores = NN_CALL(c, mlx_softmax_axis, logits, -1, true);
    mlx_array ranked = scores;
    if (correction && correction->form != NN_ABSENT)
        ranked = nn_add(c, scores, nn_vector(c, correction));
    *ids = largest(c, best_groups(c, r, ranked), r->top);
    *weights = NN_CALL(c, mlx_take_along_axis, scores, *ids, -1);
    if (r->late)
        *weights = NN_CALL(c, mlx_softmax_axis, *weights, -1, true);
    if (r->normalised) {
        mlx_array sum = NN_CALL(c, mlx_sum_axis, *weights, -1, true);
        *weights = NN_CALL(c, mlx_divide, *weights, nn_shift(c, sum, 1e-20f));
    }
    *weights = nn_scale(c, *weights, r->scaling == 0 ? 1 : r->scaling);
}

/* gpt_oss: (up + 1) * gate * sigmoid(1.702 gate), both kept within 7 (the gate from above alone). */
static mlx_array clipped_gate(nn *c, mlx_array gate, mlx_array up)
{
    mlx_array most = nn_number(c, 7, MLX_FLOAT32), least = nn_number(c, -7, MLX_FLOAT32);
    gate = NN_CALL(c, mlx_minimum, gate, most);
    up = NN_CALL(c, mlx_clip, up, least, most);
    mlx_array swish = nn_mul(c, gate, NN_CALL(c, mlx_sigmoid, nn_scale(c, gate, 1.702f)));
    return nn_mul(c, nn_shift(c, up, 1), swish);
}

/* x [T, 1, D] through the chosen experts: [T, top, D] */
static mlx_array experts(nn *c, const nn_router *r, nn_mlp_weights *w, mlx_array x, mlx_array ids)
{
    mlx_array gate = {0}, up;
    if (w->gate_up.form != NN_ABSENT) {
        int n = w->gate_up.rows / 2, step = r->pairs ? 2 : 1;
        mlx_array both = nn_expert_linear(c, x, &w->gate_up, &w->gate_bias, ids);
        gate = nn_slice_step(c, both, -1, 0, r->pairs ? 2 * n : n, step);
        up = nn_slice_step(c, both, -1, r->pairs ? 1 : n, 2 * n, step);
    } else {
        if (w->gate.form != NN_ABSENT)
            gate = nn_expert_linear(c, x, &w->gate, &w->gate_bias, ids);
        up = nn_expert_linear(c, x, &w->up, &w->up_bias, ids);
    }
    mlx_array h = r->clipped ? clipped_gate(c, gate, up)
                  : gate.ctx ? nn_gated(c, r->act, gate, up)
                             : nn_activate(c, r->act, up);
    return nn_expert_linear(c, h, &w->down, &w->down_bias, ids);
}

static bool has_mlp(const nn_mlp_weights *w)
{
    return w->up.form != NN_ABSENT || w->gate_up.form != NN_ABSENT;
}

mlx_array nn_moe(nn *c, const nn_router *r, nn_moe_weights *w, mlx_array x)
{
    if (c->failed)
        return x;
    int t = mlx_array_dim(x, 0), d = mlx_array_dim(x, 1);
    mlx_array ids, weights;
    nn_route(c, r, nn_linear(c, x, &w->router, &w->router_bias), &w->correction, &ids, &weights);
    mlx_array each = experts(c, r, &w->experts, nn_reshape(c, x, (int[]){t, 1, d}, 3), ids);
    each = nn_mul(c, each, nn_reshape(c, weights, (int[]){t, r->top, 1}, 3));
    mlx_array y = NN_CALL(c, mlx_sum_axis, each, 1, false);
    if (!has_mlp(&w->shared))
        return y;
    mlx_array shared = nn_mlp(c, r->act, &w->shared, x);
    if (w->shared_gate.form != NN_ABSENT) {
        mlx_array g = nn_reshape(c, nn_vector(c, &w->shared_gate), (int[]){d, 1}, 2);
        g = NN_CALL(c, mlx_matmul, x, g); /* [T, 1] */
        shared = nn_mul(c, shared, NN_CALL(c, mlx_sigmoid, g));
    }
    return nn_add(c, y, shared);
}
