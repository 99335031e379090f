/* vocab_gguf.c: a folder's tokenizer.json, or else its tokenizer.model, as GGUF's metadata. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/map.h"
#include "base/os.h"
#include "base/str.h"
#include "base/vec.h"
#include "runtime/convert/vocab.h"
#include "runtime/convert/vocab_kinds.h"
#include "runtime/text/pretok.h"
#include "runtime/text/tok_pre.h"

#define KEY(name) "tokenizer.ggml." name

enum { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE, MOST_PATTERNS = 8, MOST_TOKENS = 1 << 24 };

typedef enum { BYTES_BPE, PIECES_BPE, UNIGRAM, WORDPIECE } vocab_kind;
static const char *const kind_names[] = {"gpt2", "llama", "t5", "bert"}; /* tokenizer.ggml.model */

typedef struct {
    vocab_kind kind;
    nx_gguf_writer *w;
    json_t *tokenizer, *settings; /* tokenizer: NULL where there are `pieces` */
    const spm_file *pieces;
    const json_t *config;
    nx_slice *tokens; /* by id; NULL: a hole */
    int32_t *types;
    float *scores; /* of UNIGRAM and pieces */
    int n;
    NX_VEC(char *) made; /* names of holes, and of words' beginnings */
} maker;

/* ---- tokens ----------------------------------------------------------------------------------- */

static bool set_token(maker *m, json_int_t id, const json_t *text, int type)
{
    if (id < 0 || id >= m->n)
        return nx_fail("[tokenizer.json] token %lld is beyond the model's %d rows", (long long)id, m->n);
    m->tokens[id] = (nx_slice){json_string_value(text), json_string_length(text)};
    m->types[id] = type;
    return true;
}

static bool is_byte_token(const char *s)
{
    unsigned v;
    char end;
    return strlen(s) == 6 && sscanf(s, "<0x%2X%c", &v, &end) == 2 && end == '>';
}

static void keep_made(maker *m, int id, nx_str *name)
{
    m->tokens[id].len = name->len;
    nx_vec_push(&m->made, nx_str_take(name));
    m->tokens[id].data = m->made.at[m->made.n - 1];
}

/* GGUF marks a word's beginning, tokenizer.json what goes on. */
static void mark_word(maker *m, int id)
{
    nx_slice *t = &m->tokens[id];
    nx_str name = {0};
    if (t->len > 2 && memcmp(t->data, "##", 2) == 0) {
        *t = (nx_slice){t->data + 2, t->len - 2};
        return;
    }
    nx_str_puts(&name, "\xE2\x96\x81");
    nx_str_add(&name, t->data, t->len);
    keep_made(m, id, &name);
}

static bool read_word(maker *m, const char *text, json_int_t id)
{
    if (id < 0 || id >= m->n)
        return nx_fail("[tokenizer.json] token %lld is beyond the model's %d rows", (long long)id, m->n);
    m->tokens[id] = (nx_slice){text, strlen(text)};
    m->types[id] = m->kind != BYTES_BPE && is_byte_token(text) ? BYTE : NORMAL;
    if (m->kind == WORDPIECE)
        mark_word(m, (int)id);
    return true;
}

/* [["text", score], …] */
static bool read_scored(maker *m, const json_t *vocab)
{
    size_t i;
    json_t *one;
    m->scores = nx_calloc((size_t)m->n, sizeof *m->scores);
    json_array_foreach(vocab, i, one)
    {
        const char *text = json_string_value(json_array_get(one, 0));
        if (!text || !json_is_number(json_array_get(one, 1)))
            return nx_fail("[tokenizer.json] token %zu has no text or no score", i);
        if (!read_word(m, text, (json_int_t)i))
            return false;
        m->scores[i] = (float)json_number_value(json_array_get(one, 1));
    }
    return true;
}

static int find_token(const maker *m, const char *text)
{
    for (int i = 0; text && i < m->n; i++)
        if (nx_slice_is(m->tokens[i], text))
            return i;
    return -1;
}

/* The model's own word for what it does not know. */
static int unknown_token(const maker *m)
{
    for (size_t i = 0; m->pieces && i < m->pieces->pieces.n; i++)
        if (m->pieces->pieces.at[i].type == SPM_UNKNOWN)
            return (int)i;
    json_int_t id = nx_json_get_int(m->tokenizer, "model.unk_id", -1);
    return id >= 0 && id < m->n ? (int)id : find_token(m, nx_json_get_str(m->tokenizer, "model.unk_token", NULL));
}

/* Rows of the embedding that no token has. */
static void fill_holes(maker *m)
{
    for (int i = 0; i < m->n; i++) {
        if (m->tokens[i].data)
            continue;
        nx_str name = {0};
        nx_str_printf(&name, "[PAD%d]", i);
        keep_made(m, i, &name);
        m->types[i] = UNUSED;
    }
}

static bool read_pieces(maker *m)
{
    const spm_file *f = m->pieces;
    if (f->pieces.n > (size_t)m->n)
        return nx_fail("[tokenizer.model] %zu pieces are more than the model's %d rows", f->pieces.n, m->n);
    m->scores = nx_calloc((size_t)m->n, sizeof *m->scores);
    for (size_t i = 0; i < f->pieces.n; i++) {
        m->tokens[i] = f->pieces.at[i].text;
        m->types[i] = (int32_t)f->pieces.at[i].type;
        m->scores[i] = f->pieces.at[i].score;
    }
    fill_holes(m);
    return true;
}

static bool read_vocab(maker *m)
{
    const char *text;
    json_t *id;
    json_t *vocab = nx_json_get(m->tokenizer, "model.vocab");
    if (m->kind == UNIGRAM ? !json_is_array(vocab) : !json_is_object(vocab))
        return nx_fail("[tokenizer.json] has no vocabulary");
    if (m->kind == UNIGRAM && !read_scored(m, vocab))
        return false;
    json_object_foreach(vocab, text, id)
        if (!read_word(m, text, json_integer_value(id)))
            return false;
    size_t k;
    json_t *added;
    json_array_foreach(json_object_get(m->tokenizer, "added_tokens"), k, added)
    {
        bool special = nx_json_get_bool(added, "special", false);
        if (!set_token(m, nx_json_get_int(added, "id", -1), json_object_get(added, "content"),
                       special ? CONTROL : USER))
            return false;
    }
    int unk = unknown_token(m);
    if (m->kind != BYTES_BPE && unk >= 0)
        m->types[unk] = UNKNOWN;
    fill_holes(m);
    return true;
}

/* ---- merges ----------------------------------------------------------------------------------- */

/* "a b", or ["a", "b"]. */
static bool merge_parts(const json_t *v, nx_str *out)
{
    nx_str_truncate(out, 0);
    if (json_is_string(v)) {
        nx_str_add(out, json_string_value(v), json_string_length(v));
    } else {
        const json_t *a = json_array_get(v, 0), *b = json_array_get(v, 1);
        if (!json_is_string(a) || !json_is_string(b))
            return nx_fail("[tokenizer.json] a merge is not two tokens");
        nx_str_printf(out, "%s %s", json_string_value(a), json_string_value(b));
    }
    return true;
}

static bool write_merges(maker *m)
{
    const json_t *merges = nx_json_get(m->tokenizer, "model.merges");
    size_t n = json_array_size(merges);
    nx_slice *items = nx_calloc(n + 1, sizeof *items);
    nx_str one = {0};
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++) {
        ok = merge_parts(json_array_get(merges, i), &one);
        items[i] = (nx_slice){nx_strndup(nx_str_cstr(&one), one.len), one.len};
    }
    ok = ok && nx_gguf_writer_strings(m->w, KEY("merges"), items, n);
    for (size_t i = 0; i < n; i++)
        free((char *)(uintptr_t)items[i].data);
    free(items);
    nx_str_clear(&one);
    return ok;
}

/* SentencePiece's scores in the order of the merges: the earlier, the higher. */
static bool write_scores(maker *m)
{
    const json_t *merges = nx_json_get(m->tokenizer, "model.merges");
    size_t n = json_array_size(merges);
    float *scores = nx_calloc((size_t)m->n, sizeof *scores);
    nx_map ids = {0};
    nx_str one = {0};
    for (int i = 0; i < m->n; i++) {
        if (m->types[i] == NORMAL)
            nx_map_set(&ids, m->tokens[i].data, m->tokens[i].len, (uint64_t)i);
        scores[i] = m->types[i] == NORMAL ? -(float)(n + (size_t)i) : 0;
    }
    bool ok = true;
    for (size_t i = n; i-- > 0 && ok;) {
        ok = merge_parts(json_array_get(merges, i), &one);
        char *gap = ok && one.len > 1 ? memchr(one.data + 1, ' ', one.len - 1) : NULL;
        if (!gap)
            continue;
        memmove(gap, gap + 1, one.len - (size_t)(gap - one.data) - 1);
        nx_map_entry *e = nx_map_find(&ids, one.data, one.len - 1);
        if (e)
            scores[e->value] = -(float)i;
    }
    ok = ok && nx_gguf_writer_array(m->w, KEY("scores"), NX_GGUF_F32, scores, (uint64_t)m->n);
    nx_map_clear(&ids);
    nx_str_clear(&one);
    free(scores);
    return ok;
}

/* ---- the way texts are split ------------------------------------------------------------------ */

typedef struct {
    const char *patterns[MOST_PATTERNS + 1];
    int n;
    bool bytes, prefix, nfc, other;
} pipeline;

static void add_pattern(pipeline *p, const char *pattern)
{
    if (p->n < MOST_PATTERNS)
        p->patterns[p->n++] = pattern;
    else
        p->other = true;
}

static void read_split(pipeline *p, const json_t *o);

static void read_splits(pipeline *p, const json_t *list)
{
    size_t i;
    json_t *o;
    json_array_foreach(list, i, o)
        read_split(p, o);
}

static void read_split(pipeline *p, const json_t *o)
{
    const char *type = nx_json_get_str(o, "type", "");
    if (strcmp(type, "Sequence") == 0) {
        read_splits(p, json_object_get(o, "pretokenizers"));
    } else if (strcmp(type, "ByteLevel") == 0) {
        p->bytes = true;
        p->prefix = nx_json_get_bool(o, "add_prefix_space", false);
        if (nx_json_get_bool(o, "use_regex", true))
            add_pattern(p, PRE_GPT2_PATTERN);
    } else if (strcmp(type, "Split") == 0) {
        const char *regex = nx_json_get_str(o, "pattern.Regex", NULL);
        if (regex)
            add_pattern(p, regex);
    } else if (strcmp(type, "Digits") == 0) {
        add_pattern(p, nx_json_get_bool(o, "individual_digits", false) ? "\\p{N}" : "\\p{N}+");
    } else if (strcmp(type, "Metaspace") == 0) {
        const char *scheme = nx_json_get_str(o, "prepend_scheme", "always");
        p->prefix = strcmp(scheme, "never") != 0 && nx_json_get_bool(o, "add_prefix_space", true);
    } else {
        p->other = true;
    }
}

static void read_normalizer(pipeline *p, const json_t *o)
{
    const char *type = nx_json_get_str(o, "type", "");
    size_t i;
    json_t *each;
    if (strcmp(type, "Sequence") == 0)
        json_array_foreach(json_object_get(o, "normalizers"), i, each)
            read_normalizer(p, each);
    else if (strcmp(type, "NFC") == 0)
        p->nfc = true;
    else if (strcmp(type, "Prepend") == 0)
        p->prefix = true;
}

static bool write_pre(maker *m, const pipeline *p)
{
    size_t n;
    unsigned flags = p->nfc ? TOK_PRE_NFC : 0;
    if (nx_json_get_bool(m->tokenizer, "model.ignore_merges", false))
        flags |= TOK_PRE_IGNORE_MERGES;
    const char *name = p->other ? nx_fail_null("[tokenizer.json] splits texts in a way that GGUF does not "
                                               "know")
                                : tok_pre_name(p->patterns, flags, &n);
    return name && nx_gguf_writer_str(m->w, KEY("pre"), (nx_slice){name, n});
}

/* ---- special tokens --------------------------------------------------------------------------- */

/* By tokenizer_config.json's text, else config.json's number. */
static int special_id(const maker *m, const char *name)
{
    char key[64];
    const json_t *v = nx_json_get(m->settings, name);
    const char *text = json_is_object(v) ? nx_json_get_str(v, "content", NULL) : json_string_value(v);
    int id = find_token(m, text);
    if (id >= 0)
        return id;
    snprintf(key, sizeof key, "%s_id", name);
    const json_t *number = nx_json_get(m->config, key);
    if (json_is_array(number))
        number = json_array_get(number, 0);
    json_int_t i = json_is_integer(number) ? json_integer_value(number) : -1;
    if (i < 0 && m->pieces)
        i = strcmp(name, "bos_token") == 0   ? m->pieces->bos
            : strcmp(name, "eos_token") == 0 ? m->pieces->eos
            : strcmp(name, "pad_token") == 0 ? m->pieces->pad : -1;
    return i >= 0 && i < m->n ? (int)i : -1;
}

static bool write_specials(maker *m)
{
    static const struct {
        const char *name, *key;
    } all[] = {{"bos_token", KEY("bos_token_id")}, {"eos_token", KEY("eos_token_id")},
               {"unk_token", KEY("unknown_token_id")}, {"pad_token", KEY("padding_token_id")}};
    bool ok = true;
    for (size_t i = 0; i < sizeof all / sizeof *all && ok; i++) {
        int id = special_id(m, all[i].name);
        if (m->kind == WORDPIECE && i < 2)
            continue; /* write_edges */
        if (id < 0 && strcmp(all[i].name, "unk_token") == 0 && m->kind != BYTES_BPE)
            id = unknown_token(m);
        ok = id < 0 || nx_gguf_writer_u32(m->w, all[i].key, (uint32_t)id);
    }
    int eos = special_id(m, "eos_token"); /* another that ends a turn */
    const json_t *list = nx_json_get(m->config, "eos_token_id");
    for (size_t i = 0; ok && i < json_array_size(list); i++) {
        json_int_t id = json_integer_value(json_array_get(list, i));
        if (id != eos && id >= 0 && id < m->n)
            return nx_gguf_writer_u32(m->w, KEY("eot_token_id"), (uint32_t)id);
    }
    return ok;
}

/* The token that the post-processor puts before a text, or behind it; -1: none. */
static int edge_token(const maker *m, const json_t *post, bool behind)
{
    size_t i;
    json_t *each;
    const json_t *single = json_object_get(post, "single");
    const json_t *edge = json_array_get(single, behind && json_array_size(single) ? json_array_size(single) - 1 : 0);
    const json_t *bert = json_array_get(json_object_get(post, behind ? "sep" : "cls"), 0);
    int id = find_token(m, bert ? json_string_value(bert) : nx_json_get_str(edge, "SpecialToken.id", NULL));
    json_array_foreach(json_object_get(post, "processors"), i, each)
        id = id < 0 ? edge_token(m, each, behind) : id;
    return id;
}

/* What stands around every text, and what is told of it. */
static bool write_edges(maker *m)
{
    const json_t *post = json_object_get(m->tokenizer, "post_processor");
    int first = edge_token(m, post, false), last = edge_token(m, post, true);
    int bos = special_id(m, "bos_token"), eos = special_id(m, "eos_token");
    if (m->kind == WORDPIECE)
        return (first < 0 || (nx_gguf_writer_u32(m->w, KEY("cls_token_id"), (uint32_t)first) &&
                              nx_gguf_writer_u32(m->w, KEY("bos_token_id"), (uint32_t)first))) &&
               (last < 0 || (nx_gguf_writer_u32(m->w, KEY("seperator_token_id"), (uint32_t)last) &&
                             nx_gguf_writer_u32(m->w, KEY("eos_token_id"), (uint32_t)last))) &&
               nx_gguf_writer_bool(m->w, KEY("add_bos_token"), first >= 0) &&
               nx_gguf_writer_bool(m->w, KEY("add_sep_token"), last >= 0);
    bool before = m->pieces ? m->kind == PIECES_BPE : bos >= 0 && first == bos;
    before = nx_json_get_bool(m->settings, "add_bos_token", before) || (before && !m->pieces);
    bool behind = m->pieces ? nx_json_get_bool(m->settings, "add_eos_token", false) : eos >= 0 && last == eos;
    return nx_gguf_writer_bool(m->w, KEY("add_bos_token"), before) &&
           (m->kind != UNIGRAM || nx_gguf_writer_bool(m->w, KEY("add_eos_token"), behind));
}

static char *chat_template(const maker *m, const char *folder)
{
    nx_str path = {0}, text = {0};
    nx_str_printf(&path, "%s/chat_template.jinja", folder);
    const json_t *v = nx_json_get(m->settings, "chat_template");
    size_t i;
    json_t *each;
    if (nx_os_is_file(nx_str_cstr(&path)))
        nx_os_read_file(nx_str_cstr(&path), &text, 16 << 20);
    else if (json_is_string(v))
        nx_str_puts(&text, json_string_value(v));
    else
        json_array_foreach(v, i, each)
            if (strcmp(nx_json_get_str(each, "name", ""), "default") == 0)
                nx_str_puts(&text, nx_json_get_str(each, "template", ""));
    nx_str_clear(&path);
    return nx_str_take(&text);
}

/* ---- all of it -------------------------------------------------------------------------------- */

/* Of the pipeline that all kinds but unigram and whole words have. */
static bool write_rules(maker *m)
{
    pipeline p = {0};
    unigram_rules u = {0};
    bool ok = true;
    const json_t *pre = json_object_get(m->tokenizer, "pre_tokenizer");
    if (m->kind == WORDPIECE)
        return wordpiece_is_usual(m->tokenizer);
    if (m->kind == UNIGRAM) {
        ok = (m->pieces ? unigram_rules_of_pieces(m->pieces, &u) : unigram_rules_of(m->tokenizer, &u)) &&
             (!u.charsmap.len || nx_gguf_writer_array(m->w, KEY("precompiled_charsmap"), NX_GGUF_U8, u.charsmap.data,
                                                      u.charsmap.len)) &&
             nx_gguf_writer_bool(m->w, KEY("remove_extra_whitespaces"), u.removes_spaces) &&
             nx_gguf_writer_bool(m->w, KEY("add_space_prefix"), u.prefix);
        nx_str_clear(&u.charsmap);
        return ok;
    }
    if (m->pieces)
        p.prefix = m->pieces->dummy_prefix;
    read_normalizer(&p, json_object_get(m->tokenizer, "normalizer"));
    if (json_is_object(pre))
        read_split(&p, pre);
    return (m->kind == PIECES_BPE || write_pre(m, &p)) &&
           nx_gguf_writer_bool(m->w, KEY("add_space_prefix"), p.prefix);
}

static bool find_kind(maker *m)
{
    pipeline p = {0};
    if (m->pieces) {
        m->kind = m->pieces->kind == SPM_KIND_BPE ? PIECES_BPE : UNIGRAM;
        return pieces_are_usual(m->pieces);
    }
    const char *kind = nx_json_get_str(m->tokenizer, "model.type", "BPE");
    const json_t *pre = json_object_get(m->tokenizer, "pre_tokenizer");
    if (json_is_object(pre))
        read_split(&p, pre);
    bool fallback = nx_json_get_bool(m->tokenizer, "model.byte_fallback", false);
    m->kind = strcmp(kind, "Unigram") == 0 ? UNIGRAM : strcmp(kind, "WordPiece") == 0 ? WORDPIECE
              : p.bytes                    ? BYTES_BPE : PIECES_BPE;
    return m->kind == UNIGRAM || m->kind == WORDPIECE || (strcmp(kind, "BPE") == 0 && (p.bytes || fallback)) ||
           nx_fail("[tokenizer.json] a tokenizer of the kind '%s' cannot be written to GGUF", kind);
}

static bool write_ranks(maker *m)
{
    switch (m->kind) {
    case BYTES_BPE: return write_merges(m);
    case PIECES_BPE:
        if (!m->scores)
            return write_scores(m);
        /* fall through */
    case UNIGRAM: return nx_gguf_writer_array(m->w, KEY("scores"), NX_GGUF_F32, m->scores, (uint64_t)m->n);
    case WORDPIECE: break;
    }
    return true;
}

static bool write_all(maker *m, const char *folder, const nx_str *source)
{
    if (!find_kind(m) || !(m->pieces ? read_pieces(m) : read_vocab(m)))
        return false;
    char *chat = chat_template(m, folder);
    bool ok = nx_gguf_writer_str(m->w, KEY("model"), nx_slice_of(kind_names[m->kind])) && write_rules(m) &&
              (m->kind == BYTES_BPE || nx_gguf_writer_str(m->w, KEY("pre"), nx_slice_of("default"))) &&
              nx_gguf_writer_strings(m->w, KEY("tokens"), m->tokens, (uint64_t)m->n) &&
              nx_gguf_writer_array(m->w, KEY("token_type"), NX_GGUF_I32, m->types, (uint64_t)m->n) &&
              write_ranks(m) && write_specials(m) && write_edges(m) &&
              (!*chat || nx_gguf_writer_str(m->w, "tokenizer.chat_template", nx_slice_of(chat))) &&
              (m->pieces ||
               nx_gguf_writer_str(m->w, "tokenizer.huggingface.json", (nx_slice){source->data, source->len}));
    free(chat);
    return ok;
}

static json_t *folder_json(const char *folder, const char *name)
{
    nx_str path = {0};
    nx_str_printf(&path, "%s/%s", folder, name);
    json_t *o = nx_os_is_file(nx_str_cstr(&path)) ? nx_json_load_file(nx_str_cstr(&path)) : NULL;
    nx_str_clear(&path);
    return o;
}

typedef enum { NO_SOURCE, JSON_SOURCE, PIECES_SOURCE } source_kind;

/* The folder's tokenizer.json, else its tokenizer.model, whole. */
static bool read_source(const char *folder, nx_str *out, source_kind *kind)
{
    static const char *const names[] = {[JSON_SOURCE] = "tokenizer.json", [PIECES_SOURCE] = "tokenizer.model"};
    nx_str path = {0};
    bool ok = true;
    *kind = NO_SOURCE;
    for (source_kind k = JSON_SOURCE; k <= PIECES_SOURCE && *kind == NO_SOURCE; k++) {
        nx_str_truncate(&path, 0);
        nx_str_printf(&path, "%s/%s", folder, names[k]);
        if (nx_os_is_file(nx_str_cstr(&path))) {
            *kind = k;
            ok = nx_os_read_file(nx_str_cstr(&path), out, 256 << 20);
        }
    }
    nx_str_clear(&path);
    return ok;
}

bool vocab_to_gguf(nx_gguf_writer *w, const char *folder, const json_t *config, int n)
{
    nx_str source = {0};
    spm_file file = {0};
    source_kind kind;
    bool ok = read_source(folder, &source, &kind);
    if (kind == NO_SOURCE)
        return nx_gguf_writer_str(w, KEY("model"), nx_slice_of("no_vocab"));
    maker m = {.w = w, .config = config, .n = n, .pieces = kind == PIECES_SOURCE ? &file : NULL};
    if (m.pieces)
        ok = ok && spm_file_read(&file, (nx_slice){source.data, source.len});
    else
        ok = ok && (m.tokenizer = nx_json_parse(source.data, source.len, "tokenizer.json")) != NULL;
    m.settings = folder_json(folder, "tokenizer_config.json");
    if (ok && n > 0 && n <= MOST_TOKENS) {
        m.tokens = nx_calloc((size_t)n, sizeof *m.tokens);
        m.types = nx_calloc((size_t)n, sizeof *m.types);
        ok = write_all(&m, folder, &source);
    }
    for (size_t i = 0; i < m.made.n; i++)
        free(m.made.at[i]);
    nx_vec_clear(&m.made);
    free(m.tokens);
    free(m.types);
    free(m.scores);
    json_decref(m.tokenizer);
    json_decref(m.settings);
    spm_file_clear(&file);
    nx_str_clear(&source);
    return ok;
}
