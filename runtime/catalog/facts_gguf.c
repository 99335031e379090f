/* facts_gguf.c: what a GGUF file is, by its header. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/gguf.h"
#include "base/str.h"
#include "runtime/catalog/facts.h"
#include "runtime/models/model.h"
#include "runtime/nn/engine.h"

enum { FIRST_READ = 256 << 10, MOST_READ = 512 << 20 };

typedef struct {
    nx_gguf *gguf;
    char *bytes; /* what it points into */
    size_t n;
} header;

static void header_clear(header *h)
{
    nx_gguf_free(h->gguf);
    free(h->bytes);
    *h = (header){0};
}

/* Reads so much of the file that its header is whole: a vocabulary may take megabytes. */
static bool header_read(header *h, const char *path, int fd, uint64_t file_bytes)
{
    for (uint64_t want = FIRST_READ;; want *= 4) {
        if (want > file_bytes)
            want = file_bytes;
        free(h->bytes);
        h->bytes = nx_malloc(want);
        int64_t got = facts_read(fd, h->bytes, want, 0, path);
        if (got < 0)
            return false;
        h->n = (size_t)got;
        if ((uint64_t)got < want)
            file_bytes = (uint64_t)got; /* it was shortened meanwhile */
        h->gguf = nx_gguf_parse(h->bytes, h->n, file_bytes, path);
        if (h->gguf)
            return true;
        if ((uint64_t)got >= file_bytes || want >= MOST_READ)
            return false;
    }
}

static bool header_open(header *h, catalog_facts *f, const char *path, uint64_t file_bytes)
{
    if (file_bytes == 0) {
        facts_fail(f, "broken", "the file is empty");
        return false;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        facts_fail(f, "broken", "cannot be opened: %s", strerror(errno));
        f->passing = true;
        return false;
    }
    bool ok = header_read(h, path, fd, file_bytes);
    close(fd);
    if (!ok)
        facts_fail_message(f, path);
    return ok;
}

bool facts_is_gguf(const char *folder, const char *name)
{
    char magic[4] = {0};
    nx_str path = {0};
    nx_str_printf(&path, "%s/%s", folder, name);
    int fd = open(nx_str_cstr(&path), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool is = fd >= 0 && read(fd, magic, 4) == 4 && memcmp(magic, "GGUF", 4) == 0;
    if (fd >= 0)
        close(fd);
    nx_str_clear(&path);
    return is;
}

/* ---- facts ---- */

static void copy_text(char *out, size_t size, nx_slice s)
{
    size_t n = s.len < size - 1 ? s.len : size - 1;
    memcpy(out, s.data ? s.data : "", s.data ? n : 0);
    out[s.data ? n : 0] = '\0';
}

static int small(const nx_gguf_kv *kv)
{
    uint64_t v = nx_gguf_u64(kv, 0);
    if (kv && kv->type == NX_GGUF_ARRAY && kv->item_type != NX_GGUF_STR && kv->count) /* a layer each */
        for (uint64_t i = 0; i < kv->count && i < 4096; i++) {
            uint64_t item = nx_gguf_item_u64(kv, i, 0);
            v = item > v ? item : v;
        }
    return v > INT_MAX ? 0 : (int)v;
}

static void read_shape(catalog_facts *f, const nx_gguf *g)
{
    memory_shape *s = &f->shape;
    const char *a = f->family;
    s->n_layers = small(nx_gguf_findf(g, "%s.block_count", a));
    s->hidden_size = small(nx_gguf_findf(g, "%s.embedding_length", a));
    s->intermediate_size = small(nx_gguf_findf(g, "%s.feed_forward_length", a));
    s->n_heads = small(nx_gguf_findf(g, "%s.attention.head_count", a));
    s->n_kv_heads = small(nx_gguf_findf(g, "%s.attention.head_count_kv", a));
    s->head_dim = small(nx_gguf_findf(g, "%s.attention.key_length", a));
    s->vocab_size = small(nx_gguf_findf(g, "%s.vocab_size", a));
    f->max_context = small(nx_gguf_findf(g, "%s.context_length", a));
    const nx_gguf_kv *tokens = nx_gguf_find(g, "tokenizer.ggml.tokens");
    if (!s->vocab_size && tokens && tokens->count < INT_MAX)
        s->vocab_size = (int)tokens->count;
    memory_shape_complete(s);
}

typedef struct {
    const nx_ggml_type *type;
    uint64_t parameters;
} type_count;

/* Adds a part's tensors; the type most parameters have names the quantization. */
static void count_tensors(catalog_facts *f, const nx_gguf *g, type_count counts[64])
{
    const nexus_engine *ext = engine_extensions();
    for (size_t i = 0; i < g->n_tensors; i++) {
        const nx_gguf_tensor *t = &g->tensors[i];
        f->parameters += t->elements;
        f->weight_bytes += t->bytes;
        if (t->ndim > 1)
            f->matrix_parameters += t->elements;
        if (ext && t->ndim == 2 &&
            ext->gguf_should_repack((int)t->type->id, (int64_t)t->ne[1], (int64_t)t->ne[0]))
            f->shape.turned_bytes += t->bytes;
        bool plain = t->type->block_elements == 1;
        if (t->ndim > 1 && ext && !plain && !ext->gguf_supports((int)t->type->id))
            facts_fail(f, "unsupported", "its tensors are %s, which is not supported yet",
                       t->type->name);
        for (int k = 0; k < 64; k++) {
            if (counts[k].type && counts[k].type != t->type)
                continue;
            counts[k].type = t->type;
            counts[k].parameters += t->elements;
            break;
        }
    }
}

static void name_quantization(catalog_facts *f, const type_count counts[64])
{
    uint64_t most = 0;
    for (int k = 0; k < 64 && counts[k].type; k++)
        if (counts[k].parameters > most) {
            most = counts[k].parameters;
            snprintf(f->quantization, sizeof f->quantization, "%s", counts[k].type->name);
        }
}

/* By its number in files: what comes out is a score of a pair of texts, by a head of the model's own. */
enum { POOLING_RANK = 4 };

static void name_kind(catalog_facts *f, const nx_gguf *g)
{
    nx_slice type = nx_gguf_get_str(g, "general.type");
    const char *kind = facts_kind_of_family(f->family);
    const nx_gguf_kv *pooling = nx_gguf_findf(g, "%s.pooling_type", f->family);
    if (nx_slice_is(type, "adapter"))
        kind = "adapter";
    else if (nx_slice_is(type, "mmproj"))
        kind = "projector";
    else if (nx_gguf_u64(pooling, 0) == POOLING_RANK)
        kind = "classifier";
    else if (!kind && nx_gguf_u64(pooling, 0) != 0)
        kind = "embedding";
    snprintf(f->kind, sizeof f->kind, "%s", kind ? kind : "text");
    if (strcmp(f->kind, "adapter") == 0)
        copy_text(f->base, sizeof f->base, nx_gguf_get_str(g, "general.base_model.0.name"));
}

/* Whether this version runs it: asked of the families themselves. */
static void judge(catalog_facts *f, const nx_gguf *g)
{
    config_source from = {.gguf = g, .arch = f->family};
    if (strcmp(f->kind, "adapter") == 0)
        return;
    model *m = model_configure(&from);
    if (m) {
        f->shape = memory_shape_of(m);
        f->max_context = m->max_context;
        model_free(m);
    } else {
        facts_fail(f, model_arch_find(f->family) ? "broken" : "unsupported", "%s", nx_error_message());
    }
}

static void describe(catalog_facts *f, const nx_gguf *g)
{
    nx_slice arch = nx_gguf_get_str(g, "general.architecture");
    copy_text(f->family, sizeof f->family, arch);
    f->chat = nx_gguf_find(g, "tokenizer.chat_template") != NULL;
    if (!f->family[0])
        facts_fail(f, "broken", "it does not say its architecture (general.architecture)");
    name_kind(f, g);
    read_shape(f, g);
}

/* Whether a split file is this one's part. */
static bool check_part(catalog_facts *f, const nx_gguf *g, size_t i, size_t n)
{
    uint32_t no, count;
    nx_gguf_split(g, &no, &count);
    if (n == 1 && count <= 1)
        return true;
    if (n == 1)
        facts_fail(f, "broken", "this is part %u of %u, and it is named like a whole model", no + 1,
                   count);
    else if (count != n || no != i)
        facts_fail(f, "broken", "part %zu of %zu says that it is part %u of %u", i + 1, n, no + 1,
                   count);
    else
        return true;
    return false;
}

void facts_of_gguf(catalog_facts *f, const char *folder, const catalog_files *parts)
{
    *f = (catalog_facts){.format = "gguf", .kind = "text", .status = "ready"};
    type_count counts[64] = {{0}};
    nx_str path = {0};
    for (size_t i = 0; i < parts->n && !f->passing; i++) {
        header h = {0};
        const catalog_file *file = &parts->at[i];
        nx_str_truncate(&path, 0);
        nx_str_printf(&path, "%s/%s", folder, file->name ? file->name : "");
        if (!file->name) {
            facts_fail(f, "broken", "part %zu of %zu is missing", i + 1, parts->n);
            continue;
        }
        f->shape.file_bytes += file->bytes;
        if (!header_open(&h, f, nx_str_cstr(&path), file->bytes)) {
            header_clear(&h);
            break;
        }
        if (i == 0)
            describe(f, h.gguf);
        if (parts->n == 1 && h.gguf->n_tensors == 0)
            facts_fail(f, "broken", "it holds no tensors: a vocabulary or settings alone");
        if (check_part(f, h.gguf, i, parts->n))
            count_tensors(f, h.gguf, counts);
        f->fingerprint = facts_hash(f->fingerprint ^ file->bytes, h.bytes,
                                    h.gguf->data_offset < h.n ? h.gguf->data_offset : h.n);
        if (i == 0 && strcmp(f->status, "broken") != 0) {
            memory_shape counted = f->shape;
            judge(f, h.gguf);
            f->shape.file_bytes = counted.file_bytes;
            f->shape.turned_bytes = counted.turned_bytes;
        }
        header_clear(&h);
    }
    name_quantization(f, counts);
    nx_str_clear(&path);
}
