/*
 * gguf.c: opening a GGUF file: every count, length and offset is checked here, once. Reading the
 * values is gguf_values.c, writing gguf_writer.c.
 */
#include "base/gguf.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "GGUF values are read as they lie in the file");

/* The longest key or tensor name; the format says 65535 for keys, 64 for tensors. */
enum { MAX_NAME = 65535, DEFAULT_ALIGNMENT = 32 };
/* A tensor's entry has at least this many bytes, a metadata entry too: bounds for the counts. */
enum { MIN_TENSOR_ENTRY = 8 + 4 + 4 + 8, MIN_KV_ENTRY = 8 + 4 + 1 };
/* What the index by name is made for; no file comes near. */
enum { MAX_ENTRIES = 1 << 24 };

typedef struct {
    const unsigned char *data;
    uint64_t size, at;  /* bytes at data */
    uint64_t file_bytes; /* of the whole file: size, or more where data is only its beginning */
    const char *path;
    const char *kind; /* what is being read, for messages: "metadata entry" … */
    uint64_t no;      /* … and which, from 0 */
} reader;

static bool fail_short(const reader *r, uint64_t need, const char *what)
{
    return nx_fail("[gguf] %s: truncated: the file ends at byte %llu, but %s of %s %llu begins at "
                   "byte %llu and takes %llu bytes; fetch it again",
                   r->path, (unsigned long long)r->size, what, r->kind, (unsigned long long)r->no,
                   (unsigned long long)r->at, (unsigned long long)need);
}

static bool take(reader *r, void *out, size_t n, const char *what)
{
    if (r->size - r->at < n)
        return fail_short(r, n, what);
    memcpy(out, r->data + r->at, n);
    r->at += n;
    return true;
}

static bool take_u32(reader *r, uint32_t *out, const char *what)
{
    return take(r, out, sizeof *out, what);
}

static bool take_u64(reader *r, uint64_t *out, const char *what)
{
    return take(r, out, sizeof *out, what);
}

static bool skip(reader *r, uint64_t n, const char *what)
{
    if (r->size - r->at < n)
        return fail_short(r, n, what);
    r->at += n;
    return true;
}

static bool take_string(reader *r, nx_slice *out, const char *what)
{
    uint64_t n = 0;
    if (!take_u64(r, &n, what))
        return false;
    out->data = (const char *)r->data + r->at;
    out->len = (size_t)n; /* lies in the file once skipped, so it fits */
    return skip(r, n, what);
}

/* A key or tensor name, entered into index as value; *out is the copy there, NUL-terminated. */
static bool take_name(reader *r, nx_map *index, const char **out)
{
    nx_slice name;
    if (!take_string(r, &name, "the name"))
        return false;
    if (name.len == 0 || name.len > MAX_NAME || memchr(name.data, '\0', name.len))
        return nx_fail("[gguf] %s: the name of %s %llu is not valid (%zu bytes)", r->path, r->kind,
                       (unsigned long long)r->no, name.len);
    if (!nx_map_set(index, name.data, name.len, r->no))
        return nx_fail("[gguf] %s: %s '%.*s' occurs twice", r->path, r->kind, (int)name.len,
                       name.data);
    *out = nx_map_find(index, name.data, name.len)->key;
    return true;
}

static bool check_bools(const reader *r, const nx_gguf_kv *kv)
{
    for (uint64_t i = 0; i < kv->count; i++)
        if (kv->data[i] > 1)
            return nx_fail("[gguf] %s: metadata '%s' holds a boolean that is %u, not 0 or 1",
                           r->path, kv->key, kv->data[i]);
    return true;
}

/* Steps over the items, whose count was just read, and notes where they lie. */
static bool take_items(reader *r, nx_gguf_kv *kv)
{
    kv->data = r->data + r->at;
    uint64_t begin = r->at;
    size_t size = nx_gguf_type_size(kv->item_type);
    if (size) {
        if (kv->count > (r->size - r->at) / size)
            return fail_short(r, kv->count > UINT64_MAX / size ? UINT64_MAX : kv->count * size,
                              "the value");
        r->at += kv->count * size;
    } else {
        if (kv->count > (r->size - r->at) / 8)
            return fail_short(r, kv->count > UINT64_MAX / 8 ? UINT64_MAX : kv->count * 8,
                              "the value");
        nx_slice s;
        for (uint64_t i = 0; i < kv->count; i++)
            if (!take_string(r, &s, "a string"))
                return false;
    }
    kv->bytes = (size_t)(r->at - begin);
    return kv->item_type != NX_GGUF_BOOL || check_bools(r, kv);
}

static bool take_type(reader *r, const char *key, bool in_array, nx_gguf_type *out)
{
    uint32_t type = 0;
    if (!take_u32(r, &type, "the type"))
        return false;
    if (type >= NX_GGUF_N_TYPES)
        return nx_fail("[gguf] %s: metadata '%s' is of type %u, which is not known", r->path, key,
                       type);
    if (in_array && type == NX_GGUF_ARRAY)
        return nx_fail("[gguf] %s: metadata '%s' is an array of arrays, which is not supported",
                       r->path, key);
    *out = (nx_gguf_type)type;
    return true;
}

static bool take_kv(reader *r, nx_gguf *g, nx_gguf_kv *kv)
{
    if (!take_name(r, &g->kv_index, &kv->key) || !take_type(r, kv->key, false, &kv->type))
        return false;
    kv->item_type = kv->type;
    kv->count = 1;
    if (kv->type == NX_GGUF_ARRAY && (!take_type(r, kv->key, true, &kv->item_type) ||
                                      !take_u64(r, &kv->count, "the item count")))
        return false;
    return take_items(r, kv);
}

static bool check_count(const reader *r, uint64_t n, uint64_t entry, const char *what)
{
    if (n <= (r->file_bytes - r->at) / entry && n <= MAX_ENTRIES)
        return true;
    return nx_fail("[gguf] %s: the header promises %llu %s, more than the file's %llu bytes can "
                   "hold: it is damaged or truncated",
                   r->path, (unsigned long long)n, what, (unsigned long long)r->file_bytes);
}

static bool take_magic(reader *r, nx_gguf *g)
{
    char magic[4];
    if (!take(r, magic, 4, "the magic"))
        return false;
    if (nx_mapping_is_lfs_pointer(g->file))
        return nx_fail("[gguf] %s is a Git LFS pointer, not the model: fetch the file itself "
                       "(git lfs pull)",
                       r->path);
    if (memcmp(magic, "GGUF", 4) != 0)
        return nx_fail("[gguf] %s is no GGUF file: it does not begin with 'GGUF'", r->path);
    if (!take_u32(r, &g->version, "the version"))
        return false;
    if (g->version != 0 && (g->version & 0xFFFF) == 0)
        return nx_fail("[gguf] %s is big-endian, which is not supported: convert it to "
                       "little-endian",
                       r->path);
    if (g->version == 2 || g->version == 3)
        return true;
    return nx_fail("[gguf] %s is of GGUF version %u; versions 2 and 3 are supported%s", r->path,
                   g->version, g->version == 1 ? ": convert it again from the original model" : "");
}

/* The bytes of a tensor whose dimensions were read, or an error. */
static bool size_tensor(const reader *r, nx_gguf_tensor *t)
{
    t->elements = 1;
    for (int i = 0; i < t->ndim; i++)
        if (__builtin_mul_overflow(t->elements, t->ne[i], &t->elements))
            return nx_fail("[gguf] %s: tensor '%s' has more elements than can be counted", r->path,
                           t->name);
    if (t->ne[0] % t->type->block_elements)
        return nx_fail("[gguf] %s: tensor '%s' has rows of %llu elements, but %s packs blocks "
                       "of %u",
                       r->path, t->name, (unsigned long long)t->ne[0], t->type->name,
                       t->type->block_elements);
    uint64_t blocks = t->elements / t->type->block_elements;
    if (__builtin_mul_overflow(blocks, (uint64_t)t->type->block_bytes, &t->bytes))
        return nx_fail("[gguf] %s: tensor '%s' has more bytes than can be counted", r->path,
                       t->name);
    return true;
}

static bool take_tensor(reader *r, nx_gguf *g, nx_gguf_tensor *t)
{
    uint32_t ndim = 0, type = 0;
    if (!take_name(r, &g->tensor_index, &t->name) || !take_u32(r, &ndim, "the rank"))
        return false;
    if (ndim > NX_GGUF_MAX_NDIM)
        return nx_fail("[gguf] %s: tensor '%s' has %u dimensions, the limit is %d", r->path,
                       t->name, ndim, NX_GGUF_MAX_NDIM);
    t->ndim = (int)ndim;
    for (int i = 0; i < NX_GGUF_MAX_NDIM; i++) {
        t->ne[i] = 1;
        if (i < t->ndim && !take_u64(r, &t->ne[i], "the shape"))
            return false;
    }
    if (!take_u32(r, &type, "the type") || !take_u64(r, &t->offset, "the offset"))
        return false;
    t->type = nx_ggml_type_find(type);
    if (!t->type)
        return nx_fail("[gguf] %s: tensor '%s' is of type %u, which is not known", r->path, t->name,
                       type);
    return size_tensor(r, t);
}

static bool find_alignment(const reader *r, nx_gguf *g)
{
    const nx_gguf_kv *kv = nx_gguf_find(g, "general.alignment");
    uint64_t a = kv ? nx_gguf_u64(kv, 0) : DEFAULT_ALIGNMENT;
    if (a == 0 || (a & (a - 1)) || a > (1u << 30))
        return nx_fail("[gguf] %s: general.alignment is no power of two", r->path);
    g->alignment = (uint32_t)a;
    return true;
}

/* Tensors' offsets count from the data section; afterwards from the start of the file. */
static bool place_tensor(const reader *r, const nx_gguf *g, nx_gguf_tensor *t)
{
    uint64_t begin, end;
    if (t->offset % g->alignment)
        return nx_fail("[gguf] %s: tensor '%s' begins at offset %llu, which is not a multiple of "
                       "the alignment %u",
                       r->path, t->name, (unsigned long long)t->offset, g->alignment);
    if (__builtin_add_overflow(g->data_offset, t->offset, &begin) ||
        __builtin_add_overflow(begin, t->bytes, &end))
        return nx_fail("[gguf] %s: the offset of tensor '%s' is too large", r->path, t->name);
    if (end > r->file_bytes)
        return nx_fail("[gguf] %s: truncated: tensor '%s' takes bytes %llu to %llu, but the file "
                       "ends at byte %llu; fetch it again",
                       r->path, t->name, (unsigned long long)begin, (unsigned long long)end,
                       (unsigned long long)r->file_bytes);
    t->offset = begin;
    t->data = end <= r->size ? r->data + begin : NULL;
    return true;
}

static bool place_tensors(reader *r, nx_gguf *g)
{
    if (!find_alignment(r, g))
        return false;
    uint64_t a = g->alignment; /* r->at is a size in memory: adding a small number is safe */
    g->data_offset = (r->at + a - 1) / a * a;
    if (g->n_tensors == 0 && g->data_offset > r->file_bytes)
        g->data_offset = r->file_bytes; /* metadata alone needs no padding */
    for (size_t i = 0; i < g->n_tensors; i++)
        if (!place_tensor(r, g, &g->tensors[i]))
            return false;
    return true;
}

static bool take_entries(reader *r, nx_gguf *g, uint64_t n_tensors, uint64_t n_kv)
{
    g->kv = nx_calloc((size_t)n_kv, sizeof *g->kv);
    for (r->kind = "metadata entry", r->no = 0; r->no < n_kv; r->no++, g->n_kv++)
        if (!take_kv(r, g, &g->kv[r->no]))
            return false;
    if (!check_count(r, n_tensors, MIN_TENSOR_ENTRY, "tensors"))
        return false;
    g->tensors = nx_calloc((size_t)n_tensors, sizeof *g->tensors);
    for (r->kind = "tensor", r->no = 0; r->no < n_tensors; r->no++, g->n_tensors++)
        if (!take_tensor(r, g, &g->tensors[r->no]))
            return false;
    return true;
}

static bool parse(nx_gguf *g, uint64_t file_bytes)
{
    reader r = {.data = nx_mapping_data(g->file),
                .size = nx_mapping_size(g->file),
                .file_bytes = file_bytes,
                .path = nx_mapping_path(g->file),
                .kind = "header"};
    uint64_t n_tensors = 0, n_kv = 0;
    return take_magic(&r, g) && take_u64(&r, &n_tensors, "the tensor count") &&
           take_u64(&r, &n_kv, "the metadata count") &&
           check_count(&r, n_tensors, MIN_TENSOR_ENTRY, "tensors") &&
           check_count(&r, n_kv, MIN_KV_ENTRY, "metadata entries") &&
           take_entries(&r, g, n_tensors, n_kv) && place_tensors(&r, g);
}

static nx_gguf *open_beginning(nx_mapping *m, uint64_t file_bytes)
{
    nx_gguf *g = nx_calloc(1, sizeof *g);
    g->file = nx_mapping_ref(m);
    if (parse(g, file_bytes))
        return g;
    nx_gguf_free(g);
    return NULL;
}

nx_gguf *nx_gguf_open_mapping(nx_mapping *m)
{
    return open_beginning(m, nx_mapping_size(m));
}

nx_gguf *nx_gguf_parse(const void *beginning, size_t n, uint64_t file_bytes, const char *name)
{
    nx_mapping *m = nx_mapping_of_memory(beginning, n, name);
    nx_gguf *g = open_beginning(m, file_bytes > n ? file_bytes : n);
    nx_mapping_unref(&m);
    return g;
}

nx_gguf *nx_gguf_open(const char *path)
{
    nx_mapping *m = nx_mapping_open(path);
    if (!m)
        return NULL;
    nx_gguf *g = nx_gguf_open_mapping(m);
    nx_mapping_unref(&m);
    return g;
}

void nx_gguf_free(nx_gguf *g)
{
    if (!g)
        return;
    nx_map_clear(&g->kv_index);
    nx_map_clear(&g->tensor_index);
    free(g->kv);
    free(g->tensors);
    nx_mapping_unref(&g->file);
    free(g);
}

const nx_gguf_tensor *nx_gguf_tensor_find(const nx_gguf *g, const char *name)
{
    nx_map_entry *e = nx_map_find(&g->tensor_index, name, strlen(name));
    return e ? &g->tensors[e->value] : NULL;
}
