/*
 * gguf_rows.h: rows of GGUF blocks as they lie in the file (and affine ones after the last tile), brought to
 * the common form of all types: 16-bit codes, a scale and a minimum a group.
 */
#ifndef NX_CPU_GGUF_ROWS_H
#define NX_CPU_GGUF_ROWS_H

#include "engine/cpu/isa.h"
#include "engine/cpu/qmm.h"

/* Groups g0.. of a row: codes one after the other, a scale and a minimum each. */
typedef void nx_unpack_row(int type, const uint8_t *row, int64_t g0, int64_t groups, int16_t *code, float *scale,
                           float *min);

/* For a type without the bit of tiles; never NULL for a type that has blocks. */
nx_unpack_row *NX_BELOW(nx_unpack_row_of)(int type);

/* A loader for nx_qmm (qmm.h). q->type may have the bit of tiles. */
void NX_BELOW(nx_load_rows)(const nx_qmm *q, int64_t batch, int64_t tile, int64_t k0, int64_t kc, uint32_t *panel,
                            float *scale, float *min);

/* gguf_kinds_tmpl.c: fills in what of q follows from q->type: loaders, and the signs of codes. */
void NX_BELOW(nx_gguf_kernels)(nx_qmm *q);
/* Sets load_bytes, at the level amx. */
void NX_FN(nx_gguf_bytes)(nx_qmm *q);

#endif
