/* io_types.h: readers and writers over the caller's functions. */
#include "engine/capi/objects.h"

nx_io *nx_io_ref(nx_io *io)
{
    atomic_fetch_add(&io->refs, 1);
    return io;
}

void nx_io_unref(nx_io **pio)
{
    nx_io *io = *pio;
    *pio = NULL;
    if (!io || atomic_fetch_sub(&io->refs, 1) != 1)
        return;
    if (io->vtable.free)
        io->vtable.free(io->desc);
    free(io);
}

static nx_io *io_new(void *desc, const mlx_io_vtable *vtable)
{
    nx_io *io = nx_malloc(sizeof *io);
    *io = (nx_io){.refs = 1, .desc = desc, .vtable = *vtable};
    return io;
}

static int label(mlx_string *str, const nx_io *io)
{
    const char *text = io->vtable.label ? io->vtable.label(io->desc) : NULL;
    nx_string_set(NX_POINTER(str), text ? text : "");
    return 0;
}

mlx_io_reader mlx_io_reader_new(void *desc, mlx_io_vtable vtable)
{
    return (mlx_io_reader){io_new(desc, &vtable)};
}

int mlx_io_reader_descriptor(void **desc_, mlx_io_reader io)
{
    *NX_POINTER(desc_) = NX_OBJECT(nx_io, io)->desc;
    return 0;
}

int mlx_io_reader_tostring(mlx_string *str_, mlx_io_reader io)
{
    return label(str_, NX_OBJECT(nx_io, io));
}

int mlx_io_reader_free(mlx_io_reader io)
{
    nx_io *object = io.ctx;
    nx_io_unref(&object);
    return 0;
}

mlx_io_writer mlx_io_writer_new(void *desc, mlx_io_vtable vtable)
{
    return (mlx_io_writer){io_new(desc, &vtable)};
}

int mlx_io_writer_descriptor(void **desc_, mlx_io_writer io)
{
    *NX_POINTER(desc_) = NX_OBJECT(nx_io, io)->desc;
    return 0;
}

int mlx_io_writer_tostring(mlx_string *str_, mlx_io_writer io)
{
    return label(str_, NX_OBJECT(nx_io, io));
}

int mlx_io_writer_free(mlx_io_writer io)
{
    nx_io *object = io.ctx;
    nx_io_unref(&object);
    return 0;
}
