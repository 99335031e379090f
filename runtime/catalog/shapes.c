#include "runtime/catalog/shapes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/gguf.h"
#include "base/json.h"
#include "base/os.h"
#include "base/outfile.h"
#include "base/safetensors.h"
#include "base/str.h"
#include "base/vec.h"

/* The mixture has the sizes of Granite 3.1 1B A400M, in Mixtral's wiring. */
static const shape shapes[] = {
    {"tinyllama-1.1b", "llama", "llama", 22, 2048, 32, 4, 64, 5632, 32000, 2048, 0, 0, 1e4f, 1e-5f,
     false, false},
    {"llama-3.2-1b", "llama", "llama", 16, 2048, 32, 8, 64, 8192, 128256, 131072, 0, 0, 5e5f, 1e-5f,
     true, false},
    {"qwen3-0.6b", "qwen3", "qwen3", 28, 1024, 16, 8, 128, 3072, 151936, 40960, 0, 0, 1e6f, 1e-6f,
     true, true},
    {"moe-1b", "llama", "mixtral", 24, 1024, 16, 8, 64, 512, 49152, 131072, 32, 8, 1e4f, 1e-6f, true,
     false},
    {"tiny", "llama", "llama", 2, 256, 4, 2, 64, 512, 512, 2048, 0, 0, 1e4f, 1e-5f, false, false},
    {"tiny-moe", "llama", "mixtral", 2, 256, 4, 2, 64, 256, 512, 2048, 4, 2, 1e4f, 1e-5f, true, false},
};
enum { SHAPES = sizeof shapes / sizeof *shapes, GROUP = 64 };

const shape *shape_find(const char *name)
{
    nx_str names = {0};
    for (int i = 0; i < SHAPES; i++) {
        if (strcasecmp(name, shapes[i].name) == 0)
            return nx_str_clear(&names), &shapes[i];
        nx_str_printf(&names, "%s%s", i ? ", " : "", shapes[i].name);
    }
    nx_fail("there is no shape '%s'; there are %s", name, nx_str_cstr(&names));
    nx_str_clear(&names);
    return NULL;
}

/* ---- random numbers ---------------------------------------------------------------------------- */

static uint64_t random_state = 0x9E3779B97F4A7C15u;

static uint64_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static void random_fill(void *to, size_t n)
{
    unsigned char *p = to;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t r = random_bits();
        memcpy(p, &r, 8);
    }
    for (uint64_t r = random_bits(); n; n--, r >>= 8)
        *p++ = (unsigned char)r;
}

/* float16 of a positive number below 2, rounded down; float is nowhere else needed as 16 bits. */
static uint16_t half_of(float x)
{
    int exponent = 15;
    if (x < 0x1p-14f)
        return (uint16_t)(x * 0x1p24f);
    for (; x < 1; x *= 2)
        exponent--;
    return (uint16_t)(exponent << 10 | (int)((x - 1) * 1024));
}

static uint16_t bfloat_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    return (uint16_t)(u >> 16);
}

/* ---- tensors ----------------------------------------------------------------------------------- */

typedef enum { VECTOR, MATRIX, PLAIN_MATRIX } tensor_kind;
typedef struct {
    char hf[160], gguf[64]; /* without ".weight" */
    tensor_kind kind;
    uint64_t experts, rows, cols; /* experts 0: one matrix; vectors have rows 1 */
} tensor;
typedef NX_VEC(tensor) tensor_vec;

static void add(tensor_vec *v, const char *hf, const char *gguf, tensor_kind kind, int experts, int rows,
                int cols)
{
    tensor t = {.kind = kind, .experts = (uint64_t)experts, .rows = (uint64_t)rows,
                .cols = (uint64_t)cols};
    snprintf(t.hf, sizeof t.hf, "%s", hf);
    snprintf(t.gguf, sizeof t.gguf, "%s", gguf);
    nx_vec_push(v, t);
}

static void add_in_layer(tensor_vec *v, int layer, const char *hf, const char *gguf, tensor_kind kind,
                         int experts, int rows, int cols)
{
    char long_hf[160], long_gguf[64];
    snprintf(long_hf, sizeof long_hf, "model.layers.%d.%s", layer, hf);
    snprintf(long_gguf, sizeof long_gguf, "blk.%d.%s", layer, gguf);
    add(v, long_hf, long_gguf, kind, experts, rows, cols);
}

static void add_mlp(tensor_vec *v, const shape *s, int i)
{
    int n = s->intermediate, h = s->hidden, e = s->experts;
    if (!e) {
        add_in_layer(v, i, "mlp.gate_proj", "ffn_gate", MATRIX, 0, n, h);
        add_in_layer(v, i, "mlp.up_proj", "ffn_up", MATRIX, 0, n, h);
        add_in_layer(v, i, "mlp.down_proj", "ffn_down", MATRIX, 0, h, n);
        return;
    }
    const char *part = "block_sparse_moe.switch_mlp.";
    char name[64];
    add_in_layer(v, i, "block_sparse_moe.gate", "ffn_gate_inp", PLAIN_MATRIX, 0, e, h);
    snprintf(name, sizeof name, "%sgate_proj", part);
    add_in_layer(v, i, name, "ffn_gate_exps", MATRIX, e, n, h);
    snprintf(name, sizeof name, "%sup_proj", part);
    add_in_layer(v, i, name, "ffn_up_exps", MATRIX, e, n, h);
    snprintf(name, sizeof name, "%sdown_proj", part);
    add_in_layer(v, i, name, "ffn_down_exps", MATRIX, e, h, n);
}

static void list_tensors(tensor_vec *v, const shape *s)
{
    int q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim, h = s->hidden;
    add(v, "model.embed_tokens", "token_embd", MATRIX, 0, s->vocab, h);
    for (int i = 0; i < s->layers; i++) {
        add_in_layer(v, i, "input_layernorm", "attn_norm", VECTOR, 0, 1, h);
        add_in_layer(v, i, "self_attn.q_proj", "attn_q", MATRIX, 0, q, h);
        add_in_layer(v, i, "self_attn.k_proj", "attn_k", MATRIX, 0, kv, h);
        add_in_layer(v, i, "self_attn.v_proj", "attn_v", MATRIX, 0, kv, h);
        add_in_layer(v, i, "self_attn.o_proj", "attn_output", MATRIX, 0, h, q);
        if (s->qk_norm) {
            add_in_layer(v, i, "self_attn.q_norm", "attn_q_norm", VECTOR, 0, 1, s->head_dim);
            add_in_layer(v, i, "self_attn.k_norm", "attn_k_norm", VECTOR, 0, 1, s->head_dim);
        }
        add_in_layer(v, i, "post_attention_layernorm", "ffn_norm", VECTOR, 0, 1, h);
        add_mlp(v, s, i);
    }
    add(v, "model.norm", "output_norm", VECTOR, 0, 1, h);
    if (!s->tied)
        add(v, "lm_head", "output", MATRIX, 0, s->vocab, h);
}

static uint64_t rows_of(const tensor *t)
{
    return t->rows * (t->experts ? t->experts : 1);
}

/* ---- vocabulary: bytes, one merge, and names that stand for the rest ------------------------------ */

enum { BYTES = 256, MERGED = 256, SPECIAL = 2 };

/* The character that stands for a byte in byte-level vocabularies. */
static int byte_character(int byte)
{
    int others = 256;
    for (int b = 0; b <= byte; b++) {
        bool shown = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        if (b == byte)
            return shown ? b : others;
        others += !shown;
    }
    return 0;
}

static void token_text(const shape *s, int id, char *to, size_t size)
{
    if (id < BYTES) {
        int c = byte_character(id);
        if (c < 128)
            snprintf(to, size, "%c", c);
        else
            snprintf(to, size, "%c%c", 0xC0 | c >> 6, 0x80 | (c & 0x3F));
    } else if (id == MERGED) {
        snprintf(to, size, "th");
    } else if (id >= s->vocab - SPECIAL) {
        snprintf(to, size, "%s", id == s->vocab - SPECIAL ? "<|begin|>" : "<|end|>");
    } else {
        snprintf(to, size, "word%d", id);
    }
}

/* ---- GGUF -------------------------------------------------------------------------------------- */

/* Block types by bits, with where a block's float16 numbers lie and what they are, so that weights
 * deviate by about 0.02 from 0. */
static const struct {
    int bits;
    nx_ggml_id type;
    int scale_at, minimum_at; /* bytes; -1: none */
    float scale, minimum;
} blocks[] = {
    {2, NX_GGML_Q2_K, 80, 82, 2e-3f, 3e-3f},  {3, NX_GGML_Q3_K, 108, -1, 4e-4f, 0},
    {4, NX_GGML_Q4_0, 0, -1, 4.3e-3f, 0},     {5, NX_GGML_Q5_0, 0, -1, 2.2e-3f, 0},
    {6, NX_GGML_Q6_K, 208, -1, 1.5e-5f, 0},   {8, NX_GGML_Q8_0, 0, -1, 2.7e-4f, 0},
    {16, NX_GGML_F16, -1, -1, 0, 0},
};
enum { BLOCKS = sizeof blocks / sizeof *blocks };

static int block_of(int bits)
{
    for (int i = 0; i < BLOCKS; i++)
        if (blocks[i].bits == bits)
            return i;
    return -1;
}

/* Numbers of either sign around 0.02: the sign, an exponent of 2^-6 or 2^-7, any mantissa. */
static void random_halves(uint16_t *to, size_t n, int format_exponent, int mantissa_bits)
{
    uint16_t mantissa = (uint16_t)((1 << mantissa_bits) - 1);
    random_fill(to, n * sizeof *to);
    for (size_t i = 0; i < n; i++)
        to[i] = (uint16_t)((to[i] & (0x8000 | mantissa)) | format_exponent << mantissa_bits);
}

static bool write_gguf_matrix(nx_gguf_writer *w, const tensor *t, int block)
{
    const nx_ggml_type *type = nx_ggml_type_find(blocks[block].type);
    size_t n = (size_t)(t->cols / type->block_elements) * type->block_bytes;
    unsigned char *row = nx_malloc(n);
    bool ok = true;
    for (uint64_t r = 0; ok && r < rows_of(t); r++) {
        if (blocks[block].type == NX_GGML_F16)
            random_halves((uint16_t *)row, (size_t)t->cols, 9, 10);
        else
            random_fill(row, n);
        uint16_t scale = half_of(blocks[block].scale), least = half_of(blocks[block].minimum);
        for (size_t at = 0; at < n && blocks[block].scale_at >= 0; at += type->block_bytes) {
            memcpy(row + at + blocks[block].scale_at, &scale, 2);
            if (blocks[block].minimum_at >= 0)
                memcpy(row + at + blocks[block].minimum_at, &least, 2);
        }
        ok = nx_gguf_writer_data(w, row, n);
    }
    free(row);
    return ok;
}

/* Ones for a norm, small numbers for a router. */
static bool write_gguf_floats(nx_gguf_writer *w, const tensor *t)
{
    bool ok = true;
    for (uint64_t i = 0; ok && i < rows_of(t) * t->cols; i++) {
        float v = t->kind == VECTOR ? 1 : (float)(int32_t)random_bits() * 0x1p-36f;
        ok = nx_gguf_writer_data(w, &v, sizeof v);
    }
    return ok;
}

static bool write_gguf_vocabulary(nx_gguf_writer *w, const shape *s)
{
    nx_slice *tokens = nx_calloc((size_t)s->vocab, sizeof *tokens);
    int32_t *types = nx_calloc((size_t)s->vocab, sizeof *types);
    for (int i = 0; i < s->vocab; i++) {
        char text[32];
        token_text(s, i, text, sizeof text);
        tokens[i] = (nx_slice){nx_strdup(text), strlen(text)};
        types[i] = i >= s->vocab - SPECIAL ? 3 : 1; /* control, normal */
    }
    nx_slice merge = {"t h", 3};
    bool ok = nx_gguf_writer_str(w, "tokenizer.ggml.model", (nx_slice){"gpt2", 4}) &&
              nx_gguf_writer_str(w, "tokenizer.ggml.pre", (nx_slice){"gpt-2", 5}) &&
              nx_gguf_writer_strings(w, "tokenizer.ggml.tokens", tokens, (uint64_t)s->vocab) &&
              nx_gguf_writer_array(w, "tokenizer.ggml.token_type", NX_GGUF_I32, types,
                                   (uint64_t)s->vocab) &&
              nx_gguf_writer_strings(w, "tokenizer.ggml.merges", &merge, 1) &&
              nx_gguf_writer_u32(w, "tokenizer.ggml.bos_token_id", (uint32_t)s->vocab - 2) &&
              nx_gguf_writer_u32(w, "tokenizer.ggml.eos_token_id", (uint32_t)s->vocab - 1);
    for (int i = 0; i < s->vocab; i++)
        free((char *)tokens[i].data);
    free(tokens);
    free(types);
    return ok;
}

static bool put_u32(nx_gguf_writer *w, const shape *s, const char *key, int v)
{
    char full[96];
    snprintf(full, sizeof full, "%s.%s", s->arch, key);
    return nx_gguf_writer_u32(w, full, (uint32_t)v);
}

static bool put_f32(nx_gguf_writer *w, const shape *s, const char *key, float v)
{
    char full[96];
    snprintf(full, sizeof full, "%s.%s", s->arch, key);
    return nx_gguf_writer_f32(w, full, v);
}

static bool write_gguf_settings(nx_gguf_writer *w, const shape *s)
{
    bool ok = nx_gguf_writer_str(w, "general.architecture", (nx_slice){s->arch, strlen(s->arch)}) &&
              nx_gguf_writer_str(w, "general.name", (nx_slice){s->name, strlen(s->name)}) &&
              put_u32(w, s, "block_count", s->layers) && put_u32(w, s, "context_length", s->context) &&
              put_u32(w, s, "embedding_length", s->hidden) &&
              put_u32(w, s, "feed_forward_length", s->intermediate) &&
              put_u32(w, s, "attention.head_count", s->heads) &&
              put_u32(w, s, "attention.head_count_kv", s->kv_heads) &&
              put_u32(w, s, "attention.key_length", s->head_dim) &&
              put_u32(w, s, "attention.value_length", s->head_dim) &&
              put_u32(w, s, "rope.dimension_count", s->head_dim) &&
              put_u32(w, s, "vocab_size", s->vocab) && put_f32(w, s, "rope.freq_base", s->rope_base) &&
              put_f32(w, s, "attention.layer_norm_rms_epsilon", s->epsilon);
    if (s->experts)
        ok = ok && put_u32(w, s, "expert_count", s->experts) &&
             put_u32(w, s, "expert_used_count", s->experts_used);
    return ok && write_gguf_vocabulary(w, s);
}

static bool write_gguf(const shape *s, int block, const char *path)
{
    tensor_vec all = {0};
    nx_gguf_writer *w = nx_gguf_writer_new(path);
    if (!w)
        return false;
    list_tensors(&all, s);
    bool ok = write_gguf_settings(w, s);
    for (size_t i = 0; ok && i < all.n; i++) {
        const tensor *t = &all.at[i];
        char name[80];
        uint64_t ne[3] = {t->cols, t->rows, t->experts};
        int ndim = t->kind == VECTOR ? 1 : t->experts ? 3 : 2;
        snprintf(name, sizeof name, "%s.weight", t->gguf);
        ok = nx_gguf_writer_tensor(
            w, name, nx_ggml_type_find(t->kind == MATRIX ? blocks[block].type : NX_GGML_F32), ndim, ne);
    }
    for (size_t i = 0; ok && i < all.n; i++)
        ok = all.at[i].kind == MATRIX ? write_gguf_matrix(w, &all.at[i], block)
                                      : write_gguf_floats(w, &all.at[i]);
    ok = ok && nx_gguf_writer_finish(w);
    nx_gguf_writer_free(w);
    nx_vec_clear(&all);
    return ok;
}

/* ---- MLX's folder -------------------------------------------------------------------------------- */

static bool declare(nx_safetensors_writer *w, const tensor *t, const char *part,
                    nx_safetensors_dtype type, uint64_t cols)
{
    char name[176];
    uint64_t shape3[3] = {t->experts, t->rows, cols};
    int ndim = t->kind == VECTOR ? 1 : t->experts ? 3 : 2;
    snprintf(name, sizeof name, "%s.%s", t->hf, part);
    return nx_safetensors_writer_tensor(w, name, type, ndim, shape3 + 3 - ndim);
}

static bool declare_all(nx_safetensors_writer *w, const tensor *t, int bits)
{
    if (t->kind != MATRIX || bits == 16)
        return declare(w, t, "weight", NX_SAFETENSORS_BF16, t->cols);
    return declare(w, t, "weight", NX_SAFETENSORS_U32, t->cols * (uint64_t)bits / 32) &&
           declare(w, t, "scales", NX_SAFETENSORS_BF16, t->cols / GROUP) &&
           declare(w, t, "biases", NX_SAFETENSORS_BF16, t->cols / GROUP);
}

static bool write_same(nx_safetensors_writer *w, uint64_t n, uint16_t v)
{
    uint16_t some[512];
    bool ok = true;
    for (int i = 0; i < 512; i++)
        some[i] = v;
    for (; ok && n; n -= n < 512 ? n : 512)
        ok = nx_safetensors_writer_data(w, some, (size_t)(n < 512 ? n : 512) * sizeof v);
    return ok;
}

static bool write_random(nx_safetensors_writer *w, uint64_t bytes, bool halves)
{
    uint16_t some[4096];
    bool ok = true;
    while (ok && bytes) {
        size_t n = bytes < sizeof some ? (size_t)bytes : sizeof some;
        if (halves)
            random_halves(some, n / 2, 121, 7); /* 2^-6 */
        else
            random_fill(some, n);
        ok = nx_safetensors_writer_data(w, some, n);
        bytes -= n;
    }
    return ok;
}

/* Codes are all as likely as others: of that spread, scale makes 0.02, and the bias centres it. */
static bool write_mlx_tensor(nx_safetensors_writer *w, const tensor *t, int bits)
{
    uint64_t n = rows_of(t) * t->cols;
    if (t->kind == VECTOR)
        return write_same(w, n, bfloat_of(1));
    if (t->kind == PLAIN_MATRIX || bits == 16)
        return write_random(w, n * 2, true);
    float codes = (float)(1 << bits), scale = 0.07f / codes;
    return write_random(w, n * (uint64_t)bits / 8, false) && write_same(w, n / GROUP, bfloat_of(scale)) &&
           write_same(w, n / GROUP, bfloat_of(-scale * (codes - 1) / 2));
}

static bool write_mlx_weights(const shape *s, int bits, const char *path)
{
    tensor_vec all = {0};
    nx_safetensors_writer *w = nx_safetensors_writer_new(path);
    if (!w)
        return false;
    list_tensors(&all, s);
    bool ok = nx_safetensors_writer_metadata(w, "format", "mlx");
    for (size_t i = 0; ok && i < all.n; i++)
        ok = declare_all(w, &all.at[i], bits);
    for (size_t i = 0; ok && i < all.n; i++)
        ok = write_mlx_tensor(w, &all.at[i], bits);
    ok = ok && nx_safetensors_writer_finish(w);
    nx_safetensors_writer_free(w);
    nx_vec_clear(&all);
    return ok;
}

static json_t *mlx_config(const shape *s, int bits)
{
    json_t *c = json_pack(
        "{s:s, s:[s], s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:b, s:s, s:i, s:i}",
        "model_type", s->family, "architectures", "RandomForCausalLM", "hidden_size", s->hidden,
        "num_hidden_layers", s->layers, "intermediate_size", s->intermediate, "num_attention_heads",
        s->heads, "num_key_value_heads", s->kv_heads, "head_dim", s->head_dim, "vocab_size", s->vocab,
        "max_position_embeddings", s->context, "rope_theta", (double)s->rope_base, "rms_norm_eps",
        (double)s->epsilon, "tie_word_embeddings", (int)s->tied, "hidden_act", "silu", "bos_token_id",
        s->vocab - 2, "eos_token_id", s->vocab - 1);
    if (s->experts) {
        json_object_set_new(c, "num_local_experts", json_integer(s->experts));
        json_object_set_new(c, "num_experts_per_tok", json_integer(s->experts_used));
    }
    if (bits != 16)
        json_object_set_new(c, "quantization",
                            json_pack("{s:i, s:i}", "group_size", (int)GROUP, "bits", bits));
    return c;
}

static json_t *mlx_tokenizer(const shape *s)
{
    json_t *vocabulary = json_object(), *added = json_array();
    for (int i = 0; i < s->vocab; i++) {
        char text[32];
        token_text(s, i, text, sizeof text);
        if (i < s->vocab - SPECIAL)
            json_object_set_new(vocabulary, text, json_integer(i));
        else
            json_array_append_new(added, json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", i,
                                                   "content", text, "single_word", 0, "lstrip", 0,
                                                   "rstrip", 0, "normalized", 0, "special", 1));
    }
    return json_pack("{s:s, s:n, s:n, s:o, s:n, s:{s:s, s:b, s:b, s:b}, s:n, s:{s:s, s:b, s:b, s:b}, "
                     "s:{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:o, s:[s]}}",
                     "version", "1.0", "truncation", "padding", "added_tokens", added, "normalizer",
                     "pre_tokenizer", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1,
                     "use_regex", 1, "post_processor", "decoder", "type", "ByteLevel",
                     "add_prefix_space", 1, "trim_offsets", 1, "use_regex", 1, "model", "type", "BPE",
                     "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                     "fuse_unk", 0, "byte_fallback", 0, "vocab", vocabulary, "merges", "t h");
}

/* Takes value. */
static bool write_json(const char *folder, const char *file, json_t *value)
{
    nx_str path = {0};
    nx_str_printf(&path, "%s/%s", folder, file);
    char *text = json_dumps(value, JSON_INDENT(1));
    nx_outfile *f = text ? nx_outfile_open(nx_str_cstr(&path)) : NULL;
    bool ok = f && nx_outfile_write(f, text, strlen(text)) && nx_outfile_commit(f);
    nx_outfile_free(f);
    free(text);
    nx_str_clear(&path);
    json_decref(value);
    return ok;
}

/* config.json comes last: a folder that has one is whole. */
static bool write_folder(const shape *s, int bits, const char *folder)
{
    nx_str path = {0};
    nx_str_printf(&path, "%s/model.safetensors", folder);
    bool ok = nx_os_mkdir_p(folder, 0755) && write_mlx_weights(s, bits, nx_str_cstr(&path)) &&
              write_json(folder, "tokenizer.json", mlx_tokenizer(s)) &&
              write_json(folder, "tokenizer_config.json",
                         json_pack("{s:s, s:s}", "bos_token", "<|begin|>", "eos_token", "<|end|>")) &&
              write_json(folder, "config.json", mlx_config(s, bits));
    nx_str_clear(&path);
    return ok;
}

nexus_status shape_write(const shape *s, int bits, bool gguf, const char *path)
{
    int block = block_of(bits);
    if (block < 0) {
        nx_fail("weights have 2, 3, 4, 5, 6, 8 or 16 bits, not %d", bits);
        return NEXUS_ERROR_ARGUMENT;
    }
    return (gguf ? write_gguf(s, block, path) : write_folder(s, bits, path)) ? NEXUS_OK : NEXUS_ERROR;
}

nexus_status nexus_model_make(const char *name, int bits, bool gguf, const char *path)
{
    const shape *s = shape_find(name);
    if (!s)
        return NEXUS_ERROR_ARGUMENT;
    return shape_write(s, bits, gguf, path);
}
