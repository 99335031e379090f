/*
 * engine.h: what our engine offers beyond mlx-c, as one table of functions.
 *
 * A program asks for the table at run time and does without where it is absent, so the same program
 * also links to Apple's mlx-c:
 *
 *     const nexus_engine *(*get)(void) = (const nexus_engine *(*)(void))dlsym(RTLD_DEFAULT,
 *                                                                             "nexus_engine_get");
 *     const nexus_engine *engine = get ? get() : NULL;
 *
 * The conventions are mlx-c's: functions return 0, or 1 after an error for which the handler of
 * mlx/c/error.h was called once; results are lazy; *res may be empty or hold a value, which is
 * replaced. Each entry names the mlx-c calls that do the same where the table is absent.
 *
 * Numbers. Every product and attention here sums over its inner dimension in one order that does
 * not depend on how many rows, threads or sequences take part: a row of a product of 512 rows has
 * the bits it has alone. Products with quantized weights see their activations rounded to 15 bits
 * a block (an error at most 2^-15 of the block's largest magnitude, far below bfloat16's).
 */
#ifndef NEXUS_ENGINE_H
#define NEXUS_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mlx/c/mlx.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Types of GGUF tensors are given by their number in the file (GGML's: 0 F32, 1 F16, 2 Q4_0,
 * 3 Q4_1, 6 Q5_0, 7 Q5_1, 8 Q8_0, 10-14 Q2_K-Q6_K, 16-23 and 29 the IQ types, 30 BF16, 34 TQ1_0,
 * 35 TQ2_0, 39 MXFP4, 40 NVFP4, 41 Q1_0, 42 Q2_0). An array that gguf_repack made has this bit added
 * to its type. */
#define NEXUS_GGUF_REPACKED 0x10000

/* version counts up as entries are added at the end; none is ever removed or changed. */
typedef struct nexus_engine {
    int version;

    /* The kernels in use: "base", "avx2", "avx512", "avx512_bf16", "amx", "neon". */
    const char *(*isa)(void);

    /* Threads that share the work of one operation, the caller included; 0 sets the default again
     * (NEXUS_THREADS, else the processors this process may use). */
    int (*threads)(void);
    void (*set_threads)(int n);

    /*
     * GGUF tensors as they lie in the file. w is uint8 [N, row_bytes] (a matrix of N rows of K
     * values; row_bytes = K / values a block * bytes a block), usually over a mapped file
     * (mlx_array_new_data_managed_payload). Experts in one tensor are matrices of it, sliced along
     * the first axis before they are reshaped to [N, row_bytes].
     * Without the table: read the values into a float array, or quantize it by mlx_quantize, and
     * use mlx_matmul, mlx_quantized_matmul, mlx_take_axis, mlx_dequantize.
     */
    bool (*gguf_supports)(int ggml_type);

    /* x [..., K] times the transpose of w: [..., N], of x's type (float32, float16, bfloat16). */
    int (*gguf_matmul)(mlx_array *res, const mlx_array x, const mlx_array w, int ggml_type,
                       const mlx_stream s);

    /* Rows of w as numbers: indices (any integer type) [...] give [..., K] of type dtype. Indices
     * must lie in 0..N-1: a row out of range is filled with zeros. */
    int (*gguf_take)(mlx_array *res, const mlx_array w, int ggml_type, const mlx_array indices,
                     mlx_dtype dtype, const mlx_stream s);

    /* All rows: [N, K] of type dtype. */
    int (*gguf_dequantize)(mlx_array *res, const mlx_array w, int ggml_type, mlx_dtype dtype,
                           const mlx_stream s);

    /* The same bytes in an order that the kernels read faster: same shape, type with
     * NEXUS_GGUF_REPACKED added. Worth it where the query says so; the caller repacks a tensor at
     * its first use, evaluates the result, and lets the mapped pages go. */
    bool (*gguf_should_repack)(int ggml_type, int64_t rows, int64_t columns);
    int (*gguf_repack)(mlx_array *res, const mlx_array w, int ggml_type, const mlx_stream s);

    /*
     * Attention over a key-value cache, in float32 throughout, whatever the cache's type.
     *   q [B, H, L, D], k [B, Hkv, S, D], v [B, Hkv, S, Dv]: floating types, each its own; any
     *   strides (slices of a larger cache are read where they lie). H is a multiple of Hkv.
     *   lengths: int32 [B], keys of each sequence that count (1..S); empty: S for all.
     *   causal: the last query stands at its sequence's last key, the others before it.
     *   window: a query sees the `window` last keys up to its own place; 0: all.
     *   sinks: [H], a logit a head that takes part in the softmax and adds no value; or empty.
     * The result is [B, H, L, Dv] of q's type. Independent of how the queries are cut into calls.
     * Without the table: mlx_fast_scaled_dot_product_attention, a sequence a call, with k and v
     * converted to q's type and an array mask for the window.
     */
    int (*attention)(mlx_array *res, const mlx_array q, const mlx_array k, const mlx_array v,
                     float scale, const mlx_array lengths, bool causal, int window,
                     const mlx_array sinks, const mlx_stream s);

    /* From version 2 on. The most bytes that arrays may hold, on all devices together: an allocation
     * that would pass it is an error, and what was there stays. 0: no limit. Returns the former one.
     * (mlx_set_memory_limit is a guide only, as in MLX.) Without the table: there is none. */
    size_t (*set_hard_memory_limit)(size_t bytes);

    /*
     * From version 3 on. An affine matrix of MLX's (packed words uint32 [N, words], scales and biases [N, groups]) in the
     * order that gguf_matmul and gguf_take read: uint8 [N, bytes a row], to be
     * given with the type that affine_type names for its bits, group size and type of scales (0: there
     * is none). As with gguf_repack the caller lets the original go. gguf_matmul keeps 15 bits of x,
     * group by group, where mlx_quantized_matmul keeps all of a float32's and takes twice the time.
     * Without the table: mlx_quantized_matmul, mlx_take_axis and mlx_dequantize.
     */
    int (*affine_type)(int bits, int group_size, mlx_dtype scales);
    int (*affine_repack)(mlx_array *res, const mlx_array w, const mlx_array scales,
                         const mlx_array biases, int group_size, int bits, const mlx_stream s);

    /*
     * From version 4 on. Keys and values in 8 or 4 bits. cache_pack: x [..., D] (float32, float16,
     * bfloat16) as uint8 [..., bytes]: blocks of 32 numbers as GGUF's Q8_0 (34 bytes) or Q4_1 (20
     * bytes), the last of a row filled up with zeros; gguf_dequantize reads them. packed_attention: as
     * attention, with k and v uint8 [B, Hkv, S, bytes] that cache_pack made of rows of D and of v_dim
     * numbers; it reads them where they lie, and the numbers they stand for enter in float32.
     * Without the table: a cache of 16 bits.
     */
    int (*cache_pack)(mlx_array *res, const mlx_array x, int bits, const mlx_stream s);
    int (*packed_attention)(mlx_array *res, const mlx_array q, const mlx_array k, const mlx_array v, int bits,
                            int v_dim, float scale, const mlx_array lengths, bool causal, int window,
                            const mlx_array sinks, const mlx_stream s);

    /*
     * From version 5 on. What a recurrent layer does with its state along a text: for every token in turn,
     * with a, b, k, q as columns of N numbers and v of P, in every head
     *     S = S * decay + (S a) b' + v k';   y = S q
     *   state [H, P, N]; decay [T, H], or [T, H, N]: a factor for each column; v [T, H, P]; k, q, a, b
     *   [T, G, N], each with a G of its own that divides H: neighbouring heads share. a and b may be empty
     *   together: S = S * decay + v k'. Any floating types; computed in float32.
     * last: the state [H, P, N] after the text, y: [T, H, P]; float32. A token has the bits that it has
     * when the text is cut before or after it.
     * Without the table: the same by mlx_multiply, mlx_add and mlx_matmul, a token at a time.
     */
    int (*state_scan)(mlx_array *last, mlx_array *y, const mlx_array state, const mlx_array decay,
                      const mlx_array k, const mlx_array v, const mlx_array q, const mlx_array a,
                      const mlx_array b, const mlx_stream s);

    /*
     * From version 6 on. What a step of decoding does in a layer, for N texts at once: each text's key and
     * value go into caches of its own, and its query looks over them.
     *   q [N, H, 1, D]; k [N, Hkv, 1, D]; v [N, Hkv, 1, Dv]: floating types, each its own.
     *   caches: the texts' keys and values by turns, K0, V0, K1, V1 ...: [1, Hkv, room, D or Dv], the room
     *   each its own, all of one type (float32, float16, bfloat16), to which k and v are rounded.
     *   places: integers [N]: the row of its caches that a text's key and value become (0..room-1; what
     *   lies outside is taken for the nearest). The text sees the rows up to that one, of them the
     *   `window` last (0: all); sinks as for attention.
     *   bits: 0; or, for caches of cache_pack's bytes, 8 or 4: k and v are packed then too, and their
     *   numbers v_dim.
     * *res [N, H, 1, Dv] of q's type; *updated: the caches with the new rows, in the memory of the old ones
     * where those had no other owner when this is evaluated. Each text has the bits that it has alone.
     * Without the table: mlx_slice_update and attention for each text.
     */
    int (*step_attention)(mlx_array *res, mlx_vector_array *updated, const mlx_array q, const mlx_array k,
                          const mlx_array v, const mlx_vector_array caches, const mlx_array places, int bits,
                          int v_dim, float scale, int window, const mlx_array sinks, const mlx_stream s);

    /*
     * From version 7 on. x [..., K] by 1 to 4 matrices w of the same K, each of its own rows and type: what
     * gguf_matmul gives for each, to the bit, in one operation. The threads share all of them at once, which
     * counts where they are small or x has few rows, and x is rounded once.
     */
    int (*gguf_products)(mlx_vector_array *res, const mlx_array x, const mlx_vector_array w, const int *ggml_types,
                         const mlx_stream s);
} nexus_engine;

/* The table: one constant for the life of the process. */
const nexus_engine *nexus_engine_get(void);

#ifdef __cplusplus
}
#endif

#endif
