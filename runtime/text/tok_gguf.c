/*
 * Tokenizers from GGUF metadata (tokenizer.ggml.*).
 *
 * The format names a kind of model and, for byte-level ones, a pre-tokenizer; the rest of a
 * tokenizer.json's pipeline is implied by the kind, and is written out here.
 */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "runtime/text/tok_impl.h"
#include "runtime/text/tok_pre.h"
#include "runtime/text/uniclass.h"

#define KEY(name) "tokenizer.ggml." name

/* tokenizer.ggml.token_type */
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE };

static const char SPACE_MARK[] = "\xE2\x96\x81"; /* U+2581 */

typedef struct {
    const nx_gguf *g;
    tokenizer *t;
    nx_gguf_strings tokens;
    const nx_gguf_kv *types; /* NULL: all normal */
    bool phi3;               /* see takes_space */
} loader;

static int64_t type_of(const loader *l, size_t i)
{
    return l->types ? nx_gguf_item_i64(l->types, i, TYPE_NORMAL) : TYPE_NORMAL;
}

/* Converters fill a vocabulary up to the size of the embedding with "[PAD<id>]". */
static bool is_filler(nx_slice s, size_t id)
{
    char text[32];
    int n = snprintf(text, sizeof text, "[PAD%zu]", id);
    return s.len == (size_t)n && memcmp(s.data, text, s.len) == 0;
}

/* Phi-3's turn marks take the white space behind them ("<|user|>\n"). The format cannot say so. */
static bool takes_space(const loader *l, nx_slice s)
{
    return l->phi3 && !nx_slice_is(s, "<unk>") && !nx_slice_is(s, "<s>") &&
           !nx_slice_is(s, "<|endoftext|>");
}

static bool load_token(loader *l, size_t i)
{
    nx_slice s = nx_gguf_strings_at(&l->tokens, i);
    int64_t type = type_of(l, i);
    bool filler = type == TYPE_USER && is_filler(s, i);
    if (filler || type == TYPE_UNUSED || type == TYPE_NORMAL || type == TYPE_BYTE)
        return tok_set(l->t, (int32_t)i, s.data, s.len);
    if (type != TYPE_UNKNOWN && type != TYPE_CONTROL && type != TYPE_USER)
        return nx_fail("[tokenizer] token %zu has the type %lld, which is not known", i,
                       (long long)type);
    return tok_add_added(l->t, (added_token){.id = (int32_t)i,
                                             .text = s.data,
                                             .len = (uint32_t)s.len,
                                             .special = type != TYPE_USER,
                                             .rstrip = takes_space(l, s)});
}

static bool load_tokens(loader *l)
{
    l->types = nx_gguf_find(l->g, KEY("token_type"));
    if (!nx_gguf_strings_init(&l->tokens, nx_gguf_find(l->g, KEY("tokens")), KEY("tokens")))
        return false;
    if (l->tokens.n > TOK_MAX_VOCAB)
        return nx_fail("[tokenizer] %zu tokens are more than %d", l->tokens.n, TOK_MAX_VOCAB);
    if (l->types && l->types->count != l->tokens.n)
        return nx_fail("[tokenizer] %zu tokens but %llu token types", l->tokens.n,
                       (unsigned long long)l->types->count);
    nx_map_reserve(&l->t->vocab, l->tokens.n);
    nx_vec_reserve(&l->t->tokens, l->tokens.n);
    for (size_t i = 0; i < l->tokens.n; i++)
        if (!load_token(l, i))
            return false;
    return true;
}

/* Sets *id where the key is there. An id beyond the vocabulary is none: such files exist. */
static void load_id(loader *l, const char *key, int32_t *id)
{
    const nx_gguf_kv *kv = nx_gguf_find(l->g, key);
    if (!kv)
        return;
    int64_t v = nx_gguf_i64(kv, -2);
    bool good = v >= 0 && (size_t)v < l->tokens.n;
    *id = good ? (int32_t)v : -1;
    if (!good && v != -1 && v != UINT32_MAX)
        nx_warn("[tokenizer] %s is %lld and the vocabulary has %zu tokens: taken as none", key,
                (long long)v, l->tokens.n);
}

/* The ids that a kind of model has where a file does not say. */
static void default_ids(loader *l, nx_slice model)
{
    tokenizer *t = l->t;
    if (nx_slice_is(model, "llama") && l->tokens.n > 2) {
        t->unk = 0;
        t->bos = 1;
        t->eos = 2;
    } else if (nx_slice_is(model, "t5") && l->tokens.n > 2) {
        t->pad = 0;
        t->eos = 1;
        t->unk = 2;
    } else if (nx_slice_is(model, "bert") && l->tokens.n > 102) {
        t->pad = 0;
        t->unk = 100;
        t->bos = 101;
        t->eos = 102;
    }
}

static void load_ids(loader *l, nx_slice model)
{
    tokenizer *t = l->t;
    int32_t eot = -1, eom = -1;
    default_ids(l, model);
    load_id(l, KEY("bos_token_id"), &t->bos);
    load_id(l, KEY("eos_token_id"), &t->eos);
    load_id(l, KEY("unknown_token_id"), &t->unk);
    load_id(l, KEY("padding_token_id"), &t->pad);
    load_id(l, KEY("eot_token_id"), &eot);
    load_id(l, KEY("eom_token_id"), &eom);
    tok_mark_eog(t, eot);
    tok_mark_eog(t, eom);
}

static void load_bos_eos(loader *l, bool bos, bool eos)
{
    tok_want_bos(l->t, nx_gguf_get_bool(l->g, KEY("add_bos_token"), bos));
    tok_want_eos(l->t, nx_gguf_get_bool(l->g, KEY("add_eos_token"), eos));
}

/* ---- pieces of the pipeline ---- */

static nx_str str_of(const char *s)
{
    nx_str out = {0};
    nx_str_puts(&out, s);
    return out;
}

static void add_norm(tokenizer *t, norm_kind kind)
{
    nx_vec_push(&t->norm.steps, (norm_step){.kind = kind});
}

static void add_space_marks(tokenizer *t, bool prefix)
{
    if (prefix)
        nx_vec_push(&t->norm.steps, (norm_step){.kind = NORM_PREPEND, .with = str_of(SPACE_MARK)});
    nx_vec_push(&t->norm.steps,
                (norm_step){.kind = NORM_REPLACE, .text = str_of(" "), .with = str_of(SPACE_MARK)});
}

/* The decoder of SentencePiece vocabularies. */
static bool add_space_decoder(tokenizer *t, bool bytes, bool prefix)
{
    tok_decoder *d = &t->decoder;
    return tok_decoder_add(
               d,
               (dec_step){.kind = DEC_REPLACE, .text = str_of(SPACE_MARK), .with = str_of(" ")}) &&
           (!bytes || tok_decoder_add(d, (dec_step){.kind = DEC_BYTE_FALLBACK})) &&
           tok_decoder_add(d, (dec_step){.kind = DEC_FUSE}) &&
           (!prefix ||
            tok_decoder_add(d, (dec_step){.kind = DEC_STRIP, .text = str_of(" "), .count = 1}));
}

/* ---- byte-level BPE ---- */

/* "left right"; a token may begin with a space. */
static bool split_merge(nx_slice m, size_t rank, bpe_pair *out)
{
    const char *gap = m.len > 1 ? memchr(m.data + 1, ' ', m.len - 1) : NULL;
    if (!gap)
        return bpe_bad_merge(m, rank, "is not two tokens");
    size_t a = (size_t)(gap - m.data);
    *out = (bpe_pair){{m.data, a}, {gap + 1, m.len - a - 1}};
    return true;
}

static bool add_merges(loader *l, const nx_gguf_strings *merges)
{
    enum { SOME = 512 };
    bpe_pair pairs[SOME];
    bpe_reserve(&l->t->bpe, merges->n);
    for (size_t from = 0; from < merges->n; from += SOME) {
        size_t n = merges->n - from < SOME ? merges->n - from : SOME;
        for (size_t i = 0; i < n; i++)
            if (!split_merge(nx_gguf_strings_at(merges, from + i), from + i, &pairs[i]))
                return false;
        size_t added = bpe_add_merges(&l->t->bpe, &l->t->by_text, pairs, n, from);
        if (added < n)
            return bpe_bad_merge(nx_gguf_strings_at(merges, from + added), from + added,
                                 "names a token that is not in the vocabulary");
    }
    return true;
}

static bool load_merges(loader *l)
{
    nx_gguf_strings merges;
    if (!nx_gguf_strings_init(&merges, nx_gguf_find(l->g, KEY("merges")), KEY("merges")))
        return false;
    bool ok = (merges.n < UINT32_MAX / 2 || nx_fail("[tokenizer] %zu merges", merges.n)) &&
              add_merges(l, &merges);
    nx_gguf_strings_clear(&merges);
    return ok;
}

static bool load_bpe(loader *l, nx_slice pre_name)
{
    tokenizer *t = l->t;
    const tok_pre *pre = tok_pre_find(pre_name);
    if (!pre)
        return false;
    t->model = TOK_MODEL_BPE;
    t->bpe.ignore_merges = (pre->flags & TOK_PRE_IGNORE_MERGES) != 0;
    if (pre->flags & TOK_PRE_NFC)
        add_norm(t, NORM_NFC);
    for (size_t i = 0; pre->patterns[i]; i++)
        if (!pre_add_regex(&t->pre, nx_slice_of(pre->patterns[i]), PRE_ISOLATED, false))
            return false;
    bool ok;
    if (pre->flags & TOK_PRE_NO_BYTES) {
        add_space_marks(t, false);
        t->bpe.byte_fallback = true;
        t->bpe.unk = t->unk;
        ok = add_space_decoder(t, true, false);
    } else {
        if (nx_gguf_get_bool(l->g, KEY("add_space_prefix"), false))
            pre_add(&t->pre, (pre_step){.kind = PRE_PREFIX_SPACE});
        ok = pre_add(&t->pre, (pre_step){.kind = PRE_BYTES}) &&
             tok_decoder_add(&t->decoder, (dec_step){.kind = DEC_BYTES});
    }
    if (!ok || !load_merges(l))
        return false;
    load_bos_eos(l, (pre->flags & TOK_PRE_ADD_BOS) != 0, false);
    if (nx_gguf_get_bool(l->g, KEY("add_sep_token"), (pre->flags & TOK_PRE_ADD_SEP) != 0))
        tok_want_eos(t, true); /* RoBERTa's separator is its end token */
    return true;
}

/* ---- SentencePiece BPE ---- */

typedef struct {
    double score;
    int32_t id;
} scored;

static int by_score(const void *pa, const void *pb)
{
    const scored *a = pa, *b = pb;
    return (a->score < b->score) - (a->score > b->score);
}

static const nx_gguf_kv *scores_of(const loader *l)
{
    const nx_gguf_kv *kv = nx_gguf_find(l->g, KEY("scores"));
    if (!kv || kv->count != l->tokens.n)
        return nx_fail_null("[tokenizer] tokenizer.ggml.scores has %llu scores for %zu tokens",
                            kv ? (unsigned long long)kv->count : 0ull, l->tokens.n);
    return kv;
}

/* Equal scores get equal ranks: between those the leftmost pair is merged first. */
static bool rank_scores(loader *l)
{
    const nx_gguf_kv *kv = scores_of(l);
    if (!kv)
        return false;
    size_t n = 0;
    scored *s = nx_malloc((l->tokens.n + 1) * sizeof *s);
    l->t->score_rank = nx_malloc((l->tokens.n + 1) * sizeof *l->t->score_rank);
    for (size_t i = 0; i < l->tokens.n; i++) {
        l->t->score_rank[i] = UINT32_MAX;
        if (type_of(l, i) == TYPE_NORMAL || type_of(l, i) == TYPE_USER)
            s[n++] = (scored){nx_gguf_item_f64(kv, i, -1e30), (int32_t)i};
    }
    qsort(s, n, sizeof *s, by_score);
    uint32_t rank = 0;
    for (size_t i = 0; i < n; i++) {
        if (i && s[i].score < s[i - 1].score)
            rank++;
        l->t->score_rank[s[i].id] = rank;
    }
    free(s);
    l->t->bpe.score_rank = l->t->score_rank;
    return true;
}

static bool load_sentencepiece(loader *l)
{
    tokenizer *t = l->t;
    bool prefix = nx_gguf_get_bool(l->g, KEY("add_space_prefix"), true);
    t->model = TOK_MODEL_BPE;
    t->bpe.byte_fallback = true;
    t->bpe.unk = t->unk;
    add_space_marks(t, prefix);
    if (!rank_scores(l) || !add_space_decoder(t, true, prefix))
        return false;
    load_bos_eos(l, true, false);
    return true;
}

/* ---- unigram (T5) ---- */

static bool load_charsmap(loader *l)
{
    const nx_gguf_kv *kv = nx_gguf_find(l->g, KEY("precompiled_charsmap"));
    if (!kv)
        return true;
    norm_step s = {.kind = NORM_CHARSMAP};
    if (!charsmap_init(&s.map, kv->data, kv->bytes))
        return false;
    nx_vec_push(&l->t->norm.steps, s);
    return true;
}

static bool load_unigram(loader *l)
{
    tokenizer *t = l->t;
    const nx_gguf_kv *scores = scores_of(l);
    if (!scores || !load_charsmap(l))
        return false;
    t->model = TOK_MODEL_UNIGRAM;
    t->unigram.unk = t->unk;
    for (size_t i = 0; i < l->tokens.n; i++) {
        nx_slice s = tok_token(t, (int32_t)i); /* our copy: the file may be closed */
        if (type_of(l, i) == TYPE_NORMAL || type_of(l, i) == TYPE_USER)
            unigram_add(&t->unigram, s.data, s.len, (int32_t)i, nx_gguf_item_f64(scores, i, 0));
    }
    if (nx_gguf_get_bool(l->g, KEY("remove_extra_whitespaces"), true)) {
        rx_pattern *spaces = rx_compile(nx_slice_of(" {2,}"));
        if (!spaces)
            return false;
        nx_vec_push(&t->norm.steps, (norm_step){.kind = NORM_STRIP, .left = true, .right = true});
        nx_vec_push(&t->norm.steps,
                    (norm_step){.kind = NORM_REPLACE, .regex = spaces, .with = str_of(" ")});
    }
    bool prefix = nx_gguf_get_bool(l->g, KEY("add_space_prefix"), true);
    bool ok =
        pre_add(&t->pre, (pre_step){.kind = PRE_METASPACE,
                                    .text = str_of(SPACE_MARK),
                                    .prepend = prefix ? PRE_PREPEND_ALWAYS : PRE_PREPEND_NEVER}) &&
        pre_add(&t->pre, (pre_step){.kind = PRE_LITERAL,
                                    .text = str_of(SPACE_MARK),
                                    .behavior = PRE_WITH_NEXT}) &&
        add_space_decoder(t, false, prefix);
    load_bos_eos(l, false, true);
    return ok;
}

/* ---- WordPiece (BERT) ---- */

static bool load_wordpiece(loader *l)
{
    tokenizer *t = l->t;
    t->model = TOK_MODEL_WORDPIECE;
    t->wordpiece.unk = t->unk;
    nx_str_puts(&t->wordpiece.first_prefix, SPACE_MARK); /* "##" is already gone from the others */
    add_norm(t, NORM_CLEAN);
    add_norm(t, NORM_CJK_SPACES);
    add_norm(t, NORM_STRIP_ACCENTS);
    add_norm(t, NORM_LOWERCASE);
    if (!pre_add(&t->pre,
                 (pre_step){.kind = PRE_CLASS, .is = uni_is_space, .behavior = PRE_REMOVED}) ||
        !pre_add(&t->pre, (pre_step){.kind = PRE_CLASS, .is = uni_is_punct}) ||
        !add_space_decoder(t, false, true))
        return false;
    load_id(l, KEY("cls_token_id"), &t->bos);
    load_id(l, KEY("seperator_token_id"), &t->eos); /* spelled so in the format */
    load_bos_eos(l, true, false);
    tok_want_eos(t, nx_gguf_get_bool(l->g, KEY("add_sep_token"), true));
    return true;
}

static bool load(loader *l)
{
    nx_slice model = nx_gguf_get_str(l->g, KEY("model"));
    nx_slice pre = nx_gguf_get_str(l->g, KEY("pre"));
    if (!model.data)
        return nx_fail("[tokenizer] the file has no tokenizer (tokenizer.ggml.model)");
    l->phi3 = nx_slice_is(model, "llama") &&
              nx_slice_is(nx_gguf_get_str(l->g, "general.architecture"), "phi3");
    if (!load_tokens(l))
        return false;
    load_ids(l, model);
    if (nx_slice_is(model, "gpt2"))
        return load_bpe(l, pre.data ? pre : nx_slice_of("default"));
    if (nx_slice_is(model, "gemma4"))
        return load_bpe(l, model);
    if (nx_slice_is(model, "llama"))
        return load_sentencepiece(l);
    if (nx_slice_is(model, "t5"))
        return load_unigram(l);
    if (nx_slice_is(model, "bert"))
        return load_wordpiece(l);
    return nx_fail("[tokenizer] the tokenizer model \"%.*s\" is not known",
                   (int)(model.len < 100 ? model.len : 100), model.data);
}

tokenizer *tok_from_gguf(const nx_gguf *g)
{
    loader l = {.g = g, .t = tok_new()};
    bool ok = load(&l) && tok_finish(l.t);
    nx_gguf_strings_clear(&l.tokens);
    if (ok)
        return l.t;
    tok_free(l.t);
    return NULL;
}
