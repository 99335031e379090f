#include "runtime/generate/draft.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/generate/pass.h"

void draft_init(draft *d, bool lookup, model *m, nn_cache *cache, int most)
{
    *d = (draft){.lookup = lookup, .model = m, .cache = cache};
    d->most = most > 0 ? most : m ? DRAFT_BY_MODEL : DRAFT_LOOKUP;
    d->most = d->most < DRAFT_MOST ? d->most : DRAFT_MOST;
    d->width = d->most < 4 ? d->most : 4;
}

int draft_width(draft *d, int room)
{
    d->n = 0;
    if (d->pause > 0) {
        d->pause--;
        return 0;
    }
    return d->width < room ? d->width : room;
}

void draft_judge(draft *d, int right)
{
    enum { PAUSE_MOST = 15 };
    if (d->n == 0)
        return;
    d->drafted += (size_t)d->n;
    d->accepted += (size_t)right;
    if (right == d->n)
        d->width = d->width * 2 < d->most ? d->width * 2 : d->most;
    else
        d->width = right + 1;
    d->misses = right ? 0 : d->misses + 1;
    d->pause = d->misses > 4 ? PAUSE_MOST : (1 << d->misses) - 1;
    d->n = 0;
}

/* ---- from the text -------------------------------------------------------------------------------- */

/* The latest place before the end where the last `key` tokens stand; what follows it. 0: nowhere. */
static size_t latest(const int32_t *tokens, size_t n, size_t key)
{
    for (size_t at = n - 1; at >= key; at--)
        if (tokens[at - 1] == tokens[n - 1] &&
            memcmp(tokens + at - key, tokens + n - key, key * sizeof *tokens) == 0)
            return at;
    return 0;
}

int draft_lookup(const int32_t *tokens, size_t n, int32_t *out, int most)
{
    enum { KEY_MOST = 4, KEY_LEAST = 2 };
    for (size_t key = KEY_MOST; key >= KEY_LEAST; key--) {
        size_t at = n > key ? latest(tokens, n, key) : 0;
        if (!at)
            continue;
        size_t found = n - at < (size_t)most ? n - at : (size_t)most;
        memcpy(out, tokens + at, found * sizeof *out);
        return (int)found;
    }
    return 0;
}

/* ---- by a model ----------------------------------------------------------------------------------- */

/* Tokens of t that enter a round: those the model has not read. */
static int unread(const draft_text *t, int budget)
{
    size_t rest = t->n + (size_t)t->d->n - (size_t)t->d->cache->length;
    return rest < (size_t)budget ? (int)rest : budget;
}

/* Takes the round's choices. */
static void take(draft_text **in, const nn_batch *b, const float *logits, int vocab)
{
    int row = 0;
    for (int i = 0; i < b->n_segments; i++) {
        draft_text *t = in[i];
        nn_cache_advance(t->d->cache, b->segments[i].count);
        if (!b->segments[i].wants_logits)
            continue;
        int32_t id = sampler_guess(t->sampler, logits + (size_t)row++ * (size_t)vocab, vocab, t->text,
                                   t->n + (size_t)t->d->n);
        if (id < 0) {
            t->wanted = t->d->n; /* enough */
            continue;
        }
        t->text[t->n + (size_t)t->d->n] = id;
        t->d->ids[t->d->n++] = id;
    }
}

/* A pass over what is unread; each text that has all read then gets one more token. */
static bool guess_round(nn *c, model *m, draft_text *texts, int n, int budget, bool first, bool *any)
{
    nn_segment *segments = nx_malloc((size_t)n * sizeof *segments);
    draft_text **in = nx_malloc((size_t)n * sizeof *in);
    int32_t *ids = nx_malloc(((size_t)budget + (size_t)n) * sizeof *ids);
    nn_batch b = {.segments = segments};
    for (int i = 0; i < n; i++) {
        draft_text *t = &texts[i];
        bool more = t->d->n < t->wanted;
        int count = more || first ? unread(t, budget) : 0;
        if (count == 0)
            continue;
        size_t from = (size_t)t->d->cache->length;
        bool all = from + (size_t)count == t->n + (size_t)t->d->n;
        for (int k = 0; k < count; k++) { /* of a row that only the larger model has: any */
            int32_t id = t->text[from + (size_t)k];
            ids[b.n_tokens + k] = id < m->vocab_size ? id : 0;
        }
        segments[b.n_segments] = (nn_segment){b.n_tokens, count, t->d->cache, all && more, 0};
        in[b.n_segments++] = t;
        b.n_tokens += count;
        budget -= count > 1 ? count - 1 : 0;
        *any = *any || (all && more);
    }
    mlx_array logits = {0};
    bool ok = b.n_segments == 0 || pass_run(c, m, &b, ids, &logits);
    if (ok && b.n_segments)
        take(in, &b, logits.ctx ? mlx_array_data_float32(logits) : NULL, m->vocab_size);
    mlx_array_free(logits);
    free(ids);
    free(in);
    free(segments);
    return ok;
}

bool draft_by_model(nn *c, model *m, draft_text *texts, int n, int budget)
{
    bool any = true, ok = true;
    sampler_place *places = nx_malloc((size_t)n * sizeof *places);
    for (int i = 0; i < n; i++) {
        draft_text *t = &texts[i];
        t->text = nx_malloc((t->n + DRAFT_MOST) * sizeof *t->text);
        memcpy(t->text, t->tokens, t->n * sizeof *t->text);
        places[i] = sampler_mark(t->sampler);
    }
    for (bool first = true; ok && any; first = false) {
        any = false;
        ok = guess_round(c, m, texts, n, first ? budget : n, first, &any);
    }
    for (int i = 0; i < n; i++) {
        sampler_back(texts[i].sampler, &places[i]);
        free(texts[i].text);
    }
    free(places);
    return ok;
}
