#include "runtime/models/embed.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

bool embed_pooling_named(const char *name, embed_pooling *out)
{
    static const char *const names[] = {"mean", "cls", "last"};
    for (int i = 0; i < 3; i++)
        if (strcmp(names[i], name) == 0) {
            *out = (embed_pooling)i;
            return true;
        }
    return nx_fail("there is no pooling '%s': use mean, cls or last", name);
}

/* Of a text's hidden states [T, D]: [1, D] */
static mlx_array pooled(nn *c, mlx_array x, embed_pooling pooling)
{
    if (c->failed)
        return x;
    int t = mlx_array_dim(x, 0);
    if (pooling == EMBED_CLS)
        return nn_rows(c, x, 0, 1);
    if (pooling == EMBED_LAST)
        return nn_rows(c, x, t - 1, t);
    return NN_CALL(c, mlx_mean_axis, x, 0, true);
}

mlx_array embed_normalise(nn *c, mlx_array x)
{
    mlx_array square = NN_CALL(c, mlx_sum_axis, nn_mul(c, x, x), -1, true);
    mlx_array length = NN_CALL(c, mlx_sqrt, square);
    length = NN_CALL(c, mlx_maximum, length, nn_number(c, 1e-12f, MLX_FLOAT32));
    return NN_CALL(c, mlx_divide, x, length);
}

mlx_array model_embed(nn *c, model *m, nn_batch *b, embed_pooling pooling, bool normalised)
{
    for (int i = 0; i < b->n_segments; i++)
        b->segments[i].wants_logits = true;
    b->all_rows = b->hidden = true;
    mlx_array x = m->arch->forward(c, m, b); /* [T, D] */
    mlx_array *rows = nx_malloc((size_t)b->n_segments * sizeof *rows);
    for (int i = 0; i < b->n_segments; i++) {
        const nn_segment *g = &b->segments[i];
        rows[i] = pooled(c, nn_rows(c, x, g->begin, g->begin + g->count), pooling);
    }
    mlx_array y = nn_concat_rows(c, rows, b->n_segments);
    free(rows);
    return normalised ? embed_normalise(c, y) : y;
}
