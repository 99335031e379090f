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
    const char *hf;   /* path in config.json, or several by '|': the first that is there; "path#": how
                         many items or letters it has */
    const char *gguf; /* keys after "<architecture>.", likewise; NULL: not there */
    config_type type;
    size_t offset;   /* of an int, float or bool in the family's struct */
    double fallback; /* where the file does not say */
    bool required;
} config_row;

enum {
    WEIGHT_OPTIONAL = 1,
    WEIGHT_LAYER = 2,     /* once a layer; offset in the layer's struct */
    WEIGHT_EXPERTS = 4,   /* n_experts matrices: one tensor, or one each ("%e" in the name) */
    WEIGHT_PLUS_ONE = 8,  /* config.json's formats store a norm's factor less one */
    WEIGHT_TURNED = 16,   /* config.json's formats store the transposed matrix */
    WEIGHT_NOT_MLX = 64,  /* of the two above: Hugging Face's folders alone */
    WEIGHT_LOG = 128,     /* config.json's formats store the logarithm of the negative */
    WEIGHT_NUMBERS = 32,  /* used otherwise than in products: plain float32, of any shape */
};
/* Only in layers with this bit in model.kinds. */
#define WEIGHT_KIND(bit) ((unsigned)(bit) << 8)
typedef struct {
    const char *hf;   /* "model.layers.%d.self_attn.q_proj.weight"; Hugging Face's and MLX's, or
                         several by '|': the first that is there */
    const char *gguf; /* "blk.%d.attn_q.weight", likewise; NULL: not there. Several by '&' (or one and '&'):
                         this row reads none; the format has a row for each, among which conversion
                         divides the matrix */
    unsigned flags;
    size_t offset;    /* of an nn_weight */
    size_t rows, cols; /* offsets, in the family's struct, of the ints the shape must have; rows 0: a
                          vector; both 0: not checked here */
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
    bool (*setup)(model *m, const config_source *from); /* layers, kinds and caches are there, zero */
    /* After the weights are there: constants made from them. May be NULL. */
    bool (*prepare)(model *m, nn_source *source);
    void (*clear)(model *m); /* what setup and prepare made. May be NULL. */
    /* Logits [n, vocab] of the rows that want them, in order of the segments; of an encoder, its last
     * hidden states [n, hidden]. */
    mlx_array (*forward)(nn *c, model *m, const nn_batch *b);
    bool encoder; /* no cache, no next token: for embeddings */
    /* Beginnings of tensors' names that belong to other parts of a checkpoint (a vision tower, extra
     * prediction heads) and are left out; ends with NULL. */
    const char *const *ignored;
    /* Makes config.json true of weights as mlx-lm changes them where it turns a convolution's taps to
     * [C, K, 1]. May be NULL: it changes nothing else. */
    void (*folded_config)(const model *m, json_t *config);
    bool ignored_layers; /* so do layers past the last (they predict further ahead) */
} model_arch;

struct model {
    const model_arch *arch;
    char format[16]; /* "gguf", "mlx", "huggingface" */
    int n_layers, vocab_size, max_context; /* filled by the family's table or setup */
    int n_kv_heads, head_dim;              /* of the cache */
    int hidden_size, intermediate_size, n_heads; /* widest activations, for estimates */
    int n_experts;         /* 0: none */
    void *layers;          /* [n_layers] of arch->layer_size */
    unsigned *kinds;       /* [n_layers]: setup's bits for layers that differ */
    nn_cache_shape *caches; /* [n_layers]: what each layer keeps of a text; setup's */
};

/* The family of a name, NULL if unknown. */
const model_arch *model_arch_find(const char *name);
/* The value a path of config.json or key of GGUF metadata (either may be NULL) has for layer i: an
 * array's item, or the one number there is for all. */
double config_item(const config_source *from, const char *hf, const char *gguf, int i, double fallback);
/* Names of all families, for a message. */
const char *model_arch_names(void);

/* Reads the settings: a model without weights, enough for facts and estimates. NULL with a message. */
model *model_configure(const config_source *from);
/* Loads the weights. Every tensor of the source must be used and every required one present. */
bool model_load_weights(model *m, nn_source *s, nn_quant_config quant, bool is_gguf);
void model_free(model *m);

/* Calls `visit` for each weight that the source has, with the names of its tensors: one, or one for each
 * expert. Reads nothing. False with a message where one is missing, misnamed or left over, or where
 * `visit` gave false. */
typedef bool (*model_tensor_fn)(const weight_row *row, int layer, char *const *names, int n, void *arg);
bool model_each_tensor(const model *m, nn_source *s, bool is_gguf, model_tensor_fn visit, void *arg);
/* The loaded weight of a row. */
const nn_weight *model_weight(const model *m, const weight_row *row, int layer);
/* How a format names a weight: of Hugging Face's an expert's own tensor, or with `stacked` (MLX's way)
 * all experts' one. Where both formats have as many names for it, the one that corresponds to `from`, its
 * name in the other (NULL: the first). False where it has no name for it. */
bool model_tensor_name(const weight_row *row, bool is_gguf, bool stacked, int layer, int expert,
                       const char *from, char *out, size_t size);

/* Facts about the weights, without loading: parameters and stored bytes. */
typedef struct {
    uint64_t parameters, bytes;
    uint64_t expert_bytes;  /* of bytes: of which a token reads the share of experts it uses */
    uint64_t lookup_bytes;  /* of bytes: an embedding that is not the head too, read a row at a time */
    char label[64]; /* the quantization most parameters of matrices have */
} model_facts;
bool model_inspect_weights(const model *m, nn_source *s, nn_quant_config quant, bool is_gguf,
                           model_facts *out);

#endif
