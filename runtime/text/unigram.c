#include "runtime/text/unigram.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "runtime/text/uniclass.h"

void unigram_add(unigram *u, const char *text, size_t len, int32_t id, double score)
{
    while (u->scores.n <= (size_t)id)
        nx_vec_push(&u->scores, 0);
    u->scores.at[id] = score;
    pfx_add(&u->pieces, text, len, id);
}

void unigram_finish(unigram *u, const nx_map *vocab)
{
    double worst = u->scores.n ? u->scores.at[0] : 0;
    for (size_t i = 0; i < u->scores.n; i++)
        if (u->scores.at[i] < worst)
            worst = u->scores.at[i];
    if (!u->floats)
        u->unk_score = worst - 10.0;
    for (unsigned i = 0; i < 256; i++) {
        char text[8];
        int n = snprintf(text, sizeof text, "<0x%02X>", i);
        u->byte_ids[i] = (int32_t)nx_map_get(vocab, text, (size_t)n, UINT64_MAX);
    }
    pfx_finish(&u->pieces);
}

void unigram_clear(unigram *u)
{
    pfx_clear(&u->pieces);
    nx_vec_clear(&u->scores);
}

static void offer(const unigram *u, unigram_node *node, double score, size_t begin, int32_t id)
{
    if (u->floats)
        score = (double)(float)score;
    if (!node->reached || score > node->score)
        *node = (unigram_node){score, (uint32_t)begin, id, true};
}

/* Fills the nodes from left to right. False: an unknown character and no unknown token. */
static bool forward(const unigram *u, unigram_node *at, const char *s, size_t n)
{
    for (size_t i = 0, k; i < n; i += k) {
        uint32_t cp;
        k = uni_next(s + i, n - i, &cp);
        double so_far = at[i].score;
        bool single = false;
        pfx_cursor c = pfx_start(&u->pieces);
        for (size_t j = i; j < n && pfx_step(&u->pieces, &c, s[j]); j++) {
            int32_t id = pfx_value(&u->pieces, &c);
            if (id < 0)
                continue;
            offer(u, &at[j + 1], so_far + u->scores.at[id], i, id);
            single = single || j + 1 == i + k;
        }
        if (single)
            continue;
        if (u->unk < 0)
            return nx_fail("[tokenizer] the character U+%04X is not in the vocabulary, which has "
                           "no unknown token",
                           (unsigned)cp);
        offer(u, &at[i + k], so_far + u->unk_score, i, -1);
    }
    return true;
}

/* An unknown range: its bytes' tokens if they all exist, else the unknown token. */
static void put_unknown(const unigram *u, const char *s, size_t n, tok_ids *out)
{
    bool bytes = u->byte_fallback;
    for (size_t i = 0; i < n && bytes; i++)
        bytes = u->byte_ids[(unsigned char)s[i]] >= 0;
    if (!bytes) {
        nx_vec_push(out, u->unk);
        return;
    }
    for (size_t i = 0; i < n; i++)
        nx_vec_push(out, u->byte_ids[(unsigned char)s[i]]);
}

bool unigram_encode(const unigram *u, unigram_work *w, const char *s, size_t n, tok_ids *out)
{
    w->n = 0;
    nx_vec_reserve(w, n + 1);
    memset(w->at, 0, (n + 1) * sizeof *w->at);
    if (!forward(u, w->at, s, n))
        return false;
    /* Walk back, chaining the ends of the best way's tokens through the nodes where they begin. */
    unigram_node *at = w->at;
    size_t next = n;
    for (size_t end = n; end > 0;) {
        size_t begin = at[end].begin;
        size_t after = next;
        next = end;
        at[end].begin = (uint32_t)after; /* from now on: where the following token ends */
        end = begin;
    }
    for (size_t begin = 0, end = next; begin < n;) {
        int32_t id = at[end].id;
        size_t after = at[end].begin;
        if (id < 0) { /* unknown ones in a row are one */
            while (end < n && at[after].id < 0) {
                end = after;
                after = at[end].begin;
            }
            put_unknown(u, s + begin, end - begin, out);
        } else {
            nx_vec_push(out, id);
        }
        begin = end;
        end = after;
    }
    return true;
}
