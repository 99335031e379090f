/*
 * Tokenizers from tokenizer.json, with the tokenizer_config.json and generation_config.json beside
 * it. The file is read as a stream, for vocabularies are large; its small parts become trees.
 *
 * "truncation" and "padding" are settings of a training run's batches and have no effect here.
 */
#include "runtime/text/tok_json.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "base/json_stream.h"
#include "base/mmap.h"

typedef struct {
    tokenizer *t;
    nx_json_stream s;
    nx_arena texts; /* of merges whose text was escaped in the file */
    NX_VEC(bpe_pair)
    merges;                /* while reading, right.data NULL: left is both, with a space between */
    NX_VEC(double) scores; /* of a unigram vocabulary */
    json_t *model;         /* its small fields */
    json_t *added;
    bool has_merges, has_vocab;
} loader;

/* ---- JSON trees out of the stream ---- */

static json_t *tree(nx_json_stream *s);

static json_t *tree_object(nx_json_stream *s)
{
    json_t *o = json_object();
    while (nx_json_next(s) == NX_JSON_KEY) {
        char *key = nx_strndup(s->text.data, s->text.len);
        if (strlen(key) != s->text.len)
            nx_json_stream_fail(s, "a NUL in a key");
        nx_json_next(s);
        json_object_set_new(o, key, tree(s)); /* no value: refused, and the stream has its error */
        free(key);
    }
    return o;
}

static json_t *tree_number(nx_json_stream *s)
{
    int64_t i;
    double d;
    if (!memchr(s->text.data, '.', s->text.len) && !memchr(s->text.data, 'e', s->text.len) &&
        !memchr(s->text.data, 'E', s->text.len) && nx_json_number_i64(s, &i))
        return json_integer(i);
    return nx_json_number_f64(s, &d) ? json_real(d) : NULL;
}

/* The value that begins with the current token; NULL on an error of the stream. */
static json_t *tree(nx_json_stream *s)
{
    json_t *v;
    switch (s->token) {
    case NX_JSON_OBJECT:
        return tree_object(s);
    case NX_JSON_ARRAY:
        v = json_array();
        while (nx_json_next(s) != NX_JSON_ARRAY_END && s->token != NX_JSON_ERROR)
            json_array_append_new(v, tree(s));
        return v;
    case NX_JSON_STRING:
        return json_stringn(s->text.data, s->text.len);
    case NX_JSON_NUMBER:
        return tree_number(s);
    case NX_JSON_TRUE:
        return json_true();
    case NX_JSON_FALSE:
        return json_false();
    case NX_JSON_NULL:
        return json_null();
    default:
        return NULL;
    }
}

static json_t *next_tree(nx_json_stream *s)
{
    nx_json_next(s);
    return tree(s);
}

/* ---- the model ---- */

/* {"token": id, …} */
static bool read_vocab_object(loader *l)
{
    nx_json_stream *s = &l->s;
    nx_str text = {0};
    bool ok = true;
    while (ok && nx_json_next(s) == NX_JSON_KEY) {
        int64_t id;
        text.len = 0;
        nx_str_add(&text, s->text.data, s->text.len);
        ok = nx_json_read_i64(s, &id);
        if (ok && (id < 0 || id >= TOK_MAX_VOCAB))
            ok = nx_json_stream_fail(s, "a token id that is no id");
        ok = ok && tok_set(l->t, (int32_t)id, nx_str_cstr(&text), text.len);
    }
    nx_str_clear(&text);
    return ok && s->token == NX_JSON_OBJECT_END;
}

/* [["token", score], …] */
static bool read_vocab_array(loader *l)
{
    nx_json_stream *s = &l->s;
    while (nx_json_next(s) == NX_JSON_ARRAY) {
        nx_slice text;
        double score;
        if (l->scores.n >= TOK_MAX_VOCAB)
            return nx_json_stream_fail(s, "too large a vocabulary");
        if (!nx_json_read_string(s, &text) ||
            !tok_set(l->t, (int32_t)l->scores.n, text.data ? text.data : "", text.len) ||
            !nx_json_read_f64(s, &score))
            return false;
        nx_vec_push(&l->scores, score);
        if (nx_json_next(s) != NX_JSON_ARRAY_END)
            return s->token != NX_JSON_ERROR && nx_json_stream_fail(s, "expected [token, score]");
    }
    if (s->token != NX_JSON_ARRAY_END && s->token != NX_JSON_ERROR)
        return nx_json_stream_fail(s, "expected [token, score]");
    return s->token == NX_JSON_ARRAY_END;
}

static bool read_vocab(loader *l)
{
    if (l->has_vocab)
        return nx_json_stream_fail(&l->s, "a second vocabulary");
    l->has_vocab = true;
    switch (nx_json_next(&l->s)) {
    case NX_JSON_OBJECT:
        return read_vocab_object(l);
    case NX_JSON_ARRAY:
        return read_vocab_array(l);
    case NX_JSON_ERROR:
        return false;
    default:
        return nx_json_stream_fail(&l->s, "a vocabulary that is neither an object nor a list");
    }
}

/* The current string for as long as the loader lives. */
static nx_slice keep(loader *l)
{
    nx_slice text = l->s.text;
    if (!l->s.text_is_input)
        text.data = nx_arena_strndup(&l->texts, text.data, text.len);
    return text;
}

/* ["a b", …] or [["a", "b"], …] */
static bool read_merges(loader *l)
{
    nx_json_stream *s = &l->s;
    l->has_merges = true;
    if (nx_json_next(s) != NX_JSON_ARRAY)
        return s->token != NX_JSON_ERROR && nx_json_stream_fail(s, "merges that are no list");
    while (nx_json_next(s) != NX_JSON_ARRAY_END) {
        bpe_pair m = {0};
        nx_slice text;
        if (s->token == NX_JSON_STRING) {
            m.left = keep(l);
        } else if (s->token == NX_JSON_ARRAY) {
            if (!nx_json_read_string(s, &text))
                return false;
            m.left = keep(l);
            if (!nx_json_read_string(s, &text))
                return false;
            m.right = keep(l);
            if (!m.right.data)
                m.right.data = "";
            if (nx_json_next(s) != NX_JSON_ARRAY_END)
                return s->token != NX_JSON_ERROR &&
                       nx_json_stream_fail(s, "expected two tokens to merge");
        } else {
            return s->token != NX_JSON_ERROR && nx_json_stream_fail(s, "a merge that is no pair");
        }
        nx_vec_push(&l->merges, m);
    }
    return true;
}

static bool read_model(loader *l)
{
    nx_json_stream *s = &l->s;
    if (nx_json_next(s) != NX_JSON_OBJECT)
        return s->token != NX_JSON_ERROR && nx_json_stream_fail(s, "a model that is no object");
    while (nx_json_next(s) == NX_JSON_KEY) {
        bool ok;
        if (nx_slice_is(s->text, "vocab")) {
            ok = read_vocab(l);
        } else if (nx_slice_is(s->text, "merges")) {
            ok = read_merges(l);
        } else {
            json_t *key = json_stringn(s->text.data, s->text.len);
            json_t *v = next_tree(s);
            ok = v != NULL;
            if (v)
                json_object_set_new(l->model, json_string_value(key), v);
            json_decref(key);
        }
        if (!ok)
            return false;
    }
    return s->token == NX_JSON_OBJECT_END;
}

/* ---- setting up the model ---- */

static nx_slice model_text(const loader *l, const char *key)
{
    const json_t *v = json_object_get(l->model, key);
    return json_is_string(v) ? (nx_slice){json_string_value(v), json_string_length(v)}
                             : (nx_slice){"", 0};
}

/* Those that are one string are two from here on. */
static bool split_merges(loader *l)
{
    for (size_t i = 0; i < l->merges.n; i++) {
        bpe_pair *m = &l->merges.at[i];
        if (m->right.data)
            continue;
        const char *gap = memchr(m->left.data, ' ', m->left.len);
        if (!gap)
            return bpe_bad_merge(m->left, i, "is not two tokens");
        size_t a = (size_t)(gap - m->left.data);
        *m = (bpe_pair){{m->left.data, a}, {gap + 1, m->left.len - a - 1}};
    }
    return true;
}

static bool add_merges(loader *l)
{
    bpe *b = &l->t->bpe;
    bpe_reserve(b, l->merges.n);
    size_t added = bpe_add_merges(b, NULL, l->merges.at, l->merges.n, 0);
    return added == l->merges.n || bpe_bad_merge(l->merges.at[added].left, added,
                                                 "names a token that is not in the vocabulary");
}

static bool make_bpe(loader *l)
{
    bpe *b = &l->t->bpe;
    nx_slice unk = model_text(l, "unk_token");
    nx_slice prefix = model_text(l, "continuing_subword_prefix");
    nx_slice suffix = model_text(l, "end_of_word_suffix");
    if (nx_json_get_real(l->model, "dropout", 0) != 0)
        return nx_fail("[tokenizer] the BPE model drops merges at random (\"dropout\"), which only "
                       "training wants: set it to null");
    if (l->merges.n >= UINT32_MAX / 2)
        return nx_fail("[tokenizer] %zu merges", l->merges.n);
    b->byte_fallback = nx_json_get_bool(l->model, "byte_fallback", false);
    b->ignore_merges = nx_json_get_bool(l->model, "ignore_merges", false);
    b->fuse_unk = nx_json_get_bool(l->model, "fuse_unk", false);
    nx_str_add(&b->prefix, prefix.data, prefix.len);
    nx_str_add(&b->suffix, suffix.data, suffix.len);
    if (unk.len)
        b->unk = (int32_t)nx_map_get(&l->t->vocab, unk.data, unk.len, UINT64_MAX);
    l->t->unk = b->unk;
    l->t->model = TOK_MODEL_BPE;
    return split_merges(l) && add_merges(l);
}

static bool make_unigram(loader *l)
{
    tokenizer *t = l->t;
    int64_t unk = nx_json_get_int(l->model, "unk_id", -1);
    if (unk >= (int64_t)l->scores.n)
        return nx_fail("[tokenizer] unk_id is %lld in a vocabulary of %zu", (long long)unk,
                       l->scores.n);
    t->model = TOK_MODEL_UNIGRAM;
    t->unk = t->unigram.unk = unk < 0 ? -1 : (int32_t)unk;
    t->unigram.byte_fallback = nx_json_get_bool(l->model, "byte_fallback", false);
    for (size_t i = 0; i < l->scores.n; i++)
        unigram_add(&t->unigram, t->tokens.at[i].text, t->tokens.at[i].text_len, (int32_t)i,
                    l->scores.at[i]);
    return true;
}

static bool make_wordpiece(loader *l)
{
    tokenizer *t = l->t;
    const char *unk = nx_json_get_str(l->model, "unk_token", "[UNK]");
    const char *prefix = nx_json_get_str(l->model, "continuing_subword_prefix", "##");
    int64_t most = nx_json_get_int(l->model, "max_input_chars_per_word", 100);
    t->model = TOK_MODEL_WORDPIECE;
    t->unk = t->wordpiece.unk = (int32_t)nx_map_get(&t->vocab, unk, strlen(unk), UINT64_MAX);
    nx_str_puts(&t->wordpiece.next_prefix, prefix);
    t->wordpiece.max_chars = most < 0 ? 0 : (size_t)most;
    return t->unk >= 0 || nx_fail("[tokenizer] the unknown token \"%.100s\" is not in the "
                                  "vocabulary",
                                  unk);
}

static bool make_model(loader *l)
{
    const char *type = nx_json_get_str(l->model, "type", NULL);
    if (!type) /* older files: told by what they hold */
        type = l->has_merges ? "BPE" : l->scores.n ? "Unigram" : "WordPiece";
    bool list = l->scores.n > 0;
    if (!l->has_vocab || list != (strcmp(type, "Unigram") == 0))
        return nx_fail("[tokenizer] the \"%.100s\" model lacks a proper vocabulary", type);
    if (strcmp(type, "BPE") == 0)
        return make_bpe(l);
    if (strcmp(type, "Unigram") == 0)
        return make_unigram(l);
    if (strcmp(type, "WordPiece") == 0)
        return make_wordpiece(l);
    return nx_fail("[tokenizer] the model \"%.100s\" is not known", type);
}

/* ---- the other parts ---- */

static bool make_added(loader *l)
{
    size_t i;
    json_t *a;
    json_array_foreach(l->added, i, a)
    {
        const json_t *text = json_object_get(a, "content");
        int64_t id = nx_json_get_int(a, "id", -1);
        if (!json_is_string(text) || id < 0 || id >= TOK_MAX_VOCAB)
            return nx_fail("[tokenizer] added token %zu lacks a proper id or content", i);
        size_t len = json_string_length(text);
        const char *s = json_string_value(text);
        const nx_map_entry *own = nx_map_find(&l->t->vocab, s, len);
        added_token t = {
            .id = own ? (int32_t)own->value : (int32_t)id,
            .text = s,
            .len = (uint32_t)len,
            .special = nx_json_get_bool(a, "special", false),
            .single_word = nx_json_get_bool(a, "single_word", false),
            .lstrip = nx_json_get_bool(a, "lstrip", false),
            .rstrip = nx_json_get_bool(a, "rstrip", false),
            .normalized = nx_json_get_bool(a, "normalized", true),
        };
        if (!tok_add_added(l->t, t))
            return false;
    }
    return true;
}

typedef bool part_fn(tokenizer *t, const json_t *o);

static bool read_part(loader *l, part_fn *make)
{
    json_t *o = next_tree(&l->s);
    bool ok = o && make(l->t, o);
    json_decref(o);
    return ok;
}

static bool read_key(loader *l)
{
    nx_slice key = l->s.text;
    if (nx_slice_is(key, "model"))
        return read_model(l);
    if (nx_slice_is(key, "normalizer"))
        return read_part(l, tok_json_normalizer);
    if (nx_slice_is(key, "pre_tokenizer"))
        return read_part(l, tok_json_pre_tokenizer);
    if (nx_slice_is(key, "post_processor"))
        return read_part(l, tok_json_post_processor);
    if (nx_slice_is(key, "decoder"))
        return read_part(l, tok_json_decoder);
    if (nx_slice_is(key, "added_tokens")) {
        json_decref(l->added);
        l->added = next_tree(&l->s);
        return l->added != NULL;
    }
    return nx_json_skip_value(&l->s);
}

static bool read_file(loader *l)
{
    nx_json_stream *s = &l->s;
    if (nx_json_next(s) != NX_JSON_OBJECT)
        return s->token != NX_JSON_ERROR && nx_json_stream_fail(s, "a tokenizer is an object");
    while (nx_json_next(s) == NX_JSON_KEY)
        if (!read_key(l))
            return false;
    return s->token == NX_JSON_OBJECT_END && nx_json_next(s) == NX_JSON_END;
}

/* ---- tokenizer_config.json ---- */

/* A token is named by its text, or by an object with its text. */
static int32_t config_id(const tokenizer *t, const json_t *config, const char *key)
{
    const json_t *v = json_object_get(config, key);
    if (json_is_object(v))
        v = json_object_get(v, "content");
    return json_is_string(v) ? tok_id(t, json_string_value(v), json_string_length(v)) : -1;
}

static void apply_config(tokenizer *t, const json_t *config)
{
    t->bos = config_id(t, config, "bos_token");
    t->eos = config_id(t, config, "eos_token");
    t->pad = config_id(t, config, "pad_token");
    if (t->unk < 0)
        t->unk = config_id(t, config, "unk_token");
    const json_t *bos = json_object_get(config, "add_bos_token");
    const json_t *eos = json_object_get(config, "add_eos_token");
    if (json_is_boolean(bos))
        tok_want_bos(t, json_is_true(bos));
    if (json_is_boolean(eos))
        tok_want_eos(t, json_is_true(eos));
}

/* Tokens that a folder adds to those of its tokenizer.model: {"32000": {"content": "<|end|>", …},
 * …} */
static bool add_settings_tokens(tokenizer *t, json_t *config)
{
    const char *number;
    json_t *o;
    json_object_foreach(json_object_get(config, "added_tokens_decoder"), number, o)
    {
        const json_t *text = json_object_get(o, "content");
        char *end;
        long id = strtol(number, &end, 10);
        if (!json_is_string(text) || *end || id < 0 || id >= TOK_MAX_VOCAB)
            return nx_fail("[tokenizer] added token \"%.20s\" lacks a proper id or content",
                           number);
        added_token a = {.id = (int32_t)id,
                         .text = json_string_value(text),
                         .len = (uint32_t)json_string_length(text),
                         .special = nx_json_get_bool(o, "special", false),
                         .single_word = nx_json_get_bool(o, "single_word", false),
                         .lstrip = nx_json_get_bool(o, "lstrip", false),
                         .rstrip = nx_json_get_bool(o, "rstrip", false)};
        if (!nx_map_find(&t->by_text, a.text, a.len) && !tok_add_added(t, a))
            return false;
    }
    return true;
}

bool tok_json_settings(tokenizer *t, nx_slice config, const char *name)
{
    json_t *o = nx_json_parse(config.data, config.len, name);
    int32_t bos = t->bos, eos = t->eos, pad = t->pad;
    static const char *const own_ids[] = {"XLMRoberta", "Camembert", "Barthez",
                                          "MBart",      "Nllb",      "Pegasus"};
    const char *class = o ? nx_json_get_str(o, "tokenizer_class", "") : "";
    bool ok = o && add_settings_tokens(t, o);
    for (size_t i = 0; i < sizeof own_ids / sizeof *own_ids; i++)
        if (strncmp(class, own_ids[i], strlen(own_ids[i])) == 0)
            ok = nx_fail(
                "[tokenizer] %s numbers its pieces in a way of its own: it needs a tokenizer.json",
                class);
    if (ok) {
        bool adds_bos = tok_adds_bos(t);
        tok_want_bos(t, false);
        t->bos = config_id(t, o, "bos_token") < 0 ? bos : config_id(t, o, "bos_token");
        t->eos = config_id(t, o, "eos_token") < 0 ? eos : config_id(t, o, "eos_token");
        t->pad = config_id(t, o, "pad_token") < 0 ? pad : config_id(t, o, "pad_token");
        tok_want_bos(t, nx_json_get_bool(o, "add_bos_token", adds_bos));
        bool t5 = strncmp(class, "T5", 2) == 0;
        tok_want_eos(t, nx_json_get_bool(o, "add_eos_token", t5));
    }
    json_decref(o);
    return ok;
}

static bool check_around(const tokenizer *t, const tok_ids *ids)
{
    for (size_t i = 0; i < ids->n; i++)
        if (!tok_token(t, ids->at[i]).data)
            return nx_fail("[tokenizer] the post-processor adds the id %d, which no token has",
                           (int)ids->at[i]);
    return true;
}

static bool load_json(loader *l, nx_slice config, const char *name)
{
    tokenizer *t = l->t;
    if (!read_file(l) || !make_model(l) || !make_added(l) || !check_around(t, &t->before) ||
        !check_around(t, &t->after))
        return false;
    if (config.data) {
        json_t *o = nx_json_parse(config.data, config.len, name);
        if (!o)
            return false;
        apply_config(t, o);
        json_decref(o);
    }
    return tok_finish(t);
}

tokenizer *tok_from_json_memory(nx_slice json, nx_slice config, const char *name)
{
    loader l = {.t = tok_new(), .model = json_object()};
    nx_json_stream_init(&l.s, json.data, json.len, name);
    bool ok = load_json(&l, config, name);
    if (!ok)
        tok_free(l.t);
    nx_json_stream_clear(&l.s);
    nx_arena_clear(&l.texts);
    nx_vec_clear(&l.merges);
    nx_vec_clear(&l.scores);
    json_decref(l.model);
    json_decref(l.added);
    return ok ? l.t : NULL;
}

/* ---- from files ---- */

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The path of another file in the folder of path (or in path, if that is a folder). */
static void beside(nx_str *out, const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    out->len = 0;
    if (is_folder(path))
        nx_str_printf(out, "%s/%s", path, name);
    else
        nx_str_printf(out, "%.*s%s", slash ? (int)(slash - path + 1) : 0, path, name);
}

/* generation_config.json: what ends a generation, one id or several. */
static bool apply_generation(tokenizer *t, const char *path)
{
    json_t *o = nx_json_load_file(path);
    if (!o)
        return false;
    const json_t *eos = json_object_get(o, "eos_token_id");
    size_t i;
    json_t *v;
    if (json_is_integer(eos))
        tok_mark_eog(t, (int32_t)json_integer_value(eos));
    json_array_foreach(eos, i, v) if (json_is_integer(v))
        tok_mark_eog(t, (int32_t)json_integer_value(v));
    json_decref(o);
    return true;
}

static tokenizer *load_files(const char *path, nx_str *other)
{
    nx_mapping *config = NULL;
    nx_mapping *file = nx_mapping_open(path);
    if (!file)
        return NULL;
    beside(other, path, "tokenizer_config.json");
    if (access(nx_str_cstr(other), F_OK) == 0 && !(config = nx_mapping_open(nx_str_cstr(other)))) {
        nx_mapping_unref(&file);
        return NULL;
    }
    nx_slice json = {(const char *)nx_mapping_data(file), nx_mapping_size(file)}, settings = {0};
    if (config)
        settings = (nx_slice){(const char *)nx_mapping_data(config), nx_mapping_size(config)};
    tokenizer *t = nx_ends_with(path, ".model")
                       ? tok_from_sentencepiece_memory(json, settings, path)
                       : tok_from_json_memory(json, settings, path);
    nx_mapping_unref(&file);
    nx_mapping_unref(&config);
    beside(other, path, "generation_config.json");
    if (t && access(nx_str_cstr(other), F_OK) == 0 && !apply_generation(t, nx_str_cstr(other))) {
        tok_free(t);
        return NULL;
    }
    return t;
}

tokenizer *tok_from_json(const char *path)
{
    nx_str file = {0}, other = {0};
    if (is_folder(path)) {
        beside(&file, path, "tokenizer.json");
        beside(&other, path, "tokenizer.model");
        if (access(nx_str_cstr(&file), F_OK) != 0 && access(nx_str_cstr(&other), F_OK) == 0)
            beside(&file, path, "tokenizer.model");
    } else
        nx_str_puts(&file, path);
    tokenizer *t = load_files(nx_str_cstr(&file), &other);
    nx_str_clear(&file);
    nx_str_clear(&other);
    return t;
}
