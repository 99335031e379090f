/*
 * test_gguf_types.c: a small random llama, dense and of experts, in each block type of GGUF gives the logits
 * that it gives with the numbers its blocks stand for, in one piece and token by token. What those numbers
 * are is tests/oracle/test_gguf_matrices.py's subject.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/gguf.h"
#include "runtime/convert/halves.h"
#include "runtime/models/model.h"
#include "runtime/nn/engine.h"
#include "tempdir.h"

enum { HIDDEN = 256, VOCAB = 64, EXPERTS = 3, TOKENS = 20 };

/* Where the numbers of a block are that random bytes would make too large, and a fitting value. */
typedef enum { HALF, HALF_TWO, EXPONENT, FOUR_BYTES, NIBBLES } place_kind;
static const struct {
    nx_ggml_id type;
    place_kind kind;
    int at;
    float scale;
} types[] = {
    {NX_GGML_Q4_0, HALF, 0, 0.01f},       {NX_GGML_Q4_1, HALF_TWO, 0, 0.01f},
    {NX_GGML_Q5_0, HALF, 0, 0.005f},      {NX_GGML_Q5_1, HALF_TWO, 0, 0.005f},
    {NX_GGML_Q8_0, HALF, 0, 0.0007f},     {NX_GGML_Q2_K, HALF_TWO, 80, 0.004f},
    {NX_GGML_Q3_K, HALF, 108, 0.001f},    {NX_GGML_Q4_K, HALF_TWO, 0, 0.0002f},
    {NX_GGML_Q5_K, HALF_TWO, 0, 0.0001f}, {NX_GGML_Q6_K, HALF, 208, 0.00005f},
    {NX_GGML_IQ1_S, HALF, 0, 0.007f},     {NX_GGML_IQ1_M, NIBBLES, 48, 0.007f},
    {NX_GGML_IQ2_XXS, HALF, 0, 0.0015f},  {NX_GGML_IQ2_XS, HALF, 0, 0.0015f},
    {NX_GGML_IQ2_S, HALF, 0, 0.0015f},    {NX_GGML_IQ3_XXS, HALF, 0, 0.0006f},
    {NX_GGML_IQ3_S, HALF, 0, 0.0005f},    {NX_GGML_IQ4_NL, HALF, 0, 0.001f},
    {NX_GGML_IQ4_XS, HALF, 0, 0.00006f},  {NX_GGML_TQ1_0, HALF, 52, 0.06f},
    {NX_GGML_TQ2_0, HALF, 64, 0.06f},     {NX_GGML_MXFP4, EXPONENT, 0, 122},
    {NX_GGML_NVFP4, FOUR_BYTES, 0, 8},    {NX_GGML_Q1_0, HALF, 0, 0.05f},
    {NX_GGML_Q2_0, HALF, 0, 0.04f},
};
enum { TYPES = sizeof types / sizeof *types };

typedef struct {
    const char *name;
    int ndim, experts;
    bool matrix;
} tensor;
static const tensor dense[] = {
    {"token_embd", 2, 0, true},        {"output_norm", 1, 0, false},    {"output", 2, 0, true},
    {"blk.0.attn_norm", 1, 0, false},  {"blk.0.attn_q", 2, 0, true},    {"blk.0.attn_k", 2, 0, true},
    {"blk.0.attn_v", 2, 0, true},      {"blk.0.attn_output", 2, 0, true}, {"blk.0.ffn_norm", 1, 0, false},
    {"blk.0.ffn_gate", 2, 0, true},    {"blk.0.ffn_up", 2, 0, true},    {"blk.0.ffn_down", 2, 0, true},
}, expert[] = {
    {"blk.0.ffn_gate_inp", 2, 0, false}, {"blk.0.ffn_gate_exps", 3, EXPERTS, true},
    {"blk.0.ffn_up_exps", 3, EXPERTS, true}, {"blk.0.ffn_down_exps", 3, EXPERTS, true},
};
enum { MOST = 16 };

static uint32_t seed;

static uint32_t random_bits(void)
{
    seed = seed * 1664525 + 1013904223;
    return seed >> 8;
}

/* Makes the numbers of a block of random bytes ordinary ones. */
static void tame(int t, unsigned char *block)
{
    float s = types[t].scale * (random_bits() & 1 ? 1.0f : -0.7f);
    uint16_t half = float_to_half(s), other = float_to_half(-s);
    unsigned char *at = block + types[t].at;
    switch (types[t].kind) {
    case HALF_TWO: memcpy(at + 2, &other, 2); /* fall through */
    case HALF: memcpy(at, &half, 2); break;
    case EXPONENT: *at = (unsigned char)(types[t].scale + (float)(random_bits() & 1)); break;
    case FOUR_BYTES:
        for (int i = 0; i < 4; i++)
            at[i] = (unsigned char)(8 + (random_bits() & 7));
        break;
    case NIBBLES: /* four bits of a float16 at the top of each of four words */
        for (int i = 0; i < 4; i++)
            at[2 * i + 1] = (unsigned char)((at[2 * i + 1] & 15) | (half >> 4 * i & 15) << 4);
    }
}

typedef struct {
    const tensor *t;
    int rows;
    size_t bytes;
    unsigned char *data; /* matrices: blocks; others: floats */
} filled;

static int list(bool moe, filled *to)
{
    int n = 0;
    for (size_t i = 0; i < sizeof dense / sizeof *dense; i++)
        if (!moe || i < sizeof dense / sizeof *dense - 3)
            to[n++].t = &dense[i];
    for (size_t i = 0; moe && i < sizeof expert / sizeof *expert; i++)
        to[n++].t = &expert[i];
    return n;
}

static void fill(int type, filled *f)
{
    const tensor *t = f->t;
    const nx_ggml_type *g = nx_ggml_type_find(t->matrix ? types[type].type : NX_GGML_F32);
    f->rows = t->ndim == 1 ? 1 : t->experts ? HIDDEN * t->experts : HIDDEN;
    if (strcmp(t->name, "token_embd") == 0 || strcmp(t->name, "output") == 0)
        f->rows = VOCAB;
    if (strcmp(t->name, "blk.0.ffn_gate_inp") == 0)
        f->rows = EXPERTS;
    f->bytes = (size_t)f->rows * HIDDEN / g->block_elements * g->block_bytes;
    f->data = nx_malloc(f->bytes);
    for (size_t i = 0; i < f->bytes; i++)
        f->data[i] = (unsigned char)random_bits();
    for (size_t at = 0; t->matrix && at < f->bytes; at += g->block_bytes)
        tame(type, f->data + at);
    for (size_t i = 0; !t->matrix && i < f->bytes / 4; i++)
        ((float *)(void *)f->data)[i] = t->ndim == 1 ? 1 : (float)(random_bits() & 255) * 0.001f;
}

static bool settings(nx_gguf_writer *w, bool moe)
{
    return nx_gguf_writer_str(w, "general.architecture", (nx_slice){"llama", 5}) &&
           nx_gguf_writer_u32(w, "llama.block_count", 1) && nx_gguf_writer_u32(w, "llama.context_length", 64) &&
           nx_gguf_writer_u32(w, "llama.embedding_length", HIDDEN) &&
           nx_gguf_writer_u32(w, "llama.feed_forward_length", HIDDEN) &&
           nx_gguf_writer_u32(w, "llama.attention.head_count", 4) &&
           nx_gguf_writer_u32(w, "llama.attention.head_count_kv", 4) &&
           nx_gguf_writer_u32(w, "llama.vocab_size", VOCAB) &&
           nx_gguf_writer_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f) &&
           nx_gguf_writer_str(w, "tokenizer.ggml.model", (nx_slice){"no_vocab", 8}) &&
           (!moe || (nx_gguf_writer_u32(w, "llama.expert_count", EXPERTS) &&
                     nx_gguf_writer_u32(w, "llama.expert_used_count", 2)));
}

/* as_floats: the numbers of the blocks instead of them. */
static void write_model(const char *path, int type, const filled *all, int n, bool moe, bool as_floats)
{
    nx_gguf_writer *w = nx_gguf_writer_new(path);
    assert_true(w && settings(w, moe));
    for (int i = 0; i < n; i++) {
        const tensor *t = all[i].t;
        char name[64];
        snprintf(name, sizeof name, "%s.weight", t->name);
        uint64_t ne[3] = {HIDDEN, t->experts ? HIDDEN : (uint64_t)all[i].rows, EXPERTS};
        uint32_t id = t->matrix && !as_floats ? types[type].type : NX_GGML_F32;
        assert_true(nx_gguf_writer_tensor(w, name, nx_ggml_type_find(id), t->ndim, ne));
    }
    for (int i = 0; i < n; i++) {
        const void *data = all[i].data;
        size_t bytes = all[i].bytes;
        mlx_array numbers = mlx_array_new();
        if (all[i].t->matrix && as_floats) {
            int shape[2] = {all[i].rows, (int)(all[i].bytes / (size_t)all[i].rows)};
            mlx_array blocks = mlx_array_new_data(data, shape, 2, MLX_UINT8);
            mlx_stream s = mlx_default_cpu_stream_new();
            assert_int_equal(engine_extensions()->gguf_dequantize(&numbers, blocks, (int)types[type].type,
                                                                  MLX_FLOAT32, s), 0);
            assert_int_equal(mlx_array_eval(numbers), 0);
            mlx_array_free(blocks);
            mlx_stream_free(s);
            data = mlx_array_data_float32(numbers);
            bytes = mlx_array_nbytes(numbers);
        }
        assert_true(nx_gguf_writer_data(w, data, bytes));
        mlx_array_free(numbers);
    }
    assert_true(nx_gguf_writer_finish(w));
    nx_gguf_writer_free(w);
}

typedef struct {
    const char *path;
    int step;      /* tokens a piece */
    float *logits; /* [TOKENS, VOCAB] */
} run;

static bool run_pieces(run *r, model *m)
{
    nn c;
    nn_cache cache;
    nn_init(&c);
    nn_cache_init(&cache, m->caches, m->n_layers, NN_CACHE_F32, m->max_context);
    bool ok = true;
    for (int at = 0; ok && at < TOKENS; at += r->step) {
        int32_t ids[TOKENS];
        int n = TOKENS - at < r->step ? TOKENS - at : r->step;
        for (int i = 0; i < n; i++)
            ids[i] = (at + i) * 37 % VOCAB;
        nn_segment one = {.count = n, .cache = &cache, .wants_logits = true};
        nn_batch b = {.n_tokens = n, .segments = &one, .n_segments = 1, .all_rows = true};
        b.tokens = nn_own(&c, 0, mlx_array_new_data(ids, &n, 1, MLX_INT32));
        mlx_array y = nn_astype(&c, m->arch->forward(&c, m, &b), MLX_FLOAT32);
        ok = !c.failed && !mlx_array_eval(y);
        if (ok)
            memcpy(r->logits + at * VOCAB, mlx_array_data_float32(y), (size_t)n * VOCAB * sizeof(float));
        nn_cache_advance(&cache, n);
        nn_reset(&c);
    }
    nn_cache_clear(&cache);
    nn_clear(&c);
    return ok;
}

static bool run_model(void *arg)
{
    run *r = arg;
    nn_source source;
    if (!nn_source_open_gguf(&source, r->path))
        return false;
    config_source from = {.gguf = source.ggufs.at[0], .arch = "llama"};
    model *m = model_configure(&from);
    bool ok = m && model_load_weights(m, &source, (nn_quant_config){0}, true) && run_pieces(r, m);
    if (m)
        model_free(m);
    nn_source_clear(&source);
    return ok;
}

static float worst_of(const float *a, const float *b)
{
    float largest = 0, worst = 0;
    for (int i = 0; i < TOKENS * VOCAB; i++) {
        largest = fmaxf(largest, fabsf(b[i]));
        float d = fabsf(a[i] - b[i]);
        worst = d <= worst ? worst : d; /* not a number is the worst of all */
    }
    return worst / largest;
}

static void check_model(int type, bool moe)
{
    static float got[TOKENS * VOCAB], again[TOKENS * VOCAB], want[TOKENS * VOCAB];
    filled all[MOST];
    int n = list(moe, all);
    const char *name = nx_ggml_type_find(types[type].type)->name;
    const char *blocks = temp_path("blocks.gguf"), *floats = temp_path("floats.gguf");
    seed = (uint32_t)type + 1;
    for (int i = 0; i < n; i++)
        fill(type, &all[i]);
    write_model(blocks, type, all, n, moe, false);
    write_model(floats, type, all, n, moe, true);
    run runs[] = {{blocks, TOKENS, got}, {blocks, 1, again}, {floats, TOKENS, want}};
    for (int i = 0; i < 3; i++)
        if (!engine_run(run_model, &runs[i]))
            fail_msg("%s: %s", name, nx_error_message());
    float off = worst_of(got, want), same = worst_of(again, got);
    if (!(off < 3e-4f && same < 1e-6f))
        fail_msg("%s%s: off by %.1e of the largest logit; token by token %.1e", name, moe ? " experts" : "",
                 (double)off, (double)same);
    for (int i = 0; i < n; i++)
        free(all[i].data);
    unlink(blocks);
    unlink(floats);
}

static void test_dense(void **state)
{
    for (int t = 0; t < TYPES; t++)
        check_model(t, false);
}

static void test_experts(void **state)
{
    for (int t = 0; t < TYPES; t++)
        check_model(t, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_dense), cmocka_unit_test(test_experts)};
    return cmocka_run_group_tests(tests, temp_make, temp_drop);
}
