/*
 * Tokenizers from small files of every kind, against ids that Hugging Face's tokenizers gave for
 * them; what holds for all: streaming, threads, broken input, files with faults.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "runtime/text/detok.h"
#include "runtime/text/tokenizer.h"

static const char *const kinds[] = {"bytes", "sentencepiece", "unigram", "wordpiece"};

static tokenizer *load(const char *kind)
{
    char path[512];
    snprintf(path, sizeof path, NX_TEST_DATA "/tokenizer/%s.json", kind);
    tokenizer *t = tok_from_json(path);
    if (!t)
        fail_msg("%s", nx_error_message());
    return t;
}

static json_t *vectors(const char *kind)
{
    char path[512];
    snprintf(path, sizeof path, NX_TEST_DATA "/tokenizer/%s.vectors.json", kind);
    json_t *v = nx_json_load_file(path);
    if (!v)
        fail_msg("%s", nx_error_message());
    return v;
}

static nx_slice text_of(json_t *c, const char *key)
{
    json_t *v = json_object_get(c, key);
    return (nx_slice){json_string_value(v), json_string_length(v)};
}

static void check_ids(const tokenizer *t, nx_slice text, unsigned flags, json_t *want)
{
    tok_ids ids = {0};
    size_t bad = 99, i;
    json_t *id;
    assert_true(tok_encode(t, text.data, text.len, flags, &ids, &bad));
    assert_int_equal(bad, 0);
    assert_int_equal(ids.n, json_array_size(want));
    json_array_foreach(want, i, id) assert_int_equal(ids.at[i], json_integer_value(id));
    nx_vec_clear(&ids);
}

static void check_kind(const char *kind)
{
    tokenizer *t = load(kind);
    json_t *all = vectors(kind), *c, *id;
    size_t i, k;
    assert_true(json_array_size(all) > 50);
    json_array_foreach(all, i, c)
    {
        check_ids(t, text_of(c, "text"), TOK_PARSE_SPECIAL, json_object_get(c, "plain"));
        check_ids(t, text_of(c, "text"), TOK_PARSE_SPECIAL | TOK_ADD_SPECIAL,
                  json_object_get(c, "ids"));
        tok_ids ids = {0};
        json_array_foreach(json_object_get(c, "ids"), k, id)
            nx_vec_push(&ids, (int32_t)json_integer_value(id));
        nx_str back = {0};
        nx_slice want = text_of(c, "decoded");
        assert_true(tok_decode(t, ids.at, ids.n, false, &back));
        assert_int_equal(back.len, want.len);
        assert_memory_equal(nx_str_cstr(&back), want.data, want.len);
        nx_str_clear(&back);
        nx_vec_clear(&ids);
    }
    json_decref(all);
    tok_free(t);
}

static void test_bytes(void **state)
{
    check_kind("bytes");
}

static void test_sentencepiece(void **state)
{
    check_kind("sentencepiece");
}

static void test_unigram(void **state)
{
    check_kind("unigram");
}

static void test_wordpiece(void **state)
{
    check_kind("wordpiece");
}

/* ---- streaming ---- */

/* Any ids: each push appends whole characters only, and all of them together are the decoded text.
 */
static void check_stream(const tokenizer *t, const int32_t *ids, size_t n, bool special)
{
    nx_str parts = {0}, whole = {0};
    detok d;
    detok_init(&d, t, special);
    for (size_t i = 0; i < n; i++) {
        assert_true(detok_push(&d, ids[i], &parts));
        assert_true(nx_utf8_valid(nx_str_cstr(&parts), parts.len));
    }
    detok_flush(&d, &parts);
    assert_true(tok_decode(t, ids, n, special, &whole));
    assert_int_equal(parts.len, whole.len);
    assert_memory_equal(nx_str_cstr(&parts), nx_str_cstr(&whole), whole.len);
    nx_str_clear(&parts);
    nx_str_clear(&whole);
    detok_clear(&d);
}

static void test_streams(void **state)
{
    srand(11);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        tokenizer *t = load(kinds[k]);
        int32_t ids[24];
        for (int round = 0; round < 500; round++) {
            size_t n = (size_t)rand() % 24;
            for (size_t i = 0; i < n;) {
                ids[i] = rand() % (int)tok_vocab_size(t);
                i += tok_token(t, ids[i]).data != NULL;
            }
            check_stream(t, ids, n, round % 2);
        }
        tok_free(t);
    }
}

static void test_held_character(void **state)
{
    tokenizer *t = load("bytes");
    nx_str out = {0};
    detok d;
    detok_init(&d, t, false);
    static const char *const bytes[] = {"ð", "Ł", "Ļ", "Ĥ"}; /* U+1F642, a byte a token */
    for (int i = 0; i < 4; i++) {
        assert_int_equal(out.len, 0);
        assert_true(detok_push(&d, tok_id(t, bytes[i], strlen(bytes[i])), &out));
    }
    assert_string_equal(nx_str_cstr(&out), "\xF0\x9F\x99\x82");
    assert_true(detok_push(&d, tok_id(t, bytes[0], strlen(bytes[0])), &out));
    assert_true(detok_push(&d, tok_id(t, "a", 1), &out)); /* the first can no longer end well */
    assert_true(detok_push(&d, tok_id(t, bytes[0], strlen(bytes[0])), &out));
    detok_flush(&d, &out);
    assert_string_equal(nx_str_cstr(&out), "\xF0\x9F\x99\x82\xEF\xBF\xBD"
                                           "a\xEF\xBF\xBD");
    assert_false(detok_push(&d, (int32_t)tok_vocab_size(t), &out));
    assert_false(detok_push(&d, -1, &out));
    assert_non_null(strstr(nx_error_message(), "-1"));
    nx_str_clear(&out);
    detok_clear(&d);
    tok_free(t);
}

/* ---- encoding ---- */

static void test_invalid_utf8(void **state)
{
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        tokenizer *t = load(kinds[k]);
        static const char broken[] = "ab\xFFx\xE2\x82y\xC3";
        static const char mended[] = "ab\xEF\xBF\xBDx\xEF\xBF\xBDy\xEF\xBF\xBD";
        tok_ids a = {0}, b = {0};
        size_t bad = 0;
        assert_true(tok_encode(t, broken, sizeof broken - 1, 0, &a, &bad));
        assert_int_equal(bad, 3);
        assert_true(tok_encode(t, mended, sizeof mended - 1, 0, &b, &bad));
        assert_int_equal(bad, 0);
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.at, b.at, a.n * sizeof *a.at);
        nx_vec_clear(&a);
        nx_vec_clear(&b);
        tok_free(t);
    }
}

static void test_special_tokens(void **state)
{
    tokenizer *t = load("bytes");
    static const char text[] = "<|im_start|>a foo_bar<|im_end|>";
    tok_ids ids = {0};
    assert_true(tok_encode(t, text, strlen(text), TOK_PARSE_SPECIAL, &ids, NULL));
    assert_int_equal(ids.at[0], 1);
    assert_int_equal(ids.at[ids.n - 1], 2);
    ids.n = 0;
    int32_t foo_bar = tok_id(t, "foo_bar", 7);
    bool found = false;
    assert_true(tok_encode(t, text, strlen(text), 0, &ids, NULL));
    for (size_t i = 0; i < ids.n; i++) {
        assert_false(tok_is_special(t, ids.at[i]));
        found = found || ids.at[i] == foo_bar;
    }
    assert_true(found); /* an added token that is no control token is always itself */
    nx_str back = {0};
    assert_true(tok_decode(t, ids.at, ids.n, false, &back));
    assert_string_equal(nx_str_cstr(&back), text);
    assert_true(tok_is_special(t, 1) && tok_is_special(t, 2) && !tok_is_special(t, foo_bar));
    assert_true(tok_is_eog(t, 0) && tok_is_eog(t, 2) && !tok_is_eog(t, 1) && !tok_is_eog(t, 9999));
    assert_int_equal(tok_id(t, "no such token", 13), -1);
    assert_null(tok_token(t, -1).data);
    assert_true(nx_slice_is(tok_token(t, tok_id(t, "\xC4\xA0", 2)), "\xC4\xA0"));
    assert_true(nx_slice_is(tok_piece(t, tok_id(t, "\xC4\xA0", 2)), " "));
    nx_str_clear(&back);
    nx_vec_clear(&ids);
    tok_free(t);
}

/* A piece longer than what is merged by scanning: both ways must give the same tokens. */
static void test_long_words(void **state)
{
    tokenizer *t = load("bytes");
    char text[400];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = "thequickbrowndont"[i % 17];
    tok_ids ids = {0};
    assert_true(tok_encode(t, text, sizeof text, 0, &ids, NULL));
    nx_str back = {0};
    assert_true(tok_decode(t, ids.at, ids.n, true, &back));
    assert_int_equal(back.len, sizeof text);
    assert_memory_equal(back.data, text, sizeof text);
    nx_str_clear(&back);
    nx_vec_clear(&ids);
    tok_free(t);
}

typedef struct {
    const tokenizer *t;
    json_t *cases;
    bool ok;
} job;

static void *encode_all(void *arg)
{
    job *j = arg;
    tok_ids ids = {0};
    j->ok = true;
    for (int round = 0; round < 20; round++)
        for (size_t i = 0; i < json_array_size(j->cases); i++) {
            json_t *c = json_array_get(j->cases, i), *want = json_object_get(c, "plain");
            nx_slice text = text_of(c, "text");
            ids.n = 0;
            j->ok = j->ok && tok_encode(j->t, text.data, text.len, TOK_PARSE_SPECIAL, &ids, NULL) &&
                    ids.n == json_array_size(want);
            for (size_t k = 0; j->ok && k < ids.n; k++)
                j->ok = ids.at[k] == json_integer_value(json_array_get(want, k));
        }
    nx_vec_clear(&ids);
    return NULL;
}

static void test_threads(void **state)
{
    tokenizer *t = load("bytes");
    json_t *cases = vectors("bytes");
    job jobs[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        jobs[i] = (job){t, cases, false};
        assert_int_equal(pthread_create(&threads[i], NULL, encode_all, &jobs[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_true(jobs[i].ok);
    }
    json_decref(cases);
    tok_free(t);
}

/* ---- files with faults ---- */

#define MODEL(x) "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2}," x "}}"
#define WITH(x)  "{" x ",\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}"

static void test_faults(void **state)
{
    static const struct {
        const char *json, *says;
    } cases[] = {
        {"", ""},
        {"[]", "object"},
        {"{}", "vocabulary"},
        {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0}}}", "WordLevel"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}}", "id"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":99999999999},\"merges\":[]}}", "id"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":[[\"a\",1.0]],\"merges\":[]}}", "vocabulary"},
        {MODEL("\"merges\":[\"a c\"]"), "not in the vocabulary"},
        {MODEL("\"merges\":[\"ab\"]"), "not two tokens"},
        {MODEL("\"merges\":[[\"a\"]]"), ""},
        {MODEL("\"merges\":[[\"a\",\"b\",\"c\"]]"), "two tokens"},
        {MODEL("\"dropout\":0.1,\"merges\":[]"), "dropout"},
        {MODEL("\"merges\":[],\"vocab\":{}"), "second"},
        {WITH("\"normalizer\":{\"type\":\"Nonsense\"}"), "Nonsense"},
        {WITH("\"normalizer\":{}"), "normalizer"},
        {WITH("\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}"), "UnicodeScripts"},
        {WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"}}"), "\"(\""},
        {WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\\\\Kb\"}}"), "\\K"},
        {WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\" \"},"
              "\"behavior\":\"Odd\"}"),
         "Odd"},
        {WITH("\"post_processor\":{\"type\":\"Odd\"}"), "Odd"},
        {WITH("\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"x\",7],"
              "\"cls\":[\"y\",0]}"),
         "7"},
        {WITH("\"decoder\":{\"type\":\"CTC\"}"), "CTC"},
        {WITH("\"added_tokens\":[{\"id\":-4,\"content\":\"x\"}]"), "added token"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0}}}", "[UNK]"},
        {"{\"model\":{\"type\":\"Unigram\",\"unk_id\":3,\"vocab\":[[\"a\",-1]]}}", "unk_id"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nx_error_clear();
        tokenizer *t = tok_from_json_memory(nx_slice_of(cases[i].json), (nx_slice){0}, "file");
        if (t)
            fail_msg("accepted: %s", cases[i].json);
        if (!strlen(nx_error_message()) || !strstr(nx_error_message(), cases[i].says))
            fail_msg("%s: says \"%s\"", cases[i].json, nx_error_message());
    }
    assert_null(tok_from_json(NX_TEST_DATA "/tokenizer/missing.json"));
}

static void test_unknown_character(void **state)
{
    static const char json[] = "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",-1]]}}";
    tokenizer *t = tok_from_json_memory(nx_slice_of(json), (nx_slice){0}, "file");
    assert_non_null(t);
    tok_ids ids = {0};
    nx_vec_push(&ids, 5);
    assert_true(tok_encode(t, "aa", 2, 0, &ids, NULL));
    assert_int_equal(ids.n, 3);
    assert_false(tok_encode(t, "aab", 3, 0, &ids, NULL));
    assert_int_equal(ids.n, 3); /* as it was */
    assert_non_null(strstr(nx_error_message(), "U+0062"));
    nx_vec_clear(&ids);
    tok_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),        cmocka_unit_test(test_sentencepiece),
        cmocka_unit_test(test_unigram),      cmocka_unit_test(test_wordpiece),
        cmocka_unit_test(test_streams),      cmocka_unit_test(test_held_character),
        cmocka_unit_test(test_invalid_utf8), cmocka_unit_test(test_special_tokens),
        cmocka_unit_test(test_long_words),   cmocka_unit_test(test_threads),
        cmocka_unit_test(test_faults),       cmocka_unit_test(test_unknown_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
