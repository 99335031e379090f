/*
 * plan.h: what a conversion will write: every tensor of the target with its name, shape and type,
 * before anything is read.
 */
#ifndef NX_RUNTIME_CONVERT_PLAN_H
#define NX_RUNTIME_CONVERT_PLAN_H

#include "runtime/convert/family.h"
#include "runtime/convert/items.h"

typedef enum { TARGET_MLX, TARGET_HF, TARGET_GGUF } target_format;
typedef enum { OUT_PLAIN, OUT_BLOCKS, OUT_AFFINE } out_form;
typedef enum {
    HOW_COPY,    /* the bytes as they are */
    HOW_CODES,   /* another packing of the same codes */
    HOW_MXFP4,   /* MLX's mxfp4 as GGUF's, or back */
    HOW_NUMBERS, /* through float32 */
} out_how;

/* How one weight is stored. */
typedef struct {
    out_form form;
    int type;        /* an nx_ggml_id; of OUT_AFFINE the scales' */
    int bits, group; /* of OUT_AFFINE */
    const char *mode;
} storage;

typedef struct {
    char name[300];
    item *t;
    int64_t begin, rows, cols; /* the item's rows that it has, in the target's shape */
    int ndim;
    uint64_t shape[8]; /* outermost first, in numbers */
    storage as;
    out_how how;
} out_tensor;

typedef NX_VEC(out_tensor) out_vec;

/* What is asked for; zeros: what lies nearest to the source. */
typedef struct {
    target_format to;
    const char *type;   /* GGUF's: "Q4_K_M", "Q8_0", "F16"; or "f16", "bf16", "f32" of any format */
    int bits, group;    /* MLX's */
    const char *mode, *recipe; /* "affine"; "mixed_4_6" */
    double target_bpw;
    struct importance *importance; /* NULL: none */
} plan_request;

typedef struct {
    package *from;
    model *m;
    target_format source, target;
    const family *kin; /* NULL between mlx and hf */
    item_vec items;
    out_vec tensors;
    storage usual;     /* the storage most matrices get */
    uint64_t bytes;    /* of all tensors */
    uint64_t parameters;
    struct importance *importance; /* the request's */
    size_t rounded;    /* scales that float16 did not hold exactly, while writing */
} plan;

/* False with a message. The package and the model must outlive it. */
bool plan_make(plan *p, package *from, model *m, const plan_request *ask);
void plan_clear(plan *p);

/* Bytes of the parts of a tensor: data, scales, biases. */
uint64_t out_bytes(const out_tensor *o, uint64_t parts[3]);
/* Whether a weight is one of those that quantization is for. */
bool plan_quantizes(const item *t);
/* Taps of a convolution as mlx-lm turns them: [C, K, 1]. */
bool plan_turned_taps(const item *t);
/* GGUF's name of a weight without layer, "attn_v.weight"; "" where it has none. */
const char *plan_role(const item *t);

#endif
