#include "runtime/convert/importance.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/map.h"
#include "runtime/nn/engine.h"
#include "runtime/nn/nn.h"
#include "runtime/scoring.h"

enum { WINDOW = 512, MOST_TOKENS = 1 << 17 };

typedef struct {
    double *sums; /* [cols], then the means */
    float *shares;
    int cols;
    double rows;
} column_sums;

struct importance {
    nx_map by_weight; /* the nn_weight's address -> place in sums */
    NX_VEC(column_sums) sums;
    nexus_model *m;
};

/* Engine thread. Sums of squares of the columns of x [..., cols]. */
static void seen(nn *c, const nn_weight *w, mlx_array x, void *arg)
{
    importance *all = arg;
    nx_map_entry *known = nx_map_find(&all->by_weight, (const char *)&w, sizeof w);
    size_t at = known ? known->value : all->sums.n;
    if (!known) {
        nx_map_set(&all->by_weight, (const char *)&w, sizeof w, at);
        nx_vec_push(&all->sums, (column_sums){.sums = nx_calloc((size_t)w->cols, sizeof(double)), .cols = w->cols});
    }
    int shape[2] = {-1, w->cols};
    mlx_array flat = nn_astype(c, nn_reshape(c, x, shape, 2), MLX_FLOAT32);
    mlx_array y = NN_CALL(c, mlx_sum_axis, nn_mul(c, flat, flat), 0, false);
    column_sums *s = &all->sums.at[at];
    if (c->failed || mlx_array_eval(y) || mlx_array_size(y) != (size_t)s->cols)
        return;
    const float *v = mlx_array_data_float32(y);
    for (int i = 0; i < s->cols; i++)
        s->sums[i] += (double)v[i];
    s->rows += (double)mlx_array_dim(flat, 0);
}

static void finish(importance *all)
{
    for (size_t k = 0; k < all->sums.n; k++) {
        column_sums *s = &all->sums.at[k];
        double sum = 0;
        for (int i = 0; i < s->cols; i++)
            sum += s->sums[i];
        if (!(sum > 0))
            continue;
        s->shares = nx_malloc((size_t)s->cols * sizeof *s->shares);
        for (int i = 0; i < s->cols; i++) /* no column is worth nothing */
            s->shares[i] = (float)(0.98 * s->sums[i] * s->cols / sum + 0.02);
    }
}

static bool read_text(importance *all, const char *text, size_t length,
                      bool (*progress)(double, void *), void *user)
{
    tok_ids ids = {0};
    nn_cache cache;
    bool ok = tok_encode(all->m->tokenizer, text, length, TOK_ADD_SPECIAL, &ids, NULL);
    if (ok && ids.n < 2)
        ok = nx_fail("the calibration text has no tokens");
    size_t most = ids.n < MOST_TOKENS ? ids.n : MOST_TOKENS;
    size_t window = all->m->model->max_context < WINDOW ? (size_t)all->m->model->max_context : WINDOW;
    for (size_t at = 0; ok && at < most; at += window) {
        int n = (int)(most - at < window ? most - at : window);
        scoring_cache(all->m, &cache, n);
        ok = scoring_pass(all->m, &cache, ids.at + at, n, NULL);
        scoring_clear(&cache);
        if (ok && progress && !progress(0, user))
            ok = nx_fail("the calibration was stopped");
    }
    nx_vec_clear(&ids);
    return ok;
}

importance *importance_measure(const char *name, const char *text, size_t length,
                               bool (*progress)(double fraction, void *user), void *user)
{
    importance *all = nx_calloc(1, sizeof *all);
    bool ok = nexus_model_load(name, NULL, &all->m) == NEXUS_OK;
    if (ok) {
        nn_observe(seen, all);
        ok = read_text(all, text, length, progress, user);
        nn_observe(NULL, NULL);
    }
    if (ok) {
        finish(all);
        return all;
    }
    importance_free(all);
    return NULL;
}

const float *importance_of(const importance *all, const item *t)
{
    const nn_weight *w = model_weight(all->m->model, t->stored, t->layer);
    nx_map_entry *e = nx_map_find(&all->by_weight, (const char *)&w, sizeof w);
    const column_sums *s = e ? &all->sums.at[e->value] : NULL;
    return s && s->cols == t->cols ? s->shares : NULL;
}

void importance_free(importance *all)
{
    if (!all)
        return;
    for (size_t i = 0; i < all->sums.n; i++) {
        free(all->sums.at[i].sums);
        free(all->sums.at[i].shares);
    }
    nx_vec_clear(&all->sums);
    nx_map_clear(&all->by_weight);
    nexus_model_free(all->m);
    free(all);
}
