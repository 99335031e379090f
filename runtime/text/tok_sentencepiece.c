/*
 * Tokenizers from a tokenizer.model: SentencePiece's own file, a protocol buffer with the pieces and their
 * scores, what kind of model they make, and how texts are normalized. Ids are those of SentencePiece.
 */
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/text/proto.h"
#include "runtime/text/tok_impl.h"
#include "runtime/text/tok_json.h"

/* Fields of the messages that we read. */
enum { MODEL_PIECE = 1, MODEL_TRAINER = 2, MODEL_NORMALIZER = 3 };
enum { PIECE_TEXT = 1, PIECE_SCORE = 2, PIECE_TYPE = 3 };
enum { TRAINER_MODEL = 3, TRAINER_SUFFIX = 24, TRAINER_BYTES = 35, TRAINER_BOS = 41, TRAINER_EOS = 42, TRAINER_PAD = 43 };
enum { NORMALIZER_MAP = 2, NORMALIZER_PREFIX = 3, NORMALIZER_REMOVE = 4, NORMALIZER_ESCAPE = 5 };

enum { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE };
enum { KIND_UNIGRAM = 1, KIND_BPE = 2 };

typedef struct {
    nx_slice text; /* in the file */
    float score;
    uint32_t type;
} piece;

typedef struct {
    tokenizer *t;
    NX_VEC(piece) pieces;
    uint64_t kind;
    bool suffix, bytes;
    int32_t bos, eos, pad;
    spm_norm *norm; /* NULL once it is the tokenizer's */
} loader;

static bool broken(const char *what)
{
    return nx_fail("[tokenizer] the SentencePiece model is broken: %s", what);
}

/* ---- reading ---- */

static bool read_piece(loader *l, nx_slice bytes)
{
    piece one = {.text = {"", 0}, .type = TYPE_NORMAL};
    proto p = {.at = bytes.data, .left = bytes.len};
    while (proto_next(&p))
        if (p.field == PIECE_TEXT && p.kind == PROTO_BYTES)
            one.text = p.bytes;
        else if (p.field == PIECE_SCORE && p.kind == PROTO_FIXED32)
            one.score = proto_float(&p);
        else if (p.field == PIECE_TYPE && p.kind == PROTO_NUMBER)
            one.type = p.number > TYPE_BYTE ? TYPE_BYTE + 1 : (uint32_t)p.number;
    if (p.bad || one.type < TYPE_NORMAL || one.type > TYPE_BYTE)
        return broken("a piece");
    if (one.score != one.score || one.score > FLT_MAX || one.score < -FLT_MAX)
        return broken("a score is no number");
    if (l->pieces.n >= TOK_MAX_VOCAB)
        return nx_fail("[tokenizer] more than %d pieces", TOK_MAX_VOCAB);
    nx_vec_push(&l->pieces, one);
    return true;
}

static int32_t id_of(uint64_t number)
{
    return number < TOK_MAX_VOCAB ? (int32_t)number : -1;
}

static bool read_trainer(loader *l, nx_slice bytes)
{
    proto p = {.at = bytes.data, .left = bytes.len};
    while (proto_next(&p)) {
        if (p.kind != PROTO_NUMBER)
            continue;
        switch (p.field) {
        case TRAINER_MODEL: l->kind = p.number; break;
        case TRAINER_SUFFIX: l->suffix = p.number != 0; break;
        case TRAINER_BYTES: l->bytes = p.number != 0; break;
        case TRAINER_BOS: l->bos = id_of(p.number); break;
        case TRAINER_EOS: l->eos = id_of(p.number); break;
        case TRAINER_PAD: l->pad = id_of(p.number); break;
        default: break;
        }
    }
    return !p.bad || broken("the trainer's settings");
}

static bool read_normalizer(loader *l, nx_slice bytes)
{
    proto p = {.at = bytes.data, .left = bytes.len};
    while (proto_next(&p))
        if (p.field == NORMALIZER_MAP && p.kind == PROTO_BYTES && p.bytes.len) {
            charsmap_clear(&l->norm->map);
            if (!charsmap_init(&l->norm->map, p.bytes.data, p.bytes.len))
                return false;
        } else if (p.field == NORMALIZER_PREFIX && p.kind == PROTO_NUMBER) {
            l->norm->dummy_prefix = p.number != 0;
        } else if (p.field == NORMALIZER_REMOVE && p.kind == PROTO_NUMBER) {
            l->norm->remove_extra_spaces = p.number != 0;
        } else if (p.field == NORMALIZER_ESCAPE && p.kind == PROTO_NUMBER) {
            l->norm->escape_spaces = p.number != 0;
        }
    return !p.bad || broken("the normalizer's settings");
}

static bool read_model(loader *l, nx_slice file)
{
    proto p = {.at = file.data, .left = file.len};
    bool ok = true;
    while (ok && proto_next(&p)) {
        if (p.kind != PROTO_BYTES)
            continue;
        if (p.field == MODEL_PIECE)
            ok = read_piece(l, p.bytes);
        else if (p.field == MODEL_TRAINER)
            ok = read_trainer(l, p.bytes);
        else if (p.field == MODEL_NORMALIZER)
            ok = read_normalizer(l, p.bytes);
    }
    return ok && (!p.bad || broken("it ends in the middle of a field")) && (l->pieces.n || broken("it has no pieces"));
}

/* ---- making ---- */

static bool is_text(uint32_t type)
{
    return type == TYPE_NORMAL || type == TYPE_USER;
}

static bool make_tokens(loader *l)
{
    tokenizer *t = l->t;
    nx_map_reserve(&t->vocab, l->pieces.n);
    for (size_t i = 0; i < l->pieces.n; i++) {
        const piece *p = &l->pieces.at[i];
        int32_t id = (int32_t)i;
        bool user = p->type == TYPE_USER, special = p->type == TYPE_CONTROL || p->type == TYPE_UNKNOWN;
        added_token a = {.id = id, .text = p->text.data, .len = (uint32_t)p->text.len, .special = special,
                         .normalized = user};
        if (p->text.len > UINT32_MAX / 4)
            return broken("a piece is too long");
        if (p->type == TYPE_UNKNOWN && t->unk < 0 && p->text.len)
            t->unk = id;
        if (special || (user && l->kind == KIND_BPE) ? !tok_add_added(t, a) : !tok_set(t, id, p->text.data, p->text.len))
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
    scored *s = nx_malloc((l->pieces.n + 1) * sizeof *s);
    t->score_rank = nx_malloc((l->pieces.n + 1) * sizeof *t->score_rank);
    for (size_t i = 0; i < l->pieces.n; i++) {
        t->score_rank[i] = UINT32_MAX;
        if (l->pieces.at[i].type == TYPE_NORMAL)
            s[n++] = (scored){l->pieces.at[i].score, (int32_t)i};
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
    t->bpe.byte_fallback = l->bytes;
    t->bpe.unk = t->unk;
    t->bpe.fuse_unk = true;
}

/* A user-defined piece is worth more than any other way through its text. */
static void make_unigram(loader *l)
{
    tokenizer *t = l->t;
    float least = FLT_MAX, most = -FLT_MAX;
    for (size_t i = 0; i < l->pieces.n; i++)
        if (l->pieces.at[i].type == TYPE_NORMAL) {
            float score = l->pieces.at[i].score;
            least = score < least ? score : least;
            most = score > most ? score : most;
        }
    for (size_t i = 0; i < l->pieces.n; i++) {
        const piece *p = &l->pieces.at[i];
        float score = p->type == TYPE_USER ? (float)p->text.len * most - 0.1f : p->score;
        if (is_text(p->type) && p->text.len)
            unigram_add(&t->unigram, tok_token(t, (int32_t)i).data, p->text.len, (int32_t)i, (double)score);
    }
    t->model = TOK_MODEL_UNIGRAM;
    t->unigram.floats = true;
    t->unigram.unk_score = (double)(least - 10.0f);
    t->unigram.unk = t->unk;
    t->unigram.byte_fallback = l->bytes;
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
           (!l->bytes || tok_decoder_add(d, (dec_step){.kind = DEC_BYTE_FALLBACK})) &&
           tok_decoder_add(d, (dec_step){.kind = DEC_FUSE}) &&
           (!strip || tok_decoder_add(d, (dec_step){.kind = DEC_STRIP, .text = str_of(" "), .count = all ? SIZE_MAX : 1}));
}

static int32_t control(const loader *l, int32_t id)
{
    bool there = id >= 0 && (size_t)id < l->pieces.n && l->pieces.at[id].text.len;
    return there && l->pieces.at[id].type == TYPE_CONTROL ? id : -1;
}

static bool make(loader *l)
{
    tokenizer *t = l->t;
    if (l->kind != KIND_UNIGRAM && l->kind != KIND_BPE)
        return nx_fail("[tokenizer] SentencePiece models of words or characters are not supported");
    if (l->suffix)
        return nx_fail("[tokenizer] SentencePiece models that put spaces behind words are not supported");
    if (!make_tokens(l) || !make_decoder(l))
        return false;
    if (t->unk < 0 && !l->bytes)
        return broken("it has no unknown piece");
    l->kind == KIND_BPE ? make_bpe(l) : make_unigram(l);
    t->bos = control(l, l->bos);
    t->eos = control(l, l->eos);
    t->pad = control(l, l->pad);
    nx_vec_push(&t->norm.steps, (norm_step){.kind = NORM_SENTENCEPIECE, .spm = l->norm});
    t->norm.verbatim = true;
    l->norm = NULL;
    return true;
}

tokenizer *tok_from_sentencepiece_memory(nx_slice file, nx_slice config, const char *name)
{
    loader l = {.t = tok_new(), .kind = KIND_UNIGRAM, .bos = 1, .eos = 2, .pad = -1,
                .norm = nx_calloc(1, sizeof *l.norm)};
    l.norm->dummy_prefix = l.norm->remove_extra_spaces = l.norm->escape_spaces = true;
    bool ok = read_model(&l, file) && make(&l);
    if (ok) {
        tok_want_bos(l.t, l.kind == KIND_BPE); /* as the families with such models do; the settings may differ */
        ok = (!config.data || tok_json_settings(l.t, config, name)) && tok_finish(l.t);
    }
    if (!ok)
        nx_fail_in("[%s]", name);
    nx_vec_clear(&l.pieces);
    spm_norm_free(l.norm);
    if (ok)
        return l.t;
    tok_free(l.t);
    return NULL;
}
