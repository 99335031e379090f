/*
 * io_types.h: byte streams of the caller's, and the contents of GGUF files.
 */
#ifndef MLX_C_IO_TYPES_H
#define MLX_C_IO_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mlx/c/array.h"
#include "mlx/c/string.h"
#include "mlx/c/vector.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Readers and writers over functions of the caller's. desc is handed to each; free(desc) is
 * called when the last user is gone. seek's whence is that of fseek. */
typedef struct mlx_io_reader_ {
    void *ctx;
} mlx_io_reader;

typedef struct mlx_io_writer_ {
    void *ctx;
} mlx_io_writer;

/* A reader needs all but write, a writer all but read and read_at_offset. */
typedef struct mlx_io_vtable_ {
    bool (*is_open)(void *);
    bool (*good)(void *);
    size_t (*tell)(void *);
    void (*seek)(void *, int64_t off, int whence);
    void (*read)(void *, char *data, size_t n);
    void (*read_at_offset)(void *, char *data, size_t n, size_t off);
    void (*write)(void *, const char *data, size_t n);
    const char *(*label)(void *);
    void (*free)(void *);
} mlx_io_vtable;

mlx_io_reader mlx_io_reader_new(void *desc, mlx_io_vtable vtable);
/* The desc it was made with. */
int mlx_io_reader_descriptor(void **desc_, mlx_io_reader io);
/* The stream's label. */
int mlx_io_reader_tostring(mlx_string *str_, mlx_io_reader io);
int mlx_io_reader_free(mlx_io_reader io);
mlx_io_writer mlx_io_writer_new(void *desc, mlx_io_vtable vtable);
int mlx_io_writer_descriptor(void **desc_, mlx_io_writer io);
int mlx_io_writer_tostring(mlx_string *str_, mlx_io_writer io);
int mlx_io_writer_free(mlx_io_writer io);

/* The arrays and metadata of a GGUF file. Getters return 2, without calling the error handler,
 * where there is no entry of that key, or it has another type. */
typedef struct mlx_io_gguf_ {
    void *ctx;
} mlx_io_gguf;

mlx_io_gguf mlx_io_gguf_new(void);
int mlx_io_gguf_free(mlx_io_gguf io);
/* The names of the arrays. */
int mlx_io_gguf_get_keys(mlx_vector_string *keys, mlx_io_gguf io);
int mlx_io_gguf_get_array(mlx_array *arr, mlx_io_gguf io, const char *key);
/* A number or an array of numbers. */
int mlx_io_gguf_get_metadata_array(mlx_array *arr, mlx_io_gguf io, const char *key);
int mlx_io_gguf_get_metadata_string(mlx_string *str, mlx_io_gguf io, const char *key);
int mlx_io_gguf_get_metadata_vector_string(mlx_vector_string *vstr, mlx_io_gguf io,
                                           const char *key);
int mlx_io_gguf_has_metadata_array(bool *flag, mlx_io_gguf io, const char *key);
int mlx_io_gguf_has_metadata_string(bool *flag, mlx_io_gguf io, const char *key);
int mlx_io_gguf_has_metadata_vector_string(bool *flag, mlx_io_gguf io, const char *key);
int mlx_io_gguf_set_array(mlx_io_gguf io, const char *key, const mlx_array arr);
int mlx_io_gguf_set_metadata_array(mlx_io_gguf io, const char *key, const mlx_array marr);
int mlx_io_gguf_set_metadata_string(mlx_io_gguf io, const char *key, const char *mstr);
int mlx_io_gguf_set_metadata_vector_string(mlx_io_gguf io, const char *key,
                                           const mlx_vector_string mvstr);

#ifdef __cplusplus
}
#endif

#endif
