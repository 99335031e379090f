/*
 * unigram.h: the unigram model: of all ways to cut a text into tokens, the one whose scores
 * (log-probabilities) sum highest.
 */
#ifndef NX_RUNTIME_TEXT_UNIGRAM_H
#define NX_RUNTIME_TEXT_UNIGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"
#include "runtime/text/prefixes.h"
#include "runtime/text/tokenizer.h"

typedef struct {
    pfx_table pieces;
    NX_VEC(double) scores; /* by id */
    double unk_score;      /* what an unknown character costs: the worst score and 10 */
    int32_t unk;           /* -1: a text with an unknown character is an error */
    bool floats;           /* sums are rounded to float32, and unk_score is set: SentencePiece's own */
    bool byte_fallback;    /* an unknown character becomes its bytes' tokens */
    int32_t byte_ids[256];
} unigram;

void unigram_add(unigram *u, const char *text, size_t len, int32_t id, double score);
/* vocab: text -> id, for the byte tokens. */
void unigram_finish(unigram *u, const nx_map *vocab);
void unigram_clear(unigram *u);

typedef struct {
    double score;   /* of the best way up to here */
    uint32_t begin; /* where its last token begins */
    int32_t id;     /* that token */
    bool reached;
} unigram_node;
typedef NX_VEC(unigram_node) unigram_work;

/* Appends the ids of one piece (of valid UTF-8). */
bool unigram_encode(const unigram *u, unigram_work *w, const char *s, size_t n, tok_ids *out);

#endif
