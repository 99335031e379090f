/*
 * package.h: a model as it lies on the disk: where it is, which format, its settings and tensors.
 */
#ifndef NX_RUNTIME_CATALOG_PACKAGE_H
#define NX_RUNTIME_CATALOG_PACKAGE_H

#include "base/str.h"
#include "nexus/nexus.h"
#include "runtime/catalog/estimate.h"
#include "runtime/models/model.h"
#include "runtime/nn/source.h"

typedef struct {
    char *path; /* of the GGUF file or the folder */
    char *name;
    bool is_gguf;
    nn_source source;
    json_t *json;        /* config.json, NULL for GGUF */
    char arch[64];       /* model_type or general.architecture */
    config_source config;
    nn_quant_config quant;
} package;

/* Finds what `named` stands for: a GGUF file, a folder, or a stored model. Appends the path. */
nexus_status package_resolve(const char *named, nx_str *path);

/* Opens settings and tensor descriptions; no weight is read. */
nexus_status package_open(package *p, const char *named);
void package_clear(package *p);

/* "gguf", "mlx", "huggingface" */
const char *package_format(const package *p);

/* What the memory estimate needs to know of it. */
memory_shape package_shape(const package *p, const model *m);

/* Everything `info` prints. m: configured from this package. ctx 0: the default. */
nexus_status package_describe(package *p, const model *m, int ctx, nn_cache_form form, nexus_model_info *out);

/* The context used where nobody chooses: 4096, or the model's most if that is less. */
int package_context(const model *m, int wanted);

#endif
