/* facts_folder.c: what a folder of safetensors is: MLX, Hugging Face or an adapter. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "base/map.h"
#include "base/os.h"
#include "base/safetensors.h"
#include "base/str.h"
#include "runtime/catalog/facts.h"
#include "runtime/models/model.h"
#include "runtime/nn/packed.h"

enum { MOST_SETTINGS = 32 << 20 };

typedef struct {
    catalog_facts *f;
    const char *folder;
    const catalog_files *files;
    json_t *config;
    const json_t *quantization; /* MLX's */
    nx_map labels;              /* quantization -> parameters */
    bool says_mlx;
} inspection;

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), e = strlen(end);
    return n >= e && strcmp(s + n - e, end) == 0;
}

static const catalog_file *file_named(const inspection *x, const char *name)
{
    for (size_t i = 0; i < x->files->n; i++)
        if (strcmp(x->files->at[i].name, name) == 0)
            return &x->files->at[i];
    return NULL;
}

/* A settings file of the folder, NULL where it is not there; broken ones are told. */
static json_t *load(inspection *x, const char *name)
{
    if (!file_named(x, name))
        return NULL;
    nx_str path = {0}, text = {0};
    nx_str_printf(&path, "%s/%s", x->folder, name);
    json_t *j = NULL;
    if (!nx_os_read_file(nx_str_cstr(&path), &text, MOST_SETTINGS))
        x->f->passing = true;
    else
        j = nx_json_parse(nx_str_cstr(&text), text.len, name);
    if (!j)
        facts_fail_message(x->f, nx_str_cstr(&path));
    x->f->fingerprint = facts_hash(x->f->fingerprint, nx_str_cstr(&text), text.len);
    nx_str_clear(&path);
    nx_str_clear(&text);
    return j;
}

/* ---- tensors ---- */

static int group_size_of(const inspection *x, const char *module, size_t n)
{
    char key[256];
    snprintf(key, sizeof key, "%.*s", (int)n, module);
    const json_t *own = json_object_get(x->quantization, key);
    int64_t g = nx_json_get_int(x->quantization, "group_size", 64);
    if (json_is_object(own))
        g = nx_json_get_int(own, "group_size", g);
    return g > 0 && g < 65536 ? (int)g : 64;
}

static void add_label(inspection *x, const char *label, uint64_t parameters)
{
    size_t n = strlen(label);
    nx_map_set(&x->labels, label, n, nx_map_get(&x->labels, label, n, 0) + parameters);
}

/* "layer.weight" of packed words: its scales tell how many weights there are. */
static uint64_t packed_parameters(inspection *x, const nx_safetensors *s,
                                  const nx_safetensors_tensor *t, const char *mode)
{
    size_t n = strlen(t->name);
    char other[512], label[64];
    size_t module = ends_with(t->name, ".weight") ? n - 7 : n;
    snprintf(other, sizeof other, "%.*s.scales", (int)module, t->name);
    const nx_safetensors_tensor *scales = nx_safetensors_find(s, other);
    if (!scales)
        return 0;
    int group = group_size_of(x, t->name, module);
    uint64_t parameters = scales->elements * (uint64_t)group;
    int bits = parameters ? (int)(t->elements * 32 / parameters) : 0;
    snprintf(label, sizeof label, "%d-bit %s g%d", bits, mode, group);
    add_label(x, label, parameters);
    return parameters;
}

static bool is_companion(const char *name)
{
    return ends_with(name, ".scales") || ends_with(name, ".biases") || ends_with(name, ".qzeros") ||
           ends_with(name, ".g_idx") || ends_with(name, ".weight_scale") ||
           ends_with(name, "_scales") || ends_with(name, ".weight_scale_inv") || ends_with(name, ".absmax") ||
           ends_with(name, "rotary_emb.inv_freq") || ends_with(name, ".position_ids");
}

static void count_tensor(inspection *x, const nx_safetensors *s, const nx_safetensors_tensor *t)
{
    catalog_facts *f = x->f;
    uint64_t parameters = t->elements;
    f->weight_bytes += t->bytes;
    if (is_companion(t->name))
        return;
    if (t->dtype == NX_SAFETENSORS_U32 && x->quantization)
        parameters = packed_parameters(x, s, t, nx_json_get_str(x->quantization, "mode", "affine"));
    else if (ends_with(t->name, ".qweight")) { /* GPTQ, AWQ: 32-bit words */
        int64_t bits = nx_json_get_int(x->config, "quantization_config.bits", 4);
        parameters = bits > 0 && bits <= 32 ? t->elements * 32 / (uint64_t)bits : t->elements;
    } else if (t->dtype == NX_SAFETENSORS_U8 && ends_with(t->name, "_blocks")) { /* mxfp4: two a byte */
        parameters = 2 * t->elements;
    } else {
        char label[16];
        snprintf(label, sizeof label, "%s", nx_safetensors_dtype_name(t->dtype));
        add_label(x, label, parameters);
    }
    f->parameters += parameters;
    if (t->ndim > 1)
        f->matrix_parameters += parameters;
}

/* ---- files ---- */

static nx_safetensors *open_header(inspection *x, const char *path, const catalog_file *file)
{
    unsigned char first[8];
    uint64_t n = 0;
    nx_safetensors *s = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        facts_fail(x->f, "broken", "%s cannot be opened: %s", file->name, strerror(errno));
        x->f->passing = true;
        return NULL;
    }
    int64_t got = facts_read(fd, first, 8, 0, path);
    if (got == 8 && memcmp(first, "version ", 8) == 0)
        nx_fail("is a Git LFS pointer, not the weights: fetch the file itself (git lfs pull)");
    else if (got >= 0 && got < 8)
        nx_fail("is too short to be a safetensors file (%llu bytes)", (unsigned long long)file->bytes);
    else if (got == 8 && nx_safetensors_header_bytes(first, path, &n)) {
        if (n > file->bytes - 8) {
            nx_fail("truncated: its header alone takes %llu bytes, the file has %llu; fetch it again",
                    (unsigned long long)n, (unsigned long long)file->bytes);
        } else {
            char *text = nx_malloc(n + 1);
            got = facts_read(fd, text, n, 8, path);
            if (got == (int64_t)n) {
                s = nx_safetensors_parse(text, n, file->bytes - 8 - n, path);
                x->f->fingerprint = facts_hash(x->f->fingerprint ^ file->bytes, text, n);
            } else if (got >= 0) {
                nx_fail("was shortened while it was read");
            }
            free(text);
        }
    }
    close(fd);
    return s;
}

static void take_file(inspection *x, const catalog_file *file)
{
    nx_str path = {0};
    nx_str_printf(&path, "%s/%s", x->folder, file->name);
    x->f->shape.file_bytes += file->bytes;
    nx_safetensors *s = open_header(x, nx_str_cstr(&path), file);
    if (!s && !x->f->passing) {
        const char *m = nx_error_message(), *at = strstr(m, nx_str_cstr(&path));
        if (at) /* the path is told beside; the fault is wanted */
            m = at + path.len + strspn(at + path.len, ": ");
        facts_fail(x->f, "broken", "%s: %s", file->name, m);
    }
    for (size_t i = 0; s && i < s->n_tensors; i++)
        count_tensor(x, s, &s->tensors[i]);
    if (s && nx_slice_is(nx_safetensors_metadata(s, "format"), "mlx"))
        x->says_mlx = true;
    nx_safetensors_free(s);
    nx_str_clear(&path);
}

/* The files that an index names, and no others; a missing one is the fault to tell. */
static bool take_indexed(inspection *x)
{
    json_t *index = load(x, "model.safetensors.index.json");
    json_t *map = json_object_get(index, "weight_map");
    nx_map seen = {0};
    const char *tensor;
    json_t *value;
    json_object_foreach(map, tensor, value)
    {
        const char *name = json_string_value(value);
        if (!name || !nx_map_set(&seen, name, strlen(name), 1))
            continue;
        const catalog_file *file = file_named(x, name);
        if (file)
            take_file(x, file);
        else
            facts_fail(x->f, "broken", "%s is missing", name);
    }
    bool any = seen.n > 0;
    nx_map_clear(&seen);
    json_decref(index);
    return any;
}

static void take_all(inspection *x)
{
    const catalog_file *whole = file_named(x, "model.safetensors");
    if (take_indexed(x))
        return;
    if (whole) {
        take_file(x, whole);
        return;
    }
    for (size_t i = 0; i < x->files->n; i++)
        if (ends_with(x->files->at[i].name, ".safetensors"))
            take_file(x, &x->files->at[i]);
}

/* ---- settings ---- */

/* A number at the top, or in the part that describes the language model. */
static int number(const json_t *config, const char *key, const char *other)
{
    static const char *const parts[] = {"", "text_config.", "llm_config.", "language_config.",
                                        "thinker_config.text_config."};
    char path[128];
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        for (int k = 0; k < (other ? 2 : 1); k++) {
            snprintf(path, sizeof path, "%s%s", parts[i], k ? other : key);
            int64_t v = nx_json_get_int(config, path, 0);
            if (v > 0 && v < INT_MAX)
                return (int)v;
        }
    return 0;
}

static void read_shape(catalog_facts *f, const json_t *c)
{
    memory_shape *s = &f->shape;
    s->n_layers = number(c, "num_hidden_layers", "n_layer");
    s->hidden_size = number(c, "hidden_size", "n_embd");
    s->intermediate_size = number(c, "intermediate_size", "n_inner");
    s->n_heads = number(c, "num_attention_heads", "n_head");
    s->n_kv_heads = number(c, "num_key_value_heads", NULL);
    s->head_dim = number(c, "head_dim", NULL);
    s->vocab_size = number(c, "vocab_size", NULL);
    f->max_context = number(c, "max_position_embeddings", "n_positions");
    if (!s->intermediate_size)
        s->intermediate_size = s->hidden_size < INT_MAX / 4 ? 4 * s->hidden_size : 0;
    memory_shape_complete(s);
}

static bool architecture_ends(const json_t *config, const char *end)
{
    const json_t *list = json_object_get(config, "architectures");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *a = json_string_value(json_array_get(list, i));
        if (a && ends_with(a, end))
            return true;
    }
    return false;
}

static void name_kind(inspection *x)
{
    catalog_facts *f = x->f;
    const char *kind = facts_kind_of_family(f->family);
    if (nx_json_has(x->config, "vision_config"))
        kind = "vision";
    else if (architecture_ends(x->config, "ForSequenceClassification"))
        kind = "classifier";
    else if (file_named(x, "config_sentence_transformers.json") || file_named(x, "modules.json"))
        kind = "embedding";
    else if (!kind && nx_json_has(x->config, "audio_config"))
        kind = "audio";
    snprintf(f->kind, sizeof f->kind, "%s", kind ? kind : "text");
}

static void name_quantization(inspection *x)
{
    catalog_facts *f = x->f;
    const char *method = nx_json_get_str(x->config, "quantization_config.quant_method", NULL);
    uint64_t most = 0;
    if (method && !x->quantization) {
        int64_t bits = nx_json_get_int(x->config, "quantization_config.bits", 0);
        if (bits > 0 && bits <= 32)
            snprintf(f->quantization, sizeof f->quantization, "%d-bit %.32s", (int)bits, method);
        else
            snprintf(f->quantization, sizeof f->quantization, "%.32s", method);
        if (!nn_packed_check(nx_json_get(x->config, "quantization_config")))
            facts_fail(f, "unsupported", "%s", nx_error_message());
        return;
    }
    for (size_t i = 0; i < x->labels.n; i++)
        if (x->labels.entries[i].value > most) {
            most = x->labels.entries[i].value;
            snprintf(f->quantization, sizeof f->quantization, "%s", x->labels.entries[i].key);
        }
}

static void judge(inspection *x)
{
    catalog_facts *f = x->f;
    config_source from = {.json = x->config, .arch = f->family};
    model *m = model_configure(&from);
    if (m) {
        uint64_t bytes = f->shape.file_bytes;
        f->shape = memory_shape_of(m);
        f->shape.file_bytes = bytes;
        f->max_context = m->max_context;
        model_free(m);
    } else {
        facts_fail(f, model_arch_find(f->family) ? "broken" : "unsupported", "%s", nx_error_message());
    }
}

static bool has_end(const inspection *x, const char *end)
{
    for (size_t i = 0; i < x->files->n; i++)
        if (ends_with(x->files->at[i].name, end))
            return true;
    return false;
}

static void inspect_model(inspection *x)
{
    catalog_facts *f = x->f;
    const char *type = nx_json_get_str(x->config, "model_type", NULL);
    snprintf(f->family, sizeof f->family, "%s", type ? type : "");
    x->quantization = nx_json_get(x->config, "quantization");
    read_shape(f, x->config);
    name_kind(x);
    f->chat = file_named(x, "chat_template.jinja") != NULL;
    take_all(x);
    name_quantization(x);
    snprintf(f->format, sizeof f->format, "%s",
             json_is_object(x->quantization) || x->says_mlx ? "mlx" : "huggingface");
    if (!has_end(x, ".safetensors")) {
        bool torch = has_end(x, ".bin") || has_end(x, ".pth");
        if (!type && !torch)
            f->format[0] = '\0'; /* settings of something else */
        if (torch) {
            snprintf(f->format, sizeof f->format, "pytorch");
            for (size_t i = 0; i < x->files->n; i++)
                f->shape.file_bytes += ends_with(x->files->at[i].name, ".bin") ? x->files->at[i].bytes : 0;
            facts_fail(f, "unsupported", "its weights are PyTorch pickles: safetensors are needed");
        } else {
            facts_fail(f, "broken", "there are settings and no weights: fetch the model again");
        }
    } else if (!x->config) {
        facts_fail(f, "broken", "there is no config.json beside the weights");
    } else if (!type) {
        facts_fail(f, "broken", "config.json does not say its model_type");
    }
    if (strcmp(f->status, "ready") == 0)
        judge(x);
}

/* PEFT's and MLX's adapters: a few small matrices for a base model that lies elsewhere. */
static void inspect_adapter(inspection *x, const json_t *adapter)
{
    catalog_facts *f = x->f;
    snprintf(f->kind, sizeof f->kind, "adapter");
    snprintf(f->format, sizeof f->format, "%s",
             file_named(x, "adapters.safetensors") ? "mlx" : "huggingface");
    snprintf(f->family, sizeof f->family, "%s",
             nx_json_get_str(adapter, "peft_type", nx_json_get_str(adapter, "fine_tune_type", "lora")));
    snprintf(f->base, sizeof f->base, "%s",
             nx_json_get_str(adapter, "base_model_name_or_path", nx_json_get_str(adapter, "model", "")));
    for (size_t i = 0; i < x->files->n; i++)
        if (ends_with(x->files->at[i].name, ".safetensors"))
            take_file(x, &x->files->at[i]);
    name_quantization(x);
    if (!has_end(x, ".safetensors") && !has_end(x, ".npz") && !has_end(x, ".bin"))
        facts_fail(f, "broken", "there are settings of an adapter and no weights");
}

void facts_of_folder(catalog_facts *f, const char *folder, const catalog_files *files)
{
    *f = (catalog_facts){.kind = "text", .status = "ready"};
    inspection x = {.f = f, .folder = folder, .files = files};
    json_t *adapter = load(&x, "adapter_config.json");
    x.config = load(&x, "config.json");
    if (adapter && !file_named(&x, "model.safetensors") &&
        !file_named(&x, "model.safetensors.index.json"))
        inspect_adapter(&x, adapter);
    else
        inspect_model(&x);
    if (file_named(&x, "tokenizer_config.json") && !f->chat) {
        json_t *t = load(&x, "tokenizer_config.json");
        f->chat = nx_json_has(t, "chat_template");
        json_decref(t);
    }
    nx_map_clear(&x.labels);
    json_decref(adapter);
    json_decref(x.config);
}
