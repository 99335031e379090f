/* vocab_gguf.c: a folder's tokenizer.json as GGUF's metadata. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/map.h"
#include "base/os.h"
#include "base/str.h"
#include "base/vec.h"
#include "runtime/convert/vocab.h"
#include "runtime/text/pretok.h"
#include "runtime/text/tok_pre.h"

#define KEY(name) "tokenizer.ggml." name

enum { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE, MOST_PATTERNS = 8, MOST_TOKENS = 1 << 24 };

typedef struct {
    nx_gguf_writer *w;
    json_t *tokenizer, *settings;
    const json_t *config;
    nx_slice *tokens; /* by id; NULL: a hole */
    int32_t *types;
    int n;
    NX_VEC(char *) made; /* names of holes */
    bool bytes;       /* byte-level */
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

static bool read_vocab(maker *m)
{
    const char *text;
    json_t *id;
    json_t *vocab = nx_json_get(m->tokenizer, "model.vocab");
    if (!json_is_object(vocab))
        return nx_fail("[tokenizer.json] has no vocabulary by name");
    json_object_foreach(vocab, text, id)
    {
        json_int_t i = json_integer_value(id);
        if (i < 0 || i >= m->n)
            return nx_fail("[tokenizer.json] token %lld is beyond the model's %d rows", (long long)i, m->n);
        m->tokens[i] = (nx_slice){text, strlen(text)};
        m->types[i] = !m->bytes && is_byte_token(text) ? BYTE : NORMAL;
    }
    size_t k;
    json_t *added;
    json_array_foreach(json_object_get(m->tokenizer, "added_tokens"), k, added)
    {
        bool special = nx_json_get_bool(added, "special", false);
        if (!set_token(m, nx_json_get_int(added, "id", -1), json_object_get(added, "content"),
                       special ? CONTROL : USER))
            return false;
    }
    const char *unk = nx_json_get_str(m->tokenizer, "model.unk_token", NULL);
    for (int i = 0; i < m->n; i++) {
        if (!m->bytes && unk && nx_slice_is(m->tokens[i], unk))
            m->types[i] = UNKNOWN;
        if (m->tokens[i].data)
            continue;
        nx_str name = {0}; /* rows of the embedding that no token has */
        nx_str_printf(&name, "[PAD%d]", i);
        m->tokens[i].len = name.len;
        nx_vec_push(&m->made, nx_str_take(&name));
        m->tokens[i].data = m->made.at[m->made.n - 1];
        m->types[i] = UNUSED;
    }
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

static int find_token(const maker *m, const char *text)
{
    for (int i = 0; text && i < m->n; i++)
        if (nx_slice_is(m->tokens[i], text))
            return i;
    return -1;
}

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

/* Whether the post-processor puts the beginning's token before a text. */
static bool adds_bos(const maker *m, const json_t *post)
{
    size_t i;
    json_t *each;
    const json_t *first = json_array_get(json_object_get(post, "single"), 0);
    int bos = special_id(m, "bos_token");
    const char *id = nx_json_get_str(first, "SpecialToken.id", NULL);
    if (id && bos >= 0 && nx_slice_is(m->tokens[bos], id))
        return true;
    json_array_foreach(json_object_get(post, "processors"), i, each)
        if (adds_bos(m, each))
            return true;
    return false;
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

static bool write_all(maker *m, const char *folder, const nx_str *source)
{
    pipeline p = {0};
    const char *kind = nx_json_get_str(m->tokenizer, "model.type", "BPE");
    read_normalizer(&p, json_object_get(m->tokenizer, "normalizer"));
    const json_t *pre = json_object_get(m->tokenizer, "pre_tokenizer");
    if (json_is_object(pre))
        read_split(&p, pre);
    m->bytes = p.bytes;
    bool fallback = nx_json_get_bool(m->tokenizer, "model.byte_fallback", false);
    if (strcmp(kind, "BPE") != 0 || (!m->bytes && !fallback))
        return nx_fail("[tokenizer.json] a tokenizer of the kind '%s' cannot be written to GGUF", kind);
    char *chat = chat_template(m, folder);
    bool bos = nx_json_get_bool(m->settings, "add_bos_token",
                                adds_bos(m, json_object_get(m->tokenizer, "post_processor")));
    bool ok = read_vocab(m);
    bos = bos || (ok && adds_bos(m, json_object_get(m->tokenizer, "post_processor")));
    ok = ok && nx_gguf_writer_str(m->w, KEY("model"), nx_slice_of(m->bytes ? "gpt2" : "llama")) &&
         (m->bytes ? write_pre(m, &p) : nx_gguf_writer_str(m->w, KEY("pre"), nx_slice_of("default"))) &&
         nx_gguf_writer_strings(m->w, KEY("tokens"), m->tokens, (uint64_t)m->n) &&
         nx_gguf_writer_array(m->w, KEY("token_type"), NX_GGUF_I32, m->types, (uint64_t)m->n) &&
         (m->bytes ? write_merges(m) : write_scores(m)) && write_specials(m) &&
         nx_gguf_writer_bool(m->w, KEY("add_bos_token"), bos) &&
         nx_gguf_writer_bool(m->w, KEY("add_space_prefix"), p.prefix) &&
         (!*chat || nx_gguf_writer_str(m->w, "tokenizer.chat_template", nx_slice_of(chat))) &&
         nx_gguf_writer_str(m->w, "tokenizer.huggingface.json", (nx_slice){source->data, source->len});
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

static bool has_pieces(const char *folder)
{
    nx_str path = {0};
    nx_str_printf(&path, "%s/tokenizer.model", folder);
    bool there = nx_os_is_file(nx_str_cstr(&path));
    nx_str_clear(&path);
    return there;
}

bool vocab_to_gguf(nx_gguf_writer *w, const char *folder, const json_t *config, int n)
{
    nx_str path = {0}, source = {0};
    nx_str_printf(&path, "%s/tokenizer.json", folder);
    bool there = nx_os_is_file(nx_str_cstr(&path));
    if (!there && has_pieces(folder))
        return nx_fail("[%s] has a tokenizer.model and no tokenizer.json: such a vocabulary cannot be written "
                       "to GGUF", folder);
    bool ok = !there || nx_os_read_file(nx_str_cstr(&path), &source, 256 << 20);
    nx_str_clear(&path);
    if (!there)
        return nx_gguf_writer_str(w, KEY("model"), nx_slice_of("no_vocab"));
    maker m = {.w = w, .config = config, .n = n};
    m.tokenizer = ok ? nx_json_parse(source.data, source.len, "tokenizer.json") : NULL;
    m.settings = folder_json(folder, "tokenizer_config.json");
    ok = m.tokenizer && n > 0 && n <= MOST_TOKENS;
    if (ok) {
        m.tokens = nx_calloc((size_t)n, sizeof *m.tokens);
        m.types = nx_calloc((size_t)n, sizeof *m.types);
        ok = write_all(&m, folder, &source);
    }
    for (size_t i = 0; i < m.made.n; i++)
        free(m.made.at[i]);
    nx_vec_clear(&m.made);
    free(m.tokens);
    free(m.types);
    json_decref(m.tokenizer);
    json_decref(m.settings);
    nx_str_clear(&source);
    return ok;
}
