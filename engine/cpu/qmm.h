/*
 * qmm.h: products with quantized weights, x [m, K] by the rows of w [n, K], of one level.
 *
 * Weights are integer codes in groups along K: weight = scale * code + minimum. Activations are
 * rounded, group by group, to integers of at most 15 bits and a scale. So the sum within a group is
 * exact, and the only rounding is that of one chain a result: for groups ascending,
 *     acc = fma(sum of code * x, scale * x_scale, acc);  acc = fma(minimum, x_scale * sum of x, acc)
 * (a row of float32 may be two such rows, of what counts and of what that leaves over)
 * whichever path computes it: straight from packed tiles for few rows, through unpacked panels for
 * many. This is what makes a row's bits independent of its company.
 */
#ifndef NX_CPU_QMM_H
#define NX_CPU_QMM_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/core/view.h"
#include "engine/cpu/isa.h"

enum {
    NX_QMM_TILE = 16, /* rows of w side by side */
    NX_QMM_KC = 256,  /* depth of a panel; a multiple of every group */
    NX_QMM_FEW = 16,  /* rows of x up to which the packed path is taken */
    NX_QMM_GROUP = 128, /* values of a group, at most */
    NX_QMM_PRODUCTS = 4, /* with the same x at once, at most */
};

/* x as integers. Row i of x begins at q[i * k]; its group g has entry i * groups + g. */
typedef struct {
    int16_t *q;     /* within +-16256 */
    float *scale;   /* x = scale * q; NaN where a group holds NaN or infinity */
    float *sum;     /* scale * sum of q */
    int32_t *qsum;  /* sum of q */
    /* At the level amx, of several rows: q = 128 high + low, row i at i * digits_row. Tiles of 16 rows may be
     * read from any row on. Else NULL. */
    int8_t *high, *low;
    int64_t digits_row;
    int64_t k, groups;
} nx_qx;

/* Bytes for rows x k values in groups of `group`, and the layout of such memory. */
size_t NX_FN(nx_qx_bytes)(int64_t rows, int64_t k, int group);
nx_qx NX_FN(nx_qx_at)(void *memory, int64_t rows, int64_t k, int group);
/* Rounds rows of x (float32, float16 or bfloat16, row-major) into x_q. */
void NX_FN(nx_qx_fill)(const nx_qx *to, const void *x, nx_dtype dtype, int64_t rows, int group);
/* Rounds rows of float32 into two rows each, 2 i and 2 i + 1: what the first leaves over is the second,
 * and the sum of their products is as exact as one of floats. */
void NX_FN(nx_qx_fill_pairs)(const nx_qx *to, const float *x, int64_t rows, int group);

typedef struct nx_qmm nx_qmm;
struct nx_qmm {
    int64_t batches, m, n, k;
    int group;
    bool has_min;
    bool unsigned_codes; /* 0 to 255; else they are within -128 to 127 */
    nx_qx x;
    const void *w;  /* of the loaders */
    void *user;
    int64_t w_row_bytes;
    int64_t tile_bytes; /* where the bytes of a tile of w lie together, in the order of k; 0: they do not */
    int type;
    /* First row of x of a batch; NULL: batch * m. */
    int64_t (*x_row)(const nx_qmm *q, int64_t batch);
    /* Codes of rows 16 tile.. of w, depth k0..k0+kc: panel[kc / 2][16] pairs (k in the low half, k + 1
     * in the high one), scale and min [kc / group][16]; rows past n are zero. */
    void (*load)(const nx_qmm *q, int64_t batch, int64_t tile, int64_t k0, int64_t kc,
                 uint32_t *panel, float *scale, float *min);
    /* The same as bytes, panel[kc / 4][16] of four codes, for amx.h. NULL, or false: not of this tile. */
    bool (*load_bytes)(const nx_qmm *q, int64_t tile, int64_t k0, int64_t kc, uint32_t *panel, float *scale,
                       float *min);
    /* acc[mr][16] of one tile straight from packed data, mr <= NX_QMM_FEW. NULL: through panels. */
    void (*few)(const nx_qmm *q, int64_t batch, int64_t tile, int64_t x_row, int mr, float *acc);
    void (*store)(const nx_qmm *q, int64_t batch, int64_t m0, int64_t m, int64_t n0, int nb,
                  const float *acc); /* acc[m][16] */
    /* Where those go, if row by row [batches * m][n]: memory to ask for before. NULL: elsewhere. */
    char *out;
    int64_t out_bytes; /* of a value */
};

void NX_FN(nx_qmm_run)(const nx_qmm *q);
/* n products (up to NX_QMM_PRODUCTS) of the same x, alike but for n and what is of w and out. Rounds x, of
 * batches * m rows, into `memory` (nx_qx_bytes) first. */
void NX_FN(nx_qmm_run_rounding)(nx_qmm *q, int n, const void *x, nx_dtype dtype, void *memory);

#endif
