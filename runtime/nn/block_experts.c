#include "runtime/nn/block_experts.h"

#include <stdlib.h>

#include "base/error.h"
#include "runtime/nn/engine.h"

/* Pairs of a token and one of its experts, ordered by expert. */
typedef struct {
    int n;
    int32_t *pair;  /* [n]: the pair at each place of that order */
    int32_t *place; /* [n]: the place of each pair */
    int32_t *first; /* [experts + 1]: where an expert's pairs begin */
} by_expert;

static void by_expert_clear(by_expert *o)
{
    free(o->pair);
    free(o->place);
    free(o->first);
}

/* A counting sort: pairs of one expert stay in order. */
static void by_expert_init(by_expert *o, const uint32_t *ids, int n, int experts)
{
    *o = (by_expert){.n = n, .pair = nx_malloc((size_t)n * sizeof *o->pair + 1),
                     .place = nx_malloc((size_t)n * sizeof *o->place + 1),
                     .first = nx_calloc((size_t)experts + 2, sizeof *o->first)};
    for (int i = 0; i < n; i++)
        o->first[(ids[i] < (uint32_t)experts ? ids[i] : 0) + 2]++;
    for (int e = 0; e < experts; e++)
        o->first[e + 2] += o->first[e + 1];
    for (int i = 0; i < n; i++) {
        int32_t at = o->first[(ids[i] < (uint32_t)experts ? ids[i] : 0) + 1]++;
        o->pair[at] = i;
        o->place[i] = at;
    }
}

static mlx_array numbers(nn *c, const int32_t *values, int n)
{
    mlx_array a = mlx_array_new_data(values, &n, 1, MLX_INT32);
    return nn_own(c, a.ctx == NULL, a);
}

/* The rows of one expert's pairs times its matrix. `shared`: pairs that share a row of x. */
static mlx_array product(nn *c, mlx_array x, const nn_weight *w, const by_expert *o, int e, int shared)
{
    int from = o->first[e], n = o->first[e + 1] - from;
    int32_t *rows = nx_malloc((size_t)n * sizeof *rows);
    for (int i = 0; i < n; i++)
        rows[i] = o->pair[from + i] / shared;
    mlx_array own = NN_CALL(c, mlx_take_axis, x, numbers(c, rows, n), 0);
    free(rows);
    mlx_array matrix = nn_rows(c, w->w, e * w->rows, (e + 1) * w->rows);
    return NN_CALL(c, engine_extensions()->gguf_matmul, own, matrix, w->ggml_type);
}

mlx_array nn_block_experts(nn *c, mlx_array x, nn_weight *w, mlx_array ids)
{
    mlx_array flat = NN_CALL(c, mlx_contiguous, ids, false);
    if (!c->failed && mlx_array_eval(flat))
        nn_fail(c);
    if (c->failed)
        return x;
    int t = mlx_array_dim(ids, 0), k = mlx_array_dim(ids, 1), rows = t * mlx_array_dim(x, 1);
    by_expert o;
    by_expert_init(&o, mlx_array_data_uint32(flat), t * k, w->experts);
    mlx_array *parts = nx_malloc((size_t)w->experts * sizeof *parts);
    mlx_array flat_x = nn_reshape(c, x, (int[]){rows, w->cols}, 2);
    int n = 0;
    for (int e = 0; e < w->experts; e++)
        if (o.first[e + 1] > o.first[e])
            parts[n++] = product(c, flat_x, w, &o, e, t * k / rows);
    mlx_array y = nn_concat_rows(c, parts, n);
    y = NN_CALL(c, mlx_take_axis, y, numbers(c, o.place, o.n), 0);
    free(parts);
    by_expert_clear(&o);
    return y;
}
