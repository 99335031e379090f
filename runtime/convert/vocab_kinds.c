#include "runtime/convert/vocab_kinds.h"

#include <string.h>

#include "base/error.h"
#include "runtime/text/charsmap.h"

static bool is(const json_t *o, const char *type)
{
    return strcmp(nx_json_get_str(o, "type", ""), type) == 0;
}

static bool other(const json_t *o)
{
    return nx_fail("[tokenizer.json] has a step '%s' that GGUF cannot say of such a vocabulary",
                   nx_json_get_str(o, "type", "without a type"));
}

/* ---- unigram ---- */

typedef struct {
    unigram_rules *out;
    bool strips, joins, splits; /* ends; runs of spaces; at white space */
} steps;

static bool read_charsmap(const json_t *o, nx_str *out)
{
    charsmap map = {0};
    const char *text = nx_json_get_str(o, "precompiled_charsmap", "");
    if (!*text)
        return true;
    if (!charsmap_init_base64(&map, nx_slice_of(text)))
        return false;
    uint32_t bytes = (uint32_t)(map.n_units * sizeof *map.units);
    nx_str_truncate(out, 0);
    nx_str_add(out, &bytes, sizeof bytes);
    nx_str_add(out, map.units, bytes);
    nx_str_add(out, map.pool, map.pool_size);
    charsmap_clear(&map);
    return true;
}

static bool joins_spaces(const json_t *o)
{
    const char *to = nx_json_get_str(o, "content", "");
    return is(o, "Replace") && strcmp(nx_json_get_str(o, "pattern.Regex", ""), " {2,}") == 0 &&
           (strcmp(to, " ") == 0 || strcmp(to, "\xE2\x96\x81") == 0);
}

static bool read_step(steps *s, const json_t *o)
{
    const json_t *list = json_object_get(o, "normalizers");
    size_t i;
    json_t *each;
    if (!json_is_object(o))
        return true;
    if (is(o, "Sequence")) {
        list = list ? list : json_object_get(o, "pretokenizers");
        json_array_foreach(list, i, each)
            if (!read_step(s, each))
                return false;
        return true;
    }
    if (is(o, "Precompiled"))
        return read_charsmap(o, &s->out->charsmap);
    if (is(o, "Metaspace")) {
        const char *scheme = nx_json_get_str(o, "prepend_scheme", "always");
        s->out->prefix = strcmp(scheme, "never") != 0 && nx_json_get_bool(o, "add_prefix_space", true);
    } else if (is(o, "Strip")) {
        s->strips = nx_json_get_bool(o, "strip_right", true);
    } else if (is(o, "WhitespaceSplit")) {
        s->splits = true;
    } else if (joins_spaces(o)) {
        s->joins = true;
    } else {
        return other(o);
    }
    return true;
}

bool unigram_rules_of(const json_t *tokenizer, unigram_rules *out)
{
    steps s = {.out = out};
    if (nx_json_get_bool(tokenizer, "model.byte_fallback", false))
        return nx_fail("[tokenizer.json] a unigram vocabulary with bytes cannot be written to GGUF");
    if (!read_step(&s, json_object_get(tokenizer, "normalizer")) ||
        !read_step(&s, json_object_get(tokenizer, "pre_tokenizer")))
        return false;
    out->removes_spaces = s.splits || (s.strips && s.joins);
    return out->removes_spaces || !(s.strips || s.joins) ||
           nx_fail("[tokenizer.json] takes away some spaces, and GGUF can only say all or none");
}

/* ---- tokenizer.model ---- */

bool unigram_rules_of_pieces(const spm_file *f, unigram_rules *out)
{
    nx_str_add(&out->charsmap, f->map.data, f->map.len);
    out->removes_spaces = f->remove_extra_spaces;
    out->prefix = f->dummy_prefix;
    return true;
}

bool pieces_are_usual(const spm_file *f)
{
    bool unigram = f->kind == SPM_KIND_UNIGRAM, bpe = f->kind == SPM_KIND_BPE;
    if (!unigram && !bpe)
        return nx_fail("[tokenizer.model] a vocabulary of words or characters cannot be written to GGUF");
    if (f->suffix || !f->escape_spaces)
        return nx_fail("[tokenizer.model] puts spaces where GGUF's readers do not");
    if (unigram && f->bytes)
        return nx_fail("[tokenizer.model] a unigram vocabulary with bytes cannot be written to GGUF");
    return unigram || (!f->map.len && !f->remove_extra_spaces && f->bytes) ||
           nx_fail("[tokenizer.model] changes texts, or has no bytes, and GGUF cannot say so of pieces that merge");
}

/* ---- whole words ---- */

bool wordpiece_is_usual(const json_t *tokenizer)
{
    const json_t *norm = json_object_get(tokenizer, "normalizer"), *pre = json_object_get(tokenizer, "pre_tokenizer");
    bool lower = nx_json_get_bool(norm, "lowercase", true);
    if (!is(norm, "BertNormalizer"))
        return other(norm);
    if (!is(pre, "BertPreTokenizer"))
        return other(pre);
    if (!lower || !nx_json_get_bool(norm, "strip_accents", lower) || !nx_json_get_bool(norm, "clean_text", true) ||
        !nx_json_get_bool(norm, "handle_chinese_chars", true))
        return nx_fail("[tokenizer.json] keeps capitals or accents, and GGUF's readers do not");
    return (strcmp(nx_json_get_str(tokenizer, "model.continuing_subword_prefix", "##"), "##") == 0 &&
            nx_json_get_int(tokenizer, "model.max_input_chars_per_word", 100) == 100) ||
           nx_fail("[tokenizer.json] marks or cuts words otherwise than BERT, and GGUF cannot say so");
}
