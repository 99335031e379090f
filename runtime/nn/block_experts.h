/*
 * block_experts.h: products with experts whose matrices are GGUF blocks or half floats, used where they
 * lie in the file.
 */
#ifndef NX_RUNTIME_NN_BLOCK_EXPERTS_H
#define NX_RUNTIME_NN_BLOCK_EXPERTS_H

#include "runtime/nn/weights.h"

/* As nn_expert_linear, of a weight in the form NN_BLOCKS: x [T, k or 1, 1, cols], ids [T, k]:
 * [T * k, rows]. Evaluates the ids, since the engine multiplies one matrix a call. */
mlx_array nn_block_experts(nn *c, mlx_array x, nn_weight *w, mlx_array ids);

#endif
