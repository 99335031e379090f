/*
 * Tokenizers from GGUF metadata: reference vectors of real vocabularies where these are at hand
 * (they are large, so they are not in the repository), and the golden prompts of the test model.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/gguf.h"
#include "base/json.h"
#include "runtime/text/detok.h"
#include "runtime/text/tokenizer.h"

static int skipped;

static tokenizer *load(const char *path)
{
    nx_gguf *g = nx_gguf_open(path);
    if (!g)
        fail_msg("%s", nx_error_message());
    tokenizer *t = tok_from_gguf(g);
    nx_gguf_free(g);
    if (!t)
        fail_msg("%s: %s", path, nx_error_message());
    return t;
}

static char *slurp(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    nx_str s = {0};
    char buf[4096];
    for (size_t k; (k = fread(buf, 1, sizeof buf, f)) > 0;)
        nx_str_add(&s, buf, k);
    fclose(f);
    *n = s.len;
    return nx_str_take(&s);
}

/* What comes piece by piece must be what comes at once. */
static void check_stream(const tokenizer *t, const tok_ids *ids, const nx_str *whole)
{
    nx_str parts = {0};
    detok d;
    detok_init(&d, t, true);
    for (size_t i = 0; i < ids->n; i++)
        assert_true(detok_push(&d, ids->at[i], &parts));
    detok_flush(&d, &parts);
    detok_clear(&d);
    assert_int_equal(parts.len, whole->len);
    assert_memory_equal(nx_str_cstr(&parts), nx_str_cstr(whole), parts.len);
    nx_str_clear(&parts);
}

static void check_case(const tokenizer *t, const char *name, const char *text, size_t len,
                       const char *want, bool exact_decode)
{
    tok_ids ids = {0};
    assert_true(tok_encode(t, text, len, 0, &ids, NULL));
    nx_str got = {0};
    for (size_t i = 0; i < ids.n; i++)
        nx_str_printf(&got, " %d", ids.at[i]);
    if (strcmp(nx_str_cstr(&got), want) != 0)
        fail_msg("%s: \"%.*s\"\n  is   %s\n  want %s", name, (int)len, text, nx_str_cstr(&got),
                 want);
    nx_str back = {0};
    assert_true(tok_decode(t, ids.at, ids.n, true, &back));
    check_stream(t, &ids, &back);
    if (exact_decode) {
        assert_int_equal(back.len, len);
        assert_memory_equal(nx_str_cstr(&back), text, len);
    }
    nx_str_clear(&back);
    nx_str_clear(&got);
    nx_vec_clear(&ids);
}

static void check_vectors(const char *name, bool exact_decode)
{
    static const char mark[] = "\n__ggml_vocab_test__\n";
    char path[512], file[600];
    snprintf(path, sizeof path, NX_SHARED "/data/ggml-vocab-%s.gguf", name);
    if (access(path, R_OK) != 0) {
        skipped++;
        return;
    }
    size_t n_in, n_out;
    snprintf(file, sizeof file, "%s.inp", path);
    char *in = slurp(file, &n_in);
    snprintf(file, sizeof file, "%s.out", path);
    char *out = slurp(file, &n_out);
    assert_non_null(in);
    assert_non_null(out);
    tokenizer *t = load(path);
    char *line = out;
    for (char *at = in, *end; line && *line; at = end + strlen(mark)) {
        end = memmem(at, n_in - (size_t)(at - in), mark, strlen(mark));
        size_t len = end ? (size_t)(end - at) : n_in - (size_t)(at - in);
        char *next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        check_case(t, name, at, len, line, exact_decode);
        line = next;
        if (!end)
            break;
    }
    tok_free(t);
    free(in);
    free(out);
}

/* The test model's prompts. Its file is where NEXUS_TEST_MODEL says. */
static void test_golden(void **state)
{
    const char *model = getenv("NEXUS_TEST_MODEL");
    if (!model || access(model, R_OK) != 0) {
        skipped++;
        return;
    }
    tokenizer *t = load(model);
    json_t *cases = nx_json_load_file(NX_TEST_DATA "/golden/smollm2-135m-instruct-q4_1.json");
    assert_non_null(cases);
    size_t i, k;
    json_t *c, *id;
    json_array_foreach(cases, i, c)
    {
        const char *prompt = nx_json_get_str(c, "prompt", NULL);
        json_t *want = nx_json_get(c, "prompt_ids");
        tok_ids ids = {0};
        assert_true(tok_encode(t, prompt, strlen(prompt), TOK_PARSE_SPECIAL, &ids, NULL));
        assert_int_equal(ids.n, json_array_size(want));
        json_array_foreach(want, k, id) assert_int_equal(ids.at[k], json_integer_value(id));
        nx_vec_clear(&ids);

        json_t *answer = nx_json_get(c, "ids");
        nx_str text = {0};
        json_array_foreach(answer, k, id) nx_vec_push(&ids, (int32_t)json_integer_value(id));
        assert_true(tok_decode(t, ids.at, ids.n, false, &text));
        assert_string_equal(nx_str_cstr(&text), nx_json_get_str(c, "text_out", ""));
        nx_str_clear(&text);
        nx_vec_clear(&ids);
    }
    assert_true(tok_is_eog(t, 2) && !tok_is_eog(t, 1));
    assert_true(tok_is_special(t, 1) && !tok_is_special(t, 504));
    assert_int_equal(tok_vocab_size(t), 49152);
    json_decref(cases);
    tok_free(t);
}

static void test_gpt2(void **state)
{
    check_vectors("gpt-2", true);
}
static void test_qwen2(void **state)
{
    check_vectors("qwen2", true);
}
static void test_starcoder(void **state)
{
    check_vectors("starcoder", true);
}
static void test_falcon(void **state)
{
    check_vectors("falcon", true);
}
static void test_mpt(void **state)
{
    check_vectors("mpt", true);
}
static void test_deepseek_coder(void **state)
{
    check_vectors("deepseek-coder", true);
}
static void test_llama_spm(void **state)
{
    check_vectors("llama-spm", true);
}
static void test_phi3(void **state)
{
    check_vectors("phi-3", true);
    const char *path = NX_SHARED "/data/ggml-vocab-phi-3.gguf";
    if (access(path, R_OK) != 0)
        return;
    tokenizer *t = load(path);
    static const char text[] = "<|user|>\nHello<|end|>\n<|assistant|>\n";
    static const int32_t want[] = {32010, 15043, 32007,
                                   32001}; /* the newlines belong to the marks */
    tok_ids ids = {0};
    assert_true(tok_encode(t, text, strlen(text), TOK_PARSE_SPECIAL, &ids, NULL));
    assert_int_equal(ids.n, 4);
    assert_memory_equal(ids.at, want, sizeof want);
    nx_vec_clear(&ids);
    tok_free(t);
}
static void test_bert(void **state)
{
    check_vectors("bert-bge", false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpt2),      cmocka_unit_test(test_qwen2),
        cmocka_unit_test(test_starcoder), cmocka_unit_test(test_falcon),
        cmocka_unit_test(test_mpt),       cmocka_unit_test(test_deepseek_coder),
        cmocka_unit_test(test_llama_spm), cmocka_unit_test(test_phi3),
        cmocka_unit_test(test_bert),      cmocka_unit_test(test_golden),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (skipped)
        printf("%d of 10 skipped: vocabularies that are not in " NX_SHARED "/data, or the test "
               "model (NEXUS_TEST_MODEL)\n",
               skipped);
    return failed ? failed : skipped == 10 ? 77 : 0;
}
