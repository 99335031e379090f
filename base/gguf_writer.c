/*
 * gguf_writer.c: writing GGUF version 3. The header is held in memory until the first data, since
 * it begins with counts; the data goes straight to the file.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/gguf.h"
#include "base/outfile.h"
#include "base/vec.h"

struct nx_gguf_writer {
    nx_outfile *file;
    char *error; /* the first one; later calls repeat it */
    uint32_t alignment;
    uint64_t n_kv;
    nx_str kv, infos;       /* as they will stand in the file */
    nx_map keys, names;     /* what was declared */
    NX_VEC(uint64_t) sizes; /* bytes of each tensor */
    uint64_t next_offset;   /* in the data section, of the next tensor declared */
    bool header_written;
    size_t current;  /* the tensor being filled … */
    uint64_t filled; /* … and how much of it is there */
};

nx_gguf_writer *nx_gguf_writer_new(const char *path)
{
    nx_outfile *file = nx_outfile_open(path);
    if (!file)
        return NULL;
    nx_gguf_writer *w = nx_calloc(1, sizeof *w);
    w->file = file;
    w->alignment = 32;
    return w;
}

void nx_gguf_writer_free(nx_gguf_writer *w)
{
    if (!w)
        return;
    nx_outfile_free(w->file);
    nx_str_clear(&w->kv);
    nx_str_clear(&w->infos);
    nx_map_clear(&w->keys);
    nx_map_clear(&w->names);
    nx_vec_clear(&w->sizes);
    free(w->error);
    free(w);
}

/* Keeps the message just recorded. */
static bool failed(nx_gguf_writer *w)
{
    if (!w->error)
        w->error = nx_strdup(nx_error_message());
    return false;
}

static bool check_usable(nx_gguf_writer *w)
{
    return !w->error || nx_fail("%s", w->error);
}

static void put_u32(nx_str *s, uint32_t v)
{
    nx_str_add(s, &v, sizeof v);
}

static void put_u64(nx_str *s, uint64_t v)
{
    nx_str_add(s, &v, sizeof v);
}

static void put_string(nx_str *s, nx_slice v)
{
    put_u64(s, v.len);
    nx_str_add(s, v.data, v.len);
}

/* Enters a name, which must be new; the header must not be out yet. */
static bool declare(nx_gguf_writer *w, nx_map *names, const char *name, const char *kind)
{
    size_t n = strlen(name);
    if (!check_usable(w))
        return false;
    if (w->header_written)
        nx_fail("[gguf] %s '%s' comes too late: data was already written", kind, name);
    else if (n == 0 || n > 65535)
        nx_fail("[gguf] the name of a %s has %zu bytes; it needs 1 to 65535", kind, n);
    else if (!nx_map_set(names, name, n, 0))
        nx_fail("[gguf] %s '%s' is written twice", kind, name);
    else
        return true;
    return failed(w);
}

static bool begin_kv(nx_gguf_writer *w, const char *key, nx_gguf_type type)
{
    if (!declare(w, &w->keys, key, "metadata"))
        return false;
    w->n_kv++;
    put_string(&w->kv, nx_slice_of(key));
    put_u32(&w->kv, type);
    return true;
}

bool nx_gguf_writer_alignment(nx_gguf_writer *w, uint32_t alignment)
{
    if (!check_usable(w))
        return false;
    if (alignment < 8 || (alignment & (alignment - 1)) || alignment > (1u << 30)) {
        nx_fail("[gguf] alignment %u is no power of two from 8", alignment);
        return failed(w);
    }
    if (w->sizes.n) {
        nx_fail("[gguf] the alignment must be set before the first tensor");
        return failed(w);
    }
    if (!begin_kv(w, "general.alignment", NX_GGUF_U32))
        return false;
    put_u32(&w->kv, alignment);
    w->alignment = alignment;
    return true;
}

bool nx_gguf_writer_scalar(nx_gguf_writer *w, const char *key, nx_gguf_type type, const void *v)
{
    size_t size = nx_gguf_type_size(type);
    NX_BUG_IF(!size);
    if (strcmp(key, "general.alignment") == 0) { /* must not differ from what we do */
        uint32_t a = 0;
        if (type == NX_GGUF_U32)
            memcpy(&a, v, sizeof a);
        return nx_gguf_writer_alignment(w, a);
    }
    if (!begin_kv(w, key, type))
        return false;
    nx_str_add(&w->kv, v, size);
    return true;
}

bool nx_gguf_writer_u32(nx_gguf_writer *w, const char *key, uint32_t v)
{
    return nx_gguf_writer_scalar(w, key, NX_GGUF_U32, &v);
}

bool nx_gguf_writer_u64(nx_gguf_writer *w, const char *key, uint64_t v)
{
    return nx_gguf_writer_scalar(w, key, NX_GGUF_U64, &v);
}

bool nx_gguf_writer_i32(nx_gguf_writer *w, const char *key, int32_t v)
{
    return nx_gguf_writer_scalar(w, key, NX_GGUF_I32, &v);
}

bool nx_gguf_writer_f32(nx_gguf_writer *w, const char *key, float v)
{
    return nx_gguf_writer_scalar(w, key, NX_GGUF_F32, &v);
}

bool nx_gguf_writer_bool(nx_gguf_writer *w, const char *key, bool v)
{
    unsigned char byte = v;
    return nx_gguf_writer_scalar(w, key, NX_GGUF_BOOL, &byte);
}

bool nx_gguf_writer_str(nx_gguf_writer *w, const char *key, nx_slice v)
{
    if (!begin_kv(w, key, NX_GGUF_STR))
        return false;
    put_string(&w->kv, v);
    return true;
}

static bool begin_array(nx_gguf_writer *w, const char *key, nx_gguf_type item_type, uint64_t n)
{
    if (!begin_kv(w, key, NX_GGUF_ARRAY))
        return false;
    put_u32(&w->kv, item_type);
    put_u64(&w->kv, n);
    return true;
}

bool nx_gguf_writer_array(nx_gguf_writer *w, const char *key, nx_gguf_type item_type,
                          const void *items, uint64_t n)
{
    size_t size = nx_gguf_type_size(item_type);
    NX_BUG_IF(!size);
    if (!begin_array(w, key, item_type, n))
        return false;
    nx_str_add(&w->kv, items, (size_t)n * size); /* lies in memory, so it fits */
    return true;
}

bool nx_gguf_writer_strings(nx_gguf_writer *w, const char *key, const nx_slice *items, uint64_t n)
{
    if (!begin_array(w, key, NX_GGUF_STR, n))
        return false;
    for (uint64_t i = 0; i < n; i++)
        put_string(&w->kv, items[i]);
    return true;
}

bool nx_gguf_writer_kv(nx_gguf_writer *w, const nx_gguf_kv *kv)
{
    if (kv->type != NX_GGUF_ARRAY && kv->type != NX_GGUF_STR)
        return nx_gguf_writer_scalar(w, kv->key, kv->type, kv->data);
    bool ok = kv->type == NX_GGUF_ARRAY ? begin_array(w, kv->key, kv->item_type, kv->count)
                                        : begin_kv(w, kv->key, kv->type);
    if (ok)
        nx_str_add(&w->kv, kv->data, kv->bytes);
    return ok;
}

/* ---- tensors ---- */

static bool tensor_bytes(const char *name, const nx_ggml_type *type, int ndim, const uint64_t *ne,
                         uint64_t *bytes)
{
    uint64_t n = 1;
    bool too_many = false;
    for (int i = 0; i < ndim; i++)
        too_many |= __builtin_mul_overflow(n, ne[i], &n);
    uint64_t row = ndim ? ne[0] : 1;
    if (row % type->block_elements)
        return nx_fail("[gguf] tensor '%s' has rows of %llu elements, but %s packs blocks of %u",
                       name, (unsigned long long)row, type->name, type->block_elements);
    too_many |=
        __builtin_mul_overflow(n / type->block_elements, (uint64_t)type->block_bytes, bytes);
    if (too_many || *bytes > UINT64_MAX / 4)
        return nx_fail("[gguf] tensor '%s' is too large", name);
    return true;
}

static uint64_t aligned(const nx_gguf_writer *w, uint64_t n)
{
    return (n + w->alignment - 1) / w->alignment * w->alignment;
}

bool nx_gguf_writer_tensor(nx_gguf_writer *w, const char *name, const nx_ggml_type *type, int ndim,
                           const uint64_t *ne)
{
    uint64_t bytes = 0;
    if (!declare(w, &w->names, name, "tensor"))
        return false;
    if (ndim < 0 || ndim > NX_GGUF_MAX_NDIM) {
        nx_fail("[gguf] tensor '%s' has %d dimensions, the limit is %d", name, ndim,
                NX_GGUF_MAX_NDIM);
        return failed(w);
    }
    if (!tensor_bytes(name, type, ndim, ne, &bytes))
        return failed(w);
    if (w->next_offset > UINT64_MAX / 2 - bytes) {
        nx_fail("[gguf] tensor '%s' makes the file too large", name);
        return failed(w);
    }
    put_string(&w->infos, nx_slice_of(name));
    put_u32(&w->infos, (uint32_t)ndim);
    for (int i = 0; i < ndim; i++)
        put_u64(&w->infos, ne[i]);
    put_u32(&w->infos, type->id);
    put_u64(&w->infos, w->next_offset);
    nx_vec_push(&w->sizes, bytes);
    w->next_offset = aligned(w, w->next_offset + bytes);
    return true;
}

static bool pad(nx_gguf_writer *w)
{
    static const char zeros[4096];
    uint64_t n = aligned(w, nx_outfile_size(w->file)) - nx_outfile_size(w->file);
    while (n) {
        size_t k = n < sizeof zeros ? (size_t)n : sizeof zeros;
        if (!nx_outfile_write(w->file, zeros, k))
            return false;
        n -= k;
    }
    return true;
}

/* Tensors that are full (those without elements at once) are closed and padded. */
static bool close_full(nx_gguf_writer *w)
{
    while (w->current < w->sizes.n && w->filled == w->sizes.at[w->current]) {
        if (!pad(w))
            return false;
        w->current++;
        w->filled = 0;
    }
    return true;
}

static bool write_header(nx_gguf_writer *w)
{
    if (w->header_written)
        return true;
    w->header_written = true;
    nx_str head = {0};
    nx_str_add(&head, "GGUF", 4);
    put_u32(&head, 3);
    put_u64(&head, w->sizes.n);
    put_u64(&head, w->n_kv);
    bool ok = nx_outfile_write(w->file, head.data, head.len) &&
              nx_outfile_write(w->file, nx_str_cstr(&w->kv), w->kv.len) &&
              nx_outfile_write(w->file, nx_str_cstr(&w->infos), w->infos.len) && pad(w) &&
              close_full(w);
    nx_str_clear(&head);
    return ok;
}

bool nx_gguf_writer_data(nx_gguf_writer *w, const void *bytes, size_t n)
{
    const char *p = bytes;
    if (!check_usable(w))
        return false;
    if (!write_header(w))
        return failed(w);
    while (n) {
        if (w->current == w->sizes.n) {
            nx_fail("[gguf] %zu bytes more than the %zu tensors take", n, w->sizes.n);
            return failed(w);
        }
        uint64_t room = w->sizes.at[w->current] - w->filled;
        size_t k = n < room ? n : (size_t)room;
        if (!nx_outfile_write(w->file, p, k))
            return failed(w);
        w->filled += k;
        p += k;
        n -= k;
        if (!close_full(w))
            return failed(w);
    }
    return true;
}

bool nx_gguf_writer_finish(nx_gguf_writer *w)
{
    if (!check_usable(w))
        return false;
    if (!write_header(w))
        return failed(w);
    if (w->current != w->sizes.n) {
        nx_fail("[gguf] only %zu of %zu tensors have all their data", w->current, w->sizes.n);
        return failed(w);
    }
    return nx_outfile_commit(w->file) || failed(w);
}
