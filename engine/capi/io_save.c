/* io.h: arrays into files and the caller's writers. Files appear whole or not at all. */
#include <string.h>

#include "base/outfile.h"
#include "engine/capi/objects.h"
#include "engine/core/eval.h"
#include "engine/io/npy.h"
#include "engine/io/safetensors.h"
#include "engine/ops/shape.h"

/* Where bytes go: a file, or a writer, which gets the same. */
typedef struct {
    const nx_io *io;
    nx_outfile *file; /* or this */
} sink;

static bool sink_write(const sink *k, const void *bytes, size_t n)
{
    if (k->file)
        return nx_outfile_write(k->file, bytes, n);
    const mlx_io_vtable *v = &k->io->vtable;
    if (n)
        v->write(k->io->desc, bytes, n);
    return !v->good || v->good(k->io->desc) ||
           nx_fail("[save] %s cannot be written", v->label ? v->label(k->io->desc) : "the writer");
}

static bool sink_open(sink *k, const nx_io *io)
{
    *k = (sink){.io = io};
    if (!io->vtable.write)
        return nx_fail("[save] the writer has no write function");
    if (io->vtable.is_open && !io->vtable.is_open(io->desc))
        return nx_fail("[save] the writer is not open");
    return true;
}

/* The array evaluated and row-major; NULL after nx_fail. */
static nx_array *ready(nx_array *a)
{
    a = nx_contiguous(a, false, nx_stream_default((nx_device){NX_CPU, 0}));
    return a && nx_eval_one(a) ? a : NULL;
}

static bool npy_write(const sink *k, nx_array *a)
{
    nx_npy npy;
    nx_str header = {0};
    a = ready(a);
    if (!a)
        return false;
    nx_npy_of(a, &npy);
    nx_npy_header(&header, &npy);
    const char *data = nx_array_host(a);
    bool ok = data && sink_write(k, header.data, header.len) &&
              sink_write(k, data, (size_t)nx_array_nbytes(a));
    nx_str_clear(&header);
    return ok;
}

int mlx_save_writer(mlx_io_writer out_stream, const mlx_array a)
{
    NX_SCOPE;
    sink k;
    return nx_status(sink_open(&k, NX_OBJECT(nx_io, out_stream)) && npy_write(&k, NX_ARRAY(a)));
}

static nx_str path_ending(const char *file, const char *ending)
{
    nx_str path = {0};
    size_t n = strlen(file), k = strlen(ending);
    nx_str_puts(&path, file);
    if (n < k || strcmp(file + n - k, ending) != 0)
        nx_str_puts(&path, ending);
    return path;
}

/* As MLX does, the ending .npy is added where it is not there. */
int mlx_save(const char *file, const mlx_array a)
{
    NX_SCOPE;
    nx_array *x = NX_ARRAY(a);
    nx_str path = path_ending(NX_POINTER(file), ".npy");
    sink k = {.file = nx_outfile_open(path.data)};
    bool ok = k.file && npy_write(&k, x) && nx_outfile_commit(k.file);
    nx_outfile_free(k.file);
    nx_str_clear(&path);
    return nx_status(ok);
}

/* Safetensors: the header of all tensors, then their bytes in the same order. */

static bool safetensors_declare(nx_safetensors_writer *w, const nx_map *arrays)
{
    for (size_t i = 0; i < arrays->n; i++) {
        const nx_array *a = (nx_array *)(uintptr_t)arrays->entries[i].value;
        uint64_t shape[NX_MAX_NDIM];
        for (int k = 0; k < a->ndim; k++)
            shape[k] = (uint64_t)a->shape[k];
        if (!nx_safetensors_writer_tensor(w, arrays->entries[i].key,
                                          nx_safetensors_from_dtype((nx_dtype)a->dtype), a->ndim,
                                          shape))
            return false;
    }
    return true;
}

static bool safetensors_header(nx_str *out, const nx_map *arrays, const nx_map *metadata)
{
    nx_safetensors_writer *w = nx_safetensors_writer_new(NULL);
    bool ok = w != NULL;
    for (size_t i = 0; ok && i < metadata->n; i++)
        ok = nx_safetensors_writer_metadata(w, metadata->entries[i].key,
                                            (const char *)(uintptr_t)metadata->entries[i].value);
    if (ok && !nx_map_find(metadata, "format", 6)) /* MLX says so, and its readers ask */
        ok = nx_safetensors_writer_metadata(w, "format", "mlx");
    ok = ok && safetensors_declare(w, arrays) && nx_safetensors_writer_header(w, out);
    nx_safetensors_writer_free(w);
    return ok;
}

static bool safetensors_write(const sink *k, const nx_map *arrays, const nx_map *metadata)
{
    nx_str header = {0};
    bool ok =
        safetensors_header(&header, arrays, metadata) && sink_write(k, header.data, header.len);
    nx_str_clear(&header);
    for (size_t i = 0; ok && i < arrays->n; i++) {
        NX_SCOPE; /* one array's row-major copy at a time */
        nx_array *a = ready((nx_array *)(uintptr_t)arrays->entries[i].value);
        const char *data = a ? nx_array_host(a) : NULL;
        ok = data && sink_write(k, data, (size_t)nx_array_nbytes(a));
    }
    return ok;
}

int mlx_save_safetensors_writer(mlx_io_writer in_stream, const mlx_map_string_to_array param,
                                const mlx_map_string_to_string metadata)
{
    sink k;
    return nx_status(sink_open(&k, NX_OBJECT(nx_io, in_stream)) &&
                     safetensors_write(&k, NX_OBJECT(nx_map, param), NX_OBJECT(nx_map, metadata)));
}

/* As MLX does, the ending .safetensors is added where it is not there. */
int mlx_save_safetensors(const char *file, const mlx_map_string_to_array param,
                         const mlx_map_string_to_string metadata)
{
    const nx_map *arrays = NX_OBJECT(nx_map, param), *notes = NX_OBJECT(nx_map, metadata);
    nx_str path = path_ending(NX_POINTER(file), ".safetensors");
    sink k = {.file = nx_outfile_open(path.data)};
    bool ok = k.file && safetensors_write(&k, arrays, notes) && nx_outfile_commit(k.file);
    nx_outfile_free(k.file);
    nx_str_clear(&path);
    return nx_status(ok);
}
