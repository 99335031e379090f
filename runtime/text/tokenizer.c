#include "runtime/text/tokenizer.h"

#include <string.h>

#include "base/error.h"
#include "base/utf8.h"
#include "runtime/text/detok.h"
#include "runtime/text/tok_impl.h"

/* Positions in a text are 32 bits in the models. */
static const size_t MAX_TEXT = (size_t)1 << 30;

/* ---- scratch ---- */

static tok_scratch *scratch_take(tokenizer *t)
{
    pthread_mutex_lock(&t->lock);
    tok_scratch *s = t->idle;
    if (s)
        t->idle = s->next;
    pthread_mutex_unlock(&t->lock);
    if (s)
        return s;
    s = nx_calloc(1, sizeof *s);
    s->rx = rx_state_new();
    if (t->model == TOK_MODEL_BPE)
        s->bpe = bpe_work_new();
    return s;
}

/* Buffers that one long text made large are not kept. */
static void trim(nx_str *s)
{
    if (s->cap > (1 << 20))
        nx_str_clear(s);
}

static void scratch_give(tokenizer *t, tok_scratch *s)
{
    trim(&s->clean);
    trim(&s->norm[0]);
    trim(&s->norm[1]);
    if (s->unigram.cap > (1 << 16))
        nx_vec_clear(&s->unigram);
    if (s->bpe)
        bpe_work_trim(s->bpe);
    pthread_mutex_lock(&t->lock);
    s->next = t->idle;
    t->idle = s;
    pthread_mutex_unlock(&t->lock);
}

static void scratch_free(tok_scratch *s)
{
    rx_state_free(s->rx);
    bpe_work_free(s->bpe);
    nx_vec_clear(&s->unigram);
    nx_str_clear(&s->clean);
    nx_str_clear(&s->norm[0]);
    nx_str_clear(&s->norm[1]);
    free(s);
}

/* ---- encoding ---- */

typedef struct {
    const tokenizer *t;
    tok_scratch *s;
    tok_ids *out;
    bool with_special;
} encoding;

static bool encode_piece(void *user, const char *s, size_t n)
{
    encoding *e = user;
    switch (e->t->model) {
    case TOK_MODEL_BPE:
        bpe_encode(&e->t->bpe, e->s->bpe, s, n, e->out);
        return true;
    case TOK_MODEL_UNIGRAM:
        return unigram_encode(&e->t->unigram, &e->s->unigram, s, n, e->out);
    default:
        wordpiece_encode(&e->t->wordpiece, s, n, e->out);
        return true;
    }
}

/* A stretch without added tokens of the text as written: normalized, searched for the added tokens
 * that are meant after normalization, cut and encoded. */
static bool encode_stretch(encoding *e, const char *text, size_t n, bool at_start)
{
    nx_slice in;
    bool cut;
    if (!norm_run(&e->t->norm, e->s->rx, (nx_slice){text, n}, e->s->norm, &in, &cut))
        return false;
    at_start = at_start && !cut; /* the reference looks where the text began as written */
    size_t done = 0, scan = 0;
    added_match m;
    while (added_next(&e->t->normalized, in.data, in.len, done, &scan, e->with_special, &m)) {
        if (m.begin > done && !pre_run(&e->t->pre, e->s->rx, in.data + done, m.begin - done,
                                       at_start && done == 0, encode_piece, e))
            return false;
        nx_vec_push(e->out, m.id);
        done = m.end > done ? m.end : done;
    }
    return pre_run(&e->t->pre, e->s->rx, in.data + done, in.len - done, at_start && done == 0,
                   encode_piece, e);
}

static bool encode_text(encoding *e, const char *text, size_t n)
{
    size_t done = 0, scan = 0;
    added_match m;
    while (added_next(&e->t->raw, text, n, done, &scan, e->with_special, &m)) {
        if (m.begin > done && !encode_stretch(e, text + done, m.begin - done, done == 0))
            return false;
        nx_vec_push(e->out, m.id);
        done = m.end > done ? m.end : done;
    }
    return done == n || encode_stretch(e, text + done, n - done, done == 0);
}

static void push_all(tok_ids *out, const tok_ids *ids)
{
    for (size_t i = 0; i < ids->n; i++)
        nx_vec_push(out, ids->at[i]);
}

bool tok_encode(const tokenizer *t, const char *text, size_t len, unsigned flags, tok_ids *out,
                size_t *replaced)
{
    if (replaced)
        *replaced = 0;
    if (len > MAX_TEXT)
        return nx_fail("[tokenizer] a text of %zu bytes is longer than the limit of %zu; "
                       "encode it in parts",
                       len, MAX_TEXT);
    tokenizer *mine = (tokenizer *)t; /* for the idle scratches, under their lock */
    tok_scratch *s = scratch_take(mine);
    if (!nx_utf8_valid(text, len)) {
        s->clean.len = 0;
        size_t bad = nx_utf8_replace(&s->clean, text, len);
        if (replaced)
            *replaced = bad;
        text = s->clean.data;
        len = s->clean.len;
    }
    size_t from = out->n;
    if (flags & TOK_ADD_SPECIAL)
        push_all(out, &t->before);
    encoding e = {t, s, out, (flags & TOK_PARSE_SPECIAL) != 0};
    bool ok = encode_text(&e, text, len);
    if (ok && flags & TOK_ADD_SPECIAL)
        push_all(out, &t->after);
    if (!ok)
        out->n = from;
    scratch_give(mine, s);
    return ok;
}

/* ---- decoding ---- */

bool tok_decode(const tokenizer *t, const int32_t *ids, size_t n, bool with_special, nx_str *out)
{
    size_t from = out->len;
    detok d;
    detok_init(&d, t, with_special);
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++)
        ok = detok_push(&d, ids[i], out);
    if (ok)
        detok_flush(&d, out);
    else if (out->data)
        nx_str_truncate(out, from);
    detok_clear(&d);
    return ok;
}

/* ---- the vocabulary ---- */

static const tok_entry *entry(const tokenizer *t, int32_t id)
{
    if (id < 0 || (size_t)id >= t->tokens.n || !(t->tokens.at[id].flags & TOK_F_PRESENT))
        return NULL;
    return &t->tokens.at[id];
}

nx_slice tok_piece(const tokenizer *t, int32_t id)
{
    const tok_entry *e = entry(t, id);
    return e ? (nx_slice){e->piece, e->piece_len} : (nx_slice){0};
}

nx_slice tok_token(const tokenizer *t, int32_t id)
{
    const tok_entry *e = entry(t, id);
    return e ? (nx_slice){e->text, e->text_len} : (nx_slice){0};
}

size_t tok_vocab_size(const tokenizer *t)
{
    return t->tokens.n;
}

int32_t tok_id(const tokenizer *t, const char *s, size_t len)
{
    const nx_map_entry *e = nx_map_find(&t->by_text, s, len);
    if (!e)
        e = nx_map_find(&t->vocab, s, len);
    return e ? (int32_t)e->value : -1;
}

bool tok_is_special(const tokenizer *t, int32_t id)
{
    const tok_entry *e = entry(t, id);
    return e && e->flags & TOK_F_SPECIAL;
}

bool tok_is_eog(const tokenizer *t, int32_t id)
{
    const tok_entry *e = entry(t, id);
    return e && e->flags & TOK_F_EOG;
}

int32_t tok_bos(const tokenizer *t)
{
    return t->bos;
}

int32_t tok_eos(const tokenizer *t)
{
    return t->eos;
}

int32_t tok_unk(const tokenizer *t)
{
    return t->unk;
}

int32_t tok_pad(const tokenizer *t)
{
    return t->pad;
}

bool tok_adds_bos(const tokenizer *t)
{
    return t->bos >= 0 && t->before.n && t->before.at[0] == t->bos;
}

void tok_free(tokenizer *t)
{
    if (!t)
        return;
    while (t->idle) {
        tok_scratch *s = t->idle;
        t->idle = s->next;
        scratch_free(s);
    }
    pthread_mutex_destroy(&t->lock);
    norm_list_clear(&t->norm);
    pre_list_clear(&t->pre);
    bpe_clear(&t->bpe);
    unigram_clear(&t->unigram);
    wordpiece_clear(&t->wordpiece);
    tok_decoder_clear(&t->decoder);
    added_finder_clear(&t->raw);
    added_finder_clear(&t->normalized);
    free(t->score_rank);
    nx_vec_clear(&t->before);
    nx_vec_clear(&t->after);
    nx_vec_clear(&t->added);
    nx_vec_clear(&t->tokens);
    nx_map_clear(&t->vocab);
    nx_map_clear(&t->by_text);
    nx_arena_clear(&t->mem);
    free(t);
}
