/*
 * params.h: the parameter structs of primitives, which their kernels read. Plain data only: an
 * evaluation copies them. A section a family.
 */
#ifndef NX_OPS_PARAMS_H
#define NX_OPS_PARAMS_H

#include "engine/core/view.h"

/* copy.c */
typedef struct {
    nx_dtype dtype;
} nx_astype_params;

/*
 * graph/fuse.c: elementwise operations that run one after the other on a tile. Operand k is input k,
 * operand n_in + j the result of operation j. A register holds a tile (of a half type: as floats).
 */
enum { NX_FUSED_REGISTERS = 12, NX_FUSED_OPS = 48, NX_FUSED_IN = 40 };
typedef struct {
    int16_t prim;    /* nx_prim_id */
    int8_t variant;  /* its parameter, where it has one: the base of a logarithm, say */
    int8_t out;      /* which output this is, -1: none */
    uint8_t n_in;
    uint8_t in[3];   /* operands */
    uint8_t from;    /* nx_dtype of the last of them, which chooses the loop */
    uint8_t to;      /* of the result */
    uint8_t reg;     /* where the result lies */
} nx_fused_op;
typedef struct {
    int n_in, n_ops, n_out, n_registers;
    uint8_t load[NX_FUSED_IN]; /* registers of inputs that do not lie dense */
    nx_fused_op op[NX_FUSED_OPS];
} nx_compiled_params;

/* broadcast.c */
typedef struct {
    nx_dims shape;
} nx_broadcast_params;
typedef struct {
    nx_dims axes;
    bool inverted;
    nx_dtype dtype;
} nx_number_of_elements_params;
/* reshape.c, transpose.c, join.c, and what else has only axes */
typedef struct {
    nx_dims shape;
} nx_reshape_params;
typedef struct {
    int start_axis, end_axis;
} nx_flatten_params;
typedef struct {
    int axis;
    nx_dims shape;
} nx_unflatten_params;
typedef struct {
    nx_dims axes;
} nx_axes_params;
typedef struct {
    int axis;
} nx_axis_params;

/* strided.c */
typedef struct {
    nx_dims shape;
    nx_dims64 strides;
    int64_t offset;
} nx_as_strided_params;
typedef struct {
    bool allow_col_major;
} nx_contiguous_params;

/* split.c, pad.c */
typedef struct {
    nx_dims indices;
    int axis;
} nx_split_params;
typedef struct {
    nx_dims axes, low, high;
} nx_pad_params;

/* slice.c, scatter.c: what becomes of an element that an update meets (numbers as MLX has them) */
typedef enum {
    NX_UPDATE_MAX,
    NX_UPDATE_MIN,
    NX_UPDATE_ADD,
    NX_UPDATE_PROD,
    NX_UPDATE_NONE,
} nx_reduce_mode;
typedef struct {
    nx_dims start, stop, strides; /* plain: within the array, stop -1 before element 0 */
} nx_slice_params;
typedef struct {
    int mode; /* nx_reduce_mode */
    nx_slice_params slice;
} nx_slice_update_params;
typedef struct {
    nx_dims axes, size;
} nx_slice_dynamic_params;

/* conv.c: one number a spatial dimension */
typedef struct {
    nx_dims stride, padding_low, padding_high, kernel_dilation, input_dilation;
    int groups;
    bool flip;
} nx_conv_params;

/* hadamard.c */
typedef struct {
    float scale;
} nx_hadamard_params;

/* fft.c */
typedef struct {
    nx_dims axes;
    bool inverse, real;
} nx_fft_params;

/* linalg.c */
typedef struct {
    bool tri, upper; /* tri: the matrix is triangular */
} nx_inverse_params;
typedef struct {
    bool upper;
} nx_cholesky_params;
typedef struct {
    bool vectors; /* computed too, not the values alone */
} nx_vectors_params;
typedef struct {
    bool upper; /* this triangle of the transpose is read */
    bool vectors;
} nx_eigh_params;

/* gather.c, scatter.c */
typedef struct {
    nx_dims axes, slice_sizes;
} nx_gather_params;
typedef struct {
    int mode; /* nx_reduce_mode */
    nx_dims axes;
} nx_scatter_params;
enum { NX_SCATTER_ADD, NX_SCATTER_NONE }; /* MLX numbers these two apart */
typedef struct {
    int mode;
    int axis;
} nx_scatter_axis_params;
/* reduce.c; kinds in MLX's order */
enum { NX_REDUCE_AND, NX_REDUCE_OR, NX_REDUCE_SUM, NX_REDUCE_PROD, NX_REDUCE_MIN, NX_REDUCE_MAX };
typedef struct {
    int kind;
    nx_dims axes; /* ascending, none negative */
} nx_reduce_params;

enum { NX_ARG_MIN, NX_ARG_MAX };
typedef struct {
    int kind;
    int axis;
} nx_arg_reduce_params;

/* scan.c; kinds in MLX's order */
enum { NX_SCAN_MAX, NX_SCAN_MIN, NX_SCAN_SUM, NX_SCAN_PROD, NX_SCAN_LOGADDEXP };
typedef struct {
    int kind;
    int axis;
    bool reverse, inclusive;
} nx_scan_params;

/* sort.c */
typedef struct {
    int axis;
} nx_sort_params;
typedef struct {
    int kth;
    int axis;
} nx_partition_params;

/* softmax.c, norm.c, rope.c */
typedef struct {
    bool precise;
} nx_softmax_params;
typedef struct {
    float eps;
} nx_norm_params;
typedef struct {
    int dims;
    bool traditional;
    float base, scale;
    bool forward; /* false: turns back, which is the gradient */
} nx_rope_params;

/* elementwise.c; enumerators in MLX's order */
typedef enum { NX_LOG_2, NX_LOG_10, NX_LOG_E } nx_log_base;
typedef struct {
    int base; /* nx_log_base */
} nx_log_params;
typedef struct {
    bool equal_nan;
} nx_equal_params;
typedef enum {
    NX_BITWISE_AND,
    NX_BITWISE_OR,
    NX_BITWISE_XOR,
    NX_BITWISE_LEFT_SHIFT,
    NX_BITWISE_RIGHT_SHIFT,
} nx_bitwise_op;
typedef struct {
    int op; /* nx_bitwise_op */
} nx_bitwise_params;

/* creation.c */
typedef struct {
    double start, stop, step;
    nx_dtype dtype;
} nx_arange_params;
/* matmul.c */
typedef struct {
    float alpha, beta;
} nx_addmm_params;
typedef struct {
    bool left_sorted, right_sorted;
} nx_gather_mm_params;

/* gguf.c: products with GGUF blocks. type is the file's number, with the repacked bit. */
enum { NX_GGUF_MATRICES = 4 }; /* of one product, at most */
typedef struct {
    int type;
    int columns;  /* K: values a row */
    nx_dtype dtype; /* of the result */
    int further[NX_GGUF_MATRICES - 1]; /* types of the matrices after the first */
} nx_gguf_params;

/* Of the i-th matrix. */
static inline int nx_gguf_type_of(const nx_gguf_params *p, int i)
{
    return i ? p->further[i - 1] : p->type;
}

/* attention.c */
typedef struct {
    float scale;
    bool causal;
    int window;      /* 0: none */
    bool has_mask, has_lengths, has_sinks; /* which optional inputs are there */
    int packed, v_dim; /* bits of packed keys and values, and the numbers of a value; 0: as they are */
} nx_attention_params;

/* step_attention.c */
typedef struct {
    float scale;
    int window; /* 0: none */
    bool has_sinks;
    int packed, v_dim; /* bits of packed caches, 0: numbers; and the numbers of a value */
} nx_step_attention_params;

/* cache.c */
typedef struct {
    int bits; /* 8 or 4 */
} nx_cache_pack_params;
enum { NX_CACHE_GROUP = 32 };
static inline int nx_cache_block_bytes(int bits)
{
    return bits == 8 ? 34 : 20;
}
/* Of a row of n numbers. */
static inline int64_t nx_cache_row_bytes(int bits, int64_t n)
{
    return (n + NX_CACHE_GROUP - 1) / NX_CACHE_GROUP * nx_cache_block_bytes(bits);
}

/* reinterpret.c */
typedef struct {
    nx_dtype dtype;
} nx_view_params;
typedef struct {
    nx_dtype dtype;
} nx_from_fp8_params;

/* random.c */
typedef struct {
    nx_dims shape;
    int width; /* bytes: 1, 2, 4 */
} nx_random_bits_params;
/* quant.c */
typedef enum { NX_QUANT_AFFINE, NX_QUANT_MXFP4, NX_QUANT_MXFP8, NX_QUANT_NVFP4 } nx_quant_mode;
typedef struct {
    int group_size, bits;
    nx_quant_mode mode;
    bool dequantize;
    nx_dtype dtype; /* of a dequantized result */
} nx_quantize_params;
/* Which of n_in inputs is the global scale; -1: none. */
static inline int nx_quantize_global(const nx_quantize_params *p, int n_in)
{
    int last = p->dequantize ? 2 : 1; /* after the values, and the scales of packed ones */
    return p->mode == NX_QUANT_NVFP4 && n_in > last ? last : -1;
}
enum { NX_NVFP4_RANGE = 6 * 448 }; /* the largest code by the largest scale of a group: what a global scale becomes */
typedef struct {
    int group_size, bits;
    nx_quant_mode mode;
    bool transpose;
    bool left_sorted, right_sorted; /* GatherQMM */
    nx_dtype dtype;
} nx_qmm_params;

#endif
