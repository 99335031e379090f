/*
 * weights.h: one matrix or vector of a model, in whatever form its file stores it, and the products
 * with it. A forward pass does not know which form that is.
 */
#ifndef NX_RUNTIME_NN_WEIGHTS_H
#define NX_RUNTIME_NN_WEIGHTS_H

#include "base/json.h"
#include "runtime/nn/nn.h"
#include "runtime/nn/source.h"

typedef enum {
    NN_ABSENT, /* an optional weight this model does not have */
    NN_PLAIN,  /* w: any float type, as stored */
    NN_AFFINE, /* w: packed words, with scales, biases, group_size, bits, mode */
    NN_BLOCKS, /* w: uint8 [rows, bytes a row] of GGUF blocks (or half floats), used in place */
} nn_weight_form;

typedef struct {
    nn_weight_form form;
    mlx_array w;
    mlx_array scales, biases;
    int group_size, bits;
    char mode[16];
    int ggml_type; /* NN_BLOCKS */
    int rows, cols; /* [rows, cols] in elements; a vector has rows 1 */
    int experts;    /* so many matrices of that shape, one after another; 0: one */
    /* For repacking at first use: where the bytes lie in the file. */
    nx_mapping *file;
    uint64_t offset, bytes;
    bool repack; /* not repacked yet, and worth it */
} nn_weight;

/* How a folder says its weights are quantized: config.json's "quantization" object, or of an AWQ or
 * GPTQ checkpoint its "quantization_config"; else NULL. */
typedef struct {
    const json_t *block, *foreign;
} nn_quant_config;

/* Loads the tensor called `name` (and name-without-".weight" + .scales, .biases beside it). False
 * with a message only where what is there is broken; *found says whether it is there. */
bool nn_weight_load(nn_weight *w, nn_source *s, const char *name, nn_quant_config quant, bool *found);
/* Is a tensor of this name, or the parts that a foreign method stores in its place, there? */
bool nn_weight_there(nn_source *s, const char *name);
void nn_weight_clear(nn_weight *w);
/* What a format stores otherwise, put right at load. False with a message. */
/* n weights of the same form and shape become one with n experts; the parts are cleared. */
bool nn_weight_stack(nn_weight *w, nn_weight *parts, int n, const char *name);
/* Plain float32 numbers [rows, cols] (or [experts, rows, cols]), whatever the form was. */
bool nn_weight_to_numbers(nn_weight *w);
/* Of a matrix or of each expert, the transposed; the numbers and one; minus their exponential. */
bool nn_weight_transpose(nn_weight *w);
bool nn_weight_plus_one(nn_weight *w);
/* Rows begin..end-1 as a weight of their own, of `w`, which stays. */
bool nn_weight_rows(nn_weight *out, const nn_weight *w, int begin, int end);

/* Told of every product with a weight what it is multiplied by (calibration); NULL: nobody. Engine
 * thread, and only while no other model runs. */
typedef void (*nn_observer)(nn *c, const nn_weight *w, mlx_array x, void *arg);
void nn_observe(nn_observer fn, void *arg);

/* x [..., cols] times the transposed weight: [..., rows], of x's type. bias (may be absent) is
 * added. */
mlx_array nn_linear(nn *c, mlx_array x, nn_weight *w, nn_weight *bias);
/* The same with n weights of the same cols (up to NN_LINEARS), y[i] of w[i]: one operation where the engine has it.
 * bias NULL: none. */
enum { NN_LINEARS = 4 };
void nn_linears(nn *c, mlx_array x, nn_weight *const *w, nn_weight *const *bias, int n, mlx_array *y);
/* x [T, k or 1, cols] times the transposed matrix of expert ids[t, i] (uint32 [T, k]): [T, k, rows];
 * bias (may be absent) [experts, rows]. */
mlx_array nn_expert_linear(nn *c, mlx_array x, nn_weight *w, nn_weight *bias, mlx_array ids);
/* Rows of the weight by ids (int32 [T]): [T, cols], float32. */
mlx_array nn_embedding(nn *c, nn_weight *w, mlx_array ids);
/* A vector as it is used beside activations: float32 (empty where absent). */
mlx_array nn_vector(nn *c, nn_weight *w);

/* What a weight stores: parameters, and bits of storage with scales. For info and estimates. */
typedef struct {
    uint64_t parameters, bytes;
    char label[32]; /* "Q4_1", "4-bit affine g64", "bfloat16" */
} nn_weight_facts;
bool nn_weight_inspect(nn_source *s, const char *name, nn_quant_config quant, nn_weight_facts *out);

#endif
