/*
 * kernels.h: the kernels of one instruction-set level (NX_FN adds its name, NX_BELOW that of the level
 * they are taken from). Each is defined in the template its section names.
 */
#ifndef NX_CPU_KERNELS_H
#define NX_CPU_KERNELS_H

#include "engine/cpu/isa.h"

/* copy_tmpl.c: any strides, any types: out = (type of out)in */
void NX_BELOW(copy)(const nx_call *c);
/* both row-major, of as many bytes */
void NX_BELOW(view_copy)(const nx_call *c);

/* shape_tmpl.c: outputs are row-major; as_strided's input is too */
void NX_BELOW(reshape)(const nx_call *c);
void NX_BELOW(number_of_elements)(const nx_call *c);
void NX_BELOW(as_strided)(const nx_call *c);
void NX_BELOW(concatenate)(const nx_call *c);
void NX_BELOW(pad)(const nx_call *c); /* a, value */

/* update_tmpl.c: (a, update), (a, start), (a, update, start); a is in out already if it is changed */
void NX_BELOW(slice_update)(const nx_call *c);
void NX_BELOW(slice_dynamic)(const nx_call *c);
void NX_BELOW(slice_update_dynamic)(const nx_call *c);

/* gather_tmpl.c: (a, indices...), (a, indices) */
void NX_BELOW(gather)(const nx_call *c);
void NX_BELOW(gather_axis)(const nx_call *c);

/* scatter_tmpl.c: (a, indices..., updates), (a, indices, updates); a is in out already */
void NX_BELOW(scatter)(const nx_call *c);
void NX_BELOW(scatter_axis)(const nx_call *c);
void NX_BELOW(masked_scatter)(const nx_call *c); /* (a, mask, values): values row-major */

/* conv_tmpl.c: (input, weight row-major) */
void NX_BELOW(conv)(const nx_call *c);
size_t NX_BELOW(conv_workspace)(const nx_call *c);

/* hadamard_tmpl.c: row-major */
void NX_BELOW(hadamard)(const nx_call *c);
size_t NX_BELOW(hadamard_workspace)(const nx_call *c);

/* fft_tmpl.c: any strides; complex64 to complex64, float32 to complex64 or back */
void NX_BELOW(fft)(const nx_call *c);
size_t NX_BELOW(fft_workspace)(const nx_call *c);

/* elementwise_tmpl.c: any strides; types as elementwise.def says */
#define NX_ELEM1(name, ...) void NX_BELOW(elementwise_##name)(const nx_call *c);
#define NX_ELEM2(name, ...) void NX_BELOW(elementwise_##name)(const nx_call *c);
#include "engine/ops/elementwise.def"
void NX_BELOW(log)(const nx_call *c);
/* fused_tmpl.c: all inputs and outputs of one shape, any strides */
void NX_BELOW(fused)(const nx_call *c);
size_t NX_BELOW(fused_workspace)(const nx_call *c);
void NX_BELOW(equal)(const nx_call *c);
void NX_BELOW(bitwise)(const nx_call *c);
void NX_BELOW(divmod)(const nx_call *c);
void NX_BELOW(select)(const nx_call *c); /* bool, T, T -> T */
void NX_BELOW(to_fp8)(const nx_call *c);
void NX_BELOW(from_fp8)(const nx_call *c); /* not to float64 */

/* creation_tmpl.c: a row-major output of n elements */
void NX_BELOW(arange)(const nx_call *c);
/* matmul_tmpl.c: in: a, b (and c, or indices, or segments), leading dimensions broadcast */
size_t NX_FN(matmul_workspace)(const nx_call *c);
size_t NX_FN(gather_mm_workspace)(const nx_call *c);
size_t NX_FN(segmented_mm_workspace)(const nx_call *c);
void NX_FN(matmul)(const nx_call *c);
void NX_FN(addmm)(const nx_call *c);
void NX_FN(gather_mm)(const nx_call *c);
void NX_FN(segmented_mm)(const nx_call *c);

/* gguf_tmpl.c: in: x [..., K], w uint8 [N, row bytes]; w and indices; w */
size_t NX_QUANTIZED(gguf_matmul_workspace)(const nx_call *c);
void NX_QUANTIZED(gguf_matmul)(const nx_call *c);
void NX_QUANTIZED(gguf_take)(const nx_call *c);
void NX_BELOW(gguf_repack)(const nx_call *c);
void NX_BELOW(affine_repack)(const nx_call *c); /* packed words, scales, biases: row-major */

/* attention_tmpl.c: in: q, k, v, then mask, lengths, sinks where they are */
void NX_BELOW(attention)(const nx_call *c);
size_t NX_BELOW(attention_workspace)(const nx_call *c);
/* in: q, k, v, places, then sinks where they are, and the caches; the result, and the caches, filled already */
void NX_BELOW(step_attention)(const nx_call *c);
size_t NX_BELOW(step_attention_workspace)(const nx_call *c);
/* cache_tmpl.c: x [..., D], row-major */
void NX_BELOW(cache_pack)(const nx_call *c);
/* state_scan_tmpl.c: state, decay, k, v, q, then a and b or neither, all row-major; last state, y */
void NX_BELOW(state_scan)(const nx_call *c);

/* reduce_tmpl.c: any axes and layout; out has 1 where in is reduced */
void NX_BELOW(reduce)(const nx_call *c);
size_t NX_BELOW(reduce_workspace)(const nx_call *c);
/* argreduce_tmpl.c */
void NX_BELOW(arg_reduce)(const nx_call *c);
/* scan_tmpl.c */
void NX_BELOW(scan)(const nx_call *c);
/* sort_tmpl.c */
void NX_BELOW(sort)(const nx_call *c);
void NX_BELOW(arg_sort)(const nx_call *c);
void NX_BELOW(partition)(const nx_call *c);
void NX_BELOW(arg_partition)(const nx_call *c);
size_t NX_BELOW(sort_workspace)(const nx_call *c);
size_t NX_BELOW(arg_sort_workspace)(const nx_call *c);
size_t NX_BELOW(partition_workspace)(const nx_call *c);
size_t NX_BELOW(arg_partition_workspace)(const nx_call *c);
/* softmax_tmpl.c, norm_tmpl.c, rope_tmpl.c */
void NX_BELOW(softmax)(const nx_call *c);
void NX_BELOW(logsumexp)(const nx_call *c);
void NX_BELOW(rms_norm)(const nx_call *c);
void NX_BELOW(layer_norm)(const nx_call *c);
void NX_BELOW(rope)(const nx_call *c);
size_t NX_BELOW(rope_workspace)(const nx_call *c);

/* random_tmpl.c: row-major */
void NX_BELOW(random_bits)(const nx_call *c);
/* quantize_tmpl.c: numbers to codes, scales, biases; or back */
void NX_BELOW(quantize)(const nx_call *c);

/* quantized_tmpl.c: in: x, w, scales, biases if affine, then indices; all row-major */
size_t NX_QUANTIZED(quantized_matmul_workspace)(const nx_call *c);
void NX_QUANTIZED(quantized_matmul)(const nx_call *c);
void NX_QUANTIZED(gather_qmm)(const nx_call *c);

#endif
