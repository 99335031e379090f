#include "runtime/generate/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/generate/penalties.h"

typedef struct {
    float logit;
    int32_t id;
} candidate;

struct sampler {
    sampler_options o;
    int vocab_size;
    uint64_t state[2];
    float *logits;         /* a copy, where penalties or a mask change them */
    candidate *candidates; /* [vocab_size] */
    float *weights;        /* [vocab_size] */
    int32_t *counts;       /* [vocab_size], zero between calls */
    float surprise;        /* mirostat's bound, in bits */
};

/* ---- random numbers: xoroshiro128+, seeded through splitmix64 ---- */

static uint64_t splitmix(uint64_t *x)
{
    uint64_t z = (*x += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static uint64_t rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

static double uniform(sampler *s)
{
    uint64_t a = s->state[0], b = s->state[1], sum = a + b;
    b ^= a;
    s->state[0] = rotl(a, 24) ^ b ^ b << 16;
    s->state[1] = rotl(b, 37);
    return (double)(sum >> 11) * 0x1p-53;
}

/* ---- construction ---- */

typedef struct {
    const char *name;
    double value, least, most;
    bool open; /* the least itself is not allowed */
} range;

static bool check(const sampler_options *o)
{
    const range ranges[] = {
        {"temperature", o->temperature, 0, 100, false},
        {"top_k", o->top_k, 0, 1e9, false},
        {"top_p", o->top_p, 0, 1, true},
        {"min_p", o->min_p, 0, 1, false},
        {"typical_p", o->typical_p, 0, 1, false},
        {"xtc_probability", o->xtc_probability, 0, 1, false},
        {"xtc_threshold", o->xtc_threshold, 0, 1, false},
        {"repeat_penalty", o->repeat_penalty, 0, 100, true},
        {"presence_penalty", o->presence_penalty, -2, 2, false},
        {"frequency_penalty", o->frequency_penalty, -2, 2, false},
        {"penalty_window", o->penalty_window, -1, 1e9, false},
        {"dry_multiplier", o->dry_multiplier, 0, 100, false},
        {"dry_base", o->dry_base, 0, 10, false},
        {"dry_allowed_length", o->dry_allowed_length, 0, 1e6, false},
        {"dry_window", o->dry_window, 0, 1e9, false},
        {"mirostat", o->mirostat, 0, 2, false},
        {"mirostat_tau", o->mirostat_tau, 0, 100, false},
        {"mirostat_eta", o->mirostat_eta, 0, 1, false},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        const range *r = &ranges[i];
        if (!(r->value >= r->least && r->value <= r->most) || (r->open && r->value == r->least))
            return nx_fail("[sampler] %s %g is not %s %g and at most %g", r->name, r->value,
                           r->open ? "over" : "at least", r->least, r->most);
    }
    return true;
}

sampler *sampler_new(const sampler_options *o, int vocab_size)
{
    if (!check(o))
        return NULL;
    sampler *s = nx_calloc(1, sizeof *s);
    s->o = *o;
    s->vocab_size = vocab_size;
    uint64_t seed = o->seed;
    s->state[0] = splitmix(&seed);
    s->state[1] = splitmix(&seed);
    size_t n = (size_t)vocab_size;
    s->logits = nx_malloc(n * sizeof *s->logits);
    s->candidates = nx_malloc(n * sizeof *s->candidates);
    s->weights = nx_malloc(n * sizeof *s->weights);
    s->counts = nx_calloc(n, sizeof *s->counts);
    s->o.mirostat_tau = o->mirostat_tau == 0 ? 5 : o->mirostat_tau;
    s->o.mirostat_eta = o->mirostat_eta == 0 ? 0.1f : o->mirostat_eta;
    s->surprise = 2 * s->o.mirostat_tau;
    return s;
}

void sampler_free(sampler *s)
{
    if (!s)
        return;
    free(s->logits);
    free(s->candidates);
    free(s->weights);
    free(s->counts);
    free(s);
}

/* ---- the steps ---- */

/* Penalties and the mask, on a copy where there are any. NULL with a message when the constraint
 * leaves no token. */
static const float *prepare(sampler *s, const float *logits, const int32_t *recent, size_t n)
{
    const sampler_constraint *c = s->o.constraint;
    if (!c && !penalties_any(&s->o))
        return logits;
    memcpy(s->logits, logits, (size_t)s->vocab_size * sizeof *logits);
    penalties_apply(&s->o, s->logits, s->vocab_size, s->counts, recent, n);
    const uint64_t *mask = c ? c->mask(c->user) : NULL;
    if (c && !mask)
        return NULL;
    for (int i = 0; c && i < s->vocab_size; i++)
        if (!(mask[i / 64] >> (i % 64) & 1))
            s->logits[i] = -INFINITY;
    return s->logits;
}

/* Numbers a block: its highest one is found in steps that do not wait for one another. */
enum { BLOCK = 64, LANES = 8 };

static float highest(const float *x)
{
    float most[LANES]; /* what is not a number is passed over */
    for (int l = 0; l < LANES; l++)
        most[l] = -INFINITY;
    for (int i = 0; i < BLOCK; i += LANES)
        for (int l = 0; l < LANES; l++)
            most[l] = x[i + l] > most[l] ? x[i + l] : most[l];
    for (int l = 1; l < LANES; l++)
        most[0] = most[l] > most[0] ? most[l] : most[0];
    return most[0];
}

/* The first of the highest; -1: all are minus infinity or not a number. */
static int32_t likeliest(const float *logits, int n)
{
    int32_t best = -1;
    float most = -INFINITY;
    for (int begin = 0, end; begin < n; begin = end) {
        end = n - begin < BLOCK ? n : begin + BLOCK;
        if (end - begin == BLOCK && highest(logits + begin) <= most)
            continue;
        for (int i = begin; i < end; i++)
            if (logits[i] > most) {
                most = logits[i];
                best = i;
            }
    }
    return best;
}

/* Likeliest first; equal ones by id, so that the order never depends on the sort. */
static int by_logit(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->logit != y->logit)
        return x->logit > y->logit ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

static bool before(const candidate *x, const candidate *y)
{
    return by_logit(x, y) < 0;
}

/* Moves the k first (by by_logit) to the front, unordered: quickselect. */
static void select_first(candidate *c, int n, int k)
{
    int lo = 0, hi = n - 1;
    while (lo < hi) {
        candidate pivot = c[lo + (hi - lo) / 2];
        int i = lo, j = hi;
        while (i <= j) {
            while (before(&c[i], &pivot))
                i++;
            while (before(&pivot, &c[j]))
                j--;
            if (i <= j) {
                candidate t = c[i];
                c[i++] = c[j];
                c[j--] = t;
            }
        }
        if (k <= j + 1)
            hi = j;
        else if (k > i)
            lo = i;
        else
            return;
    }
}

/* Candidates that can be drawn at all, in no order. */
static int gather(sampler *s, const float *logits, float most)
{
    /* At temperature t a token that is 40 t under the top has a share under 1e-17. */
    float t = s->o.temperature > 1 ? s->o.temperature : 1;
    float floor = most - 40 * t;
    int n = 0;
    for (int i = 0; i < s->vocab_size; i++)
        if (logits[i] >= floor)
            s->candidates[n++] = (candidate){logits[i], i};
    return n;
}

/* Puts the k likeliest of n first, likeliest first of all. */
static void rank(sampler *s, int n, int k)
{
    if (k < n)
        select_first(s->candidates, n, k);
    qsort(s->candidates, (size_t)k, sizeof *s->candidates, by_logit);
}

/* weights[i] of the first n, and their sum. */
static double weigh(sampler *s, int n, float most)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += s->weights[i] = expf(s->candidates[i].logit - most);
    return sum;
}

/* ---- filters: each returns how many of n candidates it keeps, likeliest first ---- */

/* top_p over n candidates in no order: ranks no more of them than it keeps, give or take. */
static int nucleus(sampler *s, int n, float most)
{
    double sum = weigh(s, n, most);
    for (int k = n < 256 ? n : 256;; k = k * 8 < n ? k * 8 : n) {
        rank(s, n, k);
        double so_far = 0;
        for (int i = 0; i < k; i++) {
            so_far += expf(s->candidates[i].logit - most);
            if (so_far >= s->o.top_p * sum)
                return i + 1;
        }
        if (k == n)
            return n;
    }
}

/* Locally typical sampling: the candidates whose surprise is nearest the distribution's entropy. */
static int typical(sampler *s, int n, float most)
{
    double sum = weigh(s, n, most), entropy = 0, so_far = 0;
    for (int i = 0; i < n; i++) {
        double p = s->weights[i] / sum;
        entropy -= p > 0 ? p * log(p) : 0;
    }
    candidate *order = nx_malloc((size_t)n * sizeof *order); /* logit: distance; id: index */
    for (int i = 0; i < n; i++) {
        double surprise = log(sum) - (s->candidates[i].logit - most);
        order[i] = (candidate){-(float)fabs(surprise - entropy), i};
    }
    qsort(order, (size_t)n, sizeof *order, by_logit);
    int kept = 0;
    while (kept < n && so_far < s->o.typical_p * sum)
        so_far += s->weights[order[kept++].id];
    for (int i = 0; i < kept; i++)
        order[i] = s->candidates[order[i].id];
    memcpy(s->candidates, order, (size_t)kept * sizeof *order);
    free(order);
    rank(s, kept, kept);
    return kept;
}

static int over_min_p(sampler *s, int n, float most)
{
    float floor = most + logf(s->o.min_p);
    int kept = 0;
    for (int i = 0; i < n; i++)
        if (s->candidates[i].logit >= floor)
            s->candidates[kept++] = s->candidates[i];
    return kept;
}

/* Exclude top choices: with some probability all candidates over the threshold go but the least
 * likely of them. */
static int without_top(sampler *s, int n, float most)
{
    if (uniform(s) >= s->o.xtc_probability)
        return n;
    rank(s, n, n);
    double sum = weigh(s, n, most);
    int over = 0;
    while (over < n && s->weights[over] >= s->o.xtc_threshold * sum)
        over++;
    int drop = over < 2 ? 0 : over - 1;
    memmove(s->candidates, s->candidates + drop, (size_t)(n - drop) * sizeof *s->candidates);
    return n - drop;
}

static int filtered(sampler *s, int n, float most)
{
    const sampler_options *o = &s->o;
    if (o->top_k > 0 && o->top_k < n)
        rank(s, n, o->top_k), n = o->top_k;
    if (o->typical_p > 0 && o->typical_p < 1)
        n = typical(s, n, most);
    if (o->top_p < 1)
        n = nucleus(s, n, most);
    if (o->min_p > 0)
        n = over_min_p(s, n, most);
    if (o->xtc_probability > 0 && o->xtc_threshold <= 0.5f)
        n = without_top(s, n, most);
    return n;
}

/* ---- drawing ---- */

/* The index of one of n candidates, by their probabilities at the temperature. */
static int draw(sampler *s, int n)
{
    float most = -INFINITY; /* of those that are left */
    for (int i = 0; i < n; i++)
        most = fmaxf(most, s->candidates[i].logit);
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += s->weights[i] = expf((s->candidates[i].logit - most) / s->o.temperature);
    double at = uniform(s) * sum;
    for (int i = 0; i < n; i++) {
        at -= s->weights[i];
        if (at < 0)
            return i;
    }
    return n - 1;
}

/* Mirostat 1 estimates the exponent of Zipf's law from the likeliest tokens, and from it how many
 * tokens keep the surprise at the bound. */
static int mirostat_count(const sampler *s, int n)
{
    enum { USED = 100 };
    double above = 0, below = 0;
    for (int i = 0; i + 1 < n && i < USED; i++) {
        double t = log((double)(i + 2) / (i + 1));
        double b = s->candidates[i].logit - s->candidates[i + 1].logit;
        above += t * b;
        below += t * t;
    }
    double exponent = below > 0 ? above / below : 1, eps = exponent - 1;
    double k = pow(eps * pow(2, s->surprise) / (1 - pow(s->vocab_size, -eps)), 1 / exponent);
    return !(k >= 1) ? 1 : k < n ? (int)k : n;
}

/* Mirostat 2 keeps what surprises less than the bound. */
static int mirostat_bound(sampler *s, int n, float most)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += expf((s->candidates[i].logit - most) / s->o.temperature);
    int kept = 0;
    while (kept < n &&
           log2(sum) - (s->candidates[kept].logit - most) / s->o.temperature / log(2) <= s->surprise)
        kept++;
    return kept > 0 ? kept : 1;
}

static int mirostat(sampler *s, int n, float most)
{
    rank(s, n, n);
    n = s->o.mirostat == 1 ? mirostat_count(s, n) : mirostat_bound(s, n, most);
    int chosen = draw(s, n);
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += s->weights[i];
    double surprise = s->weights[chosen] > 0 ? -log2(s->weights[chosen] / sum) : s->surprise;
    s->surprise -= s->o.mirostat_eta * (float)(surprise - s->o.mirostat_tau);
    return chosen;
}

static int32_t choose(sampler *s, const float *logits, int32_t best)
{
    if (s->o.temperature == 0)
        return best;
    float most = logits[best];
    int n = gather(s, logits, most);
    int chosen = s->o.mirostat ? mirostat(s, n, most) : draw(s, filtered(s, n, most));
    return s->candidates[chosen].id;
}

int32_t sampler_next(sampler *s, const float *logits, const int32_t *recent, size_t n_recent)
{
    logits = prepare(s, logits, recent, n_recent);
    if (!logits)
        return -1;
    int32_t best = likeliest(logits, s->vocab_size);
    if (best < 0 || !isfinite(logits[best])) {
        nx_fail("the model gave no finite logit: its weights are broken or not supported");
        return -1;
    }
    int32_t id = choose(s, logits, best);
    if (s->o.constraint)
        s->o.constraint->accept(s->o.constraint->user, id);
    return id;
}

sampler_place sampler_mark(const sampler *s)
{
    const sampler_constraint *c = s->o.constraint;
    if (c)
        c->mark(c->user);
    return (sampler_place){{s->state[0], s->state[1]}, s->surprise};
}

void sampler_back(sampler *s, const sampler_place *p)
{
    const sampler_constraint *c = s->o.constraint;
    if (c)
        c->back(c->user);
    memcpy(s->state, p->state, sizeof s->state);
    s->surprise = p->surprise;
}

int32_t sampler_guess(sampler *s, const float *logits, int n_logits, const int32_t *recent,
                      size_t n_recent)
{
    const sampler_constraint *c = s->o.constraint;
    float *padded = NULL; /* a smaller model may have fewer rows that no token uses */
    if (n_logits < s->vocab_size) {
        padded = nx_malloc((size_t)s->vocab_size * sizeof *padded);
        memcpy(padded, logits, (size_t)n_logits * sizeof *padded);
        for (int i = n_logits; i < s->vocab_size; i++)
            padded[i] = -INFINITY;
        logits = padded;
    }
    logits = prepare(s, logits, recent, n_recent);
    int32_t best = logits ? likeliest(logits, s->vocab_size) : -1;
    int32_t id = best < 0 || !isfinite(logits[best]) ? -1 : choose(s, logits, best);
    free(padded);
    return id >= 0 && c && !c->accept(c->user, id) ? -1 : id;
}

int sampler_allowed(const sampler *s, const int32_t *ids, int n)
{
    const sampler_constraint *c = s->o.constraint;
    int allowed = 0;
    if (!c)
        return n;
    c->mark(c->user);
    while (allowed < n && c->accept(c->user, ids[allowed]))
        allowed++;
    c->back(c->user);
    return allowed;
}

/* log of the sum of exp(logits - most) */
static double log_sum(const float *logits, int vocab_size, float most)
{
    double sum = 0;
    for (int i = 0; i < vocab_size; i++)
        sum += expf(logits[i] - most);
    return log(sum);
}

void sampler_likeliest(const float *logits, int vocab_size, sampler_top *out, int n)
{
    int have = 0;
    for (int i = 0; i < vocab_size; i++) {
        if (have == n && logits[i] <= out[n - 1].logprob)
            continue;
        int at = have < n ? have++ : n - 1;
        for (; at > 0 && out[at - 1].logprob < logits[i]; at--)
            out[at] = out[at - 1];
        out[at] = (sampler_top){i, logits[i]};
    }
    float most = have ? out[0].logprob : 0;
    double below = log_sum(logits, vocab_size, most);
    for (int i = 0; i < have; i++)
        out[i].logprob = (float)(out[i].logprob - most - below);
    for (int i = have; i < n; i++)
        out[i] = (sampler_top){-1, -INFINITY};
}

float sampler_logprob(const float *logits, int vocab_size, int32_t id)
{
    float most = logits[id];
    for (int i = 0; i < vocab_size; i++)
        most = logits[i] > most ? logits[i] : most;
    return (float)(logits[id] - most - log_sum(logits, vocab_size, most));
}
