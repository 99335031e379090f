/* vocab_folder.c: a GGUF file's vocabulary as tokenizer.json. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/map.h"
#include "base/os.h"
#include "base/vec.h"
#include "runtime/convert/vocab.h"
#include "runtime/text/tok_pre.h"

#define KEY(name) "tokenizer.ggml." name
#define MARK      "\xE2\x96\x81" /* U+2581, SentencePiece's space */

enum { UNKNOWN = 2, CONTROL = 3, USER = 4 };

typedef struct {
    const nx_gguf *g;
    nx_gguf_strings tokens;
    const nx_gguf_kv *types;
    nx_str out;
} maker;

/* A JSON string. The bytes of a vocabulary may be no UTF-8: such are written as U+FFFD by the reader
 * of the file, so they are passed on as they are only where they are valid. */
static void put_text(nx_str *out, nx_slice s)
{
    json_t *v = json_stringn(s.data ? s.data : "", s.len);
    char *text = v ? json_dumps(v, JSON_ENCODE_ANY) : NULL;
    nx_str_puts(out, text ? text : "\"\"");
    free(text);
    json_decref(v);
}

static void put_cstr(nx_str *out, const char *s)
{
    put_text(out, nx_slice_of(s));
}

static int64_t type_of(const maker *m, size_t i)
{
    return m->types ? nx_gguf_item_i64(m->types, i, 1) : 1;
}

static void put_added(maker *m)
{
    bool first = true;
    nx_str_puts(&m->out, "\"added_tokens\":[");
    for (size_t i = 0; i < m->tokens.n; i++) {
        int64_t type = type_of(m, i);
        if (type != UNKNOWN && type != CONTROL && type != USER)
            continue;
        nx_str_printf(&m->out, "%s{\"id\":%zu,\"content\":", first ? "" : ",", i);
        put_text(&m->out, nx_gguf_strings_at(&m->tokens, i));
        nx_str_printf(&m->out, ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
                               "\"normalized\":false,\"special\":%s}", type == USER ? "false" : "true");
        first = false;
    }
    nx_str_puts(&m->out, "],");
}

/* All tokens, the added ones too: their ids are kept by that. */
static void put_vocab(maker *m)
{
    nx_map seen = {0};
    bool first = true;
    nx_str_puts(&m->out, "\"vocab\":{");
    for (size_t i = 0; i < m->tokens.n; i++) {
        nx_slice s = nx_gguf_strings_at(&m->tokens, i);
        if (!nx_map_set(&seen, s.data, s.len, i))
            continue;
        if (!first)
            nx_str_putc(&m->out, ',');
        put_text(&m->out, s);
        nx_str_printf(&m->out, ":%zu", i);
        first = false;
    }
    nx_str_puts(&m->out, "}");
    nx_map_clear(&seen);
}

static bool put_merges(maker *m)
{
    nx_gguf_strings merges;
    if (!nx_gguf_strings_init(&merges, nx_gguf_find(m->g, KEY("merges")), KEY("merges")))
        return false;
    nx_str_puts(&m->out, ",\"merges\":[");
    for (size_t i = 0; i < merges.n; i++) {
        nx_slice s = nx_gguf_strings_at(&merges, i);
        const char *gap = s.len > 1 ? memchr(s.data + 1, ' ', s.len - 1) : NULL;
        size_t left = gap ? (size_t)(gap - s.data) : s.len;
        nx_str_puts(&m->out, i ? ",[" : "[");
        put_text(&m->out, (nx_slice){s.data, left});
        nx_str_putc(&m->out, ',');
        put_text(&m->out, gap ? (nx_slice){gap + 1, s.len - left - 1} : (nx_slice){"", 0});
        nx_str_putc(&m->out, ']');
    }
    nx_str_puts(&m->out, "]");
    nx_gguf_strings_clear(&merges);
    return true;
}

/* ---- merges of scores ------------------------------------------------------------------------- */

typedef struct {
    double score;
    size_t token, cut; /* the token, and where it is divided */
    uint64_t left, right;
} pair;

static int by_score(const void *pa, const void *pb)
{
    const pair *a = pa, *b = pb;
    if (a->score != b->score)
        return a->score < b->score ? 1 : -1;
    if (a->token != b->token)
        return a->token < b->token ? -1 : 1;
    return a->left != b->left ? (a->left < b->left ? -1 : 1) : (a->right > b->right) - (a->right < b->right);
}

/* SentencePiece merges the pair whose whole has the best score: every way to divide a token into two
 * others is a merge, of its score's rank. */
static bool put_scored_merges(maker *m)
{
    const nx_gguf_kv *scores = nx_gguf_find(m->g, KEY("scores"));
    NX_VEC(pair) pairs = {0};
    nx_map ids = {0};
    if (!scores || scores->count != m->tokens.n)
        return nx_fail("[tokenizer] the vocabulary has no scores");
    for (size_t i = 0; i < m->tokens.n; i++) {
        nx_slice s = nx_gguf_strings_at(&m->tokens, i);
        if (type_of(m, i) == 1 || type_of(m, i) == USER)
            nx_map_set(&ids, s.data, s.len, i);
    }
    for (size_t i = 0; i < m->tokens.n; i++) {
        nx_slice s = nx_gguf_strings_at(&m->tokens, i);
        for (size_t cut = 1; cut < s.len && s.len < 512 && type_of(m, i) == 1; cut++) {
            if (((unsigned char)s.data[cut] & 0xC0) == 0x80)
                continue;
            nx_map_entry *l = nx_map_find(&ids, s.data, cut);
            nx_map_entry *r = nx_map_find(&ids, s.data + cut, s.len - cut);
            if (l && r)
                nx_vec_push(&pairs, (pair){nx_gguf_item_f64(scores, i, -1e30), i, cut, l->value, r->value});
        }
    }
    if (pairs.n)
        qsort(pairs.at, pairs.n, sizeof *pairs.at, by_score);
    nx_str_puts(&m->out, ",\"merges\":[");
    for (size_t i = 0; i < pairs.n; i++) {
        nx_slice s = nx_gguf_strings_at(&m->tokens, pairs.at[i].token);
        size_t cut = pairs.at[i].cut;
        nx_str_puts(&m->out, i ? ",[" : "[");
        put_text(&m->out, (nx_slice){s.data, cut});
        nx_str_putc(&m->out, ',');
        put_text(&m->out, (nx_slice){s.data + cut, s.len - cut});
        nx_str_putc(&m->out, ']');
    }
    nx_str_puts(&m->out, "]");
    nx_vec_clear(&pairs);
    nx_map_clear(&ids);
    return true;
}

/* ---- the two kinds ---------------------------------------------------------------------------- */

static nx_slice token_of(const maker *m, const char *key)
{
    uint64_t id = nx_gguf_get_u64(m->g, key, UINT64_MAX);
    return id < m->tokens.n ? nx_gguf_strings_at(&m->tokens, (size_t)id) : (nx_slice){NULL, 0};
}

/* What stands around a text: the beginning's and the end's tokens. */
static void put_template(maker *m, bool bos, bool eos)
{
    nx_slice b = token_of(m, KEY("bos_token_id")), e = token_of(m, KEY("eos_token_id"));
    bos = bos && b.data;
    eos = eos && e.data;
    if (!bos && !eos) {
        nx_str_puts(&m->out, "\"post_processor\":null,");
        return;
    }
    nx_str_puts(&m->out, "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[");
    for (int twice = 0; twice < 2; twice++) {
        for (int part = 0; part <= twice; part++) {
            if (part)
                nx_str_putc(&m->out, ',');
            if (bos) {
                nx_str_puts(&m->out, "{\"SpecialToken\":{\"id\":");
                put_text(&m->out, b);
                nx_str_printf(&m->out, ",\"type_id\":%d}},", part);
            }
            nx_str_printf(&m->out, "{\"Sequence\":{\"id\":\"%s\",\"type_id\":%d}}", part ? "B" : "A", part);
            if (eos) {
                nx_str_puts(&m->out, ",{\"SpecialToken\":{\"id\":");
                put_text(&m->out, e);
                nx_str_printf(&m->out, ",\"type_id\":%d}}", part);
            }
        }
        nx_str_puts(&m->out, twice ? "],\"special_tokens\":{" : "],\"pair\":[");
    }
    for (int i = 0; i < 2; i++) {
        nx_slice s = i ? e : b;
        if (i ? !eos : !bos)
            continue;
        nx_str_puts(&m->out, i && bos ? "," : "");
        put_text(&m->out, s);
        nx_str_puts(&m->out, ":{\"id\":");
        put_text(&m->out, s);
        nx_str_printf(&m->out, ",\"ids\":[%llu],\"tokens\":[",
                      (unsigned long long)nx_gguf_get_u64(m->g, i ? KEY("eos_token_id") : KEY("bos_token_id"),
                                                          0));
        put_text(&m->out, s);
        nx_str_puts(&m->out, "]}");
    }
    nx_str_puts(&m->out, "}},");
}

static bool wants(const maker *m, const char *key, bool fallback)
{
    return nx_gguf_get_bool(m->g, key, fallback);
}

static void put_splits(maker *m, const tok_pre *pre, bool prefix)
{
    nx_str_puts(&m->out, "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[");
    for (size_t i = 0; pre->patterns[i]; i++) {
        nx_str_puts(&m->out, "{\"type\":\"Split\",\"pattern\":{\"Regex\":");
        put_cstr(&m->out, pre->patterns[i]);
        nx_str_puts(&m->out, "},\"behavior\":\"Isolated\",\"invert\":false},");
    }
    nx_str_printf(&m->out, "{\"type\":\"ByteLevel\",\"add_prefix_space\":%s,\"trim_offsets\":true,"
                           "\"use_regex\":false}]},", prefix ? "true" : "false");
}

static void begin(maker *m)
{
    nx_str_puts(&m->out, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,");
    put_added(m);
}

static void put_space_pipeline(maker *m, bool prefix)
{
    nx_str_puts(&m->out, "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[");
    if (prefix)
        nx_str_puts(&m->out, "{\"type\":\"Prepend\",\"prepend\":\"" MARK "\"},");
    nx_str_puts(&m->out, "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" MARK
                         "\"}]},\"pre_tokenizer\":null,");
}

static void put_space_decoder(maker *m, bool prefix)
{
    nx_str_puts(&m->out, "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":"
                         "{\"String\":\"" MARK "\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},"
                         "{\"type\":\"Fuse\"}");
    if (prefix)
        nx_str_puts(&m->out, ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}");
    nx_str_puts(&m->out, "]},");
}

static void put_model(maker *m, nx_slice unk, bool fallback, bool ignore_merges)
{
    nx_str_puts(&m->out, "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":");
    if (unk.data)
        put_text(&m->out, unk);
    else
        nx_str_puts(&m->out, "null");
    nx_str_printf(&m->out, ",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":%s,"
                           "\"byte_fallback\":%s,\"ignore_merges\":%s,", fallback ? "true" : "false",
                  fallback ? "true" : "false", ignore_merges ? "true" : "false");
    put_vocab(m);
}

static bool make_bytes(maker *m)
{
    nx_slice name = nx_gguf_get_str(m->g, KEY("pre"));
    const tok_pre *pre = tok_pre_find(name.data ? name : nx_slice_of("default"));
    if (!pre)
        return false;
    begin(m);
    bool marks = pre->flags & TOK_PRE_NO_BYTES;
    if (marks) {
        put_space_pipeline(m, false);
    } else {
        nx_str_puts(&m->out, pre->flags & TOK_PRE_NFC ? "\"normalizer\":{\"type\":\"NFC\"},"
                                                      : "\"normalizer\":null,");
        put_splits(m, pre, wants(m, KEY("add_space_prefix"), false));
    }
    put_template(m, wants(m, KEY("add_bos_token"), (pre->flags & TOK_PRE_ADD_BOS) != 0),
                 wants(m, KEY("add_eos_token"), false));
    if (marks)
        put_space_decoder(m, false);
    else
        nx_str_puts(&m->out, "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,"
                             "\"trim_offsets\":true,\"use_regex\":true},");
    put_model(m, marks ? token_of(m, KEY("unknown_token_id")) : (nx_slice){NULL, 0}, marks,
              (pre->flags & TOK_PRE_IGNORE_MERGES) != 0);
    return put_merges(m);
}

static bool make_sentencepiece(maker *m)
{
    bool prefix = wants(m, KEY("add_space_prefix"), true);
    nx_slice unk = token_of(m, KEY("unknown_token_id"));
    begin(m);
    put_space_pipeline(m, prefix);
    put_template(m, wants(m, KEY("add_bos_token"), true), wants(m, KEY("add_eos_token"), false));
    put_space_decoder(m, prefix);
    put_model(m, unk.data ? unk : nx_gguf_strings_at(&m->tokens, 0), true, false);
    return put_scored_merges(m);
}

/* ---- files ------------------------------------------------------------------------------------ */

static bool write_file(const char *folder, const char *name, const char *text, size_t n)
{
    nx_str path = {0};
    nx_str_printf(&path, "%s/%s", folder, name);
    bool ok = nx_os_write_file(nx_str_cstr(&path), text, n);
    nx_str_clear(&path);
    return ok;
}

static bool write_json(const char *folder, const char *name, json_t *o)
{
    char *text = json_dumps(o, JSON_INDENT(2));
    bool ok = text && write_file(folder, name, text, strlen(text));
    free(text);
    json_decref(o);
    return ok;
}

static bool write_config(const maker *m, const char *folder, int max_context)
{
    static const struct {
        const char *key, *name;
    } named[] = {{KEY("bos_token_id"), "bos_token"}, {KEY("eos_token_id"), "eos_token"},
                 {KEY("unknown_token_id"), "unk_token"}, {KEY("padding_token_id"), "pad_token"}};
    json_t *o = json_pack("{s:s, s:b, s:i}", "tokenizer_class", "PreTrainedTokenizerFast",
                          "clean_up_tokenization_spaces", 0, "model_max_length", max_context);
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        nx_slice s = token_of(m, named[i].key);
        if (s.data)
            json_object_set_new(o, named[i].name, json_stringn(s.data, s.len));
    }
    const nx_gguf_kv *bos = nx_gguf_find(m->g, KEY("add_bos_token"));
    if (bos)
        json_object_set_new(o, "add_bos_token", json_boolean(nx_gguf_bool(bos, false)));
    nx_slice chat = nx_gguf_get_str(m->g, "tokenizer.chat_template");
    if (chat.data)
        json_object_set_new(o, "chat_template", json_stringn(chat.data, chat.len));
    return write_json(folder, "tokenizer_config.json", o);
}

/* All tokens that end an answer. */
static bool write_generation(const maker *m, const char *folder)
{
    static const char *const keys[] = {KEY("eos_token_id"), KEY("eot_token_id"), KEY("eom_token_id")};
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        uint64_t id = nx_gguf_get_u64(m->g, keys[i], UINT64_MAX);
        bool there = id >= m->tokens.n;
        for (size_t k = 0; k < json_array_size(list); k++)
            there = there || (uint64_t)json_integer_value(json_array_get(list, k)) == id;
        if (!there)
            json_array_append_new(list, json_integer((json_int_t)id));
    }
    if (!json_array_size(list)) {
        json_decref(list);
        return true;
    }
    json_t *o = json_object();
    json_object_set_new(o, "eos_token_id", list);
    return write_json(folder, "generation_config.json", o);
}

static bool make(maker *m)
{
    nx_slice model = nx_gguf_get_str(m->g, KEY("model"));
    if (nx_slice_is(model, "gpt2"))
        return make_bytes(m);
    if (nx_slice_is(model, "llama"))
        return make_sentencepiece(m);
    return nx_fail("[tokenizer] a tokenizer of the kind '%.*s' cannot be written as tokenizer.json",
                   (int)(model.len < 40 ? model.len : 40), model.data ? model.data : "");
}

bool vocab_to_folder(const nx_gguf *g, const char *folder, int max_context)
{
    maker m = {.g = g, .types = nx_gguf_find(g, KEY("token_type"))};
    nx_slice whole = nx_gguf_get_str(g, "tokenizer.huggingface.json");
    if (!nx_gguf_find(g, KEY("tokens")))
        return true;
    if (!nx_gguf_strings_init(&m.tokens, nx_gguf_find(g, KEY("tokens")), KEY("tokens")))
        return false;
    bool ok = true;
    if (whole.data) {
        nx_str_add(&m.out, whole.data, whole.len);
    } else {
        ok = make(&m);
        nx_str_puts(&m.out, "}}");
    }
    ok = ok && write_file(folder, "tokenizer.json", m.out.data, m.out.len) &&
         write_config(&m, folder, max_context) && write_generation(&m, folder);
    nx_str_clear(&m.out);
    nx_gguf_strings_clear(&m.tokens);
    return ok;
}
