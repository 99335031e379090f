#include "base/ggml_types.h"

#include <stddef.h>
#include <strings.h>

/* name, id, elements a block, bytes a block */
static const nx_ggml_type types[] = {
    {"F32", NX_GGML_F32, 1, 4},
    {"F16", NX_GGML_F16, 1, 2},
    {"BF16", NX_GGML_BF16, 1, 2},
    {"F64", NX_GGML_F64, 1, 8},
    {"I8", NX_GGML_I8, 1, 1},
    {"I16", NX_GGML_I16, 1, 2},
    {"I32", NX_GGML_I32, 1, 4},
    {"I64", NX_GGML_I64, 1, 8},
    /* blocks of 32: float16 scale (and minimum), then packed values */
    {"Q4_0", NX_GGML_Q4_0, 32, 18},
    {"Q4_1", NX_GGML_Q4_1, 32, 20},
    {"Q5_0", NX_GGML_Q5_0, 32, 22},
    {"Q5_1", NX_GGML_Q5_1, 32, 24},
    {"Q8_0", NX_GGML_Q8_0, 32, 34},
    {"Q8_1", NX_GGML_Q8_1, 32, 36},
    /* super-blocks of 256 with quantized scales inside */
    {"Q2_K", NX_GGML_Q2_K, 256, 84},
    {"Q3_K", NX_GGML_Q3_K, 256, 110},
    {"Q4_K", NX_GGML_Q4_K, 256, 144},
    {"Q5_K", NX_GGML_Q5_K, 256, 176},
    {"Q6_K", NX_GGML_Q6_K, 256, 210},
    {"Q8_K", NX_GGML_Q8_K, 256, 292},
    /* values from code books */
    {"IQ1_S", NX_GGML_IQ1_S, 256, 50},
    {"IQ1_M", NX_GGML_IQ1_M, 256, 56},
    {"IQ2_XXS", NX_GGML_IQ2_XXS, 256, 66},
    {"IQ2_XS", NX_GGML_IQ2_XS, 256, 74},
    {"IQ2_S", NX_GGML_IQ2_S, 256, 82},
    {"IQ3_XXS", NX_GGML_IQ3_XXS, 256, 98},
    {"IQ3_S", NX_GGML_IQ3_S, 256, 110},
    {"IQ4_NL", NX_GGML_IQ4_NL, 32, 18},
    {"IQ4_XS", NX_GGML_IQ4_XS, 256, 136},
    /* two, four and three values a weight */
    {"Q1_0", NX_GGML_Q1_0, 128, 18},
    {"Q2_0", NX_GGML_Q2_0, 64, 18},
    {"TQ1_0", NX_GGML_TQ1_0, 256, 54},
    {"TQ2_0", NX_GGML_TQ2_0, 256, 66},
    /* four-bit floats with shared eight-bit scales */
    {"MXFP4", NX_GGML_MXFP4, 32, 17},
    {"NVFP4", NX_GGML_NVFP4, 64, 36},
};

const nx_ggml_type *nx_ggml_type_find(uint32_t id)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].id == id)
            return &types[i];
    return NULL;
}

const nx_ggml_type *nx_ggml_type_named(const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcasecmp(types[i].name, name) == 0)
            return &types[i];
    return NULL;
}
