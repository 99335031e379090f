/*
 * Tokenizers from a tokenizer.model: SentencePiece's own file, a protocol buffer with the pieces and their
 * scores, what kind of model they make, and how texts are normalized. Ids are those of SentencePiece.
 */
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/text/spm_file.h"
#include "runtime/text/tok_impl.h"
#include "runtime/text/tok_json.h"

typedef struct {
    tokenizer *t;
    spm_file f;
    spm_norm *norm; /* NULL once it is the tokenizer's */
} loader;

/* ---- making ---- */

static bool is_text(uint32_t type)
{
    return type == SPM_NORMAL || type == SPM_USER;
}

static bool make_tokens(loader *l)
{
    tokenizer *t = l->t;
    nx_map_reserve(&t->vocab, l->f.pieces.n);
    for (size_t i = 0; i < l->f.pieces.n; i++) {
        const spm_piece *p = &l->f.pieces.at[i];
        int32_t id = (int32_t)i;
        bool user = p->type == SPM_USER, special = p->type == SPM_CONTROL || p->type == SPM_UNKNOWN;
        added_token a = {.id = id, .text = p->text.data, .len = (uint32_t)p->text.len, .special = special,
                         .normalized = user};
        if (p->text.len > UINT32_MAX / 4)
            return spm_file_broken("a piece is too long");
        if (p->type == SPM_UNKNOWN && t->unk < 0 && p->text.len)
            t->unk = id;
        if (special || (user && l->f.kind == SPM_KIND_BPE) ? !tok_add_added(t, a) : !tok_set(t, id, p->text.data, p->text.len))
            return false;
        if (user && p->text.len)
            pfx_add(&l->norm->symbols, tok_token(t, id).data, p->text.len, id);
    }
    pfx_finish(&l->norm->symbols);
    return true;
}

typedef struct {
    float score;
    int32_t id;
} scored;

static int by_score(const void *pa, const void *pb)
{
    const scored *a = pa, *b = pb;
    return (a->score < b->score) - (a->score > b->score);
}

/* Ranks by score, equal for equal ones: between those the leftmost pair is merged first. */
static void make_bpe(loader *l)
{
    tokenizer *t = l->t;
    size_t n = 0;
    scored *s = nx_malloc((l->f.pieces.n + 1) * sizeof *s);
    t->score_rank = nx_malloc((l->f.pieces.n + 1) * sizeof *t->score_rank);
    for (size_t i = 0; i < l->f.pieces.n; i++) {
        t->score_rank[i] = UINT32_MAX;
        if (l->f.pieces.at[i].type == SPM_NORMAL)
            s[n++] = (scored){l->f.pieces.at[i].score, (int32_t)i};
    }
    qsort(s, n, sizeof *s, by_score);
    uint32_t rank = 0;
    for (size_t i = 0; i < n; i++) {
        rank += i && s[i].score < s[i - 1].score;
        t->score_rank[s[i].id] = rank;
    }
    free(s);
    t->model = TOK_MODEL_BPE;
    t->bpe.score_rank = t->score_rank;
    t->bpe.byte_fallback = l->f.bytes;
    t->bpe.unk = t->unk;
    t->bpe.fuse_unk = true;
}

/* A user-defined piece is worth more than any other way through its text. */
static void make_unigram(loader *l)
{
    tokenizer *t = l->t;
    float least = FLT_MAX, most = -FLT_MAX;
    for (size_t i = 0; i < l->f.pieces.n; i++)
        if (l->f.pieces.at[i].type == SPM_NORMAL) {
            float score = l->f.pieces.at[i].score;
            least = score < least ? score : least;
            most = score > most ? score : most;
        }
    for (size_t i = 0; i < l->f.pieces.n; i++) {
        const spm_piece *p = &l->f.pieces.at[i];
        float score = p->type == SPM_USER ? (float)p->text.len * most - 0.1f : p->score;
        if (is_text(p->type) && p->text.len)
            unigram_add(&t->unigram, tok_token(t, (int32_t)i).data, p->text.len, (int32_t)i, (double)score);
    }
    t->model = TOK_MODEL_UNIGRAM;
    t->unigram.floats = true;
    t->unigram.unk_score = (double)(least - 10.0f);
    t->unigram.unk = t->unk;
    t->unigram.byte_fallback = l->f.bytes;
}

static nx_str str_of(const char *s)
{
    nx_str out = {0};
    nx_str_puts(&out, s);
    return out;
}

static bool make_decoder(loader *l)
{
    tok_decoder *d = &l->t->decoder;
    bool all = l->norm->remove_extra_spaces, strip = l->norm->dummy_prefix || all;
    return tok_decoder_add(d, (dec_step){.kind = DEC_REPLACE, .text = str_of("\xE2\x96\x81"), .with = str_of(" ")}) &&
           (!l->f.bytes || tok_decoder_add(d, (dec_step){.kind = DEC_BYTE_FALLBACK})) &&
           tok_decoder_add(d, (dec_step){.kind = DEC_FUSE}) &&
           (!strip || tok_decoder_add(d, (dec_step){.kind = DEC_STRIP, .text = str_of(" "), .count = all ? SIZE_MAX : 1}));
}

static int32_t control(const loader *l, int32_t id)
{
    bool there = id >= 0 && (size_t)id < l->f.pieces.n && l->f.pieces.at[id].text.len;
    return there && l->f.pieces.at[id].type == SPM_CONTROL ? id : -1;
}

static bool make(loader *l)
{
    tokenizer *t = l->t;
    if (l->f.kind != SPM_KIND_UNIGRAM && l->f.kind != SPM_KIND_BPE)
        return nx_fail("[tokenizer] SentencePiece models of words or characters are not supported");
    if (l->f.suffix)
        return nx_fail("[tokenizer] SentencePiece models that put spaces behind words are not supported");
    if (!make_tokens(l) || !make_decoder(l))
        return false;
    if (t->unk < 0 && !l->f.bytes)
        return spm_file_broken("it has no unknown piece");
    l->f.kind == SPM_KIND_BPE ? make_bpe(l) : make_unigram(l);
    t->bos = control(l, l->f.bos);
    t->eos = control(l, l->f.eos);
    t->pad = control(l, l->f.pad);
    nx_vec_push(&t->norm.steps, (norm_step){.kind = NORM_SENTENCEPIECE, .spm = l->norm});
    t->norm.verbatim = true;
    l->norm = NULL;
    return true;
}

static bool make_normalizer(loader *l)
{
    l->norm->dummy_prefix = l->f.dummy_prefix;
    l->norm->remove_extra_spaces = l->f.remove_extra_spaces;
    l->norm->escape_spaces = l->f.escape_spaces;
    return !l->f.map.len || charsmap_init(&l->norm->map, l->f.map.data, l->f.map.len);
}

tokenizer *tok_from_sentencepiece_memory(nx_slice file, nx_slice config, const char *name)
{
    loader l = {.t = tok_new(), .norm = nx_calloc(1, sizeof *l.norm)};
    bool ok = spm_file_read(&l.f, file) && make_normalizer(&l) && make(&l);
    if (ok) {
        tok_want_bos(l.t, l.f.kind == SPM_KIND_BPE); /* as the families with such models do; the settings may differ */
        ok = (!config.data || tok_json_settings(l.t, config, name)) && tok_finish(l.t);
    }
    if (!ok)
        nx_fail_in("[%s]", name);
    spm_file_clear(&l.f);
    spm_norm_free(l.norm);
    if (ok)
        return l.t;
    tok_free(l.t);
    return NULL;
}
