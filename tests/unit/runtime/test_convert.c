/*
 * Conversion: every family that GGUF is known for goes from its folder to MLX, to GGUF and back, and
 * gives the same logits at each stop; the block encoders' errors stay within bounds.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/ggml_types.h"
#include "base/os.h"
#include "base/str.h"
#include "nexus/nexus.h"
#include "runtime/catalog/package.h"
#include "runtime/convert/blocks.h"
#include "runtime/convert/halves.h"
#include "runtime/convert/vocab.h"
#include "runtime/nn/engine.h"
#include "runtime/text/tokenizer.h"
#include "tests/tempdir.h"

enum { TOKENS = 16, MOST_VOCAB = 4096 };

typedef struct {
    const char *path;
    int vocab;
    float logits[TOKENS * MOST_VOCAB];
} reading;

/* Engine thread: the logits of fixed tokens. */
static bool read_model(void *arg)
{
    reading *r = arg;
    package p;
    if (package_open(&p, r->path))
        return false;
    model *m = model_configure(&p.config);
    bool ok = m && model_load_weights(m, &p.source, p.quant, p.is_gguf);
    nn c;
    nn_cache cache = {0};
    nn_init(&c);
    if (ok) {
        int32_t ids[TOKENS];
        int n = TOKENS;
        r->vocab = m->arch->encoder ? m->hidden_size : m->vocab_size;
        assert_true(r->vocab <= MOST_VOCAB);
        for (int i = 0; i < TOKENS; i++)
            ids[i] = (i * 7 + 3) % m->vocab_size;
        nn_cache_init(&cache, m->caches, m->n_layers, NN_CACHE_F32, TOKENS);
        nn_cache_expect(&cache, TOKENS);
        nn_segment segment = {0, TOKENS, m->arch->encoder ? NULL : &cache, true, 0};
        nn_batch b = {.n_tokens = TOKENS, .segments = &segment, .n_segments = 1, .all_rows = true};
        b.tokens = nn_own(&c, 0, mlx_array_new_data(ids, &n, 1, MLX_INT32));
        mlx_array y = nn_astype(&c, m->arch->forward(&c, m, &b), MLX_FLOAT32);
        y = NN_CALL(&c, mlx_contiguous, y, false);
        ok = !c.failed && !mlx_array_eval(y) && mlx_array_size(y) == (size_t)TOKENS * (size_t)r->vocab;
        if (ok)
            memcpy(r->logits, mlx_array_data_float32(y), mlx_array_nbytes(y));
        nn_cache_clear(&cache);
    }
    nn_clear(&c);
    model_free(m);
    package_clear(&p);
    return ok;
}

/* The largest difference of the logits as a share of the largest; INFINITY after a failure. */
static float apart(const char *a, const char *b)
{
    static reading x, y;
    x.path = a;
    y.path = b;
    if (!engine_run(read_model, &x) || !engine_run(read_model, &y) || x.vocab != y.vocab) {
        print_message("%s or %s: %s\n", a, b, nx_error_message());
        return INFINITY;
    }
    float most = 0, diff = 0;
    for (int i = 0; i < TOKENS * x.vocab; i++) {
        most = fmaxf(most, fabsf(x.logits[i]));
        float d = fabsf(x.logits[i] - y.logits[i]);
        diff = d >= 0 && d < diff ? diff : d;
    }
    return diff / most;
}

static bool convert(const char *from, const char *to, nexus_convert_options o)
{
    if (nexus_convert(from, to, &o, NULL) == NEXUS_OK)
        return true;
    print_message("%s -> %s: %s\n", from, to, nexus_error_message());
    return false;
}

/* A normal deviate of a fixed sequence. */
static float normal(uint64_t *state)
{
    float sum = 0;
    for (int i = 0; i < 12; i++) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        sum += (float)(*state >> 40) * 0x1p-24f;
    }
    return sum - 6;
}

static void write_text(const char *folder, const char *name, const char *text)
{
    nx_str path = {0};
    nx_str_printf(&path, "%s/%s", folder, name);
    FILE *f = fopen(nx_str_cstr(&path), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    fclose(f);
    nx_str_clear(&path);
}

/* Folder -> mlx -> gguf -> hf; the name of the first stop that differs, else NULL. */
static const char *round_trip(const char *family, const char *work)
{
    nx_str first = {0}, at[3] = {{0}};
    static const char *const names[] = {"mlx", "gguf", "hf"};
    const char *bad = NULL;
    nx_str_printf(&first, "%s/families/%s", NX_TEST_DATA, family);
    for (int i = 0; i < 3; i++) {
        nx_str_printf(&at[i], "%s/%s-%s%s", work, family, names[i], i == 1 ? ".gguf" : "");
        const char *from = nx_str_cstr(i ? &at[i - 1] : &first), *to = nx_str_cstr(&at[i]);
        float d = convert(from, to, (nexus_convert_options){.to = names[i], .shard_bytes = i == 2 ? 9000 : 0})
                      ? apart(nx_str_cstr(&first), to) : INFINITY;
        if (!bad && !(d < 1e-5f)) {
            print_message("%s: at %s the logits differ by %g\n", family, names[i], (double)d);
            bad = names[i];
        }
    }
    for (int i = 0; i < 3; i++)
        nx_str_clear(&at[i]);
    nx_str_clear(&first);
    return bad;
}

static void families_keep_their_logits(void **state)
{
    static const char *const names[] = {
        "llama", "llama_bias", "llama_llama3", "llama_linear", "llama_yarn", "mixtral", "granite",
        "smollm3", "minicpm", "ernie4_5", "hunyuan_v1_dense", "qwen2", "qwen2_moe", "qwen3", "gemma", "phi3",
        "phi3_longrope", "olmo2", "olmoe", "glm4", "cohere2", "stablelm", "starcoder2", "gpt2",
        "exaone4", "phimoe", "glm4_moe", "deepseek_v2", "deepseek_v3", "falcon", "falcon_7b", "gpt_neox",
        "gpt_neox_serial", "lfm2", "mamba2", "nemotron_h", "bert", "nomic_bert"
    };
    int bad = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        bad += round_trip(names[i], temp_dir) != NULL;
    assert_int_equal(bad, 0);
}

/* Quantized ones keep their codes where the target can hold them, and nearly their numbers elsewhere. */
static void quantized_families_stay_near(void **state)
{
    static const struct {
        const char *name, *type;
        float mlx, gguf;
    } all[] = {{"mlx_affine", NULL, 1e-7f, 0.02f}, {"mlx_qwen2_moe", "f32", 1e-7f, 1e-3f},
               {"mlx_mxfp4", NULL, 1e-7f, 1e-3f}, {"llama_awq", NULL, 1e-3f, 1e-3f},
               {"llama_gptq", NULL, 1e-3f, 1e-3f}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        nx_str from = {0}, mlx = {0}, gguf = {0}, back = {0};
        nx_str_printf(&from, "%s/families/%s", NX_TEST_DATA, all[i].name);
        nx_str_printf(&mlx, "%s/%s", temp_dir, all[i].name);
        nx_str_printf(&back, "%s/%s-back", temp_dir, all[i].name);
        nx_str_printf(&gguf, "%s/%s.gguf", temp_dir, all[i].name);
        const char *a = nx_str_cstr(&from), *b = nx_str_cstr(&mlx), *c = nx_str_cstr(&gguf);
        assert_true(convert(a, b, (nexus_convert_options){.to = "mlx"}));
        assert_true(convert(b, c, (nexus_convert_options){.type = all[i].type}));
        float d = apart(a, b), e = apart(a, c);
        print_message("%s: %g, %g\n", all[i].name, (double)d, (double)e);
        assert_true(d <= all[i].mlx && e <= all[i].gguf);
        if (!all[i].type) { /* what GGUF holds goes back as it is */
            assert_true(convert(c, nx_str_cstr(&back), (nexus_convert_options){.to = "mlx"}));
            assert_true(apart(c, nx_str_cstr(&back)) <= all[i].gguf);
        }
        nx_str_clear(&back);
        nx_str_clear(&from);
        nx_str_clear(&mlx);
        nx_str_clear(&gguf);
    }
}

/* GGUF divides their matrices, and is not put together again. */
static void divided_families_keep_their_logits(void **state)
{
    static const struct {
        const char *name, *has, *lacks;
    } all[] = {{"internlm2", "blk.1.attn_k.weight", "blk.1.attn_qkv.weight"},
               {"gpt_oss", "blk.1.ffn_up_exps.bias", "blk.1.ffn_gate_up_exps.bias"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        nx_str from = {0}, mlx = {0}, gguf[3] = {{0}};
        nx_str_printf(&from, "%s/families/%s", NX_TEST_DATA, all[i].name);
        nx_str_printf(&mlx, "%s/%s-mlx", temp_dir, all[i].name);
        for (int k = 0; k < 3; k++)
            nx_str_printf(&gguf[k], "%s/%s-%d.gguf", temp_dir, all[i].name, k);
        const char *a = nx_str_cstr(&from), *b = nx_str_cstr(&mlx), *c = nx_str_cstr(&gguf[0]);
        assert_true(convert(a, b, (nexus_convert_options){.to = "mlx"}));
        assert_true(convert(a, c, (nexus_convert_options){0}));
        assert_true(convert(b, nx_str_cstr(&gguf[1]), (nexus_convert_options){0}));
        assert_true(convert(c, nx_str_cstr(&gguf[2]), (nexus_convert_options){0}));
        assert_true(apart(a, b) < 1e-6f);
        for (int k = 0; k < 3; k++)
            assert_true(apart(a, nx_str_cstr(&gguf[k])) < 1e-5f);
        package p;
        assert_int_equal(package_open(&p, c), NEXUS_OK);
        assert_non_null(nn_source_find(&p.source, all[i].has));
        assert_null(nn_source_find(&p.source, all[i].lacks));
        package_clear(&p);
        assert_int_not_equal(nexus_convert(c, b, &(nexus_convert_options){.to = "hf", .replace = true}, NULL), NEXUS_OK);
        assert_non_null(strstr(nexus_error_message(), "does not become a folder"));
        nx_str_clear(&from);
        nx_str_clear(&mlx);
        for (int k = 0; k < 3; k++)
            nx_str_clear(&gguf[k]);
    }
}

enum { W = 64, FF = 96, EXPERTS = 4 };

/* gpt-oss as it is published: its experts in blocks of mxfp4. */
static const struct {
    const char *name;
    int ndim;
    uint64_t shape[4];
} blocks_folder[] = {
    {"model.embed_tokens.weight", 2, {96, W}},
    {"model.norm.weight", 1, {W}},
    {"lm_head.weight", 2, {96, W}},
    {"model.layers.0.input_layernorm.weight", 1, {W}},
    {"model.layers.0.post_attention_layernorm.weight", 1, {W}},
    {"model.layers.0.self_attn.q_proj.weight", 2, {64, W}},
    {"model.layers.0.self_attn.q_proj.bias", 1, {64}},
    {"model.layers.0.self_attn.k_proj.weight", 2, {32, W}},
    {"model.layers.0.self_attn.k_proj.bias", 1, {32}},
    {"model.layers.0.self_attn.v_proj.weight", 2, {32, W}},
    {"model.layers.0.self_attn.v_proj.bias", 1, {32}},
    {"model.layers.0.self_attn.o_proj.weight", 2, {W, 64}},
    {"model.layers.0.self_attn.o_proj.bias", 1, {W}},
    {"model.layers.0.self_attn.sinks", 1, {4}},
    {"model.layers.0.mlp.router.weight", 2, {EXPERTS, W}},
    {"model.layers.0.mlp.router.bias", 1, {EXPERTS}},
    {"model.layers.0.mlp.experts.gate_up_proj_bias", 2, {EXPERTS, 2 * FF}},
    {"model.layers.0.mlp.experts.gate_up_proj_blocks", 4, {EXPERTS, 2 * FF, W / 32, 16}},
    {"model.layers.0.mlp.experts.gate_up_proj_scales", 3, {EXPERTS, 2 * FF, W / 32}},
    {"model.layers.0.mlp.experts.down_proj_bias", 2, {EXPERTS, W}},
    {"model.layers.0.mlp.experts.down_proj_blocks", 4, {EXPERTS, W, FF / 32, 16}},
    {"model.layers.0.mlp.experts.down_proj_scales", 3, {EXPERTS, W, FF / 32}},
};
enum { BLOCKS_TENSORS = sizeof blocks_folder / sizeof *blocks_folder };

static bool write_random(nx_safetensors_writer *w, int i, uint64_t *seed)
{
    static float numbers[96 * W];
    static unsigned char bytes[EXPERTS * 2 * FF * W / 2];
    bool blocks = nx_ends_with(blocks_folder[i].name, "_blocks"), scales = nx_ends_with(blocks_folder[i].name, "_scales");
    size_t n = 1;
    for (int k = 0; k < blocks_folder[i].ndim; k++)
        n *= blocks_folder[i].shape[k];
    assert_true(blocks || scales ? n <= sizeof bytes : n <= sizeof numbers / sizeof *numbers);
    for (size_t k = 0; k < n; k++) {
        float v = normal(seed);
        numbers[blocks || scales ? 0 : k] = blocks_folder[i].ndim > 1 ? 0.15f * v : 1 + 0.3f * v;
        bytes[blocks || scales ? k : 0] = (unsigned char)(scales ? 121 + (*seed >> 40) % 5 : *seed >> 40);
    }
    return nx_safetensors_writer_data(w, blocks || scales ? (void *)bytes : numbers, blocks || scales ? n : 4 * n);
}

#define BLOCKS_CONFIG(width) \
    "{\"model_type\":\"gpt_oss\",\"num_hidden_layers\":1,\"hidden_size\":64,\"intermediate_size\":" width "," \
    "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":16,\"vocab_size\":96," \
    "\"num_local_experts\":4,\"num_experts_per_tok\":2,\"max_position_embeddings\":128," \
    "\"sliding_window\":8,\"layer_types\":[\"sliding_attention\"]," \
    "\"quantization_config\":{\"quant_method\":\"mxfp4\"}}"

static void make_blocks_folder(const char *folder)
{
    nx_str path = {0};
    uint64_t seed = 11;
    assert_true(nx_os_mkdir_p(folder, 0777));
    write_text(folder, "config.json", BLOCKS_CONFIG("96"));
    nx_str_printf(&path, "%s/model.safetensors", folder);
    nx_safetensors_writer *w = nx_safetensors_writer_new(nx_str_cstr(&path));
    assert_non_null(w);
    for (int i = 0; i < BLOCKS_TENSORS; i++) {
        const char *name = blocks_folder[i].name;
        bool bytes = nx_ends_with(name, "_blocks") || nx_ends_with(name, "_scales");
        assert_true(nx_safetensors_writer_tensor(w, name, bytes ? NX_SAFETENSORS_U8 : NX_SAFETENSORS_F32,
                                                 blocks_folder[i].ndim, blocks_folder[i].shape));
    }
    for (int i = 0; i < BLOCKS_TENSORS; i++)
        assert_true(write_random(w, i, &seed));
    assert_true(nx_safetensors_writer_finish(w));
    nx_safetensors_writer_free(w);
    nx_str_clear(&path);
}

/* Codes and scales stay as they are: in MLX's words, in GGUF's blocks, and from the one to the other. */
static void blocks_of_mxfp4_keep_their_codes(void **state)
{
    nx_str path[4] = {{0}};
    static const char *const names[] = {"oss", "oss-mlx", "oss-0.gguf", "oss-1.gguf"};
    for (int i = 0; i < 4; i++)
        nx_str_printf(&path[i], "%s/%s", temp_dir, names[i]);
    const char *from = nx_str_cstr(&path[0]), *mlx = nx_str_cstr(&path[1]);
    make_blocks_folder(from);
    assert_true(convert(from, mlx, (nexus_convert_options){.to = "mlx"}));
    assert_true(apart(from, mlx) < 1e-6f);
    for (int i = 2; i < 4; i++) {
        const char *gguf = nx_str_cstr(&path[i]);
        assert_true(convert(i == 2 ? from : mlx, gguf, (nexus_convert_options){0}));
        float d = apart(from, gguf);
        print_message("mxfp4: %g\n", (double)d);
        assert_true(d < 1e-3f);
        package p;
        assert_int_equal(package_open(&p, gguf), NEXUS_OK);
        const nn_tensor *t = nn_source_find(&p.source, "blk.0.ffn_up_exps.weight");
        assert_true(t && t->ggml_type == NX_GGML_MXFP4 && t->bytes == EXPERTS * FF * W / 32 * 17);
        package_clear(&p);
    }
    for (int i = 0; i < 2; i++) {
        nx_str out = {0};
        nx_str_printf(&out, "%s/oss-hf", temp_dir);
        assert_int_not_equal(nexus_convert(nx_str_cstr(&path[i]), nx_str_cstr(&out),
                                           &(nexus_convert_options){.to = "hf"}, NULL), NEXUS_OK);
        assert_non_null(strstr(nexus_error_message(), "not written yet"));
        nx_str_clear(&out);
    }
    write_text(from, "config.json", BLOCKS_CONFIG("64")); /* then the experts' matrices are too large */
    assert_int_not_equal(nexus_convert(from, nx_str_cstr(&path[2]), &(nexus_convert_options){.replace = true}, NULL),
                         NEXUS_OK);
    assert_non_null(strstr(nexus_error_message(), "has 768 rows, the settings say 512"));
    for (int i = 0; i < 4; i++)
        nx_str_clear(&path[i]);
}

/* Taps of layer 0's convolution in a folder: their last dimension. */
static int last_of_taps(const char *folder, const char *name)
{
    package p;
    assert_int_equal(package_open(&p, folder), NEXUS_OK);
    const nn_tensor *t = nn_source_find(&p.source, name);
    assert_non_null(t);
    assert_int_equal(t->ndim, 3);
    int last = t->shape[2];
    package_clear(&p);
    return last;
}

/* mlx-lm turns taps, and multiplies Falcon-H1's factors into the weights: Hugging Face's folder has
 * neither, MLX's has both. */
static void what_mlx_folds_is_said(void **state)
{
    static const struct {
        const char *name, *plain, *taps;
    } all[] = {{"mlx_falcon_h1", "falcon_h1", "model.layers.0.mamba.conv1d.weight"},
               {"mlx_mamba2", "mamba2", "backbone.layers.0.mixer.conv1d.weight"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        nx_str from = {0}, plain = {0}, mlx = {0}, hf = {0};
        nx_str_printf(&from, "%s/families/%s", NX_TEST_DATA, all[i].name);
        nx_str_printf(&plain, "%s/families/%s", NX_TEST_DATA, all[i].plain);
        nx_str_printf(&mlx, "%s/%s-again", temp_dir, all[i].name);
        nx_str_printf(&hf, "%s/%s-hf", temp_dir, all[i].name);
        const char *a = nx_str_cstr(&from), *b = nx_str_cstr(&mlx), *c = nx_str_cstr(&hf);
        assert_true(convert(a, b, (nexus_convert_options){.to = "mlx"}));
        assert_true(convert(b, c, (nexus_convert_options){.to = "hf"}));
        assert_true(apart(a, b) < 1e-6f);
        assert_true(apart(a, c) < 1e-5f);
        assert_true(apart(nx_str_cstr(&plain), c) < 1e-4f);
        assert_int_equal(last_of_taps(b, all[i].taps), 1);
        assert_int_equal(last_of_taps(c, all[i].taps), last_of_taps(nx_str_cstr(&plain), all[i].taps));
        nx_str_clear(&from);
        nx_str_clear(&plain);
        nx_str_clear(&mlx);
        nx_str_clear(&hf);
    }
}

/* ---- vocabularies ---------------------------------------------------------------------------------- */

/* The fixture's tokenizer, with some of its settings replaced. */
static json_t *fixture(const char *name, const char *changes)
{
    nx_str path = {0};
    nx_str_printf(&path, "%s/tokenizer/%s.json", NX_TEST_DATA, name);
    json_t *o = nx_json_load_file(nx_str_cstr(&path)), *c = nx_json_parse(changes, strlen(changes), "changes");
    assert_non_null(o);
    assert_non_null(c);
    json_object_update_recursive(o, c);
    json_decref(c);
    nx_str_clear(&path);
    return o;
}

static bool to_gguf(const char *json, const char *config, const char *out)
{
    write_text(temp_dir, "tokenizer.json", json);
    write_text(temp_dir, "tokenizer_config.json", config);
    nx_gguf_writer *w = nx_gguf_writer_new(out);
    bool ok = w && vocab_to_gguf(w, temp_dir, NULL, MOST_VOCAB) && nx_gguf_writer_finish(w);
    nx_gguf_writer_free(w);
    return ok;
}

static void same_ids(const tokenizer *a, const tokenizer *b, const char *name, const char *text)
{
    for (unsigned flags = TOK_PARSE_SPECIAL; flags <= (TOK_PARSE_SPECIAL | TOK_ADD_SPECIAL); flags++) {
        tok_ids x = {0}, y = {0};
        assert_true(tok_encode(a, text, strlen(text), flags, &x, NULL));
        assert_true(tok_encode(b, text, strlen(text), flags, &y, NULL));
        if (x.n != y.n || memcmp(x.at, y.at, x.n * sizeof *x.at) != 0)
            fail_msg("%s (flags %u): '%.60s' has %zu ids, from GGUF %zu, or others", name, flags, text, x.n, y.n);
        nx_vec_clear(&x);
        nx_vec_clear(&y);
    }
}

static void check_vocabulary(const char *name, const char *changes, const char *config)
{
    nx_str path = {0};
    json_t *o = fixture(name, changes);
    char *text = json_dumps(o, JSON_COMPACT);
    nx_str_printf(&path, "%s/vocab.gguf", temp_dir);
    if (!to_gguf(text, config, nx_str_cstr(&path)))
        fail_msg("%s: %s", name, nx_error_message());
    nx_gguf *g = nx_gguf_open(nx_str_cstr(&path));
    tokenizer *a = tok_from_json_memory(nx_slice_of(text), nx_slice_of(config), name), *b = g ? tok_from_gguf(g) : NULL;
    if (!a || !b)
        fail_msg("%s: %s", name, nx_error_message());
    nx_gguf_free(g); /* a tokenizer outlives its file */
    nx_str_truncate(&path, 0);
    nx_str_printf(&path, "%s/tokenizer/%s.vectors.json", NX_TEST_DATA, name);
    json_t *vectors = nx_json_load_file(nx_str_cstr(&path)), *one;
    assert_true(json_array_size(vectors) > 20);
    size_t i;
    json_array_foreach(vectors, i, one)
        if (!memchr(json_string_value(json_object_get(one, "text")), 0, json_string_length(json_object_get(one, "text"))))
            same_ids(a, b, name, nx_json_get_str(one, "text", ""));
    json_decref(vectors);
    tok_free(a);
    tok_free(b);
    free(text);
    json_decref(o);
    nx_str_clear(&path);
}

#define ENDS "\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"unk_token\":\"<unk>\""
#define JOINED                                                                                     \
    "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Strip\",\"strip_left\":true,"          \
    "\"strip_right\":true},{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},\"content\":\" \"}]}}"
#define AROUND                                                                                     \
    "{\"normalizer\":null,\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{" \
    "\"id\":\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{"          \
    "\"id\":\"</s>\",\"type_id\":0}}],\"pair\":[],\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[1],"   \
    "\"tokens\":[\"<s>\"]},\"</s>\":{\"id\":\"</s>\",\"ids\":[2],\"tokens\":[\"</s>\"]}}}}"
static void vocabularies_keep_their_ids(void **state)
{
    check_vocabulary("sentencepiece", "{}", "{" ENDS "}");
    check_vocabulary("unigram", "{\"normalizer\":null}", "{" ENDS "}");
    check_vocabulary("unigram", JOINED, "{" ENDS "}");
    check_vocabulary("unigram", AROUND, "{" ENDS "}");
    check_vocabulary("wordpiece", "{\"model\":{\"max_input_chars_per_word\":100}}",
                     "{\"unk_token\":\"[UNK]\",\"cls_token\":\"[CLS]\",\"sep_token\":\"[SEP]\"}");
}

static void vocabularies_that_gguf_cannot_say(void **state)
{
    static const struct {
        const char *name, *changes, *why;
    } all[] = {{"unigram", "{}", "'NFKC'"},
               {"unigram", "{\"model\":{\"byte_fallback\":true}}", "bytes"},
               {"unigram", "{\"normalizer\":{\"type\":\"Strip\"}}", "some spaces"},
               {"unigram", "{\"model\":{\"vocab\":[[\"a\"]]}}", "no score"},
               {"unigram", "{\"model\":{\"vocab\":{}}}", "no vocabulary"},
               {"wordpiece", "{}", "cuts words"},
               {"wordpiece", "{\"normalizer\":{\"lowercase\":false}}", "capitals"},
               {"wordpiece", "{\"pre_tokenizer\":{\"type\":\"Whitespace\"}}", "'Whitespace'"},
               {"wordpiece", "{\"model\":{\"type\":\"WordLevel\"}}", "'WordLevel'"}};
    nx_str path = {0};
    nx_str_printf(&path, "%s/vocab.gguf", temp_dir);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        json_t *o = fixture(all[i].name, all[i].changes);
        char *text = json_dumps(o, JSON_COMPACT);
        assert_false(to_gguf(text, "{}", nx_str_cstr(&path)));
        if (!strstr(nx_error_message(), all[i].why))
            fail_msg("%s %s: %s", all[i].name, all[i].changes, nx_error_message());
        free(text);
        json_decref(o);
    }
    nx_str_clear(&path);
}

/* ---- halves and blocks ------------------------------------------------------------------------ */

static void halves_round_to_nearest(void **state)
{
    for (uint32_t h = 0; h < 0x10000; h++)
        if ((h & 0x7C00) != 0x7C00 || !(h & 0x3FF))
            assert_int_equal(float_to_half(half_to_float((uint16_t)h)), h);
    assert_int_equal(float_to_half(1 + 0x1p-11f), 0x3C00); /* ties to even */
    assert_int_equal(float_to_half(1 + 3 * 0x1p-11f), 0x3C02);
    assert_int_equal(float_to_half(65519), 0x7BFF);
    assert_int_equal(float_to_half(65520), 0x7C00);
    assert_int_equal(float_to_half(0x1p-25f), 0);
    assert_int_equal(float_to_half(0x1.8p-24f), 2);
    assert_true(isnan(half_to_float(float_to_half(NAN))));
    assert_int_equal(float_to_bfloat(1 + 0x1p-8f), 0x3F80);
    assert_int_equal(float_to_bfloat(1 + 3 * 0x1p-8f), 0x3F82);
}

typedef struct {
    int type, rows, cols;
    const unsigned char *blocks;
    float *out;
} decode_job;

static bool decode(void *arg)
{
    decode_job *j = arg;
    const nx_ggml_type *t = nx_ggml_type_find((uint32_t)j->type);
    int bytes = (int)((unsigned)j->cols / t->block_elements * t->block_bytes);
    mlx_stream s = mlx_default_cpu_stream_new();
    mlx_array w = mlx_array_new_data(j->blocks, (int[]){j->rows, bytes}, 2, MLX_UINT8), y = mlx_array_new();
    bool ok = !engine_extensions()->gguf_dequantize(&y, w, j->type, MLX_FLOAT32, s) && !mlx_array_eval(y);
    if (ok)
        memcpy(j->out, mlx_array_data_float32(y), (size_t)(j->rows * j->cols) * 4);
    mlx_array_free(w);
    mlx_array_free(y);
    mlx_stream_free(s);
    return ok;
}

/* Relative root mean square errors on normal numbers: just above what a search reaches, and 5% below
 * or more what plain rounding of the range does where there is a search. */
static void blocks_are_near(void **state)
{
    static const struct {
        int type;
        double most;
    } all[] = {{NX_GGML_Q4_0, 0.0880}, {NX_GGML_Q4_1, 0.0760}, {NX_GGML_Q5_0, 0.0440}, {NX_GGML_Q5_1, 0.0378},
               {NX_GGML_Q8_0, 0.0060}, {NX_GGML_Q2_K, 0.2900}, {NX_GGML_Q3_K, 0.1500}, {NX_GGML_Q4_K, 0.0800},
               {NX_GGML_Q5_K, 0.0400}, {NX_GGML_Q6_K, 0.0200}, {NX_GGML_F16, 3e-4}, {NX_GGML_BF16, 3e-3}};
    enum { ROWS = 8, COLS = 512 };
    static float x[ROWS * COLS], y[ROWS * COLS];
    static unsigned char blocks[ROWS * COLS * 4];
    uint64_t seed = 7;
    if (!engine_extensions())
        skip();
    for (int i = 0; i < ROWS * COLS; i++)
        x[i] = 0.03f * normal(&seed);
    memset(x, 0, 256 * sizeof *x); /* a block of nothing */
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        double e = 0, size = 0;
        assert_true(blocks_known(all[k].type));
        blocks_encode_rows(all[k].type, x, ROWS, COLS, NULL, blocks);
        assert_true(engine_run(decode, &(decode_job){all[k].type, ROWS, COLS, blocks, y}));
        for (int i = 0; i < ROWS * COLS; i++) {
            e += (double)(x[i] - y[i]) * (double)(x[i] - y[i]);
            size += (double)x[i] * (double)x[i];
        }
        for (int i = 0; i < 256; i++)
            assert_true(y[i] == 0);
        if (!(sqrt(e / size) < all[k].most))
            fail_msg("type %d: error %g", all[k].type, sqrt(e / size));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves_round_to_nearest),
        cmocka_unit_test(blocks_are_near),
        cmocka_unit_test_setup_teardown(quantized_families_stay_near, temp_make, temp_drop),
        cmocka_unit_test_setup_teardown(divided_families_keep_their_logits, temp_make, temp_drop),
        cmocka_unit_test_setup_teardown(blocks_of_mxfp4_keep_their_codes, temp_make, temp_drop),
        cmocka_unit_test_setup_teardown(what_mlx_folds_is_said, temp_make, temp_drop),
        cmocka_unit_test_setup_teardown(families_keep_their_logits, temp_make, temp_drop),
        cmocka_unit_test_setup_teardown(vocabularies_keep_their_ids, temp_make, temp_drop),
        cmocka_unit_test_setup_teardown(vocabularies_that_gguf_cannot_say, temp_make, temp_drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
