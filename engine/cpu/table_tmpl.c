/*
 * table_tmpl.c: the CPU's kernels by primitive, one table a level. A primitive without a row is
 * decomposed by the evaluator.
 */
#include "engine/cpu/isa.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/linalg.h"
#include "engine/ops/prims.h"

extern const nx_kernel_entry NX_FN(nx_kernels)[NX_PRIM_COUNT];

const nx_kernel_entry NX_FN(nx_kernels)[NX_PRIM_COUNT] = {
    [NX_PRIM_Copy] = {NX_BELOW(copy), NULL},
    [NX_PRIM_AsType] = {NX_BELOW(copy), NULL},

    [NX_PRIM_Reshape] = {NX_BELOW(reshape), NULL},
    [NX_PRIM_NumberOfElements] = {NX_BELOW(number_of_elements), NULL},
    [NX_PRIM_Flatten] = {NX_BELOW(reshape), NULL},
    [NX_PRIM_AsStrided] = {NX_BELOW(as_strided), NULL},
    [NX_PRIM_Contiguous] = {NX_BELOW(copy), NULL},
    [NX_PRIM_Concatenate] = {NX_BELOW(concatenate), NULL},
    [NX_PRIM_Pad] = {NX_BELOW(pad), NULL},
    [NX_PRIM_SliceUpdate] = {NX_BELOW(slice_update), NULL},
    [NX_PRIM_DynamicSlice] = {NX_BELOW(slice_dynamic), NULL},
    [NX_PRIM_DynamicSliceUpdate] = {NX_BELOW(slice_update_dynamic), NULL},
    [NX_PRIM_Gather] = {NX_BELOW(gather), NULL},
    [NX_PRIM_GatherAxis] = {NX_BELOW(gather_axis), NULL},
    [NX_PRIM_Scatter] = {NX_BELOW(scatter), NULL},
    [NX_PRIM_ScatterAxis] = {NX_BELOW(scatter_axis), NULL},
    [NX_PRIM_MaskedScatter] = {NX_BELOW(masked_scatter), NULL},
    [NX_PRIM_Convolution] = {NX_BELOW(conv), NX_BELOW(conv_workspace)},
    [NX_PRIM_Hadamard] = {NX_BELOW(hadamard), NX_BELOW(hadamard_workspace)},
    [NX_PRIM_FFT] = {NX_BELOW(fft), NX_BELOW(fft_workspace)},
    [NX_PRIM_QRF] = {nx_linalg_qr, nx_linalg_qr_workspace},
    [NX_PRIM_SVD] = {nx_linalg_svd, nx_linalg_svd_workspace},
    [NX_PRIM_Inverse] = {nx_linalg_inverse, nx_linalg_inverse_workspace},
    [NX_PRIM_Cholesky] = {nx_linalg_cholesky, NULL},
    [NX_PRIM_Eig] = {nx_linalg_eig, nx_linalg_eig_workspace},
    [NX_PRIM_Eigh] = {nx_linalg_eigh, nx_linalg_eigh_workspace},
    [NX_PRIM_LUF] = {nx_linalg_lu, nx_linalg_lu_workspace},
#define NX_ELEM1(name, ...) [NX_PRIM_##name] = {NX_BELOW(elementwise_##name), NULL},
#define NX_ELEM2(name, ...) [NX_PRIM_##name] = {NX_BELOW(elementwise_##name), NULL},
#include "engine/ops/elementwise.def"
    [NX_PRIM_Compiled] = {NX_BELOW(fused), NX_BELOW(fused_workspace)},
    [NX_PRIM_Log] = {NX_BELOW(log), NULL},
    [NX_PRIM_Equal] = {NX_BELOW(equal), NULL},
    [NX_PRIM_BitwiseBinary] = {NX_BELOW(bitwise), NULL},
    [NX_PRIM_DivMod] = {NX_BELOW(divmod), NULL},
    [NX_PRIM_Select] = {NX_BELOW(select), NULL},
    [NX_PRIM_Full] = {NX_BELOW(copy), NULL},
    [NX_PRIM_Arange] = {NX_BELOW(arange), NULL},
    [NX_PRIM_View] = {NX_BELOW(view_copy), NULL},
    [NX_PRIM_ToFP8] = {NX_BELOW(to_fp8), NULL},
    [NX_PRIM_FromFP8] = {NX_BELOW(from_fp8), NULL},
    [NX_PRIM_RandomBits] = {NX_BELOW(random_bits), NULL},

    [NX_PRIM_Matmul] = {NX_FN(matmul), NX_FN(matmul_workspace)},
    [NX_PRIM_AddMM] = {NX_FN(addmm), NX_FN(matmul_workspace)},
    [NX_PRIM_GatherMM] = {NX_FN(gather_mm), NX_FN(gather_mm_workspace)},
    [NX_PRIM_SegmentedMM] = {NX_FN(segmented_mm), NX_FN(segmented_mm_workspace)},
    [NX_PRIM_GgufMatmul] = {NX_QUANTIZED(gguf_matmul), NX_QUANTIZED(gguf_matmul_workspace)},
    [NX_PRIM_GgufTake] = {NX_QUANTIZED(gguf_take), NULL},
    [NX_PRIM_GgufRepack] = {NX_BELOW(gguf_repack), NULL},
    [NX_PRIM_AffineRepack] = {NX_BELOW(affine_repack), NULL},
    [NX_PRIM_ScaledDotProductAttention] = {NX_BELOW(attention), NX_BELOW(attention_workspace)},
    [NX_PRIM_CachePack] = {NX_BELOW(cache_pack), NULL},
    [NX_PRIM_StepAttention] = {NX_BELOW(step_attention), NX_BELOW(step_attention_workspace)},
    [NX_PRIM_StateScan] = {NX_BELOW(state_scan), NULL},
    [NX_PRIM_Reduce] = {NX_BELOW(reduce), NX_BELOW(reduce_workspace)},
    [NX_PRIM_ArgReduce] = {NX_BELOW(arg_reduce), NULL},
    [NX_PRIM_Scan] = {NX_BELOW(scan), NULL},
    [NX_PRIM_Softmax] = {NX_BELOW(softmax), NULL},
    [NX_PRIM_LogSumExp] = {NX_BELOW(logsumexp), NULL},
    [NX_PRIM_RMSNorm] = {NX_BELOW(rms_norm), NULL},
    [NX_PRIM_LayerNorm] = {NX_BELOW(layer_norm), NULL},
    [NX_PRIM_RoPE] = {NX_BELOW(rope), NX_BELOW(rope_workspace)},
    [NX_PRIM_Sort] = {NX_BELOW(sort), NX_BELOW(sort_workspace)},
    [NX_PRIM_ArgSort] = {NX_BELOW(arg_sort), NX_BELOW(arg_sort_workspace)},
    [NX_PRIM_Partition] = {NX_BELOW(partition), NX_BELOW(partition_workspace)},
    [NX_PRIM_ArgPartition] = {NX_BELOW(arg_partition), NX_BELOW(arg_partition_workspace)},
    [NX_PRIM_Quantize] = {NX_BELOW(quantize), NULL},
    [NX_PRIM_QuantizedMatmul] = {NX_QUANTIZED(quantized_matmul), NX_QUANTIZED(quantized_matmul_workspace)},
    [NX_PRIM_GatherQMM] = {NX_QUANTIZED(gather_qmm), NX_QUANTIZED(quantized_matmul_workspace)},
};
