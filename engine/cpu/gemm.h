/*
 * gemm.h: the blocked product of one level, for all kernels that multiply by a dense panel: b comes
 * through a loader, so it may be strided, half precision or quantized; the result leaves through a
 * store function.
 */
#ifndef NX_CPU_GEMM_H
#define NX_CPU_GEMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/core/view.h"
#include "engine/cpu/isa.h"

/* Rows multiplied at a time, and packed as a group. */
#if defined(NX_ISA_avx512) || defined(__aarch64__)
#define NX_GEMM_MR 8
#else
#define NX_GEMM_MR 6
#endif

enum {
    NX_GEMM_NB = 48,     /* columns of a panel: floats */
    NX_GEMM_NB_F64 = 24, /* the same in doubles */
    NX_GEMM_ROWS = 48,   /* of a that are packed in one go, at most: whole groups */
    NX_GEMM_FEW = 8,     /* rows that `few` takes, at most */
};

typedef struct nx_gemm nx_gemm;
struct nx_gemm {
    int64_t batches, m, n, k;
    /* a: floats (or doubles) [m, k] a batch, with these strides. */
    const void *a;
    int64_t a_row, a_col;
    bool a_in_place; /* a large product reads a where it lies, though it packs b */
    int64_t (*a_offset)(const nx_gemm *g, int64_t batch); /* in elements */
    /* Fills panel[][kc][part] with b[k0.., n0..n0 + nb], in parts of `part` columns each; those of the last
     * from nb on are set to zero. */
    void (*load_b)(const nx_gemm *g, int64_t batch, int64_t k0, int64_t kc, int64_t n0, int nb, int part,
                   void *panel);
    /* Fills to[][kc][NX_GEMM_MR] with a[m0..m0 + rows, k0..], group by group, of which the last may have
     * fewer rows; for products whose a is packed. May be NULL: then it never is. */
    void (*load_a)(const nx_gemm *g, int64_t batch, int64_t m0, int64_t rows, int64_t k0, int64_t kc, void *to);
    /* Where b itself is as good as a panel: its address and row stride; NULL: load it. May be NULL. */
    const void *(*direct_b)(const nx_gemm *g, int64_t batch, int64_t k0, int64_t n0, int64_t *row);
    /* acc[m][NB] = all m rows, NX_GEMM_FEW at most, by columns n0..n0 + nb, in the one order of sums, without panels.
     * May be NULL. */
    void (*few)(const nx_gemm *g, int64_t batch, int64_t m, int64_t n0, int nb, void *acc);
    /* Takes acc[m][NB], m rows by nb columns at (m0, n0). */
    void (*store)(const nx_gemm *g, int64_t batch, int64_t m0, int64_t m, int64_t n0, int nb,
                  const void *acc);
    /* Where the result may be written without store: address and row stride of (m0, n0). May be
     * NULL. */
    void *(*direct_out)(const nx_gemm *g, int64_t batch, int64_t m0, int64_t n0, int64_t *row);
    void *workspace; /* nx_gemm_workspace bytes, or NULL: large products then pack block by block */
    void *user; /* of the loader and the store function */
};

void NX_BELOW(nx_gemm_f32)(const nx_gemm *g);
void NX_BELOW(nx_gemm_f64)(const nx_gemm *g);
/* What one product's packed operands take; 0: it is too small to pack. Grows with m and n; where they are packed part
 * by part, a smaller k may take more. */
size_t NX_BELOW(nx_gemm_workspace)(bool doubles, int64_t m, int64_t n, int64_t k);

/* matmul_tmpl.c: out = a b of the last two dimensions, leading ones broadcast already, in the one order of sums of
 * gemm_body.h at every level. a and b may be of any floating type when out is not float64. Its workspace grows with
 * rows and columns. */
void NX_FN(nx_product)(const nx_view *a, const nx_view *b, const nx_view *out, void *workspace);
size_t NX_FN(nx_product_workspace)(const nx_view *a, const nx_view *out);

#endif
