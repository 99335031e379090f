/* write_folder.c: a folder of safetensors with its settings and tokenizer. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/ggml_types.h"
#include "base/os.h"
#include "base/outfile.h"
#include "base/safetensors.h"
#include "runtime/convert/settings.h"
#include "runtime/convert/vocab.h"
#include "runtime/convert/write.h"

static nx_safetensors_dtype dtype_of(int type)
{
    return type == NX_GGML_F32    ? NX_SAFETENSORS_F32
           : type == NX_GGML_BF16 ? NX_SAFETENSORS_BF16
                                  : NX_SAFETENSORS_F16;
}

/* "x.weight" -> "x.scales" */
static void part_name(const out_tensor *o, const char *part, char *out, size_t size)
{
    size_t n = strlen(o->name);
    bool weight = n > 7 && strcmp(o->name + n - 7, ".weight") == 0;
    snprintf(out, size, "%.*s.%s", (int)(weight ? n - 7 : n), o->name, part);
}

static bool declare_affine(nx_safetensors_writer *w, const out_tensor *o)
{
    char name[320];
    uint64_t words[8], groups[8];
    int last = o->ndim - 1;
    memcpy(words, o->shape, sizeof words);
    memcpy(groups, o->shape, sizeof groups);
    words[last] = o->shape[last] * (uint64_t)o->as.bits / 32;
    groups[last] = o->shape[last] / (uint64_t)o->as.group;
    bool affine = strcmp(o->as.mode, "affine") == 0;
    nx_safetensors_dtype type = affine ? dtype_of(o->as.type) : NX_SAFETENSORS_U8;
    part_name(o, "scales", name, sizeof name);
    bool ok = nx_safetensors_writer_tensor(w, o->name, NX_SAFETENSORS_U32, o->ndim, words) &&
              nx_safetensors_writer_tensor(w, name, type, o->ndim, groups);
    part_name(o, "biases", name, sizeof name);
    return ok && (!affine || nx_safetensors_writer_tensor(w, name, type, o->ndim, groups));
}

static bool write_to(void *arg, const void *bytes, size_t n)
{
    return nx_safetensors_writer_data(arg, bytes, n);
}

static void shard_name(size_t i, size_t n, char *out, size_t size)
{
    if (n == 1)
        snprintf(out, size, "model.safetensors");
    else
        snprintf(out, size, "model-%05zu-of-%05zu.safetensors", i + 1, n);
}

static bool write_shard(emitter *e, const char *folder, const char *name, size_t begin, size_t end)
{
    nx_str path = {0};
    nx_str_printf(&path, "%s/%s", folder, name);
    nx_safetensors_writer *w = nx_safetensors_writer_new(nx_str_cstr(&path));
    nx_str_clear(&path);
    if (!w)
        return false;
    const out_vec *all = &e->plan->tensors;
    bool ok = nx_safetensors_writer_metadata(w, "format", e->plan->target == TARGET_MLX ? "mlx" : "pt");
    for (size_t i = begin; i < end && ok; i++) {
        const out_tensor *o = &all->at[i];
        ok = o->as.form == OUT_AFFINE
                 ? declare_affine(w, o)
                 : nx_safetensors_writer_tensor(w, o->name, dtype_of(o->as.type), o->ndim, o->shape);
    }
    e->sink = write_to;
    e->sink_arg = w;
    for (size_t i = begin; i < end && ok; i++)
        ok = emit_tensor(e, &all->at[i]) || nx_fail_in("[%s]", all->at[i].name);
    ok = ok && nx_safetensors_writer_finish(w);
    nx_safetensors_writer_free(w);
    return ok;
}

static bool write_json(const char *folder, const char *name, json_t *o)
{
    nx_str path = {0};
    char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;
    nx_str_printf(&path, "%s/%s", folder, name);
    bool ok = text && nx_os_write_file(nx_str_cstr(&path), text, strlen(text));
    free(text);
    json_decref(o);
    nx_str_clear(&path);
    return ok;
}

static bool write_index(const emitter *e, const char *folder, const shard_ends *shards)
{
    json_t *map = json_object();
    size_t at = 0;
    char file[64], name[320];
    for (size_t s = 0; s < shards->n; s++)
        for (shard_name(s, shards->n, file, sizeof file); at < shards->at[s]; at++) {
            const out_tensor *o = &e->plan->tensors.at[at];
            json_object_set_new(map, o->name, json_string(file));
            for (int k = 0; k < 2 && o->as.form == OUT_AFFINE; k++) {
                part_name(o, k ? "biases" : "scales", name, sizeof name);
                if (!k || strcmp(o->as.mode, "affine") == 0)
                    json_object_set_new(map, name, json_string(file));
            }
        }
    json_t *index = json_pack("{s:{s:I}}", "metadata", "total_size", (json_int_t)e->plan->bytes);
    json_object_set_new(index, "weight_map", map);
    return write_json(folder, "model.safetensors.index.json", index);
}

/* ---- what lies beside the weights ------------------------------------------------------------- */

static bool is_weights(const char *name)
{
    static const char *const ends[] = {".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx", ".msgpack",
                                       ".h5", ".npz", ".index.json"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (nx_ends_with(name, ends[i]))
            return true;
    return strcmp(name, "config.json") == 0;
}

static bool copy_file(const char *from, const char *to)
{
    nx_str bytes = {0};
    bool ok = nx_os_read_file(from, &bytes, 512 << 20) && nx_os_write_file(to, bytes.data, bytes.len);
    nx_str_clear(&bytes);
    return ok;
}

/* Small files of the source's folder: tokenizer, templates, licence, how embeddings are pooled. */
static bool copy_beside(const char *from, const char *to, bool top)
{
    nx_str a = {0}, b = {0};
    DIR *d = opendir(from);
    bool ok = d || nx_fail("[%s] the folder cannot be read", from);
    for (struct dirent *e; ok && (e = readdir(d));) {
        if (e->d_name[0] == '.' || (top && is_weights(e->d_name)))
            continue;
        nx_str_truncate(&a, 0);
        nx_str_truncate(&b, 0);
        nx_str_printf(&a, "%s/%s", from, e->d_name);
        nx_str_printf(&b, "%s/%s", to, e->d_name);
        if (nx_os_is_file(nx_str_cstr(&a)))
            ok = copy_file(nx_str_cstr(&a), nx_str_cstr(&b));
        else if (top && strstr(e->d_name, "_Pooling") && nx_os_is_dir(nx_str_cstr(&a)))
            ok = nx_os_mkdir_p(nx_str_cstr(&b), 0777) &&
                 copy_beside(nx_str_cstr(&a), nx_str_cstr(&b), false);
    }
    if (d)
        closedir(d);
    nx_str_clear(&a);
    nx_str_clear(&b);
    return ok;
}

bool write_folder(emitter *e, const char *folder, const shard_ends *shards)
{
    const plan *p = e->plan;
    bool ok = true;
    size_t begin = 0;
    char name[64];
    json_t *config = settings_config(p); /* before the pages of small tensors are let go */
    if (!config)
        return false;
    for (size_t s = 0; s < shards->n && ok; s++) {
        shard_name(s, shards->n, name, sizeof name);
        ok = write_shard(e, folder, name, begin, shards->at[s]);
        begin = shards->at[s];
    }
    ok = ok && (shards->n == 1 || write_index(e, folder, shards)) &&
         (p->source == TARGET_GGUF ? vocab_to_folder(p->from->config.gguf, folder, p->m->max_context)
                                   : copy_beside(p->from->path, folder, true));
    if (!ok) {
        json_decref(config);
        return false;
    }
    return write_json(folder, "config.json", config);
}
