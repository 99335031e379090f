/*
 * source.h: the tensors of a model by name, wherever they lie: one GGUF file, split ones, or the
 * safetensors files of a folder. Nothing is read here; data point into mappings.
 */
#ifndef NX_RUNTIME_NN_SOURCE_H
#define NX_RUNTIME_NN_SOURCE_H

#include <mlx/c/mlx.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/gguf.h"
#include "base/map.h"
#include "base/mmap.h"
#include "base/safetensors.h"
#include "base/vec.h"

typedef struct {
    const char *name;
    const unsigned char *data;
    uint64_t bytes;
    uint64_t elements; /* as stored: packed words count as one each */
    nx_mapping *file;  /* borrowed from the source */
    uint64_t offset;   /* of data in it */
    int ndim;
    int shape[8];    /* outermost first; of a GGUF block type: in elements, not bytes */
    int ggml_type;   /* an nx_ggml_id; for safetensors the one of the same meaning, or -1 */
    mlx_dtype dtype; /* of the elements; MLX_UINT8 for GGUF block types */
    bool used;       /* somebody asked for it */
} nn_tensor;

typedef struct {
    NX_VEC(nn_tensor) tensors;
    nx_map index;
    NX_VEC(nx_gguf *) ggufs;
    NX_VEC(nx_safetensors *) safetensors;
    uint64_t file_bytes;
} nn_source;

/* All parts of a split file when `path` is one of them. False with an error. */
bool nn_source_open_gguf(nn_source *s, const char *path);
/* model.safetensors, or what model.safetensors.index.json names, or every *.safetensors there. */
bool nn_source_open_folder(nn_source *s, const char *folder);
void nn_source_clear(nn_source *s); /* mappings live on while arrays refer to them */

/* Safetensors files that say they were written by MLX. */
bool nn_source_is_mlx(const nn_source *s);
/* NULL without a message if there is none. Marks it used. */
nn_tensor *nn_source_find(nn_source *s, const char *name);
/* The name in the source most like `name` (fewest edits), of those nothing has asked for if there are
 * any; for messages. NULL in an empty source. */
const char *nn_source_nearest(const nn_source *s, const char *name);

/* Edits that turn one name into another. */
int nn_name_distance(const char *a, const char *b);

/* An array over the mapped bytes: of its dtype and shape, or for GGUF block types uint8
 * [rows, bytes a row]. The mapping stays as long as the array. */
bool nn_tensor_array(const nn_tensor *t, mlx_array *out);

#endif
