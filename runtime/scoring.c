/*
 * scoring.c: nexus_evaluate: perplexity of a text, and how far one model's expectations are from
 * another's.
 */
#include "runtime/scoring.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/os.h"
#include "runtime/convert/spread.h"
#include "runtime/nn/engine.h"
#include "runtime/nn/nn.h"

enum { PIECE = 64, WINDOW = 512 };

typedef struct {
    nexus_model *m;
    nn_cache *cache;
    const int32_t *ids;
    int n;
    float *logits;
} pass_job;

static bool run_pass(void *arg)
{
    pass_job *j = arg;
    model *m = j->m->model;
    nn c;
    nn_init(&c);
    nn_cache_expect(j->cache, j->cache->length + j->n);
    nn_segment segment = {0, j->n, j->cache, true, 0};
    nn_batch b = {.n_tokens = j->n, .segments = &segment, .n_segments = 1, .all_rows = j->logits != NULL};
    b.tokens = nn_own(&c, 0, mlx_array_new_data(j->ids, &j->n, 1, MLX_INT32));
    mlx_array y = nn_astype(&c, m->arch->forward(&c, m, &b), MLX_FLOAT32);
    y = NN_CALL(&c, mlx_contiguous, y, false);
    bool ok = !c.failed && mlx_array_eval(y) == 0;
    if (ok && j->logits)
        memcpy(j->logits, mlx_array_data_float32(y), mlx_array_nbytes(y));
    nn_clear(&c);
    if (ok)
        nn_cache_advance(j->cache, j->n);
    return ok;
}

bool scoring_pass(nexus_model *m, nn_cache *cache, const int32_t *ids, int n, float *logits)
{
    return engine_run(run_pass, &(pass_job){m, cache, ids, n, logits});
}

void scoring_cache(nexus_model *m, nn_cache *cache, int context)
{
    nn_cache_init(cache, m->model->caches, m->model->n_layers, NN_CACHE_F16, context);
}

static bool clear_cache(void *arg)
{
    nn_cache_clear(arg);
    return true;
}

void scoring_clear(nn_cache *cache)
{
    engine_run(clear_cache, cache);
}

/* ---- one token -------------------------------------------------------------------------------- */

/* log sum of exp, and the likeliest. */
static double log_sum(const float *v, int n, int *best)
{
    float most = v[0];
    double sum = 0;
    *best = 0;
    for (int i = 1; i < n; i++)
        if (v[i] > most) {
            most = v[i];
            *best = i;
        }
    for (int i = 0; i < n; i++)
        sum += (double)expf(v[i] - most);
    return log(sum) + (double)most;
}

typedef struct {
    double loss, other_loss, divergence;
    bool agree;
} token_score;

typedef struct {
    const float *logits, *others; /* [n, vocab]; others may be NULL */
    const int32_t *next;
    int vocab;
    token_score *out;
} score_job;

static void score_some(int begin, int end, void *arg)
{
    const score_job *j = arg;
    for (int i = begin; i < end; i++) {
        const float *v = j->logits + (size_t)i * (size_t)j->vocab;
        int best, other_best;
        double sum = log_sum(v, j->vocab, &best);
        token_score s = {.loss = sum - (double)v[j->next[i]], .agree = true};
        if (j->others) {
            const float *o = j->others + (size_t)i * (size_t)j->vocab;
            double other_sum = log_sum(o, j->vocab, &other_best);
            s.other_loss = other_sum - (double)o[j->next[i]];
            for (int k = 0; k < j->vocab; k++) {
                double lp = (double)o[k] - other_sum;
                s.divergence += (double)expf((float)lp) * (lp - ((double)v[k] - sum));
            }
            s.divergence = s.divergence > 0 ? s.divergence : 0;
            s.agree = best == other_best;
        }
        j->out[i] = s;
    }
}

/* ---- the text --------------------------------------------------------------------------------- */

typedef struct {
    nexus_model *m, *against;
    nn_cache cache, other_cache;
    float *logits, *others;
    token_score scores[PIECE];
    double loss, square, other_loss, divergence, most;
    uint64_t n, agree;
} evaluator;

static void add_scores(evaluator *e, int n)
{
    for (int i = 0; i < n; i++) {
        const token_score *s = &e->scores[i];
        e->loss += s->loss;
        e->square += s->loss * s->loss;
        e->other_loss += s->other_loss;
        e->divergence += s->divergence;
        e->most = s->divergence > e->most ? s->divergence : e->most;
        e->agree += s->agree;
    }
    e->n += (uint64_t)n;
}

/* ids[0] .. ids[n - 1], of which all but the first are scored. */
static bool read_window(evaluator *e, const int32_t *ids, int n)
{
    int vocab = e->m->model->vocab_size;
    bool ok = true;
    for (int at = 0; ok && at + 1 < n; at += PIECE) {
        int some = n - 1 - at < PIECE ? n - 1 - at : PIECE;
        ok = scoring_pass(e->m, &e->cache, ids + at, some, e->logits) &&
             (!e->against || scoring_pass(e->against, &e->other_cache, ids + at, some, e->others));
        score_job j = {e->logits, e->against ? e->others : NULL, ids + at + 1, vocab, e->scores};
        if (ok) {
            spread(some, score_some, &j);
            add_scores(e, some);
        }
    }
    return ok;
}

static void report(const evaluator *e, double started, nexus_evaluation *out)
{
    double n = (double)e->n, mean = e->loss / n, variance = e->square / n - mean * mean;
    *out = (nexus_evaluation){.tokens = e->n, .perplexity = exp(mean),
                              .loss_error = n > 1 && variance > 0 ? sqrt(variance / (n - 1)) : 0,
                              .seconds = nx_os_seconds() - started};
    if (e->against) {
        out->divergence = e->divergence / n;
        out->divergence_most = e->most;
        out->agreement = (double)e->agree / n;
        out->against_perplexity = exp(e->other_loss / n);
    }
}

static nexus_status check(const nexus_model *m, const nexus_model *against, int ctx)
{
    const nexus_model *both[] = {m, against};
    for (int i = 0; i < 2 && both[i]; i++)
        if (!both[i]->model || both[i]->model->arch->encoder) {
            nx_fail("[eval] only a model that makes text, opened whole, has a perplexity");
            return NEXUS_ERROR_UNSUPPORTED;
        }
    if (against && against->model->vocab_size != m->model->vocab_size) {
        nx_fail("[eval] the models have vocabularies of %d and %d tokens: only models of the same "
                "vocabulary can be compared", m->model->vocab_size, against->model->vocab_size);
        return NEXUS_ERROR_ARGUMENT;
    }
    if (ctx < 2 || ctx > m->model->max_context || (against && ctx > against->model->max_context)) {
        nx_fail("[eval] windows of %d tokens are not possible: from 2 to %d", ctx, m->model->max_context);
        return NEXUS_ERROR_ARGUMENT;
    }
    return NEXUS_OK;
}

static nexus_status read_all(evaluator *e, const int32_t *ids, size_t n, int ctx, nexus_progress_fn progress,
                             void *user)
{
    bool bos = tok_adds_bos(e->m->tokenizer) && n && ids[0] == tok_bos(e->m->tokenizer);
    int32_t *window = nx_malloc((size_t)ctx * sizeof *window);
    nexus_status status = NEXUS_OK;
    for (size_t at = 0; !status && at + 1 < n;) {
        int put = 0;
        if (bos && at)
            window[put++] = ids[0];
        while (put < ctx && at < n)
            window[put++] = ids[at++];
        scoring_cache(e->m, &e->cache, ctx);
        if (e->against)
            scoring_cache(e->against, &e->other_cache, ctx);
        if (put > 1 && !read_window(e, window, put))
            status = NEXUS_ERROR;
        scoring_clear(&e->cache);
        if (e->against)
            scoring_clear(&e->other_cache);
        if (!status && progress && !progress((double)at / (double)n, user)) {
            nx_fail("the evaluation was stopped");
            status = NEXUS_ERROR_CANCELLED;
        }
    }
    free(window);
    return status;
}

nexus_status nexus_evaluate(nexus_model *m, nexus_model *against, const char *text, size_t length, int ctx,
                            nexus_progress_fn progress, void *user, nexus_evaluation *out)
{
    int window = ctx ? ctx : m->model && m->model->max_context < WINDOW ? m->model->max_context : WINDOW;
    nexus_status status = check(m, against, window);
    if (status)
        return status;
    tok_ids ids = {0};
    double started = nx_os_seconds();
    evaluator *e = nx_calloc(1, sizeof *e);
    size_t row = (size_t)m->model->vocab_size * sizeof(float);
    e->m = m;
    e->against = against;
    if (!tok_encode(m->tokenizer, text, length, TOK_ADD_SPECIAL, &ids, NULL))
        status = NEXUS_ERROR;
    else if (ids.n < 2)
        status = (nx_fail("[eval] a text of %zu tokens has nothing to score", ids.n), NEXUS_ERROR_ARGUMENT);
    for (size_t i = 0; !status && i < ids.n; i++)
        if (ids.at[i] < 0 || ids.at[i] >= m->model->vocab_size)
            status = (nx_fail("[eval] token %d is not in the vocabulary of %d", (int)ids.at[i],
                              m->model->vocab_size), NEXUS_ERROR_FORMAT);
    if (!status) {
        e->logits = nx_malloc(PIECE * row);
        e->others = against ? nx_malloc(PIECE * row) : NULL;
        status = read_all(e, ids.at, ids.n, window, progress, user);
    }
    if (!status)
        report(e, started, out);
    free(e->logits);
    free(e->others);
    free(e);
    nx_vec_clear(&ids);
    return status;
}
