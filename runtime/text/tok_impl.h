/*
 * tok_impl.h: what the tokenizer's own files share: the struct, and how the loaders fill it.
 *
 * Order of loading: tok_new; tokens (tok_set), added tokens (tok_add_added); normalizer,
 * pre-tokenizer, model and decoder; tok_finish.
 */
#ifndef NX_RUNTIME_TEXT_TOK_IMPL_H
#define NX_RUNTIME_TEXT_TOK_IMPL_H

#include <pthread.h>

#include "base/arena.h"
#include "base/map.h"
#include "runtime/text/added.h"
#include "runtime/text/bpe.h"
#include "runtime/text/normalize.h"
#include "runtime/text/pretok.h"
#include "runtime/text/tok_decode.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/unigram.h"
#include "runtime/text/wordpiece.h"

typedef enum { TOK_MODEL_NONE, TOK_MODEL_BPE, TOK_MODEL_UNIGRAM, TOK_MODEL_WORDPIECE } tok_model;

enum {
    TOK_F_SPECIAL = 1, /* a control token: left out of a decoded text */
    TOK_F_ADDED = 2,   /* found in texts before the model runs */
    TOK_F_EOG = 4,
    TOK_F_PRESENT = 8, /* ids without it are holes */
};

typedef struct {
    const char *text;  /* as in the file */
    const char *piece; /* what it decodes to inside a text */
    uint32_t text_len, piece_len;
    unsigned flags;
} tok_entry;

/* What one encoding needs besides the tokenizer: taken from the idle ones and put back. */
typedef struct tok_scratch {
    struct tok_scratch *next;
    rx_state *rx;
    bpe_work *bpe;
    unigram_work unigram;
    nx_str clean, norm[2];
} tok_scratch;

struct tokenizer {
    nx_arena mem;             /* texts and pieces */
    NX_VEC(tok_entry) tokens; /* by id */
    nx_map vocab;             /* the model's own tokens: text -> id */
    nx_map by_text;           /* the added tokens: text -> id */
    added_list added;
    added_finder raw, normalized; /* looked for before and after normalization */

    norm_list norm;
    pre_list pre;
    tok_model model;
    bpe bpe;
    unigram unigram;
    wordpiece wordpiece;
    uint32_t *score_rank; /* owned; for bpe.score_rank */
    tok_decoder decoder;

    tok_ids before, after; /* what TOK_ADD_SPECIAL puts around a text */
    int32_t bos, eos, unk, pad;

    pthread_mutex_t lock;
    tok_scratch *idle;
};

enum { TOK_MAX_VOCAB = 1 << 22 }; /* a larger id in a file is a fault of the file */

tokenizer *tok_new(void);
/* A token of the model: false with an error for an id out of range. */
bool tok_set(tokenizer *t, int32_t id, const char *s, size_t n);
/* An added token; a.text is copied. */
bool tok_add_added(tokenizer *t, added_token a);
/* Builds what follows from the rest: finders, pieces, ends of generation. */
bool tok_finish(tokenizer *t);
/* Puts tok_bos in front of texts, or takes it away. */
void tok_want_bos(tokenizer *t, bool want);
void tok_want_eos(tokenizer *t, bool want);
void tok_mark_eog(tokenizer *t, int32_t id); /* ids the vocabulary lacks are passed over */

#endif
