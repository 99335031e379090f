/* test_model_errors.c: a checkpoint with a wrong, missing, misnamed or surplus tensor is refused by
 * name, with the name most like it; settings that make no model are refused too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/os.h"
#include "base/str.h"
#include "runtime/models/model.h"
#include "runtime/nn/engine.h"
#include "tempdir.h"

static void write_file(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

/* tests/data/families/NAME/model.safetensors with one name in its header replaced by another of the
 * same length, in a folder of its own. */
static void write_renamed(const char *folder, const char *name, const char *from, const char *to)
{
    nx_str path = {0}, text = {0};
    nx_str_printf(&path, "%s/families/%s/model.safetensors", NX_TEST_DATA, name);
    assert_true(nx_os_read_file(nx_str_cstr(&path), &text, 1 << 20));
    if (from) {
        assert_int_equal(strlen(from), strlen(to));
        char *at = memmem(text.data, text.len, from, strlen(from));
        assert_non_null(at);
        memcpy(at, to, strlen(to));
    }
    nx_str_truncate(&path, 0);
    nx_str_printf(&path, "%s/model.safetensors", folder);
    write_file(nx_str_cstr(&path), text.data, text.len);
    nx_str_clear(&path);
    nx_str_clear(&text);
}

typedef struct {
    model *model;
    nn_source source;
} loading;

static bool load(void *arg)
{
    loading *l = arg;
    bool ok = model_load_weights(l->model, &l->source, (nn_quant_config){0}, false);
    model_free(l->model);
    return ok;
}

static json_t *config_of(const char *name)
{
    nx_str path = {0};
    nx_str_printf(&path, "%s/families/%s/config.json", NX_TEST_DATA, name);
    json_t *json = nx_json_load_file(nx_str_cstr(&path));
    nx_str_clear(&path);
    assert_non_null(json);
    return json;
}

/* Loads the folder with these settings; the message must hold both texts. */
static void refuses(const char *folder, json_t *json, const char *first, const char *second)
{
    loading l = {0};
    config_source from = {.json = json, .arch = nx_json_get_str(json, "model_type", "")};
    l.model = model_configure(&from);
    bool ok = l.model && nn_source_open_folder(&l.source, folder) && engine_run(load, &l);
    if (ok || !strstr(nx_error_message(), first) || !strstr(nx_error_message(), second))
        print_message("%s\n", ok ? "accepted" : nx_error_message());
    assert_false(ok);
    assert_non_null(strstr(nx_error_message(), first));
    assert_non_null(strstr(nx_error_message(), second));
    nn_source_clear(&l.source);
    json_decref(json);
}

static void test_names(void **state)
{
    const char *folder = temp_dir;
    write_renamed(folder, "llama", "model.layers.1.mlp.up_proj.weight", "model.layers.1.mlp.up_porj.weight");
    refuses(folder, config_of("llama"), "'model.layers.1.mlp.up_proj.weight' is missing",
            "'model.layers.1.mlp.up_porj.weight'");
    write_renamed(folder, "llama_bias", "model.layers.0.self_attn.q_proj.bias",
                  "model.layers.0.self_attn.q_porj.bias");
    refuses(folder, config_of("llama_bias"), "'model.layers.0.self_attn.q_porj.bias'",
            "'model.layers.0.self_attn.q_proj.bias'");
    write_renamed(folder, "mixtral", "experts.2.w3.weight", "experts.2.w9.weight");
    refuses(folder, config_of("mixtral"), "experts.2.w3.weight' is missing", "[llama]");
}

/* One setting of a good checkpoint, changed. */
static void test_settings(void **state)
{
    static const struct {
        const char *family, *key;
        int value;
        const char *first, *second;
    } cases[] = {
        {"llama", "intermediate_size", 40, "model.layers.0.mlp.gate_proj.weight", "(48,32)"},
        {"llama", "num_key_value_heads", 1, "model.layers.0.self_attn.k_proj.weight", "(16,32)"},
        {"llama", "num_key_value_heads", 3, "make no model", "3 KV heads"},
        {"llama", "vocab_size", 95, "model.embed_tokens.weight", "(96,32)"},
        {"llama", "num_hidden_layers", 1, "model.layers.1.", "does not use"},
        {"llama", "num_hidden_layers", 3, "model.layers.2.", "missing"},
        {"mixtral", "num_local_experts", 3, "block_sparse_moe", "settings say (3,32)"},
        {"mixtral", "num_experts_per_tok", 5, "make no model", "5 of 4 experts"},
        {"deepseek_v3", "kv_lora_rank", 8, "kv_a_proj_with_mqa", "settings say (12,32)"},
        {"deepseek_v3", "n_group", 3, "make no model", "3 groups"},
        {"mamba2", "n_groups", 3, "make no state space", "mamba2"},
        {"mamba2", "conv_kernel", 5, "another shape", "mamba2"},
        {"lfm2", "conv_L_cache", 4, "conv.conv.weight", "lfm2"},
        {"gemma2", "head_dim", 8, "self_attn.q_proj.weight", "settings say (32,32)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *json = config_of(cases[i].family);
        nx_str path = {0};
        json_object_set_new(json, cases[i].key, json_integer(cases[i].value));
        nx_str_printf(&path, "%s/families/%s", NX_TEST_DATA, cases[i].family);
        refuses(nx_str_cstr(&path), json, cases[i].first, cases[i].second);
        nx_str_clear(&path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names), cmocka_unit_test(test_settings)};
    return cmocka_run_group_tests(tests, temp_make, temp_drop);
}
