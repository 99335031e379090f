/*
 * ggml_types.h: the element types of GGUF tensors as facts: ids, names, elements and bytes a block.
 * What the bytes of a block mean is the engine's business.
 */
#ifndef NX_BASE_GGML_TYPES_H
#define NX_BASE_GGML_TYPES_H

#include <stdint.h>

/* The ids as they stand in files; the holes were types that the format withdrew. */
typedef enum {
    NX_GGML_F32 = 0,
    NX_GGML_F16 = 1,
    NX_GGML_Q4_0 = 2,
    NX_GGML_Q4_1 = 3,
    NX_GGML_Q5_0 = 6,
    NX_GGML_Q5_1 = 7,
    NX_GGML_Q8_0 = 8,
    NX_GGML_Q8_1 = 9,
    NX_GGML_Q2_K = 10,
    NX_GGML_Q3_K = 11,
    NX_GGML_Q4_K = 12,
    NX_GGML_Q5_K = 13,
    NX_GGML_Q6_K = 14,
    NX_GGML_Q8_K = 15,
    NX_GGML_IQ2_XXS = 16,
    NX_GGML_IQ2_XS = 17,
    NX_GGML_IQ3_XXS = 18,
    NX_GGML_IQ1_S = 19,
    NX_GGML_IQ4_NL = 20,
    NX_GGML_IQ3_S = 21,
    NX_GGML_IQ2_S = 22,
    NX_GGML_IQ4_XS = 23,
    NX_GGML_I8 = 24,
    NX_GGML_I16 = 25,
    NX_GGML_I32 = 26,
    NX_GGML_I64 = 27,
    NX_GGML_F64 = 28,
    NX_GGML_IQ1_M = 29,
    NX_GGML_BF16 = 30,
    NX_GGML_TQ1_0 = 34,
    NX_GGML_TQ2_0 = 35,
    NX_GGML_MXFP4 = 39,
    NX_GGML_NVFP4 = 40,
    NX_GGML_Q1_0 = 41,
    NX_GGML_Q2_0 = 42,
} nx_ggml_id;

typedef struct {
    const char *name; /* "Q4_K" */
    uint32_t id;      /* an nx_ggml_id */
    uint32_t block_elements;
    uint32_t block_bytes;
} nx_ggml_type;

/* NULL for an id or a name that is not known (names in any case: "q4_k"). */
const nx_ggml_type *nx_ggml_type_find(uint32_t id);
const nx_ggml_type *nx_ggml_type_named(const char *name);

static inline double nx_ggml_type_bits(const nx_ggml_type *t) /* bits a weight, 4.5 for Q4_0 */
{
    return 8.0 * t->block_bytes / t->block_elements;
}

#endif
