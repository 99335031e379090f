#include "runtime/generate/pass.h"

/* Where no logits were asked for: a piece of a prompt. */
static bool eval_caches(const nn_batch *b)
{
    mlx_vector_array all = mlx_vector_array_new();
    for (int i = 0; i < b->n_segments; i++)
        nn_cache_arrays(b->segments[i].cache, all);
    bool ok = mlx_eval(all) == 0;
    mlx_vector_array_free(all);
    return ok;
}

/* Tokens of a pass whose memory is no use to one of a few, and much beside the caches of a long prompt. */
enum { MANY_TOKENS = 64 };

/* The scope lets go of its temporaries before they are evaluated, so that each lives only as long as
 * the graph needs it. */
bool pass_run(nn *c, model *m, nn_batch *b, const int32_t *ids, mlx_array *out)
{
    mlx_array tokens = mlx_array_new_data(ids, &b->n_tokens, 1, MLX_INT32);
    b->tokens = nn_own(c, tokens.ctx == NULL, tokens);
    mlx_array y = m->arch->forward(c, m, b);
    if (y.ctx)
        y = nn_astype(c, y, MLX_FLOAT32);
    bool built = !c->failed && (!y.ctx || mlx_array_set(out, y) == 0);
    nn_reset(c);
    if (!built)
        return false;
    bool done = out->ctx ? mlx_array_eval(*out) == 0 : eval_caches(b);
    if (b->n_tokens >= MANY_TOKENS)
        mlx_clear_cache();
    return done;
}
