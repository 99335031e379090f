#include "runtime/generate/penalties.h"

#include <math.h>

static bool has_repeat(const sampler_options *o)
{
    return o->repeat_penalty != 1 || o->presence_penalty != 0 ||
           o->frequency_penalty != 0;
}

bool penalties_any(const sampler_options *o)
{
    return o->n_bias > 0 || has_repeat(o) || o->dry_multiplier > 0;
}

static void last(const int32_t **recent, size_t *n, int window)
{
    if (window >= 0 && *n > (size_t)window) {
        *recent += *n - (size_t)window;
        *n = (size_t)window;
    }
}

/* A token of the window becomes less likely: by a factor once, by an amount once, by an amount for
 * each time it occurred. */
static void repeat(const sampler_options *o, float *logits, int vocab, int32_t *counts,
                   const int32_t *recent, size_t n)
{
    last(&recent, &n, o->penalty_window == 0 ? SAMPLER_PENALTY_WINDOW : o->penalty_window);
    for (size_t i = 0; i < n; i++)
        if (recent[i] >= 0 && recent[i] < vocab)
            counts[recent[i]]++;
    for (size_t i = 0; i < n; i++) {
        int32_t id = recent[i];
        if (id < 0 || id >= vocab || counts[id] == 0)
            continue;
        float x = logits[id];
        x = x > 0 ? x / o->repeat_penalty : x * o->repeat_penalty;
        logits[id] = x - o->presence_penalty - o->frequency_penalty * (float)counts[id];
        counts[id] = 0;
    }
}

enum { DRY_LONGEST = 64 }; /* tokens compared, so that a long loop costs no more than that */

/* How many tokens before position i (exclusive) equal those at the end. */
static int match_length(const int32_t *t, size_t n, size_t i)
{
    int k = 0;
    while (k < DRY_LONGEST && (size_t)k < i && t[i - 1 - (size_t)k] == t[n - 1 - (size_t)k])
        k++;
    return k;
}

/* DRY: a token that followed an earlier occurrence of what stands at the end is made less likely,
 * the more so the longer the occurrence. Each token pays for its longest. */
static void dry(const sampler_options *o, float *logits, int vocab, int32_t *counts,
                const int32_t *recent, size_t n)
{
    float base = o->dry_base == 0 ? 1.75f : o->dry_base;
    int allowed = o->dry_allowed_length == 0 ? 2 : o->dry_allowed_length;
    last(&recent, &n, o->dry_window == 0 ? -1 : o->dry_window);
    for (size_t i = 1; i < n; i++) {
        int length = match_length(recent, n, i);
        int32_t id = recent[i];
        if (length >= allowed && id >= 0 && id < vocab && length > counts[id])
            counts[id] = length;
    }
    for (size_t i = 1; i < n; i++) {
        int32_t id = recent[i];
        if (id < 0 || id >= vocab || counts[id] == 0)
            continue;
        logits[id] -= o->dry_multiplier * powf(base, (float)(counts[id] - allowed));
        counts[id] = 0;
    }
}

void penalties_apply(const sampler_options *o, float *logits, int vocab_size, int32_t *counts,
                     const int32_t *recent, size_t n)
{
    for (size_t i = 0; i < o->n_bias; i++)
        if (o->bias[i].id >= 0 && o->bias[i].id < vocab_size)
            logits[o->bias[i].id] += o->bias[i].bias;
    if (has_repeat(o))
        repeat(o, logits, vocab_size, counts, recent, n);
    if (o->dry_multiplier > 0)
        dry(o, logits, vocab_size, counts, recent, n);
}
