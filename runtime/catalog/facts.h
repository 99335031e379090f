/*
 * facts.h: what a model on the disk is, told by its headers alone: recognised by content, never by
 * its name, and described whether or not this version can run it.
 *
 * Headers are read, not mapped: a file may shrink or vanish while it is looked at.
 */
#ifndef NX_RUNTIME_CATALOG_FACTS_H
#define NX_RUNTIME_CATALOG_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/vec.h"
#include "runtime/catalog/estimate.h"

/* Counts up when the same file would be told differently: what was remembered is then told anew. */
#define FACTS_EDITION 2

/* A file as a scan found it. */
typedef struct {
    char *name; /* within its folder */
    uint64_t bytes;
    int64_t modified_ns;
    uint64_t device, inode;
} catalog_file;
typedef NX_VEC(catalog_file) catalog_files;

typedef struct {
    char format[16];       /* "gguf", "mlx", "huggingface", "pytorch", "diffusers"; "": no model */
    char kind[16];         /* "text", "embedding", "vision", "audio", "classifier", "image",
                              "adapter", "projector" */
    char family[64];       /* as the file writes it */
    char quantization[64]; /* of most parameters */
    char status[16];       /* "ready", "unsupported", "broken" */
    char reason[512];      /* why not ready, a sentence */
    char base[256];        /* of an adapter: the model it is for */
    uint64_t parameters;
    uint64_t weight_bytes; /* of the tensors */
    uint64_t matrix_parameters; /* of those, in matrices: what a quantization would shrink */
    uint64_t fingerprint;  /* of the headers and sizes: equal for copies */
    uint64_t sample;       /* of pieces of the weights; 0: nobody has asked yet */
    int max_context;
    bool chat;             /* brings a chat template */
    bool passing;          /* the fault may be gone next time: not to be remembered */
    memory_shape shape;    /* for the estimate; n_layers 0: unknown */
} catalog_facts;

/* One GGUF file, or the parts of a split one in order. folder and the files' names make the paths. */
void facts_of_gguf(catalog_facts *f, const char *folder, const catalog_files *parts);
/* A folder with a config.json, adapter_config.json or safetensors files. */
void facts_of_folder(catalog_facts *f, const char *folder, const catalog_files *files);
/* True when the file begins like a GGUF. */
bool facts_is_gguf(const char *folder, const char *name);

/* A hash of pieces spread over the files: two models with equal headers are copies only if the
 * weights are alike too. Never 0. */
uint64_t facts_sample(const char *folder, const catalog_files *files);

/* -1, or the number of parts that "m-00001-of-00003.gguf" says; *no from 0, *stem the length of
 * "m". */
int facts_split_name(const char *name, int *no, int *stem);

/* Shared by the two kinds of inspection. */
void facts_fail(catalog_facts *f, const char *status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void facts_fail_message(catalog_facts *f, const char *path); /* broken, by nx_error_message */
uint64_t facts_hash(uint64_t seed, const void *bytes, size_t n);
/* Reads up to n bytes at an offset. The count, or -1 with an error. */
int64_t facts_read(int fd, void *out, uint64_t n, uint64_t offset, const char *path);
/* The kind of a text model by the family's name: "embedding", "audio", …; NULL: not told by it. */
const char *facts_kind_of_family(const char *family);

#endif
