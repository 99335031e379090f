/*
 * model.h: what a model family is: two tables and a forward function, in one file.
 *
 * The config table maps settings of config.json and of GGUF metadata to members of the family's
 * struct; the weight table names each weight in both spellings. Loading, counting and estimating
 * walk the tables and know no family. arch.def lists the families.
 */
#ifndef NX_RUNTIME_MODELS_MODEL_H
#define NX_RUNTIME_MODELS_MODEL_H

#include "base/gguf.h"
#include "base/json.h"
#include "runtime/nn/attention.h"
#include "runtime/nn/nn.h"
#include "runtime/nn/weights.h"

typedef enum { CONFIG_INT, CONFIG_FLOAT, CONFIG_BOOL } config_type;

typedef struct {
    const char *hf;   /* path in config.json; NULL: not there */
    const char *gguf; /* key after "<architecture>."; NULL: not there */
    config_type type;
    size_t offset;   /* of an int, float or bool in the family's struct */
    double fallback; /* where the file does not say */
    bool required;
} config_row;

enum { WEIGHT_OPTIONAL = 1, WEIGHT_LAYER = 2 };
typedef struct {
    const char *hf;   /* "model.layers.%d.self_attn.q_proj.weight"; Hugging Face's and MLX's */
    const char *gguf; /* "blk.%d.attn_q.weight" */
    unsigned flags;   /* WEIGHT_LAYER: once a layer, offset in the layer's struct */
    size_t offset;    /* of an nn_weight */
} weight_row;

/* Where settings come from: exactly one is set. */
typedef struct {
    const json_t *json; /* config.json */
    const nx_gguf *gguf;
    const char *arch; /* model_type or general.architecture, as written */
} config_source;

typedef struct model model;

/* One of arch.def. The family's struct begins with a `model`. */
typedef struct {
    const char *name;
    const char *const *aliases; /* other model_types of the same wiring; ends with NULL */
    size_t size, layer_size;
    const config_row *config;
    int n_config;
    const weight_row *weights;
    int n_weights;
    /* After the config table was read: derived settings, and refusal of what is not supported. */
    bool (*setup)(model *m, const config_source *from);
    /* After the weights are there: constants made from them. May be NULL. */
    bool (*prepare)(model *m, nn_source *source);
    void (*clear)(model *m); /* what setup and prepare made. May be NULL. */
    /* Logits [n, vocab] of the rows that want them, in order of the segments. */
    mlx_array (*forward)(nn *c, model *m, const nn_batch *b);
} model_arch;

struct model {
    const model_arch *arch;
    char format[16]; /* "gguf", "mlx", "huggingface" */
    int n_layers, vocab_size, max_context; /* filled by the family's table or setup */
    int n_kv_heads, head_dim;              /* of the cache */
    int hidden_size, intermediate_size, n_heads; /* widest activations, for estimates */
    void *layers; /* [n_layers] of arch->layer_size */
};

/* The family of a name, NULL if unknown. */
const model_arch *model_arch_find(const char *name);
/* Names of all families, for a message. */
const char *model_arch_names(void);

/* Reads the settings: a model without weights, enough for facts and estimates. NULL with a message. */
model *model_configure(const config_source *from);
/* Loads the weights. Every tensor of the source must be used and every required one present. */
bool model_load_weights(model *m, nn_source *s, nn_quant_config quant, bool is_gguf);
void model_free(model *m);

/* Facts about the weights, without loading: parameters and stored bytes. */
typedef struct {
    uint64_t parameters, bytes;
    char label[64]; /* the quantization most parameters of matrices have */
} model_facts;
bool model_inspect_weights(const model *m, nn_source *s, nn_quant_config quant, bool is_gguf,
                           model_facts *out);

#endif
