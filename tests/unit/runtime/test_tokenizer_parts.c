/*
 * The parts of tokenizers by themselves: patterns as they are translated, the table of named
 * pre-tokenizers, prefix tables, the byte alphabet, GGUF files with faults.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/gguf.h"
#include "runtime/text/charsmap.h"
#include "runtime/text/prefixes.h"
#include "runtime/text/regex.h"
#include "runtime/text/tok_pre.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/uniclass.h"
#include "tempdir.h"

/* ---- patterns ---- */

/* The matches of pattern in text, each in brackets. */
static void check_matches(const char *pattern, const char *text, const char *want)
{
    rx_pattern *r = rx_compile(nx_slice_of(pattern));
    if (!r)
        fail_msg("%s", nx_error_message());
    rx_state *s = rx_state_new();
    nx_str got = {0};
    size_t n = strlen(text), b, e;
    for (size_t at = 0; rx_find(s, r, text, n, at, &b, &e) == 1 && e > b; at = e)
        nx_str_printf(&got, "[%.*s]", (int)(e - b), text + b);
    assert_string_equal(nx_str_cstr(&got), want);
    nx_str_clear(&got);
    rx_state_free(s);
    rx_free(r);
}

static void test_patterns(void **state)
{
    check_matches("\\s+", "a \xE1\xA0\x8E\xC2\x85z", "[ ][\xC2\x85]"); /* not U+180E */
    check_matches("[^\\S\\n]+", "a \t\n b", "[ \t][ ]");
    check_matches("\\w+", "b\xC2\xB2 e\xCC\x81 \xE2\x93\x90!",
                  "[b\xC2\xB2][e\xCC\x81][\xE2\x93\x90]");
    check_matches("\\h+", "xAf09g", "[Af09]");
    check_matches("\\p{N}{1,3}+", "12345", "[12345]");
    check_matches("[a-c[x-z]]+", "abxyd", "[abxy]");
    check_matches("[\\p{L}&&[^a-c]]+", "abcxyz", "[xyz]");
    check_matches("\\p{Letter}+", "ab1", "[ab]");
    check_matches("\\p{^L}+", "ab1-c", "[1-]");
    check_matches("\\u0061+", "aab", "[aa]");
    check_matches("(?i:'s|'ll)", "'S 'LL 's", "['S]['LL]['s]");
    check_matches("x$", "x\nx", "[x][x]"); /* the end of any line */
    check_matches("[]a]+", "]a[", "[]a]");
    check_matches("\\d+\\b", "12 34a 5\xCC\x81", "[12]"); /* a mark continues a word */
}

static void test_refused_patterns(void **state)
{
    static const char *const bad[] = {"(",      "[a",          "\\",      "a\\Kb",    "(?m)a.b",
                                      "(?~ab)", "[^a&&[b]]",   "[a[^b]]", "\\g<1>",   "(*UTF)a",
                                      "\\p{L",  "\\p{Nosuch}", "x{2,5}+", "[[:alpha", "\\u00"};
    nx_str out = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        nx_error_clear();
        rx_pattern *r = rx_compile(nx_slice_of(bad[i]));
        if (r)
            fail_msg("accepted: %s", bad[i]);
        assert_non_null(strstr(nx_error_message(), bad[i]));
    }
    assert_true(rx_translate(&out, nx_slice_of("\\p{Han}")));
    assert_string_equal(nx_str_cstr(&out), "\\p{sc:Han}");
    nx_str_clear(&out);
}

/* A pattern that takes exponential time gives up with an error. */
static void test_runaway_pattern(void **state)
{
    rx_pattern *r = rx_compile(nx_slice_of("(?:a+)+b|(?:a|aa)+c"));
    assert_non_null(r);
    rx_state *s = rx_state_new();
    char text[200];
    size_t b, e;
    memset(text, 'a', sizeof text);
    assert_int_equal(rx_find(s, r, text, sizeof text, 0, &b, &e), -1);
    assert_non_null(strstr(nx_error_message(), "gave up"));
    rx_state_free(s);
    rx_free(r);
}

static void test_named_pre_tokenizers(void **state)
{
    static const char *const names[] = {
        "default",      "llama-bpe",
        "llama3",       "qwen2",
        "qwen35",       "smollm",
        "deepseek-llm", "deepseek-coder",
        "deepseek-v3",  "deepseek-r1-qwen",
        "gpt-2",        "starcoder",
        "refact",       "falcon",
        "command-r",    "gpt-4o",
        "tekken",       "mpt",
        "olmo",         "kimi-k2",
        "bloom",        "viking",
        "superbpe",     "bailingmoe",
        "jais-2",       "exaone-moe",
        "chameleon",    "spark2_5",
        "youtu",        "laguna",
        "ufakzeka",     "sarvam-moe",
        "exaone4",      "cohere2moe",
        "seed-coder",   "stablelm2",
        "tiny_aya",     "minicpm5",
        "gemma4",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const tok_pre *p = tok_pre_find(nx_slice_of(names[i]));
        assert_non_null(p);
        for (size_t k = 0; p->patterns[k]; k++) {
            rx_pattern *r = rx_compile(nx_slice_of(p->patterns[k]));
            if (!r)
                fail_msg("%s: %s", names[i], nx_error_message());
            rx_free(r);
        }
    }
    assert_null(tok_pre_find(nx_slice_of("llama"))); /* a part of a name is none */
    assert_null(tok_pre_find(nx_slice_of("")));
    assert_non_null(strstr(nx_error_message(), "not known"));
}

/* ---- tables ---- */

static void test_prefixes(void **state)
{
    static const char *const words[] = {"a", "ab", "abc", "abd", "b", "\xFF", "ab", "aa"};
    pfx_table p = {0};
    for (int i = 0; i < 8; i++)
        pfx_add(&p, words[i], strlen(words[i]), i);
    pfx_add(&p, "", 0, 9);
    pfx_finish(&p);
    assert_int_equal(p.items.n, 7);
    static const int32_t want[] = {0, 1, 3, -1};
    pfx_cursor c = pfx_start(&p);
    for (int i = 0; i < 3; i++) {
        assert_true(pfx_step(&p, &c, "abdx"[i]));
        assert_int_equal(pfx_value(&p, &c), want[i]);
    }
    assert_false(pfx_step(&p, &c, 'x'));
    c = pfx_start(&p);
    assert_true(pfx_step(&p, &c, '\xFF'));
    assert_int_equal(pfx_value(&p, &c), 5);
    assert_false(pfx_step(&p, &c, 'a'));
    c = pfx_start(&p);
    assert_false(pfx_step(&p, &c, 'c'));
    pfx_clear(&p);
}

static void test_byte_alphabet(void **state)
{
    bool seen[0x200] = {false};
    for (int b = 0; b < 256; b++) {
        uint32_t cp = uni_byte_char((uint8_t)b);
        assert_true(cp > 0x20 && cp < 0x144 && !seen[cp]);
        seen[cp] = true;
        assert_int_equal(uni_char_byte(cp), b);
    }
    assert_int_equal(uni_byte_char(' '), 0x120);
    for (uint32_t cp = 0; cp < 0x200; cp++)
        assert_true(seen[cp] == (uni_char_byte(cp) >= 0));
}

/* ---- GGUF ---- */

typedef struct {
    const char *model, *pre;
    const char *tokens[8];
    const char *merges[4];
    float scores[8];
    int32_t types[8];
    int n_types; /* 0: none written */
    uint32_t bos;
    const char *says; /* NULL: it loads */
} gguf_case;

static nx_slice *slices(const char *const *texts, size_t most, uint64_t *n, nx_slice *out)
{
    for (*n = 0; *n < most && texts[*n]; ++*n)
        out[*n] = nx_slice_of(texts[*n]);
    return out;
}

static tokenizer *make(const gguf_case *c)
{
    const char *path = temp_path("t.gguf");
    nx_gguf_writer *w = nx_gguf_writer_new(path);
    nx_slice s[8];
    uint64_t n, n_merges;
    assert_non_null(w);
    nx_gguf_writer_str(w, "general.architecture", nx_slice_of("llama"));
    if (c->model)
        nx_gguf_writer_str(w, "tokenizer.ggml.model", nx_slice_of(c->model));
    if (c->pre)
        nx_gguf_writer_str(w, "tokenizer.ggml.pre", nx_slice_of(c->pre));
    slices(c->tokens, 8, &n, s);
    if (n)
        nx_gguf_writer_strings(w, "tokenizer.ggml.tokens", s, n);
    if (c->scores[0] != 0)
        nx_gguf_writer_array(w, "tokenizer.ggml.scores", NX_GGUF_F32, c->scores, n);
    if (c->n_types)
        nx_gguf_writer_array(w, "tokenizer.ggml.token_type", NX_GGUF_I32, c->types,
                             (uint64_t)c->n_types);
    slices(c->merges, 4, &n_merges, s);
    if (n_merges)
        nx_gguf_writer_strings(w, "tokenizer.ggml.merges", s, n_merges);
    if (c->bos)
        nx_gguf_writer_u32(w, "tokenizer.ggml.bos_token_id", c->bos);
    if (!nx_gguf_writer_finish(w))
        fail_msg("%s", nx_error_message());
    nx_gguf_writer_free(w);
    nx_gguf *g = nx_gguf_open(path);
    assert_non_null(g);
    tokenizer *t = tok_from_gguf(g);
    nx_gguf_free(g);
    return t;
}

static void test_gguf_faults(void **state)
{
    static const gguf_case cases[] = {
        {.tokens = {"a"}, .says = "tokenizer.ggml.model"},
        {.model = "gpt2", .pre = "gpt-2", .says = "tokens"},
        {.model = "odd", .tokens = {"a"}, .says = "odd"},
        {.model = "gpt2", .pre = "odd", .tokens = {"a"}, .says = "odd"},
        {.model = "gpt2", .pre = "gpt-2", .tokens = {"a"}, .says = "merges"},
        {.model = "gpt2",
         .pre = "gpt-2",
         .tokens = {"a", "b"},
         .merges = {"a b"},
         .says = "not in the vocabulary"},
        {.model = "gpt2",
         .pre = "gpt-2",
         .tokens = {"a", "b", "ab"},
         .merges = {"ab"},
         .says = "not two tokens"},
        {.model = "gpt2",
         .pre = "gpt-2",
         .tokens = {"a", "b", "ab"},
         .merges = {"a b"},
         .types = {1, 1},
         .n_types = 2,
         .says = "token types"},
        {.model = "gpt2",
         .pre = "gpt-2",
         .tokens = {"a", "b", "ab"},
         .merges = {"a b"},
         .types = {1, 1, 9},
         .n_types = 3,
         .says = "type 9"},
        {.model = "llama", .tokens = {"a"}, .says = "scores"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nx_error_clear();
        tokenizer *t = make(&cases[i]);
        if (t)
            fail_msg("case %zu is accepted", i);
        if (!strstr(nx_error_message(), cases[i].says))
            fail_msg("case %zu says \"%s\"", i, nx_error_message());
    }
}

static void check_encoding(const gguf_case *c, const char *text, unsigned flags, const char *want)
{
    tokenizer *t = make(c);
    if (!t)
        fail_msg("%s", nx_error_message());
    tok_ids ids = {0};
    nx_str got = {0}, back = {0};
    assert_true(tok_encode(t, text, strlen(text), flags, &ids, NULL));
    for (size_t i = 0; i < ids.n; i++)
        nx_str_printf(&got, " %d", ids.at[i]);
    assert_string_equal(nx_str_cstr(&got), want);
    assert_true(tok_decode(t, ids.at, ids.n, false, &back));
    assert_string_equal(nx_str_cstr(&back), text);
    nx_str_clear(&got);
    nx_str_clear(&back);
    nx_vec_clear(&ids);
    tok_free(t);
}

static void test_gguf_models(void **state)
{
    static const gguf_case bytes = {.model = "gpt2",
                                    .pre = "llama-bpe",
                                    .tokens = {"a", "b", "ab", "<s>", "aba"},
                                    .merges = {"a b"},
                                    .types = {1, 1, 1, 3, 1},
                                    .n_types = 5,
                                    .bos = 3};
    check_encoding(&bytes, "ab", TOK_ADD_SPECIAL, " 3 2");
    check_encoding(&bytes, "aba", 0, " 4"); /* llama-bpe takes whole tokens, merged or not */
    check_encoding(&bytes, "abab", 0, " 2 2");
    static const gguf_case no_bos = {.model = "gpt2",
                                     .pre = "llama-bpe",
                                     .tokens = {"a", "b", "ab"},
                                     .merges = {"a b"},
                                     .bos = 7}; /* which does not exist: none, with a warning */
    check_encoding(&no_bos, "ab", TOK_ADD_SPECIAL, " 2");
    /* the higher score first; equal ones from the left */
    static const gguf_case pieces = {
        .model = "llama",
        .tokens = {"<unk>", "\xE2\x96\x81", "a", "b", "ab", "ba", "<s>"},
        .scores = {-9, -1, -2, -3, -5, -4, -9},
        .types = {2, 1, 1, 1, 1, 1, 3},
        .n_types = 7,
        .bos = 6};
    check_encoding(&pieces, "aba", TOK_ADD_SPECIAL, " 6 1 2 5");
    check_encoding(&pieces, "ab", 0, " 1 4");
}

/* An added token that is part of a character is not looked for: what it left would be no text. */
static void test_gguf_part_of_a_character(void **state)
{
    static const gguf_case c = {.model = "gpt2",
                                .pre = "olmo", /* which normalizes */
                                .tokens = {"a", "\xC3", "\xC3\x83", "\xC2\xA9", "x", "y", "xy"},
                                .merges = {"x y"},
                                .types = {1, 4, 1, 1, 1, 1, 1},
                                .n_types = 7};
    check_encoding(&c, "a\xC3\xA9", TOK_PARSE_SPECIAL, " 0 2 3");
}

/* A charsmap whose only rule makes half a character of "a". */
static void test_charsmap_of_no_text(void **state)
{
    struct {
        uint32_t bytes, units[256];
        char pool[4];
    } file = {.bytes = sizeof file.units, .pool = "\xC3"};
    charsmap m = {0};
    nx_str out = {0};
    file.units['a'] =
        'a' | 1 << 8 | 1 << 10;     /* has a value, in the unit whose number differs by one */
    file.units['a' ^ 1] = 1u << 31; /* the pool's first text */
    assert_true(charsmap_init(&m, &file, sizeof file));
    charsmap_apply(&m, nx_slice_of("bab"), &out);
    assert_string_equal(nx_str_cstr(&out), "b\xEF\xBF\xBD"
                                           "b");
    nx_str_clear(&out);
    charsmap_clear(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_refused_patterns),
        cmocka_unit_test(test_runaway_pattern),
        cmocka_unit_test(test_named_pre_tokenizers),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_byte_alphabet),
        cmocka_unit_test(test_gguf_faults),
        cmocka_unit_test(test_gguf_models),
        cmocka_unit_test(test_gguf_part_of_a_character),
        cmocka_unit_test(test_charsmap_of_no_text),
    };
    return cmocka_run_group_tests(tests, temp_make, temp_drop);
}
