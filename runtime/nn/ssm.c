#include "runtime/nn/ssm.h"

#include <stdlib.h>

#include "base/error.h"
#include "runtime/nn/engine.h"

mlx_array nn_short_conv(nn *c, const nn_segment *g, int layer, int state, mlx_array x, mlx_array w,
                        mlx_array bias, int k)
{
    if (c->failed)
        return x;
    int t = g->count, channels = mlx_array_dim(x, 1);
    mlx_array before = nn_cache_state(c, g->cache, layer, state); /* [1, K - 1, C] */
    before = nn_reshape(c, before, (int[]){k - 1, channels}, 2);
    mlx_array all = nn_concat(c, (mlx_array[]){before, x}, 2, 0);
    mlx_array taps = nn_transpose(c, nn_reshape(c, w, (int[]){channels, k}, 2), (int[]){1, 0}, 2);
    mlx_array sum = bias;
    for (int i = 0; i < k; i++) {
        mlx_array part = nn_mul(c, nn_rows(c, all, i, i + t), nn_rows(c, taps, i, i + 1));
        sum = sum.ctx ? nn_add(c, sum, part) : part;
    }
    mlx_array last = nn_reshape(c, nn_rows(c, all, t, t + k - 1), (int[]){1, k - 1, channels}, 3);
    nn_cache_set_state(c, g->cache, layer, state, t, last);
    return sum;
}

/* ---- the recurrence --------------------------------------------------------------------------- */

/* Row i of x [T, …], shaped. */
static mlx_array row(nn *c, mlx_array x, int i, int a, int b, int d)
{
    return nn_reshape(c, nn_rows(c, x, i, i + 1), (int[]){a, b, d}, 3);
}

/* x [T, G, N] for each of h heads. */
static mlx_array for_heads(nn *c, mlx_array x, int h)
{
    int groups = mlx_array_dim(x, 1);
    return groups == h ? x : NN_CALL(c, mlx_repeat_axis, x, h / groups, 1);
}

/* Without the engine's extension: a few operations a token. */
static mlx_array scan_by_token(nn *c, nn_recurrence r, mlx_array *state)
{
    if (c->failed)
        return r.v;
    int t = mlx_array_dim(r.v, 0), h = mlx_array_dim(r.v, 1), p = mlx_array_dim(r.v, 2);
    int n = mlx_array_dim(r.k, 2), columns = mlx_array_ndim(r.decay) == 3 ? n : 1;
    mlx_array *each[] = {&r.k, &r.q, &r.a, &r.b};
    for (int i = 0; i < (r.a.ctx ? 4 : 2); i++)
        *each[i] = for_heads(c, *each[i], h);
    mlx_array *rows = nx_malloc((size_t)t * sizeof *rows);
    for (int i = 0; i < t; i++) {
        mlx_array next = nn_mul(c, *state, row(c, r.decay, i, h, 1, columns));
        if (r.a.ctx)
            next = nn_add(c, next, nn_mul(c, NN_CALL(c, mlx_matmul, *state, row(c, r.a, i, h, n, 1)),
                                          row(c, r.b, i, h, 1, n)));
        *state = nn_add(c, next, nn_mul(c, row(c, r.v, i, h, p, 1), row(c, r.k, i, h, 1, n)));
        rows[i] = nn_reshape(c, NN_CALL(c, mlx_matmul, *state, row(c, r.q, i, h, n, 1)), (int[]){1, h, p}, 3);
    }
    mlx_array y = nn_concat_rows(c, rows, t);
    free(rows);
    return y;
}

static mlx_array scan_by_engine(nn *c, const nn_recurrence *r, mlx_array *state)
{
    mlx_array last = mlx_array_new(), y = mlx_array_new();
    int status = c->failed ? 1 : engine_extensions()->state_scan(&last, &y, *state, r->decay, r->k, r->v, r->q,
                                                                 r->a, r->b, c->s);
    *state = nn_own(c, status, last);
    return nn_own(c, status, y);
}

mlx_array nn_recur(nn *c, const nn_segment *g, int layer, int index, const nn_recurrence *r)
{
    mlx_array state = nn_cache_state(c, g->cache, layer, index);
    mlx_array y = engine_extensions() ? scan_by_engine(c, r, &state) : scan_by_token(c, *r, &state);
    nn_cache_set_state(c, g->cache, layer, index, g->count, state);
    return y;
}

/* ---- Mamba 2 ---------------------------------------------------------------------------------- */

int nn_mamba2_inner(const nn_mamba2 *m)
{
    return m->heads * m->head_dim;
}

int nn_mamba2_channels(const nn_mamba2 *m)
{
    return nn_mamba2_inner(m) + 2 * m->groups * m->state;
}

bool nn_mamba2_check(const nn_mamba2 *m, const char *who)
{
    int most = 1 << 16;
    bool ok = m->heads > 0 && m->heads < most && m->head_dim > 0 && m->head_dim < most &&
              m->groups > 0 && m->groups <= m->heads && m->heads % m->groups == 0 && m->state > 0 &&
              m->state < most && m->conv > 1 && m->conv < 256 &&
              (int64_t)m->heads * m->head_dim < 1 << 24 && (int64_t)m->groups * m->state < 1 << 24;
    return ok || nx_fail("[%s] %d heads of %d in %d groups, states of %d and %d taps make no state "
                         "space", who, m->heads, m->head_dim, m->groups, m->state, m->conv);
}

void nn_mamba2_cache(const nn_mamba2 *m, nn_cache_shape *shape)
{
    int *conv = shape->state[0], *state = shape->state[1];
    conv[0] = 1;
    conv[1] = m->conv - 1;
    conv[2] = nn_mamba2_channels(m);
    state[0] = m->heads;
    state[1] = m->head_dim;
    state[2] = m->state;
}

typedef struct {
    const nn_mamba2 *m;
    nn_mamba2_weights *w;
    int layer;
} mamba2_args;

/* x [T, H, P], in and out [T, G, N], step sizes dt [T, H]: [T, H, P]
 *     S = exp(dt A) S + dt x in';  y = S out + D x          S [H, P, N] */
static mlx_array scan(nn *c, const nn_segment *g, const mamba2_args *a, mlx_array x, mlx_array in,
                      mlx_array out, mlx_array dt)
{
    const nn_mamba2 *m = a->m;
    mlx_array rate = nn_vector(c, &a->w->a);
    if (!m->a_ready)
        rate = NN_CALL(c, mlx_negative, NN_CALL(c, mlx_exp, rate));
    mlx_array decay = NN_CALL(c, mlx_exp, nn_mul(c, dt, nn_reshape(c, rate, (int[]){1, m->heads}, 2)));
    mlx_array fed = nn_mul(c, x, nn_reshape(c, dt, (int[]){g->count, m->heads, 1}, 3));
    mlx_array y = nn_recur(c, g, a->layer, 1, &(nn_recurrence){.decay = decay, .k = in, .v = fed, .q = out});
    mlx_array d = nn_reshape(c, nn_vector(c, &a->w->d), (int[]){1, m->heads, 1}, 3);
    return nn_add(c, y, nn_mul(c, x, d));
}

static mlx_array step_sizes(nn *c, const mamba2_args *a, mlx_array dt)
{
    const nn_mamba2 *m = a->m;
    dt = nn_softplus(c, nn_add(c, dt, nn_vector(c, &a->w->dt_bias)));
    mlx_array least = nn_number(c, m->dt_min, MLX_FLOAT32);
    dt = NN_CALL(c, mlx_maximum, dt, least);
    return m->dt_max > 0 ? NN_CALL(c, mlx_minimum, dt, nn_number(c, m->dt_max, MLX_FLOAT32)) : dt;
}

/* One text's rows behind the gate: [T, channels + heads] to [T, inner]. */
static mlx_array mamba2_segment(nn *c, const nn_segment *g, mlx_array x, void *arg)
{
    const mamba2_args *a = arg;
    const nn_mamba2 *m = a->m;
    int t = g->count, inner = nn_mamba2_inner(m), channels = nn_mamba2_channels(m);
    int side = m->groups * m->state;
    mlx_array dt = step_sizes(c, a, nn_slice(c, x, 1, channels, channels + m->heads));
    mlx_array mixed = nn_short_conv(c, g, a->layer, 0, nn_slice(c, x, 1, 0, channels),
                                    nn_vector(c, &a->w->conv), nn_vector(c, &a->w->conv_bias), m->conv);
    mixed = nn_silu(c, mixed);
    mlx_array heads = nn_reshape(c, nn_slice(c, mixed, 1, 0, inner), (int[]){t, m->heads, m->head_dim}, 3);
    mlx_array in = nn_reshape(c, nn_slice(c, mixed, 1, inner, inner + side),
                              (int[]){t, m->groups, m->state}, 3);
    mlx_array out = nn_reshape(c, nn_slice(c, mixed, 1, inner + side, channels),
                               (int[]){t, m->groups, m->state}, 3);
    return nn_reshape(c, scan(c, g, a, heads, in, out, dt), (int[]){t, inner}, 2);
}

/* Mean-square norm of y [T, inner] in parts. */
static mlx_array part_norm(nn *c, const nn_mamba2 *m, nn_mamba2_weights *w, mlx_array y)
{
    if (c->failed)
        return y;
    int t = mlx_array_dim(y, 0), n = m->norm_groups, inner = nn_mamba2_inner(m);
    mlx_array split = nn_reshape(c, y, (int[]){t, n, inner / n}, 3);
    split = nn_reshape(c, nn_rms_norm(c, split, (mlx_array){0}, m->eps), (int[]){t, inner}, 2);
    return nn_mul(c, split, nn_reshape(c, nn_vector(c, &w->norm), (int[]){1, inner}, 2));
}

mlx_array nn_mamba2_block(nn *c, const nn_mamba2 *m, nn_mamba2_weights *w, const nn_batch *b,
                          int layer, mlx_array x, mlx_array factors)
{
    int inner = nn_mamba2_inner(m), channels = nn_mamba2_channels(m);
    mlx_array all = nn_linear(c, x, &w->in, &w->in_bias);
    if (factors.ctx)
        all = nn_mul(c, all, factors);
    mlx_array gate = nn_silu(c, nn_slice(c, all, 1, 0, inner));
    mlx_array rest = nn_slice(c, all, 1, inner, inner + channels + m->heads);
    mlx_array y = nn_each_segment(c, b, rest, mamba2_segment, &(mamba2_args){m, w, layer});
    if (m->norm_groups && m->norm_first)
        y = nn_mul(c, part_norm(c, m, w, y), gate);
    else
        y = nn_mul(c, y, gate);
    if (m->norm_groups && !m->norm_first)
        y = part_norm(c, m, w, y);
    return nn_linear(c, y, &w->out, &w->out_bias);
}

/* ---- Mamba 1 ---------------------------------------------------------------------------------- */

bool nn_mamba1_check(const nn_mamba1 *m, const char *who)
{
    int most = 1 << 16;
    bool ok = m->inner > 0 && m->inner < 1 << 24 && m->state > 0 && m->state < most && m->rank > 0 &&
              m->rank < most && m->conv > 1 && m->conv < 256;
    return ok || nx_fail("[%s] %d channels, states of %d, a rank of %d and %d taps make no state space", who,
                         m->inner, m->state, m->rank, m->conv);
}

void nn_mamba1_cache(const nn_mamba1 *m, nn_cache_shape *shape)
{
    *shape = (nn_cache_shape){.state = {{1, m->conv - 1, m->inner}, {m->inner, 1, m->state}}};
}

typedef struct {
    const nn_mamba1 *m;
    nn_mamba1_weights *w;
    int layer;
} mamba1_args;

/* The decays exp(step A) [T, inner, N] are many numbers: they are made for so many tokens at a time. */
enum { MAMBA1_TOKENS = 32 };

/* x and steps [T, inner], in and out [T, N]: [T, inner]
 *     S = exp(step A) S + step x in';  y = S out + D x       S [inner, 1, N] */
static mlx_array scan1(nn *c, const nn_segment *g, const mamba1_args *a, mlx_array x, mlx_array steps,
                       mlx_array in, mlx_array out)
{
    int inner = a->m->inner, n = a->m->state, count = 0;
    mlx_array rate = NN_CALL(c, mlx_negative, NN_CALL(c, mlx_exp, nn_vector(c, &a->w->a)));
    rate = nn_reshape(c, rate, (int[]){1, inner, n}, 3);
    mlx_array fed = nn_mul(c, x, steps);
    mlx_array *rows = nx_malloc((size_t)(g->count / MAMBA1_TOKENS + 1) * sizeof *rows);
    for (int i = 0; i < g->count; i += MAMBA1_TOKENS) {
        int end = g->count - i < MAMBA1_TOKENS ? g->count : i + MAMBA1_TOKENS, t = end - i;
        mlx_array step = nn_reshape(c, nn_rows(c, steps, i, end), (int[]){t, inner, 1}, 3);
        nn_recurrence r = {.decay = NN_CALL(c, mlx_exp, nn_mul(c, step, rate)),
                           .k = nn_reshape(c, nn_rows(c, in, i, end), (int[]){t, 1, n}, 3),
                           .v = nn_reshape(c, nn_rows(c, fed, i, end), (int[]){t, inner, 1}, 3),
                           .q = nn_reshape(c, nn_rows(c, out, i, end), (int[]){t, 1, n}, 3)};
        rows[count++] = nn_reshape(c, nn_recur(c, g, a->layer, 1, &r), (int[]){t, inner}, 2);
    }
    mlx_array y = nn_concat_rows(c, rows, count);
    free(rows);
    return nn_add(c, y, nn_mul(c, x, nn_reshape(c, nn_vector(c, &a->w->d), (int[]){1, inner}, 2)));
}

static mlx_array mamba1_segment(nn *c, const nn_segment *g, mlx_array x, void *arg)
{
    const mamba1_args *a = arg;
    const nn_mamba1 *m = a->m;
    nn_mamba1_weights *w = a->w;
    int rank = m->rank, n = m->state;
    x = nn_silu(c, nn_short_conv(c, g, a->layer, 0, x, nn_vector(c, &w->conv), nn_vector(c, &w->conv_bias),
                                 m->conv));
    mlx_array parts = nn_linear(c, x, &w->parts, NULL);
    mlx_array step = nn_rms_norm(c, nn_slice(c, parts, 1, 0, rank), nn_vector(c, &w->step_norm), m->eps);
    mlx_array in = nn_rms_norm(c, nn_slice(c, parts, 1, rank, rank + n), nn_vector(c, &w->in_norm), m->eps);
    mlx_array out = nn_rms_norm(c, nn_slice(c, parts, 1, rank + n, rank + 2 * n),
                                nn_vector(c, &w->out_norm), m->eps);
    step = nn_softplus(c, nn_linear(c, step, &w->step, &w->step_bias));
    return scan1(c, g, a, x, step, in, out);
}

mlx_array nn_mamba1_block(nn *c, const nn_mamba1 *m, nn_mamba1_weights *w, const nn_batch *b, int layer,
                          mlx_array x)
{
    mlx_array both = nn_linear(c, x, &w->in, &w->in_bias);
    mlx_array gate = nn_silu(c, nn_slice(c, both, 1, m->inner, 2 * m->inner));
    mlx_array y = nn_each_segment(c, b, nn_slice(c, both, 1, 0, m->inner), mamba1_segment,
                                  &(mamba1_args){m, w, layer});
    return nn_linear(c, nn_mul(c, y, gate), &w->out, &w->out_bias);
}

/* ---- the delta rule --------------------------------------------------------------------------- */

mlx_array nn_delta_rule(nn *c, const nn_segment *g, int layer, int index, mlx_array q, mlx_array k,
                        mlx_array v, mlx_array decay, mlx_array beta)
{
    if (c->failed)
        return v;
    int t = g->count, h = mlx_array_dim(v, 1);
    beta = nn_reshape(c, beta, (int[]){t, h, 1}, 3);
    mlx_array taken = nn_mul(c, nn_reshape(c, decay, (int[]){t, h, 1}, 3), beta);
    mlx_array a = nn_mul(c, NN_CALL(c, mlx_negative, taken), for_heads(c, k, h));
    return nn_recur(c, g, layer, index,
                    &(nn_recurrence){.decay = decay, .k = k, .v = nn_mul(c, v, beta), .q = q, .a = a, .b = k});
}
