/*
 * The vocabulary of a tokenizer while it is being loaded, and what is derived from it at the end.
 */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/utf8.h"
#include "runtime/text/tok_impl.h"

tokenizer *tok_new(void)
{
    tokenizer *t = nx_calloc(1, sizeof *t);
    pthread_mutex_init(&t->lock, NULL);
    t->bos = t->eos = t->unk = t->pad = -1;
    t->bpe.unk = t->unigram.unk = t->wordpiece.unk = -1;
    t->bpe.vocab = &t->vocab;
    t->wordpiece.max_chars = 100;
    return t;
}

/* The entry of an id, made if need be. NULL with an error for an id out of range. */
static tok_entry *entry_for(tokenizer *t, int32_t id, const char *s, size_t n)
{
    if (id < 0 || id >= TOK_MAX_VOCAB)
        return nx_fail_null("[tokenizer] the token \"%.*s\" has the id %d; ids go from 0 to %d",
                            (int)(n < 100 ? n : 100), s, (int)id, TOK_MAX_VOCAB - 1);
    if (n > UINT32_MAX / 4)
        return nx_fail_null("[tokenizer] token %d is %zu bytes long", (int)id, n);
    while (t->tokens.n <= (size_t)id)
        nx_vec_push(&t->tokens, (tok_entry){0});
    return &t->tokens.at[id];
}

static void set_text(tok_entry *e, const char *s, size_t n)
{
    e->text = s;
    e->text_len = (uint32_t)n;
    e->flags |= TOK_F_PRESENT;
}

bool tok_set(tokenizer *t, int32_t id, const char *s, size_t n)
{
    tok_entry *e = entry_for(t, id, s, n);
    if (!e)
        return false;
    nx_map_entry *known = nx_map_put(&t->vocab, s, n);
    known->value = (uint64_t)id;
    set_text(e, known->key, n);
    return true;
}

bool tok_add_added(tokenizer *t, added_token a)
{
    if (!a.len)
        return true;
    tok_entry *e = entry_for(t, a.id, a.text, a.len);
    if (!e)
        return false;
    set_text(e, nx_arena_strndup(&t->mem, a.text, a.len), a.len);
    e->flags |= TOK_F_ADDED | (a.special ? TOK_F_SPECIAL : 0);
    a.text = e->text;
    nx_map_set(&t->by_text, a.text, a.len, (uint64_t)a.id);
    nx_vec_push(&t->added, a);
    return true;
}

/* ---- what is derived ---- */

/* Special tokens first: where one text is two tokens, the special one is found. */
static bool build_finders(tokenizer *t, bool special)
{
    for (size_t i = 0; i < t->added.n; i++) {
        const added_token *a = &t->added.at[i];
        if (a->special != special || !nx_utf8_valid(a->text, a->len))
            continue; /* part of a character is not looked for: what it leaves would be no text */
        if (!a->normalized) {
            added_finder_add(&t->raw, i, a->text, a->len);
            continue;
        }
        if (t->norm.verbatim) {
            added_finder_add(&t->normalized, i, a->text, a->len);
            continue;
        }
        nx_str work[2] = {{0}};
        nx_slice text;
        rx_state *rx = rx_state_new();
        bool cut, ok = norm_run(&t->norm, rx, (nx_slice){a->text, a->len}, work, &text, &cut);
        if (ok)
            added_finder_add(&t->normalized, i, nx_arena_strndup(&t->mem, text.data, text.len),
                             text.len);
        rx_state_free(rx);
        nx_str_clear(&work[0]);
        nx_str_clear(&work[1]);
        if (!ok)
            return false;
    }
    return true;
}

static void build_pieces(tokenizer *t)
{
    nx_str work[2] = {{0}};
    for (size_t i = 0; i < t->tokens.n; i++) {
        tok_entry *e = &t->tokens.at[i];
        if (!(e->flags & TOK_F_PRESENT))
            continue;
        nx_slice p = {e->text, e->text_len};
        /* An added token is written as plain text also where others are byte characters. */
        bool plain = t->decoder.bytes && !t->decoder.byte_fallback && e->flags & TOK_F_ADDED;
        if (!plain)
            p = tok_decoder_piece(&t->decoder, p, false, work);
        bool same = nx_slice_eq(p, (nx_slice){e->text, e->text_len});
        e->piece = same ? e->text : nx_arena_strndup(&t->mem, p.data, p.len);
        e->piece_len = (uint32_t)p.len;
    }
    nx_str_clear(&work[0]);
    nx_str_clear(&work[1]);
}

/* ---- ends of generation ---- */

void tok_mark_eog(tokenizer *t, int32_t id)
{
    if (id >= 0 && (size_t)id < t->tokens.n && t->tokens.at[id].flags & TOK_F_PRESENT)
        t->tokens.at[id].flags |= TOK_F_EOG;
}

static int32_t added_id(const tokenizer *t, const char *text)
{
    return (int32_t)nx_map_get(&t->by_text, text, strlen(text), UINT64_MAX);
}

/* Marks the tokens whose texts are known to end a turn. */
static void find_eog(tokenizer *t)
{
    static const char *const known[] = {
        "</s>",
        "<eos>",
        "[EOS]",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|eot|>",
        "<|eom|>",
        "<|im_end|>",
        "<|end|>",
        "<|return|>",
        "<|call|>",
        "<|flush|>",
        "<|calls|>",
        "<|endoftext|>",
        "<|end_of_text|>",
        "<|end_of_turn|>",
        "<end_of_turn>",
        "<end_of_utterance>",
        "<turn|>",
        "<|END_OF_TURN_TOKEN|>",
        "<|role_end|>",
        "[e~[",
        "< EOT >",
        "_<EOT>",
        "[EOT]",
        "<EOT>",
        "<｜end▁of▁sentence｜>",
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        tok_mark_eog(t, added_id(t, known[i]));
    tok_mark_eog(t, t->eos);
    /* In this format a turn has several parts, each with <|end|>; the turn's end is another. */
    int32_t end = added_id(t, "<|end|>");
    if (end >= 0 && end != t->eos && added_id(t, "<|return|>") >= 0 && added_id(t, "<|call|>") >= 0)
        t->tokens.at[end].flags &= ~(unsigned)TOK_F_EOG;
}

bool tok_finish(tokenizer *t)
{
    if (!t->decoder.steps.n && !tok_decoder_add(&t->decoder, (dec_step){.kind = DEC_JOIN_SPACES}))
        return false;
    t->raw.list = t->normalized.list = &t->added;
    if (!build_finders(t, true) || !build_finders(t, false))
        return false;
    added_finder_finish(&t->raw);
    added_finder_finish(&t->normalized);
    if (t->model == TOK_MODEL_BPE) {
        size_t n = t->pre.steps.n;
        bool literal = t->bpe.prefix.len || t->bpe.suffix.len || t->bpe.byte_fallback;
        t->bpe.plain_bytes = t->pre.plain_bytes =
            n && t->pre.steps.at[n - 1].kind == PRE_BYTES && !literal;
        bpe_finish(&t->bpe);
    } else if (t->model == TOK_MODEL_UNIGRAM) {
        unigram_finish(&t->unigram, &t->vocab);
    } else {
        wordpiece_finish(&t->wordpiece, &t->vocab);
    }
    build_pieces(t);
    find_eog(t);
    return true;
}

/* ---- special ids ---- */

static void want_id(tok_ids *ids, int32_t id, bool first, bool want)
{
    size_t n = ids->n;
    bool has = n && (first ? ids->at[0] : ids->at[n - 1]) == id;
    if (want == has || id < 0)
        return;
    if (want) {
        nx_vec_push(ids, id);
        if (first) {
            memmove(ids->at + 1, ids->at, n * sizeof *ids->at);
            ids->at[0] = id;
        }
        return;
    }
    if (first)
        memmove(ids->at, ids->at + 1, (n - 1) * sizeof *ids->at);
    ids->n--;
}

void tok_want_bos(tokenizer *t, bool want)
{
    want_id(&t->before, t->bos, true, want);
}

void tok_want_eos(tokenizer *t, bool want)
{
    want_id(&t->after, t->eos, false, want);
}
