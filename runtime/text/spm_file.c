#include "runtime/text/spm_file.h"

#include <float.h>

#include "base/error.h"
#include "runtime/text/proto.h"
#include "runtime/text/tok_impl.h"

/* Fields of the messages that we read. */
enum { MODEL_PIECE = 1, MODEL_TRAINER = 2, MODEL_NORMALIZER = 3 };
enum { PIECE_TEXT = 1, PIECE_SCORE = 2, PIECE_TYPE = 3 };
enum { TRAINER_MODEL = 3, TRAINER_SUFFIX = 24, TRAINER_BYTES = 35, TRAINER_BOS = 41, TRAINER_EOS = 42, TRAINER_PAD = 43 };
enum { NORMALIZER_MAP = 2, NORMALIZER_PREFIX = 3, NORMALIZER_REMOVE = 4, NORMALIZER_ESCAPE = 5 };

bool spm_file_broken(const char *what)
{
    return nx_fail("[tokenizer] the SentencePiece model is broken: %s", what);
}

/* ---- reading ---- */

static bool read_piece(spm_file *f, nx_slice bytes)
{
    spm_piece one = {.text = {"", 0}, .type = SPM_NORMAL};
    proto p = {.at = bytes.data, .left = bytes.len};
    while (proto_next(&p))
        if (p.field == PIECE_TEXT && p.kind == PROTO_BYTES)
            one.text = p.bytes;
        else if (p.field == PIECE_SCORE && p.kind == PROTO_FIXED32)
            one.score = proto_float(&p);
        else if (p.field == PIECE_TYPE && p.kind == PROTO_NUMBER)
            one.type = p.number > SPM_BYTE ? SPM_BYTE + 1 : (uint32_t)p.number;
    if (p.bad || one.type < SPM_NORMAL || one.type > SPM_BYTE)
        return spm_file_broken("a piece");
    if (one.score != one.score || one.score > FLT_MAX || one.score < -FLT_MAX)
        return spm_file_broken("a score is no number");
    if (f->pieces.n >= TOK_MAX_VOCAB)
        return nx_fail("[tokenizer] more than %d pieces", TOK_MAX_VOCAB);
    nx_vec_push(&f->pieces, one);
    return true;
}

static int32_t id_of(uint64_t number)
{
    return number < TOK_MAX_VOCAB ? (int32_t)number : -1;
}

static bool read_trainer(spm_file *f, nx_slice bytes)
{
    proto p = {.at = bytes.data, .left = bytes.len};
    while (proto_next(&p)) {
        if (p.kind != PROTO_NUMBER)
            continue;
        switch (p.field) {
        case TRAINER_MODEL: f->kind = p.number; break;
        case TRAINER_SUFFIX: f->suffix = p.number != 0; break;
        case TRAINER_BYTES: f->bytes = p.number != 0; break;
        case TRAINER_BOS: f->bos = id_of(p.number); break;
        case TRAINER_EOS: f->eos = id_of(p.number); break;
        case TRAINER_PAD: f->pad = id_of(p.number); break;
        default: break;
        }
    }
    return !p.bad || spm_file_broken("the trainer's settings");
}

static bool read_normalizer(spm_file *f, nx_slice bytes)
{
    proto p = {.at = bytes.data, .left = bytes.len};
    while (proto_next(&p))
        if (p.field == NORMALIZER_MAP && p.kind == PROTO_BYTES && p.bytes.len)
            f->map = p.bytes;
        else if (p.field == NORMALIZER_PREFIX && p.kind == PROTO_NUMBER)
            f->dummy_prefix = p.number != 0;
        else if (p.field == NORMALIZER_REMOVE && p.kind == PROTO_NUMBER)
            f->remove_extra_spaces = p.number != 0;
        else if (p.field == NORMALIZER_ESCAPE && p.kind == PROTO_NUMBER)
            f->escape_spaces = p.number != 0;
    return !p.bad || spm_file_broken("the normalizer's settings");
}

bool spm_file_read(spm_file *f, nx_slice file)
{
    *f = (spm_file){.kind = SPM_KIND_UNIGRAM, .bos = 1, .eos = 2, .pad = -1, .dummy_prefix = true,
                    .remove_extra_spaces = true, .escape_spaces = true};
    proto p = {.at = file.data, .left = file.len};
    bool ok = true;
    while (ok && proto_next(&p)) {
        if (p.kind != PROTO_BYTES)
            continue;
        if (p.field == MODEL_PIECE)
            ok = read_piece(f, p.bytes);
        else if (p.field == MODEL_TRAINER)
            ok = read_trainer(f, p.bytes);
        else if (p.field == MODEL_NORMALIZER)
            ok = read_normalizer(f, p.bytes);
    }
    return ok && (!p.bad || spm_file_broken("it ends in the middle of a field")) && (f->pieces.n || spm_file_broken("it has no pieces"));
}

void spm_file_clear(spm_file *f)
{
    nx_vec_clear(&f->pieces);
}
