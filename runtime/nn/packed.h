/*
 * packed.h: matrices that AWQ and GPTQ checkpoints hold in parts (qweight, qzeros, scales) in place of
 * one tensor, repacked to MLX's affine form at load: the same numbers, scale * code - scale * zero.
 */
#ifndef NX_RUNTIME_NN_PACKED_H
#define NX_RUNTIME_NN_PACKED_H

#include "runtime/nn/weights.h"

/* Does the source hold parts of the tensor `name` ("….weight")? */
bool nn_packed_find(nn_source *s, const char *name);
bool nn_packed_load(nn_weight *w, nn_source *s, const char *name, nn_quant_config quant);

/* gpt-oss's experts: "…_blocks" uint8 [experts, rows, cols / 32, 16] with "…_scales" beside them are
 * MLX's mxfp4 with another name and shape. */
bool nn_mxfp4_blocks(const nn_tensor *t);
/* Those words [experts, rows, cols / 8], and the scales; *scales is the source's. */
bool nn_mxfp4_parts(nn_source *s, const nn_tensor *t, nn_tensor *words, const nn_tensor **scales);
bool nn_mxfp4_load(nn_weight *w, nn_source *s, const nn_tensor *t);

/* Of config.json's quantization_config: "awq" or "gptq", and settings this can read; false with a
 * message for all others. */
bool nn_packed_check(const json_t *quantization_config);

#endif
