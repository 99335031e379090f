#include "runtime/text/tok_json.h"

#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "runtime/text/uniclass.h"

enum { MAX_NESTING = 16 }; /* of Sequences in Sequences */

static bool unknown(const char *what, const json_t *o)
{
    const char *type = nx_json_get_str(o, "type", NULL);
    if (!type)
        return nx_fail("[tokenizer] a %s without a type", what);
    return nx_fail("[tokenizer] the %s \"%.100s\" is not known", what, type);
}

static bool lacks(const char *what, const char *type, const char *field)
{
    return nx_fail("[tokenizer] the %s \"%s\" lacks a proper \"%s\"", what, type, field);
}

static bool is(const json_t *o, const char *type)
{
    return strcmp(nx_json_get_str(o, "type", ""), type) == 0;
}

static nx_slice text_of(const json_t *v)
{
    return json_is_string(v) ? (nx_slice){json_string_value(v), json_string_length(v)}
                             : (nx_slice){0};
}

static nx_slice field(const json_t *o, const char *key)
{
    return text_of(json_object_get(o, key));
}

static nx_str copy(nx_slice s)
{
    nx_str out = {0};
    nx_str_add(&out, s.data, s.len);
    return out;
}

/* Runs add on each member of a Sequence. */
typedef bool add_fn(tokenizer *t, const json_t *o, int depth);

static bool each(tokenizer *t, const json_t *o, const char *key, int depth, add_fn *add)
{
    const json_t *list = json_object_get(o, key);
    size_t i;
    json_t *item;
    if (!json_is_array(list))
        return nx_fail("[tokenizer] a Sequence without \"%s\"", key);
    if (depth == MAX_NESTING)
        return nx_fail("[tokenizer] Sequences nested more than %d deep", MAX_NESTING);
    json_array_foreach(list, i, item) if (!add(t, item, depth + 1)) return false;
    return true;
}

/* ---- normalizers ---- */

static void push_norm(tokenizer *t, norm_kind kind)
{
    nx_vec_push(&t->norm.steps, (norm_step){.kind = kind});
}

static bool add_bert(tokenizer *t, const json_t *o)
{
    bool lower = nx_json_get_bool(o, "lowercase", true);
    if (nx_json_get_bool(o, "clean_text", true))
        push_norm(t, NORM_CLEAN);
    if (nx_json_get_bool(o, "handle_chinese_chars", true))
        push_norm(t, NORM_CJK_SPACES);
    if (nx_json_get_bool(o, "strip_accents", lower)) /* null: as lowercase */
        push_norm(t, NORM_STRIP_ACCENTS);
    if (lower)
        push_norm(t, NORM_LOWERCASE);
    return true;
}

static bool add_replace(tokenizer *t, const json_t *o)
{
    const json_t *pattern = json_object_get(o, "pattern");
    nx_slice literal = field(pattern, "String"), regex = field(pattern, "Regex");
    nx_slice with = field(o, "content");
    if (!with.data)
        return lacks("normalizer", "Replace", "content");
    norm_step s = {.kind = NORM_REPLACE};
    if (regex.data)
        s.regex = rx_compile(regex);
    else if (!literal.len)
        return lacks("normalizer", "Replace", "pattern");
    if (regex.data && !s.regex)
        return false;
    s.text = copy(literal);
    s.with = copy(with);
    nx_vec_push(&t->norm.steps, s);
    return true;
}

static bool add_charsmap(tokenizer *t, const json_t *o)
{
    norm_step s = {.kind = NORM_CHARSMAP};
    nx_slice map = field(o, "precompiled_charsmap");
    if (!map.data)
        return lacks("normalizer", "Precompiled", "precompiled_charsmap");
    if (!map.len)
        return true; /* no replacements */
    if (!charsmap_init_base64(&s.map, map))
        return false;
    nx_vec_push(&t->norm.steps, s);
    return true;
}

static bool add_normalizer(tokenizer *t, const json_t *o, int depth)
{
    static const struct {
        const char *type;
        norm_kind kind;
    } plain[] = {
        {"NFC", NORM_NFC},
        {"NFD", NORM_NFD},
        {"NFKC", NORM_NFKC},
        {"NFKD", NORM_NFKD},
        {"Lowercase", NORM_LOWERCASE},
        {"StripAccents", NORM_STRIP_MARKS},
        {"Nmt", NORM_NMT},
        {"ByteLevel", NORM_BYTES},
    };
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (is(o, plain[i].type)) {
            push_norm(t, plain[i].kind);
            return true;
        }
    if (is(o, "Sequence"))
        return each(t, o, "normalizers", depth, add_normalizer);
    if (is(o, "BertNormalizer"))
        return add_bert(t, o);
    if (is(o, "Replace"))
        return add_replace(t, o);
    if (is(o, "Precompiled"))
        return add_charsmap(t, o);
    if (is(o, "Strip")) {
        nx_vec_push(&t->norm.steps, (norm_step){.kind = NORM_STRIP,
                                                .left = nx_json_get_bool(o, "strip_left", true),
                                                .right = nx_json_get_bool(o, "strip_right", true)});
        return true;
    }
    if (is(o, "Prepend")) {
        nx_slice with = field(o, "prepend");
        if (!with.data)
            return lacks("normalizer", "Prepend", "prepend");
        nx_vec_push(&t->norm.steps, (norm_step){.kind = NORM_PREPEND, .with = copy(with)});
        return true;
    }
    return unknown("normalizer", o);
}

/* ---- pre-tokenizers ---- */

static bool behavior_of(const json_t *o, pre_behavior fallback, pre_behavior *out)
{
    static const char *const names[] = {
        [PRE_ISOLATED] = "Isolated",
        [PRE_REMOVED] = "Removed",
        [PRE_WITH_PREVIOUS] = "MergedWithPrevious",
        [PRE_WITH_NEXT] = "MergedWithNext",
        [PRE_CONTIGUOUS] = "Contiguous",
    };
    *out = fallback;
    const char *name = nx_json_get_str(o, "behavior", NULL);
    if (!name)
        return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (pre_behavior)i;
            return true;
        }
    return nx_fail("[tokenizer] the behavior \"%.100s\" is not known", name);
}

static bool add_split(tokenizer *t, const json_t *o)
{
    const json_t *pattern = json_object_get(o, "pattern");
    nx_slice literal = field(pattern, "String"), regex = field(pattern, "Regex");
    bool invert = nx_json_get_bool(o, "invert", false);
    pre_behavior behavior;
    if (!behavior_of(o, PRE_ISOLATED, &behavior))
        return false;
    if (regex.data)
        return pre_add_regex(&t->pre, regex, behavior, invert);
    if (!literal.len)
        return lacks("pre-tokenizer", "Split", "pattern");
    return pre_add(&t->pre, (pre_step){.kind = PRE_LITERAL,
                                       .behavior = behavior,
                                       .invert = invert,
                                       .text = copy(literal)});
}

static bool add_class(tokenizer *t, bool (*test)(uint32_t), pre_behavior behavior)
{
    return pre_add(&t->pre, (pre_step){.kind = PRE_CLASS, .behavior = behavior, .is = test});
}

static bool add_byte_level(tokenizer *t, const json_t *o)
{
    if (nx_json_get_bool(o, "add_prefix_space", true) &&
        !pre_add(&t->pre, (pre_step){.kind = PRE_PREFIX_SPACE}))
        return false;
    if (nx_json_get_bool(o, "use_regex", true) &&
        !pre_add_regex(&t->pre, nx_slice_of(PRE_GPT2_PATTERN), PRE_ISOLATED, false))
        return false;
    return pre_add(&t->pre, (pre_step){.kind = PRE_BYTES});
}

/* When a Metaspace puts its mark before a text, by scheme or by the older boolean. */
static bool prepend_of(const json_t *o, pre_prepend *out)
{
    const char *scheme = nx_json_get_str(o, "prepend_scheme", NULL);
    *out = nx_json_get_bool(o, "add_prefix_space", true) ? PRE_PREPEND_ALWAYS : PRE_PREPEND_NEVER;
    if (!scheme)
        return true;
    *out = strcmp(scheme, "always") == 0  ? PRE_PREPEND_ALWAYS
           : strcmp(scheme, "first") == 0 ? PRE_PREPEND_FIRST
                                          : PRE_PREPEND_NEVER;
    return *out != PRE_PREPEND_NEVER || strcmp(scheme, "never") == 0 ||
           nx_fail("[tokenizer] the prepend_scheme \"%.100s\" is not known", scheme);
}

static bool add_metaspace(tokenizer *t, const json_t *o)
{
    nx_slice mark = field(o, "replacement");
    pre_prepend prepend;
    if (!mark.len)
        return lacks("pre-tokenizer", "Metaspace", "replacement");
    if (!prepend_of(o, &prepend) ||
        !pre_add(&t->pre,
                 (pre_step){.kind = PRE_METASPACE, .text = copy(mark), .prepend = prepend}))
        return false;
    return !nx_json_get_bool(o, "split", true) ||
           pre_add(&t->pre,
                   (pre_step){.kind = PRE_LITERAL, .text = copy(mark), .behavior = PRE_WITH_NEXT});
}

static bool add_pre_tokenizer(tokenizer *t, const json_t *o, int depth)
{
    pre_behavior behavior;
    if (is(o, "Sequence"))
        return each(t, o, "pretokenizers", depth, add_pre_tokenizer);
    if (is(o, "ByteLevel"))
        return add_byte_level(t, o);
    if (is(o, "Split"))
        return add_split(t, o);
    if (is(o, "Metaspace"))
        return add_metaspace(t, o);
    if (is(o, "Digits"))
        return add_class(t, uni_is_number,
                         nx_json_get_bool(o, "individual_digits", false) ? PRE_ISOLATED
                                                                         : PRE_CONTIGUOUS);
    if (is(o, "Punctuation"))
        return behavior_of(o, PRE_ISOLATED, &behavior) && add_class(t, uni_is_punct, behavior);
    if (is(o, "WhitespaceSplit"))
        return add_class(t, uni_is_space, PRE_REMOVED);
    if (is(o, "BertPreTokenizer"))
        return add_class(t, uni_is_space, PRE_REMOVED) && add_class(t, uni_is_punct, PRE_ISOLATED);
    if (is(o, "Whitespace"))
        /* \w+|[^\w\s]+, where \w is a wider class than in other patterns */
        return pre_add_regex(&t->pre,
                             nx_slice_of("[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}"
                                         "\\x{200d}]+|[^\\p{Alphabetic}\\p{M}\\p{Nd}"
                                         "\\p{Pc}\\x{200c}\\x{200d}\\s]+"),
                             PRE_REMOVED, true);
    if (is(o, "CharDelimiterSplit")) {
        nx_slice delimiter = field(o, "delimiter");
        if (!delimiter.len)
            return lacks("pre-tokenizer", "CharDelimiterSplit", "delimiter");
        return pre_add(
            &t->pre,
            (pre_step){.kind = PRE_LITERAL, .behavior = PRE_REMOVED, .text = copy(delimiter)});
    }
    if (is(o, "FixedLength")) {
        int64_t n = nx_json_get_int(o, "length", 5);
        if (n < 1)
            return lacks("pre-tokenizer", "FixedLength", "length");
        return pre_add(&t->pre, (pre_step){.kind = PRE_LENGTH, .count = (size_t)n});
    }
    return unknown("pre-tokenizer", o);
}

/* ---- post-processors: ids before and behind the text ---- */

static bool push_id(tokenizer *t, tok_ids *ids, const json_t *v)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) >= TOK_MAX_VOCAB)
        return nx_fail("[tokenizer] the post-processor has a token id that is no id");
    nx_vec_push(ids, (int32_t)json_integer_value(v));
    return true;
}

static bool push_special(tokenizer *t, tok_ids *ids, const json_t *specials, const char *name)
{
    const json_t *list = json_object_get(json_object_get(specials, name), "ids");
    size_t i;
    json_t *id;
    if (!json_is_array(list))
        return nx_fail("[tokenizer] the template names \"%.100s\", which it does not define", name);
    json_array_foreach(list, i, id) if (!push_id(t, ids, id)) return false;
    return true;
}

static bool add_template(tokenizer *t, const json_t *o, tok_ids *before, tok_ids *after)
{
    const json_t *specials = json_object_get(o, "special_tokens");
    size_t i;
    json_t *part;
    bool text = false;
    json_array_foreach(json_object_get(o, "single"), i, part)
    {
        const char *name = nx_json_get_str(json_object_get(part, "SpecialToken"), "id", NULL);
        if (name && !push_special(t, text ? after : before, specials, name))
            return false;
        if (!name && (text || !json_object_get(part, "Sequence")))
            return nx_fail("[tokenizer] a template that is not special tokens around one text");
        text = text || !name;
    }
    return text || nx_fail("[tokenizer] a template without the text");
}

static bool add_pair(tokenizer *t, const json_t *o, tok_ids *before, tok_ids *after)
{
    return push_id(t, before, json_array_get(json_object_get(o, "cls"), 1)) &&
           push_id(t, after, json_array_get(json_object_get(o, "sep"), 1));
}

static bool add_post(tokenizer *t, const json_t *o, int depth)
{
    if (is(o, "Sequence"))
        return each(t, o, "processors", depth, add_post);
    if (is(o, "ByteLevel"))
        return true; /* moves offsets, no ids */
    tok_ids before = {0}, after = {0};
    bool ok;
    if (is(o, "TemplateProcessing"))
        ok = add_template(t, o, &before, &after);
    else if (is(o, "BertProcessing") || is(o, "RobertaProcessing"))
        ok = add_pair(t, o, &before, &after);
    else
        ok = unknown("post-processor", o);
    /* a later processor stands around the earlier ones */
    for (size_t i = 0; i < t->before.n; i++)
        nx_vec_push(&before, t->before.at[i]);
    for (size_t i = 0; i < after.n; i++)
        nx_vec_push(&t->after, after.at[i]);
    nx_vec_clear(&t->before);
    nx_vec_clear(&after);
    t->before.at = before.at;
    t->before.n = before.n;
    t->before.cap = before.cap;
    return ok;
}

/* ---- decoders ---- */

static bool push_dec(tokenizer *t, dec_step s)
{
    return tok_decoder_add(&t->decoder, s);
}

static bool add_dec_strip(tokenizer *t, const json_t *o)
{
    nx_slice what = field(o, "content");
    int64_t start = nx_json_get_int(o, "start", 0), stop = nx_json_get_int(o, "stop", 0);
    if (!what.len || start < 0 || stop < 0)
        return lacks("decoder", "Strip", "content");
    if (start &&
        !push_dec(t, (dec_step){.kind = DEC_STRIP, .text = copy(what), .count = (size_t)start}))
        return false;
    return !stop ||
           push_dec(t,
                    (dec_step){.kind = DEC_STRIP_END, .text = copy(what), .count = (size_t)stop});
}

static bool add_dec_replace(tokenizer *t, const json_t *o)
{
    nx_slice what = field(json_object_get(o, "pattern"), "String"), with = field(o, "content");
    if (!what.len || !with.data)
        return lacks("decoder", "Replace", "pattern.String");
    return push_dec(t, (dec_step){.kind = DEC_REPLACE, .text = copy(what), .with = copy(with)});
}

static bool add_dec_metaspace(tokenizer *t, const json_t *o)
{
    nx_slice mark = field(o, "replacement");
    pre_prepend prepend;
    if (!mark.len)
        return lacks("decoder", "Metaspace", "replacement");
    return prepend_of(o, &prepend) && push_dec(t, (dec_step){.kind = DEC_METASPACE,
                                                             .text = copy(mark),
                                                             .left = prepend != PRE_PREPEND_NEVER});
}

static bool add_decoder(tokenizer *t, const json_t *o, int depth)
{
    if (is(o, "Sequence"))
        return each(t, o, "decoders", depth, add_decoder);
    if (is(o, "ByteLevel"))
        return push_dec(t, (dec_step){.kind = DEC_BYTES});
    if (is(o, "ByteFallback"))
        return push_dec(t, (dec_step){.kind = DEC_BYTE_FALLBACK});
    if (is(o, "Fuse"))
        return push_dec(t, (dec_step){.kind = DEC_FUSE});
    if (is(o, "Strip"))
        return add_dec_strip(t, o);
    if (is(o, "Replace"))
        return add_dec_replace(t, o);
    if (is(o, "Metaspace"))
        return add_dec_metaspace(t, o);
    if (is(o, "WordPiece"))
        return push_dec(t, (dec_step){.kind = DEC_WORDPIECE,
                                      .text = copy(nx_slice_of(nx_json_get_str(o, "prefix", "##"))),
                                      .left = nx_json_get_bool(o, "cleanup", true)});
    if (is(o, "BPEDecoder"))
        return push_dec(
            t, (dec_step){.kind = DEC_BPE,
                          .text = copy(nx_slice_of(nx_json_get_str(o, "suffix", "</w>")))});
    return unknown("decoder", o);
}

/* ---- the four ---- */

static bool part(tokenizer *t, const json_t *o, add_fn *add)
{
    return !o || json_is_null(o) || add(t, o, 0);
}

bool tok_json_normalizer(tokenizer *t, const json_t *o)
{
    return part(t, o, add_normalizer);
}

bool tok_json_pre_tokenizer(tokenizer *t, const json_t *o)
{
    return part(t, o, add_pre_tokenizer);
}

bool tok_json_post_processor(tokenizer *t, const json_t *o)
{
    return part(t, o, add_post);
}

bool tok_json_decoder(tokenizer *t, const json_t *o)
{
    return part(t, o, add_decoder);
}
