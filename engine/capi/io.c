/* io.h: arrays from and to files, and the caller's readers and writers. */
#include "engine/capi/objects.h"
#include "engine/io/npy.h"
#include "engine/io/safetensors.h"

/* Readers. */

typedef struct {
    const nx_io *io;
    const char *name;
} reader;

static bool reader_open(reader *r, const nx_io *io)
{
    const mlx_io_vtable *v = &io->vtable;
    r->io = io;
    r->name = v->label ? v->label(io->desc) : "a reader";
    if (!v->read)
        return nx_fail("[load] %s has no read function", r->name);
    if (v->is_open && !v->is_open(io->desc))
        return nx_fail("[load] %s is not open", r->name);
    return true;
}

static bool reader_read(const reader *r, void *to, size_t n)
{
    const mlx_io_vtable *v = &r->io->vtable;
    if (n)
        v->read(r->io->desc, to, n);
    return !v->good || v->good(r->io->desc) || nx_fail("[load] %s cannot be read", r->name);
}

/* A header whose length the stream itself claims: read in pieces, so that memory follows data. */
static bool reader_read_header(const reader *r, nx_str *to, size_t n)
{
    enum { PIECE = 1 << 16 };
    while (n) {
        size_t k = n < PIECE ? n : PIECE;
        nx_str_reserve(to, k);
        if (!reader_read(r, to->data + to->len, k))
            return false;
        to->len += k;
        to->data[to->len] = '\0';
        n -= k;
    }
    return true;
}

static nx_array *npy_read(const reader *r)
{
    nx_str header = {0};
    uint64_t n;
    nx_npy npy;
    nx_array *a = NULL;
    if (reader_read_header(r, &header, NX_NPY_PREFIX) &&
        nx_npy_data_offset((unsigned char *)header.data, r->name, &n) &&
        reader_read_header(r, &header, (size_t)n - NX_NPY_PREFIX) &&
        nx_npy_parse(&npy, header.data, header.len, UINT64_MAX, r->name))
        a = nx_npy_array_new(&npy, r->name);
    nx_str_clear(&header);
    if (!a || !reader_read(r, a->data, (size_t)nx_array_nbytes(a)))
        return NULL;
    nx_npy_finish(&npy, a);
    return a;
}

int mlx_load(mlx_array *res, const char *file, const mlx_stream s)
{
    NX_GIVE(nx_npy_load(NX_POINTER(file)));
}

int mlx_load_reader(mlx_array *res, mlx_io_reader in_stream, const mlx_stream s)
{
    reader r;
    if (!reader_open(&r, NX_OBJECT(nx_io, in_stream)))
        return nx_report();
    NX_GIVE(npy_read(&r));
}

/* Safetensors. */

/* What a loaded file gives, put into the two maps only when all of it is there. */
typedef struct {
    mlx_map_string_to_array arrays;
    mlx_map_string_to_string metadata;
} loaded;

static loaded loaded_new(const nx_safetensors *f)
{
    loaded l = {mlx_map_string_to_array_new(), mlx_map_string_to_string_new()};
    for (size_t i = 0; i < f->n_metadata; i++) {
        char *value = nx_strndup(f->metadata[i].value.data, f->metadata[i].value.len);
        nx_map_put_string(l.metadata.ctx, f->metadata[i].key, value);
        free(value);
    }
    return l;
}

static int loaded_give(loaded *l, bool ok, mlx_map_string_to_array *res_0,
                       mlx_map_string_to_string *res_1)
{
    if (ok) {
        mlx_map_string_to_array_set(res_0, l->arrays);
        mlx_map_string_to_string_set(res_1, l->metadata);
    }
    mlx_map_string_to_array_free(l->arrays);
    mlx_map_string_to_string_free(l->metadata);
    return nx_status(ok);
}

int mlx_load_safetensors(mlx_map_string_to_array *res_0, mlx_map_string_to_string *res_1,
                         const char *file, const mlx_stream s)
{
    NX_SCOPE;
    NX_POINTER(res_0);
    NX_POINTER(res_1);
    nx_safetensors *f = nx_safetensors_open(NX_POINTER(file));
    if (!f)
        return nx_report();
    loaded l = loaded_new(f);
    bool ok = true;
    for (size_t i = 0; ok && i < f->n_tensors; i++) {
        nx_array *a = nx_safetensors_array(f, &f->tensors[i]);
        ok = a != NULL;
        if (ok)
            nx_map_put_array(l.arrays.ctx, f->tensors[i].name, a);
    }
    nx_safetensors_free(f);
    return loaded_give(&l, ok, res_0, res_1);
}

/* Tensors of a stream, in the order in which they lie there. */
static int by_offset(const void *a, const void *b)
{
    uint64_t x = (*(const nx_safetensors_tensor *const *)a)->offset;
    uint64_t y = (*(const nx_safetensors_tensor *const *)b)->offset;
    return (x > y) - (x < y);
}

static bool tensors_read(const reader *r, const nx_safetensors *f, nx_map *arrays)
{
    const nx_safetensors_tensor **order = nx_malloc(f->n_tensors * sizeof *order + 1);
    for (size_t i = 0; i < f->n_tensors; i++)
        order[i] = &f->tensors[i];
    qsort(order, f->n_tensors, sizeof *order, by_offset);
    uint64_t at = f->data_offset;
    bool ok = true;
    for (size_t i = 0; ok && i < f->n_tensors; i++) {
        nx_array *a = nx_safetensors_array_new(order[i]);
        ok = a && (order[i]->offset == at ||
                   nx_fail("[load] %s has a gap before tensor \"%s\"", r->name, order[i]->name));
        ok = ok && reader_read(r, a->data, (size_t)order[i]->bytes);
        at += order[i]->bytes;
        if (ok)
            nx_map_put_array(arrays, order[i]->name, a);
    }
    free(order);
    return ok;
}

static nx_safetensors *safetensors_read(const reader *r)
{
    unsigned char first[8];
    uint64_t n;
    nx_str header = {0};
    nx_safetensors *f = NULL;
    if (reader_read(r, first, sizeof first) && nx_safetensors_header_bytes(first, r->name, &n) &&
        reader_read_header(r, &header, (size_t)n))
        f = nx_safetensors_parse(header.data, n, UINT64_MAX, r->name);
    nx_str_clear(&header);
    return f;
}

int mlx_load_safetensors_reader(mlx_map_string_to_array *res_0, mlx_map_string_to_string *res_1,
                                mlx_io_reader in_stream, const mlx_stream s)
{
    NX_SCOPE;
    reader r;
    NX_POINTER(res_0);
    NX_POINTER(res_1);
    nx_safetensors *f = NULL;
    if (!reader_open(&r, NX_OBJECT(nx_io, in_stream)) || !(f = safetensors_read(&r)))
        return nx_report();
    loaded l = loaded_new(f);
    bool ok = tensors_read(&r, f, l.arrays.ctx);
    nx_safetensors_free(f);
    return loaded_give(&l, ok, res_0, res_1);
}
