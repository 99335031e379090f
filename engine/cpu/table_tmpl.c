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
    [NX_PRIM_Copy] = {NX_FN(copy), NULL},
    [NX_PRIM_AsType] = {NX_FN(copy), NULL},

    [NX_PRIM_Reshape] = {NX_FN(reshape), NULL},
    [NX_PRIM_NumberOfElements] = {NX_FN(number_of_elements), NULL},
    [NX_PRIM_Flatten] = {NX_FN(reshape), NULL},
    [NX_PRIM_AsStrided] = {NX_FN(as_strided), NULL},
    [NX_PRIM_Contiguous] = {NX_FN(copy), NULL},
    [NX_PRIM_Concatenate] = {NX_FN(concatenate), NULL},
    [NX_PRIM_Pad] = {NX_FN(pad), NULL},
    [NX_PRIM_SliceUpdate] = {NX_FN(slice_update), NULL},
    [NX_PRIM_DynamicSlice] = {NX_FN(slice_dynamic), NULL},
    [NX_PRIM_DynamicSliceUpdate] = {NX_FN(slice_update_dynamic), NULL},
    [NX_PRIM_Gather] = {NX_FN(gather), NULL},
    [NX_PRIM_GatherAxis] = {NX_FN(gather_axis), NULL},
    [NX_PRIM_Scatter] = {NX_FN(scatter), NULL},
    [NX_PRIM_ScatterAxis] = {NX_FN(scatter_axis), NULL},
    [NX_PRIM_MaskedScatter] = {NX_FN(masked_scatter), NULL},
    [NX_PRIM_Convolution] = {NX_FN(conv), NX_FN(conv_workspace)},
    [NX_PRIM_Hadamard] = {NX_FN(hadamard), NX_FN(hadamard_workspace)},
    [NX_PRIM_FFT] = {NX_FN(fft), NX_FN(fft_workspace)},
    [NX_PRIM_QRF] = {nx_linalg_qr, nx_linalg_qr_workspace},
    [NX_PRIM_SVD] = {nx_linalg_svd, nx_linalg_svd_workspace},
    [NX_PRIM_Inverse] = {nx_linalg_inverse, nx_linalg_inverse_workspace},
    [NX_PRIM_Cholesky] = {nx_linalg_cholesky, NULL},
    [NX_PRIM_Eig] = {nx_linalg_eig, nx_linalg_eig_workspace},
    [NX_PRIM_Eigh] = {nx_linalg_eigh, nx_linalg_eigh_workspace},
    [NX_PRIM_LUF] = {nx_linalg_lu, nx_linalg_lu_workspace},
#define NX_ELEM1(name, ...) [NX_PRIM_##name] = {NX_FN(elementwise_##name), NULL},
#define NX_ELEM2(name, ...) [NX_PRIM_##name] = {NX_FN(elementwise_##name), NULL},
#include "engine/ops/elementwise.def"
    [NX_PRIM_Compiled] = {NX_FN(fused), NX_FN(fused_workspace)},
    [NX_PRIM_Log] = {NX_FN(log), NULL},
    [NX_PRIM_Equal] = {NX_FN(equal), NULL},
    [NX_PRIM_BitwiseBinary] = {NX_FN(bitwise), NULL},
    [NX_PRIM_DivMod] = {NX_FN(divmod), NULL},
    [NX_PRIM_Select] = {NX_FN(select), NULL},
    [NX_PRIM_Full] = {NX_FN(copy), NULL},
    [NX_PRIM_Arange] = {NX_FN(arange), NULL},
    [NX_PRIM_View] = {NX_FN(view_copy), NULL},
    [NX_PRIM_ToFP8] = {NX_FN(to_fp8), NULL},
    [NX_PRIM_FromFP8] = {NX_FN(from_fp8), NULL},
    [NX_PRIM_RandomBits] = {NX_FN(random_bits), NULL},

    [NX_PRIM_Matmul] = {NX_FN(matmul), NX_FN(matmul_workspace)},
    [NX_PRIM_AddMM] = {NX_FN(addmm), NX_FN(matmul_workspace)},
    [NX_PRIM_GatherMM] = {NX_FN(gather_mm), NX_FN(matmul_workspace)},
    [NX_PRIM_SegmentedMM] = {NX_FN(segmented_mm), NX_FN(segmented_mm_workspace)},
    [NX_PRIM_GgufMatmul] = {NX_FN(gguf_matmul), NX_FN(gguf_matmul_workspace)},
    [NX_PRIM_GgufTake] = {NX_FN(gguf_take), NULL},
    [NX_PRIM_GgufRepack] = {NX_FN(gguf_repack), NULL},
    [NX_PRIM_AffineRepack] = {NX_FN(affine_repack), NULL},
    [NX_PRIM_ScaledDotProductAttention] = {NX_FN(attention), NX_FN(attention_workspace)},
    [NX_PRIM_CachePack] = {NX_FN(cache_pack), NULL},
    [NX_PRIM_StateScan] = {NX_FN(state_scan), NULL},
    [NX_PRIM_Reduce] = {NX_FN(reduce), NX_FN(reduce_workspace)},
    [NX_PRIM_ArgReduce] = {NX_FN(arg_reduce), NULL},
    [NX_PRIM_Scan] = {NX_FN(scan), NULL},
    [NX_PRIM_Softmax] = {NX_FN(softmax), NULL},
    [NX_PRIM_LogSumExp] = {NX_FN(logsumexp), NULL},
    [NX_PRIM_RMSNorm] = {NX_FN(rms_norm), NULL},
    [NX_PRIM_LayerNorm] = {NX_FN(layer_norm), NULL},
    [NX_PRIM_RoPE] = {NX_FN(rope), NX_FN(rope_workspace)},
    [NX_PRIM_Sort] = {NX_FN(sort), NX_FN(sort_workspace)},
    [NX_PRIM_ArgSort] = {NX_FN(arg_sort), NX_FN(arg_sort_workspace)},
    [NX_PRIM_Partition] = {NX_FN(partition), NX_FN(partition_workspace)},
    [NX_PRIM_ArgPartition] = {NX_FN(arg_partition), NX_FN(arg_partition_workspace)},
    [NX_PRIM_Quantize] = {NX_FN(quantize), NULL},
    [NX_PRIM_QuantizedMatmul] = {NX_FN(quantized_matmul), NX_FN(quantized_matmul_workspace)},
    [NX_PRIM_GatherQMM] = {NX_FN(gather_qmm), NX_FN(quantized_matmul_workspace)},
};
