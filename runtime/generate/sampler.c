#include "runtime/generate/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

typedef struct {
    float logit;
    int32_t id;
} candidate;

struct sampler {
    sampler_options o;
    int vocab_size;
    uint64_t state[2];
    float *logits;         /* a copy, where the penalty changes them */
    candidate *candidates; /* [vocab_size] */
    float *weights;        /* [vocab_size] */
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

static bool check(const sampler_options *o)
{
    if (!(o->temperature >= 0 && o->temperature <= 100))
        return nx_fail("[sampler] temperature %g is not between 0 and 100", o->temperature);
    if (o->top_k < 0)
        return nx_fail("[sampler] top_k %d is negative; 0 keeps all tokens", o->top_k);
    if (!(o->top_p > 0 && o->top_p <= 1))
        return nx_fail("[sampler] top_p %g is not over 0 and at most 1", o->top_p);
    if (!(o->min_p >= 0 && o->min_p <= 1))
        return nx_fail("[sampler] min_p %g is not between 0 and 1", o->min_p);
    if (!(o->repeat_penalty > 0 && o->repeat_penalty <= 100))
        return nx_fail("[sampler] repeat_penalty %g is not over 0 and at most 100", o->repeat_penalty);
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
    return s;
}

void sampler_free(sampler *s)
{
    if (!s)
        return;
    free(s->logits);
    free(s->candidates);
    free(s->weights);
    free(s);
}

/* ---- the steps ---- */

/* Tokens of the window become less likely, each once however often it occurred. */
static const float *penalize(sampler *s, const float *logits, const int32_t *recent, size_t n)
{
    if (s->o.repeat_penalty == 1.0f || n == 0)
        return logits;
    if (n > SAMPLER_PENALTY_WINDOW) {
        recent += n - SAMPLER_PENALTY_WINDOW;
        n = SAMPLER_PENALTY_WINDOW;
    }
    memcpy(s->logits, logits, (size_t)s->vocab_size * sizeof *logits);
    for (size_t i = 0; i < n; i++) {
        int32_t id = recent[i];
        if (id < 0 || id >= s->vocab_size)
            continue;
        float x = logits[id]; /* from the original: a repeated token is not penalised twice */
        s->logits[id] = x > 0 ? x / s->o.repeat_penalty : x * s->o.repeat_penalty;
    }
    return s->logits;
}

static int32_t likeliest(const float *logits, int n)
{
    int32_t best = -1;
    float most = -INFINITY;
    for (int i = 0; i < n; i++)
        if (logits[i] > most) {
            most = logits[i];
            best = i;
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

/* Candidates worth sorting, most likely first. Tokens too far under the likeliest to be drawn at
 * all (or to pass min_p) are left out, which keeps the sort short. */
static int gather(sampler *s, const float *logits, float most)
{
    /* At temperature t a token that is 40 t under the top has a share under 1e-17. */
    float t = s->o.temperature > 1 ? s->o.temperature : 1;
    float floor = most - 40 * t;
    if (s->o.min_p > 0)
        floor = fmaxf(floor, most + logf(s->o.min_p));
    int n = 0;
    for (int i = 0; i < s->vocab_size; i++)
        if (logits[i] >= floor)
            s->candidates[n++] = (candidate){logits[i], i};
    int k = s->o.top_k > 0 && s->o.top_k < n ? s->o.top_k : n;
    if (k < n)
        select_first(s->candidates, n, k);
    qsort(s->candidates, (size_t)k, sizeof *s->candidates, by_logit);
    return k;
}

/* Of n sorted candidates, how many top_p keeps. */
static int nucleus(sampler *s, int n, float most)
{
    if (s->o.top_p >= 1)
        return n;
    double sum = 0, so_far = 0;
    for (int i = 0; i < n; i++)
        sum += s->weights[i] = expf(s->candidates[i].logit - most);
    for (int i = 0; i < n; i++) {
        so_far += s->weights[i];
        if (so_far >= s->o.top_p * sum)
            return i + 1;
    }
    return n;
}

static int32_t draw(sampler *s, int n, float most)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += s->weights[i] = expf((s->candidates[i].logit - most) / s->o.temperature);
    double at = uniform(s) * sum;
    for (int i = 0; i < n; i++) {
        at -= s->weights[i];
        if (at < 0)
            return s->candidates[i].id;
    }
    return s->candidates[n - 1].id;
}

int32_t sampler_next(sampler *s, const float *logits, const int32_t *recent, size_t n_recent)
{
    logits = penalize(s, logits, recent, n_recent);
    int32_t best = likeliest(logits, s->vocab_size);
    if (best < 0 || !isfinite(logits[best])) {
        nx_fail("the model gave no finite logit: its weights are broken or not supported");
        return -1;
    }
    if (s->o.temperature == 0)
        return best;
    float most = logits[best];
    int n = gather(s, logits, most);
    return draw(s, nucleus(s, n, most), most);
}

float sampler_logprob(const float *logits, int vocab_size, int32_t id)
{
    float most = logits[id];
    for (int i = 0; i < vocab_size; i++)
        most = logits[i] > most ? logits[i] : most;
    double sum = 0;
    for (int i = 0; i < vocab_size; i++)
        sum += expf(logits[i] - most);
    return (float)(logits[id] - most - log(sum));
}
