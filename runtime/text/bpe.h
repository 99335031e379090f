/*
 * bpe.h: byte pair encoding: a piece of text begins as one symbol a character (or byte), and the
 * best-ranked pair of neighbours is merged until no pair has a rank.
 *
 * Merges are looked up by the two ids. A SentencePiece vocabulary has no merge list: there a pair
 * merges when its joined text is in the vocabulary, ranked by score.
 *
 * A bpe is filled once and then only read. What encoding needs besides is a bpe_work, one a thread
 * at a time; it also remembers how frequent words came out (a table of fixed size).
 */
#ifndef NX_RUNTIME_TEXT_BPE_H
#define NX_RUNTIME_TEXT_BPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"
#include "base/slice.h"
#include "base/str.h"
#include "runtime/text/tokenizer.h"

typedef struct {
    uint64_t pair; /* left id << 32 | right id; UINT64_MAX: empty slot */
    uint32_t rank;
    int32_t id; /* of the merged token */
} bpe_merge;

typedef struct {
    nx_slice left, right; /* two tokens as the file writes them */
} bpe_pair;

typedef struct {
    const nx_map *vocab; /* borrowed: text -> id, of the model's own tokens */
    bpe_merge *merges;   /* open addressing */
    size_t n_merges, n_slots;

    const uint32_t *score_rank; /* by id, UINT32_MAX: never a merge's result. NULL: use merges */
    size_t max_len;             /* bytes of the longest token, where score_rank is used */

    bool plain_bytes;       /* pieces are plain bytes, tokens are written in the byte alphabet */
    int32_t byte_ids[256];  /* with plain_bytes: the token of each; with byte_fallback "<0x00>" …;
                               -1: none */
    int32_t ascii_ids[128]; /* shortcut for one-character tokens; -1: none */
    bool byte_fallback;     /* a character without token becomes its bytes' tokens */
    bool ignore_merges;     /* a piece that is a token as a whole is that token */
    bool fuse_unk;          /* unknown characters in a row are one unknown token */
    bool split_words; /* no token spans a space's beginning: cut there, so that words repeat */
    int32_t unk;      /* -1: unknown characters are dropped */
    nx_str prefix;    /* before every symbol of a piece but the first ("##") */
    nx_str suffix;    /* behind the last one ("</w>") */
} bpe;

/* Room for so many merges; before the first bpe_add_merges. */
void bpe_reserve(bpe *b, size_t merges);
/* Adds n merges of ranks from rank upwards, by their tokens' texts, which are in vocab or else in
 * others (may be NULL). A later merge of the same pair replaces an earlier one, as in the
 * reference. Returns how many were added: fewer than n where one names an unknown token. */
size_t bpe_add_merges(bpe *b, const nx_map *others, const bpe_pair *pairs, size_t n, size_t rank);
/* False with an error about a merge as its file writes it. */
bool bpe_bad_merge(nx_slice merge, size_t rank, const char *what);
/* Fills byte_ids, ascii_ids and the rest that follows from vocab and the flags. Last. */
void bpe_finish(bpe *b);
void bpe_clear(bpe *b);

typedef struct bpe_work bpe_work;
bpe_work *bpe_work_new(void);
void bpe_work_free(bpe_work *w);
void bpe_work_trim(bpe_work *w); /* gives back what a long piece made large */

/* Appends the ids of one piece (of valid UTF-8). */
void bpe_encode(const bpe *b, bpe_work *w, const char *s, size_t n, tok_ids *out);

#endif
