#include "runtime/generate/scheduler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/os.h"
#include "runtime/generate/pass.h"

struct scheduler {
    model *model;
    nn nn;
    int chunk; /* prompt tokens of a step while one sequence is alone */
    bool brief;
    bool gave_way, gives_way; /* a long prompt stayed out of the last step; of this one */
    NX_VEC(sequence *) active;
    NX_VEC(sequence *) batch; /* of this step, in the order of its segments */
};

scheduler *scheduler_new(model *m, bool brief)
{
    scheduler *s = nx_calloc(1, sizeof *s);
    s->model = m;
    s->brief = brief;
    s->chunk = brief ? SCHEDULER_CHUNK_LEAST : SCHEDULER_CHUNK;
    nn_init(&s->nn);
    return s;
}

void scheduler_free(scheduler *s)
{
    if (!s)
        return;
    nn_clear(&s->nn);
    nx_vec_clear(&s->active);
    nx_vec_clear(&s->batch);
    free(s);
}

void scheduler_add(scheduler *s, sequence *q)
{
    NX_BUG_IF((size_t)q->cache->length >= q->tokens->n);
    q->prompt_end = q->tokens->n;
    q->ended = q->failed = false;
    nx_vec_push(&s->active, q);
}

static void end(sequence *q)
{
    q->ended = true;
}

static void fail(sequence *q)
{
    snprintf(q->message, sizeof q->message, "%s", nx_error_message());
    q->failed = q->ended = true;
}

/* Removes what has ended, keeping the order. After on_end a sequence may be gone. */
static void sweep(scheduler *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->active.n; i++) {
        sequence *q = s->active.at[i];
        if (q->cancel && atomic_load(q->cancel))
            end(q);
        if (!q->ended)
            s->active.at[kept++] = q;
        else if (q->on_end)
            q->on_end(q);
    }
    s->active.n = kept;
}

/* How many tokens of q enter this step, with `budget` prompt tokens left for the whole batch. A long
 * prompt stays out of a step that brings a shorter one its first token (`others`), though not twice. */
static int share(scheduler *s, const sequence *q, int budget, bool others)
{
    size_t waiting = q->tokens->n - (size_t)q->cache->length;
    if (waiting == 1)
        return 1; /* a decoding sequence always moves on */
    if (waiting <= (size_t)budget)
        return (int)waiting;
    if (others && !s->gave_way) {
        s->gives_way = true;
        return 0;
    }
    return budget;
}

/* Sequences by how much of their prompt is left, the shortest first: a short request does not wait
 * behind a long one. The order is stable, and changes no text: only when a sequence moves on. */
static void sort_by_rest(scheduler *s)
{
    for (size_t i = 1; i < s->active.n; i++) {
        sequence *q = s->active.at[i];
        size_t rest = q->tokens->n - (size_t)q->cache->length, at = i;
        for (; at > 0; at--) {
            const sequence *before = s->active.at[at - 1];
            if (before->tokens->n - (size_t)before->cache->length <= rest)
                break;
            s->active.at[at] = s->active.at[at - 1];
        }
        s->active.at[at] = q;
    }
}

/* ---- drafts -------------------------------------------------------------------------------------- */

static bool decodes(const sequence *q)
{
    return (size_t)q->cache->length + 1 == q->tokens->n;
}

/* Drafts by the models of those sequences that have one: all texts of one model together. A model that
 * fails proposes nothing: drafts are never needed. */
static void draft_by_models(scheduler *s, draft_text *texts, int n)
{
    for (int done = 0; done < n;) {
        model *m = texts[done].d->model;
        int same = done + 1;
        for (int i = same; i < n; i++)
            if (texts[i].d->model == m) {
                draft_text t = texts[i];
                texts[i] = texts[same];
                texts[same++] = t;
            }
        if (!draft_by_model(&s->nn, m, texts + done, same - done, s->chunk))
            for (int i = done; i < same; i++)
                texts[i].d->n = 0;
        done = same;
    }
}

/* Each sequence's drafts of this step. */
static void propose(scheduler *s)
{
    int n = 0, room = s->active.n ? DRAFT_ROWS / (int)s->active.n - 1 : 0;
    draft_text *texts = nx_malloc((s->active.n + 1) * sizeof *texts);
    for (size_t i = 0; i < s->active.n; i++) {
        sequence *q = s->active.at[i];
        draft *d = q->draft;
        if (!d)
            continue;
        int left = q->cache->limit - (int)q->tokens->n;
        int wanted = decodes(q) ? draft_width(d, room < left ? room : left) : 0;
        if (d->lookup && wanted > 0)
            d->n = sampler_allowed(q->sampler, d->ids,
                                   draft_lookup(q->tokens->at, q->tokens->n, d->ids, wanted));
        bool room_there = d->model && (int)q->tokens->n + DRAFT_MOST <= d->cache->limit;
        if (room_there && d->n == 0 && (wanted > 0 || !decodes(q)))
            texts[n++] = (draft_text){d, q->tokens->at, q->tokens->n, q->sampler, wanted, NULL};
    }
    draft_by_models(s, texts, n);
    free(texts);
}

/* Lays the tokens of the step end to end. A long prompt for which no budget is left waits. */
static void fill_batch(scheduler *s, nn_segment *segments, int32_t **ids, nn_batch *b)
{
    int budget = s->active.n > 1 ? SCHEDULER_CHUNK_SHARED : s->chunk, total = 0, n = 0;
    bool finishes = false; /* a prompt, with this step */
    sort_by_rest(s);
    s->batch.n = 0;
    s->gives_way = false;
    *ids = nx_malloc((SCHEDULER_CHUNK + s->active.n * (1 + DRAFT_MOST)) * sizeof **ids);
    for (size_t i = 0; i < s->active.n; i++) {
        sequence *q = s->active.at[i];
        int count = share(s, q, budget, finishes);
        size_t from = (size_t)q->cache->length;
        if (count == 0)
            continue;
        nx_vec_push(&s->batch, q);
        int drafts = q->draft && decodes(q) ? q->draft->n : 0;
        memcpy(*ids + total, q->tokens->at + from, (size_t)count * sizeof **ids);
        if (drafts)
            memcpy(*ids + total + count, q->draft->ids, (size_t)drafts * sizeof **ids);
        segments[n++] = (nn_segment){total, count + drafts, q->cache,
                                     from + (size_t)count == q->tokens->n, drafts};
        total += count + drafts;
        budget -= count > 1 ? count : 0;
        finishes = finishes || (count > 1 && segments[n - 1].wants_logits);
    }
    s->gave_way = s->gives_way;
    b->segments = segments;
    b->n_segments = n;
    b->n_tokens = total;
}

static void choose(scheduler *s, sequence *q, const float *logits)
{
    int vocab = s->model->vocab_size;
    int32_t id = sampler_next(q->sampler, logits, q->tokens->at, q->tokens->n);
    if (id < 0) {
        fail(q);
        return;
    }
    float logprob = q->logprobs ? sampler_logprob(logits, vocab, id) : 0;
    nx_vec_push(q->tokens, id);
    sampler_top top[SAMPLER_TOP_MOST];
    if (q->n_top)
        sampler_likeliest(logits, vocab, top, q->n_top);
    if (!q->on_token(q, id, logprob, top))
        end(q);
}

/* The logits after the last token choose the next one; while it is what was drafted, those after the
 * draft are the next. Tokens chosen: at least 1. */
static int choose_ahead(scheduler *s, sequence *q, const float *logits, int drafts)
{
    int n = 0;
    for (;; n++) {
        choose(s, q, logits + (size_t)n * (size_t)s->model->vocab_size);
        if (q->ended || n == drafts || q->tokens->at[q->tokens->n - 1] != q->draft->ids[n])
            break;
    }
    return n + 1;
}

static void judge_drafts(sequence *q, int chosen)
{
    draft *d = q->draft;
    if (d->model && d->cache->length > q->cache->length)
        d->cache->length = q->cache->length; /* what follows was wrong, and is written over */
    draft_judge(d, chosen - 1);
}

/* Caches move on; each sequence with logits chooses; the others report their prompt's progress. */
static void deliver(scheduler *s, const nn_batch *b, const float *logits)
{
    size_t row = 0;
    for (int i = 0; i < b->n_segments; i++) {
        sequence *q = s->batch.at[i];
        const nn_segment *g = &b->segments[i];
        int drafts = g->more_logits;
        nn_cache_advance(q->cache, g->count - drafts);
        if (q->on_prefill && (size_t)q->cache->length <= q->prompt_end)
            q->on_prefill(q, (size_t)q->cache->length, q->prompt_end);
        if (!g->wants_logits)
            continue;
        int chosen = choose_ahead(s, q, logits + row * (size_t)s->model->vocab_size, drafts);
        nn_cache_advance(q->cache, chosen - 1);
        if (q->draft)
            judge_drafts(q, chosen);
        row += 1 + (size_t)drafts;
    }
}

/* Who comes in the middle of a step waits for its end: steps that take long become shorter. A token of
 * some dozen rows costs little more than one of hundreds on a CPU; a GPU soon reaches the most. */
static void adapt_chunk(scheduler *s, int tokens, double seconds)
{
    if (!s->brief || tokens < s->chunk)
        return;
    if (seconds < SCHEDULER_STEP_SECONDS / 2 && s->chunk < SCHEDULER_CHUNK)
        s->chunk *= 2;
    else if (seconds > SCHEDULER_STEP_SECONDS && s->chunk > SCHEDULER_CHUNK_LEAST)
        s->chunk /= 2;
}

bool scheduler_step(scheduler *s)
{
    sweep(s);
    if (s->active.n == 0)
        return false;
    nn_segment *segments = nx_malloc(s->active.n * sizeof *segments);
    int32_t *ids;
    nn_batch b = {0};
    double start = nx_os_seconds();
    propose(s);
    fill_batch(s, segments, &ids, &b);
    mlx_array logits = {0};
    if (pass_run(&s->nn, s->model, &b, ids, &logits)) {
        deliver(s, &b, logits.ctx ? mlx_array_data_float32(logits) : NULL);
    } else {
        for (size_t i = 0; i < s->batch.n; i++)
            fail(s->batch.at[i]);
    }
    adapt_chunk(s, b.n_tokens, nx_os_seconds() - start);
    mlx_array_free(logits);
    free(segments);
    free(ids);
    sweep(s);
    return s->active.n > 0;
}
